# SPDX-License-Identifier: BSD-3-Clause
"""A relay that gets its certificates from a test's authority."""
import os
import socket
import ssl
import time

from cryptography import x509

from derper import ARGS, Derper, free_port
from waiting import wait_until

ISSUE_PATIENCE = 15.0


class Relay(Derper):
    """`challenge`: "http-01" or "tls-alpn-01", by the port that it leaves out, or "both"."""

    def __init__(self, ca, folder, hostnames="derp.test", args=(), certmode="letsencrypt", challenge="both"):
        self.ca, self.hostnames, self.certmode, self.challenge = ca, hostnames, certmode, challenge
        super().__init__(folder, "acme", args)

    def pick_ports(self):
        super().pick_ports()
        self.port = self.ca.tls_port
        self.http_port = self.ca.http_port if self.challenge != "tls-alpn-01" else -1
        if self.challenge == "http-01":
            self.port = free_port()  # where the authority does not look

    def arguments(self):
        return ["-a", self.address_argument(), "-c", self.key_file, "--hostname", self.hostnames,
                "--certmode", self.certmode, "--certdir", self.cert_dir, "--http-port", str(self.http_port),
                "--stun-port", str(self.stun_port), "--acme-directory", self.ca.proxy.directory,
                "--acme-ca", self.ca.pebble.ca_file, *self.args, *ARGS]

    @property
    def sni(self):
        return self.hostnames.split(",")[0]

    def path(self, name):
        return os.path.join(self.cert_dir, name)

    def handshake(self, name=None, context=None):
        """The certificate that a client of this name gets who trusts the authority and nobody else."""
        context = context or self.ca.client()
        with socket.create_connection(self.address, timeout=10) as plain:
            with context.wrap_socket(plain, server_hostname=name or self.sni) as tls:
                return x509.load_der_x509_certificate(tls.getpeercert(binary_form=True))

    def refuses(self, name=None):
        try:
            self.handshake(name)
        except ssl.SSLCertVerificationError as fault:
            raise AssertionError(f"a certificate that is not to be trusted: {fault}") from None
        except (ssl.SSLError, ConnectionError):
            return True
        return False

    def serves(self, name=None, other_than=None, patience=ISSUE_PATIENCE):
        """Waits for a certificate that can be trusted, and is not that one."""
        def look():
            try:
                leaf = self.handshake(name)
            except ssl.SSLCertVerificationError as fault:
                raise AssertionError(f"a certificate that is not to be trusted: {fault}") from None
            except (ssl.SSLError, ConnectionError):
                return None
            return leaf if other_than is None or leaf.serial_number != other_than.serial_number else None

        return wait_until(look, f"a certificate for {name or self.sni}", patience, pause=0.1)

    def end_with(self, number, patience=5.0):
        """Signals it and returns how long it took to end."""
        self.expect_end = True
        begin = time.monotonic()
        self.signal(number)
        self.wait_exit(patience)
        return time.monotonic() - begin
