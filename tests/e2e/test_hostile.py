# SPDX-License-Identifier: BSD-3-Clause
"""Strangers and broken peers: whatever they do, the relay goes on and keeps nothing of theirs."""
import os
import re
import resource
import signal
import statistics
import struct
import threading
import time

import pytest

from derper import nobody_is_left, workers
from peer import CLIENT_INFO, Closed, Link, Peer, Quiet, chain_of, frame, send_packet
from slow import slow_case
from waiting import PATIENCE, wait_until

ours = pytest.mark.ours

# The relay closes what a peer has left within moments; the metrics request itself holds one descriptor.
DESCRIPTOR_SLACK = 1


class Baseline:
    """What the relay holds when nobody is there."""

    def __init__(self, relay):
        self.relay = relay
        relay.join().fence()
        relay.close_links()
        self.wait_quiet()
        self.descriptors = relay.descriptors()

    def wait_quiet(self):
        self.relay.wait_varz(nobody_is_left, "no connections to be left")

    def check(self, patience=PATIENCE):
        """A fresh client works, nobody else is left, and no descriptor either."""
        peer = self.relay.join()
        peer.fence()
        peer.close()
        self.relay.close_links()
        self.wait_quiet()
        wait_until(lambda: self.relay.descriptors() <= self.descriptors + DESCRIPTOR_SLACK,
                   f"{self.descriptors} descriptors, now {self.relay.descriptors()}", patience)


@pytest.fixture
def relay(start):
    return start()


@pytest.fixture
def baseline(relay):
    return Baseline(relay)


# Stages: how far a connection has come when its peer does something odd

def at_connect(relay):
    return relay.tcp()


