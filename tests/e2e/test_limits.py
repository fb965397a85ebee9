# SPDX-License-Identifier: BSD-3-Clause
"""Limits on new connections, and on what each client may send."""
import json
import os
import select
import socket
import struct
import threading
import time

import pytest

from derper import SANITIZED, workers
from peer import KEEP_ALIVE, PING, PONG, RECV_PACKET, RUST_INFO, SERVER_INFO, Closed, frame, send_packet
from stalls import despite_stalls
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
@despite_stalls
def test_flood_is_held_to_the_rate(start, rate_file, mode, count):
    """Within 10 %, over more than a second, after the burst; and nothing is lost or overtaken."""
    rate_file.write(RATE)
    relay = start(mode, f"--rate-config={rate_file.path}", *workers(count))
    a, b = relay.join(info=RUST_INFO), relay.join(info=RUST_INFO)
    burst, rest = packets_of(BURST), packets_of(1.5 * RATE)
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
    Flood(a, b.public, packets_of(40 * RATE))
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
    assert relay.varz()["derp_bytes_received"] < 39 * RATE, "the flood was over before the end"
    if not SANITIZED:
        assert sorted(times)[50] < 0.03 and sorted(back)[50] < 0.03, (sorted(times)[50], sorted(back)[50])
    a.socket.shutdown(socket.SHUT_RDWR)


def test_reload_is_followed_live(start, rate_file):
    rate_file.write(RATE)
    relay = start("plain", f"--rate-config={rate_file.path}", *workers(2))
    assert f"each client may send {RATE} bytes a second and {BURST} at once" in relay.log()
    a, b = relay.join(info=RUST_INFO), relay.join(info=RUST_INFO)
    ahead = packets_of(BURST + READ) + 2
    flood = Flood(a, b.public, 100_000)

    def skip(count):
        """The number of the packet that comes so many behind the next one, at least; what b takes too late is lost."""
        last = next_number(b)
        end = last + count
        while last < end:
            fresh = next_number(b)
            assert fresh > last
            last = fresh
        return last

    def measure():
        """Behind the burst, and what is on its way still from before: bytes a second."""
        first, begin = skip(2 * ahead), time.monotonic()
        last = skip(packets_of(rate))
        return (last - first) * FRAME / (time.monotonic() - begin)

    def check():
        """Within 5 % and one read a second. A stall spoils one measurement, a wrong rate all."""
        slack = 0.05 * rate + READ
        measured = [measure()]
        while abs(measured[-1] - rate) > slack:
            assert len(measured) < 4, measured
            measured.append(measure())

    rate = RATE
    check()
    rate = 4 * RATE
    rate_file.write(rate)
    reload(relay, rf"SIGHUP: each client may now send {rate} bytes .* \(before: {RATE} bytes")
    check()
    rate = RATE // 2
    rate_file.write(rate)
    reload(relay, rf"SIGHUP: each client may now send {rate} bytes")
    check()
    samples = relay.varz()
    assert samples["derp_rate_limit_per_client_bytes_per_second"] == RATE // 2
    assert samples["derp_rate_limit_per_client_burst_bytes"] == BURST
    rate_file.write(0)
    reload(relay, r"SIGHUP: each client may now send as much as it likes \(before: ")
    assert relay.varz()["derp_rate_limit_per_client_bytes_per_second"] == 0
    quiet = waited(relay)
    begin = time.monotonic()
    skip(packets_of(20 * RATE))  # faster than this reader: the queue may drop some, in order
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
    rate_file.write(10 * RATE)
    relay = start("plain", f"--rate-config={rate_file.path}")
    a, b = relay.join(info=RUST_INFO), relay.join(info=RUST_INFO)
    if end == "half_close":
        count = packets_of(2 * RATE)
        Flood(a, b.public, count).join()
    else:
        stuff(a, b.public)
    wait_until(lambda: waited(relay) > 0, "the flood to be paused")
    getattr(a, end)()
    samples = relay.wait_varz(lambda s: s["derp_current_connections"] == 1, "the client to be gone", patience=30)
    if end == "half_close":
        assert samples["derp_packets_received"] == count


def test_memory_of_paused_clients_does_not_grow(start, rate_file):
    rate_file.write(1000)
    relay = start("plain", f"--rate-config={rate_file.path}", "--workers=1")
    to = relay.join(info=RUST_INFO)
    peers = [relay.join(info=RUST_INFO) for _ in range(50)]
    before = relay.settled_rss_kib()
    for peer in peers:
        stuff(peer, to.public)
    wait_until(lambda: waited(relay) >= len(peers), "all to be paused")
    time.sleep(0.5)
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

def count_ended(links):
    """Of connections on which nothing was said."""
    poll = select.poll()
    for link in links:
        poll.register(link.socket, select.POLLIN)
    return len(poll.poll(0))


def within_limit(act):
    try:
        return act()
    except (Closed, OSError):
        return None


@pytest.mark.parametrize("mode", ["plain", "ip"])
@pytest.mark.parametrize("count", [1, 2])
def test_connections_over_the_limit_are_closed(start, mode, count):
    """The workers have one limit together, and the process lives on."""
    relay = start(mode, "--accept-connection-limit=2", "--accept-connection-burst=20", *workers(count))
    begin = time.monotonic()
    links = [relay.tcp() for _ in range(60)]

    def all_judged():
        may_be_in = 21 + 2 * (time.monotonic() - begin)
        return count_ended(links) >= len(links) - may_be_in

    wait_until(all_judged, "those over the limit to be closed")
    gone = count_ended(links)
    assert gone <= 40
    relay.wait_log("a new connection was closed, as more than 2 a second came and 20 at once")
    relay.close_links()
    samples = wait_until(lambda: within_limit(relay.varz), "the metrics", pause=0.2)
    assert samples["tls_listener_rejected_connections"] >= gone
    wait_until(lambda: within_limit(relay.join), "a client to get in", pause=0.2).fence()


def test_the_http_port_is_not_limited(start):
    relay = start("ip", "--accept-connection-limit=0.01", "--accept-connection-burst=1")
    for _ in range(5):
        assert relay.get("/generate_204", on_http=True).status == 204
