# SPDX-License-Identifier: BSD-3-Clause
"""Waiting by polling."""
import time

PATIENCE_S = 30.0


class TooLate(Exception):
    pass


def wait_until(condition, what, patience_s=PATIENCE_S, pause_s=0.05):
    """Polls until condition() is true, and returns what it returned."""
    deadline = time.monotonic() + patience_s
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise TooLate(f"waited {patience_s:g} s for {what}")
        time.sleep(pause_s)
