# SPDX-License-Identifier: BSD-3-Clause
"""Commands, and programs that run in a namespace for a while."""
import os
import subprocess

from .waiting import wait_until

STOP_PATIENCE_S = 10


class CommandFailed(Exception):
    pass


def command(*words, **options):
    """Runs a command and returns what it printed; raises with its words when it fails."""
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          **options)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(words)} ended with {done.returncode}: {done.stdout.strip()[-2000:]}")
    return done.stdout


class Program:
    """A program under way in a namespace, its output in a file. It dies with us."""

    def __init__(self, namespace, words, log_file, env=None, stdin=subprocess.DEVNULL):
        self.words = [str(word) for word in words]
        self.log_file = log_file
        with open(log_file, "ab") as log:
            self.log_start = log.tell()
            # A session of its own: Ctrl-C is for us, who then end the programs in order.
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", *namespace.enter, *self.words], stdin=stdin, stdout=log,
                stderr=subprocess.STDOUT, env=env, start_new_session=True)

    @property
    def pid(self):
        return self.process.pid

    @property
    def running(self):
        return self.process.poll() is None

    def log(self):
        """What it has printed since its start."""
        with open(self.log_file, encoding="utf-8", errors="backslashreplace") as log:
            log.seek(self.log_start)
            return log.read()

    def wait_ready(self, ready, what):
        """Until ready() is true; an end before that raises with the log."""
        def look():
            if not self.running:
                raise CommandFailed(f"{' '.join(self.words)} ended with {self.process.returncode}:\n"
                                    + self.log()[-4000:])
            return ready()

        return wait_until(look, what)

    def cpu_s(self):
        """Processor time of all its threads so far."""
        total_ns = 0
        for task in os.listdir(f"/proc/{self.pid}/task"):
            with open(f"/proc/{self.pid}/task/{task}/schedstat", encoding="ascii") as file:
                total_ns += int(file.read().split()[0])
        return total_ns / 1e9

    def stop(self):
        if self.running:
            self.process.terminate()
        try:
            self.process.wait(STOP_PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
