# SPDX-License-Identifier: BSD-3-Clause
"""`certgen acme` against Pebble."""
import datetime
import functools
import http.server
import json
import os
import subprocess
import threading

import pytest

import certs
from certgen import PROGRAM, Certgen, names_of
from derper import free_port
from proxy import Hold, changed

EAB = {"kid-1": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}
EAB_FLAGS = ("--eab-kid", "kid-1", "--eab-key", EAB["kid-1"])


def mode(path):
    return os.stat(path).st_mode & 0o777


def openssl_verifies(ca, chain_file, name):
    """By the word of another program, and the whole chain."""
    root = chain_file + ".root"
    with open(root, "wb") as file:
        file.write(ca.pebble.root_pem())
    done = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile", root, "-untrusted", chain_file,
                           "-verify_hostname", name, chain_file], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return done.returncode == 0 or done.stdout


# First issue

def test_first_issue(ca, certgen):
    """Straight to Pebble, by HTTP/2 and without the proxy."""
    run = certgen.issue("one.test", directory=ca.pebble.directory)
    assert run.out == f"certificate: {certgen.path('one.test.crt')}\nkey: {certgen.path('one.test.key')}\n"
    assert certgen.files() == ["acme_account+key", "one.test.crt", "one.test.key"]
    assert [mode(certgen.path(name)) for name in certgen.files()] == [0o600, 0o644, 0o600]
    assert certgen.holds_pair("one.test")
    assert names_of(certgen.leaf("one.test")) == ["one.test"]
    assert len(certgen.chain("one.test")) == 2
    assert openssl_verifies(ca, certgen.path("one.test.crt"), "one.test") is True


def test_second_issue_has_the_same_account_and_another_key(ca, certgen):
    certgen.issue("one.test")
    first = certgen.leaf("one.test")
    certgen.issue("one.test")
    second = certgen.leaf("one.test")
    assert first.serial_number != second.serial_number and not certs.same_key(first.public_key(), second.public_key())
    assert certgen.holds_pair("one.test")
    accounts = {exchange.header["kid"] for exchange in ca.proxy.asked("newOrder")}
    assert len(accounts) == 1 and ca.proxy.count("newOrder") == 2


class WebRoot:
    """Somebody else's web server on the HTTP port."""

    def __init__(self, port, folder):
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *fault):
        self.server.shutdown()
        self.server.server_close()


def test_webroot(ca, certgen, tmp_path):
    folder = tmp_path / "www"
    folder.mkdir()
    with WebRoot(ca.http_port, folder):
        certgen.issue("--webroot", str(folder), "one.test", "two.test")
    assert certgen.holds_pair("one.test")
    assert names_of(certgen.leaf("one.test")) == ["one.test", "two.test"]
    assert os.listdir(folder / ".well-known" / "acme-challenge") == []
    assert mode(folder / ".well-known") & 0o055 == 0o055


def test_address(ca, certgen):
    certgen.issue("127.0.0.1")
    assert names_of(certgen.leaf("127.0.0.1")) == ["127.0.0.1"]
    order = ca.proxy.asked("newOrder")[0].payload
    assert order["profile"] == "shortlived"
    assert order["identifiers"] == [{"type": "ip", "value": "127.0.0.1"}]
    assert certgen.leaf("127.0.0.1").not_valid_after - certgen.leaf("127.0.0.1").not_valid_before < \
        datetime.timedelta(days=6, seconds=1)


def test_address_beside_names(certgen):
    certgen.issue("one.test", "127.0.0.1", "two.test")
    assert sorted(names_of(certgen.leaf("one.test"))) == ["127.0.0.1", "one.test", "two.test"]


def test_profile_that_is_none(ca, certgen):
    assert 'has no profile "nothing"' in certgen.refuse("--profile", "nothing", "one.test")
    assert ca.proxy.count("newOrder") == 0


def test_proven_already(make_ca, tmp_path):
    ca = make_ca(env={"PEBBLE_AUTHZREUSE": "100"})
    certgen = Certgen(ca, tmp_path / "certs")
    certgen.issue("one.test")
    certgen.issue("one.test")
    assert ca.proxy.count("challenge") == 1 and ca.proxy.count("finalize") == 2


def test_email(ca, certgen):
    certgen.issue("--email", "a@one.test", "one.test")
    assert ca.proxy.asked("newAccount")[-1].payload["contact"] == ["mailto:a@one.test"]
    certgen.issue("--email", "b@one.test", "one.test")
    assert ca.proxy.asked("account")[-1].payload == {"contact": ["mailto:b@one.test"]}
    certgen.issue("--email", "b@one.test", "one.test")
    assert ca.proxy.count("account") == 1


def test_slow_validation(make_ca, tmp_path):
    ca = make_ca(env={"PEBBLE_VA_NOSLEEP": "0", "PEBBLE_VA_SLEEPTIME": "3"})
    Certgen(ca, tmp_path / "certs").issue("one.test")


# Nonces

