# SPDX-License-Identifier: BSD-3-Clause
"""What the benchmark measures, what it says of it, and when it refuses to say anything."""
import os
import sys
import tempfile
import unittest
import unittest.mock

sys.dont_write_bytecode = True
from bench import cells, flow, machine, measuring, options, runs, statistic, table  # noqa: E402
from bench.relay import HANDSHAKES, Program  # noqa: E402
from bench.results import Results  # noqa: E402
from bench.runs import DISTURBED  # noqa: E402


def result(frames_per_cpu_s=100000, valid=True, loss=0.0, reasons=(), number=0):
    return {"valid": valid, "invalid": list(reasons), "loss": loss, "latency_us": {"p50": 40.0, "p99": 80.0},
            "frames_per_cpu_s": frames_per_cpu_s, "round": number}


def spoilt(reason="late generator: p50 9 us, p99 9999 us", number=0):
    return result(valid=False, reasons=[reason], number=number)


def swept(highest, limit="loss"):
    return {"valid": True, "invalid": [], "highest": highest, "limit": limit, "round": 0}


def rounds(*figures):
    return [result(figure, number=number) for number, figure in enumerate(figures)]


class Statistic(unittest.TestCase):
    def test_median_and_range(self):
        self.assertEqual(statistic.side(rounds(100000, 300000, 120000), "cpu"), "120 (100–300)")

    def test_ratio_is_that_of_rounds(self):
        ours, theirs = rounds(200000, 400000, 90000), rounds(100000, 100000, 30000)
        self.assertEqual(statistic.ratio(ours, theirs, "cpu"), "3.00 (2.00–4.00)")
        self.assertEqual(statistic.ratio(ours, theirs[::-1], "cpu"), "3.00 (2.00–4.00)")

    def test_spoilt_rounds_are_left_out(self):
        ours, theirs = [result(200000), spoilt(number=1)], rounds(100000, 1000)
        self.assertEqual(statistic.ratio(ours, theirs, "cpu"), "2.00")
        self.assertEqual(statistic.counted(ours, "cpu"), "1/2")

    def test_nothing_valid_says_why(self):
        self.assertEqual(statistic.side([spoilt(), spoilt()], "cpu"), "INVALID: late generator")
        self.assertEqual(statistic.ratio([spoilt()], [result()], "cpu"), "–")

    def test_loss_is_told_and_not_compared(self):
        theirs = [result(loss=0.018)]
        self.assertEqual(statistic.side(theirs, "cpu"), "loss 1.80 %")
        self.assertEqual(statistic.ratio([result()], theirs, "cpu"), "–")
        self.assertEqual(statistic.counted(theirs, "cpu"), "0/1 (1 lossy)")
        self.assertEqual(statistic.side(theirs, "loss"), "1.80")

    def test_a_sweep_that_the_generator_ended(self):
        ours, theirs = [swept(400000, "late generator: p50 1 us")], [swept(100000)]
        self.assertEqual(statistic.side(ours, "highest"), "≥ 400")
        self.assertEqual(statistic.ratio(ours, theirs, "highest"), "≥ 4.00")
        self.assertEqual(statistic.ratio(theirs, ours, "highest"), "–")
        ours, theirs = ours + [dict(swept(300000), round=1)], theirs + [dict(swept(50000, DISTURBED), round=1)]
        self.assertEqual(statistic.ratio(ours, theirs, "highest"), "≥ 4.00")


class FakeBench:
    """Sustains up to `limit` frames a second."""

    def __init__(self, limit=10**9, late_above=10**9, programs=()):
        self.limit, self.late_above = limit, late_above
        self.programs = {p.name: p for p in programs}
        self.tried, self.ran = [], []

    def run(self, program, _cell, arguments):
        self.ran.append((program, arguments))
        rate = int(arguments[arguments.index("--rate") + 1])
        self.tried.append(rate)
        if rate > self.late_above:
            return spoilt()
        return dict(result(loss=0.0 if rate <= self.limit else 0.2), rate=rate, delivered_per_s=min(rate, self.limit))


