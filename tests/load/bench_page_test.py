# SPDX-License-Identifier: BSD-3-Clause
"""The benchmark's page: goals, plots, the file of results, and what may be published."""
import io
import os
import sys
import tempfile
import unittest
import xml.etree.ElementTree as xml

sys.dont_write_bytecode = True
from bench import cells, goals, page, plots, publish, svg  # noqa: E402
from bench.results import Results  # noqa: E402

RUN = {"start": "2026-01-02 03:04:05 UTC", "machine": "a machine", "busy_share": 0.01, "programs": ["ours", "theirs"],
       "ours": "1.0", "theirs": "2.0", "others": "", "cores": "0 and 1", "rounds": "2", "left_out": None}
SINGLE = cells.relay_cell(1200, 16, 1, 20000, baselines=[cells.Baseline(cells.PLAIN, "plain", ["relay"])])
BURSTS = cells.relay_cell(1200, 16, 8, 80000)
SWEEP = cells.sweep_cell(1200, 16, 8)
MEMORY = cells.memory_cell(9000, 5)


def relayed(cpu, p99=80.0, loss=0.0):
    return {"valid": True, "invalid": [], "loss": loss, "frames_per_cpu_s": cpu,
            "latency_us": {"p50": 40.0, "p99": p99, "p99.9": 90.0}}


def swept(highest, limit="loss"):
    steps = [{"rate": rate, "valid": True, "held": rate <= highest, "loss": 0.0, "p50": 30.0, "p99": 60.0 + rate / 1000,
              "relay_share": 0.94}
             for rate in (20000, 40000, 80000)]
    return {"valid": True, "invalid": [], "highest": highest, "limit": limit, "steps": steps}


def remembered(rss):
    return {"valid": True, "invalid": [], "rss_per_client": rss * 1024, "slab_per_client_both_ends": 9000,
            "slab_unreclaimable_per_client_both_ends": 6000, "socket_memory_per_client_both_ends": 0,
            "rss_before_bytes": 8e6}


def sample(out=None, run=RUN):
    """Two rounds of a few settings."""
    results = Results(out)
    results.keep({"run": run})
    for cell, by_label in ((SINGLE, {"ours": relayed(100000), "theirs": relayed(40000), cells.PLAIN: relayed(200000)}),
                           (BURSTS, {"ours": relayed(500000, 70.0), "theirs": relayed(100000, 1000.0, 0.004)}),
                           (SWEEP, {"ours": swept(80000), "theirs": swept(40000)}),
                           (MEMORY, {"ours": remembered(0.9), "theirs": remembered(63)})):
        results.keep({"cell": cell})
        for number in range(2):
            for label, result in by_label.items():
                results.keep({"result": dict(result, cell=cell.name, label=label, round=number)})
                results.keep({"attempt": dict(result, cell=cell.name)})
    results.keep({"commands": ["ours -a 127.0.0.1:1", "derper-load relay"]})
    return results


def goal_row(results, what, limit):
    goal, = (g for g in goals.GOALS if g.what == what and g.limit == limit)
    return goals.row(results, goal)


class Goals(unittest.TestCase):
    def test_reached_and_missed(self):
        results = sample()
        self.assertEqual(goal_row(results, "Frames per CPU-second, single frames, 20 k/s", 2)[2:],
                         ["2.50 times", "2.50–2.50, 2 rounds", "yes"])
        self.assertEqual(goal_row(results, "… against the same program without TLS", 0.9)[4], "**no**")
        self.assertEqual(goal_row(results, "Memory per idle client", 1)[2], "0.90 KiB")
        self.assertEqual(goal_row(results, "Memory per idle client", 1 / 50)[4], "yes")

    def test_the_most_clients_count(self):
        results = sample()
        few = cells.memory_cell(500, 1)
        results.keep({"cell": few})
        results.keep({"result": dict(remembered(3), cell=few.name, label="ours", round=0)})
        self.assertEqual(goal_row(results, "Memory per idle client", 1)[2], "0.90 KiB")
        self.assertIn("0.90", page.short(results, "x"))

    def test_loss_is_told(self):
        row = goal_row(sample(), "p99 latency, bursts of 8, 80 k/s", 0.1)
        self.assertEqual((row[2], row[4]), ("0.070 times; theirs lost 0.40 %", "yes"))

    def test_a_relay_in_collapse_is_not_compared(self):
        results = sample()
        for result in results.of(BURSTS, "theirs"):
            result["loss"] = 0.05
        self.assertEqual(goal_row(results, "p99 latency, bursts of 8, 80 k/s", 0.1)[4], "–")

    def test_a_generator_that_was_the_limit(self):
        results = sample()
        what = "Highest rate with less than 0.1 % loss, bursts of 8"
        for result in results.of(SWEEP, "ours"):
            result["limit"] = "late generator"
        row = goal_row(results, what, 10)
        self.assertIn("2.00 times or more; the generator was the limit", row[2])
        self.assertEqual(row[4], "not shown")
        for result in results.of(SWEEP, "ours"):
            result["limit"] = "nothing above 80000 was tried"
        self.assertIn("2.00 times or more; no higher rate was tried", goal_row(results, what, 10)[2])
        for result in results.of(SWEEP, "theirs"):
            result["limit"] = "late generator"
        self.assertIn("not measured", goal_row(results, what, 10)[2])

    def test_every_goal_has_a_setting(self):
        from bench import options
        every = cells.every(options.parse("", []))
        for goal in goals.GOALS:
            self.assertTrue([c for c in every if goal.cell in (c.name, c.group)], goal)
            for said, *_ in page.HEADLINES:
                self.assertTrue([c for c in every if said in (c.name, c.group)], said)


