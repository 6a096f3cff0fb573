#!/usr/bin/env python3
"""tidelog bench: its figures add up, its words are clear, and it ends when it shall."""

import json
import signal
import subprocess

from command_case import CommandCase, main


class BenchCase(CommandCase):
    def bench(self, action, *options):
        said = self.broker.must_run("bench", action, "--topic", self.topic, "--json", *options)
        return json.loads(said)

    def refuse(self, *options):
        run = self.broker.run("bench", *options)
        self.assertNotEqual(run.returncode, 0)
        self.assertEqual(run.stdout, b"")
        return run.returncode, run.stderr.decode()


class Produce(BenchCase):
    def test_every_record_is_in_the_log(self):
        result = self.bench("produce", "--records", "5000", "--record-size", "100", "-p", "3", "--connections", "2")
        self.assertEqual((result["records"], result["record_bytes"], result["errors"]), (5000, 100, 0))
        lines = self.consume("-e", "-f", r"%p %V\n").split(b"\n")[:-1]
        self.assertEqual(len(lines), 5000)
        for partition in range(3):  # in turn
            self.assertAlmostEqual(lines.count(b"%d 100" % partition), 5000 / 3, delta=1)

    def test_figures_of_one_run_agree(self):
        result = self.bench("produce", "--records", "3000", "--record-size", "1000")
        self.assertAlmostEqual(result["achieved_per_s"], 3000 / result["seconds"], delta=1)
        self.assertAlmostEqual(result["mb_per_s"], 3.0 / result["seconds"], delta=0.1)
        latency = result["latency_us"]
        self.assertLessEqual(latency["p50"], latency["p90"])
        self.assertLessEqual(latency["p90"], latency["p99"])
        self.assertLessEqual(latency["p999"], latency["max"])
        self.assertLessEqual(latency["max"] / 1e6, result["seconds"] + 0.001)
        self.assertGreater(result["client_cpu_s"], 0)

    def test_tells_what_the_broker_used(self):
        broker = self.bench("produce", "--records", "2000", "--record-size", "1000")["broker"]
        self.assertGreaterEqual(broker["written_bytes"], 2_000_000)
        self.assertGreater(broker["memory_bytes"], 1_000_000)
        self.assertGreaterEqual(broker["cpu_s"], 0)

    def test_keeps_to_the_rate(self):
        result = self.bench("produce", "--records", "600", "--rate", "1000")
        self.assertEqual(result["offered_per_s"], 1000)
        self.assertGreaterEqual(result["seconds"], 0.599)  # the last one is due then, and no earlier

    def test_words_name_every_figure(self):
        text = self.broker.must_run("bench", "produce", "--topic", self.topic, "--records", "1500").decode()
        for part in ("produced 1,500 records of 1024 B", "MB/s", "acknowledgement", "p99.9", "client CPU",
                     "broker CPU", "per GB"):
            self.assertIn(part, text)

    def test_refuses_a_topic_of_another_size(self):
        self.create("-p", "2")
        code, said = self.refuse("produce", "--topic", self.topic, "-p", "3")
        self.assertEqual(code, 1)
        self.assertIn("has 2 partitions, not 3", said)

    def test_failures_are_counted_and_named(self):
        self.create("--set", "max.message.bytes=4096")
        run = self.broker.run("bench", "produce", "--topic", self.topic, "--records", "5", "--record-size", "100000",
                              "--json")
        self.assertEqual(run.returncode, 1)
        result = json.loads(run.stdout)
        self.assertEqual((result["records"], result["errors"]), (0, 5))
        self.assertIn(b"5 operations failed; the first:", run.stderr)

    def test_ctrl_c_reports_what_was_done(self):
        process = self.popen("bench", "produce", "--topic", self.topic, "--records", "100000000", "--rate", "2000",
                             "--json", stdout=subprocess.PIPE)
        # It ends by itself when it has read one.
        self.broker.must_run("bench", "latency", "--topic", self.topic, "--records", "1")
        self.consume("-n", "2")
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 130)
        result = json.loads(out)
        self.assertGreater(result["records"], 0)
        self.assertEqual(result["errors"], 0)


class Latency(BenchCase):
    def test_one_record_at_a_time(self):
        result = self.bench("latency", "--records", "50")
        self.assertEqual((result["records"], result["errors"]), (50, 0))
        self.assertIsNone(result["end_to_end_us"])
        # One after the other: together they take no longer than the whole run.
        self.assertLessEqual(result["latency_us"]["p50"] * 25 / 1e6, result["seconds"])

    def test_consumers_read_along(self):
        result = self.bench("latency", "--records", "50", "--consumers", "2", "--record-size", "16")
        self.assertGreater(result["end_to_end_us"]["p50"], 0)

    def test_consumers_do_not_count_what_others_wrote(self):
        self.create()
        self.produce(b"somebody else's record, long enough for a stamp\n")
        self.assertEqual(self.bench("latency", "--records", "5", "--consumers", "1")["records"], 5)

    def test_consumers_need_room_for_a_stamp(self):
        code, said = self.refuse("latency", "--consumers", "1", "--record-size", "15")
        self.assertEqual(code, 2)
        self.assertIn("--record-size of 16", said)

    def test_consumers_keep_a_bounded_number_of_records_in_mind(self):
        code, said = self.refuse("latency", "--consumers", "1", "--records", "50000001")
        self.assertEqual(code, 2)
        self.assertIn("50000000 --records at most", said)


class Consume(BenchCase):
    def test_reads_all_there_is(self):
        self.bench("produce", "--records", "4000", "--record-size", "100", "-p", "4")
        result = self.bench("consume", "--connections", "3")
        self.assertEqual((result["records"], result["record_bytes"], result["errors"]), (4000, 100, 0))
        self.assertIsNone(result["latency_us"])

    def test_fans_out(self):
        self.bench("produce", "--records", "1000")
        self.assertEqual(self.bench("consume", "--connections", "3", "--fan-out")["records"], 3000)

    def test_says_where_records_come_from_when_there_are_none(self):
        self.create()
        code, said = self.refuse("consume", "--topic", self.topic)
        self.assertEqual(code, 1)
        self.assertIn(f"tidelog bench produce --topic {self.topic}", said)

    def test_a_topic_that_is_missing(self):
        code, said = self.refuse("consume", "--topic", "nowhere")
        self.assertEqual(code, 1)
        self.assertIn("there is no topic 'nowhere'", said)


if __name__ == "__main__":
    main()
