# SPDX-License-Identifier: BSD-3-Clause
"""A tailnet that several tests share, and what they measured. Needs root.

DERPER_BIN   the relay (default: build/derper/derper below the project's root)"""
import os
import sys
import tempfile

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, *(os.path.join(os.path.dirname(HERE), neighbour) for neighbour in ("e2e", "acme"))]

from tailnet import programs  # noqa: E402 (the path comes first)
from tailnet.namespace import PREFIX, namespace_of  # noqa: E402
from tailnet.node import DEVICE  # noqa: E402
from tailnet.tailnet import Tailnet  # noqa: E402

BINARY = os.environ.get("DERPER_BIN") or os.path.join(programs.ROOT, "build/derper/derper")
MEASURED = pytest.StashKey()


def why_not():
    if os.geteuid() != 0:
        return "network namespaces need root"
    return None if os.path.exists("/dev/net/tun") else "tailscaled needs /dev/net/tun"


def pytest_configure(config):
    config.stash[MEASURED] = []


def pytest_collection_modifyitems(items):
    if why_not():
        for item in items:
            item.add_marker(pytest.mark.skip(reason=why_not()))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Tailnet):
                report.sections += value.logs()


def pytest_terminal_summary(terminalreporter, config):
    for line in config.stash[MEASURED]:
        terminalreporter.write_line(f"measured: {line}")


@pytest.fixture(scope="session")
def measured(request):
    """measured("…") is printed at the end."""
    return request.config.stash[MEASURED].append


@pytest.fixture(scope="session")
def binary():
    return BINARY


@pytest.fixture(scope="session")
def leaves_nothing():
    """leaves_nothing(tailnet) once it has started: after its end, no process and no folder of it may be there."""
    namespaces = []
    yield lambda tailnet: namespaces.extend(namespace_of(n.pid) for n in tailnet.namespaces)
    assert not [name for name in os.listdir(tempfile.gettempdir()) if name.startswith(f"{PREFIX}-{os.getpid()}-")]
    assert not [pid for pid in filter(str.isdigit, os.listdir("/proc")) if namespace_of(pid) in namespaces]


@pytest.fixture(scope="session")
def network(binary, leaves_nothing):
    """a and b, by cable, with an open relay."""
    with Tailnet({"a": None, "b": None}) as tailnet:
        tailnet.start_relay(binary)
        tailnet.join()
        leaves_nothing(tailnet)
        yield tailnet


@pytest.fixture(scope="session")
def agent(network):
    """The tailscaled of the relay's machine, a member of the network, with a device as an operator has it."""
    node = network.add_agent("agent", tun=DEVICE).start()
    return node.join(network.headscale.url, network.headscale.auth_key())