class Sweep(unittest.TestCase):
    cell = cells.sweep_cell(1200, 16, 1)

    def sweep(self, bench, known=0):
        return runs.sweep(bench, "ours", self.cell, 800000, known)

    def test_finds_the_rate(self):
        bench = FakeBench(100000)
        found = self.sweep(bench)
        self.assertEqual(found["limit"], "loss")
        self.assertTrue(90000 <= found["highest"] <= 100000, found)
        self.assertLess(len(bench.tried), 10)

    def test_goes_on_from_what_is_known(self):
        for limit in (100000, 15000, 300000):
            bench = FakeBench(limit)
            found = self.sweep(bench, known=95000)
            self.assertEqual(bench.tried[0], 40000)
            self.assertTrue(0.85 * limit <= found["highest"] <= limit, (limit, found))

    def test_keeps_the_steps(self):
        steps = self.sweep(FakeBench(50000))["steps"]
        self.assertEqual([(s["rate"], s["held"]) for s in steps[:3]], [(20000, True), (40000, True), (80000, False)])
        self.assertEqual(steps[0]["p99"], 80.0)

    def test_says_when_the_generator_was_the_limit(self):
        found = self.sweep(FakeBench(late_above=150000))
        self.assertTrue(140000 <= found["highest"] <= 150000, found)
        self.assertTrue(found["limit"].startswith("late generator"))

    def test_says_when_nothing_was_the_limit(self):
        found = self.sweep(FakeBench())
        self.assertEqual((found["highest"], found["limit"]), (640000, "nothing above 800000 was tried"))

    def test_nothing_held(self):
        self.assertFalse(self.sweep(FakeBench(10))["valid"])


class Spoilt(unittest.TestCase):
    def test_only_the_machine_is_an_excuse(self):
        self.assertTrue(runs.spoilt(spoilt()))
        self.assertFalse(runs.spoilt(spoilt("the relay ended the connection")))
        self.assertFalse(runs.spoilt(result(valid=False, reasons=["late generator: 1", "nothing arrived"])))
        self.assertFalse(runs.spoilt(result()))


def options_of(*arguments):
    return options.parse("", arguments)


def chosen(*arguments):
    return cells.choose(options_of(*arguments))


class Choosing(unittest.TestCase):
    def test_sets(self):
        quick, default, full = chosen("--quick"), chosen(), chosen("--full")
        self.assertEqual({c.group for c in default}, set(cells.GROUPS))
        self.assertLess(len(quick), 9)
        self.assertLess({c.name for c in default}, {c.name for c in full})
        for some in (quick, default, full):
            self.assertEqual(len({c.name for c in some}), len(some))

    def test_full_is_the_whole_product(self):
        settings = {tuple(c.arguments[2:7:2]) for c in chosen("--full") if c.group == "relay"}
        self.assertEqual(len(settings), 24)

    def test_groups_and_names(self):
        self.assertTrue(all(c.group == "login" for c in chosen("--only", "login")))
        self.assertTrue(all("16 KB" in c.name for c in chosen("--only", "16 KB")))
        self.assertEqual(chosen("--only", "nothing"), [])

    def test_third_programs(self):
        third, = options_of("--with", "other=/opt/other relay --fast").others
        self.assertEqual((third.name, third.command), ("other", ["/opt/other", "relay", "--fast"]))
        for wrong in ("ours=/x", "echo=/x", "handshakes=/x", "name", "name=", "Na me=/x"):
            with self.assertRaises(SystemExit), unittest.mock.patch("sys.stderr"):
                options_of("--with", wrong)


class Cores(unittest.TestCase):
    def test_come_from_those_that_may_be_used(self):
        with unittest.mock.patch("os.sched_getaffinity", return_value={7, 4, 5}):
            self.assertEqual(machine.choose_cores(), (4, 5))
            self.assertEqual(machine.choose_cores(generator=5), (4, 5))
            self.assertEqual(machine.choose_cores(relay=5), (5, 4))
            for wrong in ((4, 4), (0, 4), (4, 6)):
                with self.assertRaises(machine.NoTwoCores):
                    machine.choose_cores(*wrong)
        with unittest.mock.patch("os.sched_getaffinity", return_value={3}), \
                self.assertRaisesRegex(machine.NoTwoCores, "two cores are needed"):
            machine.choose_cores()


class Programs(unittest.TestCase):
    def test_flags(self):
        def of(*program, one_core=True, **more):
            made = Program("x", ["/x"], *program, **more)
            return " ".join(made.arguments("/f", 1, 2, one_core)), made.variables(one_core)

        self.assertIn("--certmode manual --certdir /f -c /f/derper.key", of()[0])
        self.assertEqual(of()[1], {"GOMAXPROCS": "1"})
        self.assertNotIn("--workers", of()[0])
        self.assertTrue(of("ours")[0].endswith("--workers 1"))
        self.assertIn("--tls=off", of("ours", plain=True)[0])
        self.assertNotIn("--workers", of("ours", one_core=False)[0])
        self.assertEqual(of(one_core=False)[1], {})
        self.assertEqual(of("echo"), ("echo --target 127.0.0.1:2", {}))
        self.assertEqual(of("pass"), ("pass --target 127.0.0.1:1", {}))


