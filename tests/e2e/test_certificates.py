# SPDX-License-Identifier: BSD-3-Clause
"""Certificates on disk: where they are found, how a change is taken while clients stay, and what is refused."""
import os
import re
import shutil
import ssl
import subprocess
import threading
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

import certs
from derper import BINARY, DOMAIN, SANITIZED
from peer import Closed, Link, chain_of, client_context
from waiting import wait_until

pytestmark = pytest.mark.ours

HOST, PARENT = "derp.example.com", "example.com"
LOAD = os.environ.get("DERPER_LOAD") or os.path.join(os.path.dirname(os.path.dirname(BINARY)),
                                                     "tests/load/derper-load")

# As in server/certificate.h, and a little for the machine.
SETTLE_S = 2.0


def leaf_of(relay, sni=None, context=None):
    link = Link(relay.address)
    try:
        link.start_tls(sni or relay.sni, context)
        return x509.load_der_x509_certificate(chain_of(link.tls)[0])
    finally:
        link.close()


def serial_of(relay, sni=None, context=None):
    return leaf_of(relay, sni, context).serial_number


def serves(relay, leaf, sni=None):
    wait_until(lambda: serial_of(relay, sni) == leaf.serial_number, "the new certificate to be served")


def put(folder, name, data, mode=0o600):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    certs.write_whole(path, data, mode)


def chain_pem(authority, leaf):
    return b"".join(certs.pem(c) for c in [leaf] + authority.chain())


class Layout:
    """How a tool writes a pair below a folder: its certificate's file and its key's, which may be the same."""

    def __init__(self, cert, key):
        self.cert, self.key = cert, key

    def write(self, folder, authority, leaf, key):
        if self.cert == self.key:
            put(folder, self.cert, certs.key_pem(key) + chain_pem(authority, leaf))
            return
        put(folder, self.key, certs.key_pem(key))
        put(folder, self.cert, chain_pem(authority, leaf), 0o644)


CADDY = "certificates/acme-v02.api.letsencrypt.org-directory"
LAYOUTS = {
    "files": Layout(f"{HOST}.crt", f"{HOST}.key"),
    "acme.sh": Layout(f"{HOST}/fullchain.cer", f"{HOST}/{HOST}.key"),
    "acme.sh ecc": Layout(f"{HOST}_ecc/fullchain.cer", f"{HOST}_ecc/{HOST}.key"),
    "acme.sh itself": Layout("fullchain.cer", f"{HOST}.key"),
    "certbot": Layout(f"live/{HOST}/fullchain.pem", f"live/{HOST}/privkey.pem"),
    "certbot live": Layout(f"{HOST}/fullchain.pem", f"{HOST}/privkey.pem"),
    "certbot itself": Layout("fullchain.pem", "privkey.pem"),
    "Caddy": Layout(f"{CADDY}/{HOST}/{HOST}.crt", f"{CADDY}/{HOST}/{HOST}.key"),
    "Caddy data": Layout(f"caddy/{CADDY}/{HOST}/{HOST}.crt", f"caddy/{CADDY}/{HOST}/{HOST}.key"),
    "lego": Layout(f"certificates/{HOST}.crt", f"certificates/{HOST}.key"),
    "Kubernetes": Layout("tls.crt", "tls.key"),
    "autocert": Layout(HOST, HOST),
}
WILDCARDS = {
    "acme.sh": Layout(f"*.{PARENT}_ecc/fullchain.cer", f"*.{PARENT}_ecc/*.{PARENT}.key"),
    "certbot": Layout(f"live/{PARENT}/fullchain.pem", f"live/{PARENT}/privkey.pem"),
    "Caddy": Layout(f"{CADDY}/wildcard_.{PARENT}/wildcard_.{PARENT}.crt",
                    f"{CADDY}/wildcard_.{PARENT}/wildcard_.{PARENT}.key"),
    "lego": Layout(f"certificates/_.{PARENT}.crt", f"certificates/_.{PARENT}.key"),
}


@pytest.fixture
def chained(authority):
    return authority.intermediate()


def make_for_host(start, tmp_path, *args, folder="store"):
    store = tmp_path / folder
    store.mkdir(exist_ok=True)
    relay = start.make("domain", "--certdir", str(store), *args)
    relay.hostname = HOST
    return relay, str(store)


# Layouts

