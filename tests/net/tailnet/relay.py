# SPDX-License-Identifier: BSD-3-Clause
"""The relay: this project's, or any other derper."""
import hashlib
import json
import os
import re
import ssl

from .program import CommandFailed, command

KEY_FILE = "derper.key"


def parse_varz(text):
    """The samples of a metrics page by their names with labels."""
    samples = {}
    for line in text.splitlines():
        name, _, value = line.rpartition(" ")
        if name and not line.startswith("#"):
            try:
                samples[name] = float(value)
            except ValueError:
                pass
    return samples


def drops(before, after):
    """How much each of the drop counters rose, as reason/kind, without those that did not."""
    rose = {}
    for name, value in after.items():
        match = re.fullmatch(r'derp_packets_dropped{reason="(\w+)",kind="(\w+)"}', name)
        if match and value > before.get(name, 0):
            rose["/".join(match.groups())] = int(value - before.get(name, 0))
    return rose


class Relay:
    """Key and certificate stay from start to start, and whichever program it is has the same: clients see one relay."""

    def __init__(self, namespace, address, folder, region=900, port=443, stun_port=3478):
        self.namespace = namespace
        self.address = address
        self.folder = folder
        self.region = region
        self.port = port
        self.stun_port = stun_port
        self.hostname = address
        self.log_file = os.path.join(folder, "relay.log")
        self.running = None
        os.makedirs(folder)
        self.pin = self.make_certificate()

    def make_certificate(self):
        """A self-signed one. Returns what clients know it by."""
        certificate = os.path.join(self.folder, f"{self.address}.crt")
        command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days",
                "30", "-subj", f"/CN={self.address}", "-addext", f"subjectAltName=IP:{self.address}", "-keyout",
                os.path.join(self.folder, f"{self.address}.key"), "-out", certificate)
        with open(certificate, encoding="ascii") as file:
            return hashlib.sha256(ssl.PEM_cert_to_DER_cert(file.read())).hexdigest()

    def start(self, program, arguments=(), env=None, hostname=None):
        """`hostname` with a certificate in the folder; without it, the relay is known by address and pin."""
        self.hostname = hostname or self.address
        return self.run(
            [program, "-a", f"{self.address}:{self.port}", "--hostname", self.hostname, "--certmode", "manual",
             "--certdir", self.folder, "-c", os.path.join(self.folder, KEY_FILE), "--http-port", "80", "--stun-port",
             self.stun_port, *arguments], env)

    def run(self, words, env=None):
        """By any words that start it at `hostname` and `port`."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("TS_", "DERP"))}
        environment = dict(clean, TS_DEBUG_TRUSTED_CIDRS=f"{self.address}/32", **(env or {}))
        self.running = self.namespace.start(words, self.log_file, env=environment)
        self.running.wait_ready(self.varz, "the relay's metrics")
        return self

    def varz(self):
        """The counters, or nothing while it does not answer. It is asked from its own machine."""
        try:
            return parse_varz(self.namespace.run(
                "curl", "-s", "-k", "--max-time", "5", "--connect-to", f"::{self.address}:{self.port}",
                f"https://{self.hostname}:{self.port}/debug/varz"))
        except CommandFailed:
            return {}

    def announced(self):
        """The DERP maps that it prints: the JSON, decoded, and the YAML."""
        found = re.search(r"\(access controls, as JSON\):\n\n(.*?)\n\n.*, as YAML\):\n\n(.*?)\n\n",
                          self.running.log(), re.S)
        return json.loads(found[1]), found[2] + "\n"

    def kill(self):
        self.running.process.kill()
        self.stop()

    def stop(self):
        if self.running:
            self.running.stop()
            self.running = None
