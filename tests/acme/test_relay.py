# SPDX-License-Identifier: BSD-3-Clause
"""The relay that looks after its certificates by itself, against Pebble."""
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

import certs
import stun
from certgen import names_of
from derper import BINARY, free_port
from proxy import Gate, Hold, problem, with_headers
from relay import Relay
from waiting import wait_until

EAB = {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}
EAB_FLAGS = ("--acme-eab-kid", "kid-1", "--acme-eab-key", EAB["kid-1"])
# Of which an eighth, the margin that the relay keeps in any case, is enough for an order without a proof.
SHORT = {"default": 20, "shortlived": 20}
LIMITED = problem(429, "rateLimited", "too many certificates already issued", [("Retry-After", "7200")])


@pytest.fixture
def relay(ca, start, tmp_path):
    """relay("derp.test", "--flag", …, challenge=…) makes one that is not started yet."""
    def make(hostnames="derp.test", *args, authority=None, **options):
        made = Relay(authority or ca, tmp_path / f"relay{len(start.relays)}", hostnames, args, **options)
        start.relays.append(made)
        return made

    return make


# First start

@pytest.mark.parametrize("challenge", ["http-01", "tls-alpn-01"])
def test_first_start(ca, relay, challenge):
    """All but TLS works while the authority thinks; then TLS does, without a restart."""
    gate = ca.proxy.fault("newOrder", Gate())
    derper = relay(challenge=challenge).start()
    assert gate.reached.wait(10)
    assert derper.refuses()
    with socket.create_connection(derper.address, timeout=10) as plain:
        plain.sendall(b"GET / HTTP/1.1\r\nHost: derp.test\r\n\r\n")
        assert not plain.recv(100).startswith(b"HTTP/"), "plain HTTP on the TLS port"
    if challenge == "http-01":
        assert derper.get("/", on_http=True).status == 200
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.sendto(stun.request(), ("127.0.0.1", derper.stun_port))
        assert udp.recv(1500)[:2] == b"\x01\x01"
    assert "there is no certificate for derp.test yet" in derper.log() and challenge in derper.log()
    gate.open()
    leaf = derper.serves()
    assert names_of(leaf) == ["derp.test"]
    assert derper.running and ca.proxy.count("newOrder") == 1
    assert ("http://derp.test" in ca.pebble.log()) == (challenge == "http-01")
    assert os.stat(derper.path("derp.test")).st_mode & 0o777 == 0o600
    assert os.stat(derper.path("acme_account+key")).st_mode & 0o777 == 0o600
    assert not os.path.exists(derper.path("acme_order+derp.test"))
    samples = derper.varz()
    assert 'derper_certificate' in derper.varz_text() and samples is not None


def test_restart_needs_no_authority(ca, relay):
    derper = relay().start()
    leaf = derper.serves()
    ca.proxy.down()
    derper.restart()
    assert derper.handshake().serial_number == leaf.serial_number
    ca.proxy.up()


# Renewal

