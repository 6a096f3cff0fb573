#!/usr/bin/env python3
"""tidelog log: files of a broker that runs, was stopped, was killed, or lost something.

Usage: log_files_test.py BUILD/tools/tidelog [unittest options]
"""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import tempfile
import time
import unittest
import urllib.request

from command_case import WAIT_SECONDS_MAX, CommandCase, answer_on_a_terminal, binary, main  # also finds broker_process
from broker_process import Broker


class BesideABroker(CommandCase):
    def test_log_verify_works_beside_a_running_broker(self):
        self.create("-p", 2)
        self.produce(b"".join(b"record %d\n" % i for i in range(1000)), "-p", 1)
        report = json.loads(self.broker.must_run("log", "verify", self.broker.data, "--json"))
        self.assertTrue(report["ok"], report)
        self.assertEqual(report["problems"], [])
        for journal in pathlib.Path(self.broker.data, "journal").iterdir():
            self.broker.must_run("log", "dump", journal)
        topic_id = json.loads(self.broker.must_run("topic", "describe", self.topic, "--json"))["topic_id"]
        mine = [item for item in report["partitions"] if item["path"].endswith(f"/{topic_id}/1")]
        self.assertEqual(len(mine), 1)
        self.assertGreater(mine[0].pop("batches"), 0)
        mine[0].pop("path")
        self.assertEqual(mine[0], {"records": 1000, "first_offset": 0, "end_offset": 1000, "problems": [],
                                   "notes": []})
        self.assertRegex(self.broker.must_run("log", "verify", self.broker.data), rb"\nok: \d+ partitions, ")

    def verify_on_a_terminal(self):
        """What log verify wrote on a terminal, held up in its midst until progress is due; None: it ended before."""
        main_end, terminal = os.openpty()
        self.addCleanup(os.close, main_end)
        verify = self.popen("log", "verify", self.broker.data, stdout=subprocess.DEVNULL, stderr=terminal)
        os.close(terminal)
        while verify.poll() is None and self.bytes_read(verify.pid) < 4 << 20:
            pass
        if verify.poll() is not None:
            return None
        verify.send_signal(signal.SIGSTOP)
        time.sleep(0.6)  # progress is shown from half a second on
        verify.send_signal(signal.SIGCONT)
        shown = b""
        while True:
            try:
                shown += os.read(main_end, 4096)
            except OSError:  # nobody holds the terminal any more
                break
        self.assertEqual(verify.wait(WAIT_SECONDS_MAX), 0)
        return shown

    @staticmethod
    def bytes_read(pid):
        try:
            return int(re.search(r"rchar: (\d+)", pathlib.Path(f"/proc/{pid}/io").read_text()).group(1))
        except (OSError, AttributeError):  # it has just ended
            return 1 << 60

    def test_log_verify_shows_on_a_terminal_how_much_it_checked(self):
        self.create()
        self.produce((b"y" * 999 + b"\n") * 100_000)
        for _ in range(20):  # the last bytes may be read before it is held up
            shown = self.verify_on_a_terminal()
            if shown:
                break
        self.assertRegex(shown, rb"\rchecked [\d.]+ MiB, [\d.]+ [KMG]iB/s\x1b\[K")
        self.assertTrue(shown.endswith(b"\r\x1b[K"), shown)  # the line is gone in the end

    def test_log_commands_say_what_they_cannot_read(self):
        with tempfile.TemporaryDirectory() as empty:
            result = self.broker.run("log", "verify", empty)
            self.assertEqual(result.returncode, 2)
            self.assertIn(b"neither a data directory", result.stderr)
        result = self.broker.run("log", "dump", __file__)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"is no file of Tidelog's", result.stderr)


