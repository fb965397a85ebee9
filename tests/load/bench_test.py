# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmark says, and when it refuses to say anything."""
import sys
import unittest

sys.dont_write_bytecode = True
from bench import cells, runs, table  # noqa: E402

FIGURE = cells.CPU[2]


def result(frames_per_cpu_s=100000, valid=True, loss=0.0, reasons=()):
    return {"valid": valid, "invalid": list(reasons), "loss": loss, "latency_us": {},
            "frames_per_cpu_s": frames_per_cpu_s}


def spoilt(reason="late generator: p50 9 us, p99 9999 us"):
    return result(valid=False, reasons=[reason])


def swept(highest, limit="loss"):
    return {"valid": True, "invalid": [], "highest": highest, "limit": limit}


class Table(unittest.TestCase):
    def test_median_and_range(self):
        self.assertEqual(table.side([result(100000), result(300000), result(120000)], FIGURE), "120 (100–300)")

    def test_ratio_is_that_of_rounds(self):
        ours = [result(200000), result(400000), result(90000)]
        theirs = [result(100000), result(100000), result(30000)]
        self.assertEqual(table.ratio(ours, theirs, FIGURE), "3.00 (2.00–4.00)")

    def test_spoilt_rounds_are_left_out(self):
        ours, theirs = [result(200000), spoilt()], [result(100000), result(1000)]
        self.assertEqual(table.ratio(ours, theirs, FIGURE), "2.00")
        self.assertEqual(table.counted(ours), "1/2")

    def test_nothing_valid_says_why(self):
        self.assertEqual(table.side([spoilt(), spoilt()], FIGURE), "INVALID: late generator")
        self.assertEqual(table.ratio([spoilt()], [result()], FIGURE), "–")

    def test_loss_is_told_and_not_compared(self):
        theirs = [result(loss=0.018)]
        self.assertEqual(table.side(theirs, FIGURE), "loss 1.80 %")
        self.assertEqual(table.ratio([result()], theirs, FIGURE), "–")
        self.assertEqual(table.counted(theirs), "0/1 (1 lossy)")

    def test_a_sweep_that_the_generator_ended(self):
        def highest(r):
            return r["highest"] / 1000

        ours, theirs = [swept(400000, "late generator: p50 1 us")], [swept(100000)]
        self.assertEqual(table.side(ours, highest), "≥ 400")
        self.assertEqual(table.ratio(ours, theirs, highest), "≥ 4.00")
        self.assertEqual(table.ratio(theirs, ours, highest), "–")


class FakeBench:
    """Sustains up to `limit` frames a second."""

    def __init__(self, limit, late_above=10**9):
        self.limit, self.late_above = limit, late_above
        self.tried = []

    def run(self, _kind, _cell, arguments):
        rate = int(arguments[arguments.index("--rate") + 1])
        self.tried.append(rate)
        if rate > self.late_above:
            return spoilt()
        return dict(result(loss=0.0 if rate <= self.limit else 0.2), rate=rate, delivered_per_s=min(rate, self.limit))


class Sweep(unittest.TestCase):
    cell = cells.Cell("a sweep", "sweep", ["relay"], [], sweep=True, start_rate=20000)

    def sweep(self, bench):
        return runs.sweep(bench, "ours", self.cell, 800000)

    def test_finds_the_rate(self):
        bench = FakeBench(100000)
        found = self.sweep(bench)
        self.assertEqual(found["limit"], "loss")
        self.assertTrue(90000 <= found["highest"] <= 100000, found)
        self.assertLess(len(bench.tried), 10)

    def test_says_when_the_generator_was_the_limit(self):
        found = self.sweep(FakeBench(10**9, late_above=150000))
        self.assertTrue(140000 <= found["highest"] <= 150000, found)
        self.assertTrue(found["limit"].startswith("late generator"))

    def test_says_when_nothing_was_the_limit(self):
        found = self.sweep(FakeBench(10**9))
        self.assertEqual((found["highest"], found["limit"]), (640000, "nothing above 800000 was tried"))

    def test_nothing_held(self):
        found = self.sweep(FakeBench(10))
        self.assertFalse(found["valid"])


class Spoilt(unittest.TestCase):
    def test_only_the_machine_is_an_excuse(self):
        self.assertTrue(runs.spoilt(spoilt()))
        self.assertFalse(runs.spoilt(spoilt("the relay ended the connection")))
        self.assertFalse(runs.spoilt(result(valid=False, reasons=["late generator: 1", "nothing arrived"])))
        self.assertFalse(runs.spoilt(result()))


class Choosing(unittest.TestCase):
    def test_groups_and_names(self):
        every = cells.choose([], False, 2000, 5)
        self.assertEqual({c.group for c in every}, set(cells.GROUPS))
        self.assertEqual(len({c.name for c in every}), len(every))
        self.assertTrue(all(c.group == "login" for c in cells.choose(["login"], False, 2000, 5)))
        self.assertTrue(all("16 KB" in c.name for c in cells.choose(["16 KB"], False, 2000, 5)))
        self.assertEqual(cells.choose(["nothing"], False, 2000, 5), [])
        self.assertLess(len(cells.choose([], True, 500, 1)), 7)


if __name__ == "__main__":
    unittest.main()
