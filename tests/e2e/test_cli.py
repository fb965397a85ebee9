# SPDX-License-Identifier: BSD-3-Clause
"""The command line: what is understood, and how a start that cannot be is refused."""
import hashlib
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile

import pytest
from nacl.public import PrivateKey

import certs
from derper import BINARY, DOMAIN, OURS, environment, free_port
from peer import chain_of

ours = pytest.mark.ours

NOBODY = 65534

FLAGS = [
    "a", "http-port", "stun", "stun-port", "derp", "c", "certmode", "certdir", "hostname", "acme-eab-kid",
    "acme-eab-key", "acme-email", "acme-ip-certs", "home", "dev", "version", "mesh-psk-file", "mesh-with",
    "secrets-url", "secrets-path-prefix", "secrets-cache-dir", "bootstrap-dns-names",
    "unpublished-bootstrap-dns-names", "verify-clients", "socket", "verify-client-url", "verify-client-url-fail-open",
    "accept-connection-limit", "accept-connection-burst", "rate-config", "tcp-keepalive-time", "tcp-user-timeout",
    "tcp-write-timeout", "ace",
]
OUR_FLAGS = ["check", "workers"]


def run(folder, *arguments, env=None, **options):
    """Runs the program, which is expected to end by itself, and returns it with all it said."""
    done = subprocess.run([BINARY, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, errors="backslashreplace", timeout=20,
                          cwd=str(folder), env=environment(env, folder), **options)
    assert "Sanitizer" not in done.stdout and "runtime error:" not in done.stdout, done.stdout
    return done


class Setup:
    """A folder with everything that a good start needs, to be spoiled by the test."""

    def __init__(self, folder):
        self.folder = str(folder)
        self.key_file = os.path.join(self.folder, "derper.key")
        self.cert_dir = os.path.join(self.folder, "certs")
        self.ports = [free_port() for _ in range(3)]
        self.authority = certs.Authority()
        self.authority.install(self.cert_dir, DOMAIN)

    def path(self, name):
        return os.path.join(self.cert_dir, name)

    def arguments(self, *more, **replaced):
        values = {"a": f"127.0.0.1:{self.ports[0]}", "http-port": self.ports[1], "stun-port": self.ports[2],
                  "c": self.key_file, "certmode": "manual", "certdir": self.cert_dir, "hostname": DOMAIN}
        values.update({k.replace("_", "-"): v for k, v in replaced.items()})
        return [f"--{k}={v}" for k, v in values.items() if v is not None] + list(more)

    def run(self, *more, env=None, **replaced):
        return run(self.folder, *self.arguments(*more, **replaced), env=env)


@pytest.fixture
def setup(tmp_path):
    return Setup(tmp_path)


def last_sentences(text):
    """What was said, without the times in front."""
    lines = [re.sub(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ", "", line) for line in text.splitlines()]
    return [line for line in lines if line]


def assert_refused(done, *words, codes=(1, 2)):
    assert done.returncode in codes, f"exit code {done.returncode}:\n{done.stdout}"
    said = last_sentences(done.stdout)
    named = [line for line in said if all(word in line for word in words)]
    assert named, f"no line names {words}:\n{done.stdout}"
    assert max(len(line) for line in named) < 500


# What the flag syntax of Go allows

GOOD_LINES = {
    "one dash": ["-http-port", "8080"],
    "two dashes": ["--http-port", "8080"],
    "equals sign": ["--http-port=8080"],
    "hexadecimal": ["--http-port=0x50"],
    "minus one": ["--http-port", "-1"],
    "minus one with equals sign": ["--http-port=-1"],
    "octal": ["--http-port=0120"],
    "underscore": ["--http-port=8_080"],
    "boolean": ["--derp", "-stun"],
    "booleans with values": ["-stun=t", "-derp=T", "-dev=f", "-ace=0", "--verify-clients=False", "-stun=TRUE"],
    "durations": ["--tcp-write-timeout=1m30s", "-tcp-user-timeout", "1500ms", "--tcp-keepalive-time=1h"],
    "zero duration": ["--tcp-write-timeout=0"],
    "fraction": ["--tcp-write-timeout=1.5s"],
    "limits": ["--accept-connection-limit=+Inf", "--accept-connection-burst=9223372036854775807"],
    "empty values": ["--home=", "--mesh-with", "", "--rate-config="],
    "the same twice": ["--http-port=80", "--http-port=81"],
    "end of flags": ["--version", "--", "--no-such-flag"],
    "words behind": ["--version", "word", "--no-such-flag"],
}


@pytest.mark.parametrize("form", GOOD_LINES)
def test_good_command_line(tmp_path, form):
    line = GOOD_LINES[form]
    done = run(tmp_path, *(line if "--version" in line else line + ["--version"]))
    assert done.returncode == 0, done.stdout


BAD_LINES = {
    "unknown flag": (["--no-such-flag"], "no-such-flag"),
    "unknown flag with a value": (["-bogus=1"], "bogus"),
    "abbreviation": (["--hostnam=x"], "hostnam"),
    "another abbreviation": (["--certd=x"], "certd"),
    "upper case": (["--Hostname=x"], "Hostname"),
    "three dashes": (["---a=:1"], "---a"),
    "equals sign alone": (["--=x"], "--=x"),
    "no value": (["--hostname"], "hostname"),
    "no number": (["--http-port=http"], "http-port"),
    "empty number": (["--http-port="], "http-port"),
    "number with a rest": (["--stun-port=3478x"], "stun-port"),
    "fraction for a number": (["--stun-port=3478.5"], "stun-port"),
    "number too long": (["--http-port=99999999999999999999"], "http-port"),
    "no boolean": (["--stun=maybe"], "stun"),
    "boolean of another language": (["--stun=yes"], "stun"),
    "no unit": (["--tcp-write-timeout=2"], "tcp-write-timeout"),
    "unknown unit": (["--tcp-write-timeout=2d"], "tcp-write-timeout"),
    "no duration": (["--tcp-user-timeout=soon"], "tcp-user-timeout"),
    "no limit": (["--accept-connection-limit=fast"], "accept-connection-limit"),
}


@pytest.mark.parametrize("fault", BAD_LINES)
def test_bad_command_line_ends_with_2(tmp_path, fault):
    line, word = BAD_LINES[fault]
    assert_refused(run(tmp_path, *line), word, codes=(2,))


@pytest.mark.parametrize("flag", ["-h", "-help", "--help"])
def test_help_lists_every_flag(tmp_path, flag):
    done = run(tmp_path, flag)
    assert done.returncode == 0
    listed = set(re.findall(r"^\s*--?([a-z][a-z0-9-]*)", done.stdout, re.MULTILINE))
    assert [f for f in FLAGS if f not in listed] == []
    if OURS:
        assert [f for f in OUR_FLAGS if f not in listed] == []


def test_version(tmp_path):
    done = run(tmp_path, "--version")
    assert done.returncode == 0
    assert re.fullmatch(r"\S*\d+\.\d+\S*\n|derper \S*\d+\.\d+\S*.*\n", done.stdout)


# Values that make no sense

@ours
@pytest.mark.parametrize("replaced, words", [
    ({"a": "nonsense"}, ["-a", "nonsense"]),
    ({"a": ":99999"}, ["-a", "99999"]),
    ({"a": "1.2.3.4.5:443"}, ["-a", "1.2.3.4.5"]),
    ({"a": "::1:443"}, ["-a", "::1:443"]),
    ({"a": "127.0.0.1"}, ["-a", "127.0.0.1"]),
    ({"http-port": 65536}, ["http-port", "65536"]),
    ({"http-port": -2}, ["http-port", "-2"]),
    ({"stun-port": 70000}, ["stun-port", "70000"]),
    ({"certmode": "wrong"}, ["certmode", "wrong"]),
    ({"certmode": ""}, ["certmode"]),
    ({"hostname": "https://derp.test"}, ["hostname", "https://derp.test"]),
    ({"hostname": "derp.test:443"}, ["hostname", "derp.test:443"]),
    ({"hostname": ""}, ["hostname"]),
    ({"hostname": "a b"}, ["hostname", "a b"]),
    ({"home": "ftp://example.com"}, ["home", "ftp://example.com"]),
    ({"home": "example.com"}, ["home", "example.com"]),
    ({"home": "https://example.com/\r\nSet-Cookie: a"}, ["home"]),
    ({"workers": -1}, ["workers", "-1"]),
    ({"workers": "many"}, ["workers", "many"]),
    ({"tcp-write-timeout": "-1s"}, ["tcp-write-timeout", "-1s"]),
], ids=str)
def test_senseless_value_is_refused(setup, replaced, words):
    assert_refused(setup.run(**replaced), *words)


# Flags that may not be built yet: whoever sets one must be told, never be served without it.

LATER_FLAGS = {
    "mesh-with": ["--mesh-with=a.derp.test,b.derp.test"],
    "secrets-url": ["--secrets-url=https://127.0.0.1:1"],
    "verify-clients": ["--verify-clients"],
    "verify-client-url": ["--verify-client-url=http://127.0.0.1:1/verify"],
    "accept-connection-limit": ["--accept-connection-limit=10"],
    "rate-config": ["--rate-config=rate.json"],
    "bootstrap-dns-names": ["--bootstrap-dns-names=derp.test"],
    "ace": ["--ace"],
}


@ours
@pytest.mark.parametrize("flag", LATER_FLAGS)
def test_flag_works_or_stops_the_start(setup, flag):
    """Once a flag is built, its own tests show that it works; until then this one shows that it says so."""
    done = setup.run("--check", *LATER_FLAGS[flag])
    if done.returncode != 0:
        assert_refused(done, flag)


# Ports that are taken

def busy(kind, port, address="127.0.0.1"):
    holder = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, kind)
    holder.bind((address, port))
    if kind == socket.SOCK_STREAM:
        holder.listen()
    return holder


@ours
@pytest.mark.parametrize("index, kind", [(0, socket.SOCK_STREAM), (1, socket.SOCK_STREAM), (2, socket.SOCK_DGRAM)],
                         ids=["tls", "http", "stun"])
@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_port_in_use_stops_the_start(setup, index, kind, address):
    with busy(kind, setup.ports[index], address):
        assert_refused(setup.run(), str(setup.ports[index]), "in use", codes=(1,))


@ours
@pytest.mark.parametrize("shared", ["port", "http_port", "stun_port"])
def test_port_of_another_instance_stops_the_start(start, setup, shared):
    """Several listeners of one process may share a port; those of two processes may not."""
    running = start()
    flag = {"port": "a", "http_port": "http-port", "stun_port": "stun-port"}[shared]
    number = getattr(running, shared)
    value = f"127.0.0.1:{number}" if flag == "a" else number
    assert_refused(setup.run(**{flag: value}), str(number), "in use", codes=(1,))
    running.join().fence()


@ours
def test_same_command_twice_stops_the_second(start):
    running = start("ip", "--workers=2")
    second = run(running.folder, *running.arguments())
    assert_refused(second, "in use", codes=(1,))
    for _ in range(20):
        running.join().fence()


def test_address_that_is_not_here(setup):
    assert_refused(setup.run(a="192.0.2.1:8443"), "192.0.2.1", codes=(1,))


# Certificates

def test_missing_certificate(setup):
    os.remove(setup.path(DOMAIN + ".crt"))
    assert_refused(setup.run(), DOMAIN + ".crt", codes=(1,))


def test_missing_certificate_key(setup):
    os.remove(setup.path(DOMAIN + ".key"))
    assert_refused(setup.run(), DOMAIN + ".key", codes=(1,))


def test_missing_certificate_folder(setup):
    assert_refused(setup.run(certdir=setup.folder + "/nowhere"), setup.folder + "/nowhere", codes=(1,))


def test_dangling_link(setup):
    """What a copied certbot folder holds."""
    os.remove(setup.path(DOMAIN + ".crt"))
    os.symlink("../archive/fullchain.pem", setup.path(DOMAIN + ".crt"))
    assert_refused(setup.run(), DOMAIN + ".crt", codes=(1,))


def test_mismatched_key(setup):
    with open(setup.path(DOMAIN + ".key"), "wb") as file:
        file.write(certs.key_pem(certs.new_key()))
    assert_refused(setup.run(), DOMAIN + ".key" if OURS else "key", codes=(1,))


@ours
@pytest.mark.parametrize("start, end, word", [(-30, -1, "expired"), (1, 30, "not yet valid")])
def test_certificate_out_of_its_time(setup, start, end, word):
    setup.authority.install(setup.cert_dir, DOMAIN, start=start, end=end)
    assert_refused(setup.run(), DOMAIN + ".crt", word, codes=(1,))


def test_certificate_for_another_name(setup):
    setup.authority.install(setup.cert_dir, DOMAIN, "other.test")
    assert_refused(setup.run(), DOMAIN, codes=(1,))


BROKEN_PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize("content", [b"", b"garbage\n", BROKEN_PEM], ids=["empty", "garbage", "broken PEM"])
def test_certificate_that_is_none(setup, content):
    with open(setup.path(DOMAIN + ".crt"), "wb") as file:
        file.write(content)
    done = setup.run()
    assert_refused(done, *([DOMAIN + ".crt"] if OURS else []), codes=(1,))


@ours
def test_wildcard_certificate_is_good(setup):
    setup.authority.install(setup.cert_dir, "derp.example.test", "*.example.test")
    done = setup.run("--check", hostname="derp.example.test")
    assert done.returncode == 0, done.stdout


def test_hostname_is_cleaned_for_the_file_name(setup):
    """Every character but letters, digits, dots and dashes is deleted."""
    done = setup.run(hostname="a_b.test")
    assert_refused(done, "ab.test.crt")


# The key file

@pytest.mark.parametrize("content", ["{}", '{"PrivateKey":""}', '{"PrivateKey":"privkey:abcd"}', "garbage", "[]",
                                     '{"PrivateKey":"nodekey:' + "a" * 64 + '"}', '{"PrivateKey":7}'])
def test_key_file_without_a_key(setup, content):
    with open(setup.key_file, "w", encoding="ascii") as file:
        file.write(content)
    done = setup.run()
    if not OURS:
        assert done.returncode != 0
        return
    assert_refused(done, "derper.key", codes=(1,))
    with open(setup.key_file, encoding="ascii") as file:
        assert file.read() == content, "the file was changed"


@ours
def test_empty_key_file(setup):
    """A full disk leaves such a file; a new identity must not take its place silently."""
    open(setup.key_file, "w", encoding="ascii").close()
    assert_refused(setup.run(), "derper.key", codes=(1,))


def test_key_file_that_is_a_folder(setup):
    os.mkdir(setup.key_file)
    assert_refused(setup.run(), "derper.key", codes=(1,))


def test_key_file_below_a_file(setup):
    with open(setup.folder + "/file", "w", encoding="ascii"):
        pass
    assert_refused(setup.run(c=setup.folder + "/file/derper.key"), "file", codes=(1,))


def test_key_file_is_made_with_its_folder(start):
    relay = start.make()
    relay.key_file = os.path.join(relay.folder, "a", "b", "derper.key")
    relay.start()
    with open(relay.key_file, encoding="ascii") as file:
        text = file.read()
    assert re.fullmatch(r'\{\n\t"PrivateKey": "privkey:[0-9a-f]{64}"\n\}\n?', text)
    assert os.stat(relay.key_file).st_mode & 0o777 == 0o600
    assert os.listdir(os.path.dirname(relay.key_file)) == ["derper.key"], "something was left behind"


# A key pair that Tailscale's derper made.
ORIGINAL_PRIVATE = "80625175c5301426172b55a494f68fa19339e473f1f200c96662c07524a8c86b"


@pytest.mark.parametrize("form", ['{\n\t"PrivateKey": "privkey:%s"\n}', '{"PrivateKey":"privkey:%s"}\n',
                                  '{"Other": [1], "PrivateKey": "privkey:%s"}'])
def test_key_file_of_the_original_is_taken(start, form):
    relay = start.make()
    os.makedirs(relay.folder)
    text = form % ORIGINAL_PRIVATE
    with open(relay.key_file, "w", encoding="ascii") as file:
        file.write(text)
    relay.start()
    expected = bytes(PrivateKey(bytes.fromhex(ORIGINAL_PRIVATE)).public_key)
    assert relay.join().server_key == expected
    with open(relay.key_file, encoding="ascii") as file:
        assert file.read() == text


# Other users, and files that are not theirs

needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")


@pytest.fixture
def nobody():
    """A folder of another user, with a copy of the program that this user can run."""
    folder = tempfile.mkdtemp(prefix="derper-nobody-")
    os.chmod(folder, 0o755)
    shutil.copy(BINARY, os.path.join(folder, "derper"))
    os.chmod(os.path.join(folder, "derper"), 0o755)
    os.chown(folder, NOBODY, NOBODY)
    yield Setup(folder)
    shutil.rmtree(folder)


def run_as_nobody(setup, *more, **replaced):
    return subprocess.run(
        [os.path.join(setup.folder, "derper"), *setup.arguments(*more, **replaced)], stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=20, cwd=setup.folder,
        env=environment(None, setup.folder), user=NOBODY, group=NOBODY, extra_groups=[])


@needs_root
def test_without_a_key_file_only_root_has_a_default(nobody):
    assert_refused(run_as_nobody(nobody, c=None), "-c")


@needs_root
def test_key_file_that_may_not_be_read(nobody):
    with open(nobody.key_file, "w", encoding="ascii") as file:
        file.write('{"PrivateKey":"privkey:%s"}' % ORIGINAL_PRIVATE)
    os.chmod(nobody.key_file, 0o600)
    assert_refused(run_as_nobody(nobody), "derper.key", "ermission", codes=(1,))


@needs_root
def test_certificate_key_that_may_not_be_read(nobody):
    os.chmod(nobody.path(DOMAIN + ".key"), 0o600)
    assert_refused(run_as_nobody(nobody), DOMAIN + ".key", "ermission", codes=(1,))


IN_FRESH_VAR_LIB = ["unshare", "-m", "sh", "-c", "mount -t tmpfs none /var/lib && exec \"$@\"", "sh"]


@pytest.fixture
def fresh_var_lib():
    """How to run a program with nothing under /var/lib/derper: where no mount namespace is allowed, on the real one."""
    if subprocess.run(IN_FRESH_VAR_LIB + ["true"], capture_output=True, check=False).returncode == 0:
        yield IN_FRESH_VAR_LIB
        return
    if os.path.exists("/var/lib/derper"):
        pytest.skip("no mount namespaces here, and /var/lib/derper is in use")
    yield []
    shutil.rmtree("/var/lib/derper", ignore_errors=True)


@needs_root
def test_root_has_a_default_key_file(start, fresh_var_lib):
    relay = start.make("ip", wrapper=fresh_var_lib)
    relay.key_file = ""
    relay.start()
    assert "no config path specified; using /var/lib/derper/derper.key" in relay.log()
    relay.key_file = os.path.join("/proc", str(relay.pid), "root", "var/lib/derper/derper.key")
    assert relay.join().server_key == relay.public_key()


# --check

@ours
def test_check_of_a_good_configuration(setup):
    done = setup.run("--check")
    assert done.returncode == 0, done.stdout
    assert not os.path.exists(setup.key_file), "a check changes nothing"


@ours
def test_check_beside_the_running_relay(start):
    relay = start("domain")
    done = run(relay.folder, *relay.arguments(), "--check")
    assert done.returncode == 0, done.stdout
    relay.join().fence()


@ours
def test_check_says_what_the_start_would_say(setup):
    os.remove(setup.path(DOMAIN + ".crt"))
    assert_refused(setup.run("--check"), DOMAIN + ".crt", codes=(1,))
    assert setup.run("--check", hostname="other.test").returncode == 1
    assert_refused(setup.run("--check", certmode="wrong"), "certmode")


@ours
def test_check_finds_a_bad_key_file(setup):
    with open(setup.key_file, "w", encoding="ascii") as file:
        file.write("{}")
    assert_refused(setup.run("--check"), "derper.key", codes=(1,))


# Lines that people look for

def test_lines_at_start(start):
    relay = start()
    log = relay.log()
    assert re.search(rf"derper: serving on 127\.0\.0\.1:{relay.port} with TLS$", log, re.MULTILINE)
    assert re.search(rf"STUN server listening on 127\.0\.0\.1:{relay.stun_port}$", log, re.MULTILINE)


def test_lines_at_start_on_all_addresses(start):
    relay = start("ip", host="")
    log = relay.log()
    assert re.search(rf"derper: serving on :{relay.port} with TLS$", log, re.MULTILINE)
    assert re.search(rf"STUN server listening on \[::\]:{relay.stun_port}$", log, re.MULTILINE)


def test_plain_http_says_so(start):
    relay = start("plain")
    assert f"derper: serving on 127.0.0.1:{relay.port}" in relay.log()
    assert "with TLS" not in relay.log()


@ours
def test_letsencrypt_is_never_plain_http_silently(setup):
    """Asked for certificates, and served without: the original does that on any port but 443."""
    done = setup.run("--check", certmode="letsencrypt")
    assert done.returncode != 0 or re.search(f"the certificate for {DOMAIN} is asked for at https://", done.stdout)


# The map node

def untimed(log):
    return re.sub(r"(?m)^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ", "", log)


def json_objects(text):
    """All JSON objects that stand in a text."""
    decoder = json.JSONDecoder()
    position = text.find("{")
    while position >= 0:
        try:
            value, end = decoder.raw_decode(text, position)
            yield value
        except ValueError:
            end = position + 1
        position = text.find("{", end)


def nodes_in(value):
    if isinstance(value, list):
        for item in value:
            yield from nodes_in(item)
    elif isinstance(value, dict):
        if "CertName" in value:
            yield value
        for item in value.values():
            yield from nodes_in(item)


def served_pin(relay):
    leaf = chain_of(relay.peer().tls)[0]
    return "sha256-raw:" + hashlib.sha256(leaf).hexdigest()


def test_map_node_as_json(start):
    relay = start()
    relay.wait_log("sha256-raw:")
    nodes = [node for value in json_objects(untimed(relay.log())) for node in nodes_in(value)]
    assert len(nodes) == 1
    node = nodes[0]
    assert node["CertName"] == served_pin(relay)
    assert node["HostName"] == "127.0.0.1"
    assert 900 <= node["RegionID"] <= 999
    if OURS:
        assert node["DERPPort"] == relay.port
        assert node["STUNPort"] == relay.stun_port


@ours
def test_map_node_as_yaml(start):
    relay = start()
    text = untimed(relay.log())
    pin = re.escape(served_pin(relay))
    for line in ("regions:", r"(- )?name: .+", r"(- )?regionid: 900", r"(- )?hostname: [\"']?127\.0\.0\.1[\"']?",
                 rf"(- )?certname: [\"']?{pin}[\"']?", f"(- )?derpport: {relay.port}",
                 f"(- )?stunport: {relay.stun_port}"):
        assert re.search(rf"^\s*{line}$", text, re.MULTILINE), line


@ours
def test_map_node_without_stun(start):
    relay = start("ip", stun=False)
    node = next(n for value in json_objects(untimed(relay.log())) for n in nodes_in(value))
    assert node["STUNPort"] == -1


@ours
def test_no_secret_is_ever_logged(start):
    relay = start("ip", "--debug")
    peer = relay.join()
    peer.send(peer.public, b"a very secret payload")
    peer.fence()
    with open(relay.key_file, encoding="ascii") as file:
        secret = json.load(file)["PrivateKey"].split(":")[1]
    relay.stop()
    assert secret not in relay.log()
    assert "secret payload" not in relay.log()
