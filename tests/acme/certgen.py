# SPDX-License-Identifier: BSD-3-Clause
"""`certgen acme` as a person runs it, with what it took."""
import os
import re
import subprocess
import tempfile
import time
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtensionOID

import certs
from derper import BINARY, SANITIZED, SANITIZER_REPORT

PROGRAM = os.path.join(os.path.dirname(os.path.dirname(BINARY)), "certgen", "certgen")
PATIENCE = 30.0
MEMORY_KIB = 80 * 1024  # of which 45 MiB are what the test itself has when it starts the program


class Run(NamedTuple):
    status: int
    out: str
    err: str
    seconds: float
    peak_kib: int


class Process:
    def __init__(self, words):
        self.out, self.err = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self.begin = time.monotonic()
        self.process = subprocess.Popen([PROGRAM, *words], stdin=subprocess.DEVNULL, stdout=self.out, stderr=self.err)

    def text(self, file):
        file.seek(0)
        return file.read().decode("utf-8", "backslashreplace")

    def kill(self):
        self.process.kill()
        self.process.wait()

    def runs(self):
        return os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def result(self, patience=PATIENCE):
        """Waits for its end. What it says must be fit for a terminal, and no sanitizer may have said anything."""
        while True:
            pid, status, usage = os.wait4(self.process.pid, os.WNOHANG)
            seconds = time.monotonic() - self.begin
            if pid:
                break
            if seconds > patience:
                self.kill()
                raise AssertionError(f"certgen still runs after {patience:g} s: {self.text(self.err)}")
            time.sleep(0.01)
        self.process.returncode = os.waitstatus_to_exitcode(status)
        run = Run(self.process.returncode, self.text(self.out), self.text(self.err), seconds, usage.ru_maxrss)
        print(run)
        assert not SANITIZER_REPORT.search(run.err), run.err
        assert run.status in (0, 1, 2), run
        assert all(c >= " " or c == "\n" for c in run.out + run.err), run
        assert SANITIZED or run.peak_kib < MEMORY_KIB, run
        return run


class Certgen:
    """Keeps its files in `folder`, and answers on `ca`'s HTTP port."""

    def __init__(self, ca, folder):
        self.ca, self.folder = ca, str(folder)
        os.makedirs(self.folder, exist_ok=True)

    def begin(self, *words, directory=None, port=None):
        return Process(["acme", "-d", self.folder, "--directory", directory or self.ca.proxy.directory, "--ca",
                        self.ca.pebble.ca_file, "--port", str(port or self.ca.http_port), *words])

    def run(self, *words, patience=PATIENCE, **options):
        return self.begin(*words, **options).result(patience)

    def issue(self, *words, **options):
        run = self.run(*words, **options)
        assert run.status == 0, run.err
        return run

    def refuse(self, *words, **options):
        """The sentence that it ends with."""
        run = self.run(*words, **options)
        assert run.status == 1 and run.out == "", run
        sentence = run.err.splitlines()[-1]
        assert re.match(r"certgen: \S", sentence)
        return sentence

    # What it has in its folder

    def path(self, name):
        return os.path.join(self.folder, name)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def files(self):
        return sorted(os.listdir(self.folder))

    def chain(self, name):
        return [x509.load_pem_x509_certificate(part + b"-----END CERTIFICATE-----\n")
                for part in self.read(name + ".crt").split(b"-----END CERTIFICATE-----\n")[:-1]]

    def leaf(self, name):
        return self.chain(name)[0]

    def order(self, name):
        return f"acme_order+{name}"

    def holds_pair(self, name):
        """Whether certificate and key are there and belong together."""
        key = serialization.load_pem_private_key(self.read(name + ".key"), None)
        return certs.same_key(key.public_key(), self.leaf(name).public_key())


def names_of(certificate):
    names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
    return [str(name.value) for name in names]
