# SPDX-License-Identifier: BSD-3-Clause
"""The HTTP side: every endpoint, its headers, and what is no clean request."""
import json
import re
import subprocess
import threading
import time

import pytest

import varz
from metric_names import COUNTERS, GAUGES, HISTOGRAMS, LABELLED
from peer import Closed, Link, Quiet, frame, SERVER_KEY
from slow import slow_case

ours = pytest.mark.ours

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'; form-action 'self'; base-uri 'self'; "
                               "block-all-mixed-content; object-src 'none'",
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
}
BROWSER_ONLY = ["Content-Security-Policy", "X-Frame-Options", "Strict-Transport-Security"]
NO_CACHE = "no-cache, no-store, must-revalidate, no-transform, max-age=0"


@pytest.fixture(scope="module")
def relay(keeper):
    return keeper()


@pytest.fixture(scope="module")
def silent_relay(keeper):
    """A relay with --derp=false."""
    return keeper("ip", "--derp=false")


def assert_browser_headers(response):
    for name, value in SECURITY_HEADERS.items():
        assert response.get(name) == value
    assert re.match(r"max-age=\d{7,}", response.get("Strict-Transport-Security", ""))


def assert_no_browser_headers(response):
    assert [name for name in BROWSER_ONLY if name in response] == []


# The upgrade

def assert_upgraded(peer):
    response = peer.read_upgrade()
    assert response.status_line == "HTTP/1.1 101 Switching Protocols"
    assert response.get("Upgrade") == "DERP"
    assert response.get("Connection") == "Upgrade"
    assert response.get("Derp-Version") == "2"
    assert_no_browser_headers(response)
    peer.write(peer.client_info())
    peer.read_server_info()
    return response


@pytest.mark.parametrize("spelling", ["DERP", "derp", "Derp", "websocket", "WebSocket"])
def test_upgrade_is_answered_whatever_its_spelling(relay, spelling):
    peer = relay.peer()
    peer.write(peer.request_bytes("GET", "/derp", [("Connection", "Upgrade"), ("Upgrade", spelling)]))
    response = assert_upgraded(peer)
    assert response.get("Derp-Public-Key") == relay.public_key().hex()


UPGRADES = {
    "POST": b"POST /derp HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n",
    "absolute target": b"GET https://127.0.0.1/derp HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n"
                       b"Upgrade: DERP\r\n\r\n",
    "absolute target with port": b"POST https://127.0.0.1:8443/derp HTTP/1.1\r\nhost: 127.0.0.1\r\n"
                                 b"connection: upgrade\r\nupgrade: DERP\r\n\r\n",
    "lower-case headers": b"GET /derp HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: derp\r\n\r\n",
    "upper-case headers": b"GET /derp HTTP/1.1\r\nHOST: 127.0.0.1\r\nCONNECTION: UPGRADE\r\nUPGRADE: DERP\r\n\r\n",
    "no Connection header": b"GET /derp HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: DERP\r\n\r\n",
    "several connection tokens": b"GET /derp HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: keep-alive, Upgrade\r\n"
                                 b"Upgrade: DERP\r\n\r\n",
    "query": b"GET /derp?x=1 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n\r\n",
    "spaces around values": b"GET /derp HTTP/1.1\r\nHost:127.0.0.1\r\nConnection:   Upgrade  \r\n"
                            b"Upgrade:DERP\r\n\r\n",
}


@pytest.mark.parametrize("form", UPGRADES)
def test_upgrade_in_other_forms(relay, form):
    peer = relay.peer()
    peer.write(UPGRADES[form])
    assert_upgraded(peer)


def test_upgrade_byte_by_byte(relay):
    peer = relay.peer()
    peer.write_slowly(peer.upgrade_request())
    assert_upgraded(peer)


def test_upgrade_and_login_over_plain_http(start):
    relay = start("plain")
    peer = relay.join()
    assert peer.server_key == relay.public_key()
    assert relay.get("/derp/probe").status == 200


