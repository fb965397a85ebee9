# SPDX-License-Identifier: BSD-3-Clause
"""A network namespace, and what joins two of them."""
import os
import re
import shutil
import signal
import subprocess
import tempfile

from .program import CommandFailed, Program, command
from .waiting import wait_until

# In a chroot / is no mount of its own and stays as it is.
KEEP = ('mount --make-rprivate / 2>/dev/null; mount --bind "$0/hosts" /etc/hosts && '
        'mount --bind "$0/resolv.conf" /etc/resolv.conf && '
        'mount --bind "$0/ca-certificates.crt" /etc/ssl/certs/ca-certificates.crt && exec sleep infinity')
PREFIX = "tailnet"  # of every folder here: tailnet-PID-WORD, PID being the process that made it


def left_behind(names, alive):
    """Those of the folders whose maker is no more, as after SIGKILL."""
    found = (re.fullmatch(PREFIX + r"-(\d+)-\w+", name) for name in names)
    return [match[0] for match in found if match and not alive(int(match[1]))]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def remove_left_behind():
    for name in left_behind(os.listdir(tempfile.gettempdir()), is_alive):
        shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


def make_folder():
    """A temporary one; if it is left behind, it is found by its name."""
    return tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-")


def namespace_of(pid):
    try:
        return os.readlink(f"/proc/{pid}/ns/net")
    except OSError:
        return None  # it has ended


class Namespace:
    """Created at once; delete() also ends whatever still runs in it. A process of ours that sleeps keeps it, so that it
    has no name in the file system, which not every root folder allows, and goes when we do. `etc` is a folder with the
    files that stand in for /etc/hosts, /etc/resolv.conf and the authorities that a machine trusts."""

    def __init__(self, etc):
        self.keeper = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "unshare", "--net", "--mount", "--propagation", "unchanged", "sh", "-c",
             KEEP, etc],
            stdin=subprocess.DEVNULL, start_new_session=True)
        self.pid = self.keeper.pid
        self.enter = ["nsenter", f"--net=/proc/{self.pid}/ns/net", f"--mount=/proc/{self.pid}/ns/mnt",
                      f"--root=/proc/{self.pid}/root", "--wdns=/", "--"]  # the root which a chroot needs
        wait_until(lambda: namespace_of(self.pid) != namespace_of(os.getpid()), "a network namespace")
        wait_until(self.has_names, "names of its own")
        self.run("ip", "link", "set", "lo", "up")

    def has_names(self):
        with open(f"/proc/{self.pid}/cmdline", encoding="ascii") as words:
            return words.read().startswith("sleep")

    def run(self, *words, **options):
        return command(*self.enter, *words, **options)

    def start(self, words, log_file, **options):
        return Program(self, words, log_file, **options)

    def sysctl(self, name, value):
        self.run("sysctl", "-q", "-w", f"{name}={value}")

    def address(self, device, address):
        at_once = ["nodad"] if ":" in address else []
        self.run("ip", "address", "add", address, "dev", device, *at_once)
        self.run("ip", "link", "set", device, "up")

    def route(self, destination, device, congestion_control, via=None):
        gateway = ["via", via] if via else []
        self.run("ip", "route", "add", destination, *gateway, "dev", device, "congctl", congestion_control)

    def delete(self):
        mine = namespace_of(self.pid)
        for pid in filter(str.isdigit, os.listdir("/proc")):
            if mine and namespace_of(pid) == mine:
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.keeper.wait()


class Cable:
    """A veth pair between two namespaces: no rate, no delay. Goes with either of them."""

    def __init__(self, here, here_device, there, there_device):
        command("ip", "link", "add", here_device, "netns", str(here.pid), "type", "veth", "peer", "name", there_device,
                "netns", str(there.pid))

    def stop(self):
        pass


class Wire:
    """A link of a given rate, delay and buffer between two namespaces; see wire.c."""

    def __init__(self, program, here, here_device, there, there_device, link, log_file):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program, str(here.pid), here_device, str(there.pid), there_device,
             *(str(n) for n in (link.mbit_per_s, link.delay_ms, link.buffer_ms, link.loss_percent))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        if self.process.stdout.readline() != "ready\n":
            raise CommandFailed(f"wire ended with {self.process.wait()}")
        self.log_file = log_file

    def stop(self):
        said, _ = self.process.communicate()
        with open(self.log_file, "a", encoding="ascii") as log:
            log.write(said)
