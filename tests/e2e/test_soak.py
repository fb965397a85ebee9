# SPDX-License-Identifier: BSD-3-Clause
"""A long run of clients that come, send, vanish and return: at its end the relay is as after the first cycle.

SOAK_SECONDS sets how long (default 60).
"""
import json
import os
import subprocess
import sys
import time

from derper import OURS, SANITIZED, nobody_is_left, workers
from peer import KEEP_ALIVE, Quiet, chain_of
from waiting import wait_until

SECONDS = int(os.environ.get("SOAK_SECONDS", "60"))
CLIENTS, PROCESSES = 300, 3
# Between one moment and the next, an allocator may hold this much more or less.
RSS_TOLERANCE_KIB = 6 << 10
WARM_UP_SECONDS = 10
SETTLE_SECONDS = 30
# Clients that come and go as clients do are no news.
LOG_CHARS = 100000

# Gauges that follow the clients; what counts time or memory itself is compared apart.
OBJECTS = [
    "derp_current_connections", "derp_current_home_connections", "derp_current_notideal_connections",
    "derp_clients_total", "derp_clients_local", "derp_clients_remote", "derp_watchers",
    "derp_current_dup_client_keys", "derp_current_dup_client_conns",
]


def run_crowds(relay, seconds, seed):
    command = [sys.executable, os.path.join(os.path.dirname(__file__), "soak_clients.py"), relay.address[0],
               str(relay.port), str(CLIENTS // PROCESSES), str(seconds)]
    crowds = [subprocess.Popen(command + [str(seed + i)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
              for i in range(PROCESSES)]
    results = []
    for crowd in crowds:
        output, fault = crowd.communicate(timeout=seconds + 120)
        assert crowd.returncode == 0, fault
        results.append(json.loads(output))
    return {name: sum(r[name] for r in results) for name in results[0]}


def settle(relay):
    """Waits until nobody is there, and returns what the relay then holds."""
    samples = relay.wait_varz(nobody_is_left, "all clients to be gone", SETTLE_SECONDS)
    chain = len(chain_of(relay.peer().tls))
    relay.close_links()
    return {"descriptors": relay.descriptors(), "chain": chain, "objects": {n: samples[n] for n in OBJECTS}}


def is_back(relay, before):
    now = settle(relay)
    return now["descriptors"] <= before["descriptors"] + 1 and now["objects"] == before["objects"]


def assert_memory_is_steady(relay, sizes):
    """The allocator finds its level after some time; a leak goes on at the same pace."""
    print(f"soak: RSS {sizes} KiB")
    if OURS and not SANITIZED:
        assert sizes[-1] - sizes[0] < RSS_TOLERANCE_KIB
        assert sizes[-1] - sizes[1] < RSS_TOLERANCE_KIB / 3


def run_halves(relay, seconds):
    """Two equal runs; returns what was done and the memory before, between and behind them."""
    sizes, done = [relay.settled_rss_kib()], []
    for half in range(2):
        done.append(run_crowds(relay, seconds // 2, seed=1000 * (half + 1)))
        settle(relay)
        sizes.append(relay.settled_rss_kib())
    return {name: done[0][name] + done[1][name] for name in done[0]}, sizes


class QuietClient:
    """Says nothing all the while, and is sent a KeepAlive every 60 to 65 seconds."""

    def __init__(self, relay):
        self.peer = relay.join()
        self.since = time.monotonic()

    def check(self):
        kept_alive = 0
        try:
            while True:
                assert self.peer.read_frame(0) == (KEEP_ALIVE, b"")
                kept_alive += 1
        except Quiet:
            pass
        elapsed = time.monotonic() - self.since
        print(f"soak: {kept_alive} keep-alives in {elapsed:.0f} s")
        assert int(elapsed / 66) <= kept_alive <= int(elapsed / 60)
        self.peer.fence()


def test_soak(start):
    quiet = QuietClient(start())
    relay = start("ip", *workers(2))
    run_crowds(relay, 0, seed=1)
    before = settle(relay)
    run_crowds(relay, min(WARM_UP_SECONDS, SECONDS), seed=100)
    settle(relay)
    done, sizes = run_halves(relay, SECONDS)
    print(f"\nsoak: {done}")
    wait_until(lambda: is_back(relay, before), f"the state after the first cycle, {before}", SETTLE_SECONDS, 0.5)
    assert settle(relay)["chain"] == before["chain"] == 2
    assert set(before["objects"].values()) == {0}
    assert_memory_is_steady(relay, sizes)
    assert done["received"] > done["sent"] / 4
    if OURS:
        assert len(relay.log()) < LOG_CHARS
    quiet.check()
