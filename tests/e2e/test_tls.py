# SPDX-License-Identifier: BSD-3-Clause
"""TLS: versions, suites, certificates, names, and what must not be offered."""
import datetime
import hashlib
import os
import re
import ssl
import stat
import subprocess
import threading

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import ExtensionOID

import certs
from derper import DOMAIN, OURS
from peer import Closed, Link, Peer, chain_of, client_context
from waiting import wait_until

ours = pytest.mark.ours

V1_1, V1_2, V1_3 = ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3


@pytest.fixture(scope="module")
def relay(keeper):
    return keeper()


@pytest.fixture(scope="module")
def domain_relay(keeper, authority):
    """derp.test with a certificate of an intermediate authority."""
    return keeper("domain", authority=authority.intermediate())


@pytest.fixture(scope="module")
def rsa_relay(keeper, authority):
    relay = keeper.make("domain", authority=authority)
    authority.install(relay.cert_dir, DOMAIN, kind="rsa")
    return relay.start()


def shake_hands(relay, context=None, sni=None, address=None):
    link = relay.keep(Link(address or relay.address))
    link.start_tls(sni or relay.sni, context)
    return link


def is_refused(relay, context=None, sni=None):
    """Whether there is no handshake; when the server only closes, that is an answer too."""
    link = relay.keep(Link(relay.address))
    try:
        link.start_tls(sni, context)
        # In TLS 1.3 the client is done before the server has judged.
        link.request("GET", "/derp/probe")
        return False
    except (ssl.SSLError, Closed, ConnectionError):
        return True


def certificates(relay, **options):
    link = shake_hands(relay, **options)
    return [x509.load_der_x509_certificate(c) for c in chain_of(link.tls)]


def s_client(relay, *arguments, text="", hostname=None):
    command = ["openssl", "s_client", "-connect", "%s:%d" % relay.address, *arguments]
    command += ["-servername", hostname] if hostname else ["-noservername"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr


PROBE = "GET /derp/probe HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


# Versions

@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_version_by_openssl(relay, version):
    output = s_client(relay, f"-tls{version}", "-ign_eof", text=PROBE)
    assert "200 OK" in output and "Verify return code" in output


@pytest.mark.parametrize("version, name", [(V1_2, "TLSv1.2"), (V1_3, "TLSv1.3")])
def test_version_is_spoken_and_counted(start, version, name):
    relay = start()
    label = name[len("TLSv"):]
    before = relay.varz()
    peer = join_by(relay, version)
    assert peer.tls.version() == name
    after = relay.varz()
    for metric in ("derper_tls_request_version", "derper_tls_active_version"):
        assert after.total(metric, version=label) > before.total(metric, version=label), metric
    peer.close()
    relay.wait_varz(lambda s: s.total("derper_tls_active_version", version=label) ==
                    before.total("derper_tls_active_version", version=label), "the gauge to fall back")


def join_by(relay, version):
    peer = relay.keep(Peer(relay.address))
    peer.start_tls(context=client_context(version, version))
    peer.login()
    return peer


def test_derp_over_tls_1_2(relay):
    peer = join_by(relay, V1_2)
    other = relay.join()
    other.send(peer.public, b"x" * 65536)
    peer.expect_packet(other.public, b"x" * 65536)
    peer.send(other.public, b"y" * 65536)
    other.expect_packet(peer.public, b"y" * 65536)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, V1_1])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_older_versions_are_refused(relay, version):
    context = client_context(version, version)
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert is_refused(relay, context)


# Suites of TLS 1.2

GOOD_SUITES = ["AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305"]