@pytest.mark.parametrize("headers", [
    [], [("Connection", "Upgrade")], [("Connection", "Upgrade"), ("Upgrade", "h2c")],
    [("Connection", "Upgrade"), ("Upgrade", "")],
], ids=["none", "connection only", "h2c", "empty"])
def test_other_upgrades_are_refused_with_426(relay, headers):
    response = relay.get("/derp", headers)
    assert response.status == 426
    assert response.text.strip() == "DERP requires connection upgrade"
    assert_no_browser_headers(response)


def test_connection_stays_usable_after_426(relay):
    link = relay.link()
    assert link.request("GET", "/derp").status == 426
    assert link.request("GET", "/derp/probe").status == 200


# Fast start

def test_fast_start_has_no_http_answer(relay):
    peer = relay.peer()
    peer.write(peer.upgrade_request(fast=True))
    peer.fill(1)
    assert peer.received[0] == SERVER_KEY
    peer.read_server_key()
    assert peer.server_key == relay.public_key()
    peer.write(peer.client_info())
    peer.read_server_info()


def test_fast_start_with_client_info_in_the_same_record(relay):
    peer = relay.peer()
    peer.key_of_meta_certificate()
    peer.write(peer.upgrade_request(fast=True) + peer.client_info())
    peer.read_server_key()
    peer.read_server_info()
    peer.fence()


def test_fast_start_with_everything_at_once(relay):
    """Request, login and the first packets in one record: nothing behind the request is lost."""
    other = relay.join()
    peer = relay.peer()
    peer.key_of_meta_certificate()
    packets = b"".join(frame(0x04, other.public + bytes([i])) for i in range(10))
    peer.write(peer.upgrade_request(fast=True) + peer.client_info() + packets)
    for i in range(10):
        other.expect_packet(peer.public, bytes([i]))


def test_fast_start_byte_by_byte(relay):
    peer = relay.peer()
    peer.key_of_meta_certificate()
    peer.write_slowly(peer.upgrade_request(fast=True) + peer.client_info())
    peer.read_server_key()
    peer.read_server_info()


def test_bytes_behind_the_request_are_not_lost(relay):
    peer = relay.peer()
    peer.key_of_meta_certificate()
    peer.write(peer.upgrade_request() + peer.client_info() + frame(0x12, b"12345678"))
    peer.read_upgrade()
    peer.read_server_info()
    assert peer.expect(0x13) == b"12345678"


@pytest.mark.parametrize("cut", [1, 4, 5, 6, 37])
def test_client_info_split_between_two_records(relay, cut):
    peer = relay.peer()
    peer.key_of_meta_certificate()
    info = peer.client_info()
    peer.write(peer.upgrade_request(fast=True) + info[:cut])
    peer.read_server_key()
    peer.write(info[cut:])
    peer.read_server_info()


# Probes