class WithoutItsBroker(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="tidelog-cli-test-")
        self.broker = Broker(binary(), self.directory.name).start()

    def tearDown(self):
        self.broker.close()
        self.directory.cleanup()

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
        self.assertIn(b"in use by process %d; stop it first" % self.broker.process.pid, refused.stderr)
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
        code, output, shown = answer_on_a_terminal(self.broker, b"n\n", "log", "repair", self.broker.data, "--json")
        self.assertEqual((code, json.loads(output)["ok"]), (1, False))
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

    def test_consume_reads_what_is_sound_of_partitions_that_lost_records(self):
        self.broker.stop()
        self.broker.options = ["--set", "journal.bytes.max=32MiB"]  # the least
        self.broker.start()
        self.broker.must_run("topic", "create", "t", "-p", 2)
        noise = random.Random(1)
        values = [noise.randbytes(5000).hex().encode() for _ in range(4000)]
        # The first MiBs of it cannot be in the journal any more, however much that has grown.
        self.assertGreater(sum(map(len, values)), 36 << 20)
        for partition in range(2):
            self.broker.must_run("produce", "t", "-p", partition, stdin=b"\n".join(values))
        self.assertEqual(self.broker.stop(), 0)
        (segment,) = pathlib.Path(self.broker.data).glob("*/0/*.log")
        os.truncate(segment, 1 << 20)
        self.broker.start()
        result = self.broker.run("consume", "t", "-e", "-f", "%p %o %v\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"partition 0 of topic 't' has a problem: LOST_DATA: ", result.stderr)
        read = {0: {}, 1: {}}
        for row in result.stdout.splitlines():
            partition, offset, value = row.split(b" ")
            read[int(partition)][int(offset)] = value
        self.assertEqual(read[1], dict(enumerate(values)))
        sound = len(read[0])
        self.assertEqual(read[0], dict(enumerate(values[:sound])))
        self.assertGreater(sound, 0)
        self.assertLess(sound, len(values))
        alone = self.broker.run("consume", "t", "-e", "-p", 0)
        self.assertEqual((alone.returncode, alone.stdout.splitlines()), (1, values[:sound]))
        shown = self.broker.run("offset", "t", "end")
        self.assertEqual(shown.returncode, 1)
        self.assertEqual(shown.stdout.split(), b"PARTITION OFFSET 0 4000 (the end) 1 4000 (the end)".split())
        self.assertEqual(self.gauge("tidelog_lossy_partitions"), 1)
        # Nothing is deleted beside it.
        self.assertEqual(self.broker.run("topic", "trim", "t", "--before", "end").returncode, 1)
        self.assertEqual(json.loads(self.broker.must_run("topic", "describe", "t", "--json"))["partitions"][1]
                         ["start_offset"], 0)

    def gauge(self, name):
        """Over all shards."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.admin_port}/metrics", timeout=30) as answer:
            rows = [row for row in answer.read().decode().splitlines() if row.startswith(name + "{")]
        self.assertTrue(rows)
        return sum(float(row.split()[-1]) for row in rows)

    def test_a_damaged_batch_that_a_reader_met_is_told_and_can_be_left_behind(self):
        self.broker.stop()
        self.broker.options = ["--set", "journal.bytes.max=32MiB"]  # the least
        self.broker.start()
        self.broker.must_run("topic", "create", "t")
        noise = random.Random(1)
        values = [noise.randbytes(5000).hex().encode() for _ in range(4000)]
        self.broker.must_run("produce", "t", stdin=b"\n".join(values))
        self.assertEqual(self.broker.stop(), 0)
        (segment,) = pathlib.Path(self.broker.data).glob("*/0/*.log")
        with open(segment, "r+b") as file:
            file.seek(2 << 20)
            byte = file.read(1)
            file.seek(2 << 20)
            file.write(bytes([byte[0] ^ 1]))
        self.broker.start()

        def problem():
            described = json.loads(self.broker.must_run("topic", "describe", "t", "--json"))
            return described["partitions"][0].get("problem")

        self.assertEqual((problem(), self.gauge("tidelog_damaged_ranges")), (None, 0))
        result = self.broker.run("consume", "t", "-e")
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stdout.splitlines(), values[:len(result.stdout.splitlines())])
        behind = int(re.search(rb"-o (\d+)", result.stderr)[1])
        self.assertRegex(problem(), rf"^CORRUPT_DATA: .*offsets \d+ to {behind - 1} are damaged")
        self.assertIn(b"problem: CORRUPT_DATA", self.broker.must_run("topic", "describe", "t"))
        self.assertEqual(self.gauge("tidelog_damaged_ranges"), 1)
        # Who does not come to it has nothing to fear.
        rest = self.broker.run("consume", "t", "-o", behind, "-e")
        self.assertEqual((rest.returncode, rest.stdout.splitlines()), (0, values[behind:]))
        self.assertIn(b"has a problem: CORRUPT_DATA", rest.stderr)
        self.broker.must_run("topic", "trim", "t", "--before", behind)
        self.assertEqual((problem(), self.gauge("tidelog_damaged_ranges")), (None, 0))


if __name__ == "__main__":
    main()
