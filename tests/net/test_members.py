# SPDX-License-Identifier: BSD-3-Clause
"""Who may use the relay: members of the networks that it is for, while they are members, and nobody else."""
import os
import re
import time

import pytest

from stalls import now
from tailnet.waiting import wait_until

RECHECK_S = 1
IN_TIME_S = RECHECK_S + 6  # the file of keys is looked at every few seconds

WITHDRAWN = 'derper_client_ends{reason="access_withdrawn"}'
REFUSED = 'derper_admission_verdicts{verdict="refused"}'


@pytest.fixture(name="stranger", scope="module")
def fixture_stranger(network):
    """A node of a network that the relay is not for, whose map has the relay all the same."""
    headscale = network.add_headscale()
    node = network.add_node("stranger").start().join(headscale.url, headscale.auth_key())
    yield node
    node.stop()


@pytest.fixture(name="machine", scope="module")
def fixture_machine(network):
    return network.add_node("leaver")


@pytest.fixture(name="leaver")
def fixture_leaver(network, machine):
    """A member that is new, and may be deleted."""
    machine.forget()
    yield machine.start().join(network.headscale.url, network.headscale.auth_key())
    machine.stop()


@pytest.fixture(name="others", scope="module")
def fixture_others(network):
    """The second network: its Headscale, two nodes, and a tailscaled on the relay's machine."""
    headscale = network.add_headscale()
    nodes = [network.add_node("c"), network.add_node("d"), network.add_agent("agent-of-others")]
    key = headscale.auth_key()
    for node in nodes:
        node.start().join(headscale.url, key)
    yield headscale, nodes
    for node in nodes:
        node.stop()


class Agents:
    def __init__(self, agents, headscales, folder):
        self.agents = agents
        self.headscale = headscales[0]
        self.arguments = ["--verify-clients", *(f"--socket={agent.socket}" for agent in agents)]

    def know(self, nodes):
        """Headscale tells of a new node a little later."""
        for node in nodes:
            wait_until(lambda: any(agent.knows(node) for agent in self.agents), f"{node.name} to be known")

    def delete(self, node):
        self.headscale.delete(node.name)


class Urls(Agents):
    def __init__(self, agents, headscales, folder):
        super().__init__(agents, headscales, folder)
        self.arguments = ["--verify-client-url-fail-open=false",
                          *(f"--verify-client-url={headscale.url}/verify" for headscale in headscales)]


class Keys:
    def __init__(self, agents, headscales, folder):
        self.path = os.path.join(folder, "keys")
        self.arguments = ["--allow-keys", self.path]
        self.nodes = []

    def know(self, nodes):
        self.nodes = list(nodes)
        with open(self.path, "w", encoding="ascii") as file:
            file.writelines(f"{node.key}  # {node.name}\n" for node in nodes)

    def delete(self, node):
        self.know([n for n in self.nodes if n is not node])


def count(network, name):
    return network.relay.varz().get(name, 0)


def at_home(network):
    return count(network, "derp_current_home_connections")


def physical_address(node):
    return re.search(r"inet ([\d.]+)", node.namespace.run("ip", "address", "show", "eth0"))[1]


def check_refused(network, stranger):
    wait_until(lambda: count(network, REFUSED) > 0, "the stranger to be refused")
    refused = set(re.findall(r"client \S+ from ([\d.]+) was refused", network.relay.running.log()))
    assert refused == {physical_address(stranger)}


@pytest.mark.parametrize("source", [Agents, Urls, Keys])
def test_members_alone_are_in_and_only_while_they_are(network, binary, agent, stranger, leaver, source, tmp_path,
                                                      measured):
    a, b = network.nodes.values()
    members = [a, b, agent, leaver]
    allowed = source([agent], [network.headscale], str(tmp_path))
    allowed.know(members)
    network.start_relay(binary, [*allowed.arguments, f"--recheck={RECHECK_S}s"])
    wait_until(lambda: at_home(network) == len(members), "all members to be in")
    a.wait_reaches(b)
    a.wait_reaches(leaver)
    check_refused(network, stranger)
    assert count(network, WITHDRAWN) == 0

    start_s = now()
    allowed.delete(leaver)
    wait_until(lambda: count(network, WITHDRAWN) == 1, "the relay to close who is no member any more")
    took_s = now() - start_s
    assert took_s < IN_TIME_S
    measured(f"closed after it was deleted, {source.__name__}: {took_s:.1f} s, of which {RECHECK_S} s --recheck")
    time.sleep(2 * RECHECK_S)
    assert at_home(network) == len(members) - 1
    assert count(network, WITHDRAWN) == 1
    a.wait_reaches(b)


@pytest.mark.parametrize("source", [Agents, Urls])
def test_one_relay_serves_two_networks_and_no_third(network, binary, agent, stranger, others, source, tmp_path):
    a, b = network.nodes.values()
    other_headscale, (c, d, other_agent) = others
    allowed = source([agent, other_agent], [network.headscale, other_headscale], str(tmp_path))
    members = [a, b, agent, c, d, other_agent]
    allowed.know(members)
    network.start_relay(binary, [*allowed.arguments, f"--recheck={RECHECK_S}s"])
    wait_until(lambda: at_home(network) == len(members), "the members of both networks to be in")
    a.wait_reaches(b)
    c.wait_reaches(d)
    check_refused(network, stranger)
    time.sleep(2 * RECHECK_S)
    assert at_home(network) == len(members)
    assert count(network, WITHDRAWN) == 0


def test_debug_pages_are_open_to_members(network, binary, agent):
    """By the address that the relay's machine has in the tailnet, and by no other."""
    a, _ = network.nodes.values()
    network.start_relay(binary, ["-a=:443", "--verify-clients", f"--socket={agent.socket}"])
    wait_until(lambda: at_home(network) == len(network.nodes) + 1, "all members to be in")
    a.wait_reaches(agent)

    def status(address):
        return a.namespace.run("curl", "-s", "-k", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10",
                               f"https://{address}/debug/varz")

    assert (status(agent.address), status(network.relay.address)) == ("200", "403")
