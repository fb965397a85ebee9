# SPDX-License-Identifier: BSD-3-Clause
"""Medians, ratios and spread, as a Markdown table. What was not measured well says so instead of a number."""
import statistics

from .runs import LOSS_MAX

KINDS = ("ours", "theirs")


def number(value):
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def spread(values):
    if len(values) == 1:
        return number(values[0])
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def lossy(result):
    return "loss" in result and "latency_us" in result and result["loss"] > LOSS_MAX


def usable(result):
    return result["valid"] and not lossy(result)


def commonest(reasons):
    return max(set(reasons), key=reasons.count)


def at_least(results):
    """A sweep that something other than the relay ended: the relay's own limit is higher."""
    return any(usable(r) and r.get("limit", "loss") != "loss" for r in results)


def side(results, figure):
    """What one relay's column says."""
    good = [r for r in results if usable(r)]
    valid = [r for r in results if r["valid"]]
    if good:
        return ("≥ " if at_least(results) else "") + spread([figure(r) for r in good])
    if valid:
        return f"loss {100 * statistics.median(r['loss'] for r in valid):.2f} %"
    reasons = [r["invalid"][0].split(":")[0] for r in results if r["invalid"]]
    return f"INVALID: {commonest(reasons)}" if reasons else "not run"


def ratio(ours, theirs, figure):
    """Of rounds in which both counted. Nothing can be said of ours when the limit of theirs was not found."""
    if at_least(theirs):
        return "–"
    pairs = [(figure(a), figure(b)) for a, b in zip(ours, theirs) if usable(a) and usable(b)]
    ratios = [a / b for a, b in pairs if b > 0]
    return ("≥ " if at_least(ours) else "") + spread(ratios) if ratios else "–"


def counted(results):
    good, loss = sum(map(usable, results)), sum(r["valid"] and lossy(r) for r in results)
    return f"{good}/{len(results)}" + (f" ({loss} lossy)" if loss else "")


def rows(cell, results):
    for name, better, figure in cell.figures:
        ours, theirs = results["ours"], results["theirs"]
        yield [cell.name, name, better, side(ours, figure), side(theirs, figure), ratio(ours, theirs, figure),
               counted(ours), counted(theirs)]


def render(measured):
    """`measured`: pairs of a cell and its results by kind."""
    lines = ["| setting | figure | better | ours: median (range) | theirs: median (range) | ours/theirs | ours counted "
             "| theirs counted |", "|---|---|---|---|---|---|---|---|"]
    for cell, results in measured:
        lines += ["| " + " | ".join(row) + " |" for row in rows(cell, results)]
    return "\n".join(lines)
