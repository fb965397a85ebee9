# SPDX-License-Identifier: BSD-3-Clause
"""One relay, pinned to a core: started for one run, stopped after it."""
import os
import random
import socket
import subprocess
import time

START_PATIENCE_S = 15
STOP_PATIENCE_S = 15
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


class Relay:
    """`kind` is "ours" or "theirs". Key and certificate stay in `folder` from run to run."""

    def __init__(self, kind, binary, folder, core):
        self.kind = kind
        self.folder = folder
        self.core = core
        self.port, self.stun_port = free_port(), free_port()
        os.makedirs(folder, exist_ok=True)
        self.command = ["taskset", "-c", str(core), binary, "-a", f"127.0.0.1:{self.port}", "--hostname", "127.0.0.1",
                        "--certmode", "manual", "--certdir", folder, "-c", os.path.join(folder, "derper.key"),
                        "--http-port", "-1", "--stun-port", str(self.stun_port)]
        self.env = {k: v for k, v in os.environ.items() if not k.startswith(("TS_", "DERP"))}
        if kind == "ours":
            self.command += ["--workers", "1"]
        else:
            self.env["GOMAXPROCS"] = "1"
        self.process = None

    def shown(self):
        """The command as a person would type it."""
        return ("GOMAXPROCS=1 " if self.kind == "theirs" else "") + " ".join(self.command)

    def __enter__(self):
        log = os.path.join(self.folder, "log")
        with open(log, "ab") as file:
            self.process = subprocess.Popen(self.command, env=self.env, stdin=subprocess.DEVNULL, stdout=file,
                                            stderr=file)
        end = time.monotonic() + START_PATIENCE_S
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RelayFailed(f"{self.shown()} ended with {self.process.returncode}: see {log}")
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.02)
        self.__exit__()
        raise RelayFailed(f"{self.shown()} does not listen: see {log}")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