def old_suites():
    """All suites of TLS 1.2 and before that this OpenSSL can offer."""
    output = subprocess.run(["openssl", "ciphers", "-s", "-tls1_2", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"],
                            capture_output=True, text=True, check=True).stdout
    return output.strip().split(":")


def is_forward_secret_aead(suite):
    return suite.startswith(("ECDHE-", "DHE-")) and re.search(r"GCM|CHACHA20|CCM", suite) and "PSK" not in suite


def context_with(suite):
    context = client_context(V1_2, V1_2)
    context.set_ciphers(suite + ":@SECLEVEL=0")
    return context


@pytest.mark.parametrize("suite", GOOD_SUITES)
def test_good_suite_with_an_ecdsa_certificate(relay, suite):
    link = shake_hands(relay, context_with("ECDHE-ECDSA-" + suite))
    assert link.tls.cipher()[0] == "ECDHE-ECDSA-" + suite
    assert link.request("GET", "/derp/probe").status == 200


@pytest.mark.parametrize("suite", GOOD_SUITES)
def test_good_suite_with_an_rsa_certificate(rsa_relay, suite):
    link = shake_hands(rsa_relay, context_with("ECDHE-RSA-" + suite))
    assert link.tls.cipher()[0] == "ECDHE-RSA-" + suite
    assert link.request("GET", "/derp/probe").status == 200


@ours
@pytest.mark.parametrize("key", ["ecdsa", "rsa"])
def test_every_other_suite_is_refused(relay, rsa_relay, key):
    target = relay if key == "ecdsa" else rsa_relay
    others = [s for s in old_suites() if not is_forward_secret_aead(s)]
    assert len(others) > 20
    accepted = [s for s in others if not is_refused(target, context_with(s), target.sni)]
    assert accepted == []


# In TLS 1.2 the list of groups must also have the certificate's own curve.
@pytest.mark.parametrize("version, groups, chosen", [
    ("1_2", "X25519:prime256v1", "X25519"), ("1_2", "prime256v1", "ECDH, prime256v1"),
    ("1_3", "X25519", "X25519"), ("1_3", "prime256v1", "ECDH, prime256v1"),
])
def test_groups(relay, version, groups, chosen):
    output = s_client(relay, f"-tls{version}", "-groups", groups, "-ign_eof", text=PROBE)
    assert "200 OK" in output and f"Server Temp Key: {chosen}" in output


def test_all_three_suites_of_tls_1_3(relay):
    for suite in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
        output = s_client(relay, "-tls1_3", "-ciphersuites", suite, "-ign_eof", text=PROBE)
        assert "200 OK" in output and f"Cipher is {suite}" in output


# ALPN

@pytest.mark.parametrize("offered, chosen", [
    (["http/1.1"], "http/1.1"), (["h2", "http/1.1"], "http/1.1"), (["http/1.1", "h2"], "http/1.1"), ([], None),
])
def test_alpn(relay, offered, chosen):
    context = client_context()
    if offered:
        context.set_alpn_protocols(offered)
    link = shake_hands(relay, context)
    assert link.tls.selected_alpn_protocol() == chosen
    assert link.request("GET", "/derp/probe").status == 200


def test_alpn_without_http_is_refused(relay):
    context = client_context()
    context.set_alpn_protocols(["imap"])
    assert is_refused(relay, context)


# What must not be there

@ours
@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_no_session_tickets(relay, version):
    output = s_client(relay, f"-tls{version}", "-ign_eof", text=PROBE)
    assert "200 OK" in output
    assert "TLS session ticket" not in output
    assert "New Session Ticket" not in output


@ours
@pytest.mark.parametrize("version", [V1_2, V1_3])
def test_no_session_is_resumed(relay, version):
    context = client_context(version, version)
    first = shake_hands(relay, context)
    assert first.request("GET", "/derp/probe").status == 200
    if first.tls.session is None:
        return
    second = relay.keep(Link(relay.address))
    second.start_tls(None, context, session=first.tls.session)
    assert not second.tls.session_reused


def test_no_renegotiation(relay):
    # s_client renegotiates at a line that holds an R.
    output = s_client(relay, "-tls1_2", text="R\n" + PROBE)
    assert "RENEGOTIATING" in output
    assert re.search(r"no renegotiation|alert|unexpected|error|closed", output.split("RENEGOTIATING")[1])
    assert "200 OK" not in output


@pytest.mark.parametrize("version", ["1_2", "1_3"])
def test_no_compression(relay, version):
    assert "Compression: NONE" in s_client(relay, f"-tls{version}", "-comp")


# What went wrong is counted by its reason

def hello_of(relay, **options):
    link = relay.tcp()
    link.prepare_tls(**options)
    return link


def garbage(relay):
    relay.tcp().send_raw(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")


def old_version(relay):
    context = client_context(V1_1, V1_1)
    context.set_ciphers("ALL:@SECLEVEL=0")
    assert is_refused(relay, context, relay.sni)


def old_suite(relay):
    assert is_refused(relay, context_with("ECDHE-ECDSA-AES128-SHA256"), relay.sni)


def wrong_name(relay):
    assert is_refused(relay, sni="example.com")


def wrong_protocol(relay):
    context = client_context()
    context.set_alpn_protocols(["imap"])
    assert is_refused(relay, context, relay.sni)


def distrust(relay):
    context = ssl.create_default_context()
    assert is_refused(relay, context, relay.sni)


def vanish(relay):
    link = hello_of(relay, sni=relay.sni)
    link.send_raw(link.client_hello())
    link.close()


@ours
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("act, reason", [
    (garbage, "not_tls"), (old_version, "version"), (old_suite, "cipher"), (wrong_name, "sni"),
    (wrong_protocol, "alpn"), (distrust, "client_alert"), (vanish, "closed"),
], ids=lambda value: value if isinstance(value, str) else value.__name__)
def test_handshake_failure_is_counted_by_its_reason(start, act, reason):
    relay = start("domain")
    for _ in range(3):
        act(relay)
    samples = relay.wait_varz(lambda s: s.total("derper_tls_handshake_failures", reason=reason) == 3, reason)
    assert samples.total("derper_tls_handshake_failures") == 3


# TLS 1.3 behind the handshake

SUITES_1_3 = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
ENGINES = ["detached", "openssl"]
KEEP_ALIVE = "GET /derp/probe HTTP/1.1\r\nHost: x\r\n\r\n"


@pytest.fixture(scope="module", params=ENGINES)
def engine_relay(request, keeper):
    return keeper("ip", "--tls-engine=" + request.param)


class Console:
    """openssl s_client as a person would use it: lines go in, what comes is gathered."""

    def __init__(self, relay, *arguments):
        command = ["openssl", "s_client", "-connect", "%s:%d" % relay.address, "-noservername", "-crlf", "-msg",
                   *arguments]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT)
        self.output = b""
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        while piece := os.read(self.process.stdout.fileno(), 65536):
            self.output += piece

    def type(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def wait(self, pattern, count):
        wait_until(lambda: len(re.findall(pattern, self.output)) >= count,
                   f"{pattern} for the {count}th time in {self.output!r}")

    def close(self):
        self.process.stdin.close()
        self.process.terminate()
        self.process.wait()
        self.reader.join(10)
        self.process.stdout.close()


@ours
@pytest.mark.parametrize("suite", SUITES_1_3)
def test_key_updates_between_requests(engine_relay, suite):
    """K asks for new keys in return, k does not: s_client takes them as commands when they stand alone on a line."""
    console = Console(engine_relay, "-tls1_3", "-ciphersuites", suite)
    try:
        console.wait(rb"Verify return code", 1)
        for turn, command in enumerate(["K", "k", "K", "K", "k"]):
            console.type(command + "\n")
            console.wait(rb">>> TLS 1.3, Handshake \[length 0005\], KeyUpdate", turn + 1)
            console.type(KEEP_ALIVE.replace("\r\n", "\n"))
            console.wait(rb"HTTP/1.1 200", turn + 1)
        console.wait(rb"<<< TLS 1.3, Handshake \[length 0005\], KeyUpdate", 3)
        assert suite.encode() in console.output
        assert len(re.findall(rb"<<< TLS 1.3, Handshake \[length 0005\], KeyUpdate", console.output)) == 3
    finally:
        console.close()


@ours
@pytest.mark.parametrize("suite", SUITES_1_3)
def test_curl(engine_relay, suite):
    url = "https://%s:%d/derp/probe" % engine_relay.address
    done = subprocess.run(["curl", "-sSk", "--tlsv1.3", "--tls13-ciphers", suite, "-o", os.devnull, "-w",
                           "%{http_code} %{num_connects}\\n", url, "-o", os.devnull, url],
                          capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["200 1", "200 0"], done.stderr


@ours
def test_agreed_fragment_length(engine_relay):
    """RFC 6066: a client that takes records of 512 bytes gets none that is longer."""
    output = s_client(engine_relay, "-tls1_3", "-maxfraglen", "512", "-ign_eof",
                      text=PROBE.replace("/derp/probe", "/"))
    assert "200 OK" in output and "</html>" in output


@ours
def test_record_faults_are_counted(engine_relay):
    before = engine_relay.varz()["derper_tls_record_faults"]
    link = shake_hands(engine_relay)
    link.send_raw(b"\x17\x03\x03\x00\x20" + b"x" * 32)
    with pytest.raises((ssl.SSLError, Closed, ConnectionError)):
        link.request("GET", "/derp/probe")
    engine_relay.wait_varz(lambda s: s["derper_tls_record_faults"] == before + 1, "the fault to be counted")


# The chain

def assert_meta_certificate(certificate, relay):
    now = datetime.datetime.utcnow()
    month = datetime.timedelta(days=30)
    slack = datetime.timedelta(days=1)
    assert certs.common_name(certificate) == "derpkey" + relay.public_key().hex()
    assert certificate.serial_number == 2
    assert isinstance(certificate.public_key(), ed25519.Ed25519PublicKey)
    assert abs(now - month - certificate.not_valid_before) < slack
    assert abs(now + month - certificate.not_valid_after) < slack
    assert certificate.extensions.get_extension_for_oid(ExtensionOID.BASIC_CONSTRAINTS)
    # Self-signed: its own key opens its signature.
    certificate.public_key().verify(certificate.signature, certificate.tbs_certificate_bytes)


def test_chain_in_ip_mode_is_leaf_and_meta_certificate(relay):
    leaf, meta = certificates(relay)
    assert_meta_certificate(meta, relay)
    assert hashlib.sha256(certs.der(leaf)).hexdigest() in relay.log()


def test_chain_in_domain_mode_has_the_intermediates(domain_relay):
    leaf, intermediate, meta = certificates(domain_relay)
    assert certs.der(leaf) == certs.der(domain_relay.leaf)
    assert certs.der(intermediate) == certs.der(domain_relay.authority.certificate)
    assert_meta_certificate(meta, domain_relay)


def test_domain_certificate_is_trusted_by_ordinary_clients(domain_relay, authority, tmp_path):
    root = tmp_path / "root.pem"
    root.write_bytes(certs.pem(authority.certificate))
    done = subprocess.run(
        ["curl", "-sS", "--cacert", str(root), "--noproxy", "*", "--resolve",
         f"{DOMAIN}:{domain_relay.port}:127.0.0.1", f"https://{DOMAIN}:{domain_relay.port}/robots.txt"],
        capture_output=True, text=True, timeout=20)
    assert done.stdout.startswith("User-agent"), done.stderr


def test_200_handshakes_do_not_lengthen_the_chain(relay):
    before = [len(c) for c in chain_of(shake_hands(relay).tls)]
    errors = []

    def shake(count):
        try:
            for _ in range(count):
                Link(relay.address).start_tls()
        except Exception as fault:
            errors.append(fault)

    threads = [threading.Thread(target=shake, args=(50,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [len(c) for c in chain_of(shake_hands(relay).tls)] == before
    assert len(before) == 2


# Names

@pytest.mark.parametrize("sni", [DOMAIN, pytest.param(DOMAIN.upper(), marks=ours),
                                 pytest.param("Derp.Test", marks=ours)])
def test_right_name_is_served_whatever_its_case(domain_relay, sni):
    assert "200 OK" in s_client(domain_relay, "-ign_eof", text=PROBE, hostname=sni)


@pytest.mark.parametrize("sni", [None, "example.com", "test", "x." + DOMAIN, DOMAIN + ".example.com"])
def test_wrong_name_gets_no_handshake(domain_relay, sni):
    assert is_refused(domain_relay, sni=sni)


@pytest.mark.parametrize("sni", [None, "127.0.0.1", "example.com", "localhost"])
def test_in_ip_mode_any_name_is_served(relay, sni):
    link = relay.keep(Link(relay.address))
    link.start_tls(sni)
    assert link.request("GET", "/derp/probe").status == 200


# Self-signed certificates

def test_self_signed_certificate(relay):
    leaf = certificates(relay)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1"]
    assert certs.common_name(leaf) == "127.0.0.1"
    assert isinstance(leaf.public_key().curve, ec.SECP256R1)
    left = leaf.not_valid_after - datetime.datetime.utcnow()
    # Ours is for ten years, as its pin changes with it, and may be used by who has no clock yet.
    assert 3640 <= left.days <= 3660 if OURS else 360 <= left.days <= 370
    assert leaf.not_valid_before <= (datetime.datetime(1970, 1, 1) if OURS else datetime.datetime.utcnow())


def test_self_signed_certificate_is_made_once(start):
    relay = start()
    first = certs.der(certificates(relay)[0])
    key = relay.public_key()
    relay.restart()
    assert certs.der(certificates(relay)[0]) == first
    assert relay.public_key() == key


def mode_of(path):
    return stat.S_IMODE(os.stat(path).st_mode)


def test_modes_of_the_files_it_makes(start):
    relay = start()
    assert mode_of(relay.cert_dir) == 0o700
    assert mode_of(os.path.join(relay.cert_dir, "127.0.0.1.key")) == 0o600
    assert mode_of(relay.key_file) == 0o600
    assert sorted(os.listdir(relay.cert_dir)) == ["127.0.0.1.crt", "127.0.0.1.key"]


def test_self_signed_certificate_for_ipv6(start):
    relay = start.make("ip", "--hostname", "::1", host="::1")
    relay.start()
    leaf = certificates(relay)[0]
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == ["::1"]
    # A colon has no place in the file's name.
    assert os.path.exists(os.path.join(relay.cert_dir, "1.crt"))


# Renewal while serving

def served_serial(relay):
    return certificates(relay)[0].serial_number


@ours
def test_renewed_certificate_is_served_after_sighup(start):
    relay = start("domain")
    peer = relay.join()
    renewed = relay.authority.install(relay.cert_dir, DOMAIN)
    relay.reload()
    wait_until(lambda: served_serial(relay) == renewed.serial_number, "the renewed certificate")
    peer.fence()


@ours
def test_end_of_the_certificate_is_a_metric_and_follows_a_renewal(start):
    relay = start("domain")

    def told():
        return datetime.datetime.utcfromtimestamp(relay.varz()["derper_certificate_not_after_unix"])

    assert told() == relay.leaf.not_valid_after
    renewed = relay.authority.install(relay.cert_dir, DOMAIN, end=60)
    relay.reload()
    wait_until(lambda: told() == renewed.not_valid_after, "the new end")


@ours
@pytest.mark.parametrize("fault", ["other key", "expired", "other name", "garbage", "gone"])
def test_unfit_renewal_is_refused_and_the_old_one_kept(start, fault):
    relay = start("domain")
    before = len(relay.log())
    spoil_certificate(relay, fault)
    relay.reload()
    relay.wait_log(re.escape(DOMAIN), since=before)
    assert served_serial(relay) == relay.leaf.serial_number


def spoil_certificate(relay, fault):
    crt = os.path.join(relay.cert_dir, DOMAIN + ".crt")
    if fault == "other key":
        certificate, _ = relay.authority.leaf(DOMAIN)
        certs.write_whole(crt, certs.pem(certificate))
    elif fault == "expired":
        relay.authority.install(relay.cert_dir, DOMAIN, start=-30, end=-1)
    elif fault == "other name":
        relay.authority.install(relay.cert_dir, DOMAIN, "other.test")
    elif fault == "garbage":
        certs.write_whole(crt, b"garbage\n")
    else:
        os.remove(crt)
