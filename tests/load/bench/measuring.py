# SPDX-License-Identifier: BSD-3-Clause
"""Rounds of a cell: each program once, one after the other, then all of them again."""
import sys

from . import flow, runs, storm
from .cells import BURST, SINGLE, latency_cell
from .figures import FIGURES
from .statistic import number
from .table import THEIRS


def warmth(cell, options):
    return ["--seconds", str(options.seconds)] if cell.arguments[:1] == ["relay"] else []


def highest_before(results, cell, label):
    return max((r["highest"] for r in results.of(cell, label) if r["valid"]), default=0)


def one_run(bench, options, results, cell, label, program, arguments):
    if cell.runner == "sweep":
        return runs.sweep(bench, program, cell, options.most, highest_before(results, cell, label))
    if cell.runner == "storm":
        return storm.run(bench, program, cell)
    if cell.runner == "flow":
        return flow.run(bench, program, cell)
    return bench.run(program, cell, arguments + warmth(cell, options))


def entrants(bench, cell):
    """Label, program and the generator's arguments of all that run in a cell. Not every program does all: a yardstick
    is no relay, and what is not there is left out."""
    yield from ((name, name, cell.arguments) for name, p in bench.programs.items() if not p.yardstick and not p.plain)
    yield from ((b.label, b.program, b.arguments) for b in cell.baselines if b.program in bench.programs)


def told(result, cell):
    if not result["valid"]:
        return result["invalid"][0]
    return ", ".join(f"{FIGURES[key].label} {number(FIGURES[key].of(result))}" for key in cell.figures)


def rounds_of(cell, options):
    return options.rounds if options.full or cell.rounds is None else min(options.rounds, cell.rounds)


def measure(bench, options, results, cell):
    results.keep({"cell": cell})
    start = results.runs[-1]["start"]
    for number_of_round in range(rounds_of(cell, options)):
        for label, program, arguments in entrants(bench, cell):
            result = one_run(bench, options, results, cell, label, program, arguments)
            print(f"{cell.name}: round {number_of_round + 1}, {label}: {told(result, cell)}", file=sys.stderr)
            results.keep({"result": dict(result, cell=cell.name, label=label, round=f"{start} {number_of_round}")})


def capacity(results, burst):
    """What theirs sustains by the sweep, or None."""
    for cell in results.group("sweep"):
        highest = [r["highest"] for r in results.of(cell, THEIRS) if r["valid"]]
        if highest and cell.arguments[1:] == ["--payload", "1200", "--pairs", "16", "--burst", str(burst)]:
            return sorted(highest)[len(highest) // 2]
    return None


def measure_all(bench, options, results, chosen):
    """Latency under load comes last: its rate is known once the sweep has found what theirs sustains."""
    for cell in chosen:
        measure(bench, options, results, cell)
    for burst in (SINGLE, BURST):
        rate = capacity(results, burst)
        if rate:
            measure(bench, options, results, latency_cell(burst, rate * 8 // 10, "80 % of what theirs sustains"))
