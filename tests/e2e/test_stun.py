# SPDX-License-Identifier: BSD-3-Clause
"""STUN on UDP: what is answered, from where, and what is not."""
import ipaddress
import os
import socket

import pytest

import stun
from derper import OURS
from waiting import PATIENCE, QUIET

ours = pytest.mark.ours


@pytest.fixture(scope="module")
def relay(keeper):
    """Listens on all addresses, so that IPv4 and IPv6 meet on whatever sockets it has."""
    return keeper("ip", host="")


def ask(udp, data=None, patience=PATIENCE):
    transaction = os.urandom(12)
    udp.send(data or stun.request(transaction))
    udp.settimeout(patience)
    answer = udp.recv(2000)
    return answer, transaction if data is None else data[8:20]


def assert_ignored(udp, data):
    """What is read next is answered next, as what one client sends is read in its order."""
    udp.send(data)
    answer, transaction = ask(udp)
    stun.parse_answer(answer, transaction)


@pytest.mark.parametrize("address, size", [("127.0.0.1", 32), ("::1", 44)])
def test_request_is_answered(relay, address, size):
    with stun.client((address, relay.stun_port)) as udp:
        answer, transaction = ask(udp)
        seen, port = stun.parse_answer(answer, transaction)
        assert port == udp.getsockname()[1]
        if OURS:
            assert seen == ipaddress.ip_address(address)
            assert len(answer) == size


@pytest.mark.parametrize("address", ["127.0.0.1", pytest.param("127.0.0.2", marks=ours),
                                     pytest.param("127.1.2.3", marks=ours)])
def test_answer_comes_from_the_address_that_was_asked(relay, address):
    """The client's socket is connected: it takes no answer from elsewhere."""
    with stun.client((address, relay.stun_port), source="127.0.0.1") as udp:
        answer, transaction = ask(udp)
        stun.parse_answer(answer, transaction)


def test_relay_bound_to_one_address_answers_there(start):
    relay = start("ip", host="127.0.0.5")
    with stun.client(("127.0.0.5", relay.stun_port)) as udp:
        ask(udp)
    with stun.client(("127.0.0.1", relay.stun_port)) as udp:
        udp.send(stun.request())
        udp.settimeout(QUIET)
        with pytest.raises(ConnectionRefusedError):
            udp.recv(2000)


def test_relay_bound_to_ipv6(start):
    relay = start("ip", host="::1")
    with stun.client(("::1", relay.stun_port)) as udp:
        answer, transaction = ask(udp)
        assert stun.parse_answer(answer, transaction)[0] == ipaddress.ip_address("::1")


def test_unknown_attributes_do_not_hinder(relay):
    more = stun.attribute(0x0003, b"\0\0\0\2") + stun.attribute(0x7777, b"odd")
    with stun.client(("127.0.0.1", relay.stun_port)) as udp:
        data = stun.request(more=more)
        answer, transaction = ask(udp, data)
        stun.parse_answer(answer, transaction)


