# SPDX-License-Identifier: BSD-3-Clause
"""One relay: started for one run, stopped after it; or killed in the middle of a run, and started again."""
import os
import random
import socket
import subprocess
import time
from dataclasses import dataclass
from typing import List

START_PATIENCE_S = 15
STOP_PATIENCE_S = 15
YARDSTICKS = ("echo", "pass")  # modes of the generator
HANDSHAKES = "handshakes"  # the yardstick that is a program of its own, and listens to nobody
PORTS = range(10000, 30000)  # below those that the kernel gives to outgoing connections


def free_port():
    while True:
        port = random.choice(PORTS)
        try:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("127.0.0.1", port))
            return port
        except OSError:
            continue


class RelayFailed(Exception):
    pass


@dataclass
class Program:
    """`flags` is whose command line it has: ours; go, which is that of Tailscale's derper; echo or pass, the
    generator's modes that send datagrams back and pass bytes on; or handshakes."""

    name: str
    command: List[str]
    flags: str = "go"
    plain: bool = False  # no TLS

    @property
    def yardstick(self):
        return self.flags in (*YARDSTICKS, HANDSHAKES)

    def arguments(self, folder, port, stun_port, one_core):
        if self.yardstick:
            return [self.flags, "--target", f"127.0.0.1:{stun_port if self.flags == 'echo' else port}"]
        arguments = ["-a", f"127.0.0.1:{port}", "--hostname", "127.0.0.1"]
        arguments += ["--tls=off"] if self.plain else ["--certmode", "manual", "--certdir", folder]
        arguments += ["-c", os.path.join(folder, "derper.key"), "--http-port", "-1", "--stun-port", str(stun_port)]
        return arguments + (["--workers", "1"] if self.flags == "ours" and one_core else [])

    def variables(self, one_core):
        return {"GOMAXPROCS": "1"} if self.flags == "go" and one_core else {}


class Relay:
    """Pinned to `core` and told to use one, or, with None, left to itself. Key and certificate stay in `folder` from
    run to run."""

    def __init__(self, program, folder, core):
        self.program = program
        self.folder = folder
        self.port, self.stun_port = free_port(), free_port()
        os.makedirs(folder, exist_ok=True)
        pinned = core is not None
        self.command = [*(["taskset", "-c", str(core)] if pinned else []), *program.command,
                        *program.arguments(folder, self.port, self.stun_port, pinned)]
        self.variables = program.variables(pinned)
        self.process = None

    def shown(self):
        """The command as a person would type it."""
        return " ".join([*(f"{name}={value}" for name, value in self.variables.items()), *self.command])

    def spawn(self):
        env = {k: v for k, v in os.environ.items() if not k.startswith(("TS_", "DERP")) and k != "GOMAXPROCS"}
        with open(os.path.join(self.folder, "log"), "ab") as file:
            self.process = subprocess.Popen(self.command, env=dict(env, **self.variables), stdin=subprocess.DEVNULL,
                                            stdout=file, stderr=file)

    def listens(self):
        if self.program.flags == "echo":
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(("127.0.0.1", self.stun_port))
                probe.settimeout(0.1)
                probe.send(b"?")
                return probe.recv(64).startswith(b"?")
        with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
            if self.program.flags == "pass":  # pairs connections as they come: gone before the first of a run
                probe.shutdown(socket.SHUT_WR)
                return probe.recv(1) == b""
        return True

    def __enter__(self):
        self.spawn()
        end = time.monotonic() + START_PATIENCE_S
        log = os.path.join(self.folder, "log")
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RelayFailed(f"{self.shown()} ended with {self.process.returncode}: see {log}")
            try:
                if self.listens():
                    return self
            except OSError:
                time.sleep(0.02)
        self.__exit__()
        raise RelayFailed(f"{self.shown()} does not listen: see {log}")

    def restart(self):
        """As after a crash. Does not wait until it listens."""
        self.process.kill()
        self.process.wait()
        self.spawn()

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
