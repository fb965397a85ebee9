# SPDX-License-Identifier: BSD-3-Clause
"""A certificate authority that nobody knows but who is told."""
import os

from .program import command

KEY_OPTIONS = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]


class Authority:
    def __init__(self, folder):
        self.folder = folder
        self.certificate = os.path.join(folder, "ca.crt")
        self.key = os.path.join(folder, "ca.key")
        os.makedirs(folder)
        command("openssl", "req", "-x509", *KEY_OPTIONS, "-subj", "/CN=Authority of the test", "-keyout", self.key,
                "-out", self.certificate)

    def issue(self, name, folder):
        """NAME.crt and NAME.key for a host name."""
        path = os.path.join(folder, name)
        command("openssl", "req", "-x509", *KEY_OPTIONS, "-subj", f"/CN={name}",
                "-addext", f"subjectAltName=DNS:{name}", "-addext", "basicConstraints=critical,CA:FALSE",
                "-CA", self.certificate, "-CAkey", self.key, "-keyout", path + ".key", "-out", path + ".crt")