SPOILED = {
    "nothing": b"",
    "one byte": b"\x00",
    "text": b"hello, is there anybody?",
    "header only": stun.request()[:20],
    "no software": stun.request(software=None),
    "other software": stun.request(software=b"tailnope"),
    "no fingerprint": stun.request(fingerprint=False),
    "wrong fingerprint": stun.request(spoil=1),
    "wrong cookie": stun.request()[:4] + b"\x21\x12\xa4\x43" + stun.request()[8:],
    "an answer": stun.message(stun.BINDING_ANSWER, bytes(12), stun.attribute(stun.SOFTWARE, b"tailnode")),
    "an indication": stun.message(0x0011, bytes(12), stun.attribute(stun.SOFTWARE, b"tailnode")),
    "another method": stun.message(0x0003, bytes(12), stun.attribute(stun.SOFTWARE, b"tailnode")),
    "cut": stun.request()[:-1],
    "attribute beyond the end": stun.message(1, bytes(12), b"\x80\x22\xff\xff" + b"tailnode"),
    "1400 zeros": bytes(1400),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_anything_else_is_ignored(relay, fault):
    with stun.client(("127.0.0.1", relay.stun_port)) as udp:
        assert_ignored(udp, SPOILED[fault])


def test_requests_are_counted(start):
    relay = start("ip", host="")
    with stun.client(("127.0.0.1", relay.stun_port)) as udp:
        for _ in range(3):
            ask(udp)
        for data in SPOILED.values():
            udp.send(data)
        ask(udp)
    with stun.client(("::1", relay.stun_port)) as udp:
        ask(udp)
    relay.wait_varz(lambda s: s.total("stun_requests", disposition="not_stun") == len(SPOILED), "all to be counted")
    samples = relay.varz()
    assert samples.total("stun_requests", disposition="success") == 5
    assert samples.total("stun_addrfamily", family="ipv6") + samples.total("stun_addrfamily", family="ipv4") == 5
    if OURS:
        assert samples.total("stun_addrfamily", family="ipv6") == 1


# --stun-any: also for programs that are not Tailscale's

@pytest.fixture(scope="module")
def open_relay(keeper):
    return keeper("ip", "--stun-any")


@ours
@pytest.mark.parametrize("options", [{}, {"software": None}, {"software": None, "fingerprint": False},
                                     {"software": b"a tester"}], ids=str)
def test_any_request_is_answered_if_told_so(open_relay, options):
    with stun.client(("127.0.0.1", open_relay.stun_port)) as udp:
        data = stun.request(**options)
        answer, transaction = ask(udp, data)
        assert stun.parse_answer(answer, transaction) == (ipaddress.ip_address("127.0.0.1"), udp.getsockname()[1])


@ours
def test_unknown_required_attribute_is_refused_with_420(open_relay):
    with stun.client(("127.0.0.1", open_relay.stun_port)) as udp:
        data = stun.request(software=None, more=stun.attribute(0x7777, b"what"), fingerprint=False)
        answer, transaction = ask(udp, data)
        attributes = stun.error_attributes(answer, transaction)
        assert attributes[stun.ERROR_CODE][2:4] == bytes([4, 20])
        assert attributes[stun.UNKNOWN_ATTRIBUTES][:2] == b"\x77\x77"


@ours
@pytest.mark.parametrize("fault", ["nothing", "one byte", "text", "wrong fingerprint", "wrong cookie", "an answer",
                                   "an indication", "another method", "cut", "attribute beyond the end",
                                   "1400 zeros"])
def test_what_is_no_request_is_ignored_by_the_open_relay_too(open_relay, fault):
    with stun.client(("127.0.0.1", open_relay.stun_port)) as udp:
        assert_ignored(udp, SPOILED[fault])


def test_many_requests_at_once(relay):
    count = 500
    with stun.client(("127.0.0.1", relay.stun_port)) as udp:
        udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        udp.settimeout(PATIENCE)
        transactions = {os.urandom(12) for _ in range(count)}
        seen = set()
        # In small batches, as nobody promises that UDP keeps more.
        waiting = list(transactions)
        while waiting:
            batch, waiting = waiting[:50], waiting[50:]
            for transaction in batch:
                udp.send(stun.request(transaction))
            for _ in batch:
                seen.add(udp.recv(2000)[8:20])
        assert seen == transactions


def test_stun_off(start):
    relay = start("ip", stun=False)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", relay.stun_port))
    assert "STUN server listening" not in relay.log()
    assert relay.get("/derp/probe").status == 200


def test_stun_without_derp(start):
    relay = start("ip", "--derp=false")
    with stun.client(("127.0.0.1", relay.stun_port)) as udp:
        ask(udp)


@ours
@pytest.mark.parametrize("holder", ["127.0.0.1", "0.0.0.0", "::"])
def test_stun_port_that_is_taken_stops_the_start(start, holder):
    relay = start.make()
    family = socket.AF_INET6 if ":" in holder else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as udp:
        udp.bind((holder, relay.stun_port))
        relay.launch()
        assert relay.wait_exit() != 0
    relay.expect_end = True
    assert f"{relay.stun_port}" in relay.log() and "in use" in relay.log()
