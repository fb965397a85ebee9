# SPDX-License-Identifier: BSD-3-Clause
"""A DERP client that can do what a well-behaved one cannot.

TLS runs over memory buffers, so a test decides about every byte on the wire: in which pieces it leaves, where it
stops, and how the connection ends.
"""
import json
import re
import select
import socket
import ssl
import struct

from nacl.exceptions import CryptoError
from nacl.public import Box, PrivateKey, PublicKey

from stalls import now
from waiting import PATIENCE, QUIET

MAGIC = bytes.fromhex("44455250f09f9491")
DISCO_MAGIC = bytes.fromhex("5453f09f92ac")
KEY_BYTES = 32
MAX_PACKET_BYTES = 65536

SERVER_KEY = 0x01
CLIENT_INFO = 0x02
SERVER_INFO = 0x03
SEND_PACKET = 0x04
RECV_PACKET = 0x05
KEEP_ALIVE = 0x06
NOTE_PREFERRED = 0x07
PEER_GONE = 0x08
PEER_PRESENT = 0x09
FORWARD_PACKET = 0x0A
WATCH_CONNS = 0x10
CLOSE_PEER = 0x11
PING = 0x12
PONG = 0x13
HEALTH = 0x14
RESTARTING = 0x15

GONE_DISCONNECTED = 0
GONE_NOT_HERE = 1

# What Go's client and Tailscale's Rust client say of themselves.
GO_INFO = {"version": 2, "CanAckPings": True, "IsProber": False}
RUST_INFO = {"can_ack_pings": False, "is_prober": False, "mesh_key": "none", "version": 2}


class Closed(Exception):
    """The other side ended the connection; the text says how."""


class Quiet(Exception):
    """Nothing came within the time."""


def frame(kind, payload=b""):
    return struct.pack(">BI", kind, len(payload)) + payload


def send_packet(to, data):
    return frame(SEND_PACKET, to + data)


def disco(text=b""):
    """A packet that looks like a discovery message."""
    return DISCO_MAGIC + bytes(32 + 24) + text


def client_context(lowest=ssl.TLSVersion.TLSv1_2, highest=ssl.TLSVersion.TLSv1_3):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = lowest
    context.maximum_version = highest
    return context


def chain_of(tls):
    """The certificates that the server sent, as DER."""
    if hasattr(tls, "get_unverified_chain"):
        return list(tls.get_unverified_chain())
    import _ssl
    return [c.public_bytes(_ssl.ENCODING_DER) for c in tls._sslobj.get_unverified_chain()]


class Response:
    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/1\.[01] (\d{3})(?: (.*))?", lines[0])
        assert match, f"not a status line: {lines[0]!r}"
        self.status_line = lines[0]
        self.status = int(match[1])
        self.fields = []
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            assert colon and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), f"header {line!r}"
            self.fields.append((name, value.strip()))
        self.body = b""

    def get(self, name, default=None):
        values = [v for n, v in self.fields if n.lower() == name.lower()]
        assert len(values) < 2, f"{name} appears {len(values)} times"
        return values[0] if values else default

    def __contains__(self, name):
        return self.get(name) is not None

    @property
    def text(self):
        return self.body.decode("utf-8")

    def __repr__(self):
        return f"<{self.status_line} {self.fields} {self.body[:200]!r}>"


