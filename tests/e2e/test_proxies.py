# SPDX-License-Identifier: BSD-3-Clause
"""Behind proxies: the PROXY protocol on the TLS port, X-Forwarded-For without TLS, and both with real proxies.

The proxies' address is 127.0.0.9; everybody else on loopback is no proxy.
"""
import contextlib
import csv
import ipaddress
import os
import shutil
import socket
import ssl
import struct
import subprocess

import pytest
from nacl.public import PrivateKey

from derper import free_port, nobody_is_left
from peer import Link, Peer
from sources import Verify
from waiting import wait_until

pytestmark = pytest.mark.ours

PROXY = "127.0.0.9"
FROM_PROXY = f"--proxy-protocol-from={PROXY},2001:db8::/32"

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n"
V1_IPV6 = b"PROXY TCP6 2001:db9::7 2001:db9::1 56324 443\r\n"
V1_UNKNOWN = b"PROXY UNKNOWN\r\n"
SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2_UNSPEC = SIGNATURE + b"\x21\x00\0\0"
V2_UNIX = SIGNATURE + b"\x21\x31\0\xd8" + bytes(216)
NOBODY = "::"  # whom the proxy cannot name


def v2(source, command=1, tlvs=b""):
    address = ipaddress.ip_address(source)
    block = address.packed * 2 + struct.pack(">HH", 56324, 443) + tlvs
    return SIGNATURE + bytes([0x20 | command, 0x11 if address.version == 4 else 0x21]) + \
        struct.pack(">H", len(block)) + block


@pytest.fixture(scope="module")
def relay(keeper):
    return keeper("ip", "--debug", FROM_PROXY)


def join_behind(relay, header, split=None, source=PROXY):
    """A client behind a proxy that says `header`; `split`: pieces of header and ClientHello, otherwise one."""
    peer = relay.keep(Peer(relay.address, source=source))
    peer.prepare_tls(relay.sni)
    start = header + peer.client_hello()
    for piece in split(start) if split else [start]:
        peer.send_raw(piece)
    peer.finish_handshake()
    peer.login()
    return peer


def wait_connected_from(relay, address, act):
    since = len(relay.log())
    peer = act()
    relay.wait_log(rf"client \[.*\] connected from {address}, worker", since=since)
    return peer


@pytest.mark.parametrize("header, address", [
    (V1, "192.0.2.7"), (V1_IPV6, "2001:db9::7"), (v2("192.0.2.8"), "192.0.2.8"), (v2("2001:db9::8"), "2001:db9::8"),
    (v2("192.0.2.9", tlvs=b"\x04\0\x80" + bytes(128)), "192.0.2.9"), (V1_UNKNOWN, NOBODY),
    (V2_UNSPEC, NOBODY), (V2_UNIX, NOBODY), (v2("192.0.2.8", command=0), PROXY),
], ids=["v1", "v1 ipv6", "v2", "v2 ipv6", "v2 tlvs", "v1 unknown", "v2 unspec", "v2 unix", "v2 local"])
def test_the_header_says_who_the_client_is(relay, header, address):
    wait_connected_from(relay, address, lambda: join_behind(relay, header))


@pytest.mark.parametrize("header", [V1, v2("192.0.2.7"), v2("192.0.2.7", tlvs=b"\x04\x03\0" + bytes(768))],
                         ids=["v1", "v2", "v2 tlvs"])
@pytest.mark.parametrize("split", [
    lambda start: [start[i:i + 1] for i in range(len(start))],
    lambda start: [start[:20], start[20:]],
    lambda start: [start[:-600], start[-600:]],
], ids=["byte by byte", "in the header", "behind it"])
def test_headers_come_in_pieces(relay, header, split):
    wait_connected_from(relay, "192.0.2.7", lambda: join_behind(relay, header, split))


def test_clients_behind_proxies_are_clients(relay):
    a, b = join_behind(relay, V1), join_behind(relay, v2("192.0.2.8"))
    a.send(b.public, b"hello")
    b.expect_packet(a.public, b"hello")


@pytest.mark.parametrize("start", [
    b"", b"PROXY TCP4 192.0.2.7\r\n", b"PROXY " + b"x" * 200, SIGNATURE + b"\x31\x11\0\x0c" + bytes(12),
    SIGNATURE + b"\x21\x11\xff\xff" + bytes(5000), b"GET / HTTP/1.1\r\n\r\n",
], ids=["none", "v1 cut", "v1 long", "version 3", "v2 long", "http"])
def test_a_proxy_without_a_header_is_refused_and_counted(relay, start):
    before = relay.varz()["derper_proxy_refusals"]
    link = relay.keep(Link(relay.address, source=PROXY))
    link.prepare_tls(relay.sni)
    with contextlib.suppress(ConnectionError):
        link.send_raw(start or link.client_hello())
        link.read_to_end()
    assert relay.varz()["derper_proxy_refusals"] == before + 1
    relay.wait_log("no PROXY protocol header in front")


