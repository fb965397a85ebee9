#!/usr/bin/env python3
# SPDX-License-Identifier: BSD-3-Clause
"""Those parts of the tailnet that need no root."""
import os
import signal
import socket
import sys
import tempfile
import time
import unittest
import unittest.mock

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "e2e")]  # of stalls.py
sys.dont_write_bytecode = True

import stalls  # noqa: E402 (path first)

from tailnet import (authority, flow, headscale, namespace, node, program, programs, relay,  # noqa: E402 (path first)
                     traffic, waiting)

VARZ = """\
# TYPE derp_packets_dropped counter
derp_packets_dropped{reason="queue_head",kind="other"} 7
derp_packets_dropped{reason="queue_head",kind="disco"} 1
version{version="1.2 x",binary="derper"} 1
derp_bytes_sent 1.5e+06
"""


class Relay(unittest.TestCase):
    def test_samples_have_their_labels(self):
        samples = relay.parse_varz(VARZ)
        self.assertEqual(samples["derp_bytes_sent"], 1500000)
        self.assertEqual(samples['derp_packets_dropped{reason="queue_head",kind="other"}'], 7)
        self.assertEqual(len(samples), 4)

    def test_only_drops_that_rose_are_told(self):
        before = {'derp_packets_dropped{reason="queue_head",kind="disco"}': 1}
        self.assertEqual(relay.drops(before, relay.parse_varz(VARZ)), {"queue_head/other": 7})

    def test_metrics_that_do_not_answer_are_a_failure(self):
        asked = unittest.mock.Mock()
        asked.varz.return_value = {"derp_bytes_sent": 1.0}
        self.assertEqual(flow.counters(asked), {"derp_bytes_sent": 1.0})
        for samples, said in (({}, "do not answer"), ({"version": 1.0}, "do not say derp_bytes_sent")):
            asked.varz.return_value = samples
            with self.assertRaisesRegex(program.CommandFailed, said):
                flow.counters(asked)

    def test_map_names_address_ports_and_pin(self):
        class One:
            region, address, port, stun_port, pin = 901, "192.0.2.9", 8443, 3479, "ab" * 32

        text = headscale.derp_map([One])
        for word in ("  901:\n", "name: 901a", "ipv4: 192.0.2.9", "derpport: 8443", "stunport: 3479",
                     "'sha256-raw:" + "ab" * 32 + "'"):
            self.assertIn(word, text)


    def test_maps_are_found_in_what_the_relay_prints(self):
        one = relay.Relay.__new__(relay.Relay)
        one.running = unittest.mock.Mock()
        one.running.log.return_value = (
            "derper: serving\n\nDERP map for Tailscale (access controls, as JSON):\n\n{\n  \"derpMap\": {}\n}\n\n"
            "DERP map for Headscale (a file named in derp.paths, as YAML):\n\nregions:\n  900:\n\nclient x left\n")
        self.assertEqual(one.announced(), ({"derpMap": {}}, "regions:\n  900:\n"))


class Nodes(unittest.TestCase):
    def test_json_is_found_behind_warnings(self):
        self.assertEqual(node.json_in('# Warning: not stable\n{"UDP": true}\n'), {"UDP": True})

    def test_certificate_is_the_authoritys(self):
        with tempfile.TemporaryDirectory() as folder:
            mine = authority.Authority(os.path.join(folder, "ca"))
            mine.issue("x.test", folder)
            certificate = os.path.join(folder, "x.test.crt")
            program.command("openssl", "verify", "-CAfile", mine.certificate, "-verify_hostname", "x.test", certificate)
            with self.assertRaises(program.CommandFailed):
                program.command("openssl", "verify", certificate)


class Namespaces(unittest.TestCase):
    def test_only_what_the_dead_left_is_removed(self):
        names = ["tailnet-12-a", "tailnet-13-relay", "tailnet-x-a", "other-12-a", "tailnet-12-"]
        self.assertEqual(namespace.left_behind(names, lambda pid: pid == 13), ["tailnet-12-a"])

    def test_a_zombie_is_dead(self):
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
        self.assertFalse(namespace.is_alive(pid))
        os.waitpid(pid, 0)
        self.assertFalse(namespace.is_alive(pid))
        self.assertTrue(namespace.is_alive(os.getpid()))