def test_bad_nonces(make_ca, tmp_path):
    ca = make_ca(env={"PEBBLE_WFE_NONCEREJECT": "30"})
    Certgen(ca, tmp_path / "certs").issue("one.test", "two.test", "three.test")


def test_no_nonce_is_good(make_ca, tmp_path):
    ca = make_ca(env={"PEBBLE_WFE_NONCEREJECT": "100"})
    assert "invalid anti-replay nonce" in Certgen(ca, tmp_path / "certs").refuse("one.test").lower()
    assert ca.proxy.count("newAccount") == 8


# External accounts

@pytest.fixture
def strict_ca(make_ca):
    return make_ca(eab=EAB)


@pytest.fixture
def strict(strict_ca, tmp_path):
    return Certgen(strict_ca, tmp_path / "certs")


def test_external_account(strict_ca, strict):
    strict.issue(*EAB_FLAGS, "one.test")
    # It is bound now.
    strict.issue("two.test")
    assert strict.holds_pair("two.test") and strict_ca.proxy.count("newAccount") == 3


@pytest.mark.parametrize("flags, words", [
    ((), ("wants an external account", "--eab-kid", "--eab-key")),
    (("--eab-kid", "kid-2", "--eab-key", EAB["kid-1"]), ("'kid' references a key that is not known",)),
    (("--eab-kid", "kid-1", "--eab-key", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), ("verification error",)),
    (("--eab-kid", "kid-1", "--eab-key", "not base64!"), ("is no base64url text", "copy it again")),
    (("--eab-kid", "kid-1"), ("--eab-key",)),
    (("--eab-key", EAB["kid-1"]), ("--eab-kid",)),
])
def test_external_account_refused(strict, flags, words):
    sentence = strict.refuse(*flags, "one.test")
    assert all(word in sentence for word in words), sentence
    assert "leads to another program" not in sentence
    strict.issue(*EAB_FLAGS, "one.test")


def test_external_account_that_the_directory_does_not_ask_for(strict_ca, strict):
    strict_ca.proxy.fault("directory", changed(lambda directory: directory["meta"].pop("externalAccountRequired")))
    assert "--eab-kid" in strict.refuse("one.test")


# Names that are not proven

def test_nobody_answers(ca, certgen):
    sentence = certgen.refuse("one.test", port=free_port())
    assert "one.test was not proven" in sentence and "the port must be open" in sentence
    assert certgen.files() == ["acme_account+key"]


def test_somebody_else_answers(ca, certgen, tmp_path):
    with WebRoot(ca.http_port, tmp_path / "empty"):
        sentence = certgen.refuse("one.test", port=free_port())
    assert "one.test was not proven" in sentence and "leads to another program or machine" in sentence


def test_name_that_is_not_known(ca, certgen):
    ca.names.tell("set-servfail", host="servfail.test")
    assert "servfail.test was not proven" in certgen.refuse("servfail.test")


def test_one_of_several_names(ca, certgen):
    ca.names.tell("set-servfail", host="broken.test")
    assert "broken.test was not proven" in certgen.refuse("one.test", "broken.test", "two.test")
    assert certgen.files() == ["acme_account+key"]


def test_forbidden_name(make_ca, tmp_path):
    ca = make_ca(blocked=["forbidden.test"])
    assert "forbidden.test" in Certgen(ca, tmp_path / "certs").refuse("forbidden.test")


# Exchange of the account's key

def test_new_account_key(ca, certgen):
    certgen.issue("one.test")
    before = certgen.read("acme_account+key")
    assert certgen.run("--new-account-key").out == "the account has a new key\n"
    assert certgen.read("acme_account+key") != before
    certgen.issue("two.test")
    assert len({exchange.header["kid"] for exchange in ca.proxy.asked("newOrder")}) == 1
    assert mode(certgen.path("acme_account+key")) == 0o600


@pytest.mark.parametrize("forward", [False, True], ids=["before", "behind"])
def test_new_account_key_interrupted(ca, certgen, forward):
    certgen.issue("one.test")
    before = certgen.read("acme_account+key")
    held = ca.proxy.fault("keyChange", Hold(forward))
    process = certgen.begin("--new-account-key")
    assert held.reached.wait(10)
    process.kill()
    certgen.issue("two.test")
    assert (certgen.read("acme_account+key") != before) == forward
    assert "acme_account+key.next" not in certgen.files()
    assert len({exchange.header["kid"] for exchange in ca.proxy.asked("newOrder")}) == 1


# Interrupted orders

def become_processing(order):
    order["status"] = "processing"
    order.pop("certificate", None)