def test_others_need_no_header_and_are_not_believed_one(relay):
    wait_connected_from(relay, "127.0.0.1", relay.join)
    before = relay.varz()
    with pytest.raises(ssl.SSLError):
        join_behind(relay, V1, source="127.0.0.8")
    after = relay.varz()
    assert after["derper_proxy_refusals"] == before["derper_proxy_refusals"]
    assert after.total("derper_tls_handshake_failures") == before.total("derper_tls_handshake_failures") + 1


def test_a_connection_that_ends_in_its_header_leaves_nothing(start):
    relay = start("ip", FROM_PROXY)
    for header in V1, v2("192.0.2.7"):
        for length in 1, 6, 17, len(header) - 1, len(header):
            link = Link(relay.address, source=PROXY)
            link.send_raw(header[:length])
            link.close()
    relay.wait_varz(nobody_is_left, "all connections to be gone")
    assert relay.varz()["derper_proxy_refusals"] == 0


def test_debug_pages_ask_who_the_client_is(relay):
    """The proxy's own address says nothing; what it says of the client does."""
    for header, status in ((V1, 403), (b"PROXY TCP4 127.0.0.1 127.0.0.1 1 2\r\n", 200), (V1_UNKNOWN, 403),
                           (V2_UNSPEC, 403), (V2_UNIX, 403), (v2("127.0.0.1", command=0), 200)):
        link = relay.keep(Link(relay.address, source=PROXY))
        link.send_raw(header)
        link.start_tls(relay.sni)
        assert link.request("GET", "/debug/").status == status


@pytest.fixture
def verify():
    source = Verify()
    yield source
    source.stop()


def test_admission_is_asked_about_the_client(start, verify):
    relay = start("ip", FROM_PROXY, "--verify-client-url", verify.url)
    for header in V1, V1_IPV6, V1_UNKNOWN:
        key = PrivateKey.generate()
        verify.add(key)
        peer = relay.keep(Peer(relay.address, source=PROXY, key=key))
        peer.send_raw(header)
        peer.start_tls(relay.sni)
        peer.login()
    assert verify.addresses == ["192.0.2.7", "2001:db9::7", NOBODY]


def test_a_wrong_range_stops_the_start(start):
    relay = start.make("ip", "--proxy-protocol-from=10.0.0.0/8,nonsense")
    relay.launch()
    assert relay.wait_exit() == 2
    assert '"nonsense", which is not an address range' in relay.log()
    relay.process = None


# Without TLS


@pytest.fixture(scope="module")
def plain(keeper):
    return keeper("plain", "--debug", FROM_PROXY)


def join_plain(relay, forwarded, source=PROXY):
    peer = relay.keep(Peer(relay.address, source=source))
    peer.login(headers=[("X-Forwarded-For", value) for value in forwarded])
    return peer


@pytest.mark.parametrize("forwarded, address", [
    (["192.0.2.7"], "192.0.2.7"), (["203.0.113.1, 192.0.2.7"], "192.0.2.7"),
    (["203.0.113.1", "192.0.2.7"], "192.0.2.7"), ([f"192.0.2.7, {PROXY}"], "192.0.2.7"),
    (["2001:db9::7, 2001:db8::1"], "2001:db9::7"), (["192.0.2.7", PROXY], "192.0.2.7"),
    (["unknown"], NOBODY), ([PROXY], NOBODY), ([], PROXY),
], ids=["one", "made up in front", "a field of its own", "two proxies", "ipv6", "two fields", "unknown", "no client",
        "none"])
def test_without_tls_the_field_says_it(plain, forwarded, address):
    wait_connected_from(plain, address, lambda: join_plain(plain, forwarded))


@pytest.mark.parametrize("forwarded", [
    ["x" * 2000 + ", 192.0.2.7"], ["x" * 1011 + ", 203.0.113.1, 192.0.2.7"], ["x" * 1003, "203.0.113.1", "192.0.2.7"],
], ids=["long", "cut behind an address", "several"])
def test_a_field_that_would_be_cut_is_refused(plain, forwarded):
    """A client that makes it long must not choose where it is cut."""
    link = plain.keep(Link(plain.address, source=PROXY))
    assert link.request("GET", "/", [("X-Forwarded-For", value) for value in forwarded]).status == 431


