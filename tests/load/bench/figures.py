# SPDX-License-Identifier: BSD-3-Clause
"""The figures that runs are compared by: what the generator's line of JSON says, in a unit for people."""
from dataclasses import dataclass
from typing import Callable

KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True)
class Figure:
    label: str
    better: str  # "higher" or "lower"
    of: Callable  # a run's result -> a number
    with_loss: bool = False  # counts for runs that lost frames, too


def relative(name, unit=1.0):
    return lambda result: result[name] / unit


def latency(share):
    return lambda result: result["latency_us"][share]


FIGURES = {
    "cpu": Figure("kframes/CPU-s", "higher", relative("frames_per_cpu_s", 1000)),
    "cpu_us": Figure("CPU µs per frame", "lower", lambda result: 1e6 / result["frames_per_cpu_s"]),
    "p50": Figure("latency p50 µs", "lower", latency("p50")),
    "p99": Figure("latency p99 µs", "lower", latency("p99")),
    "p99.9": Figure("latency p99.9 µs", "lower", latency("p99.9")),
    "loss": Figure("loss %", "lower", relative("loss", 0.01), with_loss=True),
    "highest": Figure("k frames/s, loss < 0.1 %", "higher", relative("highest", 1000)),
    "rss": Figure("RSS KiB a client", "lower", relative("rss_per_client", KIB)),
    "slab": Figure("kernel slab KiB a client, both ends", "lower", relative("slab_per_client_both_ends", KIB)),
    "unreclaimable": Figure("of that, not reclaimable", "lower",
                            relative("slab_unreclaimable_per_client_both_ends", KIB)),
    "socket": Figure("kernel's socket buffers KiB a client, both ends", "lower",
                     relative("socket_memory_per_client_both_ends", KIB)),
    "empty": Figure("RSS MiB without clients", "lower", relative("rss_before_bytes", MIB)),
    "logins": Figure("logins/CPU-s", "higher", relative("logins_per_cpu_s")),
    "answers": Figure("k answers/CPU-s", "higher", relative("answers_per_cpu_s", 1000)),
    "back": Figure("s until all have a packet", "lower", relative("flowing_s")),
    "back_cpu": Figure("relay CPU-s meanwhile", "lower", relative("relay_cpu_s")),
    "back_ratio": Figure("CPU, in logins of as many clients", "lower", relative("cpu_in_logins")),
    "mbit": Figure("Mbit/s", "higher", relative("mbit_per_s")),
    "retransmits": Figure("retransmits", "lower", relative("retransmits")),
    "rtt_p50": Figure("RTT beside it, p50 ms", "lower", relative("rtt_p50_ms")),
    "rtt_p99": Figure("RTT beside it, p99 ms", "lower", relative("rtt_p99_ms")),
    "flow_cpu": Figure("relay CPU-s a GB", "lower", relative("relay_cpu_s_per_gb")),
}
