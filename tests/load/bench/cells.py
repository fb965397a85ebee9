# SPDX-License-Identifier: BSD-3-Clause
"""What is measured. A cell is one setting, and one or more figures of its runs."""
from dataclasses import dataclass, field
from typing import List, Optional

from .relay import HANDSHAKES

PAYLOADS = (64, 1200, 16384)
PAIRS = (1, 16, 64, 1000)
SINGLE, BURST = 1, 8
PLAIN = "ours without TLS"
FEW_PAIRS = "ours with 16 pairs"
ECHO = "bare echo"
PASS = "bare passing of bytes"
LOOP = "handshakes and boxes in one process"
GROUPS = ("relay", "sweep", "latency", "unpinned", "memory", "login", "storm", "stun", "flow")
QUICK, DEFAULT, FULL = range(3)  # sets of cells, each with those before it


@dataclass
class Baseline:
    """One more program in a cell's rounds, that ours is compared with in this cell alone."""

    label: str
    program: str
    arguments: List[str]


@dataclass
class Cell:
    name: str
    group: str
    arguments: List[str]  # of the generator
    figures: List[str]  # keys of FIGURES
    set: int = DEFAULT
    runner: str = "load"  # or sweep, storm, flow
    baselines: List[Baseline] = field(default_factory=list)
    start_rate: int = 0  # of a sweep
    pinned: bool = True
    rounds: Optional[int] = None  # at most, where the default is more


def largest(cells):
    """The one with the most clients, or the last; None of none."""
    def clients(cell):
        return int(cell.arguments[cell.arguments.index("--clients") + 1]) if "--clients" in cell.arguments else 0
    return max(reversed(cells), key=clients, default=None)


def load_name(payload, pairs, burst):
    size = f"{payload // 1024} KB" if payload % 1024 == 0 else f"{payload} B"
    load = "single" if burst == 1 else f"bursts of {burst}"
    return f"{size}, {pairs:,} {'pair' if pairs == 1 else 'pairs'}, {load}"


def relay_name(payload, pairs, burst, rate):
    return f"{load_name(payload, pairs, burst)}, {rate / 1000:g} k/s"


def relay_arguments(payload, pairs, burst, rate):
    return ["relay", "--payload", str(payload), "--pairs", str(pairs), "--burst", str(burst), "--rate", str(rate)]


def relay_cell(payload, pairs, burst, rate, figures=("cpu", "p50", "p99"), group="relay", **rest):
    return Cell(relay_name(payload, pairs, burst, rate), group, relay_arguments(payload, pairs, burst, rate),
                list(figures), **rest)


def usual_rate(payload, pairs, burst):
    """One that a Go relay carries on one core."""
    if payload > 10000:
        return 10000
    return 60000 if burst == BURST and pairs > 1 else 20000


def pass_baseline(payload, pairs, burst, rate):
    return Baseline(PASS, "pass", [*relay_arguments(payload, pairs, burst, rate), "--bare"])


def goal_cells():
    """The rows of the goals' table."""
    yield relay_cell(1200, 16, SINGLE, 20000, set=QUICK,
                     baselines=[Baseline(PLAIN, "plain", relay_arguments(1200, 16, SINGLE, 20000)),
                                pass_baseline(1200, 16, SINGLE, 20000)])
    yield relay_cell(1200, 16, BURST, 60000, set=QUICK, baselines=[pass_baseline(1200, 16, BURST, 60000)])
    yield relay_cell(1200, 16, BURST, 80000)
    yield relay_cell(1200, 1, BURST, 200000, ("loss", "cpu", "p99"), set=QUICK)
    yield relay_cell(1200, 1000, SINGLE, 60000,
                     baselines=[Baseline(FEW_PAIRS, "ours", relay_arguments(1200, 16, SINGLE, 60000))])


def cross_cells():
    """Every payload, number of pairs and kind of load."""
    default = {(64, 16), (16384, 16), (1200, 1), (1200, 64)}
    for payload in PAYLOADS:
        for pairs in PAIRS:
            for burst in (SINGLE, BURST):
                rate = usual_rate(payload, pairs, burst)
                of_default = (payload, pairs) in default or (payload, pairs, burst) == (1200, 1000, BURST)
                yield relay_cell(payload, pairs, burst, rate, set=DEFAULT if of_default else FULL)


