# SPDX-License-Identifier: BSD-3-Clause
"""One running relay: started, watched, reloaded and stopped as its service manager would do it.

DERPER_BIN   the program (default: build/derper/derper below the project's root)
DERPER_ARGS  more arguments for every start, such as --workers=2
DERPER_KIND  "ours" (default) or "original", which skips what is meant to differ
"""
import json
import os
import random
import re
import shlex
import signal
import socket
import subprocess
import threading
import time

from nacl.public import PrivateKey

import certs
import varz
from peer import Link, Peer
from waiting import PATIENCE, wait_until

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BINARY = os.path.abspath(os.environ.get("DERPER_BIN") or os.path.join(ROOT, "build/derper/derper"))
ARGS = shlex.split(os.environ.get("DERPER_ARGS", ""))
OURS = os.environ.get("DERPER_KIND", "ours") != "original"


def is_sanitized():
    with open(BINARY, "rb") as file:
        program = file.read()
    return any(name in program for name in (b"__asan_init", b"__tsan_init", b"__msan_init"))


SANITIZED = os.access(BINARY, os.R_OK) and is_sanitized()
DOMAIN = "derp.test"
READY_LINE = "derper: serving on "
SANITIZER_REPORT = re.compile(
    r"ERROR: (Address|Leak|Memory)Sanitizer|runtime error:|WARNING: ThreadSanitizer"
    r"|ThreadSanitizer:|UndefinedBehaviorSanitizer")

# A stop with nobody connected, and one that has clients to send away.
STOP_PATIENCE = 15.0

# Below the range from which the kernel takes the ports of outgoing connections; each of the processes of pytest-xdist
# ("gw0", "gw1", …) has ports of its own.
PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
PORTS = range(10000, 30000)[PROCESS % 8::8]

port_lock = threading.Lock()
given_ports = set()


def port_is_free(port):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET6, kind) as probe:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                probe.bind(("::", port))
            except OSError:
                return False
    return True


def free_port():
    with port_lock:
        while True:
            port = random.choice(PORTS)
            if port not in given_ports and port_is_free(port):
                given_ports.add(port)
                return port


def environment(extra, home):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("TS_", "DERP"))}
    env["HOME"] = str(home)
    env.update(extra or {})
    return env


def workers(count):
    """Arguments for that many workers; the original has none, and DERPER_ARGS goes first."""
    if not OURS or any("workers" in a for a in ARGS):
        return []
    return [f"--workers={count}"]


def nobody_is_left(samples):
    """The only stream is the one by which the metrics are asked."""
    ours_too = samples["derper_logins_pending"] == 0 and samples["derper_streams"] <= 1 if OURS else True
    return samples["derp_current_connections"] == 0 and ours_too


