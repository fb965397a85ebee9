# SPDX-License-Identifier: BSD-3-Clause
import os

import pytest

import certs
from derper import BINARY, OURS, Keeper
from slow import SlowRun


def pytest_configure(config):
    if not os.access(BINARY, os.X_OK):
        raise pytest.UsageError(f"{BINARY} is not a program: build it, or name one in DERPER_BIN")


def pytest_collection_modifyitems(items):
    skip = pytest.mark.skip(reason="the original is known to differ")
    for item in items:
        if not OURS and item.get_closest_marker("ours"):
            item.add_marker(skip)
    items.sort(key=lambda item: item.get_closest_marker("slow_case") is not None)


def is_waiting(item):
    return item.get_closest_marker("slow_case") and not item.get_closest_marker("skip")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session):
    if session.config.option.collectonly or not hasattr(session, "items"):  # of pytest-xdist, the one that hands out
        return
    folders = session.config._tmp_path_factory
    session.slow_runs = {
        item.nodeid: SlowRun(item.function.slow_case, folders.mktemp(item.name))
        for item in session.items if is_waiting(item)
    }


@pytest.fixture(scope="session")
def slow_runs(request):
    return request.session.slow_runs


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item):
    outcome = yield
    report = outcome.get_result()
    if not report.failed:
        return
    for value in getattr(item, "funcargs", {}).values():
        if isinstance(value, Keeper):
            report.sections += [("log of " + command, log) for command, log in value.logs()]


@pytest.fixture
def start(tmp_path):
    """start("ip", "--flag", …) runs a relay for this test; see Keeper."""
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.finish()


@pytest.fixture(scope="module")
def keeper(tmp_path_factory):
    """Relays that the tests of one file share."""
    shared = Keeper(tmp_path_factory.mktemp("shared"))
    yield shared
    shared.finish()


@pytest.fixture(scope="session")
def authority():
    return certs.Authority()
