# SPDX-License-Identifier: BSD-3-Clause
"""Pebble, the test authority of Let's Encrypt, and the DNS server that comes with it, built once."""
import fcntl
import os

from tailnet.programs import ROOT, build_go

MODULE = os.path.join(ROOT, "tests", "acme", "pebble")
FOLDER = os.path.join(ROOT, "build", "acme")
PACKAGES = ["github.com/letsencrypt/pebble/v2/cmd/pebble", "github.com/letsencrypt/pebble/v2/cmd/pebble-challtestsrv"]


def build():
    """Returns the programs' paths by name. Several processes of pytest-xdist may ask at once."""
    os.makedirs(FOLDER, exist_ok=True)
    with open(os.path.join(FOLDER, "lock"), "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build_go(MODULE, PACKAGES, FOLDER)
