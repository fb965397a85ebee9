# SPDX-License-Identifier: BSD-3-Clause
"""Medians, ratios and spread. What was not measured well says so instead of a number."""
import statistics

from .figures import FIGURES
from .results import usable
from .runs import lossy


def number(value):
    if abs(value) >= 100 or value == 0:
        return f"{value:.0f}"
    digits = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.1 else 3
    return f"{value:.{digits}f}"


def spread(values):
    """Median (least–most)."""
    if len(values) == 1 or min(values) == max(values):
        return number(values[0])
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def values(results, key):
    figure = FIGURES[key]
    return [figure.of(r) for r in results if usable(r, figure)]


def found(result):
    """Not a sweep that something other than the relay ended: the relay's own limit is higher then."""
    return result.get("limit", "loss") == "loss"


def at_least(results):
    return any(r["valid"] and not found(r) for r in results)


def commonest(reasons):
    return max(set(reasons), key=reasons.count)


def side(results, key):
    """What one program's column says."""
    good = values(results, key)
    if good:
        return ("≥ " if at_least(results) else "") + spread(good)
    valid = [r for r in results if r["valid"]]
    if valid:
        return f"loss {100 * statistics.median(r['loss'] for r in valid):.2f} %"
    reasons = [r["invalid"][0].split(":")[0] for r in results if r["invalid"]]
    return f"INVALID: {commonest(reasons)}" if reasons else "not run"


def ratios(ours, theirs, counts, of):
    """Of rounds in which both count. Nothing can be said of ours where the limit of theirs was not found."""
    beside = {r["round"]: r for r in theirs if counts(r) and found(r)}
    pairs = [(of(r), of(beside[r["round"]])) for r in ours if counts(r) and r["round"] in beside]
    return [a / b for a, b in pairs if b > 0]


def ratio(ours, theirs, key):
    figure = FIGURES[key]
    compared = ratios(ours, theirs, lambda r: usable(r, figure), figure.of)
    return ("≥ " if at_least(ours) else "") + spread(compared) if compared else "–"


def counted(results, key):
    figure = FIGURES[key]
    good = sum(usable(r, figure) for r in results)
    loss = sum(r["valid"] and lossy(r) for r in results)
    return f"{good}/{len(results)}" + (f" ({loss} lossy)" if loss else "")
