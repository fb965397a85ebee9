# SPDX-License-Identifier: BSD-3-Clause
"""A certificate authority for each test: Pebble, with a proxy before it that notes and spoils.

DERPER_BIN   the relay (default: build/derper/derper below the project's root); certgen lies beside it
PEBBLE_DIR   a folder with pebble and pebble-challtestsrv; otherwise they are built, by the Go in PATH or GO"""
import os
import ssl
import sys

import pytest

HERE = os.path.dirname(os.path.abspath(__file__))
for neighbour in ("net", "e2e"):
    sys.path.insert(0, os.path.join(os.path.dirname(HERE), neighbour))
sys.path.insert(0, HERE)

import certs  # noqa: E402 (the paths come first)
import pebble  # noqa: E402
import programs  # noqa: E402
from certgen import PROGRAM, Certgen  # noqa: E402
from derper import Keeper, free_port  # noqa: E402
from proxy import Proxy  # noqa: E402


def pytest_configure(config):
    if not os.access(PROGRAM, os.X_OK):
        raise pytest.UsageError(f"{PROGRAM} is not a program: build it, or name the relay beside it in DERPER_BIN")


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: (item.get_closest_marker("first") is None, item.get_closest_marker("early") is None))


@pytest.fixture(scope="session")
def binaries():
    folder = os.environ.get("PEBBLE_DIR")
    if folder:
        return {name: os.path.join(folder, name) for name in ("pebble", "pebble-challtestsrv")}
    return programs.build()


@pytest.fixture(scope="session")
def authority():
    """Of the certificates by which Pebble and the proxy are known."""
    return certs.Authority("directory authority")


@pytest.fixture(scope="session")
def names(binaries, tmp_path_factory):
    server = pebble.Names(binaries["pebble-challtestsrv"], tmp_path_factory.mktemp("names")).start()
    yield server
    server.stop()


class Ca:
    """Pebble and the proxy, and the ports on which they look for those who want a certificate."""

    def __init__(self, binary, folder, names, authority, options):
        self.names = names
        self.http_port, self.tls_port = free_port(), free_port()
        self.pebble = pebble.Pebble(binary, folder, names, authority, self.http_port, self.tls_port, **options).start()
        self.proxy = Proxy(self.pebble, free_port())

    def client(self):
        """The TLS context of a client that trusts this authority and nobody else."""
        return ssl.create_default_context(cadata=self.pebble.root_pem().decode())

    def stop(self):
        self.proxy.stop()
        self.pebble.stop()


@pytest.fixture
def make_ca(request, tmp_path, binaries, names, authority):
    """make_ca(env=…, eab=…, profiles=…): see pebble.Pebble."""
    made = []
    request.node.authorities = made

    def make(**options):
        made.append(Ca(binaries["pebble"], tmp_path / f"ca{len(made)}", names, authority, options))
        return made[-1]

    yield make
    for ca in made:
        ca.stop()


@pytest.fixture
def ca(make_ca):
    return make_ca()


@pytest.fixture
def certgen(ca, tmp_path):
    return Certgen(ca, tmp_path / "certs")


@pytest.fixture
def start(tmp_path):
    """start("ip", "--flag", …) runs a relay for this test; see Keeper."""
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.finish()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for ca in getattr(item, "authorities", []):
        report.sections += [("what was asked", ca.proxy.told()), ("log of pebble", ca.pebble.log()[-8000:])]
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Keeper):
            report.sections += [("log of " + command, log) for command, log in value.logs()]
