# SPDX-License-Identifier: BSD-3-Clause
"""Binding requests as Tailscale's clients send them, and the answers to them."""
import ipaddress
import os
import socket
import struct
import zlib

COOKIE = bytes.fromhex("2112a442")
SOFTWARE = 0x8022
FINGERPRINT = 0x8028
XOR_MAPPED_ADDRESS = 0x0020
ERROR_CODE = 0x0009
UNKNOWN_ATTRIBUTES = 0x000A
FINGERPRINT_XOR = 0x5354554E
BINDING_REQUEST = 0x0001
BINDING_ANSWER = 0x0101
BINDING_ERROR = 0x0111


def attribute(kind, value):
    return struct.pack(">HH", kind, len(value)) + value + bytes(-len(value) % 4)


def message(kind, transaction, attributes, fingerprint=True, spoil=0):
    length = len(attributes) + (8 if fingerprint else 0)
    text = struct.pack(">HH", kind, length) + COOKIE + transaction + attributes
    if fingerprint:
        text += attribute(FINGERPRINT, struct.pack(">I", zlib.crc32(text) ^ FINGERPRINT_XOR ^ spoil))
    return text


def request(transaction=None, software=b"tailnode", more=b"", **options):
    attributes = attribute(SOFTWARE, software) if software is not None else b""
    return message(BINDING_REQUEST, transaction or os.urandom(12), attributes + more, **options)


def parse_answer(data, transaction):
    """The address and port in an answer that holds that attribute and nothing else."""
    kind, length = struct.unpack(">HH", data[:4])
    assert (kind, length) == (BINDING_ANSWER, len(data) - 20), data.hex()
    assert data[4:8] == COOKIE and data[8:20] == transaction
    attribute_kind, size, zero, family = struct.unpack(">HHBB", data[20:26])
    assert (attribute_kind, zero) == (XOR_MAPPED_ADDRESS, 0) and size == len(data) - 24
    mask = COOKIE + transaction
    port = struct.unpack(">H", data[26:28])[0] ^ struct.unpack(">H", mask[:2])[0]
    raw = bytes(a ^ b for a, b in zip(data[28:], mask))
    assert len(raw) == {1: 4, 2: 16}[family]
    return ipaddress.ip_address(raw), port


def error_attributes(data, transaction):
    """The attributes of an error answer, by their types."""
    kind, length = struct.unpack(">HH", data[:4])
    assert (kind, length) == (BINDING_ERROR, len(data) - 20), data.hex()
    assert data[4:8] == COOKIE and data[8:20] == transaction
    attributes = {}
    rest = data[20:]
    while rest:
        kind, size = struct.unpack(">HH", rest[:4])
        attributes[kind] = rest[4:4 + size]
        rest = rest[4 + size + -size % 4:]
    return attributes


def client(server, source=None):
    """A socket that takes answers from nobody but `server`."""
    family = socket.AF_INET6 if ":" in server[0] else socket.AF_INET
    udp = socket.socket(family, socket.SOCK_DGRAM)
    if source:
        udp.bind((source, 0))
    udp.connect(server)
    return udp
