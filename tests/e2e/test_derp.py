# SPDX-License-Identifier: BSD-3-Clause
"""The relay itself: login, relaying, queues, notices, duplicates, time limits, the end."""
import os
import re
import resource
import signal
import struct
import subprocess
import threading
import time

import pytest
from nacl.public import PrivateKey

from derper import OURS, SANITIZED, workers
from peer import (CLIENT_INFO, CLOSE_PEER, FORWARD_PACKET, GONE_DISCONNECTED, GONE_NOT_HERE, GO_INFO, KEEP_ALIVE,
                  NOTE_PREFERRED, PEER_GONE, PING, PONG, RECV_PACKET, RESTARTING, RUST_INFO, SEND_PACKET,
                  WATCH_CONNS, Closed, Quiet, disco, frame, send_packet)
from slow import slow_case
from stalls import despite_stalls
from waiting import QUIET, wait_until

ours = pytest.mark.ours

MESH_KEY = "00112233445566778899aabbccddeeff" * 2


@pytest.fixture(scope="module")
def relay(keeper):
    return keeper()


def stranger():
    return bytes(PrivateKey.generate().public_key)


# Login

def upgraded(relay):
    peer = relay.peer()
    peer.upgrade()
    return peer


def box_with_flipped_bit(peer):
    whole = bytearray(peer.client_info())
    whole[-1] ^= 1
    return bytes(whole)


def info_of_zero_key(peer):
    whole = bytearray(peer.client_info())
    whole[5:37] = bytes(32)
    return bytes(whole)


def info_of_other_key(peer):
    whole = bytearray(peer.client_info())
    whole[5:37] = stranger()
    return bytes(whole)


def info_with(text):
    return lambda peer: peer.client_info(text)


BAD_LOGINS = {
    "empty": lambda peer: frame(CLIENT_INFO),
    "key only": lambda peer: frame(CLIENT_INFO, peer.public),
    "one byte short": lambda peer: frame(CLIENT_INFO, bytes(55)),
    "nonce but no box": lambda peer: frame(CLIENT_INFO, peer.public + bytes(24)),
    "box too short": lambda peer: frame(CLIENT_INFO, peer.public + bytes(24 + 15)),
    "oversized": lambda peer: frame(CLIENT_INFO)[:1] + struct.pack(">I", (256 << 10) + 1),
    "gigantic": lambda peer: b"\x02\xff\xff\xff\xff",
    "flipped bit": box_with_flipped_bit,
    "key of somebody else": info_of_other_key,
    "garbage box": lambda peer: frame(CLIENT_INFO, peer.public + os.urandom(200)),
    "zero key": info_of_zero_key,
    "trailing JSON": info_with(b'{"version":2}{}'),
    "trailing garbage": info_with(b'{"version":2} x'),
    "no JSON": info_with(b"hello"),
    "empty JSON": info_with(b""),
    "JSON of another type": info_with(b"[1,2,3]"),
    "field of another type": info_with(b'{"CanAckPings":"yes"}'),
    "mesh key too short": info_with(b'{"meshKey":"abcdef"}'),
    "mesh key too long": info_with(b'{"meshKey":"' + b"a" * 65 + b'"}'),
    "mesh key not hex": info_with(b'{"meshKey":"' + b"x" * 64 + b'"}'),
    "mesh key empty": info_with(b'{"meshKey":""}'),
    "mesh key no string": info_with(b'{"meshKey":7}'),
    "ping first": lambda peer: frame(PING, b"12345678"),
    "packet first": lambda peer: send_packet(bytes(32), b"x" * 100),
    "unknown frame first": lambda peer: frame(0x77, b"x" * 100),
}


@pytest.mark.parametrize("fault", BAD_LOGINS)
def test_bad_login_is_closed(relay, fault):
    peer = upgraded(relay)
    peer.write(BAD_LOGINS[fault](peer))
    peer.expect_closed()


# Under which reason ours counts each.
LOGIN_REASONS = {
    "box_not_opened": ["flipped bit", "key of somebody else", "garbage box"],
    "zero_key": ["zero key"],
    "bad_json": ["trailing JSON", "trailing garbage", "no JSON", "empty JSON", "JSON of another type",
                 "field of another type"],
    "bad_mesh_key": ["mesh key too short", "mesh key too long", "mesh key not hex", "mesh key empty",
                     "mesh key no string"],
    # Judged as a frame or as a ClientInfo, whichever sees it first.
    "bad_frame": ["empty", "key only", "one byte short", "nonce but no box", "box too short", "oversized", "gigantic",
                  "ping first", "packet first", "unknown frame first"],
}


def login_refusals(samples):
    counts = {reason: samples.total("derper_login_refused", reason=reason) for reason in LOGIN_REASONS}
    counts["bad_frame"] = samples.total("derper_login_refused", reason="client_info_bad_length") + \
        samples.total("derper_client_ends", reason="bad_frame")
    return counts


@ours
@pytest.mark.parametrize("reason", LOGIN_REASONS)
def test_bad_logins_are_counted(start, reason):
    relay = start()
    for fault in LOGIN_REASONS[reason]:
        peer = upgraded(relay)
        peer.write(BAD_LOGINS[fault](peer))
        peer.expect_closed()
    expected = dict.fromkeys(LOGIN_REASONS, 0)
    expected[reason] = len(LOGIN_REASONS[reason])
    relay.wait_varz(lambda s: sum(login_refusals(s).values()) >= expected[reason], "the failures to be counted")
    assert login_refusals(relay.varz()) == expected


