# SPDX-License-Identifier: BSD-3-Clause
"""The goals of the project, and how far each is reached."""
import statistics
from dataclasses import dataclass
from typing import Optional

from . import cells
from .cells import BURST, ECHO, FEW_PAIRS, LOOP, PLAIN, SINGLE
from .figures import FIGURES
from .runs import NOTHING_ABOVE
from .statistic import at_least, found, number, ratios
from .table import OURS, THEIRS, markdown

LOSS_TOLD = 0.01  # a goal's ratio holds up to this loss, and says it; beyond it a relay is in collapse


@dataclass
class Goal:
    what: str
    cell: str  # its name, or its group
    figure: str
    limit: float
    beside: Optional[str] = THEIRS  # a program or baseline; None: the figure of ours alone
    at_most: bool = False
    unit: str = ""

    def said(self):
        unit = "times" if self.beside else self.unit
        return f"{'at most' if self.at_most else 'at least'} {self.limit:g} {unit}".strip()

    def holds(self, value):
        return value <= self.limit if self.at_most else value >= self.limit


def relay(payload, pairs, burst, rate):
    return cells.relay_name(payload, pairs, burst, rate)


def highest(burst):
    return f"{cells.load_name(1200, 16, burst)}, highest rate"


MANY = relay(1200, 1000, SINGLE, 60000)
BURSTS_80 = relay(1200, 16, BURST, 80000)
GOALS = [
    Goal("Frames per CPU-second, single frames, 20 k/s", relay(1200, 16, SINGLE, 20000), "cpu", 2),
    Goal("… against the same program without TLS", relay(1200, 16, SINGLE, 20000), "cpu", 0.9, PLAIN),
    Goal("Frames per CPU-second, bursts of 8, 60 k/s", relay(1200, 16, BURST, 60000), "cpu", 4),
    Goal("Frames per CPU-second, bursts of 8, 80 k/s", BURSTS_80, "cpu", 4),
    Goal("Highest rate with less than 0.1 % loss, single frames", highest(SINGLE), "highest", 5),
    Goal("Highest rate with less than 0.1 % loss, bursts of 8", highest(BURST), "highest", 10),
    Goal("Loss of one flow, bursts of 8, 200 k/s", relay(1200, 1, BURST, 200000), "loss", 0, None, True, "%"),
    Goal("CPU per frame, 1,000 pairs against 16, single frames, 60 k/s", MANY, "cpu_us", 1.3, FEW_PAIRS, True),
    Goal("p50 latency, 1,000 pairs, single frames, 60 k/s", MANY, "p50", 50, None, True, "µs"),
    Goal("p99 latency, bursts of 8, 80 k/s", BURSTS_80, "p99", 0.1, THEIRS, True),
    Goal("Memory per idle client", "memory", "rss", 1 / 50, THEIRS, True),
    Goal("Memory per idle client", "memory", "rss", 1, None, True, "KiB"),
    Goal("Memory without clients", "memory", "empty", 16, None, True, "MiB"),
    Goal("Logins per CPU-second", "login", "logins", 1.8),
    Goal("… against their handshakes and boxes alone, in one process", "login", "logins", 0.9, LOOP),
    Goal("Back after a restart: relay's CPU, in logins of as many clients", "storm", "back_ratio", 1.1, None, True,
         "times"),
    Goal("STUN answers per CPU-second", "STUN, 64 in flight", "answers", 1),
    Goal("… against a bare echo", "STUN, 64 in flight", "answers", 0.95, ECHO),
]


def find(results, goal):
    return cells.largest([c for c in results.cells.values() if goal.cell in (c.name, c.group)])


def counts(result):
    return result["valid"] and result.get("loss", 0) <= LOSS_TOLD


def told_loss(name, ran):
    lost = [r["loss"] for r in ran if counts(r) and r.get("loss", 0) > 0.001]
    return f"; {name} lost {100 * statistics.median(lost):.2f} %" if lost else ""


def told_limit(swept):
    """Something but the relay ended the search, though perhaps the relay was not far from its end either."""
    if any(result.get("limit", "").startswith(NOTHING_ABOVE) for result in swept):
        return " or more; no higher rate was tried"
    failed = [step["relay_share"] for result in swept for step in result["steps"] if not step["held"]]
    busy = f", when the relay used {100 * statistics.median(failed):.0f} % of its core" if failed else ""
    return f" or more; the generator was the limit{busy}"


def reached(results, goal):
    """Values by rounds, and what is to be said besides."""
    cell = find(results, goal)
    if cell is None:
        return [], ""
    figure, ours = FIGURES[goal.figure], results.of(cell, OURS)
    if goal.beside is None:
        return [figure.of(r) for r in ours if r["valid"]], ""
    theirs = results.of(cell, goal.beside)
    if theirs and not any(map(found, theirs)):
        return [], "the limit of theirs was not found"
    note = told_loss("ours", ours) + told_loss(goal.beside, theirs)
    return ratios(ours, theirs, counts, figure.of), told_limit(ours) if at_least(ours) else note


def row(results, goal):
    values, note = reached(results, goal)
    if not values:
        return [goal.what, goal.said(), "not measured" + (f": {note}" if note else ""), "", "–"]
    median = statistics.median(values)
    unit = "times" if goal.beside else goal.unit
    low, high = number(min(values)), number(max(values))
    return [goal.what, goal.said(), f"{number(median)} {unit}{note}", f"{low}–{high}, {len(values)} round{'s' * (len(values) > 1)}",
            "yes" if goal.holds(median) else "not shown" if "or more" in note else "**no**"]


def render(results):
    return markdown([["what", "goal", "reached", "spread", "met"], *(row(results, goal) for goal in GOALS)])
