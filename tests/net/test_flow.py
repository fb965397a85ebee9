# SPDX-License-Identifier: BSD-3-Clause
"""TCP between two real tailscaled through the relay, one of them behind a slow link."""
import pytest

from stalls import despite_stalls
from tailnet import flow
from tailnet.tailnet import Link, Tailnet

SLOW = Link(10, delay_ms=20, buffer_ms=50)


@pytest.fixture(name="tailnet", scope="module")
def fixture_tailnet(binary, leaves_nothing):
    with Tailnet({"a": None, "b": SLOW}) as tailnet:
        tailnet.start_relay(binary, ["--workers=1"])
        tailnet.join()
        a, b = tailnet.nodes.values()
        a.wait_reaches(b)
        leaves_nothing(tailnet)
        yield tailnet


@despite_stalls
def test_flow_fills_a_slow_link(tailnet):
    a, b = tailnet.nodes.values()
    result = flow.measure(tailnet, a, b, flows=1, seconds=4)
    assert SLOW.mbit_per_s * 0.7 < result["mbit_per_s"] < SLOW.mbit_per_s, result


@despite_stalls
def test_queue_stays_short_on_a_slow_link(tailnet):
    """Without delay control it is 0.8 to 1.1 s long."""
    a, b = tailnet.nodes.values()
    result = flow.measure(tailnet, a, b, flows=4, seconds=4, warm_up_s=5)
    assert result["rtt_p50_ms"] < 350, result
    assert result["relay_drops"].keys() <= {"queue_codel/other"}, result
    assert result["mbit_per_s"] > SLOW.mbit_per_s * 0.7, result


def test_peer_is_reached_through_the_relay_alone(tailnet):
    a, b = tailnet.nodes.values()
    status = a.peer("b")
    assert status["Relay"] == f"r{tailnet.relay.region}" and not status["CurAddr"], status
    assert b.status()["Self"]["Relay"] == f"r{tailnet.relay.region}"