@pytest.mark.parametrize("left", ["ended", "for another name", "half"])
def test_restart_with_what_cannot_be_served(ca, relay, left):
    """A relay that was off for too long, has got another name, or lost its disk: it fetches a certificate."""
    derper = relay()
    leaf, key = certs.Authority().leaf(*(["other.test"] if left == "for another name" else ["derp.test"]),
                                       start=-90, end=-1 if left == "ended" else 30)
    text = certs.key_pem(key) + certs.pem(leaf)
    os.makedirs(derper.cert_dir)
    certs.write_whole(derper.path("derp.test"), text[:len(text) // 2] if left == "half" else text, 0o600)
    derper.start()
    assert derper.serves(other_than=leaf)
    assert "the certificate for derp.test is not served: " in derper.log()


@pytest.mark.first
def test_renewal_while_clients_are_connected(make_ca, relay):
    """Certificates of twenty seconds: no handshake fails, none sees one that has ended, and whoever is in stays."""
    ca = make_ca(profiles=SHORT, env={"PEBBLE_AUTHZREUSE": "100"})
    derper = relay(authority=ca).start()
    derper.serves()
    peer, other = derper.join(), derper.join()
    serials, faults, stop = [], [], threading.Event()

    def connect():
        while not stop.is_set():
            try:
                serial = derper.handshake().serial_number
            except OSError as fault:
                faults.append(fault)
                return
            if serial not in serials:
                serials.append(serial)
            time.sleep(0.02)

    threads = [threading.Thread(target=connect) for _ in range(2)]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(serials) >= 3 or faults, "two renewals", 60, pause=0.2)
    stop.set()
    for thread in threads:
        thread.join()
    assert faults == []
    for client in (peer, other):
        client.fence()
    assert ca.proxy.count("newOrder") < 12
    assert "replaces" in ca.proxy.asked("newOrder")[-1].payload


def test_renew_now_at_start(ca, relay):
    """As after a revocation: the window has passed."""
    derper = relay().start()
    first = derper.serves()
    ca.pebble.suggest(first, -7200, -3600)
    derper.restart()
    second = derper.serves(other_than=first)
    assert ca.proxy.count("newOrder") == 2
    assert "replaces" in ca.proxy.asked("newOrder")[-1].payload
    # And it does not do so again and again.
    derper.restart()
    time.sleep(1)
    assert derper.handshake().serial_number == second.serial_number and ca.proxy.count("newOrder") == 2


@pytest.mark.first
def test_renew_now_while_it_runs(ca, relay):
    """The authority is asked again after as long as it says, but not more often than once a minute."""
    ca.proxy.fault("renewalInfo", with_headers(("Retry-After", "1")))
    derper = relay().start()
    first = derper.serves()
    wait_until(lambda: ca.proxy.count("renewalInfo") == 1, "the question about the window")
    ca.pebble.suggest(first, -7200, -3600)
    second = derper.serves(other_than=first, patience=75)
    assert second.serial_number != first.serial_number and ca.proxy.count("renewalInfo") <= 3


# Failures

def due(ca, derper):
    """A relay whose certificate the authority wants renewed, at the next start."""
    leaf = derper.start().serves()
    ca.pebble.suggest(leaf, -7200, -3600)
    return leaf


def test_rate_limit(ca, relay):
    """It serves on, and asks no more: not on SIGHUP, and not at a restart."""
    derper = relay()
    leaf = due(ca, derper)
    ca.proxy.fault("newOrder", LIMITED)
    derper.restart()
    derper.wait_log("too many certificates already issued")
    derper.reload()
    derper.restart()
    time.sleep(1)
    assert derper.handshake().serial_number == leaf.serial_number
    # The one that names the certificate to be replaced, and no other.
    assert ca.proxy.count("newOrder") == 2
    assert "2 hours" in derper.log()


def test_authority_is_down(ca, relay):
    """Without a certificate: told once, tried again soon, and at once when somebody asks for it."""
    ca.proxy.down()
    derper = relay().start()
    derper.wait_log("did not answer")
    assert derper.refuses() and derper.get("/", on_http=True).status == 200
    time.sleep(2)
    assert derper.log().count("did not answer") == 1
    ca.proxy.up()
    derper.reload()
    derper.serves()


def test_name_is_not_proven_any_more(ca, relay):
    derper = relay("proof.test")
    leaf = due(ca, derper)
    ca.names.tell("set-servfail", host="proof.test")
    derper.restart()
    derper.wait_log("proof.test was not proven")
    assert derper.handshake().serial_number == leaf.serial_number
    ca.names.tell("clear-servfail", host="proof.test")
    derper.reload()
    assert derper.serves(other_than=leaf)


def test_other_challenge_after_a_failure(ca, relay):
    """Port 80 leads to nobody: the next try is by the TLS port."""
    derper = relay()
    derper.http_port = free_port()
    derper.start()
    derper.wait_log("derp.test was not proven")
    derper.reload()
    derper.serves()
    assert ca.proxy.count("newOrder") == 2


@pytest.mark.parametrize("kind, forward", [("authorization", False), ("challenge", False), ("finalize", False),
                                           ("finalize", True), ("certificate", False)])
def test_killed(ca, relay, kind, forward):
    """In each state of an order; the next start goes on with it."""
    held = ca.proxy.fault(kind, Hold(forward))
    derper = relay().start()
    assert held.reached.wait(10)
    derper.kill()
    ca.proxy.mend()
    derper.start()
    derper.serves()
    assert ca.proxy.count("newOrder") == 1
    assert "going on with the order for derp.test" in derper.log()


def test_ends_while_the_authority_hangs(ca, relay):
    held = ca.proxy.fault("newOrder", Hold(False))
    derper = relay().start()
    assert held.reached.wait(10)
    assert derper.end_with(signal.SIGTERM, 15) < 8  # and not after the minute that a request may take


# Accounts

def test_external_account(make_ca, relay):
    ca = make_ca(eab=EAB)
    relay("derp.test", *EAB_FLAGS, authority=ca).start().serves()


def test_external_account_missing(make_ca, relay):
    derper = relay(authority=make_ca(eab=EAB)).start()
    derper.wait_log("wants an external account.*--acme-eab-kid.*--acme-eab-key")
    assert derper.refuses()


def test_certmode_gcp(make_ca, relay):
    ca = make_ca(eab=EAB)
    relay("derp.test", "--acme-email", "a@derp.test", *EAB_FLAGS, authority=ca, certmode="gcp").start().serves()
    assert ca.proxy.asked("newAccount")[-1].payload["contact"] == ["mailto:a@derp.test"]


# Names

def test_address_beside_a_name(ca, relay):
    derper = relay("derp.test,127.0.0.1", "--acme-ip-certs").start()
    assert names_of(derper.serves("derp.test")) == ["derp.test"]
    assert names_of(derper.serves("127.0.0.1")) == ["127.0.0.1"]
    profiles = {order.payload["identifiers"][0]["type"]: order.payload.get("profile")
                for order in ca.proxy.asked("newOrder")}
    assert profiles == {"dns": None, "ip": "shortlived"}


def test_address_alone(relay):
    derper = relay("127.0.0.1", "--acme-ip-certs").start()
    assert names_of(derper.serves("127.0.0.1")) == ["127.0.0.1"]


def test_address_without_the_http_port(ca, relay):
    made = relay("derp.test,127.0.0.1", "--acme-ip-certs", challenge="tls-alpn-01")
    done = subprocess.run([BINARY, *made.arguments()], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=10)
    assert done.returncode == 2 and b"--http-port" in done.stdout, done.stdout


def test_one_of_several_names_fails(ca, relay):
    ca.names.tell("set-servfail", host="bad.test")
    derper = relay("one.test,bad.test,two.test").start()
    assert names_of(derper.serves("one.test")) == ["one.test"]
    assert names_of(derper.serves("two.test")) == ["two.test"]
    derper.wait_log("bad.test was not proven")
    assert derper.refuses("bad.test") and derper.refuses("other.test")