def relay_cells():
    known = set()
    for cell in (*goal_cells(), *cross_cells()):
        if cell.name not in known:
            known.add(cell.name)
            yield cell


def sweep_cell(payload, pairs, burst, **rest):
    arguments = ["relay", "--payload", str(payload), "--pairs", str(pairs), "--burst", str(burst)]
    return Cell(f"{load_name(payload, pairs, burst)}, highest rate", "sweep", arguments, ["highest"], runner="sweep",
                start_rate=20000, rounds=3, **rest)


def sweep_cells():
    for burst in (SINGLE, BURST):
        yield sweep_cell(1200, 16, burst)
        for payload, pairs in ((64, 16), (1200, 1), (1200, 64)):
            yield sweep_cell(payload, pairs, burst, set=FULL)


def latency_cell(burst, rate, told):
    cell = relay_cell(1200, 16, burst, rate, ("p50", "p99", "p99.9"), "latency")
    cell.name = f"{load_name(1200, 16, burst)}, {told}"
    return cell


def unpinned_cells():
    for burst, rate in ((SINGLE, 20000), (BURST, 60000)):
        cell = relay_cell(1200, 16, burst, rate, group="unpinned", pinned=False)
        cell.name += ", unpinned"
        yield cell


def memory_cell(clients, hold):
    return Cell(f"{clients:,} idle clients after traffic, {hold:g} s later", "memory",
                ["idle", "--clients", str(clients), "--hold", f"{hold:g}"],
                ["rss", "slab", "unreclaimable", "socket", "empty"], set=QUICK, rounds=3)


def login_cell(logins):
    return Cell(f"{logins:,} logins, TLS 1.3 and DERP", "login", ["login", "--logins", str(logins)], ["logins"],
                set=QUICK, baselines=[Baseline(LOOP, HANDSHAKES, [str(logins)])])


def storm_cell(clients, logins):
    return Cell(f"{clients:,} clients back after a restart", "storm",
                ["storm", "--clients", str(clients), "--logins", str(logins)],
                ["back", "back_cpu", "back_ratio"], set=QUICK, runner="storm", rounds=3)


def stun_cells(requests):
    for name, arguments, which in (("64 in flight", ["--requests", str(requests)], QUICK),
                                   ("20 k/s", ["--requests", str(requests // 5), "--rate", "20000", "--window", "1"],
                                    DEFAULT)):
        arguments = ["stun", *arguments]
        yield Cell(f"STUN, {name}", "stun", arguments, ["answers"], set=which,
                   baselines=[Baseline(ECHO, "echo", [*arguments, "--echo"])])


def flow_cells():
    for link, arguments in (("a cable", []), ("50 Mbit/s, 10 ms each way", ["--link", "50,10"])):
        yield Cell(f"TCP between two tailscaled, receiver behind {link}", "flow", [*arguments, "--flows", "1"],
                   ["mbit", "retransmits", "rtt_p50", "rtt_p99", "flow_cpu"], runner="flow", pinned=False, rounds=3)


def every(options):
    """In the order of measuring."""
    logins, requests = (500, 100000) if options.quick else (2000, 300000)
    return [*relay_cells(), *sweep_cells(), latency_cell(SINGLE, 1000, "idle (1 k/s)"), *unpinned_cells(),
            memory_cell(options.clients, options.hold),
            login_cell(logins),
            storm_cell(options.storm_clients, logins), *stun_cells(requests),
            *flow_cells()]


def choose(options):
    """The cells of the set that was asked for, or those whose group or part of whose name is in `only`."""
    cells = every(options)
    if options.only:
        return [c for c in cells if any(word == c.group or (word not in GROUPS and word in c.name)
                                        for word in options.only) and (c.set <= DEFAULT or options.full)]
    most = QUICK if options.quick else FULL if options.full else DEFAULT
    return [c for c in cells if c.set <= most]
