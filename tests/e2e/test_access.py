# SPDX-License-Identifier: BSD-3-Clause
"""Who may connect: --verify-clients, --verify-client-url, --allow-keys, and what becomes of those who are in."""
import contextlib
import os
import resource
import shutil
import ssl
import subprocess
import tempfile
import time

import pytest
from nacl.public import PrivateKey

import certs
from derper import BINARY, SANITIZED, environment, workers
from peer import Closed, frame, send_packet
from sources import Agent, Verify
from slow import slow_case
from stalls import now
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.ours

LIMIT = 5.0


@contextlib.contextmanager
def short_folder():
    """The names of sockets are bounded."""
    path = tempfile.mkdtemp(prefix="acc")
    yield path
    shutil.rmtree(path)


@contextlib.contextmanager
def stopped_in_the_end():
    """Yields made(source)."""
    sources = []
    yield lambda source: sources.append(source) or source
    for source in sources:
        source.stop()


@pytest.fixture
def folder():
    with short_folder() as path:
        yield path


@pytest.fixture
def made():
    with stopped_in_the_end() as made:
        yield made


@pytest.fixture
def agent(folder, made):
    return made(Agent(os.path.join(folder, "tailscaled.sock")))


@pytest.fixture
def verify(made):
    return made(Verify())


def is_let_in(relay, key, patience=LIMIT + PATIENCE):
    """Logs in; True when ServerInfo comes, False when the connection is closed without a word."""
    peer = relay.peer(key)
    peer.upgrade()
    peer.write(peer.client_info())
    try:
        kind, _ = peer.read_frame(patience)
    except Closed:
        return False
    assert kind == 3, kind
    return True


def names(*keys):
    return "".join(f"nodekey:{bytes(key.public_key).hex()}\n" for key in keys)


def reasons(relay, source):
    return {dict(labels)["reason"]: int(n)
            for labels, n in relay.varz().family("derper_admission_answers").items()
            if dict(labels)["source"] == source and n}


# tailscaled

def test_agent_lets_members_in(start, agent):
    member, stranger = PrivateKey.generate(), PrivateKey.generate()
    agent.add(member)
    relay = start("ip", "--verify-clients", "--socket", agent.path)
    assert is_let_in(relay, member)
    assert not is_let_in(relay, stranger)
    relay.wait_log(r"client nodekey:\w{64} from 127\.0\.0\.1 was refused: no tailscaled of --verify-clients knows it; "
                   "log the node in")
    assert reasons(relay, agent.path) == {"member": 1, "not_member": 1}
    samples = relay.varz()
    assert samples['derper_admission_verdicts{verdict="allowed"}'] == 1
    assert samples['derper_client_ends{reason="not_admitted"}'] == 1
    assert samples["derper_admission_pending"] == 0


AGENT_FAULTS = {
    "too_old": ((400, "invalid 'addr' parameter"), "too old"),
    "not_permitted": ((403, "access denied"), "does not permit this user"),
    "bad_status": ((500, "oops"), "HTTP status 500"),
    "bad_answer": (b"SSH-2.0-OpenSSH_9.2\r\n", "does not speak as tailscaled does"),
    "cut": (b"", "closed the connection before it answered"),
}


@pytest.mark.parametrize("reason", AGENT_FAULTS)
def test_agent_with_a_fault_refuses(start, agent, reason):
    answer, says = AGENT_FAULTS[reason]
    member = PrivateKey.generate()
    agent.add(member)
    agent.fault = lambda: answer
    relay = start("plain", "--verify-clients", "--socket", agent.path, "--verify-grace=0")
    assert not is_let_in(relay, member)
    assert reasons(relay, agent.path) == {reason: 1}
    relay.wait_log(says)
    agent.fault = None
    assert is_let_in(relay, member)
    relay.wait_log("answers again")


