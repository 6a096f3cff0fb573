#!/usr/bin/env python3
"""The commands as a person or a script uses them, against a broker of their own.

Usage: commands_test.py BUILD/tools/tidelog [unittest options]
"""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

from command_case import CommandCase, WAIT_SECONDS_MAX, main, run_alone  # also finds broker_process
from broker_process import Broker, free_ports


class WithoutBroker(unittest.TestCase):
    def test_every_help_shows_an_example_on_stdout(self):
        for words in ((), ("broker",), ("topic",), ("topic", "create"), ("topic", "list"), ("topic", "describe"),
                      ("topic", "delete"), ("topic", "alter"), ("topic", "add-partitions"), ("topic", "trim"),
                      ("produce",), ("consume",), ("log",), ("log", "verify"), ("log", "dump"),
                      ("log", "repair")):
            with self.subTest(command=words):
                result = run_alone(*words, "--help")
                self.assertEqual(result.returncode, 0)
                self.assertIn(b"Example", result.stdout)
                self.assertIn(b"Usage: " + " ".join(("tidelog", *words)).encode(), result.stdout)
                self.assertEqual(result.stderr, b"")

    def test_version_is_one_line(self):
        self.assertRegex(run_alone("--version").stdout, rb"^tidelog \d+\.\d+\.\d+\n$")

    def test_usage_errors_exit_2_and_name_what_is_close(self):
        for words, part in (
            ((), b"Usage"),
            (("prodcue", "x"), b"did you mean 'produce'?"),
            (("topic", "creat", "x"), b"did you mean 'create'?"),
            (("topic",), b"create, list, describe, alter, add-partitions, trim, delete"),
            (("zzzz",), b"there are broker"),
            (("consume", "x", "--jsn"), b"did you mean '--json'?"),
            (("consume", "x", "y"), b"does not take 'y'"),
            (("consume",), b"tidelog consume TOPIC"),
            (("consume", "x", "-o", "soon"), b":end"),
            (("consume", "x", "-f", "%q"), b"'%q' is no field"),
            (("consume", "x", "-f", "%v", "--json"), b"use one"),
            (("consume", "x", "-p", "a"), b"0-3"),
            (("consume", "x", "--timeout", "5"), b"500ms"),
            (("produce",), b"tidelog produce TOPIC"),
            (("produce", "x", "-z", "brotli"), b"none, gzip, snappy, lz4 or zstd"),
            (("produce", "x", "-z", "zstd:20"), b"levels 1 to 19, not '20'"),
            (("produce", "x", "-z", "gzip:"), b"levels 1 to 9, not ''"),
            (("produce", "x", "-z", "snappy:1"), b"snappy has no levels"),
            (("produce", "x", "--acks", "two"), b"all, leader or none"),
            (("produce", "x", "-k", "a", "-K", ":"), b"use one of them"),
            (("produce", "x", "-H", "a"), b"key=value"),
            (("produce", "x", "-f", "%k%v"), b"nothing separates %k from %v"),
            (("produce", "x", "-D", ""), b"at least one character"),
            (("produce", "x", "-b", "host:port"), b"HOST:PORT"),
            (("topic", "delete", "x"), b"add -y"),
            (("topic", "create", "x", "-p", "0"), b"--partitions"),
            (("broker", "--set", "nonsense"), b"key=value"),
            (("broker", "--set", "log.levle=debug"), b"log.level"),
        ):
            with self.subTest(command=words):
                result = run_alone(*words)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(part, result.stderr)
                self.assertEqual(result.stdout, b"")

    def test_settings_are_listed_with_their_meaning(self):
        self.assertIn(b"data.dir", run_alone("broker", "--settings").stdout)
        settings = json.loads(run_alone("broker", "--settings", "--json").stdout)
        self.assertEqual({"name", "type", "default", "environment", "live", "meaning"}, set(settings[0]))

    def test_a_broker_that_is_down_is_named_together_with_what_to_do(self):
        (port,) = free_ports(1)
        for words in (("topic", "list"), ("consume", "x"), ("produce", "x")):
            with self.subTest(command=words):
                result = run_alone(*words, environment={"TIDELOG_BROKERS": f"127.0.0.1:{port}"})
                self.assertEqual(result.returncode, 1)
                self.assertIn(f"127.0.0.1:{port}".encode(), result.stderr)
                self.assertIn(b"tidelog broker", result.stderr)

    def test_a_missing_file_fails_before_anything_is_sent(self):
        result = run_alone("produce", "x", "/no/such/file")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"/no/such/file", result.stderr)


