# SPDX-License-Identifier: BSD-3-Clause
"""The README's chapter about Headscale: its commands as they are written, what it says they print, and the mistakes
that it names."""
import contextlib
import os
import re
import shutil

import pytest

from tailnet.program import CommandFailed
from tailnet.programs import ROOT
from tailnet.tailnet import DOMAIN, HEADSCALE_DOMAIN, MIDDLE_ADDRESS, Tailnet
from tailnet.waiting import wait_until

CHAPTER = "Your own relay for Headscale in five minutes"
CODE = "derper"
REGION = "900"
NOT_CONNECTED = f"could not connect to the '{CODE}' relay server"


def chapter():
    with open(os.path.join(ROOT, "README.md"), encoding="utf-8") as file:
        return re.search(rf"^## {CHAPTER}\n(.*?)^## ", file.read(), re.M | re.S)[1]


def commands(word):
    """Of the first block that has this word, each on one line."""
    blocks = re.findall(r"^```sh\n(.*?)^```", chapter(), re.M | re.S)
    return next(b for b in blocks if word in b).replace("\\\n", "").splitlines()


class Guide:
    """What its reader has: a Headscale, the relay's machine, and two clients."""

    def __init__(self, network, binary):
        self.network = network
        self.relay = network.relay
        self.headscale = network.add_headscale(MIDDLE_ADDRESS, HEADSCALE_DOMAIN)
        self.desktop, self.laptop = (network.add_node(name) for name in ("desktop", "laptop"))
        self.path = f"{network.subfolder('bin')}:{os.environ['PATH']}"
        os.mkdir(network.subfolder("bin"))
        os.symlink(os.path.abspath(binary), network.subfolder("bin/derper"))
        network.middle.run("mount", "-t", "tmpfs", "tmpfs", "/var/lib")
        self.relay.port = 8443

    def start(self, hostname, change=lambda command: command):
        """By the block for this host name, and gives Headscale the map that was printed. Returns the map."""
        self.relay.stop()
        self.relay.hostname = hostname
        *before, derper = commands(f"--hostname {hostname}")
        for command in before:
            self.network.middle.run("sh", "-c", f"cd {self.network.authority.folder} && {command}")
        self.relay.run(["sh", "-c", "exec " + change(derper)], {"PATH": self.path})
        return self.relay.announced()[1]

    def tell_headscale(self, text):
        self.headscale.stop()
        self.headscale.set_map(text)
        self.headscale.start()

    def wait_connected(self):
        self.desktop.wait_reaches(self.laptop)
        wait_until(lambda: NOT_CONNECTED not in self.desktop.say("status"), "the health check to pass")

    def wait_relay_says(self, pattern):
        wait_until(lambda: re.search(pattern, self.relay.running.log()), f"the relay to say {pattern}")

    def wait_client_says(self, text):
        wait_until(lambda: text in self.desktop.running.log(), f"the client to say {text}")


@pytest.fixture(name="guide", scope="module")
def fixture_guide(binary, leaves_nothing):
    with Tailnet({}) as network:
        guide = Guide(network, binary)
        network.authority.issue(DOMAIN, network.authority.folder)
        for name, of in (("fullchain.pem", ".crt"), ("privkey.pem", ".key")):
            shutil.copy(os.path.join(network.authority.folder, DOMAIN + of),
                        os.path.join(network.authority.folder, name))
        key = guide.headscale.auth_key()
        for node in (guide.desktop, guide.laptop):
            node.start().join(guide.headscale.url, key)
            node.stop()
        leaves_nothing(network)
        yield guide


def said_in_chapter(text):
    assert text in chapter().replace("\n", " "), f"the README does not say {text!r}"
    return text


