# SPDX-License-Identifier: BSD-3-Clause
"""The relay's certificate is renewed while real clients are connected: nobody notices, and who comes afterwards gets
in. The other kinds of certificate are those of test_map.py and test_guide.py."""
import hashlib
import os
import re
import shutil
import ssl

import pytest

from tailnet.acme import Pebble
from tailnet.tailnet import DOMAIN, MIDDLE_ADDRESS
from tailnet.waiting import wait_until

LIFE_S = 8


@pytest.fixture(name="back", scope="module", autouse=True)
def fixture_back(network, binary):
    """Leaves the network as it was."""
    yield
    network.start_relay(binary)
    network.headscale.set_relays([network.relay])
    network.wait_connected()


@pytest.fixture(name="pebble", scope="module")
def fixture_pebble(network):
    """Clients trust it, and know so from the moment they start."""
    pebble = Pebble(network.middle, network.subfolder("pebble"), LIFE_S).start()
    for node in network.nodes.values():
        node.stop()
    with open(network.authority.certificate, "ab") as file:
        file.write(pebble.root_pem())
    for node in network.nodes.values():
        node.start()
    yield pebble
    pebble.stop()


def give_map(network, text):
    """Returns when all clients have it, and are at the relay by it."""
    network.headscale.set_map(text)
    known = re.findall('(?:hostname|certname): "(.*)"', text)

    def has(node):
        entry = node.derp_map()["Regions"][str(network.relay.region)]["Nodes"][0]
        return [entry[word] for word in ("HostName", "CertName") if word in entry] == known

    for node in network.nodes.values():
        wait_until(lambda: has(node), f"the map at {node.name}")
    a, b = network.nodes.values()
    a.wait_reaches(b)
    network.wait_connected()


def check_all_come_back(network):
    """With new connections."""
    before = network.relay.varz()["derp_accepts"]
    for node in network.nodes.values():
        node.say("debug", "break-derp-conns")
    wait_until(lambda: network.relay.varz()["derp_accepts"] >= before + len(network.nodes), "all to connect anew")
    a, b = network.nodes.values()
    a.wait_reaches(b)


def pin_of(path):
    with open(path, encoding="ascii") as file:
        text = file.read()
    return "sha256-raw:" + hashlib.sha256(ssl.PEM_cert_to_DER_cert(text[text.index("-----BEGIN"):])).hexdigest()


def test_pin_changes(network, binary, tmp_path):
    """By hand, together with the map."""
    relay = network.relay
    path = str(tmp_path / MIDDLE_ADDRESS)
    for end in (".crt", ".key"):  # of less than 90 days: the relay prepares another certificate
        shutil.copy(os.path.join(relay.folder, MIDDLE_ADDRESS + end), path + end)
    network.start_relay(binary, ["--certdir", str(tmp_path)])
    network.wait_connected()
    a, b = network.nodes.values()
    a.wait_reaches(b)
    printed = relay.announced()[1]
    now, following = pin_of(path + ".crt"), pin_of(path + ".next.crt")
    assert now in printed and following in relay.running.log()
    accepts = relay.varz()["derp_accepts"]
    os.rename(path + ".next.crt", path + ".crt")
    wait_until(lambda: f'derper_certificate_pin{{pin="{following}",serves="now"}}' in relay.varz(),
               "the next pin to serve")
    a.wait_reaches(b)
    assert relay.varz()["derp_accepts"] == accepts
    give_map(network, printed.replace(now, following))
    check_all_come_back(network)


@pytest.mark.parametrize("hostname", [DOMAIN, MIDDLE_ADDRESS])
def test_fetched_certificate_is_renewed(network, pebble, binary, hostname, tmp_path):
    arguments = ["-a=:443", "--certmode=letsencrypt", f"--acme-directory={pebble.directory}",
                 f"--acme-ca={pebble.ca_file}", f"--certdir={tmp_path}"]
    if hostname == MIDDLE_ADDRESS:
        arguments.append("--acme-ip-certs")
    network.start_relay(binary, arguments, hostname=hostname)
    relay = network.relay
    printed = relay.announced()[1]
    assert "certname" not in printed
    give_map(network, printed)

    def fetched():
        return relay.running.log().count(f"the certificate for {hostname} has come")

    accepts, before = relay.varz()["derp_accepts"], fetched()
    wait_until(lambda: fetched() > before, "a renewal")
    a, b = network.nodes.values()
    a.wait_reaches(b)
    assert relay.varz()["derp_accepts"] == accepts
    check_all_come_back(network)