class WithBroker(CommandCase):
    # Round trips.

    def test_lines_come_back_whatever_they_hold(self):
        self.create()
        lines = [b"", b"plain", b"", b"nul \0 inside", b"\xff\xfe not UTF-8 \xc3", b"carriage return\r",
                 "ünïcödé ☃".encode(), b"x" * (1 << 20), b"%v \\n {hex}", b" leading and trailing ", b"\0", b""]
        self.produce(b"\n".join(lines) + b"\n")
        self.assertEqual(self.consume("-e"), b"\n".join(lines) + b"\n")

    def test_a_last_line_without_newline_is_a_record_too(self):
        self.create()
        self.produce(b"one\ntwo")
        self.assertEqual(self.consume("-e"), b"one\ntwo\n")

    def test_nothing_in_nothing_out(self):
        self.create()
        self.produce(b"")
        self.assertEqual(self.consume("-e"), b"")

    def test_many_lines_in_order(self):
        self.create()
        data = b"".join(b"line %d\n" % i for i in range(200_000))
        self.produce(data)
        self.assertEqual(self.consume("-e"), data)

    def test_files_are_sent_one_after_the_other_and_dash_is_stdin(self):
        self.create()
        first, second = (pathlib.Path(self.directory.name) / name for name in ("a.txt", "b.txt"))
        first.write_bytes(b"1\n2")
        second.write_bytes(b"4\n")
        self.produce(b"3\n", first, "-", second)
        self.broker.must_run("produce", "-t", self.topic, second)
        self.assertEqual(self.consume("-e"), b"1\n2\n3\n4\n4\n")

    def test_compressed_records_come_back(self):
        self.create()
        data = b"".join(b"a line that repeats itself %d\n" % (i % 10) for i in range(20_000))
        codecs = ("none", "gzip", "snappy", "lz4", "zstd", "gzip:9", "lz4:12", "zstd:19")
        for codec in codecs:
            self.produce(data, "-z", codec)
        self.assertEqual(self.consume("-e"), data * len(codecs))

    def test_keys_choose_partitions_and_keep_their_order(self):
        self.create("-p", 4)
        self.produce(b"".join(b"k%d:%d\n" % (i % 20, i) for i in range(2000)), "-K", ":")
        partition_of, last = {}, {}
        for row in self.consume("-e", "-f", r"%p %k %v\n").splitlines():
            partition, key, value = row.split(b" ")
            self.assertEqual(partition_of.setdefault(key, partition), partition)
            self.assertGreater(int(value), last.get(key, -1))
            last[key] = int(value)
        self.assertEqual(len(last), 20)
        self.assertEqual(len(set(partition_of.values())), 4)

    def test_a_line_without_key_delimiter_has_no_key(self):
        self.create()
        self.produce(b"no key\na=>b=>c\n=>empty key\n", "-K", "=>")
        self.assertEqual(self.consume("-e", "-f", r"%K [%k] [%v]\n"),
                         b"-1 [] [no key]\n1 [a] [b=>c]\n0 [] [empty key]\n")

    def test_one_key_partition_and_headers_for_all(self):
        self.create("-p", 3)
        self.produce(b"v\n", "-k", "key", "-p", 2, "-H", "a=1", "-H", "b=x=y")
        self.assertEqual(self.consume("-e", "-f", r"%t %p %o %k %v %h\n"),
                         f"{self.topic} 2 0 key v a=1,b=x=y\n".encode())

    def test_other_delimiters_end_records(self):
        self.create()
        self.produce(b"a\nb\0c\0", "-D", r"\0")
        self.produce(b"d--e", "-D", "--")
        self.assertEqual(self.consume("-e", "-f", r"<%v>"), b"<a\nb><c><d><e>")

    def test_what_a_format_prints_the_same_format_reads(self):
        self.create("-p", 3)
        text = r"%p %d %K %V %h{json} %k%v"
        self.produce(b"k:a\nb\n\n", "-K", ":", "-H", "h=1,2", "-p", 1)
        self.produce(b"bin\xff\n\0ary", "-D", "--", "-p", 1)
        printed = self.consume("-e", "-f", text)
        self.broker.must_run("topic", "create", self.topic + "_copy", "-p", 3)
        self.broker.must_run("produce", self.topic + "_copy", "-f", text, stdin=printed)
        self.assertEqual(self.broker.must_run("consume", self.topic + "_copy", "-e", "-f", text), printed)
        self.assertIn(b"bin\xff\n\0ary", printed)

    def test_input_that_does_not_look_like_the_format_names_the_record(self):
        self.create()
        result = self.broker.run("produce", self.topic, "-f", r"%p %v\n", stdin=b"0 fine\nx bad\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"standard input, record 2", result.stderr)
        self.assertEqual(self.consume("-e"), b"fine\n")

    # What produce says.

    def test_the_summary_is_one_line_on_stderr(self):
        self.create()
        result = self.broker.run("produce", self.topic, stdin=b"a\nbc\n")
        self.assertEqual(result.stdout, b"")
        self.assertRegex(result.stderr, rb"^acknowledged 2 records, 3 B in [0-9.]+ s [^\n]*\n$")
        self.assertEqual(self.broker.run("produce", self.topic, "-q", stdin=b"a\n").stderr, b"")

    def test_the_json_summary_has_the_promised_shape(self):
        self.create("-p", 2)
        self.produce(b"x\n", "-p", 1)
        summary = json.loads(self.produce(b"a\nbc\n", "-p", 1, "-D", r"\n", "--json"))
        self.assertGreater(summary.pop("seconds"), 0)
        self.assertEqual(summary, {"records": 2, "bytes": 3, "failed": 0, "unknown": 0,
                                   "partitions": [{"partition": 1, "first_offset": 1, "last_offset": 2}]})
        result = self.broker.run("produce", self.topic, "--json", "-o", "%p", "-p", 1, stdin=b'{"value":"a"}\n')
        self.assertEqual(result.stdout, b"1\n")
        self.assertEqual(json.loads(result.stderr)["records"], 1)

    def test_acknowledgements_are_printed_in_order(self):
        self.create()
        printed = self.produce(b"".join(b"k%d:v%d\n" % (i, i) for i in range(5000)),
                               "-K", ":", "-o", "%t %p %o %k=%v")
        self.assertEqual(printed, b"".join(b"%s 0 %d k%d=v%d\n" % (self.topic.encode(), i, i, i)
                                           for i in range(5000)))

    def test_an_acknowledgement_comes_while_the_input_stays_open(self):
        self.create()
        producer = self.broker.popen("produce", self.topic, "-o", "%o %v", "-q",
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for i in range(3):
            producer.stdin.write(b"line %d\n" % i)
            producer.stdin.flush()
            self.assertEqual(producer.stdout.readline(), b"%d line %d\n" % (i, i))
        producer.stdin.close()
        self.assertEqual(producer.wait(WAIT_SECONDS_MAX), 0)
        producer.stdout.close()

    def test_every_kind_of_acknowledgement_delivers(self):
        self.create()
        for acks in ("all", "leader", "none"):
            self.produce(b"x\n", "--acks", acks)
        self.assertEqual(self.consume("-n", 3, "--timeout", "30s"), b"x\nx\nx\n")

    def test_a_record_that_is_too_large_fails_and_the_others_arrive(self):
        self.create()
        result = self.broker.run("produce", self.topic, stdin=b"a\n" + b"x" * (5 << 20) + b"\nb\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"1 failed", result.stderr)
        self.assertIn(b"acknowledged 2 records", result.stderr)
        self.assertEqual(self.consume("-e"), b"a\nb\n")

    def test_a_partition_that_does_not_exist_is_named(self):
        self.create("-p", 2)
        for command in ("produce", "consume"):
            result = self.broker.run(command, self.topic, "-p", 2)
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"has no partition 2; it has 2", result.stderr)

    # What consume reads.

    def test_count_is_exact(self):
        self.create("-p", 2)
        self.produce(b"".join(b"%d\n" % i for i in range(1000)), "-p", 0)
        self.produce(b"".join(b"%d\n" % i for i in range(1000)), "-p", 1)
        self.assertEqual(len(self.consume("-n", 7).splitlines()), 7)
        self.assertEqual(len(self.consume("-c", 1500).splitlines()), 1500)
        self.assertEqual(self.consume("-n", 0), b"")

    def test_offset_expressions_choose_ranges(self):
        self.create()
        self.produce(b"".join(b"%d\n" % i for i in range(10)))
        for expression, expected in (
            ("start", range(10)), ("beginning", range(10)), ("3", range(3, 10)), ("-3", range(7, 10)),
            ("-100", range(10)), ("+8", range(8, 10)), ("+100", range(0)), ("2:5", range(2, 5)),
            (":4", range(4)), (":end", range(10)), ("-5:-2", range(5, 8)), ("5:5", range(0)),
            ("7:3", range(0)), ("@0", range(10)), ("@-1h:end", range(10)), ("@2100-01-01", range(0)),
            (":@1999-12-31T23:59:59Z", range(0)), ("end", range(0)),
        ):
            with self.subTest(offset=expression):
                expected = b"".join(b"%d\n" % i for i in expected)
                self.assertEqual(self.consume("-e", "-o", expression), expected)

    def test_a_range_ends_by_itself(self):
        self.create("-p", 2)
        self.produce(b"0\n1\n2\n", "-p", 0)
        self.produce(b"0\n1\n2\n", "-p", 1)
        self.assertEqual(sorted(self.consume("-o", "1:2")), sorted(b"1\n1\n"))
        self.assertEqual(self.consume("-o", ":2", "-p", 1, "-f", "%p%v"), b"1011")

    def test_times_find_their_records(self):
        self.create()
        self.produce(b"1000 a\n2000 b\n3000 c\n", "-f", r"%d %v\n")
        self.assertEqual(self.consume("-e", "-o", "@2000"), b"b\nc\n")
        self.assertEqual(self.consume("-e", "-o", "@1970-01-01T00:00:02.001Z"), b"c\n")
        self.assertEqual(self.consume("-o", "s@1001", "-o", "e@3000"), b"b\n")

    def test_an_offset_beyond_the_end_is_an_error_with_a_hint(self):
        self.create()
        self.produce(b"a\n")
        result = self.broker.run("consume", self.topic, "-o", "50", "--timeout", "30s")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"partition 0", result.stderr)
        self.assertIn(b"choose an offset", result.stderr)

    def test_json_has_the_promised_shape(self):
        self.create()
        self.produce(b"k:v\n", "-K", ":", "-H", "h=x")
        self.produce(b"\xff\n")
        first, second = map(json.loads, self.consume("-e", "--json").splitlines())
        self.assertGreater(first.pop("timestamp_ms"), 1_600_000_000_000)
        self.assertEqual(first, {"topic": self.topic, "partition": 0, "offset": 0, "key": "k", "value": "v",
                                 "headers": [{"key": "h", "value": "x"}]})
        self.assertIsNone(second["key"])
        self.assertEqual(second["value"], {"base64": "/w=="})

    def test_live_records_are_printed_as_they_come(self):
        self.create("-p", 2)
        consumer = self.broker.popen("consume", self.topic, stdout=subprocess.PIPE)
        for i in range(3):
            self.produce(b"live %d\n" % i)
            self.assertEqual(consumer.stdout.readline(), b"live %d\n" % i)
        consumer.send_signal(signal.SIGINT)
        self.assertEqual(consumer.wait(WAIT_SECONDS_MAX), 130)
        self.assertEqual(consumer.stdout.read(), b"")
        consumer.stdout.close()

    def test_timeout_ends_a_wait_and_says_what_is_missing(self):
        self.create()
        self.produce(b"a\n")
        result = self.broker.run("consume", self.topic, "-n", 2, "--timeout", "300ms")
        self.assertEqual((result.returncode, result.stdout), (1, b"a\n"))
        self.assertIn(b"1 record of 2", result.stderr)
        result = self.broker.run("consume", self.topic, "--timeout", "300ms")
        self.assertEqual((result.returncode, result.stdout), (0, b"a\n"))

    def test_a_closed_pipe_ends_consume_quietly(self):
        self.create()
        self.produce(b"".join(b"a rather long line, number %d\n" % i for i in range(100_000)))
        for options in ((), ("-e",)):
            consumer = self.broker.popen("consume", self.topic, *options,
                                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
            self.assertTrue(consumer.stdout.readline())
            consumer.stdout.close()
            self.assertEqual(consumer.stderr.read(), b"")
            self.assertEqual(consumer.wait(WAIT_SECONDS_MAX), 0)
            consumer.stderr.close()

    def test_a_pipe_closed_while_nothing_comes_ends_consume_too(self):
        self.create()
        self.produce(b"one\n")
        consumer = self.broker.popen("consume", self.topic, stdout=subprocess.PIPE)
        self.assertEqual(consumer.stdout.readline(), b"one\n")
        consumer.stdout.close()
        self.assertEqual(consumer.wait(WAIT_SECONDS_MAX), 0)

    def test_a_closed_pipe_does_not_keep_records_from_being_sent(self):
        self.create()
        data = b"".join(b"%d\n" % i for i in range(100_000))
        reader, writer = os.pipe()
        os.close(reader)
        producer = self.broker.popen("produce", self.topic, "-o", "%o", "-q", stdin=subprocess.PIPE, stdout=writer)
        os.close(writer)
        producer.communicate(data, timeout=WAIT_SECONDS_MAX)
        self.assertEqual(producer.returncode, 0)
        self.assertEqual(self.consume("-e"), data)

    def test_ctrl_c_ends_produce_with_what_it_read(self):
        self.create()
        producer = self.broker.popen("produce", self.topic, "-o", "%v", stdin=subprocess.PIPE,
                                     stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        producer.stdin.write(b"before\n")
        producer.stdin.flush()
        self.assertEqual(producer.stdout.readline(), b"before\n")
        producer.send_signal(signal.SIGINT)
        self.assertEqual(producer.wait(WAIT_SECONDS_MAX), 130)
        self.assertIn(b"acknowledged 1 record,", producer.stderr.read())
        for pipe in (producer.stdin, producer.stdout, producer.stderr):
            pipe.close()
        self.assertEqual(self.consume("-e"), b"before\n")

    # Topics.

    def test_an_unknown_topic_names_the_closest_and_the_command_that_creates_it(self):
        self.broker.must_run("topic", "create", "orders.eu")
        for words in (("consume", "orders.ue"), ("produce", "orders.ue"), ("topic", "describe", "orders.ue"),
                      ("topic", "delete", "-y", "orders.ue")):
            with self.subTest(command=words):
                result = self.broker.run(*words, stdin=b"x\n")
                self.assertEqual(result.returncode, 1)
                self.assertIn(b"did you mean 'orders.eu'?", result.stderr)
                self.assertIn(b"tidelog topic create orders.ue", result.stderr)

    def test_topics_are_created_listed_described_and_deleted(self):
        names = [f"{self.topic}.{i}" for i in range(2)]
        self.broker.must_run("topic", "create", *names, "-p", 3, "--set", "segment.bytes=16777216")
        listed = {item["name"]: item for item in json.loads(self.broker.must_run("topic", "list", "--json"))}
        for name in names:
            self.assertEqual(listed[name]["partitions"], 3)
            self.assertEqual(listed[name]["replication_factor"], 1)
            self.assertIn(name.encode(), self.broker.must_run("topic", "list"))
        self.broker.must_run("produce", names[0], "-p", 1, stdin=b"a\nb\n")
        topic = json.loads(self.broker.must_run("topic", "describe", names[0], "--json"))
        self.assertEqual(topic["name"], names[0])
        self.assertRegex(topic["topic_id"], "^[0-9a-f]{32}$")
        self.assertEqual(topic["settings"]["segment.bytes"], "16777216")
        self.assertEqual([item["high_watermark"] for item in topic["partitions"]], [0, 2, 0])
        self.assertEqual(set(topic["partitions"][0]),
                         {"partition", "leader", "leader_epoch", "replicas", "isr", "start_offset",
                          "high_watermark", "log_end_offset"})
        self.assertIn(b"segment.bytes=16777216", self.broker.must_run("topic", "describe", names[0]))
        self.broker.must_run("topic", "delete", names[0], "-y")
        self.assertNotIn(names[0].encode() + b" ", self.broker.must_run("topic", "list"))
        self.assertEqual(self.broker.run("consume", names[0]).returncode, 1)

    def test_settings_of_a_topic_are_altered_and_taken_back(self):
        self.create("-p", 2)
        self.broker.must_run("topic", "alter", self.topic, "--set", "retention.ms=60000", "--set",
                             "segment.bytes=1MiB")
        settings = json.loads(self.broker.must_run("topic", "describe", self.topic, "--json"))["settings"]
        self.assertEqual((settings["retention.ms"], settings["segment.bytes"]), ("60000", "1048576"))
        self.broker.must_run("topic", "alter", self.topic, "--unset", "retention.ms")
        settings = json.loads(self.broker.must_run("topic", "describe", self.topic, "--json"))["settings"]
        self.assertEqual((settings["retention.ms"], settings["segment.bytes"]), ("604800000", "1048576"))
        for words, code, part in ((("--set", "retention.mss=1"), 1, b"did you mean 'retention.ms'"),
                                  ((), 2, b"--set retention.ms=3600000"),
                                  (("--set", "retention.ms=1", "--unset", "retention.ms"), 2, b"both name")):
            with self.subTest(words=words):
                result = self.broker.run("topic", "alter", self.topic, *words)
                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn(part, result.stderr)

    def test_partitions_are_added(self):
        self.create("-p", 2)
        result = self.broker.run("topic", "add-partitions", self.topic, 4)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"has 4 partitions now, 2 before", result.stderr)
        self.broker.must_run("produce", self.topic, "-p", 3, stdin=b"new\n")
        self.assertEqual(self.broker.must_run("consume", self.topic, "-p", 3, "-e"), b"new\n")
        result = self.broker.run("topic", "add-partitions", self.topic, 3)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"never removed", result.stderr)

    def test_old_records_are_trimmed(self):
        self.create("-p", 2)
        for partition in (0, 1):
            self.broker.must_run("produce", self.topic, "-p", partition, stdin=b"a\nb\nc\n")
        self.broker.must_run("topic", "trim", self.topic, "--before", 2, "-p", 0)
        self.assertEqual(self.broker.must_run("consume", self.topic, "-p", 0, "-e"), b"c\n")
        trimmed = json.loads(self.broker.must_run("topic", "trim", self.topic, "--before", "end", "--json"))
        self.assertEqual(trimmed, [{"partition": 0, "start_offset": 3}, {"partition": 1, "start_offset": 3}])
        self.assertEqual(self.broker.must_run("consume", self.topic, "-e"), b"")
        self.broker.must_run("produce", self.topic, "-p", 1, stdin=b"d\n")
        self.assertEqual(self.broker.must_run("topic", "trim", self.topic, "--before", "@-1h", "--json", "-p", 1),
                         b'[\n  {\n    "partition": 1,\n    "start_offset": 3\n  }\n]\n')
        kept = self.broker.must_run("topic", "trim", self.topic, "--before", "-1", "--json", "-p", 1)
        self.assertEqual(json.loads(kept),
                         [{"partition": 1, "start_offset": 3}])
        for words, code, part in ((("--before", 9), 1, b"the high watermark is"),
                                  (("--before", "1:2"), 2, b"one offset"),
                                  (("--before", 1, "-p", 7), 1, b"no partition 7"),
                                  ((), 2, b"--before")):
            with self.subTest(words=words):
                result = self.broker.run("topic", "trim", self.topic, *words)
                self.assertEqual(result.returncode, code, result.stderr)
                self.assertIn(part, result.stderr)

    def test_topic_mistakes_are_explained(self):
        self.create()
        for words, part in (
            (("create", self.topic), b"exists"),
            (("create", "with space"), b"letters, digits"),
            (("create", "t1", "-p", 100_000), b"partitions"),
            (("create", "t2", "-r", 3), b"replica"),
            (("create", "t3", "--set", "segment.byte=1"), b"did you mean"),
        ):
            with self.subTest(command=words):
                result = self.broker.run("topic", *words)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(part, result.stderr)

    # Log files.

    def test_log_verify_works_beside_a_running_broker(self):
        self.create("-p", 2)
        self.produce(b"".join(b"record %d\n" % i for i in range(1000)), "-p", 1)
        report = json.loads(self.broker.must_run("log", "verify", self.broker.data, "--json"))
        self.assertTrue(report["ok"], report)
        self.assertEqual(report["problems"], [])
        topic_id = json.loads(self.broker.must_run("topic", "describe", self.topic, "--json"))["topic_id"]
        mine = [item for item in report["partitions"] if item["path"].endswith(f"/{topic_id}/1")]
        self.assertEqual(len(mine), 1)
        self.assertGreater(mine[0].pop("batches"), 0)
        mine[0].pop("path")
        self.assertEqual(mine[0], {"records": 1000, "first_offset": 0, "end_offset": 1000, "problems": [],
                                   "notes": []})
        self.assertRegex(self.broker.must_run("log", "verify", self.broker.data), rb"\nok: \d+ partitions, ")

    def test_log_commands_say_what_they_cannot_read(self):
        with tempfile.TemporaryDirectory() as empty:
            result = self.broker.run("log", "verify", empty)
            self.assertEqual(result.returncode, 2)
            self.assertIn(b"neither a data directory", result.stderr)
        result = self.broker.run("log", "dump", __file__)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"is no file of Tidelog's", result.stderr)

    def test_a_second_broker_on_the_directory_is_refused_with_the_first_ones_pid(self):
        result = self.broker.run("broker", "--data", self.broker.data, "--listen", "127.0.0.1:0",
                                 "--admin", "off")
        self.assertEqual(result.returncode, 1)
        self.assertIn(str(self.broker.process.pid).encode(), result.stderr)


if __name__ == "__main__":
    main()
