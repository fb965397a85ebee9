# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark's page: goals, plots, every figure, and how they came to be."""
from . import goals, plots, table
from .cells import GROUPS, largest, load_name, relay_name

TITLES = {
    "relay": "Relay",
    "sweep": "Highest rate",
    "latency": "Latency",
    "unpinned": "Every core, default workers and GOMAXPROCS",
    "memory": "Memory",
    "login": "Logins",
    "storm": "After a restart",
    "stun": "STUN",
    "flow": "A TCP flow through two real tailscaled",
}
METHOD = """\
Each program ran for each round in turn, on one core, the load generator on another. Frames per CPU-second count the
CPU time of all the relay's threads, kernel included, and the frames that arrived and were found whole. A run whose
generator was late, or whose relay shared its core with other programs, does not count, and neither does one with
0.1 % of loss or more: the tables say so. A ratio is the median of the rounds' ratios. The kernel's memory holds both
ends of each connection, and what else the machine did meanwhile. Handshakes and boxes in one process are a login's
cryptography alone, the server's half, over memory: no kernel, no HTTP, nothing kept."""


def busy(results):
    reasons = list(results.reasons_against())
    return ["**The machine was busy, so these numbers prove function, not speed: " + "; ".join(reasons) + ".**",
            ""] if reasons else []


def unique(values):
    return list(dict.fromkeys(values))


def where(results):
    """Machine, versions and dates."""
    lines = []
    for title, key in (("Machine", "machine"), ("Measured", "start"), ("Ours", "ours"), ("Theirs", "theirs"),
                       ("Beside them", "others"), ("Cores", "cores"), ("Rounds", "rounds"), ("Left out", "left_out")):
        said = unique(run[key] for run in results.runs if run.get(key))
        if said:
            lines.append(f"- {title}: " + "; ".join(said))
    before = max(run["busy_share"] for run in results.runs)
    lines.append(f"- Other programs, before the start: {100 * before:.0f} % of the machine's time; {results.spoilt} of "
                 f"{results.attempts} runs were spoilt by them, and made again")
    return lines


def sections(results):
    for group in GROUPS:
        cells = results.group(group)
        if not cells:
            continue
        yield f"## {TITLES[group]}\n\n{table.compared(results, cells)}"
        beside = table.beside(results, cells)
        if beside:
            yield f"Beside ours, in the same rounds:\n\n{beside}"


def commands(results):
    """Each once; ports and process ids differ from run to run."""
    shown = unique(command for run in results.runs for command in run.get("commands", []))
    return "\n".join(["## Commands", "", "The relays, then the generator by setting:", "", "```", *shown, "```"])


def render(results, drawn):
    """`drawn`: the plots that stand beside the page."""
    date = min(run["start"] for run in results.runs)
    return "\n\n".join(["\n".join([f"# Relay benchmark, {date[:10]}", "", *busy(results), *where(results)]), METHOD,
                        "## Goals\n\n" + goals.render(results),
                        *(f"![{title}]({name})" for name, title, _ in drawn), *sections(results),
                        commands(results)]) + "\n"


HEADLINES = [  # cell's name or group, figure, what the README calls it
    (relay_name(1200, 16, 1, 20000), "cpu", "thousand frames per CPU-second, single frames"),
    (relay_name(1200, 16, 8, 60000), "cpu", "thousand frames per CPU-second, bursts of 8"),
    (f"{load_name(1200, 16, 1)}, highest rate", "highest", "thousand frames a second with less than 0.1 % loss, single"),
    (f"{load_name(1200, 16, 8)}, highest rate", "highest", "thousand frames a second with less than 0.1 % loss, bursts"),
    (relay_name(1200, 16, 8, 60000), "p99", "p99 latency in µs, bursts of 8 at 60,000 frames a second"),
    ("memory", "rss", "memory of an idle client, KiB"),
    ("login", "logins", "logins per CPU-second"),
    ("STUN, 64 in flight", "answers", "thousand STUN answers per CPU-second"),
]


def headline_rows(results):
    for wanted, key, said in HEADLINES:
        cell = largest([c for c in results.cells.values() if wanted in (c.name, c.group)])
        if cell:
            ours, theirs = results.of(cell, "ours"), results.of(cell, "theirs")
            yield [said, *(table.side(side, key) for side in (ours, theirs)), table.ratio(ours, theirs, key)]


def short(results, link):
    """What the README shows: the main figures, one plot, date and machine."""
    rows = [["1200 B, 16 pairs; medians (range)", "ours", "Tailscale's derper", "ratio"], *headline_rows(results)]
    machine = "; ".join(unique(run["machine"] for run in results.runs))
    date = min(run["start"] for run in results.runs)[:10]
    return (f"Measured on {date} on loopback, one core for the relay: {machine}. [Every figure, and how they were "
            f"measured]({link}/README.md).\n\n{table.markdown(rows)}\n\n![{plots.CPU_TITLE}]({link}/cpu.svg)")
