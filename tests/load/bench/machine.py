# SPDX-License-Identifier: BSD-3-Clause
"""The machine that is measured on, and what else runs there."""
import os
import platform
import re
import resource
import time

TICKS = os.sysconf("SC_CLK_TCK")


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def describe():
    model = re.search(r"model name\s*:\s*(.+)", read("/proc/cpuinfo"))
    memory = re.search(r"MemTotal:\s*(\d+)", read("/proc/meminfo"))
    gib = int(memory[1]) / 1024 / 1024 if memory else 0
    return (f"{model[1] if model else platform.machine()}, {os.cpu_count()} CPUs, {gib:.0f} GiB, "
            f"Linux {platform.release()}")


class NoTwoCores(Exception):
    pass


def choose_cores(relay=None, generator=None):
    """Two different ones of those that this process may use: the first ones where none is named."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise NoTwoCores("two cores are needed: one for the relay, one for the generator")
    relay = cores[0] if relay is None else relay
    generator = next(c for c in cores if c != relay) if generator is None else generator
    if relay == generator or not {relay, generator} <= set(cores):
        raise NoTwoCores(f"cores {relay} and {generator} must be two of {cores}")
    return relay, generator


def core_busy_s(core):
    """CPU seconds that programs, interrupts (which a program's own CPU time holds too) and other guests of the host
    took on a core."""
    line = re.search(rf"^cpu{core} (.+)$", read("/proc/stat"), re.M)
    if not line:
        return 0.0
    user, nice, system, _idle, _iowait, irq, softirq, steal = [int(n) for n in line[1].split()[:8]]
    return (user + nice + system + irq + softirq + steal) / TICKS


def process_cpu_s(pid):
    fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS if len(fields) > 12 else 0.0


def children_cpu_s():
    """Of those that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def threads_cpu_s(pid):
    """Of the threads that a process has now."""
    return sum(int(read(f"/proc/{pid}/task/{thread}/schedstat").split()[0]) for thread in
               os.listdir(f"/proc/{pid}/task")) / 1e9


def busy_share(seconds):
    """How much of all cores' time something ran, in the next seconds."""
    cores = os.sched_getaffinity(0)
    before, start = sum(map(core_busy_s, cores)), time.monotonic()
    time.sleep(seconds)
    return (sum(map(core_busy_s, cores)) - before) / (time.monotonic() - start) / len(cores)
