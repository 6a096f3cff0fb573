#!/usr/bin/env python3
"""Offset expressions: what `offset` tells of them and what `consume` reads.

Usage: offsets_test.py BUILD/tools/tidelog [unittest options]
"""

import json
import subprocess

from command_case import WAIT_SECONDS_MAX, CommandCase, main


class Offsets(CommandCase):
    def setUp(self):
        super().setUp()
        self.create("-p", 2)
        self.produce(b"".join(b"%d000 p0-%d\n" % (i, i) for i in range(10)), "-p", 0, "-f", r"%d %v\n")
        self.produce(b"".join(b"%d000 p1-%d\n" % (i, i) for i in range(4)), "-p", 1, "-f", r"%d %v\n")

    def meaning(self, expression):
        text = self.broker.must_run("offset", self.topic, expression, "--json")
        whole = json.loads(text)
        self.assertEqual(set(whole), {"topic", "partitions"})
        for item in whole["partitions"]:
            self.assertEqual(set(item), {"partition", "from", "to", "start_offset", "high_watermark"})
        return [(item["from"], item["to"]) for item in whole["partitions"]]

    def test_offset_tells_what_each_expression_means_in_each_partition(self):
        for expression, expected in (
            ("start", [(0, None), (0, None)]), ("beginning", [(0, None), (0, None)]),
            ("end", [(10, None), (4, None)]), ("3", [(3, None), (3, None)]), ("7", [(7, None), (7, None)]),
            ("-6", [(4, None), (0, None)]), ("+6", [(6, None), (4, None)]), ("2:5", [(2, 5), (2, 5)]),
            (":end", [(0, 10), (0, 4)]), (":3", [(0, 3), (0, 3)]), ("-2:end", [(8, 10), (2, 4)]),
            ("@3000", [(3, None), (3, None)]), ("@3001", [(4, None), (4, None)]), ("@5000", [(5, None), (4, None)]),
            ("@2000:3000", [(2, 3), (2, 3)]), ("@1970-01-01T00:00:02Z", [(2, None), (2, None)]),
            ("@1970-01-01T00:00:01Z:1970-01-01T01:00:08+01:00", [(1, 8), (1, 4)]),
            ("@-1h", [(10, None), (4, None)]), ("@1970-01-01", [(0, None), (0, None)]),
            ("s@2000", [(2, None), (2, None)]), ("e@2000", [(0, 2), (0, 2)]),
            ("+9223372036854775807", [(10, None), (4, None)]), ("-9223372036854775807", [(0, None), (0, None)]),
        ):
            with self.subTest(offset=expression):
                self.assertEqual(self.meaning(expression), expected)

    def test_consume_reads_from_what_offset_tells(self):
        for expression in ("start", "-3", "+2", "2:4", ":3", "@2000", "@2000:5000", "-3:end", "@-1h"):
            with self.subTest(offset=expression):
                expected = []
                for partition, (first, last) in enumerate(self.meaning(expression)):
                    end = (10, 4)[partition] if last is None else last
                    expected += [b"p%d-%d" % (partition, i) for i in range(first, end)]
                self.assertEqual(sorted(self.consume("-e", "-o", expression).splitlines()), sorted(expected))

    def test_offset_prints_a_table_and_says_where_no_record_is(self):
        text = self.broker.must_run("offset", self.topic, "5").decode()
        self.assertRegex(text, r"(?m)^ *PARTITION +OFFSET$")
        self.assertRegex(text, r"(?m)^ +0 +5$")
        self.assertRegex(text, r"(?m)^ +1 +5  \(behind the end\)$")
        self.assertRegex(self.broker.must_run("offset", self.topic, "2:4").decode(), r"(?m)^ +1 +2 +4$")
        self.assertRegex(self.broker.must_run("offset", "-t", self.topic, "end", "-p", 1).decode(),
                         r"(?m)^ +1 +4  \(the end\)$")

    def test_what_is_no_offset_is_refused_with_all_that_there_are(self):
        for expression in ("", "soon", "5x", "--5", "@", "@5:", "2:", "s@x", "@-5", "1:2:3"):
            for words in (("offset", self.topic, "--", expression), ("consume", self.topic, "-o", expression)):
                with self.subTest(words=words):
                    result = self.broker.run(*words)
                    self.assertEqual(result.returncode, 2, result.stderr)
                    self.assertIn(b":end", result.stderr)

    def test_partitions_are_lists_and_ranges_and_may_be_given_several_times(self):
        for flags, expected in ((("-p", "0"), {"0"}), (("-p", "0,1"), {"0", "1"}), (("-p", "0-1"), {"0", "1"}),
                                (("-p", "1", "-p", "0"), {"0", "1"}), (("--partition", "1"), {"1"})):
            with self.subTest(flags=flags):
                self.assertEqual(set(self.consume("-e", "-f", r"%p\n", *flags).decode().split()), expected)


