# SPDX-License-Identifier: BSD-3-Clause
"""What is measured. A cell is one setting, and one or more figures of its runs."""
from dataclasses import dataclass

CPU = ("kframes/CPU-s", "higher", lambda r: r["frames_per_cpu_s"] / 1000)
P50 = ("latency p50 µs", "lower", lambda r: r["latency_us"]["p50"])
P99 = ("latency p99 µs", "lower", lambda r: r["latency_us"]["p99"])
P999 = ("latency p99.9 µs", "lower", lambda r: r["latency_us"]["p99.9"])


@dataclass
class Cell:
    name: str
    group: str
    arguments: list
    figures: list
    sweep: bool = False
    quick: bool = False
    start_rate: int = 0


def relay_name(payload, pairs, burst):
    size = f"{payload // 1024} KB" if payload % 1024 == 0 else f"{payload} B"
    load = "single" if burst == 1 else f"bursts of {burst}"
    return f"{size}, {pairs} {'pair' if pairs == 1 else 'pairs'}, {load}"


def relay_cell(group, payload, pairs, burst, rate, figures, quick=False):
    arguments = ["relay", "--payload", str(payload), "--pairs", str(pairs), "--burst", str(burst), "--rate", str(rate)]
    return Cell(f"{relay_name(payload, pairs, burst)}, {rate / 1000:g} k/s", group, arguments, figures, quick=quick)


def relay_cells():
    for burst, rate in ((1, 20000), (8, 60000)):
        for payload, pairs in ((64, 16), (1200, 16), (16384, 16), (1200, 1), (1200, 64)):
            # 16 KB frames at the rates above are more than a Go relay relays on one core.
            at = 10000 if payload > 10000 else rate
            yield relay_cell("relay", payload, pairs, burst, at, [CPU, P50, P99], quick=(payload, pairs) == (1200, 16))


def sweep_cells():
    for burst, start in ((1, 20000), (8, 20000)):
        arguments = ["relay", "--payload", "1200", "--pairs", "16", "--burst", str(burst)]
        figure = ("k frames/s, loss < 0.1 %", "higher", lambda r: r["highest"] / 1000)
        yield Cell(f"{relay_name(1200, 16, burst)}, highest rate", "sweep", arguments, [figure], sweep=True,
                   start_rate=start)


def other_cells(clients, hold, logins, requests):
    yield relay_cell("latency", 1200, 16, 1, 1000, [P50, P99, P999])
    yield Cell(f"memory, {clients} idle clients after traffic, {hold:g} s later", "memory",
               ["idle", "--clients", str(clients), "--hold", str(hold)],
               [("RSS KiB a client", "lower", lambda r: r["rss_per_client"] / 1024)], quick=True)
    yield Cell(f"{logins} logins, TLS 1.3 and DERP", "login", ["login", "--logins", str(logins)],
               [("logins/CPU-s", "higher", lambda r: r["logins_per_cpu_s"])], quick=True)
    stun = [("k answers/CPU-s", "higher", lambda r: r["answers_per_cpu_s"] / 1000)]
    yield Cell("STUN, 64 in flight", "stun", ["stun", "--requests", str(requests)], stun, quick=True)
    yield Cell("STUN, 20 k/s", "stun",
               ["stun", "--requests", str(requests // 5), "--rate", "20000", "--window", "1"], stun)


GROUPS = ("relay", "sweep", "latency", "memory", "login", "stun")


def choose(only, quick, clients, hold):
    """Cells whose group or part of whose name is in `only`, in the order of measuring."""
    logins, requests = (500, 100000) if quick else (2000, 300000)
    cells = [*relay_cells(), *sweep_cells(), *other_cells(clients, hold, logins, requests)]
    if only:
        return [c for c in cells if any(word == c.group or (word not in GROUPS and word in c.name) for word in only)]
    return [c for c in cells if c.quick] if quick else cells
