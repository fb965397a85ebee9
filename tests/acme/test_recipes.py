# SPDX-License-Identifier: BSD-3-Clause
"""The README's chapter about certificates: each command as it is written, but for folders below the test's own, free
ports instead of 443, 80 and 3478, and Pebble in the place of the authorities of the world."""
import os
import re
import shlex
import socket
import ssl
import subprocess

import pytest
from cryptography import x509

import certs
from certgen import PROGRAM, names_of
from derper import ARGS, ROOT, Derper
from waiting import wait_until

CHAPTER = "Certificates"
ANY_PORT = ["--certmode", "letsencrypt"]  # what the chapter has to say about ports other than 443
NAME, ADDRESS = "derp.example.com", "203.0.113.1"
EAB = {"KEYID": "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"}


def blocks():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        chapter = re.search(rf"^## {CHAPTER}\n(.*?)^## ", file.read(), re.M | re.S)[1]
    return [block.replace("\\\n", "") for block in re.findall(r"^```sh\n(.*?)^```", chapter, re.M | re.S)]


RELAYS = [block.strip() for block in blocks() if block.startswith("derper ")]
COMMANDS = [line for block in blocks() if block.startswith("certgen ") for line in block.splitlines()]


def one(words, *parts):
    """The only line of the chapter that has all of these."""
    found = [line for line in words if all(part in line for part in parts)]
    assert len(found) == 1, f"{len(found)} lines of the README have {parts}"
    return found[0]


def below(root, word):
    """A file of the machine, as one of the test's."""
    return os.path.join(root, re.sub("^~", "root", word).lstrip("/")) if re.match("[/~]", word) else word


class Reader(Derper):
    """A relay by a line of the chapter. `also`: what the test has to add, `instead`: words that it has to change."""

    def __init__(self, root, line, ca=None, also=(), instead=None):
        super().__init__(root, "ip")
        program, *self.words = [(instead or {}).get(word, below(self.folder, word)) for word in shlex.split(line)]
        assert program == "derper"
        self.also = list(also)
        self.cert_dir = self.words[self.words.index("--certdir") + 1]
        if ca:
            self.http_port, self.port = ca.http_port, ca.tls_port

    def arguments(self):
        return ["-a", self.address_argument(), "-c", self.key_file, "--http-port", str(self.http_port), "--stun-port",
                str(self.stun_port)] + self.words + self.also + ARGS

    def served(self, name=None):
        """The certificate that a client gets, None while it gets none."""
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        try:
            with socket.create_connection(self.address, 5) as connection:
                with context.wrap_socket(connection, server_hostname=name) as tls:
                    return x509.load_der_x509_certificate(tls.getpeercert(True))
        except ssl.SSLError:
            return None

    def wait_served(self, name=None):
        return wait_until(lambda: self.served(name), "a certificate to be served", 30)


@pytest.fixture(name="run")
def fixture_run(tmp_path):
    readers = []

    def start(line, **how):
        readers.append(Reader(tmp_path, line, **how))
        return readers[-1].start()

    yield start
    for reader in readers:
        reader.finish()


def of_pebble(ca):
    return ANY_PORT + ["--acme-directory", ca.pebble.directory, "--acme-ca", ca.pebble.ca_file]


def is_of(ca, certificate, *names):
    return certificate.issuer in [c.subject for c in chain_of(ca)] and names_of(certificate) == list(names)


def chain_of(ca):
    return [x509.load_pem_x509_certificate(ca.pebble.manage("/intermediates/0")), ca.pebble.root()]


# Certificates that the relay gets by itself

def test_domain(ca, run):
    relay = run(next(line for line in RELAYS if line.endswith(f"--hostname {NAME} --certdir /var/lib/derper/certs")),
                ca=ca, also=of_pebble(ca))
    assert is_of(ca, relay.wait_served(NAME), NAME)


def test_address_by_authority(ca, run):
    relay = run(one(RELAYS, "--acme-ip-certs"), ca=ca, also=of_pebble(ca), instead={ADDRESS: "127.0.0.1"})
    assert is_of(ca, relay.wait_served(), "127.0.0.1")


def test_external_account(make_ca, run):
    ca = make_ca(eab=EAB)
    relay = run(one(RELAYS, "--certmode gcp"), ca=ca, also=of_pebble(ca)[2:], instead={"KEY": EAB["KEYID"]})
    assert is_of(ca, relay.wait_served(NAME), NAME)


