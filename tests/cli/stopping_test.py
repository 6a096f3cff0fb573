#!/usr/bin/env python3
"""Brokers that stop, die and come back under the commands, and directories without a broker.

Usage: stopping_test.py BUILD/tools/tidelog [unittest options]
"""

import json
import os
import pathlib
import random
import select
import signal
import subprocess
import tempfile
import time
import unittest

from command_case import WAIT_SECONDS_MAX, binary, main  # also finds broker_process
from broker_process import Broker


class Stopping(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="tidelog-cli-test-")
        self.broker = Broker(binary(), self.directory.name).start()

    def tearDown(self):
        self.broker.close()
        self.directory.cleanup()

    def test_sigterm_and_ctrl_c_stop_cleanly_and_records_stay(self):
        self.broker.must_run("topic", "create", "t")
        self.broker.must_run("produce", "t", stdin=b"a\n")
        self.assertEqual(self.broker.stop(signal.SIGTERM), 0, self.broker.log())
        self.broker.start()
        self.broker.must_run("produce", "t", stdin=b"b\n")
        self.assertEqual(self.broker.stop(signal.SIGINT), 130, self.broker.log())
        self.broker.start()
        self.assertEqual(self.broker.must_run("consume", "t", "-e"), b"a\nb\n")

    @unittest.skipIf("thread" in os.environ.get("TIDELOG_SANITIZE", ""),
                     "ThreadSanitizer delivers signals late and turns deaths by them into exits")
    def test_signals_end_a_broker_that_still_recovers_and_the_next_start_serves_everything(self):
        partitions = 600
        self.broker.must_run("topic", "create", "t", "-p", partitions)
        lines = b"".join(b"%d\n" % i for i in range(partitions * 4))
        self.broker.must_run("produce", "t", "-K", ":", stdin=lines.replace(b"\n", b":v\n"))
        self.broker.kill()
        for number, code in ((signal.SIGTERM, -signal.SIGTERM), (signal.SIGINT, 130), (signal.SIGHUP, -signal.SIGHUP)):
            # Recovery may be over between the look and the signal; then the stop is a clean one.
            for attempt in range(5):
                # With as many shards as before a start goes on with the journals, too quickly for this.
                self.broker.options = ["--shards", str(3 + attempt % 2)]
                self.broker.launch()
                while not self.broker.is_starting():
                    self.assertIsNone(self.broker.process.poll(), self.broker.log())
                begin = time.monotonic()
                ended_with = self.broker.stop(number)
                if "has stopped" not in self.broker.log():
                    break
                self.broker.start().kill()
                self.broker.log_path.write_text("")
            self.assertEqual(ended_with, code, self.broker.log())
            self.assertLess(time.monotonic() - begin, 5)
        self.broker.start()
        self.assertEqual(len(self.broker.must_run("consume", "t", "-e").splitlines()), partitions * 4)

    def test_log_verify_and_dump_show_stopped_files_and_find_a_flipped_bit(self):
        self.broker.must_run("topic", "create", "t")
        # More than a clean stop leaves in the journal, also when compressed.
        noise = random.Random(1)
        values = [f"record number {i} {noise.randbytes(600).hex()}" for i in range(1000)]
        self.broker.must_run("produce", "t", "-k", "key", "-z", "zstd", stdin="".join(
            value + "\n" for value in values).encode())
        self.assertEqual(self.broker.stop(), 0)
        report = json.loads(self.broker.must_run("log", "verify", self.broker.data, "--json"))
        self.assertTrue(report["ok"], report)
        self.assertEqual(report["partitions"][0]["records"], 1000)
        (segment,) = pathlib.Path(report["partitions"][0]["path"]).glob("*.log")
        rows = [json.loads(row) for row in
                self.broker.must_run("log", "dump", segment, "--records", "--json").splitlines()]
        self.assertEqual(rows[0]["base_offset"], 0)
        records = [row for row in rows if "value" in row]
        self.assertGreater(len(records), 7)  # the newest may be in the journal only
        self.assertEqual([row["offset"] for row in records], list(range(len(records))))
        self.assertEqual((records[7]["key"], records[7]["value"]), ("key", values[7]))
        batches = [row for row in rows if row.get("kind") == "batch"]
        self.assertEqual(sum(row["records"] for row in batches), len(records))
        self.assertEqual({row["codec"] for row in batches}, {4})
        self.assertIn(b" base_offset=0 ", self.broker.must_run("log", "dump", segment))

        data = bytearray(segment.read_bytes())
        data[batches[-1]["at"] + batches[-1]["bytes"] // 2] ^= 1
        segment.write_bytes(data)
        result = self.broker.run("log", "verify", self.broker.data, "--json")
        self.assertEqual(result.returncode, 1)
        report = json.loads(result.stdout)
        self.assertFalse(report["ok"])
        self.assertIn("checksum of the records", " ".join(report["partitions"][0]["problems"]))
        result = self.broker.run("log", "verify", self.broker.data)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"NOT ok", result.stdout)
        result = self.broker.run("log", "dump", segment)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"PROBLEM", result.stdout)

    def test_log_verify_finds_what_was_acknowledged_before_a_kill(self):
        self.broker.must_run("topic", "create", "t", "-p", 3)
        for partition in range(3):
            self.broker.must_run("produce", "t", "-p", partition, stdin=b"small\n" * (partition + 1))
        self.broker.kill()
        report = json.loads(self.broker.must_run("log", "verify", self.broker.data, "--json"))
        self.assertEqual(sorted(item["end_offset"] for item in report["partitions"]), [1, 2, 3])
        journals = sorted(pathlib.Path(self.broker.data, "journal").iterdir())
        dumped = b"".join(self.broker.must_run("log", "dump", path, "--records") for path in journals)
        self.assertEqual(dumped.count(b'"value":"small"'), 6)

    def test_log_repair_tells_what_is_lost_and_accepts_it_when_told_to(self):
        self.broker.must_run("topic", "create", "t")
        self.broker.must_run("produce", "t", stdin=b"".join(b"record %d\n" % i for i in range(10)))
        refused = self.broker.run("log", "repair", self.broker.data)
        self.assertEqual(refused.returncode, 1)
        self.assertIn(str(self.broker.process.pid).encode(), refused.stderr)
        self.assertEqual(self.broker.stop(), 0)
        sound = self.broker.run("log", "repair", self.broker.data)
        self.assertEqual(sound.returncode, 0, sound.stderr)
        self.assertIn(b"nothing is missing", sound.stdout)
        (segment,) = pathlib.Path(self.broker.data).glob("*/0/*.log")
        segment.unlink()
        for _ in range(2):  # asking changes nothing
            asked = self.broker.run("log", "repair", self.broker.data)
            self.assertEqual(asked.returncode, 1)
            self.assertIn(b"offsets 0 to 9 are lost (10 records)", asked.stdout)
            self.assertIn(b"--accept-loss", asked.stderr)
        shown = self.answer_on_a_terminal(b"n\n", "log", "repair", self.broker.data, "--json")
        self.assertRegex(shown, rb"(?s)offsets 0 to 9 are lost.*Accept this loss\?.*nothing was accepted")
        self.broker.start()
        self.assertIn(b"acknowledged records are missing", self.broker.run("produce", "t", stdin=b"x\n").stderr)
        self.broker.stop()
        repaired = self.broker.must_run("log", "repair", self.broker.data, "--accept-loss", "--json")
        report = json.loads(repaired)
        self.assertTrue(report["ok"])
        (partition,) = report["findings"][0]["partitions"]
        self.assertEqual(partition["lost"], [{"first_offset": 0, "last_offset": 9}])
        self.assertEqual(partition["end_offset"], 10)
        self.broker.start()
        self.broker.must_run("produce", "t", stdin=b"after\n")
        self.assertEqual(self.broker.must_run("consume", "t", "-o", 10, "-e", "-f", "%o %v\n"), b"10 after\n")
        self.broker.stop()
        self.assertIn(b"note: offsets 0 to 9 were lost",
                      self.broker.must_run("log", "verify", self.broker.data))

    def answer_on_a_terminal(self, answer, *words):
        """Runs a command that asks once on a terminal, and fails; what it wrote to standard error."""
        main_end, terminal = os.openpty()
        self.addCleanup(os.close, main_end)
        command = self.broker.popen(*words, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        shown = b""
        while b"[y/N] " not in shown:
            shown += os.read(main_end, 4096)
        os.write(main_end, answer)
        self.assertFalse(json.loads(command.stdout.read())["ok"])
        command.stdout.close()
        self.assertEqual(command.wait(WAIT_SECONDS_MAX), 1)
        while select.select([main_end], [], [], 0)[0]:
            try:
                shown += os.read(main_end, 4096)
            except OSError:  # what was written is read, and nobody holds the terminal any more
                break
        return shown

    def test_produce_survives_a_restart_of_the_broker(self):
        self.broker.must_run("topic", "create", "t")
        producer = self.broker.popen("produce", "t", "-o", "%v", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
        producer.stdin.write(b"before\n")
        producer.stdin.flush()
        self.assertEqual(producer.stdout.readline(), b"before\n")
        self.broker.stop()
        producer.stdin.write(b"meanwhile\n")
        producer.stdin.flush()
        self.broker.start()
        self.assertEqual(producer.stdout.readline(), b"meanwhile\n")
        producer.stdin.close()
        self.assertEqual(producer.wait(WAIT_SECONDS_MAX), 0)
        producer.stdout.close()
        producer.stderr.close()
        self.assertEqual(self.broker.must_run("consume", "t", "-e"), b"before\nmeanwhile\n")

    def test_produce_gives_up_after_its_timeout_and_says_how_much_arrived(self):
        self.broker.must_run("topic", "create", "t")
        producer = self.broker.popen("produce", "t", "-o", "%v", "--delivery-timeout", "1s", stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        producer.stdin.write(b"before\n")
        producer.stdin.flush()
        self.assertEqual(producer.stdout.readline(), b"before\n")
        self.broker.kill()
        begin = time.monotonic()
        producer.stdin.write(b"lost 1\nlost 2\n")
        producer.stdin.flush()  # and stays open: it ends by itself
        self.assertEqual(producer.wait(WAIT_SECONDS_MAX), 1)
        self.assertLess(time.monotonic() - begin, 30)
        words = producer.stderr.read()
        self.assertIn(b"acknowledged 1 record,", words)
        self.assertRegex(words, rb"2 failed|2 may or may not")
        self.assertIn(self.broker.address.encode(), words)
        for pipe in (producer.stdin, producer.stdout, producer.stderr):
            pipe.close()


if __name__ == "__main__":
    main()