class Programs(unittest.TestCase):
    def test_go_versions_compare_as_numbers(self):
        for version, enough in (("go1.26.6", True), ("go1.27", True), ("go1.26.10 X:a", True), ("go1.26.5", False),
                                ("go1.3", False), ("devel", False)):
            self.assertEqual(programs.new_enough(version), enough, version)

    def test_what_is_missing_or_older_is_built(self):
        with tempfile.TemporaryDirectory() as folder:
            old, new = os.path.join(folder, "old"), os.path.join(folder, "new")
            for path, time in ((old, 1), (new, 2)):
                with open(path, "w", encoding="ascii"):
                    os.utime(path, (time, time))
            self.assertTrue(programs.is_newer(new, [old]))
            self.assertFalse(programs.is_newer(old, [new]))
            self.assertFalse(programs.is_newer(os.path.join(folder, "none"), [old]))


class Waiting(unittest.TestCase):
    def test_says_for_what(self):
        with self.assertRaisesRegex(waiting.TooLate, "for the moon"):
            waiting.wait_until(lambda: False, "the moon", patience_s=0.01, pause_s=0.001)


def stand_still(seconds):
    """As if the machine did: nothing of this process runs."""
    here = os.getpid()
    if os.fork() == 0:
        os.kill(here, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(here, signal.SIGCONT)
        os._exit(0)
    time.sleep(seconds / 2)  # at the latest
    os.wait()


class Stalls(unittest.TestCase):
    def test_the_clock_stands_still_with_the_machine(self):
        stalls.now()
        time.sleep(0.1)
        begin_s, awake_s = time.monotonic(), stalls.now()
        stand_still(0.6)
        self.assertGreater(time.monotonic() - begin_s, 0.6)
        self.assertLess(stalls.now() - awake_s, 0.5)
        awake_s = stalls.now()
        time.sleep(0.5)
        self.assertGreater(stalls.now() - awake_s, 0.1)  # but goes on

    def attempts(self, lost_s):
        """How often a test that always fails is done when there was a stall in each."""
        done = []

        @stalls.despite_stalls
        def test():
            done.append(1)
            assert False

        with unittest.mock.patch.object(stalls, "lost_s", side_effect=(lost_s * n for n in range(100))):
            with self.assertRaises(AssertionError):
                test()
        return len(done)

    def test_what_fails_without_a_stall_has_failed(self):
        self.assertEqual(self.attempts(0), 1)

    def test_what_fails_each_time_has_failed(self):
        self.assertEqual(self.attempts(2), stalls.ATTEMPTS)

    def test_a_spoiled_attempt_is_done_again(self):
        done = []

        @stalls.despite_stalls
        def test(**named):
            done.append(named)
            assert len(done) == 2

        with unittest.mock.patch.object(stalls, "lost_s", side_effect=(2 * n for n in range(100))):
            test(a=1)
        self.assertEqual(done, [{"a": 1}, {"a": 1}])


class Traffic(unittest.TestCase):
    def test_percentiles(self):
        self.assertEqual(traffic.percentile([3, 1, 2, 4], 0.5), 3)
        self.assertEqual(traffic.percentile([3, 1, 2, 4], 0.99), 4)
        self.assertIsNone(traffic.percentile([], 0.5))

    def test_longest_silence_has_both_ends(self):
        self.assertEqual(traffic.longest_silence_s(0, [], 7), 7)
        self.assertEqual(traffic.longest_silence_s(0, [1, 2, 5, 6], 7), 3)
        self.assertEqual(traffic.longest_silence_s(0, [4, 5], 6), 4)
        self.assertEqual(traffic.longest_silence_s(0, [1], 6), 5)

    def test_watch_counts_echoes(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        traffic.Receiver(port).start()
        left = iter(range(10))
        heard = traffic.watch("127.0.0.1", port, lambda: next(left, None) is None)
        self.assertEqual(heard["answers"], 10)
        self.assertLess(heard["silence_s"], 5)

    def test_flows_over_loopback(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        traffic.Receiver(port).start()
        result = traffic.send("127.0.0.1", port, flows=2, warm_up_s=0, seconds=0.2)
        self.assertGreater(result["bytes"], traffic.WRITE_BYTES)
        self.assertGreater(result["mbit_per_s"], 10)
        self.assertGreater(result["rtt_p99_ms"], 0)
        self.assertEqual(result["probes_lost"], 0)


if __name__ == "__main__":
    unittest.main()
