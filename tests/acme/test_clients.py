# SPDX-License-Identifier: BSD-3-Clause
"""Each way to a certificate, and the clients that people have: openssl, curl, Tailscale's Go client and Chromium take
what the relay serves, and refuse it when they trust another authority or know another pin."""
import json
import os
import subprocess

import pytest

import certs
import programs
from derper import SANITIZED
from relay import Relay
from test_browser import CHROMIUM, DRIVER, Browser, trust
from test_certgen import load, pin_of
from test_certgen import self_signed as self_signed_pair
from waiting import wait_until

NAME, OTHER, ADDRESS = "derp.test", "other.derp.test", "127.0.0.1"
SIGNATURES = {"ec": ("ECDSA+SHA256", "ECDSA"), "rsa": ("RSA-PSS+SHA256", "RSA-PSS")}
SUITES = {"ec": "ECDHE-ECDSA-AES128-GCM-SHA256", "rsa": "ECDHE-RSA-AES128-GCM-SHA256"}
UNKNOWN = certs.Authority("authority of nobody").certificate


def is_address(name):
    return name[0].isdigit()


class Served:
    """A relay as clients know it: its names, whom they trust, and, for Tailscale's, the pin. `kinds` of keys."""

    def __init__(self, relay, names, root, pin="", kinds=("ec",)):
        self.relay, self.names, self.root, self.pin, self.kinds = relay, names, root, pin, kinds

    def node(self, name, pin=None):
        """Of a DERP map, as JSON."""
        return json.dumps({"Name": "900a", "RegionID": 900, "HostName": name, "IPv4": ADDRESS, "IPv6": "none",
                           "DERPPort": self.relay.port, "CertName": self.pin if pin is None else pin})


def by_hand(want):
    """Two names, each with a certificate of each kind, of an authority below one that clients know."""
    authority = certs.Authority()
    issuer = authority.intermediate()
    relay = want("start").make("ip", "--hostname", f"{NAME},{OTHER}")
    for name in (NAME, OTHER):
        issuer.install(relay.cert_dir, name, kind="ec")
        issuer.install(relay.cert_dir, name + "+rsa", name, kind="rsa")
    return Served(relay.start(), [NAME, OTHER], authority.certificate, kinds=SIGNATURES)


def self_signed(want):
    relay = want("start")("ip")
    certificate = load(os.path.join(relay.cert_dir, ADDRESS + ".crt"))
    return Served(relay, [ADDRESS], certificate, pin_of(certificate))


def fetched(want, name, *args):
    ca, start = want("ca"), want("start")
    relay = Relay(ca, want("tmp_path") / "relay", name, args)
    start.relays.append(relay)
    relay.start().serves()
    return Served(relay, [name], ca.pebble.root())


MODES = {
    "by hand": by_hand,
    "self-signed": self_signed,
    "ACME name": lambda want: fetched(want, NAME),
    "ACME address": lambda want: fetched(want, ADDRESS, "--acme-ip-certs"),
}


@pytest.fixture(params=MODES)
def served(request):
    return MODES[request.param](request.getfixturevalue)


@pytest.fixture
def write(tmp_path):
    """write(certificate) returns its file."""
    def write_pem(certificate):
        path = tmp_path / f"{certificate.serial_number}.pem"
        path.write_bytes(certs.pem(certificate))
        return str(path)

    return write_pem


def run(*words, **options):
    return subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                          timeout=20, **options)


def openssl(served, name, kind, root):
    if is_address(name):
        told = ["-noservername", "-verify_ip", name]
    else:
        told = ["-servername", name, "-verify_hostname", name]
    return run("openssl", "s_client", "-connect", f"{ADDRESS}:{served.relay.port}", *told, "-verify_return_error",
               "-sigalgs", SIGNATURES[kind][0], "-CAfile", root, "-no-CApath", "-no-CAstore")


