#!/usr/bin/env python3
"""tidelog topic: topics are made, shown, changed and deleted.

Usage: topics_test.py BUILD/tools/tidelog [unittest options]
"""

import json

from command_case import CommandCase, answer_on_a_terminal, main


class Topics(CommandCase):
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

    def test_deletion_asks_on_a_terminal_and_takes_no_for_an_answer(self):
        self.create()
        self.produce(b"a\nb\n")
        for answer, code, words in ((b"n\n", 1, b"nothing was deleted"), (b"\n", 1, b"nothing was deleted"),
                                    (b"y\n", 0, b"deleted topic")):
            with self.subTest(answer=answer):
                ended, output, shown = answer_on_a_terminal(self.broker, answer, "topic", "delete", self.topic)
                self.assertEqual((ended, output), (code, b""))
                self.assertIn(b"with about 2 records?", shown)
                self.assertIn(words, shown)
                listed = [one["name"] for one in json.loads(self.broker.must_run("topic", "list", "--json"))]
                self.assertEqual(self.topic in listed, code != 0)

    def test_settings_have_the_names_and_defaults_that_people_know(self):
        self.create()
        settings = json.loads(self.broker.must_run("topic", "describe", self.topic, "--json"))["settings"]
        for name, value in (("retention.ms", 7 * 24 * 3600 * 1000), ("retention.bytes", -1), ("segment.bytes", 256 << 20),
                            ("max.message.bytes", 4 << 20), ("min.insync.replicas", 1)):
            self.assertEqual(settings[name], str(value), name)
        self.assertIn("segment.ms", settings)
        self.assertEqual((settings["message.timestamp.type"], settings["durability"]), ("CreateTime", "durable"))

    def test_names_of_topics(self):
        for name in ("a", "A-b_c.9", "...", "0", "x" * 249):
            self.broker.must_run("topic", "create", name)
            self.assertEqual(json.loads(self.broker.must_run("topic", "describe", name, "--json"))["name"], name)
        for name in (".", "..", "x" * 250, "a/b", "ünï", "a b", ""):
            with self.subTest(name=name):
                result = self.broker.run("topic", "create", name)
                self.assertEqual(result.returncode, 1)
                self.assertIn(b"1 to 249 of letters, digits", result.stderr)

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
                                  (("--set", "retention.ms=-2"), 1, b"not '-2'; -1 is no limit"),
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
        result = self.broker.run("topic", "add-partitions", self.topic, 4)
        self.assertEqual((result.returncode, result.stdout), (0, b""))
        self.assertIn(b"has 4 partitions already", result.stderr)
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
            (("create", "t2", "-r", 3), b"replica"),
            (("create", "t3", "--set", "segment.byte=1"), b"did you mean"),
        ):
            with self.subTest(command=words):
                result = self.broker.run("topic", *words)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(part, result.stderr)

    def test_the_most_partitions_are_those_that_a_broker_allows(self):
        self.create()
        for words in (("create", "t1", "-p", 10_001), ("add-partitions", self.topic, 10_001)):
            with self.subTest(command=words):
                result = self.broker.run("topic", *words)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(b"not in range 1 to 10000", result.stderr)


if __name__ == "__main__":
    main()
