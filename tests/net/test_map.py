# SPDX-License-Identifier: BSD-3-Clause
"""The relay as an operator puts it into a network: its DERP map goes to Headscale as printed, and what clients say."""
import json
import os

import pytest

from tailnet import transfer
from tailnet.flow import PYTHON
from tailnet.tailnet import DOMAIN, MIDDLE_ADDRESS
from tailnet.waiting import wait_until

REGION = "900"
CODE = "derper"
MAP_PORT = 8888
FILE_MEBIBYTES = 100


class MapServer:
    """The operator's web server, which Headscale gets the map from."""

    def __init__(self, network):
        self.network = network
        self.folder = network.subfolder("www")
        self.url = f"http://{MIDDLE_ADDRESS}:{MAP_PORT}/derp.json"
        self.running = None

    def start(self):
        self.running = self.network.middle.start(
            [PYTHON, "-u", "-m", "http.server", "--directory", self.folder, MAP_PORT],
            os.path.join(self.network.headscale.folder, "map-server.log"))
        self.running.wait_ready(lambda: "Serving" in self.running.log(), "the map's server")

    def serve(self, derp_map):
        os.makedirs(self.folder, exist_ok=True)
        path = os.path.join(self.folder, "derp.json")
        with open(path + ".new", "w", encoding="ascii") as file:
            json.dump(derp_map, file)
        os.replace(path + ".new", path)
        if self.running:
            return
        self.start()
        headscale = self.network.headscale
        headscale.stop()
        headscale.configure(map_url=self.url)
        headscale.start()


# For as long as the network, as Headscale goes on asking it.
@pytest.fixture(name="map_server", scope="session")
def fixture_map_server(network):
    return MapServer(network)


def give_map(network, map_server, form):
    """As the relay has printed it. Returns it."""
    document, text = network.relay.announced()
    if form == "yaml":
        network.headscale.set_map(text)
    else:
        map_server.serve(document["derpMap"])
    return document["derpMap"]


def node_of(derp_map):
    return derp_map["Regions"][REGION]["Nodes"][0]


def check_ping(a, b):
    a.wait_reaches(b)
    said = a.ping(b.address)
    assert f"via DERP({CODE})" in said, said


def check_status(a, b, hostname):
    def at_home():
        status = a.status()
        return status["Self"]["Relay"] == CODE and a.peer(b.name)["Relay"] == CODE

    wait_until(at_home, f"{a.name} to be at home at the relay")
    assert not a.peer(b.name)["CurAddr"]
    # When the relay's name changes before the map does, that is remembered of the old name.
    health = [line for line in a.status()["Health"] or []
              if "encrypted connection" not in line or f'"{hostname}"' in line]
    assert not health, health


def check_netcheck(a, over, measured, what):
    report = a.netcheck()
    assert report["UDP"] == (over == "UDP"), report
    assert report["PreferredDERP"] == int(REGION), report
    latency_ms = report["RegionLatency"][REGION] / 1e6
    assert 0 < latency_ms < 1000, report
    measured(f"tailscale netcheck over {over}, {what}: {latency_ms:.1f} ms")


def check_debug_derp(a, known_by, over):
    """What it may complain about is true: one region only, and no STUN where there is none. By name, the relay has both
    families; as an IPv4 address it has one, and the word that says so is taken for the name of a host."""
    report = a.debug_derp(REGION)
    expected = {"Errors": ['@ "none:443" over IPv6'] if known_by == "pin" else [],
                "Warnings": ["only a single DERP region"] + (["STUN response"] if over == "HTTPS" else [])}
    for kind, words in expected.items():
        said = [line for line in report[kind] or [] if not any(word in line for word in words)]
        assert not said, report
    assert any("Successfully established a DERP connection" in line for line in report["Info"]), report
    assert known_by == "pin" or any("working IPv4 and IPv6" in line for line in report["Info"]), report


# The last one leaves the network with a map that fits the relay as other tests start it.
@pytest.mark.parametrize("known_by,form,over", [("pin", "yaml", "HTTPS"), ("domain", "yaml", "UDP"),
                                                ("domain", "json", "HTTPS"), ("pin", "json", "UDP")])
def test_printed_map_is_all_that_headscale_needs(network, binary, map_server, known_by, form, over, tmp_path, measured):
    a, b = network.nodes.values()
    arguments = ["--stun=false"] if over == "HTTPS" else []
    if known_by == "domain":
        network.authority.issue(DOMAIN, network.relay.folder)
        arguments.append("-a=:443")
    elif form == "yaml":
        arguments += ["--certdir", str(tmp_path)]  # the relay makes the certificate
    network.start_relay(binary, arguments, hostname=DOMAIN if known_by == "domain" else None)
    network.middle.sysctl("net.ipv4.icmp_echo_ignore_all", int(over == "HTTPS"))
    printed = node_of(give_map(network, map_server, form))
    assert bool(printed.get("CertName")) == (known_by == "pin"), printed
    for node in (a, b):
        wait_until(lambda: node_of(node.derp_map()) == printed, f"the map at {node.name}")
    check_status(a, b, printed["HostName"])
    check_ping(a, b)
    check_netcheck(a, over, measured, f"{known_by}, map as {form}")
    check_debug_derp(a, known_by, over)


def test_a_large_file_arrives_unchanged(network, binary, measured):
    a, b = network.nodes.values()
    sent = transfer.make_file(os.path.join(a.folder, "sent"), FILE_MEBIBYTES)
    speeds = {}
    for name, program in (("this relay", binary), ("Tailscale's", network.programs["derper"])):
        network.start_relay(program)
        a.wait_reaches(b)
        arrived, speeds[name] = transfer.fetch(network, b, a, sent)
        assert transfer.digest(arrived) == transfer.digest(sent)
    measured(f"{FILE_MEBIBYTES} MiB through the tailnet: "
             + ", ".join(f"{name} {speed:.1f} MB/s" for name, speed in speeds.items()))