def test_own_authority(ca, run, tmp_path):
    line = one(RELAYS, "--acme-ca")
    directory, file = (line.split(flag + " ")[1].split()[0] for flag in ("--acme-directory", "--acme-ca"))
    assert file.startswith("/")
    relay = run(line, ca=ca, also=ANY_PORT, instead={directory: ca.pebble.directory, file: ca.pebble.ca_file})
    assert is_of(ca, relay.wait_served(NAME), NAME)


# Certificates that others renew

def put(folder, cert, key, leaf):
    os.makedirs(folder, exist_ok=True)
    for name, data in ((key, certs.key_pem(leaf[1])), (cert, certs.pem(leaf[0]))):
        os.makedirs(os.path.dirname(os.path.join(folder, name)), exist_ok=True)
        certs.write_whole(os.path.join(folder, name), data, 0o600)


def put_acme_sh(folder, leaf, _):
    put(folder, f"{NAME}_ecc/fullchain.cer", f"{NAME}_ecc/{NAME}.key", leaf)


def put_certbot(folder, leaf, number):
    put(folder, f"archive/{NAME}/fullchain{number}.pem", f"archive/{NAME}/privkey{number}.pem", leaf)
    live = os.path.join(folder, "live", NAME)
    os.makedirs(live, exist_ok=True)
    for name in ("privkey", "fullchain"):
        os.symlink(f"../../archive/{NAME}/{name}{number}.pem", os.path.join(live, "new"))
        os.rename(os.path.join(live, "new"), os.path.join(live, f"{name}.pem"))


def put_caddy(folder, leaf, _):
    of = f"certificates/acme-v02.api.letsencrypt.org-directory/{NAME}/{NAME}"
    put(folder, of + ".crt", of + ".key", leaf)


def put_lego(folder, leaf, _):
    put(folder, f"certificates/{NAME}.crt", f"certificates/{NAME}.key", leaf)


@pytest.mark.parametrize("folder, put_pair", [("~/.acme.sh", put_acme_sh), ("/etc/letsencrypt", put_certbot),
                                              ("/var/lib/caddy/.local/share/caddy", put_caddy),
                                              ("~/.lego", put_lego)])
def test_folders_of_others(authority, run, tmp_path, folder, put_pair):
    leaf = authority.leaf(NAME)
    put_pair(below(str(tmp_path), folder), leaf, 1)
    relay = run(one(RELAYS, f"--certdir {folder}"))
    assert relay.served(NAME) == leaf[0]
    renewed = authority.leaf(NAME)
    put_pair(relay.cert_dir, renewed, 2)
    wait_until(lambda: relay.served(NAME) == renewed[0], "the renewed certificate to be served")


# By hand

def certgen(line, root, instead=None):
    program, *words = [(instead or {}).get(word, below(root, word)) for word in shlex.split(line)]
    assert program == "certgen"
    return subprocess.run([PROGRAM, *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)


def test_self_signed_and_its_pin(run, tmp_path):
    made = certgen(one(COMMANDS, "certgen self-signed"), str(tmp_path))
    pin = re.search("sha256-raw:[0-9a-f]{64}", made.stdout)[0]
    relay = run(one(RELAYS, f"--hostname {ADDRESS} --certmode manual"))
    assert names_of(relay.served()) == [ADDRESS] and pin in relay.log()
    asked = certgen(one(COMMANDS, "certgen pin"), str(tmp_path), {f"{ADDRESS}:443": "%s:%d" % relay.address})
    assert (asked.returncode, asked.stdout.split()[-1]) == (0, pin), asked


def test_acme_by_hand_and_checks(ca, run, tmp_path):
    root = str(tmp_path)
    os.makedirs(below(root, "/var/lib/derper/certs"))
    made = certgen(shlex.join(shlex.split(one(COMMANDS, "certgen acme")) + ["--directory", ca.pebble.directory, "--ca", "CA",
                                                                           "--port", str(ca.http_port)]),
                   root, {"CA": ca.pebble.ca_file})
    assert made.returncode == 0, made
    trust = str(tmp_path / "root.pem")
    with open(trust, "wb") as file:
        file.write(ca.pebble.root_pem())
    checked = certgen(one(COMMANDS, f"certs/{NAME}.crt") + " --ca CA", root, {"CA": trust})
    assert NAME in checked.stdout, checked
    relay = run(RELAYS[0].replace("--certdir", "--certmode manual --certdir"))
    line = one(COMMANDS, f"check {NAME}")
    assert certgen(line, root, {NAME: "%s:%d" % relay.address}).returncode == 1  # of another name
