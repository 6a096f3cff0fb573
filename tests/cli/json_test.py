#!/usr/bin/env python3
"""The shapes of --json, which scripts rely on.

Usage: json_test.py BUILD/tools/tidelog [unittest options]
"""

import json

from command_case import CommandCase, main


class Json(CommandCase):
    def test_without_keep_partition_the_key_chooses(self):
        self.create("-p", 4)
        lines = b"".join(b'{"key":"same","value":"%d","partition":%d}\n' % (i, i % 4) for i in range(20))
        self.broker.must_run("produce", self.topic, "--json", stdin=lines)
        self.assertEqual(len(set(self.consume("-e", "-f", r"%p\n").split())), 1)

    def test_what_is_no_record_names_its_line_and_what_came_before_it_is_sent(self):
        self.create()
        result = self.broker.run("produce", self.topic, "--json", stdin=b'{"value":"a"}\n\n{"vlaue":"b"}\n')
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"standard input, line 3", result.stderr)
        self.assertEqual(self.consume("-e"), b"a\n")

    def test_shape_of_consume(self):
        self.create()
        self.produce(b"k:v\n\xff\n", "-K", ":", "-H", "h=x")
        rows = [json.loads(row) for row in self.consume("-e", "--json").splitlines()]
        for row in rows:
            self.assertEqual(list(row), ["topic", "partition", "offset", "timestamp_ms", "key", "value", "headers"])
        self.assertEqual([row["value"] for row in rows], ["v", {"base64": "/w=="}])
        self.assertEqual(rows[0]["headers"], [{"key": "h", "value": "x"}])

    def test_shape_of_produce(self):
        self.create()
        summary = json.loads(self.produce(b'{"value":"abc"}\n', "--json"))
        self.assertGreater(summary.pop("seconds"), 0)
        self.assertEqual(summary, {"records": 1, "bytes": 3, "failed": 0, "unknown": 0, "stopped": False,
                                   "partitions": [{"partition": 0, "first_offset": 0, "last_offset": 0}]})
        # Another flag may say how the input looks; the summary is JSON all the same.
        self.assertEqual(json.loads(self.produce(b"x\ny\n", "--json", "-f", r"%v\n"))["records"], 2)

    def test_offsets_that_nobody_tells_are_null(self):
        self.create()
        summary = json.loads(self.produce(b"x\ny\n", "--json", "-D", r"\n", "--acks", "none"))
        self.assertEqual((summary["records"], summary["partitions"]),
                         (2, [{"partition": 0, "first_offset": None, "last_offset": None}]))

    def test_a_member_that_is_there_twice_is_refused(self):
        self.create()
        result = self.broker.run("produce", self.topic, "--json", stdin=b'{"value":"a","value":"b"}\n')
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"standard input, line 1: an object has the member 'value' twice", result.stderr)
        self.assertEqual(self.consume("-e"), b"")

    def test_shape_of_topic_describe_and_list(self):
        self.create("-p", 2)
        topic = json.loads(self.broker.must_run("topic", "describe", self.topic, "--json"))
        self.assertLessEqual({"name", "topic_id", "settings", "partitions"}, set(topic))
        self.assertLessEqual({"partition", "leader", "leader_epoch", "replicas", "isr", "start_offset",
                              "high_watermark", "log_end_offset"}, set(topic["partitions"][0]))
        (item,) = [one for one in json.loads(self.broker.must_run("topic", "list", "--json"))
                   if one["name"] == self.topic]
        self.assertEqual((item["partitions"], item["replication_factor"]), (2, 1))

    def test_shape_of_log_verify(self):
        self.create()
        self.produce(b"x\n")
        report = json.loads(self.broker.must_run("log", "verify", self.broker.data, "--json"))
        self.assertLessEqual({"ok", "partitions", "problems"}, set(report))
        self.assertLessEqual({"path", "batches", "records", "first_offset", "end_offset", "problems"},
                             set(report["partitions"][0]))

    def test_the_json_summary_has_the_promised_shape(self):
        self.create("-p", 2)
        self.produce(b"x\n", "-p", 1)
        summary = json.loads(self.produce(b"a\nbc\n", "-p", 1, "-D", r"\n", "--json"))
        self.assertGreater(summary.pop("seconds"), 0)
        self.assertEqual(summary, {"records": 2, "bytes": 3, "failed": 0, "unknown": 0, "stopped": False,
                                   "partitions": [{"partition": 1, "first_offset": 1, "last_offset": 2}]})
        result = self.broker.run("produce", self.topic, "--json", "-o", "%p", "-p", 1, stdin=b'{"value":"a"}\n')
        self.assertEqual(result.stdout, b"1\n")
        self.assertEqual(json.loads(result.stderr)["records"], 1)


if __name__ == "__main__":
    main()
