# SPDX-License-Identifier: BSD-3-Clause
"""The command line of scripts/bench."""
import argparse
import os
import re
import shlex

from . import builds, cells
from .relay import HANDSHAKES, YARDSTICKS, Program

TAKEN = ("ours", "theirs", "plain", *YARDSTICKS, HANDSHAKES)


def program(text):
    name, equals, command = text.partition("=")
    if not equals or not re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) or name in TAKEN or not shlex.split(command):
        raise argparse.ArgumentTypeError(f"{text!r} must be NAME=COMMAND, NAME of a-z, 0-9 and -, and none of "
                                         + ", ".join(TAKEN))
    return Program(name, shlex.split(command))


def parser(description):
    made = argparse.ArgumentParser(prog="scripts/bench", description=description,
                                   formatter_class=argparse.RawDescriptionHelpFormatter)
    sets = made.add_mutually_exclusive_group()
    sets.add_argument("--quick", action="store_true", help="a few settings, two short rounds: under two minutes")
    sets.add_argument("--full", action="store_true",
                      help="every payload, number of pairs and kind of load: more than an hour")
    made.add_argument("--only", action="append", default=[], metavar="WORD",
                      help="a group (%s) or part of a setting's name; may be repeated" % ", ".join(cells.GROUPS))
    made.add_argument("--list", action="store_true", help="print the settings and end")
    made.add_argument("--with", dest="others", action="append", default=[], metavar="NAME=COMMAND", type=program,
                      help="one more relay, which takes the flags of Tailscale's derper; may be repeated")
    made.add_argument("--rounds", type=int, help="runs of each relay in each setting (5; sweeps, memory and restarts "
                      "at most 3 without --full; quick: 2)")
    made.add_argument("--seconds", type=float, help="of each relay run, after one of warm-up (3; quick: 2)")
    made.add_argument("--clients", type=int, help="idle clients (9000; quick: 2000)")
    made.add_argument("--hold", type=float, help="seconds until idle memory is read (5; quick: 1)")
    made.add_argument("--storm-clients", type=int, help="clients that come back after a restart (10000; quick: 1000)")
    made.add_argument("--retries", type=int,
                      help="times that a run is made again when the machine spoilt it (2; quick: 1)")
    made.add_argument("--most", type=int, default=800000, help="highest rate that the sweep tries (800000)")
    made.add_argument("--ours", metavar="PATH", help="our relay, already built")
    made.add_argument("--theirs", metavar="PATH", help="Tailscale's derper, already built")
    made.add_argument("--generator", metavar="PATH", help="the load generator, already built")
    made.add_argument("--folder", default=os.path.join(builds.ROOT, "build", "bench"),
                      help="for builds and results (build/bench)")
    made.add_argument("--relay-core", type=int)
    made.add_argument("--generator-core", type=int)
    made.add_argument("--from", dest="kept", nargs="+", metavar="FILE",
                      help="measure nothing: make the page from the .jsonl files of earlier runs")
    made.add_argument("--publish", action="store_true",
                      help="write the page, its plots and the README's part of it into this tree; refused when other "
                      "programs were busy")
    return made


def parse(description, arguments=None):
    made = parser(description)
    options = made.parse_args(arguments)
    if options.publish and options.quick:
        made.error("two short rounds are too few to --publish")
    defaults = {"rounds": (5, 2), "seconds": (3, 2), "retries": (2, 1), "clients": (9000, 2000), "hold": (5, 1),
                "storm_clients": (10000, 1000)}
    options.folder = os.path.abspath(options.folder)
    for name, (usual, quick) in defaults.items():
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else usual)
    return options