class Commands(unittest.TestCase):
    def test_are_shown_without_folders(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        bench = runs.Bench({"ours": Program("ours", ["/home/x/derper"], "ours")}, "/home/x/derper-load", folder.name,
                           0, 1, 0, None)
        bench.relay("ours")
        bench.generators["a"] = "taskset -c 1 /home/x/derper-load relay"
        relay, generator = bench.commands()
        self.assertNotIn("/home", relay)
        self.assertNotIn(folder.name, relay)
        self.assertIn("derper -a 127.0.0.1:", relay)
        self.assertIn("-c ours/derper.key", relay)
        self.assertEqual(generator, "taskset -c 1 derper-load relay")


class Measuring(unittest.TestCase):
    programs = [Program("ours", ["/o"], "ours"), Program("theirs", ["/t"]), Program("other", ["/x"]),
                Program("plain", ["/o"], "ours", plain=True)]

    def measured(self, cell, *arguments):
        bench, results = FakeBench(programs=self.programs), Results()
        results.keep({"run": {"start": "now", "programs": ["ours", "theirs", "other"]}})
        results.keep({"cell": cell})
        with unittest.mock.patch("sys.stderr"):
            measuring.measure(bench, options_of(*arguments), results, cell)
        return bench, results

    def test_rounds_alternate(self):
        cell = cells.relay_cell(1200, 16, 1, 20000, baselines=[
            cells.Baseline(cells.PLAIN, "plain", ["relay", "--rate", "1"]),
            cells.Baseline("not there", "echo", ["stun"])])
        bench, results = self.measured(cell, "--rounds", "2")
        self.assertEqual([program for program, _ in bench.ran], ["ours", "theirs", "other", "plain"] * 2)
        self.assertEqual(len(results.of(cell, cells.PLAIN)), 2)
        self.assertEqual(bench.ran[3][1][:3], ["relay", "--rate", "1"])
        self.assertEqual(table.compared(results, [cell]).count("other"), 2)
        self.assertIn(cells.PLAIN, table.beside(results, [cell]))

    def test_yardstick_of_logins(self):
        bench = FakeBench(programs=[*self.programs, Program(HANDSHAKES, ["/h"], HANDSHAKES)])
        ran = list(measuring.entrants(bench, cells.login_cell(20)))
        self.assertEqual([label for label, *_ in ran], ["ours", "theirs", "other", cells.LOOP])
        self.assertEqual(ran[3][1:], (HANDSHAKES, ["20"]))

    def test_few_rounds_of_what_takes_long(self):
        cell = cells.sweep_cell(1200, 16, 1)
        self.assertEqual(len(self.measured(cell)[1].of(cell, "ours")), 3)
        self.assertEqual(len(self.measured(cell, "--full")[1].of(cell, "ours")), 5)


class Flow(unittest.TestCase):
    def run_command(self, script, program=Program("other", ["/x", "--y"])):
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write("#!/bin/sh\n" + script)
        self.addCleanup(os.unlink, file.name)
        os.chmod(file.name, 0o755)
        bench = FakeBench(programs=[program])
        bench.generators = {}
        with unittest.mock.patch("bench.flow.COMMAND", file.name):
            return flow.run(bench, program.name, next(cells.flow_cells()))

    def test_takes_the_first_run(self):
        result = self.run_command(f"""echo noise; echo '{{"runs": [{{"mbit_per_s": 90.5, "said": "'$*'"}}, {{}}]}}'\n""")
        self.assertEqual((result["valid"], result["mbit_per_s"]), (True, 90.5))
        self.assertIn("--relay /x --relay-args=--y --flows 1", result["said"])

    def test_says_what_went_wrong(self):
        self.assertIn("no Headscale", self.run_command("echo no Headscale >&2; exit 1\n")["invalid"][0])
        self.assertFalse(self.run_command("echo '{}'\n")["valid"])
        self.assertFalse(self.run_command("echo\n")["valid"])


if __name__ == "__main__":
    unittest.main()