def test_every_bad_login_has_its_reason():
    assert sorted(sum(LOGIN_REASONS.values(), [])) == sorted(BAD_LOGINS)


def test_bad_logins_leave_nothing_behind(start):
    relay = start()
    for make in BAD_LOGINS.values():
        peer = upgraded(relay)
        peer.write(make(peer))
    relay.join().fence()
    relay.wait_varz(lambda s: s["derp_current_connections"] == s["derp_clients_local"] == 1, "one client to be left")


@pytest.mark.parametrize("info", [
    GO_INFO, RUST_INFO, {}, {"version": 1}, {"version": 99}, {"version": 2, "unknown": {"a": [1, None]}},
    {"meshKey": MESH_KEY, "version": 2}, {"IsProber": True, "AppName": "probe"},
], ids=["go", "rust", "empty", "version 1", "version 99", "unknown fields", "wrong mesh key",
        "prober"])
def test_login_takes_what_clients_say(relay, info):
    relay.join(info=info).fence()


def test_login_byte_by_byte(relay):
    peer = upgraded(relay)
    peer.write_slowly(peer.client_info())
    peer.read_server_info()


def test_login_by_one_record_in_single_segments(relay):
    peer = upgraded(relay)
    peer.write_raw_slowly(peer.client_info())
    peer.read_server_info()


def test_login_with_some_kilobytes_of_json(relay):
    relay.join(info={"version": 2, "AppName": "x" * 2000}).fence()


def test_a_client_with_the_wrong_mesh_key_is_an_ordinary_one(relay):
    a, b = relay.join(info={"meshKey": MESH_KEY}), relay.join()
    a.send(b.public, b"hello")
    b.expect_packet(a.public, b"hello")


@pytest.mark.parametrize("payload", [
    frame(WATCH_CONNS), frame(CLOSE_PEER, bytes(range(32))), frame(FORWARD_PACKET, bytes(range(64)) + b"packet"),
], ids=["WatchConns", "ClosePeer", "ForwardPacket"])
def test_what_only_mesh_peers_may_ends_the_connection(relay, payload):
    peer = relay.join()
    peer.write(payload)
    peer.expect_closed()


def test_nobody_closes_another_client(relay):
    victim, attacker = relay.join(), relay.join()
    attacker.write(frame(CLOSE_PEER, victim.public))
    attacker.expect_closed()
    victim.fence()


# Relaying

def test_packets_between_all_peers_of_all_workers(start):
    relay = start("ip", *workers(2))
    peers = [relay.join() for _ in range(6)]
    while OURS and workers(2) and not all(on_worker(relay, w) for w in "01"):
        peers.append(relay.join())
    for i, sender in enumerate(peers):
        for j, receiver in enumerate(peers):
            sender.send(receiver.public, bytes([i, j]))
    for j, receiver in enumerate(peers):
        packets = {receiver.expect(RECV_PACKET) for _ in peers}
        assert packets == {sender.public + bytes([i, j]) for i, sender in enumerate(peers)}
    if OURS and workers(2):
        assert relay.varz().total("derper_worker_inbox_packets") > 0, "no packet went from one worker to the other"


def on_worker(relay, number):
    return relay.varz().total("derper_worker_connections", worker=number)


@pytest.mark.parametrize("mode", ["ip", "plain"])
def test_packets_of_all_sizes(start, mode):
    relay = start(mode)
    a, b = relay.join(), relay.join()
    for size in (0, 1, 2, 100, 1200, 4095, 16351, 16352, 16384, 32768, 65503, 65504, 65535, 65536):
        data = os.urandom(size)
        a.send(b.public, data)
        b.expect_packet(a.public, data)


def test_order_is_kept(relay):
    a, b = relay.join(), relay.join()
    number = 0
    for _ in range(100):
        for i in range(number, number + 16):
            a.send(b.public, i.to_bytes(4, "big"))
        for i in range(number, number + 16):
            b.expect_packet(a.public, i.to_bytes(4, "big"))
        number += 16


def test_many_frames_in_one_record(relay):
    a, b = relay.join(), relay.join()
    a.write(b"".join(send_packet(b.public, bytes([i]) * i) for i in range(30)))
    for i in range(30):
        b.expect_packet(a.public, bytes([i]) * i)


def test_one_frame_byte_by_byte(relay):
    a, b = relay.join(), relay.join()
    a.write_slowly(send_packet(b.public, b"in single bytes"))
    b.expect_packet(a.public, b"in single bytes")


def test_packet_to_oneself(relay):
    a = relay.join()
    a.send(a.public, b"to me")
    a.expect_packet(a.public, b"to me")


def test_packet_sent_right_behind_the_login_is_not_lost(start):
    relay = start("ip", *workers(2))
    waiting = relay.join()
    for i in range(20):
        peer = upgraded(relay)
        peer.write(peer.client_info() + send_packet(waiting.public, b"hello"))
        waiting.expect_packet(peer.public, b"hello")
        # Whoever has seen ServerInfo is known to all workers.
        peer.read_server_info()
        waiting.send(peer.public, b"welcome")
        peer.expect_packet(waiting.public, b"welcome")
        peer.close()
        waiting.expect_gone(peer.public, GONE_DISCONNECTED)