@pytest.mark.parametrize("hostname", [DOMAIN, MIDDLE_ADDRESS])
def test_commands_do_what_the_chapter_says(guide, hostname):
    guide.tell_headscale(guide.start(hostname))
    for node in (guide.desktop, guide.laptop):
        node.stop()  # it would remember a relay that it knew by another name
        node.start()
        wait_until(lambda: node.status()["BackendState"] == "Running", f"{node.name} to be in its network")
    guide.wait_connected()
    netcheck, status, debug, ping = commands("tailscale netcheck")
    desktop = guide.desktop

    def say(command):
        return desktop.say(*command.split()[1:])

    wait_until(lambda: said_in_chapter(f"Nearest DERP: {CODE}") in say(netcheck), "the relay to be found near")
    assert said_in_chapter("UDP: true") in say(netcheck)
    wait_until(lambda: "Health check" not in say(status), "status to be without a health check")
    assert said_in_chapter("Successfully established a DERP connection") in say(debug)
    assert said_in_chapter(f"via DERP({CODE})") in say(ping)


@contextlib.contextmanager
def udp_closed(network):
    """For what comes in; a rule of our own goes before that for the machine's own addresses."""
    middle, rule = network.middle, ["pref", "5", "iif", "to-desktop", "ipproto", "17", "dport", "3478", "blackhole"]
    middle.run("ip", "rule", "add", "pref", "10", "lookup", "local")
    middle.run("ip", "rule", "del", "pref", "0")
    middle.run("ip", "rule", "add", *rule)
    try:
        yield
    finally:
        middle.run("ip", "rule", "del", *rule)


def test_mistake_udp_is_closed(guide):
    guide.wait_connected()
    with udp_closed(guide.network):
        said = guide.desktop.say("netcheck")
        assert said_in_chapter("UDP: false") in said and CODE in said, said
        guide.desktop.wait_reaches(guide.laptop)
    assert "UDP: true" in guide.desktop.say("netcheck")


def wait_not_connected(guide):
    wait_until(lambda: said_in_chapter(NOT_CONNECTED) in guide.desktop.say("status"), "the health check to fail", 60)
    assert "UDP: true" in guide.desktop.say("netcheck")
    assert guide.relay.varz()["derp_current_connections"] == 0


def test_mistake_certificate_made_anew(guide):
    """The client's own TLS refuses the relay."""
    guide.relay.stop()
    guide.network.middle.run("rm", "-r", "/var/lib/derper")
    printed = guide.start(MIDDLE_ADDRESS)
    wait_not_connected(guide)
    guide.wait_client_says(said_in_chapter("cert hash does not match expected cert hash"))
    guide.wait_relay_says("warning: TLS with .* failed: .*" + said_in_chapter("bad certificate") + ".*is its pin")
    guide.tell_headscale(printed)
    guide.wait_connected()


@pytest.mark.parametrize("mistake,says", [
    (("/verify", "/"), r"is it the right URL \(Headscale's ends in /verify\)"),
    ((HEADSCALE_DOMAIN, "headscale.example.net"), "headscale.example.net/verify cannot be reached .*is the server up"),
])
def test_mistake_headscale_cannot_be_asked(guide, mistake, says):
    guide.start(MIDDLE_ADDRESS, lambda command: command.replace(*mistake))
    wait_not_connected(guide)
    guide.wait_relay_says(f"--verify-client-url: .*{says}")
    guide.wait_relay_says("client .* was refused, as --verify-client-url had no answer")
    guide.wait_client_says(said_in_chapter("derp.Recv: EOF"))
    guide.start(MIDDLE_ADDRESS)
    guide.wait_connected()


def test_mistake_map_is_not_as_printed(guide):
    printed = guide.relay.announced()[1]
    guide.headscale.set_map(printed.replace(f"        regionid: {REGION}\n", ""))
    wait_until(lambda: said_in_chapter("Nearest DERP: [none]") in guide.desktop.say("netcheck"), "the relay to be gone")
    with pytest.raises(CommandFailed, match=said_in_chapter("initial DERPMap is empty")):
        guide.tell_headscale("Regions:" + printed.removeprefix("regions:"))
    guide.tell_headscale(printed)
    guide.wait_connected()


def test_mistake_headscale_without_tls(guide):
    headscale = guide.network.add_headscale(MIDDLE_ADDRESS)
    node = guide.network.add_node("tablet").start().join(headscale.url, headscale.auth_key())
    headscale.stop()
    headscale.start()
    wait_until(lambda: said_in_chapter("forcing port 443 dial") in node.running.log(), "the client to insist on HTTPS")
    wait_until(lambda: re.search(r"tablet .* offline", node.say("status")), "the client to be offline")
    node.stop()
