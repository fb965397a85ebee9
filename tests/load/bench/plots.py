# SPDX-License-Identifier: BSD-3-Clause
"""The page's plots, from its results: file name, what it shows, and the SVG."""
import statistics

from . import svg
from .cells import largest
from .statistic import values

CPU_TITLE = "Thousand frames per CPU-second of the relay"
LATENCY_TITLE = "p99 latency over the offered rate, 1200 B, 16 pairs"
MEMORY_TITLE = "Memory per idle client"


def summary(found):
    return statistics.median(found), min(found), max(found)


def bars_of(results, cells, keys):
    """A group for each cell and figure that anything was measured of."""
    groups = []
    for cell in cells:
        for key, label in keys:
            found = {name: values(results.of(cell, name), key) for name in results.programs()}
            if any(found.values()):
                groups.append((label or cell.name, {name: summary(v) for name, v in found.items() if v}))
    return groups


def cpu(results):
    cells = [c for c in results.group("relay") if "cpu" in c.figures]
    groups = bars_of(results, cells, [("cpu", None)])
    return groups and svg.bars(CPU_TITLE, "kframes/CPU-s: more is better", results.programs(), groups)


def memory(results):
    cell = largest(results.group("memory"))
    groups = cell and bars_of(results, [cell], [("rss", "the relay's own (RSS)"), ("slab", "kernel slab, both ends")])
    return groups and svg.bars(f"{MEMORY_TITLE}: {cell.name}", "KiB a client: less is better", results.programs(),
                               groups)


def swept_latency(results, cell, name):
    """p99 of the doublings that held, over the rounds; the halvings behind them differ from round to round."""
    doublings = {cell.start_rate << n for n in range(10)}
    found = {}
    for result in results.of(cell, name):
        for step in result.get("steps", []):
            if step["held"] and step["p99"] and step["rate"] in doublings:
                found.setdefault(step["rate"], []).append(step["p99"])
    return [(rate / 1000, *summary(p99)) for rate, p99 in sorted(found.items())]


def latency(results):
    series = []
    for cell in results.group("sweep"):
        burst = cell.arguments[cell.arguments.index("--burst") + 1]
        if "1200 B, 16 pairs" not in cell.name:
            continue
        for index, name in enumerate(results.programs()):
            points = swept_latency(results, cell, name)
            if points:
                load = "single" if burst == "1" else f"bursts of {burst}"
                series.append((f"{name}, {load}", index, burst != "1", points))
    return series and svg.lines(LATENCY_TITLE, "offered rate, thousand frames a second",
                                "p99 latency, µs, where loss is below 0.1 %", series)


def every(results):
    """(file name, title, SVG) of the plots that the results are enough for."""
    made = [("cpu.svg", CPU_TITLE, cpu(results)), ("latency.svg", LATENCY_TITLE, latency(results)),
            ("memory.svg", MEMORY_TITLE, memory(results))]
    return [plot for plot in made if plot[2]]
