# SPDX-License-Identifier: BSD-3-Clause
"""A certificate authority in a process of its own, and the DNS server that it asks."""
import json
import os
import ssl
import subprocess
import time
import urllib.request

from cryptography import x509
from cryptography.hazmat.primitives import serialization

import certs
from derper import free_port
from waiting import wait_until

# What Pebble is told to wait at most between a challenge that is offered and its look at it.
QUICK = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": "0", "PEBBLE_AUTHZREUSE": "0"}
PROFILES = {"default": 90 * 24 * 3600, "shortlived": 6 * 24 * 3600}


class Program:
    """A program that serves until it is told to end."""

    def __init__(self, words, log_file, env=None):
        self.words, self.log_file = words, log_file
        self.env = dict(os.environ, **(env or {}))
        self.process = None

    def launch(self, ready):
        """Starts the program and waits until its log holds `ready`."""
        before = len(self.log())
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.env)

        def is_up():
            assert self.process.poll() is None, f"{self.words[0]} ended while starting:\n{self.log()}"
            return ready in self.log()[before:]

        wait_until(is_up, f"{self.words[0]} to serve")

    def log(self):
        try:
            with open(self.log_file, encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Names(Program):
    """A DNS server by whose word every name lies at 127.0.0.1, unless it is told otherwise."""

    def __init__(self, binary, folder):
        self.address = f"127.0.0.1:{free_port()}"
        self.management = f"127.0.0.1:{free_port()}"
        super().__init__([binary, "-http01", "", "-https01", "", "-doh", "", "-tlsalpn01", "", "-defaultIPv6", "",
                          "-dnsserver", self.address, "-management", self.management],
                         os.path.join(folder, "names.log"))

    def start(self):
        self.launch("Starting management server")
        return self

    def tell(self, what, **how):
        """tell("set-servfail", host="…"): see the README of pebble-challtestsrv."""
        request = urllib.request.Request(f"http://{self.management}/{what}", json.dumps(how).encode())
        urllib.request.urlopen(request, timeout=5).close()


class Pebble(Program):
    """`http_port` and `tls_port`: where it reaches those who want a certificate."""

    def __init__(self, binary, folder, names, authority, http_port, tls_port, env=None, eab=None, profiles=None,
                 blocked=()):
        self.folder = str(folder)
        self.authority = authority
        self.port, self.management_port = free_port(), free_port()
        self.config = {
            "listenAddress": f"127.0.0.1:{self.port}", "managementListenAddress": f"127.0.0.1:{self.management_port}",
            "certificate": os.path.join(self.folder, "127.0.0.1.crt"),
            "privateKey": os.path.join(self.folder, "127.0.0.1.key"),
            "httpPort": http_port, "tlsPort": tls_port, "keyAlgorithm": "ecdsa",
            "domainBlocklist": list(blocked), "retryAfter": {"authz": 1, "order": 1},
            "externalAccountBindingRequired": bool(eab), "externalAccountMACKeys": eab or {},
            "profiles": {name: {"description": name, "validityPeriod": seconds}
                         for name, seconds in (profiles or PROFILES).items()},
        }
        file = os.path.join(self.folder, "pebble.json")
        super().__init__([binary, "-config", file, "-dnsserver", names.address],
                         os.path.join(self.folder, "pebble.log"), dict(QUICK, **(env or {})))
        os.makedirs(self.folder, exist_ok=True)
        self.ca_file = os.path.join(self.folder, "ca.pem")
        with open(self.ca_file, "wb") as out:
            out.write(certs.pem(authority.certificate))
        authority.install(self.folder, "127.0.0.1", "127.0.0.1", "localhost")
        with open(file, "w", encoding="ascii") as out:
            json.dump({"pebble": self.config}, out)

    def start(self):
        self.launch("ACME directory available at")
        wait_until(self.answers, "Pebble's management")
        return self

    def answers(self):
        try:
            return self.manage("/roots/0")
        except OSError:
            return None

    def restart(self):
        """It forgets everything, and has other keys afterwards."""
        self.stop()
        self.start()

    @property
    def directory(self):
        return f"https://127.0.0.1:{self.port}/dir"

    def trust(self):
        return ssl.create_default_context(cafile=self.ca_file)

    def manage(self, path, body=None):
        url = f"https://127.0.0.1:{self.management_port}{path}"
        with urllib.request.urlopen(urllib.request.Request(url, body), context=self.trust(), timeout=5) as answer:
            return answer.read()

    def root_pem(self):
        return self.manage("/roots/0")

    def root(self):
        return x509.load_pem_x509_certificate(self.root_pem())

    def suggest(self, certificate, start, end):
        """Renewal information: between these seconds from now."""
        def stamp(seconds):
            return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + seconds))

        window = {"suggestedWindow": {"start": stamp(start), "end": stamp(end)}}
        text = certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.manage("/set-renewal-info/",
                    json.dumps({"Certificate": text, "ARIResponse": json.dumps(window)}).encode())
