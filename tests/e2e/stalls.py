# SPDX-License-Identifier: BSD-3-Clause
"""For bounds on time, on machines that stand still for seconds now and then, as virtual and busy ones do: nobody runs
meanwhile, but the clocks go on. A thread that ticks takes note of it, and there are two ways to use that:

now()            a clock that stands still with the machine. What a relay may take is measured by it.
despite_stalls   for a test that a stall spoils otherwise, as packets grow too old, say: it is done again if there was
                 one. Where there was none, a failure is one at once, and a wrong relay fails it each time."""
import functools
import threading
import time

TICK_S = 0.01
TICK_MOST_S = 0.05  # what is beyond that between two ticks was a stall
STALL_S = 0.05      # of an attempt, in all: it may have been spoiled
ATTEMPTS = 3


class Ticker(threading.Thread):
    def __init__(self):
        super().__init__(name="ticker", daemon=True)
        self.last = time.monotonic(), 0.0  # when it was, and what now() was then: one object, for other threads
        self.start()

    def awake_s(self, at):
        last, awake_s = self.last
        return awake_s + min(at - last, TICK_MOST_S)

    def run(self):
        while True:
            time.sleep(TICK_S)
            at = time.monotonic()
            self.last = at, self.awake_s(at)


@functools.cache
def ticker():
    return Ticker()


def now():
    """Seconds, from anywhere, without stalls."""
    return ticker().awake_s(time.monotonic())


def lost_s():
    """In stalls so far, and a constant."""
    at = time.monotonic()
    return at - ticker().awake_s(at)


def despite_stalls(test):
    @functools.wraps(test)
    def attempts(*arguments, **named):
        for left in reversed(range(ATTEMPTS)):
            before_s = lost_s()
            try:
                return test(*arguments, **named)
            except Exception as fault:  # a stall breaks connections, too
                stalled_s = lost_s() - before_s
                if not left or stalled_s < STALL_S:
                    raise
                print(f"once more, as the machine stood still for {stalled_s:.2f} s: {fault}")

    return attempts
