# SPDX-License-Identifier: BSD-3-Clause
"""A network namespace, and what joins two of them."""
import os
import re
import shutil
import signal
import subprocess
import tempfile

from .program import CommandFailed, Program, command

PREFIX = "tailnet"  # of every namespace here: tailnet-PID-NAME, PID being the process that made it


def left_behind(names, alive):
    """Those of the namespaces or folders whose maker is no more, as after SIGKILL."""
    found = (re.fullmatch(PREFIX + r"-(\d+)-\w+", name) for name in names)
    return [match[0] for match in found if match and not alive(int(match[1]))]


def is_alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def remove_left_behind():
    names = [line.split()[0] for line in command("ip", "netns", "list").splitlines() if line.strip()]
    for name in left_behind(names, is_alive):
        command("ip", "netns", "delete", name)
    for name in left_behind(os.listdir(tempfile.gettempdir()), is_alive):
        shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


def make_folder():
    """A temporary one; if it is left behind, it is found by its name as a namespace is."""
    return tempfile.mkdtemp(prefix=f"{PREFIX}-{os.getpid()}-")


class Namespace:
    """Created at once; delete() also ends whatever still runs in it."""

    def __init__(self, name):
        self.name = f"{PREFIX}-{os.getpid()}-{name}"
        self.enter = ["ip", "netns", "exec", self.name]
        command("ip", "netns", "add", self.name)
        self.run("ip", "link", "set", "lo", "up")

    def run(self, *words, **options):
        return command(*self.enter, *words, **options)

    def start(self, words, log_file, **options):
        return Program(self, words, log_file, **options)

    def sysctl(self, name, value):
        self.run("sysctl", "-q", "-w", f"{name}={value}")

    def address(self, device, address):
        self.run("ip", "address", "add", address, "dev", device)
        self.run("ip", "link", "set", device, "up")

    def route(self, destination, device, congestion_control, via=None):
        gateway = ["via", via] if via else []
        self.run("ip", "route", "add", destination, *gateway, "dev", device, "congctl", congestion_control)

    def delete(self):
        for pid in command("ip", "netns", "pids", self.name).split():
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        command("ip", "netns", "delete", self.name)


class Cable:
    """A veth pair between two namespaces: no rate, no delay. Goes with either of them."""

    def __init__(self, here, here_device, there, there_device):
        command("ip", "link", "add", here_device, "netns", here.name, "type", "veth", "peer", "name", there_device,
                "netns", there.name)

    def stop(self):
        pass


class Wire:
    """A link of a given rate, delay and buffer between two namespaces; see wire.c."""

    def __init__(self, program, here, here_device, there, there_device, link, log_file):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", program, here.name, here_device, there.name, there_device,
             *(str(n) for n in (link.mbit_per_s, link.delay_ms, link.buffer_ms, link.loss_percent))],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        if self.process.stdout.readline() != "ready\n":
            raise CommandFailed(f"wire ended with {self.process.wait()}")
        self.log_file = log_file

    def stop(self):
        said, _ = self.process.communicate()
        with open(self.log_file, "a", encoding="ascii") as log:
            log.write(said)