def in_hello(relay):
    link = relay.tcp()
    link.prepare_tls(relay.sni)
    hello = link.client_hello()
    link.send_raw(hello[:len(hello) // 2])
    return link


def behind_hello(relay):
    link = relay.tcp()
    link.prepare_tls(relay.sni)
    link.send_raw(link.client_hello())
    return link


def after_handshake(relay):
    return relay.peer()


def in_request(relay):
    peer = relay.peer()
    peer.write(peer.upgrade_request()[:30])
    return peer


def behind_request(relay):
    peer = relay.peer()
    peer.write(peer.upgrade_request())
    return peer


def upgraded(relay):
    peer = relay.peer()
    peer.upgrade()
    return peer


def in_client_info(relay):
    peer = upgraded(relay)
    peer.write(peer.client_info()[:60])
    return peer


def behind_client_info(relay):
    peer = upgraded(relay)
    peer.write(peer.client_info())
    return peer


def logged_in(relay):
    return relay.join()


def in_frame_header(relay):
    peer = relay.join()
    peer.write(send_packet(peer.public, b"x" * 100)[:3])
    return peer


def in_packet(relay):
    peer = relay.join()
    peer.write(send_packet(peer.public, b"x" * 60000)[:30000])
    return peer


def in_record(relay):
    peer = relay.join()
    sealed = peer.seal(send_packet(peer.public, b"x" * 1000))
    peer.send_raw(sealed[:500])
    return peer


def with_answers_unread(relay):
    peer = relay.join()
    for _ in range(20):
        peer.send(peer.public, b"x" * 10000)
    return peer


STAGES = [at_connect, in_hello, behind_hello, after_handshake, in_request, behind_request, upgraded, in_client_info,
          behind_client_info, logged_in, in_frame_header, in_packet, in_record, with_answers_unread]


def close(link):
    link.close()


def reset(link):
    link.reset()


def half_close(link):
    link.half_close()
    link.read_to_end(5)
    link.close()


def notify_and_half_close(link):
    if link.tls and link.tls.version():
        try:
            link.half_close(notify=True)
        except OSError:
            return
    else:
        link.half_close()
    link.read_to_end(5)
    link.close()


def send_garbage(link):
    link.send_raw(b"\x99" * 500)
    link.read_to_end(5)
    link.close()


ENDINGS = [close, reset, half_close, notify_and_half_close]


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("stage", STAGES)
def test_ending_at_every_stage(shared_baseline, stage, ending):
    relay = shared_baseline.relay
    for _ in range(3):
        ending(stage(relay))
    shared_baseline.check()


@pytest.mark.parametrize("stage", [after_handshake, upgraded, logged_in, in_packet])
def test_raw_garbage_amid_a_tls_connection(shared_baseline, stage):
    send_garbage(stage(shared_baseline.relay))
    shared_baseline.check()


@pytest.fixture(scope="module")
def shared_baseline(keeper):
    return Baseline(keeper())


@pytest.mark.parametrize("ending", ENDINGS)
def test_ending_at_every_stage_without_tls(start, ending):
    baseline = Baseline(start("plain"))
    for stage in STAGES:
        if stage not in (in_hello, behind_hello):
            ending(stage(baseline.relay))
    baseline.check()


# Garbage instead of TLS

def handshake_record(body, version=b"\x03\x01", length=None):
    return b"\x16" + version + struct.pack(">H", len(body) if length is None else length) + body


def hello_of_length(length):
    return handshake_record(b"\x01" + length.to_bytes(3, "big") + b"\x03\x03" + bytes(100))


GARBAGE = {
    "zeros": bytes(1000),
    "random": bytes((i * 7919 + 13) % 256 for i in range(4000)),
    "an HTTP request": b"GET /derp HTTP/1.1\r\nHost: x\r\n\r\n",
    "SSH": b"SSH-2.0-OpenSSH_9.2\r\n",
    "SSL 2": b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(50),
    "record of another kind": b"\x17\x03\x03\x00\x10" + bytes(16),
    "record of unknown kind": b"\x63\x03\x03\x00\x10" + bytes(16),
    "record too long": handshake_record(bytes(100), length=0xFFFF),
    "empty records": handshake_record(b"") * 200,
    "alert": b"\x15\x03\x03\x00\x02\x02\x28",
    "hello of 16 MB": hello_of_length(0xFFFFFF),
    "empty hello": hello_of_length(0),
    "PROXY header": b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n",
}


def end_after_garbage(link):
    """What came back; the relay may have had enough before we end our side."""
    try:
        link.half_close()
    except OSError:
        pass
    return link.read_to_end(5)


@pytest.mark.parametrize("kind", GARBAGE)
def test_garbage_instead_of_tls(shared_baseline, kind):
    for _ in range(3):
        link = shared_baseline.relay.tcp()
        link.send_raw(GARBAGE[kind])
        answer = end_after_garbage(link)
        assert len(answer) < 1000
    shared_baseline.check()


@pytest.mark.parametrize("payload", [os.urandom(5000), b"\x00" * 5000, b"\xff" * 5000, b"\x04" * 5000],
                         ids=["random", "zeros", "ones", "fours"])
@pytest.mark.parametrize("stage", [upgraded, logged_in])
def test_garbage_instead_of_frames(shared_baseline, stage, payload):
    for _ in range(3):
        peer = stage(shared_baseline.relay)
        peer.write(payload)
        end_after_garbage(peer)
    shared_baseline.check()


def test_connections_that_vanish(relay, baseline):
    """2,000 connections that come and go without a word."""
    for i in range(2000):
        link = Link(relay.address)
        link.reset() if i % 2 else link.close()
    baseline.check()
    assert relay.running


def test_handshakes_that_vanish(relay, baseline):
    for _ in range(300):
        behind_hello(relay).reset()
        relay.links.clear()
    baseline.check()


def test_logins_that_vanish(relay, baseline):
    """Also those whose ServerInfo nobody reads."""
    for _ in range(300):
        peer = relay.peer()
        peer.key_of_meta_certificate()
        peer.write(peer.upgrade_request(fast=True) + peer.client_info())
        peer.reset()
        relay.links.clear()
    baseline.check()
    assert relay.varz()["derp_clients_local"] == 0


# Time limits

LOGIN_LIMIT, HANDSHAKE_LIMIT = 10.0, 30.0
TOLERANCE = 6.0

LIMITED = {
    "silence": (at_connect, HANDSHAKE_LIMIT),
    "half a hello": (in_hello, HANDSHAKE_LIMIT),
    "a hello and nothing more": (behind_hello, HANDSHAKE_LIMIT),
    "a handshake and nothing more": (after_handshake, HANDSHAKE_LIMIT),
    "no ClientInfo": (upgraded, LOGIN_LIMIT),
    "half a ClientInfo": (in_client_info, LOGIN_LIMIT),
}


@slow_case
def test_silence_is_cut_after_its_limit(start):
    relay = start()
    baseline = Baseline(relay)
    ended = {}

    def watch(name, link):
        begin = time.monotonic()
        try:
            link.socket.settimeout(HANDSHAKE_LIMIT + 2 * TOLERANCE)
            while link.socket.recv(65536):
                pass
        except OSError:
            pass
        ended[name] = time.monotonic() - begin

    threads = [threading.Thread(target=watch, args=(name, stage(relay))) for name, (stage, _) in LIMITED.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wrong = {name: ended[name] for name, (_, limit) in LIMITED.items() if abs(ended[name] - limit) > TOLERANCE}
    assert wrong == {}
    baseline.check()


@slow_case
def test_client_info_that_trickles_is_cut(start):
    """One byte a second keeps no login open beyond its limit."""
    relay = start()
    peer = upgraded(relay)
    info = peer.client_info()
    begin = time.monotonic()
    for i in range(int(LOGIN_LIMIT + TOLERANCE)):
        try:
            peer.write(info[i:i + 1])
            peer.read_some(1)
        except Quiet:
            continue
        except (Closed, OSError):
            break
    assert abs(time.monotonic() - begin - LOGIN_LIMIT) < TOLERANCE
    with pytest.raises((Closed, OSError)):
        peer.write(b"x")
        peer.read_some(1)


@slow_case
def test_silent_strangers_do_not_hinder_others(start):
    """One stage at a time, many connections each: a login meanwhile takes no longer than usual."""
    relay = start()
    for stage in (at_connect, in_hello, after_handshake, upgraded):
        for _ in range(100):
            stage(relay)
        assert min(login_seconds(relay) for _ in range(4)) < 1, stage.__name__


def login_seconds(relay):
    begin = time.monotonic()
    relay.join().fence()
    return time.monotonic() - begin


# Crowds of newcomers

UNDER_WAY_MAX = 2048


def many_hellos(relay, count):
    """As many connections that have sent a hello and then wait."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    first = behind_hello(relay)
    hello = Link(relay.address)
    hello.prepare_tls(relay.sni)
    flight = hello.client_hello()
    links = [first, hello]
    while len(links) < count:
        links.append(Link(relay.address))
    for link in links[1:]:
        link.send_raw(flight)
    return links


@ours
def test_handshakes_half_way_do_not_keep_others_out(start):
    relay = start("ip", *workers(1))
    baseline = Baseline(relay)
    established = relay.join()
    crowd = many_hellos(relay, UNDER_WAY_MAX + 100)
    relay.join().fence()
    established.fence()
    assert relay.get("/generate_204").status == 204
    assert relay.varz()["derper_newcomers_crowded_out"] > 0
    for link in crowd:
        link.close()
    established.fence()
    baseline.check()


@ours
def test_logins_wait_for_their_turn(start):
    """Also without TLS, and all of them get in."""
    relay = start("plain", *workers(1))
    peers = [upgraded(relay) for _ in range(100)]
    infos = [peer.client_info() for peer in peers]
    before = relay.varz()["derper_handshakes_delayed"]
    relay.signal(signal.SIGSTOP)
    for peer, info in zip(peers, infos):
        peer.write(info)
    relay.signal(signal.SIGCONT)
    relay.wait_varz(lambda samples: samples["derp_current_connections"] == len(peers), "all to be in")
    samples = relay.varz()
    assert samples["derper_handshakes_delayed"] - before >= len(peers) // 2
    assert samples["derper_newcomers_in_line"] == 0


# Descriptors

# What a relay gets beyond the descriptors that it needs for itself, and the least it gets in all.
DESCRIPTOR_ROOM, DESCRIPTOR_LIMIT = 40, 64


# One worker: of so few places chance may give one of several workers all but one, and its crowd then
# goes a place at a time.
def limited(start, limit):
    return start.make("ip", *workers(1), wrapper=["prlimit", f"--nofile={limit}"])


@ours
@slow_case
def test_accepting_pauses_at_the_descriptor_limit(start):
    limit = max(DESCRIPTOR_LIMIT, start("ip", *workers(1)).descriptors() + DESCRIPTOR_ROOM)
    relay = limited(start, limit).start()
    for _ in range(limit + 40):
        relay.tcp()
    relay.wait_log(r"(?i)descriptor|too many open files")
    assert relay.descriptors() <= limit
    time_before = cpu_seconds(relay)
    time.sleep(2)
    assert cpu_seconds(relay) - time_before < 1, "the relay is busy with waiting"
    assert log_lines(relay, r"(?i)descriptor|too many open files") < 20
    wait_until(lambda: can_login(relay), "a client to get in past the silent crowd", 3 * PATIENCE)
    relay.close_links()
    wait_until(lambda: can_login(relay), "the relay to take clients again")
    assert relay.varz()["derper_accept_pauses"] > 0
    assert relay.varz()["derper_newcomers_crowded_out"] > 0


@ours
def test_descriptor_limit_that_is_too_low_stops_the_start(start):
    relay = limited(start, 20)
    relay.launch()
    relay.expect_end = True
    assert relay.wait_exit() == 1
    assert re.search(r"(?i)open files|descriptors", relay.log())


def can_login(relay):
    try:
        peer = Peer(relay.address)
        peer.socket.settimeout(1)
        peer.start_tls(relay.sni)
        peer.login()
        peer.close()
        return True
    except (OSError, Quiet, Closed):
        return False


def cpu_seconds(relay):
    with open(f"/proc/{relay.pid}/stat", encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def log_lines(relay, pattern):
    return len([line for line in relay.log().splitlines() if re.search(pattern, line)])


# Slow receivers

# Generous for a busy machine; a relay that waits for the stuck one misses it by far.
MEDIAN_LATENCY = 0.1


def test_slow_receiver_delays_nobody(start):
    relay = start("ip", "--tcp-write-timeout=60s")
    flooder, stuck = relay.join(), relay.join(receive_buffer=4096)
    a, b = relay.join(), relay.join()
    stop = threading.Event()

    def flood():
        while not stop.is_set():
            flooder.send(stuck.public, bytes(16000))
            time.sleep(0.001)

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        relay.wait_varz(lambda s: s.total("derp_packets_dropped", reason="queue_head") > 10, "the queue to overflow")
        delays = []
        for i in range(300):
            begin = time.monotonic()
            a.send(b.public, i.to_bytes(4, "big"))
            b.expect_packet(a.public, i.to_bytes(4, "big"))
            delays.append(time.monotonic() - begin)
    finally:
        stop.set()
        thread.join()
    assert statistics.median(delays) < MEDIAN_LATENCY


def test_sender_to_a_stuck_receiver_is_not_held_up(start):
    """The stuck one stays for longer than the test waits."""
    relay = start("ip", "--tcp-write-timeout=60s")
    sender, stuck, other = relay.join(), relay.join(receive_buffer=4096), relay.join()
    for _ in range(1500):
        sender.send(stuck.public, bytes(8000))
    sender.send(other.public, b"to somebody else")
    other.expect_packet(sender.public, b"to somebody else")
    assert relay.varz()["derp_current_connections"] == 3


# The log

LOG_GROWTH_BYTES = 64 << 10
LOG_LINE_CHARS = 2000


def log_since(relay, offset):
    with open(relay.log_file, "rb") as file:
        file.seek(offset)
        return file.read()


@ours
def test_huge_upgrade_header_is_logged_cut_and_escaped(relay, baseline):
    before = os.path.getsize(relay.log_file)
    for _ in range(200):
        link = relay.link()
        value = "\xff\x80<b>" + "A" * 6000
        try:
            link.request("GET", "/derp", [("Connection", "Upgrade"), ("Upgrade", value)])
        except Closed:
            pass
        link.close()
    baseline.check()
    log = log_since(relay, before)
    assert len(log) < LOG_GROWTH_BYTES
    assert max((len(line) for line in log.splitlines()), default=0) < LOG_LINE_CHARS
    assert not re.search(rb"[^\n\t\x20-\x7e]", log)
    assert re.search(rb"(?i)upgrade.*AAAA", log), "what was refused stands nowhere"


@ours
def test_what_strangers_do_is_logged_in_few_lines(relay, baseline):
    """Scanners come by the thousands: one line for each cause, with a count."""
    before = os.path.getsize(relay.log_file)
    for i in range(300):
        link = relay.tcp()
        link.send_raw(GARBAGE["an HTTP request"] if i % 2 else GARBAGE["random"])
        end_after_garbage(link)
        peer = upgraded(relay)
        peer.write(frame(CLIENT_INFO, os.urandom(200)))
        peer.expect_closed()
        relay.close_links()
    baseline.check()
    assert log_since(relay, before).count(b"\n") < 60


def test_host_and_path_of_strangers_stay_out_of_the_log(relay):
    before = os.path.getsize(relay.log_file)
    for path in ("/\x1b[31mred", "/%1b[31m", "/" + "A" * 5000):
        link = relay.link()
        link.write(b"GET " + path.encode("latin-1") + b" HTTP/1.1\r\nHost: \x1b[0m\r\n\r\n")
        try:
            link.read_response()
        except Closed:
            pass
    log = log_since(relay, before)
    assert b"\x1b" not in log and b"AAAA" * 500 not in log


# A process that had no time to clean up

def test_relay_that_was_killed_comes_back_as_it_was(start):
    relay = start()
    key, served = relay.public_key(), chain_of(relay.join().tls)[0]
    relay.kill()
    relay.close_links()
    relay.launch()
    assert relay.comes_up(retry=False)
    assert relay.public_key() == key
    assert chain_of(relay.join().tls)[0] == served


# Everything at once

def test_after_all_of_it_nothing_is_left(start):
    relay = start()
    baseline = Baseline(relay)
    witness_a, witness_b = Peer(relay.address), Peer(relay.address)
    for witness in (witness_a, witness_b):
        witness.start_tls(relay.sni)
        witness.login()
    for round_number in range(3):
        for stage in STAGES:
            for ending in (close, reset):
                ending(stage(relay))
        for payload in GARBAGE.values():
            link = relay.tcp()
            link.send_raw(payload)
            link.reset()
        relay.links.clear()
        witness_a.send(witness_b.public, bytes([round_number]))
        witness_b.expect_packet(witness_a.public, bytes([round_number]))
    witness_a.close()
    witness_b.close()
    baseline.check()