def test_openssl(served, write):
    for name in served.names:
        for kind in served.kinds:
            done = openssl(served, name, kind, write(served.root))
            assert done.returncode == 0 and "Verify return code: 0 (ok)" in done.stdout, done.stdout
            assert f"Peer signature type: {SIGNATURES[kind][1]}\n" in done.stdout, done.stdout
            done = openssl(served, name, kind, write(UNKNOWN))
            assert done.returncode != 0 and "verify error" in done.stdout, done.stdout


def curl(served, name, kind, root):
    return run("curl", "-sS", "--fail", "--noproxy", "*", "--cacert", root, "--tls-max", "1.2", "--ciphers",
               SUITES[kind], "--resolve", f"{name}:{served.relay.port}:{ADDRESS}",
               f"https://{name}:{served.relay.port}/")


def test_curl(served, write):
    for name in served.names:
        for kind in served.kinds:
            done = curl(served, name, kind, write(served.root))
            assert done.returncode == 0 and "DERP" in done.stdout, done.stdout
            done = curl(served, name, kind, write(UNKNOWN))
            assert done.returncode == 60, done.stdout


class Pair:
    """Two of Tailscale's clients that are connected, see tests/interop/connect."""

    def __init__(self, program, node, root):
        self.process = subprocess.Popen([program, node], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, text=True,
                                        env=dict(os.environ, SSL_CERT_FILE=root, SSL_CERT_DIR="/nowhere"))
        self.said = self.process.stdout.readline()

    def relays(self):
        self.process.stdin.write("a packet\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "relayed\n"

    def end(self):
        """All that it says."""
        self.process.stdin.close()
        rest = self.process.stdout.read()
        self.process.wait()
        return self.said + rest


@pytest.fixture(scope="session")
def connect():
    """connect(node, root): two of Tailscale's clients."""
    program = programs.build_connect()
    return lambda node, root: Pair(program, node, root)


def test_go(served, connect, write):
    for name in served.names:
        assert connect(served.node(name), write(UNKNOWN if served.pin else served.root)).end() == "relayed\n"
    said = connect(served.node(served.names[0], pin_of(UNKNOWN) if served.pin else ""), write(UNKNOWN)).end()
    assert ("cert hash does not match" if served.pin else "signed by unknown authority") in said, said


def test_go_when_the_pin_changes(start, connect, write):
    """Before and after, one of the pins lets in; whoever is in stays."""
    relay = start.make("ip")
    now = self_signed_pair(relay.cert_dir, 80, ADDRESS)
    relay.start()
    path = os.path.join(relay.cert_dir, ADDRESS)
    following = load(path + ".next.crt")
    served = Served(relay, [ADDRESS], now)

    def say(certificate):
        return connect(served.node(ADDRESS, pin_of(certificate)), write(UNKNOWN)).end()

    first = connect(served.node(ADDRESS, pin_of(now)), write(UNKNOWN))
    assert first.relays() and "cert hash does not match" in say(following)
    os.rename(path + ".next.crt", path + ".crt")
    wait_until(lambda: say(following) == "relayed\n", "the next pin to let in")
    assert "cert hash does not match" in say(now) and first.relays()
    assert first.end() == "relayed\n"


@pytest.mark.skipif(SANITIZED or not (os.path.exists(CHROMIUM) and os.path.exists(DRIVER)),
                    reason="needs chromium and chromium-driver; the plain build shows the same of the relay")
def test_browser(served, start, tmp_path):
    """The lock: what was loaded is "secure" to Chromium, and it refuses another relay's certificate."""
    home = str(tmp_path / "browser")
    os.makedirs(home)
    trust(home, served.root, "P,," if served.pin else "C,,")
    browser = Browser(home)
    try:
        for name in served.names:
            assert browser.security(f"https://{name}:{served.relay.port}/") == ("secure", [name])
            assert browser.run("isSecureContext") is True and "DERP" in browser.driver.title
        assert browser.security(f"https://{ADDRESS}:{start('ip').port}/") == ("net::ERR_CERT_AUTHORITY_INVALID", [])
    finally:
        browser.quit()
