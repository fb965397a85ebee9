#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Counts what several workers cost: locks, wake-ups, context switches and CPU time per delivered frame when a frame
stays with its worker and when it crosses to another, instructions of both, and what idle workers do.

The relay is relay-by-port, which has a port for each worker, so that every pair of clients is where it should be.
The generator has a core; the relay has the other one, or with --spread both. Figures are medians over the rounds."""
import argparse
import json
import os
import re
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
from bench import machine  # noqa: E402
from bench.relay import free_port  # noqa: E402

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PATIENCE_S = 60
LOADS = {
    "single, 20 k/s": ["--rate", "20000"],
    "bursts of 8, 60 k/s": ["--rate", "60000", "--burst", "8"],
    "single, 60 k/s": ["--rate", "60000"],
    "bursts of 8, 200 k/s": ["--rate", "200000", "--burst", "8"],
}
# Workers, and the workers of sender, receiver, sender, receiver, ... in turn.
PLACES = {
    "one worker": (1, [0]),
    "two, all on one": (2, [0]),
    "two, none crosses": (2, [0, 0, 1, 1]),
    "two, half crosses": (2, [0, 0, 1, 1, 0, 1, 1, 0]),
    "two, all cross": (2, [0, 1, 1, 0]),
    "four, none crosses": (4, [0, 0, 1, 1, 2, 2, 3, 3]),
    "four, all cross": (4, [0, 1, 1, 2, 2, 3, 3, 0]),
}


def status(pid):
    """Context switches of all threads: those that slept, and those that were pushed aside."""
    totals = [0, 0]
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8") as file:
            found = re.findall(r"^(?:non)?voluntary_ctxt_switches:\s*(\d+)$", file.read(), re.M)
        totals = [a + int(b) for a, b in zip(totals, found)]
    return totals


class Relay:
    def __init__(self, options, workers, wrapper=()):
        self.port = free_port()
        binary = options.relay or f"{options.build}/tests/load/relay-by-port"
        self.command = [*wrapper, binary, str(workers), str(self.port)]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end and self.process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                time.sleep(0.05)
        self.process.kill()
        raise SystemExit(f"cores: {' '.join(self.command)} does not listen")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(PATIENCE_S)

    def counts(self):
        self.process.send_signal(signal.SIGUSR1)
        counts = json.loads(self.process.stdout.readline())
        counts["slept"], counts["preempted"] = status(self.process.pid)
        return counts


def pinned(core):
    return ["taskset", "-c", str(core)]


def generate(options, relay, places, arguments, prefix=()):
    command = [*prefix, f"{options.build}/tests/load/derper-load", "relay", "--target", f"127.0.0.1:{relay.port}",
               "--ports", ",".join(str(relay.port + place) for place in places), *arguments]
    if not relay.command[0].endswith("valgrind"):
        command += ["--pid", str(relay.process.pid)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def measure(options, place, load):
    """Per delivered frame, logins included: they are 32 to some hundred thousand frames."""
    workers, places = PLACES[place]
    relay_core, generator_core = options.cores
    with Relay(options, workers, () if options.spread else pinned(relay_core)) as relay:
        result = generate(options, relay, places, [*LOADS[load], "--seconds", str(options.seconds)],
                          pinned(generator_core))
        counts = relay.counts()
    frames = result["delivered_total"]
    figures = {name: n / frames for name, n in counts.items() if name != "sent"}
    figures["contended"] *= 1e6
    figures["preempted"] *= 1e3
    figures["cpu"] = 1e6 / result["frames_per_cpu_s"]
    figures["p50"], figures["p99"] = result["latency_us"]["p50"], result["latency_us"]["p99"]
    figures["loss"] = 100 * result["loss"]
    figures["valid"] = result["valid"]
    return figures


COLUMNS = (("cpu", "CPU µs", 2), ("p50", "p50 µs", 0), ("p99", "p99 µs", 0), ("crossed", "crossed", 2),
           ("locks", "locks", 3), ("contended", "contended /M", 1), ("wakes", "wakes", 3), ("waits", "sleeps asked", 3),
           ("slept", "slept", 3), ("preempted", "preempted /k", 1), ("receives", "receives", 2), ("sends", "sends", 2),
           ("loss", "loss %", 3))


def show_counts(options):
    print("Per delivered frame, 16 pairs, 1.2 KB payload; medians of", options.rounds, "rounds.\n")
    print("| load | clients |", " | ".join(title for _, title, _ in COLUMNS), "| counted |")
    print("|---|---|" + "---|" * (len(COLUMNS) + 1))
    for load in (name for name in LOADS if options.load in name):
        rounds = {place: [] for place in PLACES if options.only in place}
        for _ in range(options.rounds):
            for place, results in rounds.items():
                results.append(measure(options, place, load))
        for place, results in rounds.items():
            good = [r for r in results if r["valid"]] or results
            row = [f"{statistics.median(r[name] for r in good):.{digits}f}" for name, _, digits in COLUMNS]
            print(f"| {load} | {place} |", " | ".join(row), f"| {sum(r['valid'] for r in results)}/{len(results)} |",
                  flush=True)


def instructions(options, place, load, frames):
    workers, places = PLACES[place]
    with tempfile.TemporaryDirectory() as folder:
        wrapper = ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={folder}/out"]
        with Relay(options, workers, wrapper) as relay:
            generate(options, relay, places, ["--pairs", "4", "--warmup", "0", *load(frames)])
        with open(f"{folder}/out", encoding="utf-8") as file:
            return int(re.search(r"^(?:summary|totals): (\d+)", file.read(), re.M)[1])


# Slow enough that a relay under valgrind has done with one write before the next one comes.
STEPS = {
    "single": lambda frames: ["--rate", "400", "--seconds", str(frames / 400)],
    "bursts of 8": lambda frames: ["--rate", "1600", "--burst", "8", "--seconds", str(frames / 1600)],
}


def show_instructions(options):
    """The difference of two runs is that of their frames alone."""
    print("Instructions of one delivered frame in user space (callgrind).\n\n| load | clients | instructions |")
    print("|---|---|---|")
    for load, step in STEPS.items():
        for place in (p for p in ("one worker", "two, none crosses", "two, all cross") if options.only in p):
            few, many = (instructions(options, place, step, n) for n in (1600, 6400))
            print(f"| {load} | {place} | {(many - few) / 4800:.0f} |", flush=True)


def idle_switches(options, workers, clients):
    with Relay(options, workers) as relay:
        arguments = ["--clients", str(clients), "--hold", str(options.idle_s + 4)]
        generator = clients and subprocess.Popen(
            [f"{options.build}/tests/load/derper-load", "idle", "--target", f"127.0.0.1:{relay.port}", "--ports",
             str(relay.port), *arguments], stdout=subprocess.DEVNULL)
        time.sleep(3)
        before = sum(status(relay.process.pid))
        time.sleep(options.idle_s)
        after = sum(status(relay.process.pid))
        if generator:
            generator.wait()
        return (after - before) / options.idle_s


def show_idle(options):
    print("Wake-ups a second of all threads, clients on the first worker.\n\n| workers | clients | wake-ups/s |")
    print("|---|---|---|")
    for workers, clients in ((1, 0), (4, 0), (4, 2), (4, 200)):
        print(f"| {workers} | {clients} | {idle_switches(options, workers, clients):.2f} |", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="+", choices=("counts", "instructions", "idle"))
    parser.add_argument("--build", default=os.path.join(ROOT, "build", "release"), help="a release build")
    parser.add_argument("--relay", metavar="PATH", help="another relay-by-port, to compare with")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--idle-s", type=float, default=10)
    parser.add_argument("--only", default="", metavar="WORD", help="places with this in their name")
    parser.add_argument("--load", default="", metavar="WORD", help="loads with this in their name (counts)")
    parser.add_argument("--spread", action="store_true", help="the relay may use the generator's core as well")
    options = parser.parse_args()
    try:
        options.cores = machine.choose_cores() if "counts" in options.what else ()
    except machine.NoTwoCores as error:
        sys.exit(f"cores: {error}")
    for what in options.what:
        {"counts": show_counts, "instructions": show_instructions, "idle": show_idle}[what](options)
        print()


if __name__ == "__main__":
    main()