def test_without_tls_others_are_not_believed(plain):
    wait_connected_from(plain, "127.0.0.8", lambda: join_plain(plain, ["192.0.2.7"], source="127.0.0.8"))


def test_on_the_tls_port_the_field_is_not_believed(relay):
    def join():
        peer = relay.keep(Peer(relay.address, source=PROXY))
        peer.send_raw(V1)
        peer.start_tls(relay.sni)
        peer.login(headers=[("X-Forwarded-For", "203.0.113.1")])
        return peer

    wait_connected_from(relay, "192.0.2.7", join)


# Real proxies

HAPROXY = """
global
    maxconn 100
    stats socket {stats}
defaults
    mode tcp
    timeout connect 10s
    timeout check 10s
    timeout client 60s
    timeout server 60s
listen relay
    bind 127.0.0.1:{port}
    server relay 127.0.0.1:{relay} source {proxy} {how}
"""

NGINX_STREAM = """
stream {{
    server {{
        listen 127.0.0.1:{port};
        proxy_bind {proxy};
        proxy_protocol on;
        proxy_pass 127.0.0.1:{relay};
    }}
}}
"""

NGINX_HTTP = """
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{relay};
            proxy_bind {proxy};
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""

NGINX = """
daemon off;
worker_processes 1;
pid {folder}/pid;
error_log {folder}/error.log;
events {{ worker_connections 100; }}
"""


@contextlib.contextmanager
def running(command, port):
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    try:
        def listens():
            assert process.poll() is None, f"{command[0]} ended"
            with contextlib.suppress(ConnectionRefusedError):
                Link(("127.0.0.1", port)).close()
                return True

        wait_until(listens, f"{command[0]} to listen")
        yield
    finally:
        process.terminate()
        process.wait()


def nginx(folder, port, relay, text):
    modules = "/usr/lib/nginx/modules/ngx_stream_module.so"
    load = f"load_module {modules};\n" if "stream {" in text and os.path.exists(modules) else ""
    path = folder / "nginx.conf"
    path.write_text(load + (NGINX + text).format(folder=folder, port=port, relay=relay.port, proxy=PROXY))
    return running([shutil.which("nginx") or "/usr/sbin/nginx", "-p", str(folder), "-c", str(path), "-e",
                    str(folder / "error.log")], port)


def haproxy(folder, port, relay, how):
    path = folder / "haproxy.cfg"
    path.write_text(HAPROXY.format(port=port, relay=relay.port, proxy=PROXY, how=how, stats=folder / "s"))
    return running([shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(path)], port)


def last_check(folder):
    """What the server's last one showed, as haproxy calls it."""
    with socket.socket(socket.AF_UNIX) as asked:
        asked.connect(str(folder / "s"))
        asked.sendall(b"show stat\n")
        table = asked.makefile().read().removeprefix("# ")
    return next(row["check_status"] for row in csv.DictReader(table.splitlines()) if row["svname"] == "relay")


def talk_through(relay, port, tls):
    """Two clients behind the proxy, each with an address of its own."""
    peers = []
    for source in ("127.0.0.21", "127.0.0.22"):
        def join(source=source):
            peer = relay.keep(Peer(("127.0.0.1", port), source=source))
            if tls:
                peer.start_tls(relay.sni)
            peer.login()
            return peer

        peers.append(wait_connected_from(relay, source, join))
    peers[0].send(peers[1].public, b"through")
    peers[1].expect_packet(peers[0].public, b"through")


@pytest.mark.parametrize("how", ["send-proxy", "send-proxy-v2", "send-proxy-v2 proxy-v2-options crc32c"])
def test_behind_haproxy(relay, tmp_path, how):
    port = free_port()
    with haproxy(tmp_path, port, relay, how):
        talk_through(relay, port, tls=True)


def test_haproxys_checks_are_no_clients(relay, tmp_path):
    port = free_port()
    refusals = relay.varz()["derper_proxy_refusals"]
    with haproxy(tmp_path, port, relay, "send-proxy-v2 check check-ssl verify none inter 50ms fall 100"):
        wait_until(lambda: last_check(tmp_path) == "L6OK", "a check to be good")
        talk_through(relay, port, tls=True)
    assert relay.varz()["derper_proxy_refusals"] == refusals


def test_behind_nginx_stream(relay, tmp_path):
    port = free_port()
    with nginx(tmp_path, port, relay, NGINX_STREAM):
        talk_through(relay, port, tls=True)


def test_behind_nginx_that_ends_tls(plain, tmp_path):
    port = free_port()
    with nginx(tmp_path, port, plain, NGINX_HTTP):
        talk_through(plain, port, tls=False)
