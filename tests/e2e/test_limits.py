# SPDX-License-Identifier: BSD-3-Clause
"""Limits on new connections, and on what each client may send."""
import json
import os
import socket
import struct
import threading
import time

import pytest

from derper import SANITIZED, workers
from peer import KEEP_ALIVE, PING, PONG, RECV_PACKET, RUST_INFO, SERVER_INFO, Closed, frame, send_packet
from waiting import wait_until

pytestmark = pytest.mark.ours

RATE = 400_000
BURST = 100_000
READ = 65_536  # that a client may be ahead of its burst
PACKET = 8_000
FRAME = 5 + 32 + PACKET
LEAST_BURST = 65_568


class RateFile:
    def __init__(self, folder):
        self.path = os.path.join(str(folder), "rate.json")

    def write(self, rate, burst=BURST):
        self.write_text(json.dumps({"PerClientRateLimitBytesPerSec": rate, "PerClientRateBurstBytes": burst}))

    def write_text(self, text):
        with open(self.path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(self.path + ".new", self.path)


@pytest.fixture
def rate_file(tmp_path):
    return RateFile(tmp_path)


def reload(relay, pattern):
    since = len(relay.log())
    relay.reload()
    relay.wait_log(pattern, since=since)


def waited(relay):
    return relay.varz()["derp_rate_limit_per_client_waited"]


class Flood(threading.Thread):
    """Sends numbered packets as fast as the relay takes them."""

    def __init__(self, sender, to, count):
        super().__init__(daemon=True)
        self.sender, self.to, self.count = sender, to, count
        self.fault = None
        self.start()

    def run(self):
        try:
            for number in range(self.count):
                self.sender.write(send_packet(self.to, struct.pack(">I", number) + bytes(PACKET - 4)))
        except OSError as fault:
            self.fault = fault


def stuff(sender, to):
    """Sends until the socket takes no more; plain connections only."""
    packets = send_packet(to, bytes(PACKET)) * 100
    sender.socket.setblocking(False)
    try:
        while True:
            sent = sender.socket.send(packets)
            packets = packets[sent:] + packets[:sent]
    except BlockingIOError:
        sender.socket.setblocking(True)


def next_number(peer):
    kind, payload = peer.read_frame()
    while kind in (KEEP_ALIVE, SERVER_INFO):
        kind, payload = peer.read_frame()
    assert kind == RECV_PACKET and len(payload) == 32 + PACKET, (kind, len(payload))
    return struct.unpack(">I", payload[32:36])[0]


def receive(peer, first, count):
    """Every packet, in its order; returns the seconds that they took."""
    begin = time.monotonic()
    for number in range(first, first + count):
        assert next_number(peer) == number
    return time.monotonic() - begin


def packets_of(amount):
    return int(amount / FRAME)


@pytest.mark.parametrize("mode", ["plain", "ip"])
@pytest.mark.parametrize("count", [1, 2])
def test_flood_is_held_to_the_rate(start, rate_file, mode, count):
    """Within 10 %, over some seconds, after the burst; and nothing is lost or overtaken."""
    rate_file.write(RATE)
    relay = start(mode, f"--rate-config={rate_file.path}", *workers(count))
    a, b = relay.join(info=RUST_INFO), relay.join(info=RUST_INFO)
    burst, rest = packets_of(BURST), packets_of(3 * RATE)
    flood = Flood(a, b.public, burst + packets_of(READ) + 2 + rest)

    took = receive(b, 0, burst)
    assert took < 0.25 or SANITIZED, f"the burst took {took:.3f} s"
    receive(b, burst, packets_of(READ) + 2)
    took = receive(b, burst + packets_of(READ) + 2, rest)
    rate = rest * FRAME / took
    assert 0.9 * RATE < rate < 1.1 * RATE, f"{rate:.0f} bytes a second"
    flood.join()
    assert flood.fault is None
    assert waited(relay) > 0


def test_others_are_not_held_up(start, rate_file):
    """What comes to a client that is paused, and what others ask, takes no longer than before."""
    rate_file.write(RATE)
    relay = start("plain", f"--rate-config={rate_file.path}", "--workers=1")
    a, b, c = (relay.join(info=RUST_INFO) for _ in range(3))
    flood = Flood(a, b.public, packets_of(5 * RATE))
    wait_until(lambda: waited(relay) > 3, "the flood to be paused")
    times, back = [], []
    for number in range(100):
        begin = time.monotonic()
        c.write(frame(PING, struct.pack(">Q", number)))
        c.expect(PONG)
        times.append(time.monotonic() - begin)
        begin = time.monotonic()
        c.write(send_packet(a.public, b"to the paused one"))
        assert a.expect(RECV_PACKET)[32:] == b"to the paused one"
        back.append(time.monotonic() - begin)
    assert relay.varz()["derp_bytes_received"] < 4 * RATE, "the flood was over before the end"
    if not SANITIZED:
        assert sorted(times)[50] < 0.01 and sorted(back)[50] < 0.01, (sorted(times)[50], sorted(back)[50])
    receive(b, 0, packets_of(5 * RATE))
    flood.join()


def test_reload_is_followed_live(start, rate_file):
    rate_file.write(RATE)
    relay = start("plain", f"--rate-config={rate_file.path}", *workers(2))
    assert f"each client may send {RATE} bytes a second and {BURST} at once" in relay.log()
    a, b = relay.join(info=RUST_INFO), relay.join(info=RUST_INFO)
    ahead = packets_of(BURST + READ) + 2
    number = 0
    flood = Flood(a, b.public, 100_000)

    def check(rate):
        """Within 5 % and one read, behind the burst and what is on its way still from before."""
        nonlocal number
        receive(b, number, 2 * ahead)
        count = packets_of(2 * rate)
        took = receive(b, number + 2 * ahead, count)
        number += 2 * ahead + count
        assert abs(took - count * FRAME / rate) < 0.05 * count * FRAME / rate + READ / rate, took

    check(RATE)
    rate_file.write(4 * RATE)
    reload(relay, rf"SIGHUP: each client may now send {4 * RATE} bytes .* \(before: {RATE} bytes")
    check(4 * RATE)
    rate_file.write(RATE // 2)
    reload(relay, rf"SIGHUP: each client may now send {RATE // 2} bytes")
    check(RATE // 2)
    samples = relay.varz()
    assert samples["derp_rate_limit_per_client_bytes_per_second"] == RATE // 2
    assert samples["derp_rate_limit_per_client_burst_bytes"] == BURST
    rate_file.write(0)
    reload(relay, r"SIGHUP: each client may now send as much as it likes \(before: ")
    assert relay.varz()["derp_rate_limit_per_client_bytes_per_second"] == 0
    quiet = waited(relay)
    begin, last = time.monotonic(), number - 1
    while last < number + packets_of(20 * RATE):  # faster than this reader: the queue may drop some, in order
        fresh = next_number(b)
        assert fresh > last
        last = fresh
    assert time.monotonic() - begin < 10
    assert waited(relay) == quiet
    a.socket.shutdown(socket.SHUT_RDWR)
    flood.join()


def test_bad_reload_keeps_the_limits(start, rate_file):
    rate_file.write(RATE)
    relay = start("plain", f"--rate-config={rate_file.path}")
    for text in ("", "{", "[]", '{"PerClientRateLimitBytesPerSec": -1}', '{"PerClientRate": 1}'):
        rate_file.write_text(text)
        reload(relay, rf"SIGHUP: each client may still send {RATE} bytes .*: --rate-config: the file .*rate.json ")
        assert relay.varz()["derp_rate_limit_per_client_bytes_per_second"] == RATE
    os.remove(rate_file.path)
    reload(relay, "cannot be opened")
    rate_file.write(RATE)
    reload(relay, f"SIGHUP: each client may send {RATE} bytes .*, as before")


def test_clients_are_told(start, rate_file):
    rate_file.write(RATE, 1)
    relay = start("ip", f"--rate-config={rate_file.path}")
    hint = {"version": 2, "TokenBucketBytesPerSecond": RATE, "TokenBucketBytesBurst": LEAST_BURST}
    peer = relay.peer()
    assert peer.login() == hint
    rate_file.write(0)
    reload(relay, "as much as it likes")
    assert relay.peer().login() == {"version": 2}


@pytest.mark.parametrize("end", ["half_close", "reset", "close"])
def test_client_ends_while_it_is_paused(start, rate_file, end):
    rate_file.write(RATE)
    relay = start("plain", f"--rate-config={rate_file.path}")
    a, b = relay.join(info=RUST_INFO), relay.join(info=RUST_INFO)
    if end == "half_close":
        count = packets_of(RATE)
        flood = Flood(a, b.public, count)
        flood.join()
        a.half_close()
        receive(b, 0, count)
    else:
        stuff(a, b.public)
        wait_until(lambda: waited(relay) > 0, "the flood to be paused")
        getattr(a, end)()
    relay.wait_varz(lambda samples: samples["derp_current_connections"] == 1, "the client to be gone", patience=30)


def test_memory_of_paused_clients_does_not_grow(start, rate_file):
    rate_file.write(1000)
    relay = start("plain", f"--rate-config={rate_file.path}", "--workers=1")
    to = relay.join(info=RUST_INFO)
    peers = [relay.join(info=RUST_INFO) for _ in range(50)]
    before = relay.settled_rss_kib()
    for peer in peers:
        stuff(peer, to.public)
    wait_until(lambda: waited(relay) >= len(peers), "all to be paused")
    time.sleep(1)
    assert relay.varz()["derp_current_connections"] == 51
    # Each may have a frame begun (8 KiB and as much again), and what came of its burst waits for one reader.
    relay.assert_memory(before, 50 * 16 + 8 * 1024)


BAD_FILES = {
    "absent": (None, "cannot be opened"),
    "empty": ("", "is not JSON"),
    "unknown name": ('{"PerClientRateLimit": 5}', "PerClientRateLimit"),
    "no number": ('{"PerClientRateLimitBytesPerSec": "5"}', "whole number"),
}


@pytest.mark.parametrize("check", [[], ["--check"]], ids=["start", "check"])
@pytest.mark.parametrize("case", BAD_FILES)
def test_bad_file_stops_the_start(start, rate_file, case, check):
    text, says = BAD_FILES[case]
    if text is not None:
        rate_file.write_text(text)
    relay = start.make("plain", f"--rate-config={rate_file.path}", *check)
    relay.launch()
    assert relay.wait_exit() == 1
    relay.expect_end = True
    assert rate_file.path in relay.log() and says in relay.log(), relay.log()


def test_check_takes_a_good_file(start, rate_file):
    rate_file.write(RATE)
    relay = start.make("plain", f"--rate-config={rate_file.path}", "--check")
    relay.launch()
    assert relay.wait_exit() == 0, relay.log()
    relay.expect_end = True


# New connections

def ends_at_once(link):
    try:
        return link.read_to_end(patience=0.3) == b""
    except Closed:
        return True
    except Exception:  # it is still there
        return False


@pytest.mark.parametrize("mode", ["plain", "ip"])
@pytest.mark.parametrize("count", [1, 2])
def test_connections_over_the_limit_are_closed(start, mode, count):
    """The workers have one limit together, and the process lives on."""
    relay = start(mode, "--accept-connection-limit=2", "--accept-connection-burst=20", *workers(count))
    links = [relay.tcp() for _ in range(60)]
    gone = sum(ends_at_once(link) for link in links)
    assert 30 <= gone <= 40, gone
    relay.close_links()
    relay.wait_log("a new connection was closed, as more than 2 a second came and 20 at once")
    time.sleep(1.2)
    a = relay.join()
    samples = wait_until(lambda: metrics_within_limit(relay), "the metrics", patience=5)
    assert samples["tls_listener_rejected_connections"] >= gone
    a.write(frame(PING, bytes(8)))
    a.expect(PONG)


def metrics_within_limit(relay):
    try:
        return relay.varz()
    except (Closed, OSError, AssertionError):
        time.sleep(0.6)
        return None


def test_the_http_port_is_not_limited(start):
    relay = start("ip", "--accept-connection-limit=0.01", "--accept-connection-burst=1")
    for _ in range(5):
        assert relay.get("/generate_204", on_http=True).status == 204
