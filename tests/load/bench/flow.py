# SPDX-License-Identifier: BSD-3-Clause
"""A TCP flow between two real tailscaled through a relay. tests/net/flow builds their networks and prints one line of
JSON; of its runs the one that goes to the node behind the link counts. It is left out where it cannot run."""
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


def run(bench, program, cell):
    path, *arguments = bench.programs[program].command
    command = [COMMAND, "--json", "--relay", path, *(f"--relay-args={word}" for word in arguments), *cell.arguments]
    bench.generators.setdefault(cell.name, " ".join(command))
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S)
        if done.returncode != 0:
            return failed(f"the flow ended with {done.returncode}: {done.stderr[-200:]}")
        result = json.loads(done.stdout.splitlines()[-1])["runs"][0]
    except (OSError, subprocess.TimeoutExpired, ValueError, LookupError) as error:
        return failed(f"the flow gave no result: {error}")
    if result.get("rtt_p50_ms", 0) is None:
        return failed("no probe of the round-trip time came back")
    return dict(result, valid=True, invalid=[])