def test_traffic_is_counted(start):
    relay = start()
    a, b = relay.join(), relay.join()
    for _ in range(5):
        a.send(b.public, b"x" * 1000)
        b.expect_packet(a.public)
    a.send(b.public, disco(b"y" * 100))
    b.expect_packet(a.public)
    samples = relay.wait_varz(lambda s: s["derp_packets_sent"] == 6, "the packets to be counted")
    assert samples["derp_packets_received"] == 6
    assert samples.total("derp_packets_received_kind", kind="disco") == 1
    assert samples.total("derp_packets_received_kind", kind="other") == 5
    payload = 5 * 1000 + len(disco()) + 100
    assert payload <= samples["derp_bytes_received"] <= payload + 6 * 64
    assert payload <= samples["derp_bytes_sent"] <= payload + 6 * 64
    assert samples.total("derp_packets_dropped") == 0


def test_packet_to_nobody_is_counted(start):
    relay = start()
    a = relay.join()
    a.send(stranger(), b"x" * 100)
    a.send(stranger(), disco())
    a.expect(PEER_GONE)
    samples = relay.wait_varz(lambda s: s.total("derp_packets_dropped", reason="unknown_dest") == 2, "two drops")
    assert samples.total("derp_packets_dropped", reason="unknown_dest", kind="disco") == 1
    assert samples.total("derp_packets_dropped", reason="unknown_dest", kind="other") == 1
    assert samples.total("derp_bytes_dropped", reason="unknown_dest", kind="other") >= 100


# Bad frames

@pytest.mark.parametrize("payload", [
    send_packet(bytes(range(32)), b"x" * 65537),
    pytest.param(b"\x04" + struct.pack(">I", 65537 + 32), marks=ours),
    pytest.param(b"\x04\xff\xff\xff\xff", marks=ours),
    frame(SEND_PACKET), frame(SEND_PACKET, b"x" * 31), frame(PING, b"1234567"), frame(PING, b"x" * 1001),
    frame(PING), b"\x12\x7f\xff\xff\xff", frame(NOTE_PREFERRED), frame(NOTE_PREFERRED, b"\x01\x01"),
], ids=["packet too long", "header of a packet too long", "packet of 4 GiB", "packet without a key",
        "packet with part of a key", "ping too short", "ping too long", "ping empty", "ping of 2 GiB",
        "NotePreferred empty", "NotePreferred too long"])
def test_bad_frame_ends_the_connection(relay, payload):
    peer = relay.join()
    peer.write(payload)
    peer.expect_closed()


def test_packet_too_long_reaches_nobody(relay):
    a, b = relay.join(), relay.join()
    try:
        a.send(b.public, b"x" * 65537)
    except OSError:
        pass
    b.expect_quiet()


@pytest.mark.parametrize("kind", [0x00, 0x16, 0x7F, 0xFF, 0x01, 0x03, 0x05, 0x08, 0x14, 0x15])
def test_unknown_frame_is_skipped(relay, kind):
    """Also the server's own types, which mean nothing in this direction."""
    a, b = relay.join(), relay.join()
    a.write(frame(kind) + frame(kind, b"x" * 70000) + send_packet(b.public, b"behind it"))
    b.expect_packet(a.public, b"behind it")
    assert a.fence() == []


@ours
def test_unknown_frames_are_counted(start):
    relay = start()
    a = relay.join()
    a.write(frame(0x77) + frame(0x78, b"abc") * 2)
    a.fence()
    assert relay.varz()["derp_unknown_frames"] == 3


