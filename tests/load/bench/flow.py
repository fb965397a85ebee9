# SPDX-License-Identifier: BSD-3-Clause
"""A TCP flow between two real tailscaled through a relay. The command that builds their networks is a part of the
tests; it prints one line of JSON with mbit_per_s, retransmits and rtt_ms. It is left out where it cannot run."""
import json
import os
import subprocess

from . import builds
from .runs import failed

COMMAND = os.path.join(builds.ROOT, "tests", "net", "flow")
PATIENCE_S = 300


def why_not():
    """A sentence, or None when the command can run."""
    if not os.access(COMMAND, os.X_OK):
        return "tests/net/flow is not there"
    return None if os.geteuid() == 0 else "network namespaces need root"


def run(bench, program):
    command = [COMMAND, "--json", "--relay", *bench.programs[program].command]
    bench.commands.setdefault("TCP through two tailscaled", " ".join(command))
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
        if done.returncode != 0:
            return failed(f"the flow ended with {done.returncode}: {done.stderr[-200:]}")
        result = json.loads(done.stdout.splitlines()[-1])
    except (OSError, subprocess.TimeoutExpired, ValueError, IndexError) as error:
        return failed(f"the flow gave no result: {error}")
    return dict({"valid": True, "invalid": []}, **result)