def test_agent_comes_and_goes(start, folder, made):
    """No socket, a stale one, logged out, starting, restarted as a new file: each is told, and heals by itself."""
    member = PrivateKey.generate()
    path = os.path.join(folder, "tailscaled.sock")
    relay = start("plain", "--verify-clients", "--socket", path, "--verify-grace=0")
    assert not is_let_in(relay, member)
    relay.wait_log("there is no tailscaled socket")
    agent = Agent(path)
    agent.add(member)
    assert is_let_in(relay, member)
    agent.stop()
    assert not is_let_in(relay, member)
    relay.wait_log("nobody listens on the tailscaled socket")
    agent = made(Agent(path))
    agent.add(member)
    assert is_let_in(relay, member)
    agent.state = "NeedsLogin"
    assert not is_let_in(relay, member)
    relay.wait_log("is connected to no network")
    assert reasons(relay, path) == {"no_socket": 1, "not_listening": 1, "not_running": 1, "member": 2}


@slow_case
def test_agent_that_hangs(start):
    """Whoever asks is refused after five seconds, whoever goes is forgotten, and the others do not notice."""
    with short_folder() as folder, stopped_in_the_end() as made:
        agent = made(Agent(os.path.join(folder, "s")))
        agent.silent()
        relay = start("plain", "--verify-clients", "--socket", agent.path, *workers(1))
        waiting, gone = relay.peer(), relay.peer()
        begin = time.monotonic()
        for peer in (waiting, gone):
            peer.upgrade()
            peer.write(peer.client_info())
        relay.wait_varz(lambda s: s["derper_admission_pending"] == 2, "both to be asked about")
        gone.close()
        relay.wait_varz(lambda s: s["derper_admission_cancelled"] == 1, "the one that went to be forgotten")
        assert relay.get("/").status == 200
        waiting.expect_closed(LIMIT + PATIENCE)
        assert time.monotonic() - begin > LIMIT - 0.1
        assert reasons(relay, agent.path) == {"timed_out": 1}
        assert relay.varz()["derp_current_connections"] == 0


def test_grace_bridges_an_outage(start, folder):
    member, other = PrivateKey.generate(), PrivateKey.generate()
    agent = Agent(os.path.join(folder, "s"))
    agent.add(member)
    relay = start("plain", "--verify-clients", "--socket", agent.path)
    assert is_let_in(relay, member)
    assert not is_let_in(relay, other)
    agent.stop()
    assert is_let_in(relay, member)
    assert not is_let_in(relay, other)
    assert relay.varz()["derper_admission_by_grace"] == 1


def test_any_of_several_agents(start, folder, made):
    first, second = (made(Agent(os.path.join(folder, name))) for name in "ab")
    of_first, of_second, stranger = (PrivateKey.generate() for _ in range(3))
    first.add(of_first)
    second.add(of_second)
    relay = start("plain", "--verify-clients", "--socket", first.path, "--socket", second.path)
    assert [is_let_in(relay, key) for key in (of_first, of_second, stranger)] == [True, True, False]


@slow_case
def test_debug_check_asks_the_agent(start):
    """Good while tailscaled is well; otherwise it says what is wrong, and so does the log at the start."""
    def check():
        answer = relay.get("/debug/check")
        return answer.status, answer.text

    with short_folder() as folder, stopped_in_the_end() as made:
        path = os.path.join(folder, "tailscaled.sock")
        relay = start("plain", "--verify-clients", "--socket", path)
        relay.wait_log("--verify-clients: there is no tailscaled socket")
        assert check()[0] == 500 and "there is no tailscaled socket" in check()[1]
        agent = made(Agent(path))
        wait_until(lambda: check() == (200, "derp.Server ConsistencyCheck okay"), "the check to be good", 20)
        relay.wait_log(r"--verify-clients: tailscaled \(.*\) is asked who may connect")
        agent.members.clear()
        wait_until(lambda: "does not know its own key" in check()[1], "the check to fail", 20)


# URLs

def test_url_lets_members_in(start, verify):
    member, stranger = PrivateKey.generate(), PrivateKey.generate()
    verify.add(member)
    relay = start("ip", "--verify-client-url", verify.url)
    assert is_let_in(relay, member)
    assert not is_let_in(relay, stranger)
    assert verify.addresses == ["127.0.0.1"] * 2
    assert reasons(relay, verify.url) == {"member": 1, "not_member": 1}


