# SPDX-License-Identifier: BSD-3-Clause
"""What TCP flows between two nodes get, and what that costs the relay."""
import json
import os
import subprocess

from . import traffic
from .program import CommandFailed
from .relay import drops

PORT = 5201
SENT = "derp_bytes_sent"
WARM_UP_S = 2  # slow start
PYTHON = "/usr/bin/python3"


class NotRelayed(Exception):
    pass


def counters(relay):
    samples = relay.varz()
    if SENT not in samples:
        raise CommandFailed("the relay's metrics do not " + (f"say {SENT}" if samples else "answer"))
    return samples


def measure(tailnet, sender, receiver, flows, seconds, warm_up_s=WARM_UP_S):
    """One run. Raises when what arrived has not come through the relay."""
    receiving = receiver.namespace.start([PYTHON, traffic.__file__, "receive", PORT],
                                         os.path.join(receiver.folder, "traffic.log"), stdin=subprocess.PIPE)
    try:
        receiving.wait_ready(lambda: "ready" in receiving.log(), "the receiver of the flow")
        before, cpu_before_s = counters(tailnet.relay), tailnet.relay.running.cpu_s()
        said = sender.namespace.run(PYTHON, traffic.__file__, "send", receiver.address, str(PORT), str(flows),
                                    str(warm_up_s), str(seconds), tailnet.congestion_control)
        cpu_s, after = tailnet.relay.running.cpu_s() - cpu_before_s, counters(tailnet.relay)
    finally:
        receiving.stop()
    result = {"from": sender.name, "to": receiver.name, "flows": flows, **json.loads(said.splitlines()[-1])}
    relayed = after[SENT] - before[SENT]
    if relayed < result["bytes"]:
        raise NotRelayed(f"{result['bytes']} bytes arrived, but the relay has sent {relayed:.0f} only")
    result["relay_cpu_s_per_gb"] = round(1e9 * cpu_s / relayed, 3)
    result["relay_drops"] = drops(before, after)
    return result
