# SPDX-License-Identifier: BSD-3-Clause
"""Certificates for tests: an authority of its own, and leaves with any fault that is asked for."""
import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID


def now():
    return datetime.datetime.utcnow()


def days(n):
    return datetime.timedelta(days=n)


def new_key(kind="ec"):
    if kind == "rsa":
        return rsa.generate_private_key(65537, 2048)
    return ec.generate_private_key(ec.SECP256R1())


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def der(certificate):
    return certificate.public_bytes(serialization.Encoding.DER)


def key_pem(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption())


def same_key(one, other):
    return one.public_numbers() == other.public_numbers()


def common_name(certificate):
    return certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value


def alternative_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A certificate authority; intermediate() makes one below it."""

    def __init__(self, name="derper test authority", parent=None):
        self.key = new_key()
        self.parent = parent
        self.certificate = self.sign_authority(name)

    def sign_authority(self, name):
        issuer = self.parent or self
        issuer_name = issuer.certificate.subject if self.parent else named(name)
        return (self.builder(named(name), issuer_name, self.key, now() - days(1), now() + days(90))
                .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
                .sign(issuer.key, hashes.SHA256()))

    @staticmethod
    def builder(subject, issuer, key, start, end):
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer)
                .public_key(key.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(start).not_valid_after(end))

    def intermediate(self):
        return Authority("derper test intermediate", parent=self)

    def chain(self):
        """The certificates between a leaf of this authority and the root, without the root."""
        return [self.certificate] + self.parent.chain() if self.parent else []

    def leaf(self, *names, kind="ec", start=-1, end=30):
        """A certificate for these names, valid from `start` to `end` days from now, and its key."""
        key = new_key(kind)
        builder = self.builder(named(names[0]), self.certificate.subject, key,
                               now() + days(start), now() + days(end))
        builder = builder.add_extension(
            x509.SubjectAlternativeName([alternative_name(n) for n in names]), critical=False)
        return builder.sign(self.key, hashes.SHA256()), key

    def install(self, folder, hostname, *names, **leaf_options):
        """Writes hostname.crt (leaf and intermediates) and hostname.key; returns the leaf."""
        certificate, key = self.leaf(*(names or (hostname,)), **leaf_options)
        write_pair(folder, hostname, [certificate] + self.chain(), key)
        return certificate


def write_pair(folder, hostname, chain, key):
    os.makedirs(folder, exist_ok=True)
    write_whole(os.path.join(folder, hostname + ".key"), key_pem(key), 0o600)
    write_whole(os.path.join(folder, hostname + ".crt"), b"".join(pem(c) for c in chain))


def write_whole(path, data, mode=0o644):
    """Replaces a file in one step, as a renewal tool does."""
    with open(path + ".new", "wb") as file:
        file.write(data)
    os.chmod(path + ".new", mode)
    os.rename(path + ".new", path)
