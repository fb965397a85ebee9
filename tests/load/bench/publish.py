# SPDX-License-Identifier: BSD-3-Clause
"""Where the page goes: beside the results of a run, or into the tree."""
import os

from . import builds, page, plots

PLACE = os.path.join("scripts", "bench-results")
BEGIN, END = "<!-- bench: begin -->", "<!-- bench: end -->"


class Refused(Exception):
    pass


def write(path, content):
    with open(path, "w", encoding="utf-8") as file:
        file.write(content)


def write_page(results, folder):
    """README.md and the plots. Returns the page's text."""
    os.makedirs(folder, exist_ok=True)
    drawn = plots.every(results)
    text = page.render(results, drawn)
    write(os.path.join(folder, "README.md"), text)
    for name, _, svg in drawn:
        write(os.path.join(folder, name), svg)
    return text


def between_marks(text, content):
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise Refused(f"README.md has no {BEGIN} … {END}")
    return f"{before}{BEGIN}\n{content}\n{END}{after}"


def publish(results, root=builds.ROOT):
    reasons = list(results.reasons_against())
    if reasons:
        raise Refused("not published: " + "; ".join(reasons))
    readme = os.path.join(root, "README.md")
    with open(readme, encoding="utf-8") as file:
        text = between_marks(file.read(), page.short(results, PLACE))
    write_page(results, os.path.join(root, PLACE))
    write(readme, text)