def test_unknown_frame_of_100_mb_costs_no_memory(start):
    relay = start()
    a = relay.join()
    a.fence()
    before = relay.settled_rss_kib()
    size = 100 << 20
    a.write(b"\x77" + struct.pack(">I", size))
    piece = bytes(1 << 20)
    for _ in range(size // len(piece)):
        a.write(piece)
        # The original's garbage collector comes late.
        relay.assert_memory(before, 8 << 10 if OURS else 64 << 10)
    a.fence()


def test_client_info_once_more_changes_nothing(relay):
    """Another ClientInfo is either skipped or the end; the client stays who it is."""
    a, b = relay.join(), relay.join()
    a.write(a.client_info())
    try:
        a.fence()
    except Closed:
        return
    a.send(b.public, b"still me")
    b.expect_packet(a.public, b"still me")


# Ping, NotePreferred

@pytest.mark.parametrize("data", [b"12345678", bytes(8), b"abcdefgh" + b"x" * 92, b"abcdefgh" + b"y" * 992],
                         ids=["8 bytes", "zeros", "100 bytes", "1000 bytes"])
def test_ping_is_answered_with_its_first_8_bytes(relay, data):
    peer = relay.join()
    peer.ping(data)
    assert peer.expect(PONG) == data[:8]


def test_pings_faster_than_pongs_are_ignored(relay):
    peer = relay.join()
    peer.write(frame(PING, b"flooding") * 1000)
    pongs = []

    def last_is_answered():
        """The ping behind the flood may be ignored as well."""
        peer.ping(b"the last")
        while not pongs or pongs[-1] != b"the last":
            try:
                pongs.append(peer.expect(PONG, QUIET))
            except Quiet:
                return False
        return True

    wait_until(last_is_answered, "a ping to be answered again")
    assert 1 <= pongs.count(b"flooding") < 1000
    assert peer.fence() == []


def test_pings_are_counted(start):
    relay = start()
    peer = relay.join()
    for _ in range(3):
        peer.fence()
    samples = relay.wait_varz(lambda s: s["derp_sent_pong"] == 3, "three pongs")
    assert samples["derp_got_ping"] == 3


def wait_home(relay, count):
    return relay.wait_varz(lambda s: s["derp_current_home_connections"] == count, f"{count} at home")


@despite_stalls
def test_note_preferred_moves_the_gauge(start):
    relay = start()
    a, b = relay.join(), relay.join()
    a.write(frame(NOTE_PREFERRED, b"\x01"))
    wait_home(relay, 1)
    a.write(frame(NOTE_PREFERRED, b"\x01"))
    b.write(frame(NOTE_PREFERRED, b"\x01"))
    wait_home(relay, 2)
    a.write(frame(NOTE_PREFERRED, b"\x00"))
    wait_home(relay, 1)
    b.close()
    samples = wait_home(relay, 0)
    # What a client says right after its login is no move.
    assert samples["derp_home_moves_in"] == samples["derp_home_moves_out"] == 0


@slow_case
def test_home_moves_are_counted_after_the_first_5_seconds(start):
    relay = start()
    peer = relay.join()
    peer.write(frame(NOTE_PREFERRED, b"\x01"))
    with pytest.raises(Quiet):
        peer.next_frame(6)
    peer.write(frame(NOTE_PREFERRED, b"\x00"))
    wait_home(relay, 0)
    peer.write(frame(NOTE_PREFERRED, b"\x01"))
    samples = wait_home(relay, 1)
    assert samples["derp_home_moves_in"] == samples["derp_home_moves_out"] == 1


# PeerGone

def notices(peer):
    """All frames that come, also those that overtake or follow a Pong."""
    frames = peer.fence()
    while True:
        try:
            frames.append(peer.next_frame(QUIET))
        except Quiet:
            return frames


def test_peer_gone_not_here_only_for_discovery(relay):
    a = relay.join()
    unknown = stranger()
    a.send(unknown, b"x" * 100)
    a.send(unknown, disco()[:-1])
    assert notices(a) == []
    a.send(unknown, disco())
    assert notices(a) == [(PEER_GONE, unknown + bytes([GONE_NOT_HERE]))]


def test_peer_gone_not_here_is_limited(start):
    """Burst 3, then one a second."""
    relay = start()
    a, other = relay.join(), relay.join()
    unknown = [stranger() for _ in range(20)]
    begin = time.monotonic()
    a.write(b"".join(send_packet(key, disco()) for key in unknown))
    first = {a.expect(PEER_GONE) for _ in range(3)}
    assert first == {key + bytes([GONE_NOT_HERE]) for key in unknown[:3]}
    assert notices(a) == [] or time.monotonic() - begin > 1
    # Each sender has a limiter of its own.
    other.send(stranger(), disco())
    other.expect(PEER_GONE)
    wait_until(lambda: a.send(unknown[0], disco()) or notices(a), "the limiter to allow one more")
    assert time.monotonic() - begin > 1
    assert relay.varz()["derp_peer_gone_not_here_frames"] >= 5


def test_peer_gone_disconnected_goes_to_whom_it_sent_packets(start):
    relay = start("ip", *workers(2))
    a = relay.join()
    told = [relay.join() for _ in range(5)]
    untold = relay.join()
    for peer in told:
        a.send(peer.public, b"hello")
        peer.expect_packet(a.public, b"hello")
    untold.send(a.public, b"hello")
    a.expect_packet(untold.public)
    a.close()
    for peer in told:
        peer.expect_gone(a.public, GONE_DISCONNECTED)
    untold.expect_quiet()
    relay.wait_varz(lambda s: s["derp_peer_gone_disconnected_frames"] == 5, "five notices counted")


@ours
def test_peer_gone_is_told_again_after_a_return(start):
    relay = start("ip", *workers(2))
    receiver = relay.join()
    key = PrivateKey.generate()
    for _ in range(5):
        sender = relay.join(key)
        sender.send(receiver.public, b"I am back")
        receiver.expect_packet(sender.public, b"I am back")
        sender.close()
        receiver.expect_gone(sender.public, GONE_DISCONNECTED)


@ours
def test_last_packets_arrive_beside_the_notice(start):
    """What a client sent right before it ended still arrives; the notice may overtake it."""
    relay = start("ip", *workers(2))
    receiver = relay.join()
    for i in range(20):
        sender = relay.join()
        sender.write(b"".join(send_packet(receiver.public, bytes([i, n])) for n in range(8)))
        sender.half_close()
        frames = [receiver.next_frame() for _ in range(9)]
        assert frames.count((PEER_GONE, sender.public + bytes([GONE_DISCONNECTED]))) == 1
        packets = [payload for kind, payload in frames if kind == RECV_PACKET]
        assert packets == [sender.public + bytes([i, n]) for n in range(8)]


# The same key twice

def duplicates(samples):
    return samples["derp_current_dup_client_keys"], samples["derp_current_dup_client_conns"]


def test_duplicates_are_counted(start):
    relay = start("ip", *workers(2))
    key = PrivateKey.generate()
    first = relay.join(key)
    assert duplicates(relay.varz()) == (0, 0)
    second = relay.join(key)
    relay.wait_varz(lambda s: duplicates(s) == (1, 2), "one key with two connections")
    third = relay.join(key)
    samples = relay.wait_varz(lambda s: duplicates(s) == (1, 3), "one key with three connections")
    assert samples["derp_clients_local"] == 1
    assert samples["derp_current_connections"] == 3
    assert samples["derp_total_dup_client_conns"] >= 2
    third.close()
    relay.wait_varz(lambda s: duplicates(s) == (1, 2), "one key with two connections again")
    first.close()
    relay.wait_varz(lambda s: duplicates(s) == (0, 0), "no duplicates")
    second.fence()


def test_newest_duplicate_is_active_until_another_one_writes(start):
    relay = start("ip", *workers(2))
    key, other = PrivateKey.generate(), relay.join()
    old, new = relay.join(key), relay.join(key)
    other.send(new.public, b"to the newest")
    new.expect_packet(other.public, b"to the newest")
    old.fence()
    other.send(new.public, b"to the last writer")
    old.expect_packet(other.public, b"to the last writer")
    new.fence()
    other.send(new.public, b"and back")
    new.expect_packet(other.public, b"and back")


def test_all_duplicates_are_read(start):
    relay = start("ip", *workers(2))
    key, other = PrivateKey.generate(), relay.join()
    copies = [relay.join(key) for _ in range(4)]
    for copy in copies:
        copy.send(other.public, b"from a copy")
        other.expect_packet(copy.public, b"from a copy")


@ours
def test_newest_that_is_left_takes_over(start):
    relay = start("ip", *workers(2))
    key, other = PrivateKey.generate(), relay.join()
    oldest, middle, newest = (relay.join(key) for _ in range(3))
    newest.close()
    relay.wait_varz(lambda s: duplicates(s) == (1, 2), "the newest to be gone")
    other.send(oldest.public, b"whose turn?")
    middle.expect_packet(other.public, b"whose turn?")
    middle.close()
    relay.wait_varz(lambda s: duplicates(s) == (0, 0), "a single connection")
    other.send(oldest.public, b"last one")
    oldest.expect_packet(other.public, b"last one")


def test_peer_gone_only_when_the_last_duplicate_ends(start):
    relay = start("ip", *workers(2))
    key, other = PrivateKey.generate(), relay.join()
    first, second = relay.join(key), relay.join(key)
    first.send(other.public, b"one")
    second.send(other.public, b"two")
    assert {other.expect_packet(first.public) for _ in range(2)} == {b"one", b"two"}
    second.close()
    relay.wait_varz(lambda s: duplicates(s) == (0, 0), "a single connection")
    other.expect_quiet()
    first.close()
    other.expect_gone(first.public, GONE_DISCONNECTED)


def test_peer_gone_is_told_for_what_an_earlier_duplicate_sent(start):
    relay = start("ip", *workers(2))
    key = PrivateKey.generate()
    first, second = relay.join(key), relay.join(key)
    receivers = [relay.join() for _ in range(4)]
    for receiver in receivers:
        first.send(receiver.public, b"from the first")
        receiver.expect_packet(first.public, b"from the first")
    first.close()
    relay.wait_varz(lambda s: duplicates(s) == (0, 0), "a single connection")
    second.close()
    for receiver in receivers:
        receiver.expect_gone(first.public, GONE_DISCONNECTED)


@ours
def test_alternating_duplicates_cost_no_memory(start):
    """Five bytes a frame, tens of thousands of changes: no history may grow."""
    relay = start()
    key = PrivateKey.generate()
    a, b = relay.join(key), relay.join(key)
    note = frame(0x77)

    def alternate(rounds):
        for _ in range(rounds):
            a.write(note)
            b.write(note)
        a.fence()
        b.fence()

    alternate(1000)
    before = relay.settled_rss_kib()
    alternate(20000)
    relay.assert_memory(before, 1 << 10)


# Queues

def stuck_pair(relay):
    """A sender, and a receiver that does not read, with little room in its kernel."""
    return relay.join(), relay.join(receive_buffer=4096)


QUEUE_DEPTH = 32
MANY_STUCK_MOST_KIB = 160 << 10  # twice 64 MiB, and a quarter for what malloc cannot give back
FLOOD_PACKETS = 2500
FLOOD_BYTES = 8000


def flood(sender, receiver, make, count=FLOOD_PACKETS):
    for i in range(count):
        sender.send(receiver.public, make(i))
    sender.fence()


def numbers_received(receiver, last):
    """The numbers at the front of the packets, until the last one."""
    numbers = []
    while not numbers or numbers[-1] != last:
        payload = receiver.expect(RECV_PACKET)
        numbers.append(int.from_bytes(payload[-4:], "big"))
    return numbers


MAKERS = {
    "other": lambda i: bytes(FLOOD_BYTES) + i.to_bytes(4, "big"),
    "disco": lambda i: disco(bytes(FLOOD_BYTES) + i.to_bytes(4, "big")),
}


@pytest.mark.parametrize("kind", MAKERS)
@despite_stalls
def test_full_queue_drops_the_oldest(start, kind):
    """Read at once, as what has waited for a second is dropped as well."""
    relay = start("ip", "--tcp-write-timeout=60s", *workers(1),
                  env={"TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH": str(QUEUE_DEPTH)})
    sender, receiver = stuck_pair(relay)
    flood(sender, receiver, MAKERS[kind])
    numbers = numbers_received(receiver, FLOOD_PACKETS - 1)
    assert numbers == sorted(set(numbers)), "out of order or twice"
    gap = max(i for i in range(1, len(numbers)) if numbers[i] != numbers[i - 1] + 1)
    kept = len(numbers) - gap
    # What the relay had in hand when the socket was full may follow the queue.
    assert QUEUE_DEPTH // 2 <= kept <= 2 * QUEUE_DEPTH + 1
    dropped = FLOOD_PACKETS - len(numbers)
    samples = relay.wait_varz(lambda s: s.total("derp_packets_dropped", reason="queue_head", kind=kind) == dropped,
                              f"{dropped} drops to be counted")
    assert samples.total("derp_packets_dropped") == dropped
    assert samples.total("derp_bytes_dropped", reason="queue_head") >= dropped * FLOOD_BYTES
    receiver.fence()


@despite_stalls
def test_discovery_has_a_queue_of_its_own(start):
    """A flood of data does not push out discovery messages."""
    relay = start("ip", "--tcp-write-timeout=60s",
                  env={"TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH": str(QUEUE_DEPTH)})
    sender, receiver = stuck_pair(relay)
    flood(sender, receiver, MAKERS["other"])
    messages = [disco(bytes([i])) for i in range(8)]
    for message in messages:
        sender.send(receiver.public, message)
    flood(sender, receiver, MAKERS["other"], 500)
    got = []
    while len(got) < len(messages):
        packet = receiver.expect_packet(sender.public)
        if packet.startswith(disco()[:6]):
            got.append(packet)
    assert got == messages


def test_memory_of_a_stuck_reader_is_bounded(start):
    relay = start("ip", "--tcp-write-timeout=60s")
    sender, receiver = stuck_pair(relay)
    flood(sender, receiver, lambda i: bytes(65536), 300)
    before = relay.settled_rss_kib()
    flood(sender, receiver, lambda i: bytes(65536), 1500)
    relay.assert_memory(before, 4 << 10 if OURS else 64 << 10)
    samples = relay.varz()
    # Between workers, what a flow has too much of in one turn is dropped before it reaches the queue.
    assert sum(samples.total("derp_packets_dropped", reason=r) for r in ("queue_head", "queue_tail")) > 1000
    assert samples.total("derp_packets_dropped", reason="queue_head") > 0


@ours
def test_memory_of_many_stuck_readers_is_bounded(start):
    """Each may have several packets of the largest size, all of them together not."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    relay = start("plain", "--workers=1", "--tcp-write-timeout=60s")
    readers = [relay.join(receive_buffer=4096) for _ in range(2000)]
    sender, reading = relay.join(), relay.join()
    before = relay.settled_rss_kib()
    for reader in readers:
        sender.write(send_packet(reader.public, bytes(65536)) * 3 + send_packet(reader.public, disco(bytes(65000))))
    sender.fence()
    sender.send(reading.public, b"all the same")
    reading.expect_packet(sender.public, b"all the same")
    samples = relay.varz()
    assert 32 << 20 < samples["derper_waiting_bytes"] <= 96 << 20
    assert samples.total("derp_packets_dropped", reason="queue_memory") > 0
    if not SANITIZED:
        assert relay.peak_rss_kib() - before < MANY_STUCK_MOST_KIB
    relay.close_links()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HALVES = 3000


@ours
def test_memory_of_many_unfinished_frames_is_bounded(start):
    """Each begins the largest frame and stops before its end; those who were there first notice nothing."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    relay = start("plain", "--workers=1")
    sender, reading, slow = relay.join(), relay.join(), relay.join()
    packet = send_packet(reading.public, bytes(65536))
    slow.write(packet[:-1])
    peers = [relay.join() for _ in range(HALVES)]
    before = relay.settled_rss_kib()
    for i, peer in enumerate(peers):
        try:
            peer.write(packet[:-1])
        except OSError:
            pass  # it was closed
        if i % 100 == 0:
            sender.send(reading.public, b"all the same")
            reading.expect_packet(sender.public, b"all the same")
    slow.write(packet[-1:])
    reading.expect_packet(slow.public, bytes(65536))
    samples = relay.wait_varz(lambda s: 32 << 20 < s["derper_waiting_bytes"] <= 96 << 20, "memory to wait")
    assert samples.total("derper_client_ends", reason="memory") > 0
    assert samples.total("derp_packets_dropped") == 0
    if not SANITIZED:
        assert relay.peak_rss_kib() - before < MANY_STUCK_MOST_KIB
    for peer in peers:
        peer.close()
    relay.wait_varz(lambda s: s["derper_waiting_bytes"] == 0, "the memory to be free")
    relay.close_links()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


HALF_RECORDS = 200
RECORD_BYTES = 16384


@ours
@pytest.mark.parametrize("engine", ["detached", "openssl"])
def test_unfinished_tls_records_count_as_waiting(start, engine):
    relay = start("ip", "--workers=1", "--tls-engine=" + engine)
    peers = [relay.join() for _ in range(HALF_RECORDS)]
    record = frame(0x7f, bytes(RECORD_BYTES - 5))
    sealed = [peer.seal(record) for peer in peers]
    for peer, bytes_of in zip(peers, sealed):
        peer.send_raw(bytes_of[:-1])
    most = HALF_RECORDS * (RECORD_BYTES + 512)
    relay.wait_varz(lambda s: HALF_RECORDS * RECORD_BYTES <= s["derper_waiting_bytes"] <= most, "the records to count")
    for peer, bytes_of in zip(peers, sealed):
        peer.send_raw(bytes_of[-1:])
    relay.wait_varz(lambda s: s["derper_waiting_bytes"] == 0, "the memory to be free")
    for peer in peers:
        peer.fence()
    assert relay.varz().total("derper_client_ends") == 0


# Time limits

@ours
@slow_case
def test_unfinished_tls_record_ends_its_client(start):
    """After the second keep-alive: those whose records end, and half a frame that is passed over, stay."""
    relay = start("ip")
    stalled, slow, quiet = relay.join(), relay.join(), relay.join()
    record = slow.seal(frame(0x7f, bytes(1000)))
    stalled.send_raw(stalled.seal(frame(0x7f, bytes(1000)))[:-1])
    slow.send_raw(record[:-1])
    quiet.write(frame(0x7f, bytes(1000))[:-1])
    time.sleep(40)
    slow.send_raw(record[-1:])
    relay.wait_varz(lambda s: s.total("derper_client_ends", reason="frame_timeout") == 1, "the client to be closed",
                    patience=100)
    stalled.read_to_end()
    quiet.write(b"\0")
    for peer in slow, quiet:
        peer.fence()
    assert relay.varz().total("derper_client_ends") == 1


def test_reader_that_stops_is_closed(start):
    relay = start("ip", "--tcp-write-timeout=1s")
    sender, receiver = stuck_pair(relay)
    wait_until(lambda: flood_until_closed(relay, sender, receiver), "the reader to be closed", pause=0)
    samples = relay.varz()
    assert samples["derp_sclient_write_timeouts"] == 1
    assert samples["derp_current_connections"] == 1
    sender.fence()
    receiver.read_to_end()


def flood_until_closed(relay, sender, receiver):
    for _ in range(200):
        sender.send(receiver.public, bytes(16000))
    return relay.varz()["derp_sclient_write_timeouts"] > 0


@slow_case
def test_reader_that_is_slow_but_reads_is_not_closed(start):
    relay = start("ip", "--tcp-write-timeout=5s")
    sender, receiver = relay.join(), relay.join(receive_buffer=65536)
    deadline = time.monotonic() + 12
    while time.monotonic() < deadline:
        for _ in range(20):
            sender.send(receiver.public, bytes(16000))
        for _ in range(4):
            receiver.read_some()
        time.sleep(0.01)
    samples = relay.varz()
    assert samples["derp_sclient_write_timeouts"] == 0
    assert samples["derp_current_connections"] == 2
    assert samples.total("derp_packets_dropped", reason="queue_head") > 0


@slow_case
def test_write_timeout_of_zero_means_none(start):
    relay = start("ip", "--tcp-write-timeout=0")
    sender, receiver = stuck_pair(relay)
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        sender.send(receiver.public, bytes(60000))
        time.sleep(0.01)
    sender.send(receiver.public, b"the end")
    sender.fence()
    while receiver.expect_packet(sender.public) != b"the end":
        pass
    assert relay.varz()["derp_sclient_write_timeouts"] == 0


KEEP_ALIVE_FROM, KEEP_ALIVE_TO = 60.0, 65.0
KEEP_ALIVE_SLACK = 6.0


@slow_case
def test_keep_alive_comes_after_60_to_65_seconds(start):
    waited = []

    def wait(relay):
        begin = time.monotonic()
        peer = relay.join()
        assert peer.read_frame(KEEP_ALIVE_TO + KEEP_ALIVE_SLACK) == (KEEP_ALIVE, b"")
        waited.append(time.monotonic() - begin)

    relays = [start("ip", *workers(2)), start("plain")]
    threads = [threading.Thread(target=wait, args=(relay,)) for relay in relays for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(waited) == len(threads)
    assert min(waited) > KEEP_ALIVE_FROM - 0.1
    assert max(waited) < KEEP_ALIVE_TO + KEEP_ALIVE_SLACK
    assert max(waited) - min(waited) > 0.2, "all at the same time"


@pytest.mark.parametrize("setting, minutes", [("10m", range(9, 11)), ("1h", range(59, 61))])
def test_tcp_keep_alive_follows_its_flag(start, setting, minutes):
    relay = start("ip", f"--tcp-keepalive-time={setting}")
    relay.join().fence()

    def timer():
        """Of the relay's own side; while data is on its way, another one is shown."""
        shown = subprocess.run(["ss", "-Htno", "state", "established", f"sport = :{relay.port}"],
                               capture_output=True, text=True, check=True).stdout
        return re.search(r"timer:\(keepalive,(\d+)min", shown)

    assert int(wait_until(timer, "the keep-alive timer")[1]) in minutes


@slow_case
def test_clients_that_only_listen_stay(start):
    """A client that says nothing for more than a minute is still there."""
    relay = start()
    quiet, other = relay.join(), relay.join()
    with pytest.raises(Quiet):
        other.next_frame(62)
    other.send(quiet.public, b"still there?")
    quiet.expect_packet(other.public, b"still there?")


# The end, and what is not the end

@ours
def test_graceful_stop_tells_those_who_understand(start):
    relay = start("ip", *workers(2))
    go = [relay.join(info=GO_INFO) for _ in range(4)]
    rust = [relay.join(info=RUST_INFO) for _ in range(4)]
    relay.expect_end = True
    relay.signal(signal.SIGTERM)
    for peer in go:
        payload = peer.expect(RESTARTING)
        reconnect_in_ms, try_for_ms = struct.unpack(">II", payload)
        assert reconnect_in_ms <= 60000 and 0 < try_for_ms <= 600000
        assert peer.frames_to_end() == []
    for peer in rust:
        assert peer.frames_to_end() == []
    assert relay.wait_exit() == 0


@ours
def test_graceful_stop_sends_what_is_queued(start):
    relay = start("ip", *workers(2))
    pairs = [(relay.join(), relay.join(info=RUST_INFO)) for _ in range(8)]
    for sender, receiver in pairs:
        sender.write(b"".join(send_packet(receiver.public, bytes([i]) * 1200) for i in range(20)))
        sender.fence()
    relay.expect_end = True
    relay.signal(signal.SIGTERM)
    for sender, receiver in pairs:
        got = [payload for kind, payload in receiver.frames_to_end() if kind == RECV_PACKET]
        assert got == [sender.public + bytes([i]) * 1200 for i in range(20)]
    assert relay.wait_exit() == 0


def settled_drops(relay):
    """How many packets were dropped, once what is on its way between two workers has arrived."""
    seen = [0]

    def steady():
        seen.append(relay.varz().total("derp_packets_dropped"))
        return seen[-1] > 0 and len(set(seen[-5:])) == 1

    wait_until(steady, "the drops to come to an end", pause=0.1)
    return seen[-1]


@ours
@despite_stalls
def test_graceful_stop_empties_the_queue_of_a_slow_reader(start):
    """Read at once, as what has waited for a second is dropped, even then."""
    relay = start("ip", "--tcp-write-timeout=60s",
                  env={"TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH": str(QUEUE_DEPTH)})
    sender, receiver = relay.join(), relay.join(info=RUST_INFO, receive_buffer=65536)
    flood(sender, receiver, MAKERS["other"])
    dropped = settled_drops(relay)
    relay.expect_end = True
    relay.signal(signal.SIGTERM)
    numbers = [int.from_bytes(payload[-4:], "big") for _, payload in receiver.frames_to_end()]
    assert len(numbers) == FLOOD_PACKETS - dropped
    assert numbers[-QUEUE_DEPTH:] == list(range(FLOOD_PACKETS - QUEUE_DEPTH, FLOOD_PACKETS))
    assert relay.wait_exit() == 0


STOP_BOUND = 10.0


@slow_case
def test_stop_with_a_stuck_reader_is_bounded(start):
    relay = start("ip", "--tcp-write-timeout=60s")
    sender, receiver = stuck_pair(relay)
    flood(sender, receiver, MAKERS["other"])
    silent = relay.tcp()
    half = relay.peer()
    assert relay.stop(patience=STOP_BOUND) < STOP_BOUND
    del silent, half


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_stop_without_clients_is_quick(start, number):
    relay = start()
    relay.expect_end = True
    begin = time.monotonic()
    relay.signal(number)
    assert relay.wait_exit() == 0
    assert time.monotonic() - begin < 5


def test_stop_closes_the_door_at_once(start):
    """Who reconnects during the drain meets the next process, not the ending one."""
    relay = start()
    relay.join()
    relay.stop()
    with pytest.raises(ConnectionRefusedError):
        relay.tcp()
    relay.launch()
    assert relay.comes_up(retry=False)
    relay.join().fence()


@ours
@pytest.mark.parametrize("mode", ["ip", "domain", "plain"])
def test_sighup_never_kills(start, mode):
    relay = start(mode)
    a, b = relay.join(), relay.join()
    for i in range(20):
        relay.reload()
        a.send(b.public, bytes([i]))
        b.expect_packet(a.public, bytes([i]))
    relay.join().fence()
    assert relay.running


@ours
def test_sighup_during_traffic_loses_nothing(start):
    relay = start("ip", *workers(2))
    a, b = relay.join(), relay.join()
    done = threading.Event()

    def reload_often():
        while not done.wait(0.05):
            relay.reload()

    thread = threading.Thread(target=reload_often)
    thread.start()
    try:
        for i in range(500):
            a.send(b.public, i.to_bytes(4, "big"))
            b.expect_packet(a.public, i.to_bytes(4, "big"))
    finally:
        done.set()
        thread.join()


def test_receivers_that_reset_do_not_end_the_relay(start):
    """Writing to a closed connection raises a signal that must be ignored."""
    relay = start()
    sender = relay.join()
    for _ in range(20):
        receiver = relay.join()
        for _ in range(5):
            sender.send(receiver.public, bytes(60000))
        receiver.reset()
        for _ in range(5):
            sender.send(receiver.public, bytes(60000))
    sender.fence()
    assert relay.running


@slow_case
def test_who_takes_little_takes_something(start):
    """The write timeout is for those that take nothing: 2.5 KB/s is little, but more. The kernel's own timeout
    is another one: it ends whoever has taken no whole segment of ours for that long."""
    relay = start("plain", "--tcp-write-timeout=4s", "--tcp-user-timeout=60s")
    sender, slow, stuck = relay.join(), relay.join(receive_buffer=4096), relay.join(receive_buffer=4096)
    wave = b"".join(send_packet(peer.public, bytes(1200)) for peer in (slow, stuck) for _ in range(50))
    begin, taken = time.monotonic(), 0
    while (passed := time.monotonic() - begin) < 14:
        sender.write(wave)
        while taken < passed * 2500:
            piece = slow.socket.recv(400)
            assert piece, "closed"
            taken += len(piece)
        time.sleep(0.05)
    ends = relay.varz()
    assert ends.total("derper_client_ends", reason="write_timeout") == 1, "the stuck one, and nobody else"
    sender.close()
