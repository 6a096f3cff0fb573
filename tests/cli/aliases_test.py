#!/usr/bin/env python3
"""Flags that people know from other tools.

Usage: aliases_test.py BUILD/tools/tidelog [unittest options]
"""

import json

from command_case import CommandCase, main


class Aliases(CommandCase):
    def test_flags_of_other_tools_mean_the_same(self):
        self.create()
        self.produce(b"1000 a\n2000 b\n3000 c\n", "-f", r"%d %v\n")
        for words, expected in (
            (("-t", self.topic, "-e"), b"a\nb\nc\n"), (("-t", self.topic, "-e", "-q", "-o", "beginning"), b"a\nb\nc\n"),
            ((self.topic, "-c", "2"), b"a\nb\n"), ((self.topic, "--num", "1"), b"a\n"),
            ((self.topic, "--max-messages", "1", "--from-beginning"), b"a\n"),
            ((self.topic, "-e", "-o", "s@2000", "-o", "e@3000"), b"b\n"),
            (("--topic", self.topic, "-e", "--offset", "earliest", "--partition", "0"), b"a\nb\nc\n"),
            ((self.topic, "-e", "-f", "%s,%S,"), b"a,1,b,1,c,1,"),
        ):
            with self.subTest(words=words):
                self.assertEqual(self.broker.must_run("consume", *words), expected)
        self.broker.must_run("topic", "create", self.topic + "2", "--partitions", 2, "--replication-factor", 1,
                             "--config", "segment.bytes=16777216", "--bootstrap-server", self.broker.address)
        described = json.loads(self.broker.must_run("topic", "describe", self.topic + "2", "--json"))
        self.assertEqual(described["settings"]["segment.bytes"], "16777216")

    def test_with_dash_t_all_words_are_files(self):
        self.create()
        (self.folder / "f1").write_bytes(b"one\n")
        (self.folder / "f2").write_bytes(b"two\n")
        self.broker.must_run("produce", "-t", self.topic, self.folder / "f1", self.folder / "f2")
        self.assertEqual(self.consume("-e"), b"one\ntwo\n")


if __name__ == "__main__":
    main()
