#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Writes the corpora of fuzz_pair, fuzz_successor and fuzz_check below tests/fuzz/corpus, with new certificates."""
import base64
import datetime
import ipaddress
import os

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.x509.oid import NameOID

CORPUS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")
HOST, ADDRESS = "fuzz.test", "203.0.113.1"
YEAR = datetime.timedelta(365)
MADE = datetime.datetime(2027, 1, 1)
SUCCESSOR_KEY = ec.derive_private_key(0x0F0E0D0C0B0A, ec.SECP256R1())  # whose PEM stands in fuzz_successor.c, too


def put(fuzzer, name, data):
    folder = os.path.join(CORPUS, fuzzer)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "wb") as file:
        file.write(data)


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)] if text else [])


def issue(key, subject=HOST, issuer=None, issuer_key=None, names=(HOST,), start=MADE, end=MADE + 10 * YEAR, serial=2):
    """`subject` and `issuer` are texts or x509.Name."""
    subject, issuer = [n if isinstance(n, x509.Name) else named(n) for n in (subject, issuer or subject)]
    builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
               .serial_number(serial).not_valid_before(start).not_valid_after(end))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(
            [n if isinstance(n, x509.GeneralName) else x509.DNSName(n) for n in names]), critical=False)
    signer = issuer_key or key
    return builder.sign(signer, None if isinstance(signer, ed25519.Ed25519PrivateKey) else hashes.SHA256())


def pem(cert):
    return cert.public_bytes(serialization.Encoding.PEM)


def der(cert):
    return cert.public_bytes(serialization.Encoding.DER)


def pem_block(name, data):
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (name, base64.encodebytes(data), name)


def key_pem(key, form="PKCS8", passphrase=None):
    hidden = serialization.BestAvailableEncryption(passphrase) if passphrase else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, getattr(serialization.PrivateFormat, form), hidden)


