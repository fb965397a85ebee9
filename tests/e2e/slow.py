# SPDX-License-Identifier: BSD-3-Clause
"""Tests that mostly wait for a time limit of the relay: all of them wait at the same time.

They start in threads of their own before the first test and are collected behind the last one.
"""
import functools
import threading
import traceback

import pytest

from derper import Keeper


class SlowRun:
    def __init__(self, case, folder):
        self.case = case
        self.keeper = Keeper(folder)
        self.fault = None
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            try:
                self.case(self.keeper)
            finally:
                self.keeper.finish()
        except BaseException:
            self.fault = traceback.format_exc()

    def result(self):
        self.thread.join()
        if self.fault:
            for command, log in self.keeper.logs():
                self.fault += f"\nlog of {command}:\n{log}"
            pytest.fail(self.fault, pytrace=False)


def slow_case(case):
    """Makes a test of a function that takes a Keeper by which it starts its relays."""
    @pytest.mark.slow_case
    @functools.wraps(case)
    def test(slow_runs, request):
        slow_runs[request.node.nodeid].result()

    # pytest would look for fixtures named like the case's parameters.
    del test.__wrapped__
    test.slow_case = case
    return test
