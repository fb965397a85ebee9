# SPDX-License-Identifier: BSD-3-Clause
"""The relay's memory holds no secret of a connection that has ended."""
import hashlib
import hmac
import ssl
import struct

import pytest

from peer import Peer, client_context
from test_tls import ENGINES, KEEP_ALIVE, SUITES_1_3, Console
from waiting import wait_until

pytestmark = pytest.mark.ours

REGION_MAX_BYTES = 1 << 30  # larger ones are a sanitizer's shadow


def regions(pid):
    """What a process can read of its memory, piece by piece, with the name of each."""
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            span, rights, _, _, _, *name = line.split()
            start, end = (int(text, 16) for text in span.split("-"))
            if not rights.startswith("rw") or end - start > REGION_MAX_BYTES:
                continue
            try:
                memory.seek(start)
                yield start, memory.read(end - start), "".join(name)
            except OSError:  # gone meanwhile
                continue


def found(relay, secrets):
    """Which of the secrets stand where."""
    return {f"{name} at {start + data.index(secret):#x} {place}"
            for start, data, place in regions(relay.pid) for name, secret in secrets.items() if secret in data}


class Direction:
    """The traffic secrets of one side and the keys of their records, generation by generation: RFC 8446, section 7."""

    def __init__(self, side, secret, suite):
        self.side, self.secret, self.generation = side, secret, 0
        self.hash = hashlib.sha384 if "384" in suite else hashlib.sha256
        self.key_bytes = 16 if "128" in suite else 32

    def expand(self, label, length):
        info = struct.pack(">HB", length, 6 + len(label)) + b"tls13 " + label + b"\x00\x01"
        return hmac.new(self.secret, info, self.hash).digest()[:length]

    def secrets(self):
        name = f"{self.side} {self.generation}"
        return {name + " secret": self.secret, name + " key": self.expand(b"key", self.key_bytes)}

    def update(self):
        self.secret, self.generation = self.expand(b"traffic upd", len(self.secret)), self.generation + 1


def secrets_logged(log):
    lines = [line.split() for line in log.read_text().splitlines() if not line.startswith("#")]
    return {label: bytes.fromhex(secret) for label, _, secret in lines}


def directions(logged, suite):
    return [Direction(side, logged[side + "_TRAFFIC_SECRET_0"], suite) for side in ("CLIENT", "SERVER")]


def secrets_of(sides):
    return {name: secret for side in sides for name, secret in side.secrets().items()}


class Client(Console):
    """One connection by openssl s_client, and what its key log tells."""

    def __init__(self, relay, log, *arguments):
        super().__init__(relay, "-keylogfile", str(log), *arguments)
        self.answers = 0
        self.request()
        self.secrets = secrets_logged(log)

    def request(self):
        self.answers += 1
        self.type(KEEP_ALIVE.replace("\r\n", "\n"))
        self.wait(rb"HTTP/1.1 200", self.answers)


def assert_forgotten(relay, secrets):
    last = {}

    def look():
        last["found"] = found(relay, secrets)
        return not last["found"]

    try:
        wait_until(look, "the secrets to be wiped", pause=0.1)
    except AssertionError:
        pytest.fail(f"still in memory: {sorted(last['found'])}")


@pytest.fixture(params=ENGINES)
def relay(start, request):
    return start("ip", "--tls-engine=" + request.param)


@pytest.fixture(params=SUITES_1_3)
def client(relay, tmp_path, request):
    client = Client(relay, tmp_path / "keys", "-tls1_3", "-ciphersuites", request.param)
    client.sides = directions(client.secrets, request.param)
    yield client
    client.close()


def test_the_end_of_a_connection(relay, client):
    secrets = {**client.secrets, **secrets_of(client.sides)}
    assert {where.split()[0] for where in found(relay, secrets)} >= {"CLIENT", "SERVER"}
    client.close()
    assert_forgotten(relay, secrets)


def test_an_update_of_keys(relay, client):
    """The old keys are gone while the connection lives, the client's before it says anything under its new ones."""
    old, clients = secrets_of(client.sides), client.sides[0].secrets()
    client.type("K\n")
    client.wait(rb">>> TLS 1.3, Handshake \[length 0005\], KeyUpdate", 1)
    assert_forgotten(relay, clients)
    client.request()
    assert_forgotten(relay, old)
    for side in client.sides:
        side.update()
    assert {where.split()[0] for where in found(relay, secrets_of(client.sides))} == {"CLIENT", "SERVER"}
    client.close()
    assert_forgotten(relay, {**old, **secrets_of(client.sides)})


def test_the_end_of_a_derp_client(start, tmp_path):
    """The first one of a relay: what the first calls of functions leave on the stack is gone, too."""
    relay, log = start("ip"), tmp_path / "keys"
    context = client_context(ssl.TLSVersion.TLSv1_3)
    context.keylog_filename = str(log)
    peer = relay.keep(Peer(relay.address))
    peer.start_tls(relay.sni, context)
    peer.login()
    logged = secrets_logged(log)
    secrets = {**logged, **secrets_of(directions(logged, peer.tls.cipher()[0]))}
    peer.close()
    assert_forgotten(relay, secrets)


def test_tls12(start, tmp_path):
    relay = start("ip")
    client = Client(relay, tmp_path / "keys", "-tls1_2")
    try:
        assert found(relay, client.secrets)
    finally:
        client.close()
    assert_forgotten(relay, client.secrets)
