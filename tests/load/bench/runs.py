# SPDX-License-Identifier: BSD-3-Clause
"""One run of the generator against one relay, and the sweep for the highest rate that a relay sustains."""
import json
import subprocess
import time

from . import machine
from .relay import Relay, RelayFailed

RUN_PATIENCE_S = 400
# Programs beside the relay on its core, as a share of the time: above this a run does not count. The kernel counts
# this by sampling, so much less cannot be told from nothing.
DISTURBED_SHARE = 0.10
LOSS_MAX = 0.001
SUSTAINED_SHARE = 0.99
SWEEP_STEPS = 4  # halvings between the last rate that held and the first that did not
SWEEP_S = ["--seconds", "1.5", "--warmup", "0.5"]
# Reasons that lie in the machine, not in the relay: such a run may be made again.
LATE = "late generator"
DISTURBED = "other programs took"


class Bench:
    """Binaries, cores and folders of one comparison. Keeps every line that the generator printed."""

    def __init__(self, binaries, generator, folder, relay_core, generator_core, retries, out):
        self.binaries = binaries
        self.generator = generator
        self.folder = folder
        self.relay_core = relay_core
        self.generator_core = generator_core
        self.retries = retries
        self.out = out
        self.commands = []

    def run(self, kind, cell, arguments):
        """The first of a few runs that the machine did not spoil, or the last one."""
        for _ in range(self.retries + 1):
            result = self.run_once(kind, cell, arguments)
            if not spoilt(result):
                break
        return result

    def run_once(self, kind, cell, arguments):
        """A dictionary as the generator printed it, or one that says why there is none."""
        try:
            with Relay(kind, self.binaries[kind], f"{self.folder}/{kind}", self.relay_core) as relay:
                result = self.generate(relay, cell, arguments)
        except RelayFailed as error:
            result = {"valid": False, "invalid": [str(error)]}
        result.update(kind=kind, cell=cell)
        self.out.write(json.dumps(result) + "\n")
        self.out.flush()
        return result

    def generate(self, relay, cell, arguments):
        port = relay.stun_port if arguments[0] == "stun" else relay.port
        command = ["taskset", "-c", str(self.generator_core), self.generator, *arguments, "--target",
                   f"127.0.0.1:{port}", "--pid", str(relay.process.pid)]
        self.commands.append((relay.kind, cell, relay.shown(), " ".join(command)))
        before = machine.core_busy_s(self.relay_core) - machine.process_cpu_s(relay.process.pid)
        start = time.monotonic()
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  timeout=RUN_PATIENCE_S)
            result = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
            return {"valid": False, "invalid": [f"the generator gave no result: {error}"]}
        foreign = machine.core_busy_s(self.relay_core) - machine.process_cpu_s(relay.process.pid) - before
        result["foreign_share"] = round(foreign / (time.monotonic() - start), 4)
        if arguments[0] != "idle":  # memory does not depend on who else runs
            note_disturbance(result)
        return result


def note_disturbance(result):
    if result["foreign_share"] > DISTURBED_SHARE:
        result["valid"] = False
        result["invalid"].append(f"{DISTURBED} {100 * result['foreign_share']:.0f} % of the relay's core")


def spoilt(result):
    return not result["valid"] and all(r.startswith((LATE, DISTURBED)) for r in result["invalid"])


def sustained(result):
    return (result.get("loss", 1) < LOSS_MAX
            and result.get("delivered_per_s", 0) >= SUSTAINED_SHARE * result.get("rate", 0))


def sweep(bench, kind, cell, most):
    """Doubles the rate until it does not hold, then halves the gap. `highest` is the last rate that held in a valid
    run; `limit` is "loss" when the relay ended the search, else what did: perhaps the generator was the limit."""
    good, bad, limit, rate, steps = 0, None, f"nothing above {most} was tried", cell.start_rate, 0
    while rate <= most and steps <= SWEEP_STEPS:
        result = bench.run(kind, cell.name, [*cell.arguments, "--rate", str(rate), *SWEEP_S])
        if result["valid"] and sustained(result):
            good = rate
        else:
            bad, limit = rate, "loss" if result["valid"] else result["invalid"][0]
        steps += bad is not None
        rate = rate * 2 if bad is None else (good + bad) // 2
    return {"valid": good > 0, "invalid": [] if good else [limit], "highest": good, "limit": limit}
