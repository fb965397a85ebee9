# SPDX-License-Identifier: BSD-3-Clause
"""What an ill authority can do to a client: each fault ends with a sentence, in bounded time and memory, and what comes
behind it goes well."""
import datetime
import email.utils
import os
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import certs
import proxy
from certgen import Certgen
from proxy import answer, changed, problem, with_headers
from waiting import wait_until

# Every kind of request that a first issue makes.
STEPS = ["directory", "nonce", "newAccount", "newOrder", "authorization", "challenge", "finalize", "order", "certificate"]
URL = "https://127.0.0.1:1/"


def date_in(seconds):
    return email.utils.formatdate(time.time() + seconds, usegmt=True)


def set_url(name, url):
    def change(value):
        value[name] = url
    return changed(change)


def set_challenges(name, value):
    def change(authorization):
        for challenge in authorization["challenges"]:
            challenge[name] = value
    return changed(change)


def spoil(ca, kind, fault):
    ca.proxy.mend()
    return ca.proxy.fault(kind, fault)


def recovers(ca, certgen):
    ca.proxy.mend()
    certgen.issue("one.test")
    assert certgen.holds_pair("one.test")


def orders(ca):
    return sum(exchange.status == 201 for exchange in ca.proxy.asked("newOrder"))


# Faults that any request can meet

@pytest.mark.parametrize("kind", STEPS)
def test_refused_step(ca, certgen, kind):
    """The next attempts go on with the same order."""
    for fault, words in (
            (proxy.reset, "did not answer at https://127.0.0.1"), (answer(503), "503"),
            (problem(429, "rateLimited", "too many requests", [("Retry-After", "3600")]), "too many requests")):
        spoil(ca, kind, fault)
        before = ca.proxy.count(kind)
        assert words in certgen.refuse("one.test")
        # libcurl tries once more where a connection that it had used before breaks.
        assert ca.proxy.count(kind) - before <= (2 if fault is proxy.reset else 1), "it is asked again at once"
    recovers(ca, certgen)
    assert orders(ca) == 1


@pytest.mark.parametrize("kind", ["directory", "newOrder", "order", "certificate"])
def test_broken_answer(ca, certgen, kind):
    spoil(ca, kind, proxy.cut_short)
    assert "did not answer" in certgen.refuse("one.test")
    spoil(ca, kind, proxy.endless)
    assert "has more than 262144 bytes" in certgen.refuse("one.test", patience=10)
    assert ca.proxy.asked(kind)[-1].sent < 8 << 20
    recovers(ca, certgen)


@pytest.mark.parametrize("kind", ["directory", "newAccount", "newOrder", "authorization", "finalize", "order"])
def test_answer_that_is_none(ca, certgen, kind):
    for body in (b"", b"<html>captive portal</html>", b"[]", b"null", b'{"status": 7}', b"[" * 100000,
                 b'{"a": "\xff\xfe"}', b'{"status": {"status": []}, "authorizations": 7, "challenges": {}}'):
        spoil(ca, kind, answer(200, body))
        assert certgen.refuse("one.test")
    recovers(ca, certgen)


def test_status(ca, certgen):
    for status in (204, 301, 401, 404, 405, 500, 599):
        spoil(ca, "newOrder", answer(status, b"" if status == 204 else b"{}", [("Location", URL)]))
        assert certgen.refuse("one.test")
    recovers(ca, certgen)


def test_nobody_listens(ca, certgen):
    ca.proxy.down()
    sentence = certgen.refuse("one.test")
    assert "did not answer" in sentence and ca.proxy.directory in sentence
    ca.proxy.up()
    recovers(ca, certgen)


def test_detail_is_a_strangers(ca, certgen):
    for text in ("a\nb: forged line", "\x1b[31m", "\x7f", "x" * 100000, "%s%n%s"):
        spoil(ca, "newOrder", problem(400, "malformed", text))
        sentence = certgen.refuse("one.test")
        assert len(sentence) < 1100 and "refused" in sentence


def test_subproblems(ca, certgen):
    one = {"type": "urn:ietf:params:acme:error:dns", "detail": "no such name",
           "identifier": {"type": "dns", "value": "two.test"}}
    ca.proxy.fault("newOrder", answer(400, {"type": "urn:ietf:params:acme:error:compound", "detail": "some are bad",
                                            "subproblems": [one] * 100}))
    sentence = certgen.refuse("one.test")
    assert "some are bad; two.test: no such name" in sentence and sentence.count("two.test") == 3


# URLs

