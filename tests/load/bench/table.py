# SPDX-License-Identifier: BSD-3-Clause
"""The Markdown tables of every figure."""
from .figures import FIGURES
from .statistic import counted, ratio, side

OURS, THEIRS = "ours", "theirs"


def markdown(rows):
    """The first row is the head."""
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])


def compared(results, cells):
    """Every program's column, and the ratio of ours to theirs."""
    names = results.programs()
    rows = [["setting", "figure", "better", *(f"{name}: median (range)" for name in names), "ours/theirs",
             *(f"{name} counted" for name in names)]]
    for cell in cells:
        ran = {name: results.of(cell, name) for name in names}
        for key in cell.figures:
            figure = FIGURES[key]
            rows.append([cell.name, figure.label, figure.better, *(side(ran[name], key) for name in names),
                         ratio(ran[OURS], ran.get(THEIRS, []), key), *(counted(ran[name], key) for name in names)])
    return markdown(rows)


def beside(results, cells):
    """Ours and the programs that stand beside it in a cell alone. None when there is none."""
    rows = [["setting", "figure", "ours: median (range)", "beside it", "median (range)", "ours/beside it"]]
    for cell in cells:
        ours = results.of(cell, OURS)
        for other in cell.baselines:
            ran = results.of(cell, other.label)
            rows += [[cell.name, FIGURES[key].label, side(ours, key), other.label, side(ran, key),
                      ratio(ours, ran, key)] for key in cell.figures if ran]
    return markdown(rows) if len(rows) > 1 else None
