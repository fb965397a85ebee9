# SPDX-License-Identifier: BSD-3-Clause
"""Each mode of the load generator once against this tree's relay, and the yardstick for logins.

Usage: generator_test.py DERPER DERPER-LOAD HANDSHAKES [TEST]..."""
import os
import signal
import sys
import tempfile
import threading
import unittest
import unittest.mock

sys.dont_write_bytecode = True
from bench import cells, relay, runs, storm  # noqa: E402
from bench.relay import Program  # noqa: E402

DERPER, GENERATOR, HANDSHAKES = sys.argv[1:4]


class Generator(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.attempts = []
        core = min(os.sched_getaffinity(0))
        programs = {"ours": Program("ours", [DERPER], "ours"), "plain": Program("plain", [DERPER], "ours", plain=True),
                    "handshakes": Program("handshakes", [HANDSHAKES], relay.HANDSHAKES),
                    **{name: Program(name, [GENERATOR], name) for name in relay.YARDSTICKS}}
        self.bench = runs.Bench(programs, GENERATOR, folder.name, core, max(os.sched_getaffinity(0)), 0,
                                self.attempts.append)

    def run_mode(self, *arguments, program="ours"):
        """The machine may be full of tests: nothing is asked of times."""
        result = self.bench.run(program, cells.Cell("a test", "relay", [], [], pinned=False), list(arguments))
        self.assertTrue(result["valid"] or runs.spoilt(result), result)
        return result

    def test_relay(self):
        for program in ("ours", "plain"):
            result = self.run_mode("relay", "--pairs", "2", "--rate", "500", "--seconds", "0.5", "--warmup", "0.1",
                                   program=program)
            self.assertEqual((result["loss"], result["tls"]), (0, program == "ours"))
            self.assertEqual(result["delivered"], result["sent"])

    def test_a_relay_without_a_core_for_a_while_has_lost_nothing(self):
        for arguments in (["relay", "--pairs", "2", "--rate", "500", "--seconds", "0.2", "--warmup", "0.1"],
                          ["stun", "--requests", "4000", "--rate", "10000"]):
            with self.bench.relay("ours", False) as paused:
                timers = [threading.Timer(after_s, paused.process.send_signal, [number])
                          for after_s, number in ((0.15, signal.SIGSTOP), (0.75, signal.SIGCONT))]
                for timer in timers:
                    timer.start()
                result = self.bench.generate(paused, cells.Cell("a test", "relay", [], [], pinned=False), arguments)
                for timer in timers:
                    timer.join()
            self.assertEqual(result["loss"], 0, result)

    def test_pass(self):
        result = self.run_mode("relay", "--pairs", "40", "--rate", "500", "--seconds", "0.5", "--warmup", "0.1",
                               "--bare", program="pass")
        self.assertEqual((result["loss"], result["corrupt"]), (0, 0))
        self.assertGreater(result["delivered"], 0)

    def test_idle(self):
        result = self.run_mode("idle", "--clients", "10", "--hold", "0.1")
        self.assertEqual((result["clients"], result["received"]), (10, 10))
        self.assertIn("socket_memory_per_client_both_ends", result)

    def test_login(self):
        self.assertEqual(self.run_mode("login", "--logins", "20")["logins"], 20)

    def test_handshakes(self):
        result = self.run_mode("20", program="handshakes")
        self.assertEqual(result["logins"], 20)
        self.assertGreater(result["handshake_us"], result["box_us"])
        self.assertAlmostEqual(result["logins_per_cpu_s"] * (result["handshake_us"] + result["box_us"]), 1e6, delta=1e4)
        self.assertIn("handshakes 20", self.bench.commands()[0])

    def test_stun(self):
        self.assertEqual(self.run_mode("stun", "--requests", "500")["answers"], 500)
        self.assertEqual(self.run_mode("stun", "--requests", "500", "--echo", program="echo")["answers"], 500)

    def test_storm(self):
        cell = cells.storm_cell(30, 20)
        cell.pinned = False
        result = storm.run(self.bench, "ours", cell)
        self.assertTrue(result["valid"], result)
        self.assertEqual((result["clients"], result["back"], result["fed"]), (30, 30, 30))
        self.assertTrue(0 < result["back_s"] <= result["flowing_s"], result)
        self.assertGreater(result["cpu_in_logins"], 0)

    def test_storm_without_a_relay_to_come_back_to(self):
        cell = cells.storm_cell(4, 20)
        cell.pinned = False
        with unittest.mock.patch("bench.storm.PATIENCE_S", 1), \
                unittest.mock.patch("bench.relay.Relay.restart", lambda relay: relay.process.kill()):
            result = storm.run(self.bench, "ours", cell)
        self.assertFalse(result["valid"])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
