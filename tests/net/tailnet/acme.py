# SPDX-License-Identifier: BSD-3-Clause
"""tests/acme's certificate authority, Pebble, on the relay's machine."""
import os

import certs
import pebble
import programs

from .program import CommandFailed

HTTP_PORT, TLS_PORT = 80, 443


class Pebble(pebble.Pebble):
    """Its certificates are good for `life_s`. For its DNS server every name lies at 127.0.0.1."""

    def __init__(self, namespace, folder, life_s):
        binaries = programs.build()
        self.namespace = namespace
        os.mkdir(folder)
        self.names = pebble.Names(binaries["pebble-challtestsrv"], folder)
        super().__init__(binaries["pebble"], folder, self.names, certs.Authority("directory authority"), HTTP_PORT,
                         TLS_PORT, profiles={"default": life_s, "shortlived": life_s})
        for program in (self, self.names):
            program.words[:0] = namespace.enter

    def start(self):
        self.names.start()
        return super().start()

    def manage(self, path, body=None):
        assert body is None
        return self.namespace.run("curl", "-s", "-f", "--cacert", self.ca_file,
                                  f"https://127.0.0.1:{self.management_port}{path}").encode()

    def answers(self):
        try:
            return self.root_pem()
        except CommandFailed:
            return None

    def stop(self):
        super().stop()
        self.names.stop()
