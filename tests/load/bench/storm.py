# SPDX-License-Identifier: BSD-3-Clause
"""All clients lose their relay at once, and come back. The relay is killed and started again on the same port with
the same key; the generator's clients dial as soon as it listens. What a login costs without the crowd is measured
just before, on the same relay."""
import json
import subprocess
import threading

from . import machine
from .cells import Cell
from .relay import RelayFailed
from .runs import failed

READY_PATIENCE_S = 200
PATIENCE_S = 200


def option(arguments, name):
    return arguments[arguments.index(name) + 1]


def storm(bench, relay, cell, clients):
    """The generator says "ready" when all are in and have got a packet."""
    command = bench.generator_command(relay, ["storm", "--clients", str(clients)])
    bench.generators.setdefault(cell.name, " ".join(command))
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as generator:
        watchdog = threading.Timer(READY_PATIENCE_S, generator.kill)
        watchdog.start()
        try:
            if generator.stderr.readline().strip() == "ready":
                relay.restart()
            out, _ = generator.communicate(timeout=PATIENCE_S)
            result = json.loads(out)
            result["relay_cpu_s"] = machine.threads_cpu_s(relay.process.pid)
            return result
        except (subprocess.TimeoutExpired, json.JSONDecodeError, OSError) as error:
            return failed(f"the generator gave no result: {error}")
        finally:
            watchdog.cancel()
            generator.kill()


def run(bench, program, cell):
    clients = int(option(cell.arguments, "--clients"))
    try:
        with bench.relay(program, cell.pinned) as relay:
            logins = Cell(f"logins before {cell.name}", "login", [], [], pinned=cell.pinned)
            alone = bench.generate(relay, logins, ["login", "--logins", option(cell.arguments, "--logins")])
            result = storm(bench, relay, cell, clients)
    except RelayFailed as error:
        return failed(str(error))
    if result["valid"] and alone["valid"]:
        result["cpu_in_logins"] = result["relay_cpu_s"] / clients * alone["logins_per_cpu_s"]
    elif result["valid"]:
        return failed(f"logins: {alone['invalid'][0]}")
    bench.keep({"attempt": dict(result, program=program, cell=cell.name)})
    return result