@pytest.mark.parametrize("path", ["/derp/probe", "/derp/latency-check"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probe_is_answered(relay, path, method):
    response = relay.get(path, method=method)
    assert response.status == 200
    assert response.get("Access-Control-Allow-Origin") == "*"
    assert response.body == b""
    assert_no_browser_headers(response)


@pytest.mark.parametrize("path", ["/derp/probe", "/derp/latency-check"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_probe_knows_no_other_methods(relay, path, method):
    response = relay.get(path, method=method)
    assert response.status == 405
    assert_no_browser_headers(response)


def test_latency_check_twice_on_one_connection(relay):
    link = relay.link()
    for _ in range(3):
        response = link.request("GET", "/derp/latency-check")
        assert response.status == 200
        assert response.get("Content-Length") == "0"
        assert response.get("Connection", "keep-alive").lower() == "keep-alive"
        assert "Transfer-Encoding" not in response


def test_connection_close_is_obeyed(relay):
    link = relay.link()
    response = link.request("GET", "/derp/probe", [("Connection", "close")])
    assert response.status == 200
    link.expect_closed()


def test_http_1_0_is_answered_and_closed(relay):
    link = relay.link()
    link.write(b"GET /derp/probe HTTP/1.0\r\n\r\n")
    assert link.read_response().status == 200
    link.expect_closed()


# Captive portal detection

@pytest.mark.parametrize("on_http", [False, True], ids=["https", "http"])
def test_generate_204(relay, on_http):
    response = relay.get("/generate_204", on_http=on_http)
    assert response.status == 204
    assert response.get("Cache-Control") == NO_CACHE
    assert "X-Tailscale-Response" not in response
    assert_no_browser_headers(response)


@pytest.mark.parametrize("challenge", ["a", "azAZ09.-_:", "x" * 64, "ts_127.0.0.1"])
@pytest.mark.parametrize("on_http", [False, True], ids=["https", "http"])
def test_challenge_is_answered(relay, challenge, on_http):
    response = relay.get("/generate_204", [("X-Tailscale-Challenge", challenge)], on_http=on_http)
    assert response.status == 204
    assert response.get("X-Tailscale-Response") == "response " + challenge


@pytest.mark.parametrize("challenge", ["x" * 65, "a b", "a/b", "<x>", "a%20b", "\xe4", "a,b", ""])
@pytest.mark.parametrize("on_http", [False, True], ids=["https", "http"])
def test_odd_challenge_is_not_answered(relay, challenge, on_http):
    response = relay.get("/generate_204", [("X-Tailscale-Challenge", challenge)], on_http=on_http)
    assert response.status == 204
    assert "X-Tailscale-Response" not in response


# Pages

def test_robots(relay):
    response = relay.get("/robots.txt")
    assert response.status == 200
    assert response.text == "User-agent: *\nDisallow: /\n"
    assert response.get("Content-Type").startswith("text/plain")
    assert_browser_headers(response)


@pytest.mark.parametrize("path", ["/", "/index.html", "/derp/", "/derp/other", "/a/b/c?d=e", "/favicon.ico",
                                  "/%00", "/debug", "/robots.txt/x"])
def test_every_unknown_path_is_the_landing_page(relay, path):
    response = relay.get(path)
    if path == "/debug" and response.status in (301, 307):
        assert response.get("Location") == "/debug/"
        return
    assert response.status == 200
    assert response.get("Content-Type") == "text/html; charset=utf-8"
    assert "DERP" in response.text and "</html>" in response.text
    assert_browser_headers(response)


def test_landing_page_by_head_has_no_body(relay):
    link = relay.link()
    response = link.request("HEAD", "/")
    assert response.status == 200
    assert int(response.get("Content-Length", "1")) > 0
    assert link.request("GET", "/derp/probe").status == 200


def test_landing_page_needs_nothing_from_elsewhere(relay):
    text = relay.get("/").text
    assert not re.search(r"""<(script|img|link|iframe)[^>]+(src|href)\s*=\s*["']?(https?:)?//""", text)
    assert "@import" not in text


def test_home_blank(start):
    response = start("ip", "--home=blank").get("/")
    assert response.status == 200
    assert response.body == b""
    assert_browser_headers(response)


def test_home_redirect(start):
    relay = start("ip", "--home", "https://example.com/derp?x=1")
    for path in ("/", "/whatever"):
        response = relay.get(path)
        assert response.status == 302
        assert response.get("Location") == "https://example.com/derp?x=1"
        assert_browser_headers(response)
    assert relay.get("/derp/probe").status == 200


def test_without_derp_the_relay_is_a_404(silent_relay):
    for headers in ([], [("Connection", "Upgrade"), ("Upgrade", "DERP")]):
        response = silent_relay.get("/derp", headers)
        assert response.status == 404
        assert response.text.strip() == "derp server disabled"
        assert_no_browser_headers(response)


def test_without_derp_the_pages_are_there(silent_relay):
    assert silent_relay.get("/").status == 200
    assert silent_relay.get("/generate_204").status == 204
    assert silent_relay.get("/robots.txt").status == 200


# The HTTP port

@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_http_port_redirects_and_keeps_the_host(relay, method):
    link = relay.http_link()
    response = link.request(method, "/a/b?c=d", host="derp.example.com")
    assert response.status == 302
    expected = r"https://derp\.example\.com(:%d)?/a/b\?c=d" % relay.port
    assert re.fullmatch(expected, response.get("Location"))
    assert link.request("GET", "/generate_204").status == 204


def test_http_port_keeps_the_port_that_was_asked(relay):
    response = relay.http_link().request("GET", "/x", host="derp.example.com:8080")
    assert response.status == 302
    assert response.get("Location") == "https://derp.example.com:8080/x"


@ours
def test_http_port_leaves_out_its_own_default_port(relay):
    """An https URL that points to port 80 leads nowhere."""
    response = relay.http_link().request("GET", "/x", host="derp.example.com:80")
    assert response.status == 302
    assert re.fullmatch(r"https://derp\.example\.com(:%d)?/x" % relay.port, response.get("Location"))


@pytest.mark.parametrize("host", ["[::1]", "[::1]:8080"])
def test_http_port_redirect_for_an_ipv6_host(relay, host):
    response = relay.http_link().request("GET", "/x", host=host)
    assert response.status == 302
    assert re.fullmatch(r"https://\[::1\](:\d+)?/x", response.get("Location"))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_http_port_refuses_other_methods(relay, method):
    assert relay.get("/", method=method, on_http=True).status == 400


@pytest.mark.parametrize("path", ["/derp", "/derp/probe", "/robots.txt", "/"])
def test_http_port_serves_nothing_but_the_redirect(relay, path):
    assert relay.get(path, [("Connection", "Upgrade"), ("Upgrade", "DERP")], on_http=True).status == 302


def test_redirect_does_not_split_the_answer(relay):
    """What a stranger puts into the request line cannot become a header of ours."""
    link = relay.http_link()
    link.write(b"GET /%0d%0aSet-Cookie:%20a HTTP/1.1\r\nHost: derp.example.com\r\n\r\n")
    response = link.read_response()
    assert response.status in (302, 400)
    assert "Set-Cookie" not in response


def test_debug_pages_are_on_the_http_port_too(relay):
    assert relay.get("/debug/varz", on_http=True).status == 200


def test_http_port_off(start):
    relay = start("ip", "--http-port", "-1")
    with pytest.raises(ConnectionRefusedError):
        Link(relay.http_address)


# Debug pages

def test_debug_index(relay):
    response = relay.get("/debug/")
    assert response.status == 200
    assert "/debug/varz" in response.text
    assert_browser_headers(response)


@pytest.mark.parametrize("path", ["/debug/nope", "/debug/varz/x", "/debug/varzz"])
def test_unknown_debug_page_is_a_404(relay, path):
    assert relay.get(path).status == 404


def test_debug_check(relay):
    response = relay.get("/debug/check")
    assert response.status == 200
    assert response.body


def test_debug_vars_is_json(relay):
    response = relay.get("/debug/vars")
    assert response.status == 200
    assert response.get("Content-Type").startswith("application/json")
    values = json.loads(response.body)
    assert isinstance(values["derp"], dict)


DEBUG_PAGES = ["/debug/", "/debug/varz", "/debug/vars", "/debug/check", "/debug/nope"]


@pytest.mark.parametrize("path", DEBUG_PAGES)
@pytest.mark.parametrize("on_http", [False, True], ids=["https", "http"])
def test_forwarded_requests_see_no_debug_pages(relay, path, on_http):
    response = relay.get(path, [("X-Forwarded-For", "127.0.0.1")], on_http=on_http)
    assert response.status == 403
    assert response.text.strip() == "debug access denied"
    assert_no_browser_headers(response)


def test_forwarded_requests_see_everything_else(relay):
    assert relay.get("/", [("X-Forwarded-For", "192.0.2.1")]).status == 200
    assert relay.get("/derp/probe", [("X-Forwarded-For", "192.0.2.1")]).status == 200


@pytest.fixture(scope="module")
def relay_with_debug_key(keeper, tmp_path_factory):
    path = tmp_path_factory.mktemp("debugkey") / "key"
    path.write_text("open sesame\n".replace(" ", "-"))
    return keeper("ip", env={"TS_DEBUG_KEY_PATH": str(path)})


FORWARDED = [("X-Forwarded-For", "192.0.2.1")]


def test_debug_key_opens_for_get(relay_with_debug_key):
    relay = relay_with_debug_key
    assert relay.get("/debug/varz?debugkey=open-sesame", FORWARDED).status == 200
    assert relay.get("/debug/varz?x=y&debugkey=open-sesame", FORWARDED).status == 200


@pytest.mark.parametrize("query", ["", "?debugkey=", "?debugkey=open", "?debugkey=open-sesame2", "?key=open-sesame",
                                   "?xdebugkey=open-sesame"])
def test_wrong_debug_key_does_not_open(relay_with_debug_key, query):
    assert relay_with_debug_key.get("/debug/varz" + query, FORWARDED).status == 403


def test_debug_key_opens_for_get_only(relay_with_debug_key):
    response = relay_with_debug_key.get("/debug/varz?debugkey=open-sesame", FORWARDED, method="POST")
    assert response.status == 403


def test_without_a_key_file_no_key_opens(relay):
    assert relay.get("/debug/varz?debugkey=", FORWARDED).status == 403


# Who is asking: addresses that are not loopback exist only in a network namespace.

STRANGER = "198.51.100.7"
INSIDE = ["unshare", "-n", "sh", "-c",
          f"ip link set lo up && ip addr add {STRANGER}/32 dev lo && ip addr add 100.100.1.1/32 dev lo"
          " && ip addr add 100.128.0.1/32 dev lo && ip -6 addr add fd7a:115c:a1e0::7/128 dev lo nodad"
          " && ip -6 addr add 2001:db8::7/128 dev lo nodad && exec \"$@\"", "sh"]


def ask_inside(relay, address, path="/debug/varz"):
    """The status for a request that comes from `address`, which the relay's namespace has."""
    host = f"[{address}]" if ":" in address else address
    command = ["nsenter", "-t", str(relay.pid), "-n", "curl", "-gsk", "-o", "/dev/null", "--noproxy", "*",
               "-w", "%{http_code}", f"https://{host}:{relay.port}{path}"]
    return int(subprocess.run(command, capture_output=True, text=True, timeout=20).stdout)


@pytest.fixture(scope="module")
def namespace_is_possible():
    if subprocess.run(INSIDE + ["true"], capture_output=True).returncode != 0:
        pytest.skip("no network namespaces here")


@pytest.mark.parametrize("env, admitted, refused", [
    ({}, ["127.0.0.1", "100.100.1.1", "fd7a:115c:a1e0::7", "::1"], [STRANGER, "100.128.0.1", "2001:db8::7"]),
    ({"TS_ALLOW_DEBUG_IP": STRANGER}, [STRANGER], ["100.128.0.1"]),
    ({"TS_DEBUG_TRUSTED_CIDRS": "198.51.100.0/24,2001:db8::/32"}, [STRANGER, "2001:db8::7"], ["100.128.0.1"]),
], ids=["default", "TS_ALLOW_DEBUG_IP", "TS_DEBUG_TRUSTED_CIDRS"])
def test_debug_pages_by_address(start, namespace_is_possible, env, admitted, refused):
    relay = start("ip", host="", wrapper=INSIDE, env=env)
    assert {a: ask_inside(relay, a) for a in admitted} == {a: 200 for a in admitted}
    assert {a: ask_inside(relay, a) for a in refused} == {a: 403 for a in refused}
    assert {a: ask_inside(relay, a, "/") for a in refused} == {a: 200 for a in refused}


# Metrics

@ours
def test_varz_is_strict_prometheus_text(relay):
    relay.join().fence()
    samples = varz.parse(relay.varz_text(), strict=True)
    assert len(samples) > 50


def test_varz_has_every_name_that_dashboards_use(relay):
    samples = relay.varz()
    names = {name for name, _ in samples.labels.values()}
    missing = [n for n in GAUGES + COUNTERS if n not in names]
    missing += [n for n in HISTOGRAMS if not {n + s for s in ("_bucket", "_sum", "_count")} <= names]
    assert missing == []


@ours
def test_varz_types(relay):
    types = relay.varz().types
    assert {n: types.get(n) for n in GAUGES} == {n: "gauge" for n in GAUGES}
    assert {n: types.get(n) for n in COUNTERS} == {n: "counter" for n in COUNTERS}
    assert {n: types.get(n) for n in HISTOGRAMS} == {n: "histogram" for n in HISTOGRAMS}


def test_varz_has_every_label_that_dashboards_use(relay):
    """The packet counters exist from the start: rates of a counter that appears late are wrong."""
    samples = relay.varz()
    have = {(name, tuple(sorted(labels.items()))) for name, labels in samples.labels.values()}
    assert [entry for entry in LABELLED if entry not in have] == []


def test_varz_counts_what_is_not_used_as_zero(start):
    samples = start().varz()
    for name in ("derp_websocket_accepts", "derp_watchers", "derp_packets_forwarded_in", "derp_packets_forwarded_out",
                 "derp_multiforwarder_created", "derp_multiforwarder_deleted", "bootstrap_dns_requests"):
        assert samples[name] == 0, name


def test_varz_headers(relay):
    response = relay.get("/debug/varz")
    assert response.get("Content-Type").startswith("text/plain")


def test_varz_tells_uptime_and_version(relay):
    samples = relay.varz()
    assert abs(samples["process_start_unix_time"] - time.time()) < 3600
    assert 0 <= samples["uptime_sec"] < 3600
    assert [v for (n, l), v in zip(samples.labels.values(), samples.values())
            if n == "version" and l["binary"] == "derper"] == [1]


def test_descriptor_gauge_tells_the_truth(relay):
    told = relay.varz()["derp_current_file_descriptors"]
    assert abs(told - relay.descriptors()) <= 3


def test_upgrades_are_counted(start):
    relay = start()
    for _ in range(3):
        relay.join()
    relay.join(headers=[("Ideal-Node", "900b")])
    samples = relay.varz()
    assert samples["derp_accepts"] == 4
    assert samples["derp_current_connections"] == 4
    assert samples["derp_current_notideal_connections"] == 1
    assert samples["derp_clients_local"] == samples["derp_clients_total"] == 4
    relay.close_links()
    relay.wait_varz(lambda s: s["derp_current_connections"] == s["derp_current_notideal_connections"] == 0,
                    "the clients to be gone")


# Requests that come in odd pieces, and what is no request

def test_pipelined_requests_are_answered_in_order(relay):
    link = relay.link()
    paths = ["/robots.txt", "/derp/probe", "/generate_204", "/debug/nope", "/"]
    link.write(b"".join(link.request_bytes("GET", path) for path in paths))
    assert [link.read_response().status for _ in paths] == [200, 200, 204, 404, 200]


def test_many_pipelined_requests(relay):
    link = relay.link()
    count = 100
    writer = threading.Thread(target=link.write, args=(link.request_bytes("GET", "/derp/probe") * count,))
    writer.start()
    writer.join()
    assert [link.read_response().status for _ in range(count)] == [200] * count


def test_upgrade_behind_another_request(relay):
    peer = relay.peer()
    peer.write(peer.request_bytes("GET", "/derp/probe") + peer.upgrade_request())
    assert peer.read_response().status == 200
    assert_upgraded(peer)


@pytest.mark.parametrize("on_http", [False, True], ids=["https", "http"])
def test_request_byte_by_byte(relay, on_http):
    link = relay.http_link() if on_http else relay.link()
    link.write_slowly(link.request_bytes("GET", "/generate_204", [("X-Tailscale-Challenge", "slow")]))
    response = link.read_response()
    assert response.status == 204
    assert response.get("X-Tailscale-Response") == "response slow"


@pytest.mark.parametrize("size", [100, 70000])
def test_request_body_is_never_taken_for_a_request(relay, size):
    """The body is skipped, or it is the end of the connection."""
    link = relay.link()
    inner = link.request_bytes("GET", "/robots.txt")
    head = b"POST /derp/probe HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % size
    link.write(head + inner + b"x" * (size - len(inner)) + link.request_bytes("GET", "/generate_204"))
    assert link.read_response().status == 405
    try:
        assert link.read_response().status == 204
    except Closed:
        assert link.received == b""


BAD_REQUESTS = {
    "garbage": b"\x00\x01\x02\x03\r\n\r\n",
    "no version": b"GET /\r\n\r\n",
    "no target": b"GET HTTP/1.1\r\n\r\n",
    "no colon": b"GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n",
    "space in a name": b"GET / HTTP/1.1\r\nHost: x\r\na b: c\r\n\r\n",
    "no Host": b"GET / HTTP/1.1\r\nAccept: */*\r\n\r\n",
    "bad length": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: ten\r\n\r\n",
    "two lengths": b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
    "NUL in a value": b"GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n",
}


@pytest.mark.parametrize("fault", BAD_REQUESTS)
@pytest.mark.parametrize("on_http", [False, True], ids=["https", "http"])
def test_bad_request_is_refused_and_closed(relay, fault, on_http):
    link = relay.http_link() if on_http else relay.link()
    link.write(BAD_REQUESTS[fault])
    response = link.read_response()
    assert response.status == 400
    assert response.get("Connection") == "close"
    link.expect_closed()


def send_endlessly(link, start, piece, limit=4 << 20):
    """Sends pieces of a header until there is an answer."""
    link.write(start)
    for _ in range(limit // len(piece)):
        try:
            link.write(piece)
            link.received += link.read_some(0)
            return
        except Quiet:
            continue
        except OSError:
            return


@pytest.mark.parametrize("piece", [b"X-Filler: " + b"x" * 2000 + b"\r\n", b"X" * 2000], ids=["lines", "one line"])
@pytest.mark.parametrize("on_http", [False, True], ids=["https", "http"])
def test_header_too_large_is_431_and_closed(relay, on_http, piece):
    link = relay.http_link() if on_http else relay.link()
    send_endlessly(link, b"GET / HTTP/1.1\r\nHost: x\r\nX-First: ", piece)
    assert link.read_response().status == 431
    link.read_to_end(5)


def test_header_of_a_few_kilobytes_is_fine(relay):
    headers = [(f"X-{i}", "y" * 100) for i in range(30)]
    assert relay.get("/derp/probe", headers).status == 200


# Time limits. The relay allows 30 s from connecting to the end of the request.

REQUEST_LIMIT = 30.0
TOLERANCE = 6.0


def watch_for_end(link, results, name, drip=b"", pause=1.0):
    """Notes after how many seconds the relay ended the connection."""
    begin = time.monotonic()
    while time.monotonic() - begin < REQUEST_LIMIT + 2 * TOLERANCE:
        try:
            if drip:
                link.write(drip)
            link.received += link.read_some(pause if drip else REQUEST_LIMIT + 2 * TOLERANCE)
        except Quiet:
            continue
        except (Closed, OSError):
            break
    results[name] = time.monotonic() - begin


def answered(link):
    assert link.request("GET", "/generate_204").status == 204
    return link


@slow_case
def test_slow_requests_are_cut_after_their_limit(start):
    relay = start()
    results = {}
    cases = {
        "silent after TLS": (relay.link(), b"", b""),
        "half a request line": (relay.link(), b"GET /de", b""),
        "header without end": (relay.link(), b"GET / HTTP/1.1\r\nHost: x\r\n", b""),
        "one byte a second": (relay.link(), b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x"),
        "silent behind an answer": (answered(relay.link()), b"", b""),
        "silent behind an answer on the HTTP port": (answered(relay.http_link()), b"", b""),
        "silent on the HTTP port": (relay.http_link(), b"", b""),
        "one byte a second on the HTTP port": (relay.http_link(), b"GET / HTTP/1.1\r\nHost: x\r\nX: ", b"x"),
    }
    threads = []
    for name, (link, first, drip) in cases.items():
        if first:
            link.write(first)
        threads.append(threading.Thread(target=watch_for_end, args=(link, results, name, drip)))
        threads[-1].start()
    for thread in threads:
        thread.join()
    late = {n: s for n, s in results.items() if abs(s - REQUEST_LIMIT) > TOLERANCE}
    assert late == {} and len(results) == len(cases)
    assert relay.get("/derp/probe").status == 200
