# SPDX-License-Identifier: BSD-3-Clause
"""TCP between two real tailscaled through the relay. Needs root; pytest.

DERPER_BIN   the relay (default: build/derper/derper below the project's root)"""
import os
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from tailnet import flow, programs  # noqa: E402 (the path comes first)
from tailnet.namespace import PREFIX, namespace_of  # noqa: E402
from tailnet.tailnet import Link, Tailnet  # noqa: E402

BINARY = os.environ.get("DERPER_BIN") or os.path.join(programs.ROOT, "build/derper/derper")
SLOW = Link(10, delay_ms=20, buffer_ms=50)

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
    pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="tailscaled needs /dev/net/tun"),
]


@pytest.fixture(name="tailnet", scope="module")
def fixture_tailnet():
    with Tailnet({"a": None, "b": SLOW}) as tailnet:
        tailnet.start_relay(BINARY, ["--workers=1"])
        tailnet.join()
        a, b = tailnet.nodes.values()
        a.wait_reaches(b)
        namespaces = [namespace_of(n.pid) for n in (tailnet.middle, a.namespace, b.namespace)]
        yield tailnet
    assert not [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(f"{PREFIX}-{os.getpid()}-")]
    assert not [pid for pid in filter(str.isdigit, os.listdir("/proc")) if namespace_of(pid) in namespaces]


def test_flow_fills_a_slow_link(tailnet):
    a, b = tailnet.nodes.values()
    result = flow.measure(tailnet, a, b, flows=1, seconds=4)
    assert SLOW.mbit_per_s * 0.7 < result["mbit_per_s"] < SLOW.mbit_per_s, result


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
