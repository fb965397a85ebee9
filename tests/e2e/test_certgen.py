# SPDX-License-Identifier: BSD-3-Clause
"""The command certgen: against files, real relays, and servers that are none."""
import datetime
import hashlib
import os
import re
import socket
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import certs
from derper import BINARY, DOMAIN, environment, free_port
from waiting import wait_until

pytestmark = pytest.mark.ours

CERTGEN = os.path.join(os.path.dirname(os.path.dirname(BINARY)), "certgen", "certgen")
ADDRESS = "203.0.113.1"


class Done:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    def value(self, word):
        found = re.search(rf"^{re.escape(word)}: (.*)$", self.out, re.M)
        assert found, f"no {word!r} in:\n{self.out}{self.err}"
        return found.group(1)


def certgen(folder, *arguments, status=0, env=None):
    before = time.monotonic()
    done = subprocess.run([CERTGEN, *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
                          cwd=str(folder), env=environment(env, folder))
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Sanitizer" not in err and "runtime error:" not in err, err
    assert all(c == "\n" or c.isprintable() for c in out + err), ascii(out + err)
    assert done.returncode == status, f"exit status {done.returncode}:\n{out}{err}"
    return Done(done.returncode, out, err, time.monotonic() - before)


def pin_of(certificate):
    return "sha256-raw:" + hashlib.sha256(certs.der(certificate)).hexdigest()


def load(path):
    with open(path, "rb") as file:
        return x509.load_pem_x509_certificate(file.read())


def write_authority(folder, authority):
    path = os.path.join(str(folder), "ca.pem")
    certs.write_whole(path, certs.pem(authority.certificate))
    return path


def self_signed(folder, days_left, *names):
    """A pair as the original makes it, in the midst of its year."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = certs.now() + certs.days(days_left)
    certificate = (certs.Authority.builder(certs.named(names[0]), certs.named(names[0]), key, end - certs.days(365), end)
                   .add_extension(x509.SubjectAlternativeName([certs.alternative_name(n) for n in names]), critical=False)
                   .sign(key, hashes.SHA256()))
    certs.write_pair(str(folder), names[0], [certificate], key)
    return certificate


# self-signed

def test_self_signed_is_made_and_kept(tmp_path):
    first = certgen(tmp_path, "self-signed", "-d", "certs", ADDRESS, "2001:db8::1")
    certificate = load(tmp_path / "certs" / (ADDRESS + ".crt"))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(a) for a in names.get_values_for_type(x509.IPAddress)] == [ADDRESS, "2001:db8::1"]
    assert first.value("created") == f"certs/{ADDRESS}.crt"
    assert first.value("pin") == pin_of(certificate)
    again = certgen(tmp_path, "self-signed", "-d", "certs", ADDRESS, "2001:db8::1")
    assert again.value("kept") == f"certs/{ADDRESS}.crt"
    assert again.value("pin") == first.value("pin")
    assert "next" not in again.out


def test_self_signed_of_others_is_carried_over(tmp_path):
    old = self_signed(tmp_path, 80, ADDRESS)
    told = certgen(tmp_path, "self-signed", ADDRESS)
    successor = load(tmp_path / f"{ADDRESS}.next.crt")
    assert told.value("pin") == pin_of(old)
    assert told.value("next pin") == pin_of(successor)
    assert successor.public_key().public_numbers() == old.public_key().public_numbers()
    moment = datetime.datetime.strptime(told.value("serves from"), "%Y-%m-%d %H:%M:%S UTC")
    assert abs(moment - certs.now() - certs.days(60)) < datetime.timedelta(minutes=5)
    # As the file says, sooner by hand.
    os.rename(tmp_path / f"{ADDRESS}.next.crt", tmp_path / f"{ADDRESS}.crt")
    assert certgen(tmp_path, "self-signed", ADDRESS).value("pin") == pin_of(successor)
    certgen(tmp_path, "check", "-n", ADDRESS, tmp_path / f"{ADDRESS}.crt")


def test_self_signed_at_its_end_is_renewed(tmp_path):
    old = self_signed(tmp_path, -3, ADDRESS)
    certgen(tmp_path, "check", f"./{ADDRESS}.crt", status=1)
    told = certgen(tmp_path, "self-signed", ADDRESS)
    assert told.value("renewed") == f"./{ADDRESS}.crt"
    assert load(tmp_path / f"{ADDRESS}.crt").public_key().public_numbers() == old.public_key().public_numbers()
    assert pin_of(load(tmp_path / f"{ADDRESS}.old.crt")) == pin_of(old)
    certgen(tmp_path, "check", f"./{ADDRESS}.crt")


@pytest.mark.parametrize("arguments", [[], ["-x"], ["check"], ["check", "--timeout", "0", "a"],
                                       ["check", "--timeout", "5x", "a"], ["check", "a", "b"],
                                       ["pin"], ["pin", "-x"], ["pin", "a", "b"], ["self-signed"], ["what"]],
                         ids=" ".join)
def test_wrong_command_lines(tmp_path, arguments):
    assert "usage: certgen" in certgen(tmp_path, *arguments, status=2).err


def test_self_signed_has_one_name_whatever_the_spelling(tmp_path):
    first = certgen(tmp_path, "self-signed", "2001:db8::1", ADDRESS)
    for words in (["2001:DB8::1", ADDRESS], ["2001:db8:0::1", ADDRESS], [ADDRESS, "2001:db8::1"],
                  ["::ffff:203.0.113.1", "2001:0DB8::0001"]):
        again = certgen(tmp_path, "self-signed", *words)
        assert again.value("kept") == "./2001db81.crt" and again.value("pin") == first.value("pin")
    assert sorted(os.listdir(tmp_path)) == ["2001db81.crt", "2001db81.key"]
    assert "there twice" in certgen(tmp_path, "self-signed", "::1", "0:0::1", status=1).err


def test_self_signed_that_was_made_for_another_spelling(start, tmp_path):
    """As the original names the files: by what was written, without its colons."""
    pin = certgen(tmp_path, "self-signed", "-d", "certs", "::1").value("pin")
    for ending in (".crt", ".key"):
        os.rename(tmp_path / "certs" / ("1" + ending), tmp_path / "certs" / ("0001" + ending))
    assert certgen(tmp_path, "self-signed", "-d", "certs", "0:0:0::1").value("pin") == pin
    start("ip", "--hostname", "0:0:0::1", "--certdir", str(tmp_path / "certs"))
    start("ip", "--hostname", "127.0.0.1,0:0:0::1", "--certdir", str(tmp_path / "certs"))
    assert {name for name in os.listdir(tmp_path / "certs") if not name.endswith(".next.crt")} == \
        {"0001.crt", "0001.key"}


@pytest.mark.parametrize("command", ["self-signed", "check", "pin", "acme"])
def test_help(tmp_path, command):
    assert f"usage: certgen {command}" in certgen(tmp_path, command, "-h").out


@pytest.mark.parametrize("target", ["a:0", "a:65536", "a:x", "[::1", "[a]:443", "a b", ":443", "a:"])
def test_targets_that_are_none(tmp_path, target):
    assert "no host and port" in certgen(tmp_path, "check", target, status=1).err


# check FILE, pin FILE

def test_check_of_a_pair(tmp_path, authority):
    leaf = authority.intermediate()
    certificate = leaf.install(str(tmp_path), DOMAIN, end=30)
    ca = write_authority(tmp_path, authority)
    path = str(tmp_path / (DOMAIN + ".crt"))
    told = certgen(tmp_path, "check", "--ca", ca, "-n", DOMAIN, path)
    assert told.value("names") == DOMAIN
    assert told.value("days left") in ("29", "30")
    assert told.value("pin") == pin_of(certificate) == certgen(tmp_path, "pin", path).out.strip()
    assert told.value("trust") == f"by {ca}"
    assert told.value("chain 0").startswith(f"CN={DOMAIN}, signed by CN=derper test intermediate")
    assert told.value("chain 1").startswith("CN=derper test intermediate, signed by CN=derper test authority")
    assert "warning" not in told.out
    assert "a.test" in certgen(tmp_path, "check", "--ca", ca, "-n", "a.test", path, status=1).err
    assert "no authority" in certgen(tmp_path, "check", path, status=1).err
    assert "cannot be read as CA" in certgen(tmp_path, "check", "--ca", "/gone", path, status=1).err
    # The system's authorities are those of this variable.
    assert certgen(tmp_path, "check", path, env={"SSL_CERT_FILE": ca}).value("trust") == "by the system's authorities"


@pytest.mark.parametrize("start, end, word", [(-30, -1, "expired"), (1, 30, "not yet valid")])
def test_check_of_a_pair_out_of_its_time(tmp_path, authority, start, end, word):
    authority.install(str(tmp_path), DOMAIN, start=start, end=end)
    ca = write_authority(tmp_path, authority)
    assert word in certgen(tmp_path, "check", "--ca", ca, tmp_path / (DOMAIN + ".crt"), status=1).err


def test_check_of_one_file(tmp_path, authority):
    """As an ACME relay keeps it, whose name has no ending; what looks like a key of it is another host's."""
    certificate, key = authority.leaf(DOMAIN)
    certs.write_pair(str(tmp_path), DOMAIN.rsplit(".", 1)[0], [authority.leaf("a.test")[0]], certs.new_key())
    certs.write_whole(str(tmp_path / DOMAIN), certs.key_pem(key) + certs.pem(certificate))
    told = certgen(tmp_path, "check", "--ca", write_authority(tmp_path, authority), "./" + DOMAIN)
    assert told.value("key") == "./" + DOMAIN


def test_check_of_a_pair_that_does_not_match(tmp_path, authority):
    authority.install(str(tmp_path), DOMAIN)
    certs.write_whole(str(tmp_path / (DOMAIN + ".key")), certs.key_pem(certs.new_key()))
    assert "does not belong" in certgen(tmp_path, "check", tmp_path / (DOMAIN + ".crt"), status=1).err


def test_check_of_garbage(tmp_path):
    (tmp_path / "a.crt").write_bytes(bytes(range(256)) * 10)
    for command in ["check", "pin"]:
        assert "a.crt" in certgen(tmp_path, command, "a.crt", status=1).err


def test_names_of_strangers_are_printed_harmlessly(tmp_path):
    key = certs.new_key()
    name = certs.named("\x1b[31mred\n" + "x" * 50)
    certificate = (certs.Authority.builder(name, name, key, certs.now(), certs.now() + certs.days(5))
                   .add_extension(x509.SubjectAlternativeName([x509.DNSName("a\x1b]0;title\x07.test")]), critical=False)
                   .sign(key, hashes.SHA256()))
    certs.write_pair(str(tmp_path), "a", [certificate], key)
    assert "??0;title?" not in certgen(tmp_path, "check", "./a.crt").out.replace("a?]0;title?.test", "")


# check HOST, pin HOST

def test_check_of_a_relay_by_pin(start, tmp_path):
    relay = start()
    told = certgen(tmp_path, "check", f"127.0.0.1:{relay.port}")
    assert told.value("address") == f"127.0.0.1:{relay.port}"
    assert told.value("tls").startswith("TLSv1.3, ")
    assert told.value("names") == "127.0.0.1"
    assert told.value("trust") == "by its pin only"
    assert told.value("meta certificate") == f"relay key {relay.public_key().hex()}, version 2"
    pin = told.value("pin")
    assert pin == pin_of(load(os.path.join(relay.cert_dir, "127.0.0.1.crt")))
    assert certgen(tmp_path, "pin", f"127.0.0.1:{relay.port}").out.strip() == pin
    certgen(tmp_path, "check", "--pin", pin, f"127.0.0.1:{relay.port}")
    wrong = "sha256-raw:" + "0" * 64
    assert "not the given one" in certgen(tmp_path, "check", "--pin", wrong, f"127.0.0.1:{relay.port}", status=1).err
    assert "localhost" in certgen(tmp_path, "check", f"localhost:{relay.port}", status=1).err


def test_check_of_a_relay_with_a_domain(start, tmp_path, authority):
    relay = start("domain", authority=authority.intermediate())
    ca = write_authority(tmp_path, authority)
    target = f"127.0.0.1:{relay.port}"
    told = certgen(tmp_path, "check", "--ca", ca, "-n", DOMAIN, target)
    assert told.value("trust") == f"by {ca}"
    assert told.value("meta certificate") == f"relay key {relay.public_key().hex()}, version 2"
    assert "no authority" in certgen(tmp_path, "check", "-n", DOMAIN, target, status=1).err
    assert "does not serve the name b.test" in certgen(tmp_path, "check", "-n", "b.test", target, status=1).err
    pinned = certgen(tmp_path, "check", "-n", DOMAIN, "--pin", told.value("pin"), target, status=1)
    assert "more than one certificate" in pinned.err


def test_check_of_an_ipv6_relay(start, tmp_path):
    relay = start.make("ip", "--hostname", "::1", host="::1")
    relay.start()
    told = certgen(tmp_path, "check", f"[::1]:{relay.port}")
    assert told.value("address") == f"[::1]:{relay.port}"


def test_check_of_openssl_s_server(tmp_path, authority):
    authority.install(str(tmp_path), DOMAIN)
    ca = write_authority(tmp_path, authority)
    port = free_port()
    server = subprocess.Popen(
        ["openssl", "s_server", "-accept", f"127.0.0.1:{port}", "-cert", DOMAIN + ".crt", "-key", DOMAIN + ".key", "-tls1_2", "-www"],
        cwd=tmp_path, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: can_connect(port), "openssl s_server")
        told = certgen(tmp_path, "check", "--ca", ca, "-n", DOMAIN, f"127.0.0.1:{port}")
        assert told.value("tls").startswith("TLSv1.2, ")
        assert told.value("meta certificate") == "none"
    finally:
        server.kill()
        server.wait()


def can_connect(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


class Server:
    """A listener whose connections are given to a function, one thread each."""

    def __init__(self, serve):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.serve = serve
        self.stop = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.handle, args=(link,), daemon=True).start()

    def handle(self, link):
        with link:
            try:
                self.serve(link, self.stop)
            except OSError:
                pass

    def close(self):
        self.stop.set()
        self.listener.close()


def say_nothing(link, stop):
    stop.wait(30)


def close_at_once(link, stop):
    pass


def send_garbage(link, stop):
    link.recv(4096)
    link.sendall(os.urandom(64 * 1024))
    stop.wait(30)


def send_http(link, stop):
    link.recv(4096)
    link.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def drip(link, stop):
    """One byte of a handshake record at a time, for ever."""
    link.recv(4096)
    link.sendall(b"\x16\x03\x03\x40\x00")
    while not stop.wait(0.05):
        link.sendall(b"\x02")


@pytest.mark.parametrize("serve, words", [
    (say_nothing, "does not finish a TLS handshake in time"),
    (close_at_once, "closes the connection before TLS"),
    (send_garbage, "does not shake hands in TLS"),
    (send_http, "does not shake hands in TLS"),
    (drip, "TLS"),
], ids=lambda value: getattr(value, "__name__", ""))
def test_servers_that_are_none(tmp_path, serve, words):
    server = Server(serve)
    try:
        told = certgen(tmp_path, "check", "--timeout", "1", f"127.0.0.1:{server.port}", status=1)
    finally:
        server.close()
    assert words in told.err
    assert f"127.0.0.1:{server.port}" in told.err
    assert told.seconds < 5


def relay_bytes(relay, pause):
    """A server that passes on what the relay says, `pause` s before each byte."""
    def serve(link, stop):
        with socket.create_connection(("127.0.0.1", relay.port)) as behind:
            behind.sendall(link.recv(4096))
            while not stop.is_set():
                for byte in behind.recv(4096):
                    link.sendall(bytes([byte]))
                    stop.wait(pause)
    return serve


def test_relay_drop_by_drop_fast_and_slow(start, tmp_path):
    relay = start()
    for pause, status in [(0.0001, 0), (0.1, 1)]:
        server = Server(relay_bytes(relay, pause))
        try:
            told = certgen(tmp_path, "check", "--timeout", "2", f"127.0.0.1:{server.port}", status=status)
        finally:
            server.close()
        assert told.seconds < 6


def test_nobody_listens(tmp_path):
    port = free_port()
    assert "Connection refused" in certgen(tmp_path, "check", f"127.0.0.1:{port}", status=1).err
    assert "no address" in certgen(tmp_path, "pin", "does-not-exist.invalid", status=1).err


# The relay in front of which there is a NAT

def test_public_address_apart_from_the_listening_one(start, tmp_path):
    relay = start("ip", "--hostname", "203.0.113.9")
    assert sorted(os.listdir(relay.cert_dir)) == ["203.0.113.9.crt", "203.0.113.9.key"]
    told = certgen(tmp_path, "check", "-n", "203.0.113.9", f"127.0.0.1:{relay.port}")
    log = relay.log()
    for line in ['"HostName": "203.0.113.9"', '"IPv4": "203.0.113.9"', f'"DERPPort": {relay.port}',
                 f'"CertName": "{told.value("pin")}"', 'hostname: "203.0.113.9"',
                 f"landing page: https://203.0.113.9:{relay.port}/"]:
        assert line in log, line
    assert '"127.0.0.1"' not in log


def announced(relay):
    """Pins by when they serve, and the moment of the change, as the metrics have them."""
    pins = dict(reversed(found) for found in
                re.findall(r'^derper_certificate_pin\{pin="([^"]*)",serves="(\w+)"\} 1$', metrics_text(relay), re.M))
    return pins, relay.varz()["derper_certificate_switch_unix"]


def metrics_text(relay):
    return relay.get("/debug/varz").body.decode()


def file_in(relay, name):
    return os.path.join(relay.cert_dir, name)


def test_relay_renews_what_others_made(start, tmp_path):
    relay = start.make("ip")
    old = self_signed(relay.cert_dir, 80, "127.0.0.1")
    relay.start()
    successor = load(file_in(relay, "127.0.0.1.next.crt"))
    pins, moment = announced(relay)
    assert pins == {"now": pin_of(old), "next": pin_of(successor)}
    assert abs(moment - time.time() - 60 * 24 * 3600) < 100
    assert f'CertName (certname) "{pin_of(successor)}"' in relay.log()
    assert f'"CertName": "{pin_of(old)}"' in relay.log()
    assert pin_of(successor) in relay.get("/debug/").body.decode()
    assert certgen(tmp_path, "pin", f"127.0.0.1:{relay.port}").out.strip() == pin_of(old)
    os.rename(file_in(relay, "127.0.0.1.next.crt"), file_in(relay, "127.0.0.1.crt"))
    wait_until(lambda: announced(relay) == ({"now": pin_of(successor)}, 0), "the successor to be served")
    assert certgen(tmp_path, "pin", f"127.0.0.1:{relay.port}").out.strip() == pin_of(successor)


def make_successor(relay, tmp_path, seconds):
    """One that is due in so many seconds, beside an old certificate, which is returned."""
    old = self_signed(relay.cert_dir, 80, "127.0.0.1")
    certgen(tmp_path, "self-signed", "-d", relay.cert_dir, "127.0.0.1")
    path = file_in(relay, "127.0.0.1.next.crt")
    with open(path, encoding="ascii") as file:
        text = file.read()
    moment = (certs.now() + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    certs.write_whole(path, re.sub(r"\d{4}-\S+Z", moment, text, count=1).encode())
    return old


def test_successor_takes_its_place_at_the_moment(start, tmp_path):
    relay = start.make("ip")
    old = make_successor(relay, tmp_path, 3)
    successor = load(file_in(relay, "127.0.0.1.next.crt"))
    relay.start()
    peer = relay.join()
    assert announced(relay)[0] == {"now": pin_of(old), "next": pin_of(successor)}
    wait_until(lambda: announced(relay) == ({"now": pin_of(successor)}, 0), "the change")
    assert certgen(tmp_path, "pin", f"127.0.0.1:{relay.port}").out.strip() == pin_of(successor)
    assert pin_of(load(file_in(relay, "127.0.0.1.old.crt"))) == pin_of(old)
    peer.fence()


@pytest.mark.parametrize("gone", [["127.0.0.1.crt", "127.0.0.1.key", "127.0.0.1.next.crt"], ["127.0.0.1.crt"]],
                         ids=["all", "certificate"])
def test_no_new_pin_when_files_have_gone(start, tmp_path, gone):
    """What is in memory serves on: the pin stands in people's maps."""
    relay = start.make("ip")
    old = make_successor(relay, tmp_path, 4)
    relay.start()
    for name in gone:
        os.remove(file_in(relay, name))
    left = sorted(os.listdir(relay.cert_dir))
    relay.wait_log("was not reloaded, the present one serves on: .*(no certificate|does not exist)")
    looks = relay.varz()["derper_certificate_looks"]
    wait_until(lambda: time.time() > announced(relay)[1] + 1, "the moment of the change")
    relay.wait_varz(lambda s: s["derper_certificate_looks"] > looks, "a look at that moment")
    assert sorted(os.listdir(relay.cert_dir)) == left
    assert certgen(tmp_path, "pin", f"127.0.0.1:{relay.port}").out.strip() == pin_of(old)


def test_relay_gets_another_address(start, tmp_path):
    relay = start("ip")
    pin = certgen(tmp_path, "pin", f"127.0.0.1:{relay.port}").out.strip()
    relay.stop()
    relay.args = ["--hostname", "127.0.0.1,2001:db8::1"]
    relay.start()
    pins, _ = announced(relay)
    assert pins["now"] == pin and "next" in pins
    told = certgen(tmp_path, "check", "-n", "2001:db8::1", file_in(relay, "127.0.0.1.next.crt"),
                   "-k", file_in(relay, "127.0.0.1.key"))
    assert told.value("names") == "127.0.0.1, 2001:db8::1"
    for line in ['"IPv4": "127.0.0.1"', '"IPv6": "2001:db8::1"', f'"CertName": "{pin}"']:
        assert line in relay.log_since_start(), line