class Link:
    """One connection, TLS or not."""

    def __init__(self, address, receive_buffer=None, source=None):
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.bind((source, 0))
        self.socket.settimeout(PATIENCE)
        self.socket.connect(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.host = address[0]
        self.tls = None
        self.received = bytearray()

    # TLS

    def prepare_tls(self, sni=None, context=None, session=None):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = (context or client_context()).wrap_bio(
            self.incoming, self.outgoing, server_hostname=sni, session=session)

    def client_hello(self):
        """The first flight, not sent yet."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            pass
        return self.outgoing.read()

    def start_tls(self, sni=None, context=None, session=None):
        self.prepare_tls(sni, context, session)
        self.finish_handshake()

    def finish_handshake(self):
        while True:
            try:
                self.tls.do_handshake()
                self.flush()
                return
            except ssl.SSLWantReadError:
                self.flush()
                self.feed_tls(PATIENCE)
            except ssl.SSLError:
                self.flush_if_possible()
                raise

    def feed_tls(self, patience):
        data = self.receive(patience)
        if data:
            self.incoming.write(data)
        else:
            self.incoming.write_eof()

    def flush(self):
        data = self.outgoing.read()
        if data:
            self.send_raw(data)

    def flush_if_possible(self):
        try:
            self.flush()
        except OSError:
            pass

    # Writing

    def send_raw(self, data):
        self.socket.sendall(data)

    def seal(self, data):
        """What `data` looks like on the wire, not sent yet."""
        if not self.tls:
            return bytes(data)
        sealed = b""
        view = memoryview(data)
        while len(view):
            view = view[self.tls.write(view[:65536]):]
            sealed += self.outgoing.read()
        return sealed

    def write(self, data):
        self.send_raw(self.seal(data))

    def write_slowly(self, data):
        """Each byte in a record of its own."""
        for i in range(len(data)):
            self.write(data[i:i + 1])

    def write_raw_slowly(self, data):
        """One record, each byte of it in a segment of its own."""
        sealed = self.seal(data)
        for i in range(len(sealed)):
            self.send_raw(sealed[i:i + 1])

    # Reading

    def receive(self, patience):
        """Raw bytes; empty at the end of the stream."""
        poll = select.poll()  # select() takes no descriptor above 1023
        poll.register(self.socket, select.POLLIN)
        deadline = now() + max(patience, 0)
        while not poll.poll(max(deadline - now(), 0) * 1000):
            if now() >= deadline:
                raise Quiet
        return self.socket.recv(65536)

    def read_some(self, patience=PATIENCE):
        """Whatever comes next. Closed at the end, Quiet when nothing comes in time."""
        deadline = now() + patience
        while True:
            try:
                if not self.tls:
                    data = self.receive(patience)
                    if not data:
                        raise Closed("end of stream")
                    return data
                data = self.read_tls()
                if data:
                    return data
                self.feed_tls(deadline - now())
            except OSError as fault:
                raise Closed(str(fault)) from None

    def read_tls(self):
        try:
            data = self.tls.read(65536)
        except ssl.SSLWantReadError:
            return b""
        finally:
            self.flush_if_possible()
        if not data:
            raise Closed("close_notify")
        return data

    def fill(self, count, patience=PATIENCE):
        deadline = now() + patience
        while len(self.received) < count:
            self.received += self.read_some(deadline - now())

    def take(self, count):
        data = bytes(self.received[:count])
        del self.received[:count]
        return data

    def read_exactly(self, count, patience=PATIENCE):
        self.fill(count, patience)
        return self.take(count)

    def read_to_end(self, patience=PATIENCE):
        deadline = now() + patience
        try:
            while True:
                self.received += self.read_some(deadline - now())
        except Closed:
            return self.take(len(self.received))

    def expect_closed(self, patience=5.0):
        """The other side ends the connection and says nothing more."""
        try:
            rest = self.read_to_end(patience)
        except Quiet:
            raise AssertionError(f"still open after {patience:g} s") from None
        assert rest == b"", f"got {rest[:100]!r} before the end"

    def expect_quiet(self, patience=QUIET):
        try:
            data = self.read_some(patience)
        except Quiet:
            assert not self.received, f"got {bytes(self.received[:100])!r}"
            return
        raise AssertionError(f"got {data[:100]!r}, expected nothing")

    # Ending

    def close(self):
        self.socket.close()

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def half_close(self, notify=False):
        """Ends our direction only; with `notify` as TLS wants it."""
        if notify and self.tls:
            try:
                self.tls.unwrap()
            except ssl.SSLWantReadError:
                pass
            self.flush()
        self.socket.shutdown(socket.SHUT_WR)

    # HTTP

    def request(self, method, path, headers=(), host=None):
        self.write(self.request_bytes(method, path, headers, host))
        return self.read_response(method)

    def request_bytes(self, method, path, headers=(), host=None):
        lines = [f"{method} {path} HTTP/1.1", f"Host: {host or self.host}"]
        lines += [f"{name}: {value}" for name, value in headers]
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")

    def read_head(self, patience=PATIENCE):
        deadline = now() + patience
        while b"\r\n\r\n" not in self.received:
            self.received += self.read_some(deadline - now())
        head = self.take(self.received.index(b"\r\n\r\n"))
        self.take(4)
        return Response(head)

    def read_response(self, method="GET", patience=PATIENCE):
        response = self.read_head(patience)
        if method == "HEAD" or response.status in (101, 204, 304):
            return response
        if response.get("Transfer-Encoding") == "chunked":
            response.body = self.read_chunks()
        elif "Content-Length" in response:
            response.body = self.read_exactly(int(response.get("Content-Length")))
        else:
            response.body = self.read_to_end()
        return response

    def read_line(self):
        while b"\r\n" not in self.received:
            self.received += self.read_some()
        line = self.take(self.received.index(b"\r\n"))
        self.take(2)
        return line

    def read_chunks(self):
        body = b""
        while True:
            size = int(self.read_line(), 16)
            body += self.read_exactly(size)
            self.read_line()
            if size == 0:
                return body


class Peer(Link):
    """A client of the relay, logged in step by step or at once."""

    def __init__(self, address, key=None, **options):
        super().__init__(address, **options)
        self.key = key or PrivateKey.generate()
        self.public = bytes(self.key.public_key)
        self.server_key = None

    # Login

    def upgrade_request(self, headers=(), fast=False):
        headers = [("Connection", "Upgrade"), ("Upgrade", "DERP"), *headers]
        if fast:
            headers.append(("Derp-Fast-Start", "1"))
        return self.request_bytes("GET", "/derp", headers)

    def upgrade(self, headers=()):
        self.write(self.upgrade_request(headers))
        self.read_upgrade()

    def read_upgrade(self):
        response = self.read_head()
        assert response.status == 101, response
        self.read_server_key()
        assert response.get("Derp-Public-Key") == self.server_key.hex()
        return response

    def read_server_key(self):
        payload = self.expect(SERVER_KEY)
        assert payload[:8] == MAGIC and len(payload) >= 8 + KEY_BYTES, payload
        self.server_key = payload[8:8 + KEY_BYTES]

    def key_of_meta_certificate(self):
        """What a fast start knows of the relay: the key in the last certificate of the chain."""
        name = re.search(rb"derpkey([0-9a-f]{64})", chain_of(self.tls)[-1])
        assert name, "the chain has no meta certificate"
        self.server_key = bytes.fromhex(name[1].decode())
        return self.server_key

    def box(self):
        return Box(self.key, PublicKey(self.server_key))

    def client_info(self, info=None):
        """The frame that logs in; `info` is a dict, or the bytes to seal."""
        if not isinstance(info, bytes):
            info = json.dumps(GO_INFO if info is None else info).encode()
        return frame(CLIENT_INFO, self.public + self.box().encrypt(info))

    def read_server_info(self):
        payload = self.expect(SERVER_INFO)
        try:
            info = json.loads(self.box().decrypt(payload))
        except CryptoError:
            raise AssertionError("the box of ServerInfo does not open") from None
        assert info["version"] == 2
        return info

    def login(self, info=None, headers=()):
        self.upgrade(headers)
        self.write(self.client_info(info))
        return self.read_server_info()

    # Frames

    def read_frame(self, patience=PATIENCE):
        deadline = now() + patience
        self.fill(5, patience)
        length = struct.unpack(">I", self.received[1:5])[0]
        assert length <= MAX_PACKET_BYTES + KEY_BYTES, f"frame of {length} bytes"
        self.fill(5 + length, deadline - now())
        whole = self.take(5 + length)
        return whole[0], whole[5:]

    def next_frame(self, patience=PATIENCE):
        """The next frame that is not a KeepAlive."""
        deadline = now() + patience
        while True:
            kind, payload = self.read_frame(deadline - now())
            if kind != KEEP_ALIVE:
                return kind, payload
            assert payload == b""

    def expect(self, kind, patience=PATIENCE):
        got, payload = self.next_frame(patience)
        assert got == kind, f"got frame {got:#x} {payload[:40]!r}, expected {kind:#x}"
        return payload

    def expect_packet(self, source, data=None, patience=PATIENCE):
        payload = self.expect(RECV_PACKET, patience)
        assert payload[:KEY_BYTES] == source, "the packet is of another source"
        packet = payload[KEY_BYTES:]
        if data is not None:
            assert packet == data, f"got {len(packet)} bytes {packet[:40]!r}, expected {data[:40]!r}"
        return packet

    def expect_gone(self, key, reason, patience=PATIENCE):
        payload = self.expect(PEER_GONE, patience)
        assert payload == key + bytes([reason]), f"got {payload!r}"

    def send(self, to, data):
        self.write(send_packet(to, data))

    def ping(self, data=b"12345678"):
        self.write(frame(PING, data))

    def fence(self, data=b"a fence!"):
        """Comes back when the relay has read all that was sent, with the frames that came before."""
        self.ping(data)
        before = []
        while True:
            kind, payload = self.next_frame()
            if kind == PONG:
                assert payload == data
                return before
            before.append((kind, payload))

    def frames_to_end(self, patience=PATIENCE):
        """All frames until the relay ends the connection."""
        frames = []
        try:
            while True:
                frames.append(self.next_frame(patience))
        except Closed:
            assert not self.received, "the connection ended amid a frame"
            return frames
