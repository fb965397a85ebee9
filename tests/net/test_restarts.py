# SPDX-License-Identifier: BSD-3-Clause
"""Each part of a closed network is restarted while two nodes talk: how long they hear nothing, and that nobody is
refused."""
import contextlib
import json
import os
import subprocess
import time

import pytest

from stalls import despite_stalls
from tailnet import traffic
from tailnet.flow import PORT, PYTHON
from tailnet.waiting import wait_until

RECHECK_S = 1
OUTAGE_S = 3  # of what the relay asks: long enough for rechecks
UNNOTICED_S = 1
BACK_IN_S = 5


@pytest.fixture(name="arguments", scope="module")
def fixture_arguments(network, agent, binary):
    """The relay asks both tailscaled and Headscale."""
    arguments = ["--verify-clients", f"--socket={agent.socket}", "--verify-client-url-fail-open=false",
                 f"--verify-client-url={network.headscale.url}/verify", f"--recheck={RECHECK_S}s"]
    network.start_relay(binary, arguments)
    wait_all_in(network)
    return arguments


def wait_all_in(network):
    wait_until(lambda: network.relay.varz().get("derp_current_home_connections") == len(network.nodes) + 1,
               "all members to be in")


@contextlib.contextmanager
def watching(a, b):
    """Yields a dictionary that has, in the end, how long a heard nothing from b."""
    address = b.address
    a.wait_reaches(b)
    echo = b.namespace.start([PYTHON, traffic.__file__, "receive", PORT], os.path.join(b.folder, "echo.log"),
                             stdin=subprocess.PIPE)
    heard = {}
    try:
        echo.wait_ready(lambda: "ready" in echo.log(), "the echo")
        watch = a.namespace.start([PYTHON, traffic.__file__, "watch", address, PORT],
                                  os.path.join(a.folder, "watch.log"), stdin=subprocess.PIPE)
        watch.wait_ready(lambda: "ready" in watch.log(), "the watch")
        yield heard
        time.sleep(UNNOTICED_S)
        watch.process.communicate()
        heard.update(json.loads(watch.log().splitlines()[-1]))
        assert not a.peer(b.name)["CurAddr"]
    finally:
        echo.stop()


def check_nobody_was_refused(relay):
    samples = relay.varz()
    bad = {name: samples[name] for name in ('derper_admission_verdicts{verdict="refused"}',
                                            'derper_admission_verdicts{verdict="unanswered"}',
                                            'derper_client_ends{reason="access_withdrawn"}',
                                            'derper_client_ends{reason="not_admitted"}')}
    assert not any(bad.values()), bad


@pytest.mark.parametrize("part", ["tailscaled", "Headscale"])
@despite_stalls
def test_who_is_in_stays_while_what_is_asked_restarts(network, agent, arguments, part, measured):
    a, b = network.nodes.values()
    asked = {"tailscaled": agent, "Headscale": network.headscale}[part]
    with watching(a, b) as heard:
        before = network.relay.varz()
        asked.stop()
        time.sleep(OUTAGE_S)
        a.say("debug", "break-derp-conns")  # who comes back meanwhile gets in, too
        time.sleep(RECHECK_S)
        meanwhile = network.relay.varz()
        asked.start()
        wait_all_in(network)
    assert meanwhile["derp_accepts"] > before["derp_accepts"]
    assert meanwhile["derper_admission_by_grace"] >= before["derper_admission_by_grace"] + 2
    measured(f"{part} away for {OUTAGE_S + RECHECK_S} s, and a client that comes back meanwhile: "
             f"{heard['silence_s']} s of silence")
    assert heard["silence_s"] < UNNOTICED_S, heard
    check_nobody_was_refused(network.relay)


@pytest.mark.parametrize("signal", ["SIGTERM", "SIGKILL"])
@despite_stalls
def test_traffic_is_back_soon_after_the_relay_is(network, binary, arguments, signal, measured):
    a, b = network.nodes.values()
    with watching(a, b) as heard:
        check_nobody_was_refused(network.relay)
        if signal == "SIGKILL":
            network.relay.kill()
        network.start_relay(binary, arguments)
        wait_all_in(network)
    measured(f"relay restarted after {signal}: {heard['silence_s']} s of silence")
    assert 0 < heard["silence_s"] < BACK_IN_S, heard
    check_nobody_was_refused(network.relay)