def make_pairs():
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP384R1())
    leaf = issue(key, issuer="middle", issuer_key=other)
    chain = pem(leaf) + pem(issue(other, "middle", "root")) + pem(issue(other, "root"))
    private = key_pem(key)
    put("pair", "two_files", chain + b"\0" + private)
    put("pair", "key_first", private + chain)
    put("pair", "key_last", chain + private)
    put("pair", "key_between", pem(leaf) + private + chain[len(pem(leaf)):])
    put("pair", "crlf", (private + chain).replace(b"\n", b"\r\n"))
    put("pair", "garbage_between", b"Bag Attributes\n" + pem(leaf) + b"# a word\xff\n-----\n" + private + b"the end")
    put("pair", "no_final_line_end", (chain + private).rstrip())
    put("pair", "spaces_at_line_ends", (chain + private).replace(b"\n", b" \n"))
    put("pair", "byte_order_mark", b"\xef\xbb\xbf" + pem(leaf) + private)
    put("pair", "encrypted", chain + key_pem(key, passphrase=b"secret"))
    put("pair", "encrypted_traditional", chain + key_pem(key, "TraditionalOpenSSL", b"secret"))
    put("pair", "sec1_with_parameters", chain + b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n"
        b"-----END EC PARAMETERS-----\n" + key_pem(key, "TraditionalOpenSSL"))
    put("pair", "key_of_another", chain + key_pem(other))
    put("pair", "two_keys", chain + private + key_pem(other))
    put("pair", "order_reversed", pem(issue(other, "middle", "root")) + pem(leaf) + private)
    put("pair", "swapped", private + b"\0" + chain)
    put("pair", "der", der(leaf) + b"\0")
    put("pair", "public_key", pem(leaf) + key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    put("pair", "request", x509.CertificateSigningRequestBuilder().subject_name(named(HOST)).sign(
        key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM) + private)
    put("pair", "cut_in_block", (private + chain)[:-60])
    put("pair", "cut_in_base64", private + pem(leaf)[:200] + b"\n-----END CERTIFICATE-----\n")
    put("pair", "bytes_behind_der", private + pem_block(b"CERTIFICATE", der(leaf) + b"more"))
    put("pair", "trusted_certificate", private + pem_block(b"X509 CERTIFICATE", der(leaf)))
    put("pair", "expired", pem(issue(key, start=MADE - 2 * YEAR, end=MADE - YEAR)) + private)
    put("pair", "other_name", pem(issue(key, names=["other.test", "*.fuzz.test"])) + private)
    put("pair", "no_name", pem(issue(key, names=[])) + private)
    put("pair", "strange_names", pem(issue(key, names=strange_names())) + private)
    small = ed25519.Ed25519PrivateKey.generate()
    put("pair", "ed25519", pem(issue(small)) + key_pem(small))
    put("pair", "many", pem(issue(small)) * 60 + key_pem(small))
    weak = rsa.generate_private_key(65537, 1024)
    put("pair", "rsa_pkcs1", pem(issue(weak)) + key_pem(weak, "TraditionalOpenSSL"))
    put("pair", "key_that_cannot_sign", pem(leaf) + key_pem(x25519.X25519PrivateKey.generate()))
    put("pair", "nothing", b"")
    put("pair", "no_pem", b"certificate\n")


def strange_names():
    return [x509.DNSName._init_without_validation("a\0b.test"), x509.DNSName._init_without_validation("\x1b[2J\n"),
            x509.DNSName("*"), x509.DNSName(".fuzz.test"), x509.DNSName("x" * 200), x509.RFC822Name("a@fuzz.test"),
            x509.IPAddress(ipaddress.ip_address("2001:db8::1"))]


def make_successors():
    def successor(**more):
        return pem(issue(SUCCESSOR_KEY, ADDRESS, names=[x509.IPAddress(ipaddress.ip_address(ADDRESS))],
                         **{"end": MADE + 20 * YEAR, **more}))

    def words(when):
        return b"This certificate serves from %s on.\n" % when

    good = successor()
    for name, when in [("later", b"2036-12-20T00:00:00Z"), ("at_once", b"2027-01-31T12:00:00Z"),
                       ("after_the_end", b"2099-01-31T12:00:00Z"), ("no_time", b"2027-13-31T12:00:00Z"),
                       ("before_1970", b"1960-01-31T12:00:00Z"), ("cut_time", b"2027-01-"),
                       ("offset", b"2036-12-20T00:00:00+09:00")]:
        put("successor", name, words(when) + good)
    later = words(b"2036-12-20T00:00:00Z")
    put("successor", "no_words", good)
    put("successor", "crlf", (later + good).replace(b"\n", b"\r\n"))
    put("successor", "words_behind", good + later)
    put("successor", "words_alone", later)
    put("successor", "two", later + good + good)
    put("successor", "short_life", later + successor(end=MADE + 10 * YEAR + datetime.timedelta(30)))
    put("successor", "not_yet_valid", later + successor(start=MADE + 15 * YEAR))
    put("successor", "other_key", later + pem(issue(ec.generate_private_key(ec.SECP256R1()), ADDRESS)))
    put("successor", "other_name", later + pem(issue(SUCCESSOR_KEY, ADDRESS, end=MADE + 20 * YEAR)))
    put("successor", "of_an_authority", later + successor(issuer="authority"))
    put("successor", "with_key", later + good + key_pem(SUCCESSOR_KEY))
    put("successor", "nothing", b"")


def make_shown():
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = issue(key, issuer="middle", issuer_key=key)
    relay = "derpkey" + "5a" * 32
    meta = [der(issue(key, n, names=[], serial=s)) for n, s in [(relay, 2), (relay, 300), (relay.upper(), 2),
                                                                (relay + "0", 2), ("derpkey\x1b[31m", 2)]]
    put("check", "leaf", der(leaf))
    put("check", "self_signed", der(issue(key)))
    put("check", "chain_and_meta", der(leaf) + der(issue(key, "middle", "root")) + meta[0])
    put("check", "meta_first", meta[0] + der(leaf))
    put("check", "meta_alone", meta[0])
    for name, one in zip(["version", "upper", "long", "control"], meta[1:]):
        put("check", "meta_" + name, der(leaf) + one)
    put("check", "two_metas", der(leaf) + meta[0] + meta[4])
    put("check", "strange_names", der(issue(key, names=strange_names())))
    put("check", "many_names", der(issue(key, names=[f"host{i}.fuzz.test" for i in range(300)])))
    put("check", "no_subject", der(issue(key, "")))
    strange = "\x1b]0;title\x07\r\nnames: fuzz.test\0\u202eb\u009b31m"
    put("check", "control_characters", der(issue(key, strange)))
    put("check", "long_subject", der(issue(key, x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "\\,+=" * 16) for _ in range(40)]))))
    put("check", "expired", der(issue(key, end=MADE - YEAR, start=MADE - 2 * YEAR)))
    put("check", "nothing", b"")


if __name__ == "__main__":
    make_pairs()
    make_successors()
    make_shown()