URL_FAULTS = {
    "500": ((500, ""), False),
    "200 without Allow": ((200, "{}"), False),
    "5 KiB": ((200, " " * 5120 + '{"Allow":true}'), False),
    "garbage": ((200, "<html>it works</html>"), False),
    "a body that is cut": (b'HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{"Allow":true}', False),
    "a redirect loop": (b"HTTP/1.1 307 T\r\nLocation: /verify\r\nContent-Length: 0\r\n\r\n", False),
    "a redirect of another kind": (b"HTTP/1.1 302 F\r\nLocation: /verify\r\nContent-Length: 0\r\n\r\n", False),
    "cut before the head": (b"HTTP/1.1 200", True),
}


@pytest.mark.parametrize("fault", URL_FAULTS)
@pytest.mark.parametrize("fail_open", [True, False])
def test_url_with_a_fault(start, verify, fault, fail_open):
    answer, is_silence = URL_FAULTS[fault]
    key = PrivateKey.generate()
    verify.add(key)
    verify.fault = lambda: answer
    relay = start("plain", "--verify-client-url", verify.url, f"--verify-client-url-fail-open={fail_open}")
    assert is_let_in(relay, key) == (is_silence and fail_open)


def check_url_that_hangs_or_is_gone(start, fail_open):
    key = PrivateKey.generate()
    verify = Verify()
    verify.silent()
    relay = start("plain", "--verify-client-url", verify.url, f"--verify-client-url-fail-open={fail_open}")
    assert is_let_in(relay, key) == fail_open
    verify.stop()
    assert is_let_in(relay, key) == fail_open
    assert reasons(relay, verify.url) == {"timed_out": 1, "unreachable": 1}


@slow_case
def test_url_that_hangs_or_is_gone_lets_in(start):
    check_url_that_hangs_or_is_gone(start, True)


@slow_case
def test_url_that_hangs_or_is_gone_refuses(start):
    check_url_that_hangs_or_is_gone(start, False)