class Ranges(CommandCase):
    def test_offset_expressions_choose_ranges(self):
        self.create()
        self.produce(b"".join(b"%d\n" % i for i in range(10)))
        for expression, expected in (
            ("start", range(10)), ("beginning", range(10)), ("3", range(3, 10)), ("-3", range(7, 10)),
            ("-100", range(10)), ("+8", range(8, 10)), ("+100", range(0)), ("2:5", range(2, 5)),
            (":4", range(4)), (":end", range(10)), ("-5:-2", range(5, 8)), ("5:5", range(0)),
            ("@0", range(10)), ("@-1h:end", range(10)), ("@2100-01-01", range(0)),
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

    def test_a_time_that_no_record_has_reached_is_waited_for(self):
        self.create("-p", 2)
        self.produce(b"4200000000000 there\n", "-p", 1, "-f", r"%d %v\n")
        consumer = self.popen("consume", self.topic, "-o", "@2100-01-01", "-n", 3, stdout=subprocess.PIPE)
        self.assertEqual(consumer.stdout.readline(), b"there\n")  # it has chosen where to begin everywhere
        self.produce(b"1000 older\n4100000000000 older\n4102444800000 first\n2000 behind\n", "-p", 0, "-f", r"%d %v\n")
        self.assertEqual(consumer.communicate(timeout=WAIT_SECONDS_MAX)[0], b"first\nbehind\n")
        self.assertEqual(consumer.returncode, 0)
        # Records that are not meant end a range as well.
        older = self.popen("consume", self.topic, "-o", "s@2100-02-01", "-o", ":6", "-p", 0, "--json",
                           stdout=subprocess.PIPE)
        self.produce(b"1 fifth\n2 sixth\n", "-p", 0, "-f", r"%d %v\n")
        self.assertEqual(older.communicate(timeout=WAIT_SECONDS_MAX)[0], b"")
        self.assertEqual(older.returncode, 0)
        # As an end it is the present one.
        self.assertEqual(self.consume("-o", ":@2200-01-01", "-p", 1), b"there\n")

    def test_a_range_that_ends_before_it_begins_is_refused_or_noted(self):
        self.create()
        self.produce(b"".join(b"%d\n" % i for i in range(10)))
        for words in (("consume", self.topic, "-o", "5:3"), ("consume", self.topic, "-o", "@-1h:-2h"),
                      ("consume", self.topic, "-o", "5", "-o", ":3"), ("offset", self.topic, "5:3")):
            with self.subTest(words=words):
                result = self.broker.run(*words)
                self.assertEqual(result.returncode, 2)
                self.assertRegex(result.stderr, rb"ends before it begins|the end lies before the begin")
        result = self.broker.run("consume", self.topic, "-o", "-3:2")
        self.assertEqual((result.returncode, result.stdout), (0, b""))
        self.assertIn(b"partition 0: nothing to read: it would begin at offset 7 and end before 2", result.stderr)

    def test_an_offset_beyond_the_end_is_an_error_with_a_hint(self):
        self.create()
        self.produce(b"a\n")
        result = self.broker.run("consume", self.topic, "-o", "50", "--timeout", "30s")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"partition 0", result.stderr)
        self.assertIn(b"choose an offset", result.stderr)


if __name__ == "__main__":
    main()