@pytest.mark.parametrize("state, kind, forward", [
    ("pending", "authorization", False), ("pending", "challenge", False), ("ready", "finalize", False), ("processing", "finalize", True), ("valid", "certificate", False),
], ids=["pending", "offering", "ready", "processing", "valid"])
def test_interrupted(ca, certgen, state, kind, forward):
    held = ca.proxy.fault(kind, Hold(forward))
    process = certgen.begin("one.test", "two.test")
    assert held.reached.wait(10)
    process.kill()
    assert certgen.files() == ["acme_account+key", certgen.order("one.test")]
    assert mode(certgen.path(certgen.order("one.test"))) == 0o600
    assert "key" not in json.loads(certgen.read(certgen.order("one.test")).split(b"-----BEGIN")[0])
    ca.proxy.mend()
    if state == "processing":
        ca.proxy.fault("order", changed(become_processing), times=1)
    finalized = ca.proxy.count("finalize")
    run = certgen.issue("one.test", "two.test")
    assert "going on with the order for one.test" in run.err
    assert ca.proxy.count("newOrder") == 1
    assert state not in ("processing", "valid") or ca.proxy.count("finalize") == finalized
    assert certgen.holds_pair("one.test")
    assert certgen.files() == ["acme_account+key", "one.test.crt", "one.test.key"]


def test_interrupted_while_it_is_validated(ca, certgen):
    """The authority found nobody who answers, or has just been answered."""
    held = ca.proxy.fault("challenge", Hold(True))
    process = certgen.begin("one.test")
    assert held.reached.wait(10)
    process.kill()
    ca.proxy.mend()
    certgen.issue("one.test")
    assert certgen.holds_pair("one.test") and ca.proxy.count("newOrder") <= 2


def interrupt(certgen, *names):
    held = certgen.ca.proxy.fault("finalize", Hold(False))
    process = certgen.begin(*names)
    assert held.reached.wait(10)
    process.kill()
    certgen.ca.proxy.mend()


def test_interrupted_and_wanted_otherwise(ca, certgen):
    interrupt(certgen, "one.test")
    certgen.issue("one.test", "two.test")
    assert names_of(certgen.leaf("one.test")) == ["one.test", "two.test"]


def test_interrupted_and_the_authority_has_forgotten(ca, certgen):
    interrupt(certgen, "one.test")
    ca.pebble.restart()
    certgen.issue("one.test")
    assert certgen.holds_pair("one.test")


def test_interrupted_and_the_account_is_another(ca, certgen):
    interrupt(certgen, "one.test")
    os.unlink(certgen.path("acme_account+key"))
    certgen.issue("one.test")
    assert certgen.holds_pair("one.test")


def test_order_file_that_is_none(ca, certgen):
    for text in (b"", b"{", b"[]", b"\0" * 1000, b'{"directory": 1, "order": [], "key": null}'):
        with open(certgen.path(certgen.order("one.test")), "wb") as file:
            file.write(text)
        certgen.issue("one.test")


def test_account_key_that_is_none(ca, certgen):
    with open(certgen.path("acme_account+key"), "wb") as file:
        file.write(b"nothing")
    assert certgen.path("acme_account+key") in certgen.refuse("one.test")


# Arguments

@pytest.mark.parametrize("words", [
    (), ("--port", "0", "one.test"), ("--port", "65536", "one.test"), ("--port", "80x", "one.test"),
    ("--port", "", "one.test"), ("--new-account-key", "one.test"), ("--nothing", "one.test"), ("--ca",),
    [f"n{i}.test" for i in range(17)],
])
def test_usage(words, tmp_path):
    done = subprocess.run([PROGRAM, "acme", "-d", str(tmp_path), *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 2 and b"usage: certgen acme" in done.stderr and done.stdout == b""


@pytest.mark.parametrize("words, sentence", [
    (("*.one.test",), "*.one.test"), (("",), '""'), (("one.test", "../../x"), "../../x"),
    (("one.test", "a" * 300 + ".test"), "aaaa"), (("one_two.test",), "one_two.test"), (("-one.test",), "-one.test"),
])
def test_names_that_are_none(ca, certgen, words, sentence):
    assert sentence in certgen.refuse("--", *words)
    assert certgen.files() in ([], ["acme_account+key"])


def test_folder_that_is_not_there(ca, tmp_path):
    certgen = Certgen(ca, tmp_path / "certs")
    os.rmdir(certgen.folder)
    assert certgen.folder in certgen.refuse("one.test")


def test_ca_file_that_is_not_there(ca, certgen):
    done = subprocess.run([PROGRAM, "acme", "-d", certgen.folder, "--directory", ca.proxy.directory, "--ca", "/nothing",
                           "--port", str(ca.http_port), "one.test"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"/nothing" in done.stderr


def test_ca_that_is_not_trusted(ca, certgen):
    done = subprocess.run([PROGRAM, "acme", "-d", certgen.folder, "--directory", ca.proxy.directory,
                           "--port", str(ca.http_port), "one.test"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 1 and b"certificate" in done.stderr and b"--ca" in done.stderr


def test_port_that_is_taken(ca, certgen, tmp_path):
    with WebRoot(ca.http_port, tmp_path):
        sentence = certgen.refuse("one.test")
    assert str(ca.http_port) in sentence and "--webroot" in sentence


@pytest.mark.parametrize("directory", ["http://127.0.0.1/dir", "file:///etc/passwd", "127.0.0.1", "", "https://"])
def test_directory_that_is_none(certgen, directory):
    assert certgen.run("one.test", directory=directory or "https:///").status == 1