def test_url_by_https(start, folder, made, authority):
    """With an authority of one's own, and only with it."""
    key = PrivateKey.generate()
    authority.install(folder, "localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(os.path.join(folder, "localhost.crt"), os.path.join(folder, "localhost.key"))
    verify = made(Verify(context))
    verify.add(key)
    ca = os.path.join(folder, "ca.pem")
    certs.write_whole(ca, certs.pem(authority.certificate))
    arguments = ["--verify-client-url", verify.url, "--verify-client-url-fail-open=false"]
    assert is_let_in(start("plain", *arguments, "--verify-client-ca", ca), key)
    relay = start("plain", *arguments)
    assert not is_let_in(relay, key)
    relay.wait_log("TLS with https://localhost.* fails .*--verify-client-ca")


def test_any_of_several_urls(start, made):
    """One relay for several tailnets: the members of each, and nobody else."""
    first, second = made(Verify()), made(Verify())
    of_first, of_second, stranger = (PrivateKey.generate() for _ in range(3))
    first.add(of_first)
    second.add(of_second)
    relay = start("plain", "--verify-client-url", first.url, "--verify-client-url", second.url)
    assert [is_let_in(relay, key) for key in (of_first, of_second, stranger)] == [True, True, False]


def test_urls_that_look_alike(start, verify):
    """What tells them apart is not shown: the metrics, which are parsed strictly, have a series of each."""
    key = PrivateKey.generate()
    verify.add(key)
    relay = start("plain", "--verify-client-url", verify.url + "?net=a", "--verify-client-url", verify.url + "?net=b")
    assert is_let_in(relay, key)
    assert reasons(relay, verify.url) or reasons(relay, verify.url + " (2)")
    sources = {dict(labels)["source"] for labels in relay.varz().family("derper_admission_queries")}
    assert sources == {verify.url, verify.url + " (2)"}


def test_every_check_must_allow(start, agent, verify):
    both, known, listed = (PrivateKey.generate() for _ in range(3))
    agent.add(both, known)
    verify.add(both, listed)
    relay = start("plain", "--verify-clients", "--socket", agent.path, "--verify-client-url", verify.url)
    assert [is_let_in(relay, key) for key in (both, known, listed)] == [True, False, False]
    assert len(verify.asked) == 2


# The list

@slow_case
def test_list_is_reloaded(start):
    first, second = PrivateKey.generate(), PrivateKey.generate()
    path = os.path.join(start.folder, "keys")
    certs.write_whole(path, b"# members\n" + names(first).encode())
    relay = start("ip", "--allow-keys", path)
    assert [is_let_in(relay, key) for key in (first, second)] == [True, False]
    certs.write_whole(path, names(first, second).encode())
    relay.wait_log("the file has changed: --allow-keys .* lists 2 keys")
    assert is_let_in(relay, second)
    certs.write_whole(path, names(second).encode())
    relay.reload()
    relay.wait_log("SIGHUP: --allow-keys .* lists 1 keys")
    assert [is_let_in(relay, key) for key in (first, second)] == [False, True]
    certs.write_whole(path, b"")
    relay.reload()
    relay.wait_log("is empty, like a file that is half-written.*the 1 keys read before hold")
    certs.write_whole(path, b"nobody@example.com\n")
    relay.reload()
    relay.wait_log('line 1 is no node key: "nobody@example.com".*the 1 keys read before hold')
    assert is_let_in(relay, second)


@pytest.mark.parametrize("recheck", ["0", "10m"])
def test_a_key_that_is_taken_out_is_closed(start, folder, recheck):
    """Within seconds, whatever --recheck says."""
    stays, goes = PrivateKey.generate(), PrivateKey.generate()
    path = os.path.join(folder, "keys")
    certs.write_whole(path, names(stays, goes).encode())
    relay = start("plain", "--allow-keys", path, "--recheck", recheck)
    first, second = relay.join(stays), relay.join(goes)
    certs.write_whole(path, names(stays).encode())
    relay.reload()
    second.expect_closed(12)
    relay.wait_log("is closed, as its access was withdrawn: it is not in the file of --allow-keys")
    first.fence()
    assert relay.varz()['derper_client_ends{reason="access_withdrawn"}'] == 1


@pytest.mark.parametrize("arguments, says", [
    (["--allow-keys", "nowhere"], "--allow-keys nowhere: cannot be opened"),
    (["--verify-client-ca", "nowhere", "--verify-client-url=https://x/"], "--verify-client-ca nowhere has no cert"),
])
def test_files_are_checked(tmp_path, arguments, says):
    for check in ([], ["--check"]):
        done = subprocess.run([BINARY, "--dev", "--stun=false", *check, *arguments], cwd=tmp_path, timeout=20, text=True,
                              capture_output=True, env=environment(None, tmp_path))
        assert done.returncode == 1 and says in done.stderr, done.stderr


# While it is asked about, and after

def test_frames_behind_client_info_wait(start, agent):
    """A client need not wait for ServerInfo before it sends."""
    eager, receiver = PrivateKey.generate(), PrivateKey.generate()
    agent.add(eager, receiver)
    relay = start("ip", "--verify-clients", "--socket", agent.path)
    to = relay.join(receiver)
    agent.delay = LIMIT - 1
    peer = relay.peer(eager)
    peer.upgrade()
    peer.write(peer.client_info() + send_packet(to.public, b"early") + frame(0x07, b"\x01"))
    peer.write(send_packet(to.public, b"later"))
    to.expect_quiet(0.2)
    agent.released.set()
    peer.read_server_info()
    to.expect_packet(peer.public, b"early")
    to.expect_packet(peer.public, b"later")
    relay.wait_varz(lambda s: s["derp_current_home_connections"] == 1, "NotePreferred to be taken")


@pytest.mark.parametrize("mode", ["plain", "ip"])
def test_much_behind_client_info_waits(start, agent, mode):
    """A member that comes back has a whole queue for its peers: nobody is closed for that, and all of it arrives."""
    eager, receiver = PrivateKey.generate(), PrivateKey.generate()
    agent.add(eager, receiver)
    relay = start(mode, "--verify-clients", "--socket", agent.path)
    to = relay.join(receiver)
    agent.delay = 0.5
    peer = relay.peer(eager)
    peer.upgrade()
    packets = [bytes([i]) * 1400 for i in range(43)]
    peer.write(peer.client_info() + b"".join(send_packet(to.public, packet) for packet in packets))
    peer.read_server_info()
    for packet in packets:
        to.expect_packet(peer.public, packet)


def test_recheck_closes_who_is_withdrawn(start, folder):
    stays, goes = PrivateKey.generate(), PrivateKey.generate()
    agent = Agent(os.path.join(folder, "s"))
    agent.add(stays, goes)
    relay = start("ip", "--verify-clients", "--socket", agent.path, "--recheck=500ms", "--verify-grace=0")
    first, second = relay.join(stays), relay.join(goes)
    wait_until(lambda: agent.asked.count(second.public) >= 3, "to be asked about again")
    agent.members.discard(second.public)
    second.expect_closed()
    agent.stop()  # an outage closes nobody, even without grace
    relay.wait_varz(lambda s: s.total("derper_admission_answers", reason="not_listening") >= 3, "rechecks in vain")
    first.fence()
    relay.wait_varz(lambda s: s['derper_client_ends{reason="access_withdrawn"}'] == 1, "the count")
    assert relay.varz()["derp_current_connections"] == 1


def test_a_dead_agent_keeps_nobody(start, folder, made):
    """One of two is down for good: whom the other one had let in, and has removed, is closed."""
    stays, goes = PrivateKey.generate(), PrivateKey.generate()
    agent = made(Agent(os.path.join(folder, "a")))
    agent.add(stays, goes)
    relay = start("plain", "--verify-clients", "--socket", agent.path, "--socket", os.path.join(folder, "gone"),
                  "--recheck=500ms")
    first, second = relay.join(stays), relay.join(goes)
    agent.members.discard(second.public)
    second.expect_closed(PATIENCE)
    relay.wait_log(r"client nodekey:\w{64} from 127\.0\.0\.1 is closed, as its access was withdrawn: no tailscaled")
    first.fence()


def test_no_recheck(start, agent):
    key = PrivateKey.generate()
    agent.add(key)
    relay = start("plain", "--verify-clients", "--socket", agent.path, "--recheck=0")
    peer = relay.join(key)
    agent.members.clear()
    time.sleep(1)
    peer.fence()
    assert agent.asked.count(peer.public) == 1


def test_relay_stops_while_it_asks(start, agent):
    agent.silent()
    relay = start("plain", "--verify-clients", "--socket", agent.path)
    for _ in range(200):
        peer = relay.peer()
        peer.upgrade()
        peer.write(peer.client_info())
    relay.wait_varz(lambda s: s["derper_admission_pending"] == 200, "all to be asked about")
    assert relay.stop() < LIMIT - 1


# A crowd

CROWD = 300 if SANITIZED else 10000
MOST_OPEN = 64  # questions to one source
SPARE_DESCRIPTORS = 500


def descriptors_for(crowd):
    """As many of the crowd as this process and the relay may have connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = crowd + SPARE_DESCRIPTORS
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(wanted, hard), hard))
    return min(crowd, hard - SPARE_DESCRIPTORS)


@pytest.mark.parametrize("kind", ["agent", "verify"])
def test_crowd_at_a_slow_source(start, request, kind):
    """All come back at once. Nobody waits longer than the limit, nobody is in unasked, few questions are open at once,
    and all get in."""
    source = request.getfixturevalue(kind)
    arguments = {"agent": lambda: ["--verify-clients", "--socket", source.path],
                 "verify": lambda: ["--verify-client-url", source.url]}[kind]()
    keys = [PrivateKey.generate() for _ in range(descriptors_for(CROWD))]
    source.add(*keys)
    source.delay = 0.04  # so the last ones' time is up, and they come again
    relay = start("plain", *arguments, "--recheck=0", *workers(2))
    waiting, rounds, longest = keys, 0, 0
    while waiting:
        rounds += 1
        assert rounds < 20
        again, peers = [], []
        for key in waiting:
            peer = relay.peer(key)
            peer.write(peer.upgrade_request())
            peers.append(peer)
        for peer in peers:
            peer.read_upgrade()
            peer.write(peer.client_info())
        last = now()
        for peer in peers:
            try:
                peer.read_frame(max(1, last + LIMIT + PATIENCE - now()))
            except Closed:
                again.append(peer.key)
                peer.close()
        longest = max(longest, now() - last)
        asked = set(source.asked)
        assert all(bytes(k.public_key) in asked for k in set(waiting) - set(again))
        waiting = again
    assert source.most_open <= MOST_OPEN + (kind == "agent")  # how it is, is asked beside
    assert longest < LIMIT + 4  # the limit of a login is twice as long
    samples = relay.varz()
    assert samples["derp_current_connections"] == len(keys)
    assert samples['derper_admission_verdicts{verdict="allowed"}'] == len(keys)