class Derper:
    """A relay in one of three modes: "ip" (self-signed), "domain" (derp.test), "plain" (no TLS)."""

    def __init__(self, folder, mode="ip", args=(), env=None, host="127.0.0.1", authority=None,
                 wrapper=(), stun=True):
        self.folder = str(folder)
        self.mode = mode
        self.args = [str(a) for a in args]
        self.env = env
        self.host = host
        self.wrapper = list(wrapper)
        self.stun = stun and mode != "plain"
        self.key_file = os.path.join(self.folder, "derper.key")
        self.cert_dir = os.path.join(self.folder, "certs")
        self.log_file = os.path.join(self.folder, "derper.log")
        self.hostname = DOMAIN if mode == "domain" else "127.0.0.1"
        self.pick_ports()
        self.process = None
        self.links = []
        self.expect_end = False
        if mode == "domain":
            self.authority = authority or certs.Authority()
            self.leaf = self.authority.install(self.cert_dir, DOMAIN)

    def pick_ports(self):
        self.port, self.http_port, self.stun_port = free_port(), free_port(), free_port()

    # Starting and ending

    @property
    def secure(self):
        return self.mode != "plain"

    def address_argument(self):
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    def arguments(self):
        arguments = ["-a", self.address_argument()] + (["-c", self.key_file] if self.key_file else [])
        if self.secure:
            arguments += ["--hostname", self.hostname, "--certmode", "manual",
                          "--certdir", self.cert_dir, "--http-port", str(self.http_port)]
        else:
            # The original takes any port but 443 for plain HTTP; ours wants to be told.
            arguments += ["--http-port", "-1"] + (["--tls=off"] if OURS else [])
        arguments += ["--stun-port", str(self.stun_port)] if self.stun else ["--stun=false"]
        return arguments + self.args + ARGS

    def start(self):
        """Starts the relay and returns it when it answers."""
        for attempt in range(3):
            self.launch()
            if self.comes_up(retry=attempt < 2):
                return self
            self.pick_ports()
        raise AssertionError("the relay found no free port three times")

    def launch(self):
        os.makedirs(self.folder, exist_ok=True)
        self.expect_end = False
        self.log_start = len(self.log())
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                self.wrapper + [BINARY] + self.arguments(), stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, cwd=self.folder,
                env=environment(self.env, self.folder))

    def comes_up(self, retry):
        """False when somebody else took one of the ports meanwhile."""
        def ready():
            if self.process.poll() is not None:
                return "ended"
            return READY_LINE in self.log_since_start() and (OURS or self.wrapper or self.takes_connections())

        if wait_until(ready, "the relay to serve") != "ended":
            return True
        code = self.process.returncode
        if retry and "in use" in self.log_since_start():
            return False
        raise AssertionError(f"the relay ended while starting, exit code {code}:\n{self.log()}")

    def takes_connections(self):
        """The original says that it serves before it does."""
        try:
            Link(self.address).close()
            return True
        except ConnectionRefusedError:
            return False

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process is not None and self.process.poll() is None

    def signal(self, number):
        self.process.send_signal(number)

    def wait_exit(self, patience=STOP_PATIENCE):
        try:
            return self.process.wait(patience)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the relay still runs after {patience:g} s") from None

    def stop(self, patience=STOP_PATIENCE):
        """Asks the relay to end; returns how long that took."""
        assert self.running, f"the relay had ended before it was asked to: {self.process.poll()}"
        self.expect_end = True
        begin = time.monotonic()
        self.signal(signal.SIGTERM)
        code = self.wait_exit(patience)
        assert code == 0, f"exit code {code} after SIGTERM"
        return time.monotonic() - begin

    def reload(self):
        """SIGHUP; what a test expects of it has to be waited for by the test."""
        self.signal(signal.SIGHUP)

    def kill(self):
        self.expect_end = True
        if self.running:
            self.process.kill()
            self.process.wait()

    def restart(self):
        self.stop()
        self.close_links()
        self.launch()
        self.comes_up(retry=False)

    def close_links(self):
        for link in self.links:
            link.close()
        self.links.clear()

    def finish(self):
        """What the end of each test demands: still there, ends when told, no sanitizer report."""
        self.close_links()
        if self.process is None:
            return
        ended = None if self.running else self.process.returncode
        fault = self.stop_for_good() if self.running else None
        report = SANITIZER_REPORT.search(self.log())
        assert not report, f"a sanitizer reports: {self.log()[report.start():][:4000]}"
        assert fault is None, fault
        assert ended is None or self.expect_end, f"the relay ended by itself, exit code {ended}"

    def stop_for_good(self):
        """Returns what was wrong about the end, if anything."""
        try:
            self.stop()
        except AssertionError as fault:
            return str(fault)
        finally:
            self.kill_leftover()

    def kill_leftover(self):
        if self.running:
            self.process.kill()
            self.process.wait()

    # Looking inside

    def log(self):
        try:
            with open(self.log_file, "rb") as file:
                return file.read().decode("utf-8", "backslashreplace")
        except FileNotFoundError:
            return ""

    def log_since_start(self):
        return self.log()[self.log_start:]

    def wait_log(self, pattern, patience=PATIENCE, since=0):
        return wait_until(lambda: re.search(pattern, self.log()[since:]),
                          f"the log line {pattern!r}", patience)

    def varz_text(self):
        response = self.get("/debug/varz")
        assert response.status == 200, response
        return response.text

    def get_debug(self, sni=None):
        """The page /debug/, for a relay whose name is not the usual one."""
        link = self.tcp()
        link.start_tls(sni or self.sni)
        return link.request("GET", "/debug/").text

    def varz(self):
        return varz.parse(self.varz_text(), strict=OURS)

    def wait_varz(self, condition, what, patience=PATIENCE):
        """Polls the metrics until condition(samples) holds; returns them."""
        last = {}

        def look():
            last["samples"] = self.varz()
            return condition(last["samples"])

        wait_until(look, what, patience, pause=0.05)
        return last["samples"]

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def rss_kib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmRSS:\s+(\d+) kB", file.read())[1])

    def peak_rss_kib(self):
        with open(f"/proc/{self.pid}/status", encoding="ascii") as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB", file.read())[1])

    def settled_rss_kib(self):
        """The least of some moments: what is in hand between two workers comes and goes."""
        samples = []
        for _ in range(6):
            samples.append(self.rss_kib())
            time.sleep(0.05)
        return min(samples)

    def assert_memory(self, before_kib, most_kib):
        """Resident memory comes back to within this; a sanitizer keeps what was freed, so it says nothing there."""
        if not SANITIZED:
            wait_until(lambda: self.rss_kib() - before_kib < most_kib,
                       f"memory to be {before_kib} KiB plus at most {most_kib}, now {self.rss_kib()}", 5)

    def public_key(self):
        with open(self.key_file, encoding="ascii") as file:
            text = json.load(file)["PrivateKey"]
        return bytes(PrivateKey(bytes.fromhex(text.split(":")[1])).public_key)

    # Connecting

    @property
    def address(self):
        host = "127.0.0.1" if self.host in ("", "0.0.0.0") else self.host
        return (host, self.port)

    @property
    def http_address(self):
        return (self.address[0], self.http_port)

    @property
    def sni(self):
        return self.hostname if self.mode == "domain" else None

    def keep(self, link):
        self.links.append(link)
        return link

    def tcp(self, address=None, **options):
        """A TCP connection on which nothing has been said yet."""
        return self.keep(Link(address or self.address, **options))

    def link(self, **options):
        """A connection after the TLS handshake (in plain mode: after nothing)."""
        link = self.tcp(**options)
        if self.secure:
            link.start_tls(self.sni)
        return link

    def http_link(self, **options):
        return self.tcp(self.http_address, **options)

    def peer(self, key=None, **options):
        """A connection after the TLS handshake that can log in."""
        peer = self.keep(Peer(self.address, key=key, **options))
        if self.secure:
            peer.start_tls(self.sni)
        return peer

    def join(self, key=None, info=None, headers=(), **options):
        """A peer that is logged in."""
        peer = self.peer(key, **options)
        peer.login(info, headers)
        return peer

    def get(self, path, headers=(), method="GET", on_http=False):
        link = self.http_link() if on_http else self.link()
        try:
            return link.request(method, path, headers)
        finally:
            link.close()
            self.links.remove(link)


class Keeper:
    """Starts relays for one test and sees to their end."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.relays = []

    def make(self, mode="ip", *args, **options):
        """A relay that is not started yet."""
        folder = os.path.join(self.folder, f"relay{len(self.relays)}")
        relay = Derper(folder, mode, args, **options)
        self.relays.append(relay)
        return relay

    def __call__(self, mode="ip", *args, **options):
        return self.make(mode, *args, **options).start()

    def finish(self):
        faults = []
        for relay in self.relays:
            try:
                relay.finish()
            except AssertionError as fault:
                faults.append(str(fault))
        assert not faults, "\n".join(faults)

    def logs(self, limit=20000):
        return [(shlex.join([os.path.basename(BINARY)] + relay.arguments()), relay.log()[-limit:])
                for relay in self.relays]