@pytest.mark.parametrize("layout", LAYOUTS)
def test_layout_is_found_and_its_renewal_taken(start, tmp_path, chained, layout):
    relay, store = make_for_host(start, tmp_path)
    first, second = chained.leaf(HOST), chained.leaf(HOST)
    LAYOUTS[layout].write(store, chained, *first)
    relay.start()
    assert serial_of(relay, HOST) == first[0].serial_number
    LAYOUTS[layout].write(store, chained, *second)
    serves(relay, second[0], HOST)
    assert layout.split()[0] in relay.get_debug(HOST)


@pytest.mark.parametrize("layout", WILDCARDS)
def test_certificate_of_the_domain_above(start, tmp_path, chained, layout):
    relay, store = make_for_host(start, tmp_path)
    leaf, key = chained.leaf("*." + PARENT, PARENT)
    WILDCARDS[layout].write(store, chained, leaf, key)
    relay.start()
    assert serial_of(relay, HOST) == leaf.serial_number


def only(kind):
    context = client_context(highest=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers("ECDHE-RSA-AES128-GCM-SHA256" if kind == "rsa" else "ECDHE-ECDSA-AES128-GCM-SHA256")
    return context


@pytest.mark.parametrize("first, second", [
    (LAYOUTS["files"], Layout(f"{HOST}+rsa.crt", f"{HOST}+rsa.key")),
    (LAYOUTS["acme.sh ecc"], LAYOUTS["acme.sh"]),
    (LAYOUTS["autocert"], Layout(f"{HOST}+rsa", f"{HOST}+rsa")),
], ids=["files", "acme.sh", "autocert"])
def test_rsa_and_ecdsa_side_by_side(start, tmp_path, chained, first, second):
    relay, store = make_for_host(start, tmp_path)
    ecdsa, rsa_pair = chained.leaf(HOST), chained.leaf(HOST, kind="rsa")
    first.write(store, chained, *ecdsa)
    second.write(store, chained, *rsa_pair)
    relay.start()
    assert serial_of(relay, HOST, only("ecdsa")) == ecdsa[0].serial_number
    assert serial_of(relay, HOST, only("rsa")) == rsa_pair[0].serial_number
    renewed = chained.leaf(HOST, kind="rsa")
    second.write(store, chained, *renewed)
    wait_until(lambda: serial_of(relay, HOST, only("rsa")) == renewed[0].serial_number, "the new RSA certificate")
    assert serial_of(relay, HOST, only("ecdsa")) == ecdsa[0].serial_number
    os.remove(os.path.join(store, second.cert))
    if second.key != second.cert:
        os.remove(os.path.join(store, second.key))
    relay.wait_log("is not there any more, and not served")
    assert serial_of(relay, HOST) == ecdsa[0].serial_number


@pytest.mark.parametrize("one_file", [False, True])
def test_pair_named_outright(start, tmp_path, chained, one_file):
    cert, key = tmp_path / "a cert.pem", tmp_path / "a key.pem"

    def write(pair):
        key.write_bytes(certs.key_pem(pair[1]))
        extra = certs.key_pem(pair[1]) if one_file else b""
        certs.write_whole(str(cert), extra + chain_pem(chained, pair[0]))

    first, second = chained.leaf(HOST), chained.leaf(HOST)
    write(first)
    relay, _ = make_for_host(start, tmp_path, "--cert", cert, *([] if one_file else ["--key", key]))
    relay.start()
    assert serial_of(relay, HOST) == first[0].serial_number
    write(second)
    serves(relay, second[0], HOST)


def test_several_names_each_with_its_own(start, tmp_path, chained):
    names = ["a.example.com", "b.example.com", "127.0.0.1"]
    store = str(tmp_path)
    leaves = {n: chained.leaf(n) for n in names[:2]}
    for name in names[:2]:
        Layout(f"{name}.crt", f"{name}.key").write(store, chained, *leaves[name])
    relay = start.make("ip", "--hostname", ",".join(names), "--certdir", store).start()
    for name in names[:2]:
        assert serial_of(relay, name) == leaves[name][0].serial_number
    addressed = leaf_of(relay)
    assert certs.common_name(addressed) == "127.0.0.1"
    renewed = chained.leaf(names[1])
    Layout(f"{names[1]}.crt", f"{names[1]}.key").write(store, chained, *renewed)
    serves(relay, renewed[0], names[1])
    assert serial_of(relay, names[0]) == leaves[names[0]][0].serial_number
    assert serial_of(relay) == addressed.serial_number
    samples = relay.varz()
    assert samples.total("derper_certificate_pairs") == 3
    assert samples.total("derper_certificate_not_after", hostname=names[0]) > time.time()
    assert samples.total("derper_certificate_source", hostname="127.0.0.1", source="self-signed") == 1
    assert samples.total("derper_certificate_source", hostname=names[0], source="manual") == 1


def run_once(tmp_path, *args):
    done = subprocess.run([BINARY, "-a", "127.0.0.1:0", "--http-port=-1", "--stun=false", "-c",
                           str(tmp_path / "key"), "--hostname", HOST, *args], capture_output=True, text=True,
                          timeout=20, check=False)
    return done.returncode, done.stdout + done.stderr


def test_what_is_missing_is_told_with_the_forms(tmp_path):
    code, output = run_once(tmp_path, "--certmode=manual", "--certdir", str(tmp_path))
    assert code == 1
    for word in (str(tmp_path), HOST + ".crt", "fullchain.cer", "live/HOST/fullchain.pem", "tls.crt"):
        assert word in output


def test_fault_of_the_first_is_not_hidden_by_looking_on(tmp_path, chained):
    LAYOUTS["Kubernetes"].write(str(tmp_path), chained, *chained.leaf(HOST))
    LAYOUTS["files"].write(str(tmp_path), chained, *chained.leaf("other.example.com"))
    code, output = run_once(tmp_path, "--check", "--certmode=manual", "--certdir", str(tmp_path))
    assert code == 1 and f"{HOST}.crt" in output and "other.example.com" in output
    for end in ("crt", "key"):
        os.remove(tmp_path / f"{HOST}.{end}")
    code, output = run_once(tmp_path, "--check", "--certmode=manual", "--certdir", str(tmp_path))
    assert code == 0, output


# Starts

def test_one_fit_pair_of_two_is_enough(start, tmp_path, chained):
    """acme.sh leaves the ECDSA certificate there when somebody goes back to RSA."""
    relay, store = make_for_host(start, tmp_path)
    left_over, good = LAYOUTS["acme.sh ecc"], LAYOUTS["acme.sh"]
    left_over.write(store, chained, *chained.leaf(HOST, start=-90, end=-1))
    leaf, key = chained.leaf(HOST, kind="rsa")
    good.write(store, chained, leaf, key)
    code, output = run_once(tmp_path, "--check", "--certmode=manual", "--certdir", store)
    assert code == 0 and "expired at" in output
    relay.start()
    assert serial_of(relay, HOST) == leaf.serial_number
    assert f"is not served: the certificate {store}/{left_over.cert} expired at" in relay.log()
    assert relay.varz().total("derper_certificate_refused") == 1
    os.remove(os.path.join(store, good.cert))
    os.remove(os.path.join(store, good.key))
    relay.wait_log("is not there any more")
    assert serial_of(relay, HOST) == leaf.serial_number
    good.write(store, chained, leaf, key)
    shutil.rmtree(os.path.join(store, os.path.dirname(left_over.cert)))
    relay.wait_varz(lambda s: s.total("derper_certificate_refused") == 0, "the left-over to be forgotten")
    assert serial_of(relay, HOST) == leaf.serial_number


@pytest.mark.parametrize("mode", ["domain", "ip"])
def test_start_between_two_renames(start, authority, mode):
    relay = start.make(mode)
    host = relay.hostname
    authority.install(relay.cert_dir, host)
    leaf, key = authority.leaf(host)
    crt, key_file = pair_paths(relay, host)
    certs.write_whole(key_file, certs.key_pem(key), 0o600)
    relay.launch()
    time.sleep(SETTLE_S / 4)
    certs.write_whole(crt, certs.pem(leaf))
    relay.comes_up(retry=False)
    assert serial_of(relay) == leaf.serial_number
    assert "does not belong" not in relay.log()


@pytest.mark.parametrize("missing", [False, True])
def test_what_cannot_settle_is_not_waited_for_longer(tmp_path, chained, missing):
    LAYOUTS["files"].write(str(tmp_path), chained, *chained.leaf("other.example.com"))
    if missing:
        os.remove(tmp_path / f"{HOST}.key")
    began = time.monotonic()
    code, output = run_once(tmp_path, "--certmode=manual", "--certdir", str(tmp_path))
    took = time.monotonic() - began
    assert code == 1 and HOST in output
    assert took < SETTLE_S if missing else took >= SETTLE_S


def test_fault_of_one_name_is_told_before_warnings_of_another(tmp_path, chained):
    """What is odd about the first must not hide what hinders the second."""
    leaf, key = chained.leaf("a.example.com")
    certs.write_pair(str(tmp_path), "a.example.com", [leaf], key)
    args = "--certmode=manual", "--certdir", str(tmp_path)
    code, output = run_once(tmp_path, *args, "--check", "--hostname", "a.example.com")
    assert code == 0 and "holds one certificate" in output
    code, output = run_once(tmp_path, *args, "--hostname", "a.example.com,b.example.com")
    assert code == 1 and "no certificate for b.example.com" in output
    assert "holds one certificate" not in output


def spoil_one_file(path, authority, fault):
    if fault == "expired":
        leaf, key = authority.leaf(HOST, start=-90, end=-1)
    elif fault == "not yet valid":
        leaf, key = authority.leaf(HOST, start=1, end=90)
    else:
        leaf, key = authority.leaf("other.example.com" if fault == "other name" else HOST)
    text = certs.key_pem(key) + chain_pem(authority, leaf)
    certs.write_whole(path, {"truncated": text[:len(text) // 2], "empty": b"", "garbage": b"garbage"}.get(fault, text))


@pytest.mark.parametrize("fault, says", [
    ("expired", "expired at"), ("not yet valid", "is not yet valid"), ("other name", "does not cover"),
    ("truncated", "damaged or cut short"), ("empty", "is empty"), ("garbage", "holds no PEM block"),
])
def test_unfit_file_does_not_stop_a_relay_that_fetches(start, tmp_path, chained, fault, says):
    nobody = "https://127.0.0.1:1/directory"
    relay, store = make_for_host(start, tmp_path, "--certmode", "letsencrypt", "--acme-directory", nobody)
    path = os.path.join(store, HOST)
    spoil_one_file(path, chained, fault)
    with open(path, "rb") as file:
        before = file.read()
    relay.start()
    relay.wait_log(f"the certificate for {HOST} is not served: .*{says}")
    with pytest.raises((Closed, ssl.SSLError)):
        serial_of(relay, HOST)
    relay.wait_log("127.0.0.1:1")  # another one was asked for
    with open(path, "rb") as file:
        assert file.read() == before
    leaf, key = chained.leaf(HOST)
    LAYOUTS["autocert"].write(store, chained, leaf, key)
    relay.wait_log(f"certificate reloaded for {HOST}")
    serves(relay, leaf, HOST)
    assert relay.varz().total("derper_certificate_refused") == 0


# Swaps

def write_in_place(path, data):
    with open(path, "r+b") as file:
        file.truncate(0)
        file.write(data)


def pair_paths(relay, host=DOMAIN):
    return [os.path.join(relay.cert_dir, host + end) for end in (".crt", ".key")]


def test_swap_keeps_clients(start):
    relay = start("domain")
    peer, other = relay.join(), relay.join()
    serves(relay, relay.authority.install(relay.cert_dir, DOMAIN))
    peer.send(other.public, b"still here")
    other.expect_packet(peer.public, b"still here")
    assert relay.varz().total("derper_certificate_reloads", result="swapped") == 1


def test_written_in_place(start):
    relay = start("domain")
    leaf, key = relay.authority.leaf(DOMAIN)
    crt, key_file = pair_paths(relay)
    write_in_place(key_file, certs.key_pem(key))
    write_in_place(crt, certs.pem(leaf))
    serves(relay, leaf)


def assert_no_fault(relay, before):
    assert "was not reloaded" not in relay.log()[before:]
    assert relay.varz().total("derper_certificate_refused") == 0


def test_moment_between_two_renames_is_no_fault(start):
    relay = start("domain")
    before = len(relay.log())
    leaf, key = relay.authority.leaf(DOMAIN)
    crt, key_file = pair_paths(relay)
    certs.write_whole(key_file, certs.key_pem(key), 0o600)
    time.sleep(SETTLE_S / 4)  # long enough for several looks
    certs.write_whole(crt, certs.pem(leaf))
    serves(relay, leaf)
    assert_no_fault(relay, before)


def test_half_written_file_is_no_fault(start):
    relay = start("domain", authority=certs.Authority().intermediate())
    before = len(relay.log())
    leaf, key = relay.authority.leaf(DOMAIN)
    crt, key_file = pair_paths(relay)
    text = chain_pem(relay.authority, leaf)
    certs.write_whole(key_file, certs.key_pem(key), 0o600)
    ends = [1, len(text) // 4, len(certs.pem(leaf)), len(text) - 10, len(text)]
    with open(crt, "r+b", buffering=0) as file:
        file.truncate(0)
        for start_at, end in zip([0] + ends, ends):
            file.write(text[start_at:end])
            time.sleep(SETTLE_S / 20)
    serves(relay, leaf)
    assert_no_fault(relay, before)
    assert len(chain_of_first(relay)) == 3


def chain_of_first(relay):
    link = Link(relay.address)
    try:
        link.start_tls(relay.sni)
        return chain_of(link.tls)
    finally:
        link.close()


def replace_link(path, target):
    os.symlink(target, path + ".new")
    os.rename(path + ".new", path)


def test_links_of_certbot(start, tmp_path, chained):
    relay, store = make_for_host(start, tmp_path)
    live = os.path.join(store, "live", HOST)
    os.makedirs(live)
    leaves = []

    def renew(number):
        leaf, key = chained.leaf(HOST)
        put(store, f"archive/{HOST}/privkey{number}.pem", certs.key_pem(key))
        put(store, f"archive/{HOST}/fullchain{number}.pem", chain_pem(chained, leaf))
        for name in ("privkey", "fullchain"):
            replace_link(os.path.join(live, name + ".pem"), f"../../archive/{HOST}/{name}{number}.pem")
        leaves.append(leaf)

    renew(1)
    relay.start()
    for number in (2, 3):
        renew(number)
        serves(relay, leaves[-1], HOST)


def test_links_of_kubernetes(start, tmp_path, chained):
    relay, store = make_for_host(start, tmp_path)
    leaves = []

    def publish(number):
        leaf, key = chained.leaf(HOST)
        put(store, f"..2026_{number}/tls.key", certs.key_pem(key))
        put(store, f"..2026_{number}/tls.crt", chain_pem(chained, leaf))
        replace_link(os.path.join(store, "..data"), f"..2026_{number}")
        shutil.rmtree(os.path.join(store, f"..2026_{number - 1}"), ignore_errors=True)
        leaves.append(leaf)

    publish(1)
    os.symlink("..data/tls.crt", os.path.join(store, "tls.crt"))
    os.symlink("..data/tls.key", os.path.join(store, "tls.key"))
    relay.start()
    for number in (2, 3, 4):
        publish(number)
        serves(relay, leaves[-1], HOST)


def test_folder_that_is_a_link_itself(start, tmp_path, chained):
    pairs = [chained.leaf(HOST) for _ in range(3)]
    for i, pair in enumerate(pairs):
        LAYOUTS["files"].write(str(tmp_path / f"volume{i}"), chained, *pair)
    current = str(tmp_path / "current")
    os.symlink("volume0", current)
    relay = start.make("domain", "--hostname", HOST, "--certdir", current).start()
    for i in (1, 2):
        replace_link(current, f"volume{i}")
        serves(relay, pairs[i][0], HOST)


def test_folder_that_is_made_anew(start, tmp_path, chained):
    relay, store = make_for_host(start, tmp_path)
    LAYOUTS["files"].write(store, chained, *chained.leaf(HOST))
    relay.start()
    for _ in range(2):
        leaf, key = chained.leaf(HOST)
        LAYOUTS["files"].write(store + ".new", chained, leaf, key)
        os.rename(store, store + ".old")
        os.rename(store + ".new", store)
        shutil.rmtree(store + ".old")
        serves(relay, leaf, HOST)


def test_sighup_tells_in_any_case(start):
    relay = start("domain")
    before = len(relay.log())
    relay.reload()
    relay.wait_log(r"SIGHUP: certificate unchanged for derp\.test, sha256-raw:", since=before)
    before = len(relay.log())
    certs.write_whole(pair_paths(relay)[0], b"garbage\n")
    relay.wait_log("was not reloaded", since=before)
    before = len(relay.log())
    relay.reload()
    relay.wait_log("SIGHUP: the certificate for derp.test was not reloaded", since=before)


# What is refused

def spoil(relay, fault):
    crt, key_file = pair_paths(relay)
    if fault == "mismatched":
        certs.write_whole(crt, certs.pem(relay.authority.leaf(DOMAIN)[0]))
    elif fault == "expired":
        relay.authority.install(relay.cert_dir, DOMAIN, start=-30, end=-1)
    elif fault == "not yet valid":
        relay.authority.install(relay.cert_dir, DOMAIN, start=1, end=30)
    elif fault == "wrong name":
        relay.authority.install(relay.cert_dir, DOMAIN, "other.test")
    elif fault == "truncated":
        with open(crt, "rb") as file:
            text = file.read()
        certs.write_whole(crt, text[:len(text) // 2])
    elif fault == "too large":
        certs.write_whole(crt, b"#" * (1 << 21))
    elif fault == "short key":
        weak = rsa.generate_private_key(65537, 1024)
        leaf = (relay.authority.builder(certs.named(DOMAIN), relay.authority.certificate.subject, weak,
                                        certs.now() - certs.days(1), certs.now() + certs.days(9))
                .add_extension(x509.SubjectAlternativeName([x509.DNSName(DOMAIN)]), critical=False)
                .sign(relay.authority.key, certs.hashes.SHA256()))
        certs.write_pair(relay.cert_dir, DOMAIN, [leaf], weak)
    elif fault == "folder":
        os.remove(crt)
        os.mkdir(crt)
    elif fault == "key gone":
        os.remove(key_file)
    else:
        os.remove(crt)
        os.remove(key_file)


@pytest.mark.parametrize("fault, says", [
    ("mismatched", "does not belong to the certificate"), ("expired", "expired at"), ("not yet valid", "not yet valid"),
    ("wrong name", "does not cover the hostname"), ("truncated", "damaged or cut short"),
    ("too large", "too large"), ("short key", "TLS cannot use the certificate"), ("folder", "is a folder"),
    ("key gone", "does not exist"), ("all gone", "no certificate for derp.test was found"),
])
def test_unfit_pair_stays_out_and_is_told_once(start, fault, says):
    relay = start("domain")
    peer = relay.join()
    before = len(relay.log())
    spoil(relay, fault)
    relay.wait_log("was not reloaded, the present one serves on: .*" + says, since=before)
    assert serial_of(relay) == relay.leaf.serial_number
    peer.fence()
    samples = relay.varz()
    assert samples.total("derper_certificate_refused") == 1
    assert samples.total("derper_certificate_reloads", result="refused") == 1
    assert says in relay.get_debug(DOMAIN).replace("&#39;", "'")
    for i in range(3):  # more looks say nothing more
        put(relay.cert_dir, f"unrelated{i}", b"x")
    looks = relay.varz()["derper_certificate_looks"]
    put(relay.cert_dir, "unrelated", b"y")
    relay.wait_varz(lambda s: s["derper_certificate_looks"] > looks, "another look")
    assert len(re.findall("was not reloaded", relay.log()[before:])) == 1
    crt = pair_paths(relay)[0]
    if os.path.isdir(crt):
        os.rmdir(crt)
    serves(relay, relay.authority.install(relay.cert_dir, DOMAIN))
    relay.wait_varz(lambda s: s.total("derper_certificate_refused") == 0, "the metric to say that it is mended")


def test_key_with_wrong_rights(start, tmp_path):
    """As a user that may not read the key of the renewal."""
    if os.getuid() != 0:
        pytest.skip("needs another user")
    os.chmod(tmp_path, 0o755)
    for parent in tmp_path.parents:
        if str(parent).startswith("/tmp/"):
            os.chmod(parent, 0o755)
    relay = start.make("domain", wrapper=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    relay.key_file = None
    relay.args += ["-c", "derper.key"]
    os.makedirs(relay.folder, exist_ok=True)
    os.chown(relay.folder, 65534, 65534)
    for path in pair_paths(relay):
        os.chown(path, 65534, 65534)
    relay.start()
    before = len(relay.log())
    relay.authority.install(relay.cert_dir, DOMAIN)  # the key is root's alone
    relay.wait_log(r"was not reloaded.*derp\.test\.key cannot be read \(Permission denied\)", since=before)
    assert serial_of(relay) == relay.leaf.serial_number
    os.chown(pair_paths(relay)[1], 65534, 65534)
    relay.wait_varz(lambda s: s.total("derper_certificate_refused") == 0, "the pair to be taken")
    assert serial_of(relay) != relay.leaf.serial_number


def test_mended_by_putting_the_old_one_back(start):
    relay = start("domain")
    crt = pair_paths(relay)[0]
    with open(crt, "rb") as file:
        text = file.read()
    certs.write_whole(crt, b"garbage\n")
    relay.wait_varz(lambda s: s.total("derper_certificate_refused") == 1, "the refusal")
    certs.write_whole(crt, text)
    relay.wait_varz(lambda s: s.total("derper_certificate_refused") == 0, "the metric to say that it is mended")
    assert relay.varz().total("derper_certificate_reloads", result="swapped") == 0


# Many swaps under load

SWAPS = 200 if SANITIZED else 1000


class Load:
    """Logins all the time, by the generator, whose runs must all be valid."""

    def __init__(self, relay):
        self.relay, self.runs, self.faults, self.going = relay, 0, [], True
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        while self.going and not self.faults:
            done = subprocess.run([LOAD, "login", "--target", "%s:%d" % self.relay.address, "--logins", "200",
                                   "--at-once", "8"], capture_output=True, text=True, timeout=120, check=False)
            self.runs += 1
            if done.returncode != 0:
                self.faults.append(done.stdout + done.stderr)

    def end(self):
        self.going = False
        self.thread.join()


class Traffic:
    """Two clients that pass packets all along."""

    def __init__(self, relay):
        self.peers = [relay.join(), relay.join()]
        self.packets, self.faults, self.going = 0, [], True
        self.thread = threading.Thread(target=self.work)
        self.thread.start()

    def work(self):
        a, b = self.peers
        try:
            while self.going:
                data = b"packet %d" % self.packets
                a.send(b.public, data)
                b.expect_packet(a.public, data)
                self.packets += 1
                time.sleep(0.01)
        except (AssertionError, Closed, OSError) as fault:
            self.faults.append(repr(fault))

    def end(self):
        self.going = False
        self.thread.join()


def swap(relay, number, pair):
    """In one of the ways in which people do it; every other time SIGHUP makes it quicker."""
    crt, key_file = pair_paths(relay, "127.0.0.1")
    if number % 3 == 0:
        write_in_place(key_file, certs.key_pem(pair[1]))
        write_in_place(crt, certs.pem(pair[0]))
    else:
        certs.write_pair(relay.cert_dir, "127.0.0.1", [pair[0]], pair[1])
    if number % 2 == 0:
        relay.reload()


def wait_served(relay, leaf):
    wait_until(lambda: serial_of(relay) == leaf.serial_number, "the swap", pause=0.004)


@pytest.mark.skipif(not os.access(LOAD, os.X_OK), reason="derper-load is not built")
def test_a_thousand_swaps_under_load(start, authority):
    pairs = [authority.leaf("127.0.0.1", kind=kind) for kind in ["ec"] * 6 + ["rsa"] * 2]
    relay = start.make("ip")
    certs.write_pair(relay.cert_dir, "127.0.0.1", [pairs[0][0]], pairs[0][1])
    relay.start()
    traffic, load = Traffic(relay), Load(relay)
    try:
        for number in range(1, 101):  # warm
            swap(relay, number, pairs[number % len(pairs)])
            wait_served(relay, pairs[number % len(pairs)][0])
        load.end()
        before = relay.settled_rss_kib(), relay.descriptors()
        load = Load(relay)
        began = time.monotonic()
        for number in range(101, 101 + SWAPS):
            swap(relay, number, pairs[number % len(pairs)])
            wait_served(relay, pairs[number % len(pairs)][0])
        took = time.monotonic() - began
    finally:
        load.end()
        traffic.end()
    samples = relay.varz()
    print(f"{SWAPS} swaps in {took:.1f} s, {load.runs * 200} logins, {traffic.packets} packets, "
          f"RSS {before[0]} -> {relay.settled_rss_kib()} KiB, descriptors {before[1]} -> {relay.descriptors()}")
    assert load.faults == [] and traffic.faults == []
    assert load.runs > 2 and traffic.packets > 100
    assert samples.total("derper_tls_handshake_failures") == 0
    assert samples.total("derper_certificate_reloads", result="refused") == 0
    assert samples.total("derper_certificate_reloads", result="swapped") >= SWAPS
    wait_until(lambda: relay.descriptors() <= before[1], "the descriptors to be as at the start")
    relay.assert_memory(before[0], 2048)
