# SPDX-License-Identifier: BSD-3-Clause
"""Plots in plain SVG: bars, and lines over logarithmic axes. White behind, so that they read on any page."""
import math
from html import escape

WIDTH, MARGIN, LABELS, RIGHT = 860, 16, 250, 150
TOP = 64
BAR, BAR_GAP, GROUP_GAP = 15, 3, 14
PLOT_HEIGHT = 330
COLOURS = ("#1f6fb4", "#e07b28", "#3a923a", "#8d5fb5", "#8c564b")
INK, GRID, QUIET = "#24292f", "#dde1e6", "#57606a"


def text(x, y, content, size=12, anchor="start", colour=INK, more=""):
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}"{more}>'
            f"{escape(content)}</text>")


def line(x1, y1, x2, y2, colour, width=1.0, more=""):
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}" '
            f'stroke-width="{width:g}"{more}/>')


def document(height, title, parts):
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" role="img" '
                      f'font-family="system-ui, sans-serif"><title>{escape(title)}</title>',
                      f'<rect width="{WIDTH}" height="{height:.0f}" fill="#ffffff"/>',
                      text(MARGIN, 24, title, 15, more=' font-weight="600"'), *parts, "</svg>", ""])


def legend(names):
    parts, x = [], MARGIN
    for name, colour in zip(names, COLOURS):
        parts += [f'<rect x="{x}" y="37" width="12" height="12" fill="{colour}"/>', text(x + 17, 47, name)]
        x += 36 + 7 * len(name)
    return parts


def short(value):
    return f"{value:.0f}" if value >= 100 or value == 0 else f"{value:.3g}"


def nice_step(most, ticks=5):
    """1, 2 or 5 times a power of ten, about `most` / `ticks`."""
    power = 10 ** math.floor(math.log10(most / ticks))
    return next(power * n for n in (1, 2, 5, 10) if power * n * ticks >= most)


def whisker(x_low, x_high, y):
    return [line(x_low, y, x_high, y, INK), line(x_low, y - 3, x_low, y + 3, INK), line(x_high, y - 3, x_high, y + 3, INK)]


def bars(title, unit, names, groups):
    """`groups`: pairs of a label and {name: (median, least, most)}. Bars lie, so that labels have room."""
    most = max(high for _, values in groups for _, _, high in values.values())
    step = nice_step(most)
    end = math.ceil(most / step) * step
    left, right = MARGIN + LABELS, WIDTH - MARGIN - 50

    def x(value):
        return left + (right - left) * value / end

    parts, y = [], TOP
    for label, values in groups:
        present = [name for name in names if name in values]
        height = len(present) * (BAR + BAR_GAP) - BAR_GAP
        parts.append(text(left - 10, y + height / 2 + 4, label, anchor="end"))
        for name in present:
            median, low, high = values[name]
            parts.append(f'<rect x="{left}" y="{y:.1f}" width="{x(median) - left:.1f}" height="{BAR}" '
                         f'fill="{COLOURS[names.index(name)]}"/>')
            parts += whisker(x(low), x(high), y + BAR / 2) if high > low else []
            parts.append(text(x(max(high, median)) + 6, y + BAR - 3, short(median), 11, colour=QUIET))
            y += BAR + BAR_GAP
        y += GROUP_GAP - BAR_GAP
    grid = []
    for n in range(round(end / step) + 1):
        grid += [line(x(n * step), TOP - 6, x(n * step), y - 4, GRID),
                 text(x(n * step), y + 12, short(n * step), 11, "middle", QUIET)]
    parts.append(text((left + right) / 2, y + 32, unit, anchor="middle"))
    return document(y + 44, title, [*legend(names), *grid, *parts])


def decades(low, high):
    """1, 2 and 5 times the powers of ten, from the last not above `low` to the first not below `high`."""
    marks = [n * 10.0 ** p for p in range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
             for n in (1, 2, 5)]
    first = max(i for i, m in enumerate(marks) if m <= low)
    last = min(i for i, m in enumerate(marks) if m >= high)
    return marks[first:max(last, first + 1) + 1]


def point(x, y_median, y_low, y_high, colour):
    return [*([line(x, y_low, x, y_high, colour), line(x - 3, y_low, x + 3, y_low, colour),
               line(x - 3, y_high, x + 3, y_high, colour)] if y_low != y_high else []),
            f'<circle cx="{x:.1f}" cy="{y_median:.1f}" r="3" fill="{colour}"/>']


def lines(title, x_unit, y_unit, series):
    """`series`: (name, colour's index, dashed, [(x, median, least, most)]), each with a point at least. Both axes are
    logarithmic, and a line's name stands at its end."""
    points = [p for *_, found in series for p in found]
    across = decades(min(p[0] for p in points), max(p[0] for p in points))
    up = decades(min(p[2] for p in points), max(p[3] for p in points))
    left, right, top, bottom = MARGIN + 60, WIDTH - MARGIN - RIGHT, 44, 44 + PLOT_HEIGHT

    def x(value):
        return left + (right - left) * math.log(value / across[0]) / math.log(across[-1] / across[0])

    def y(value):
        return bottom - (bottom - top) * math.log(value / up[0]) / math.log(up[-1] / up[0])

    parts = []
    for mark in across:
        parts += [line(x(mark), top, x(mark), bottom, GRID), text(x(mark), bottom + 16, short(mark), 11, "middle", QUIET)]
    for mark in up:
        parts += [line(left, y(mark), right, y(mark), GRID), text(left - 6, y(mark) + 4, short(mark), 11, "end", QUIET)]
    ends = []
    for name, colour_index, dashed, found in series:
        colour = COLOURS[colour_index]
        path = " ".join(f"{x(p[0]):.1f},{y(p[1]):.1f}" for p in found)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"'
                     + (' stroke-dasharray="6 4"' if dashed else "") + "/>")
        for p in found:
            parts += point(x(p[0]), y(p[1]), y(p[2]), y(p[3]), colour)
        ends.append((y(found[-1][1]), x(found[-1][0]), name, colour))
    at = -math.inf
    for wanted, x_end, name, colour in sorted(ends):
        at = max(wanted + 4, at + 14)  # names that would lie on each other go below
        parts.append(text(x_end + 8, at, name, colour=colour))
    parts += [text((left + right) / 2, bottom + 36, x_unit, anchor="middle"),
              text(0, 0, y_unit, anchor="middle", more=f' transform="translate({MARGIN + 8} {(top + bottom) / 2}) '
                   'rotate(-90)"')]
    return document(bottom + 50, title, parts)
