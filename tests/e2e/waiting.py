# SPDX-License-Identifier: BSD-3-Clause
"""Waiting by polling: a test never sleeps in the hope that something has happened meanwhile."""
import time

# Bounds every wait for something that should come soon; only a failing test spends it.
PATIENCE = 10.0

# How long a test listens for something that must not come.
QUIET = 0.3


def wait_until(condition, what, patience=PATIENCE, pause=0.02):
    """Polls until condition() is true, and returns what it returned."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {patience:g} s in vain for {what}")
        time.sleep(pause)
