# SPDX-License-Identifier: BSD-3-Clause
"""One run of the generator against one relay, and the sweep for the highest rate that a relay sustains."""
import json
import os
import subprocess
import time

from . import machine
from .builds import ROOT
from .relay import HANDSHAKES, Relay, RelayFailed

RUN_PATIENCE_S = 400
# Programs beside the relay on its core, as a share of the time: above this a run does not count. The kernel counts
# this by sampling, so much less cannot be told from nothing.
DISTURBED_SHARE = 0.10
LOSS_MAX = 0.001
SUSTAINED_SHARE = 0.99
SWEEP_STEPS = 4  # halvings between the last rate that held and the first that did not
NOTHING_ABOVE = "nothing above"  # begins the limit of a sweep that tried every rate it may
SWEEP_S = ["--seconds", "1.2", "--warmup", "0.4"]
# Reasons that lie in the machine, not in the relay: such a run may be made again.
LATE = "late generator"
DISTURBED = "other programs took"


def failed(reason):
    return {"valid": False, "invalid": [reason]}


class Bench:
    """Programs, cores and folders of one comparison. `keep` gets every result, as a dictionary."""

    def __init__(self, programs, generator, folder, relay_core, generator_core, retries, keep):
        self.programs = programs
        self.generator = generator
        self.folder = folder
        self.relay_core = relay_core
        self.generator_core = generator_core
        self.retries = retries
        self.keep = keep
        self.relays, self.generators = {}, {}  # the first command of each program, of each cell

    def commands(self):
        """As they are shown: without this machine's folders."""
        paths = [self.generator, *(program.command[0] for program in self.programs.values())]
        shown = [*self.relays.values(), *self.generators.values()]
        for path in sorted(paths, key=len, reverse=True):
            shown = [command.replace(path, os.path.basename(path)) for command in shown]
        return [command.replace(self.folder + os.sep, "").replace(ROOT + os.sep, "") for command in shown]

    def relay(self, program, pinned=True):
        relay = Relay(self.programs[program], f"{self.folder}/{program}", self.relay_core if pinned else None)
        self.relays.setdefault((program, pinned), relay.shown())
        return relay

    def run(self, program, cell, arguments):
        """The first of a few runs that the machine did not spoil, or the last one."""
        for _ in range(self.retries + 1):
            result = self.attempt(program, cell, arguments)
            self.keep({"attempt": dict(result, program=program, cell=cell.name)})
            if not spoilt(result):
                break
        return result

    def attempt(self, program, cell, arguments):
        if self.programs[program].flags == HANDSHAKES:
            return self.run_handshakes(program, arguments)
        try:
            with self.relay(program, cell.pinned) as relay:
                return self.generate(relay, cell, arguments)
        except RelayFailed as error:
            return failed(str(error))

    def run_handshakes(self, program, arguments):
        """In the place of a relay and its generator."""
        command = ["taskset", "-c", str(self.relay_core), *self.programs[program].command, *arguments]
        self.relays.setdefault((program, True), " ".join(command))
        return self.observe(command, machine.children_cpu_s)

    def generator_command(self, relay, arguments):
        port = relay.stun_port if arguments[0] == "stun" else relay.port
        command = ["taskset", "-c", str(self.generator_core), self.generator, *arguments, "--target",
                   f"127.0.0.1:{port}", *(["--plain"] if relay.program.plain else [])]
        # In a storm the process is not the same at the end.
        return command if arguments[0] == "storm" else [*command, "--pid", str(relay.process.pid)]

    def generate(self, relay, cell, arguments):
        command = self.generator_command(relay, arguments)
        self.generators.setdefault(cell.name, " ".join(command))
        alone = cell.pinned and arguments[0] != "idle"  # memory does not depend on who else runs
        return self.observe(command, (lambda: machine.process_cpu_s(relay.process.pid)) if alone else None)

    def observe(self, command, own_cpu_s):
        """What a command prints. It does not count when the relay's core spent much on others than `own_cpu_s` tells
        of; None: then others do not matter."""
        before, start = self.foreign_cpu_s(own_cpu_s), time.monotonic()
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                  timeout=RUN_PATIENCE_S)
            result = json.loads(done.stdout)
        except (subprocess.TimeoutExpired, json.JSONDecodeError) as error:
            return failed(f"the generator gave no result: {error}")
        if own_cpu_s:
            note_disturbance(result, (self.foreign_cpu_s(own_cpu_s) - before) / (time.monotonic() - start))
        return result

    def foreign_cpu_s(self, own_cpu_s):
        return machine.core_busy_s(self.relay_core) - own_cpu_s() if own_cpu_s else 0


def note_disturbance(result, share):
    result["foreign_share"] = round(share, 4)
    if share > DISTURBED_SHARE:
        result["valid"] = False
        result["invalid"].append(f"{DISTURBED} {100 * share:.0f} % of the relay's core")


def spoilt(result):
    return not result["valid"] and all(r.startswith((LATE, DISTURBED)) for r in result["invalid"])


def lossy(result):
    return "latency_us" in result and result.get("loss", 0) > LOSS_MAX


def sustained(result):
    return (result.get("loss", 1) < LOSS_MAX
            and result.get("delivered_per_s", 0) >= SUSTAINED_SHARE * result.get("rate", 0))


def step_of(rate, result, held):
    latency = result.get("latency_us") or {}
    share = result.get("relay_cpu_s", 0) / result.get("window_s", 1)
    return {"rate": rate, "valid": result["valid"], "held": held, "loss": result.get("loss"), "relay_share": share,
            "p50": latency.get("p50"), "p99": latency.get("p99")}


def sweep(bench, program, cell, most, known=0):
    """Doubles the rate until it does not hold, then halves the gap. `highest` is the last rate that held in a valid
    run; `limit` is "loss" when the relay ended the search, else what did: perhaps the generator was the limit.
    A rate that is `known` to hold, from an earlier round, saves the steps well below it."""
    good, bad, limit, rate, steps = 0, None, f"{NOTHING_ABOVE} {most} was tried", cell.start_rate, []
    halvings = 0
    while rate * 4 <= known:
        rate *= 2
    while rate <= most and halvings <= SWEEP_STEPS:
        result = bench.run(program, cell, [*cell.arguments, "--rate", str(rate), *SWEEP_S])
        held = result["valid"] and sustained(result)
        steps.append(step_of(rate, result, held))
        if held:
            good = rate
        else:
            bad, limit = rate, "loss" if result["valid"] else result["invalid"][0]
        halvings += bad is not None
        rate = rate * 2 if bad is None else (good + bad) // 2
    return {"valid": good > 0, "invalid": [] if good else [limit], "highest": good, "limit": limit, "steps": steps}