class Plots(unittest.TestCase):
    def test_what_there_is_is_drawn(self):
        drawn = plots.every(sample())
        self.assertEqual([name for name, *_ in drawn], ["cpu.svg", "latency.svg", "memory.svg"])
        for _, title, text in drawn:
            root = xml.fromstring(text)
            self.assertIn(title, "".join(root.itertext()))
        self.assertEqual(plots.every(Results()), [])

    def test_bars_are_as_long_as_their_values(self):
        root = xml.fromstring(svg.bars("t", "u", ["a", "b"], [("g", {"a": (50, 40, 60), "b": (100, 100, 100)})]))
        bars = [r for r in root.iter("{http://www.w3.org/2000/svg}rect") if r.get("height") == str(svg.BAR)]
        self.assertAlmostEqual(2 * float(bars[0].get("width")), float(bars[1].get("width")), delta=0.3)

    def test_names_are_escaped(self):
        xml.fromstring(svg.bars("<&>", "<", ["<a>"], [("&", {"<a>": (1, 1, 1)})]))

    def test_axes(self):
        self.assertEqual(svg.decades(20, 640), [20, 50, 100, 200, 500, 1000])
        self.assertEqual(svg.decades(20, 20), [20, 50])
        self.assertEqual([svg.nice_step(n) for n in (5, 9, 700, 0.3)], [1, 2, 200, 0.1])

    def test_one_point_is_enough_for_a_line(self):
        xml.fromstring(svg.lines("t", "x", "y", [("a", 0, True, [(20, 50, 50, 50)])]))


class Kept(unittest.TestCase):
    def test_a_file_gives_the_same_page(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "results.jsonl")
            with open(path, "w", encoding="utf-8") as file:
                kept = sample(file)
            read = Results()
            read.load(path)
        self.assertEqual(page.render(read, plots.every(read)), page.render(kept, plots.every(kept)))
        self.assertEqual(read.cells, kept.cells)

    def test_later_files_add_rounds(self):
        out = io.StringIO()
        joined = sample(out)
        for line in out.getvalue().splitlines():
            joined.take(__import__("json").loads(line))
        self.assertEqual(len(joined.of(SINGLE, "ours")), 4)


class Published(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.readme = os.path.join(self.folder.name, "README.md")
        os.mkdir(os.path.join(self.folder.name, "scripts"))
        with open(self.readme, "w", encoding="utf-8") as file:
            file.write(f"before\n{publish.BEGIN}\nold\n{publish.END}\nafter\n")

    def text(self):
        with open(self.readme, encoding="utf-8") as file:
            return file.read()

    def test_page_plots_and_readme(self):
        publish.publish(sample(), self.folder.name)
        text = self.text()
        self.assertTrue(text.startswith("before\n" + publish.BEGIN) and text.endswith(publish.END + "\nafter\n"))
        self.assertNotIn("old", text)
        for wanted in ("2026-01-02", "a machine", publish.PLACE + "/cpu.svg"):
            self.assertIn(wanted, text)
        self.assertEqual(sorted(os.listdir(os.path.join(self.folder.name, publish.PLACE))),
                         ["README.md", "cpu.svg", "latency.svg", "memory.svg"])

    def refused(self, results):
        before = self.text()
        with self.assertRaises(publish.Refused):
            publish.publish(results, self.folder.name)
        self.assertEqual(self.text(), before)
        self.assertFalse(os.path.exists(os.path.join(self.folder.name, publish.PLACE)))
        self.assertIn("prove function, not speed", page.render(results, []))

    def test_refused_from_a_busy_machine(self):
        self.refused(sample(run=dict(RUN, busy_share=0.4)))

    def test_refused_when_many_runs_were_spoilt(self):
        results = sample()
        for _ in range(20):
            results.keep({"attempt": {"valid": False, "invalid": ["late generator: p50 1 us"], "cell": SINGLE.name}})
        self.refused(results)

    def test_a_late_generator_is_no_accident_in_a_sweep(self):
        results = sample()
        for _ in range(20):
            results.keep({"attempt": {"valid": False, "invalid": ["late generator: p50 1 us"], "cell": SWEEP.name}})
        self.assertEqual(list(results.reasons_against()), [])

    def test_refused_without_marks(self):
        with open(self.readme, "w", encoding="utf-8") as file:
            file.write("no marks")
        with self.assertRaises(publish.Refused):
            publish.publish(sample(), self.folder.name)


if __name__ == "__main__":
    unittest.main()