@pytest.mark.parametrize("kind, name", [("directory", "newNonce"), ("directory", "newOrder"), ("order", "certificate"),
                                        ("order", "finalize")])
def test_strange_url(ca, certgen, kind, name):
    for url in ("", "file:///etc/passwd", "http://127.0.0.1/", URL, "/relative", "https://", URL + "\x01", "\u00e9",
                "https://127.0.0.1:99999999/", "https://127.0.0.1\r\nX: y/", "https://" + "a" * 100000 + "/"):
        spoil(ca, kind, set_url(name, url))
        assert len(certgen.refuse("one.test")) < 1100
    recovers(ca, certgen)


@pytest.mark.parametrize("kind", ["newAccount", "newOrder"])
def test_strange_location(ca, certgen, kind):
    for url in ("", "file:///etc/passwd", "https://" + "a" * 3000, "x", "https://127.0.0.1/\u00e9"):
        spoil(ca, kind, with_headers(("Location", url)))
        certgen.refuse("one.test")
    recovers(ca, certgen)


def test_order_that_cannot_be_reached(ca, certgen):
    """It is asked for again for six hours, and then given up."""
    spoil(ca, "newOrder", with_headers(("Location", URL)))
    assert "did not answer at " + URL in certgen.refuse("one.test")
    ca.proxy.mend()
    assert "did not answer at " + URL in certgen.refuse("one.test")
    long_ago = time.time() - 6 * 3600 - 60
    os.utime(certgen.path(certgen.order("one.test")), (long_ago, long_ago))
    certgen.issue("one.test")


def test_strange_nonce(ca, certgen):
    for nonce in ("", "x" * 3000, "\u00e9 \"\\", "a b"):
        spoil(ca, "nonce", with_headers(("Replay-Nonce", nonce)))
        assert "gave no nonce" in certgen.refuse("one.test")
    recovers(ca, certgen)


def test_strange_token(ca, certgen, tmp_path):
    for token in ("", "../../../../tmp/x", "a/b", "x" * 300, "x" * 100000, "a\u0000b", "a b", "\u00e9", 7):
        spoil(ca, "authorization", set_challenges("token", token))
        assert certgen.refuse("--webroot", str(tmp_path), "one.test")
    recovers(ca, certgen)


def test_no_challenge_that_we_can(ca, certgen):
    ca.proxy.fault("authorization", set_challenges("type", "dns-01"))
    assert "offers no challenge for one.test" in certgen.refuse("one.test")
    recovers(ca, certgen)


# States

def always(name, status):
    def change(value):
        value[name] = status
    return changed(change)


@pytest.mark.parametrize("status", ["ready", "pending", "processing", "nonsense"])
def test_order_that_goes_nowhere(ca, certgen, status):
    """It is asked for again, but not as fast as it can be."""
    for kind in ("finalize", "order"):
        ca.proxy.fault(kind, always("status", status))
    process = certgen.begin("one.test")
    time.sleep(4)
    assert process.runs()
    process.kill()
    assert len(ca.proxy.exchanges) < 20
    assert ca.proxy.count("finalize") <= 1


def test_order_that_fails(ca, certgen):
    def fail(order):
        order["status"] = "invalid"
        order["error"] = {"type": "urn:ietf:params:acme:error:caa", "detail": "CAA says no"}

    ca.proxy.fault("finalize", changed(fail))
    sentence = certgen.refuse("one.test")
    assert "CAA says no" in sentence and "a CAA record" in sentence
    recovers(ca, certgen)
    assert ca.proxy.count("newOrder") == 2


def test_certificate_of_another(ca, certgen, tmp_path):
    other = Certgen(ca, tmp_path / "other")
    other.issue("two.test")
    ca.proxy.fault("certificate", answer(200, other.read("two.test.crt")))
    assert "no certificate of our key" in certgen.refuse("one.test")
    assert "one.test.crt" not in certgen.files()
    recovers(ca, certgen)


def forge(ca, names, begin, end):
    """The authority gives a certificate of the key asked for, but for these names and days from now."""
    asked = []

    def keep_request(exchange):
        asked.append(x509.load_der_x509_csr(proxy.decoded(exchange.payload["csr"])))
        proxy.pass_on(exchange)

    def give(exchange):
        now = datetime.datetime.utcnow()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "forged")])
        certificate = (x509.CertificateBuilder().subject_name(name).issuer_name(name).serial_number(1)
                       .public_key(asked[-1].public_key())
                       .not_valid_before(now + datetime.timedelta(days=begin))
                       .not_valid_after(now + datetime.timedelta(days=end)))
        if names:
            certificate = certificate.add_extension(
                x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), False)
        key = ec.generate_private_key(ec.SECP256R1())
        exchange.send(200, [], certs.pem(certificate.sign(key, hashes.SHA256())))

    ca.proxy.fault("finalize", keep_request)
    ca.proxy.fault("certificate", give)


