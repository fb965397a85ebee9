# SPDX-License-Identifier: BSD-3-Clause
"""Pebble, the test authority of Let's Encrypt, and the DNS server that comes with it, and a client of Tailscale's
code, built once."""
import fcntl
import os

from tailnet.programs import ROOT, build_go

MODULE = os.path.join(ROOT, "tests", "acme", "pebble")
INTEROP = os.path.join(ROOT, "tests", "interop")
FOLDER = os.path.join(ROOT, "build", "acme")
PACKAGES = ["github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv"]


def build_once(*what):
    """Several processes of pytest-xdist may ask at once."""
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build_go(*what)


def build():
    """Returns the programs' paths by name."""
    return build_once(MODULE, PACKAGES, FOLDER)


def build_connect():
    """Returns its path."""
    return build_once(INTEROP, ["./connect"], FOLDER, [os.path.join(INTEROP, "connect", "main.go")])["connect"]