@pytest.mark.parametrize("covered, begin, end, words", [
    (["other.test"], -1, 90, "does not cover the hostname one.test but other.test"),
    (["one.test"], -1, 90, "does not cover the hostname two.test but one.test"),
    ([], -1, 90, "does not cover the hostname one.test"),
    (["one.test", "two.test"], -9, -1, "expired"),
], ids=["other", "one-of-two", "no-name", "expired"])
def test_certificate_that_cannot_serve(ca, certgen, covered, begin, end, words):
    """What serves stays in its place."""
    certgen.issue("one.test", "two.test")
    before = certgen.read("one.test.crt"), certgen.read("one.test.key")
    forge(ca, covered, begin, end)
    assert words in certgen.refuse("one.test", "two.test")
    assert (certgen.read("one.test.crt"), certgen.read("one.test.key")) == before
    ca.proxy.mend()
    certgen.issue("one.test", "two.test")
    assert certgen.read("one.test.crt") != before[0] and certgen.holds_pair("one.test")


def test_certificate_of_later(ca, certgen):
    """Our clock is behind: when it is right again, the same certificate is taken and no other one ordered."""
    certgen.issue("one.test")
    before = certgen.read("one.test.crt"), certgen.read("one.test.key")
    forge(ca, ["one.test"], 0.1, 90)
    assert "not yet valid" in certgen.refuse("one.test")
    assert (certgen.read("one.test.crt"), certgen.read("one.test.key")) == before
    ca.proxy.mend()
    certgen.issue("one.test")
    assert orders(ca) == 2 and certgen.holds_pair("one.test")


def with_more(more, before=False):
    def act(exchange):
        status, headers, body = exchange.forward()
        exchange.send(status, headers, more + body if before else body + more)
    return act


@pytest.mark.parametrize("before", [False, True])
def test_certificate_with_more(ca, certgen, before):
    """Nothing but certificates gets into our file, in front of which the key may stand (RFC 8555, section 11.4)."""
    more = b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\nssl_certificate x;\n"
    ca.proxy.fault("certificate", with_more(more, before))
    certgen.issue("one.test")
    assert certgen.read("one.test.crt").count(b"-----") == 4 * len(certgen.chain("one.test"))
    assert b"ssl_certificate" not in certgen.read("one.test.crt")


# Retry-After

@pytest.mark.parametrize("value", ["9223372036854775807", "99999999999999999999", "-1", "0", "x", date_in(-5),
                                   date_in(10 ** 9), "Thu, 32 Foo 99999 99:99:99 GMT"],
                         ids=["huge", "too-large", "negative", "zero", "letter", "past", "far", "no-date"])
def test_strange_retry_after(ca, certgen, value):
    """Where it is bearable, it is waited for."""
    ca.proxy.fault("challenge", with_headers(("Retry-After", value)))
    ca.proxy.fault("authorization", with_headers(("Retry-After", value)))
    process = certgen.begin("one.test")
    wait_until(lambda: not process.runs() or time.monotonic() - process.begin > 3, "3 s")
    assert len(ca.proxy.exchanges) < 30
    if process.runs():
        process.kill()
    else:
        assert process.result().status == 0


@pytest.mark.parametrize("value", [lambda: "3", lambda: date_in(4)], ids=["seconds", "date"])
def test_retry_after_is_waited_for(ca, certgen, value):
    def processing(order):
        order["status"] = "processing"
        order.pop("certificate", None)

    def act(exchange):
        status, headers, body = exchange.forward()
        headers = [h for h in headers if h[0].lower() != "retry-after"] + [("Retry-After", value())]
        changed_body = proxy.json.loads(body)
        processing(changed_body)
        exchange.send(status, headers, proxy.json.dumps(changed_body).encode())

    ca.proxy.fault("finalize", act)
    certgen.issue("one.test")
    finalized, asked = ca.proxy.asked("finalize")[0].time, ca.proxy.asked("order")[-1].time
    assert 2.5 < asked - finalized < 6


@pytest.mark.first
def test_drip(ca, certgen):
    """A byte a second ends with the request's limit."""
    ca.proxy.fault("directory", proxy.drip)
    begin = time.monotonic()
    assert "did not answer" in certgen.refuse("one.test", patience=70)
    assert 55 < time.monotonic() - begin < 65
