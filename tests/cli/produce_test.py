#!/usr/bin/env python3
"""tidelog produce: where records go, and what it says of them.

Usage: produce_test.py BUILD/tools/tidelog [unittest options]
"""

import json
import os
import pathlib
import pty
import select
import signal
import subprocess
import time
import unittest

from command_case import WAIT_SECONDS_MAX, CommandCase, main, run_alone


class Produce(CommandCase):
    def test_files_are_sent_one_after_the_other_and_dash_is_stdin(self):
        self.create()
        first, second = (pathlib.Path(self.directory.name) / name for name in ("a.txt", "b.txt"))
        first.write_bytes(b"1\n2")
        second.write_bytes(b"4\n")
        self.produce(b"3\n", first, "-", second)
        self.broker.must_run("produce", "-t", self.topic, second)
        self.assertEqual(self.consume("-e"), b"1\n2\n3\n4\n4\n")

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

    def test_one_key_partition_and_headers_for_all(self):
        self.create("-p", 3)
        self.produce(b"v\n", "-k", "key", "-p", 2, "-H", "a=1", "-H", "b=x=y")
        self.assertEqual(self.consume("-e", "-f", r"%t %p %o %k %v %h\n"),
                         f"{self.topic} 2 0 key v a=1,b=x=y\n".encode())

    def test_create_makes_the_topic_and_leaves_one_that_is_there(self):
        for count in (1, 2):
            result = self.broker.run("produce", self.topic, "--create", stdin=b"x\n")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(self.consume("-e"), b"x\n" * count)

    def test_create_makes_as_many_partitions_as_it_is_told(self):
        self.produce(b"x\n", "--create", "--partitions", 3)
        described = json.loads(self.broker.must_run("topic", "describe", self.topic, "--json"))
        self.assertEqual(len(described["partitions"]), 3)
        for flags in (("--partitions", 3), ("--create", "--json", "--keep-partition"),
                      ("--create", "--partitions", 10001), ("--create", "--partitions", 0)):
            with self.subTest(flags=flags):
                result = self.broker.run("produce", self.topic, *flags)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(b"--partitions", result.stderr)

    def test_typing_at_a_terminal_is_not_overwritten_by_progress(self):
        self.create()
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        producer = self.popen("produce", self.topic, "-o", "%o", stdin=theirs, stderr=theirs, stdout=subprocess.PIPE)
        os.close(theirs)
        shown = b""

        def read_what_is_shown():
            nonlocal shown
            while select.select([ours], [], [], 0)[0]:
                try:
                    shown += os.read(ours, 65536)
                except OSError:  # that is how the other end is gone
                    return

        # Progress would begin after half a second.
        begin, typed = time.monotonic(), 0
        while time.monotonic() < begin + 1.5:
            os.write(ours, b"typed\n")
            self.assertEqual(producer.stdout.readline(), b"%d\n" % typed)
            typed += 1
            read_what_is_shown()
        os.write(ours, b"\x04")
        self.assertEqual(producer.wait(WAIT_SECONDS_MAX), 0)
        read_what_is_shown()
        self.assertIn(b"one record a line; Ctrl-D ends", shown)
        self.assertIn(b"acknowledged %s record" % f"{typed:,}".encode(), shown)
        self.assertNotIn(b"\x1b[K", shown)

    def test_create_refuses_names_that_no_topic_can_have(self):
        result = self.broker.run("produce", "a b", "--create", stdin=b"x\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"no topic name", result.stderr)

    def test_flags_that_contradict_each_other_are_refused(self):
        for flags in (("-k", "a", "-K", ":"), ("--whole", "-K", ":"), ("--whole", "-D", ","), ("--whole", "-f", "%v"),
                      ("-f", "%v", "-D", ","), ("-f", "%v", "-K", ","), ("--json", "-k", "a"), ("--json", "-Z"),
                      ("--keep-partition",), ("--json", "--keep-partition", "-p", "1")):
            with self.subTest(flags=flags):
                result = self.broker.run("produce", "t", *flags)
                self.assertEqual(result.returncode, 2, result.stderr)

    def test_every_promise_of_acknowledgement_has_its_names(self):
        self.create()
        for acks in ("all", "leader", "none", "-1", "1", "0"):
            self.produce(b"x\n", "--acks", acks)
        self.assertEqual(self.consume("-n", 6, "--timeout", "30s"), b"x\n" * 6)

    def test_output_format_prints_a_line_once_a_record_is_acknowledged(self):
        self.create()
        producer = self.popen("produce", self.topic, "-q", "-o", "%p:%o:%v", stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
        for i in range(3):
            producer.stdin.write(b"%d\n" % i)
            producer.stdin.flush()
            self.assertEqual(producer.stdout.readline(), b"0:%d:%d\n" % (i, i))

    def test_the_summary_is_one_line_on_stderr(self):
        self.create()
        result = self.broker.run("produce", self.topic, stdin=b"a\nbc\n")
        self.assertEqual(result.stdout, b"")
        self.assertRegex(result.stderr, rb"^acknowledged 2 records, 3 B in [0-9.]+ s [^\n]*\n$")
        self.assertEqual(self.broker.run("produce", self.topic, "-q", stdin=b"a\n").stderr, b"")

    def test_acknowledgements_are_printed_in_order(self):
        self.create()
        printed = self.produce(b"".join(b"k%d:v%d\n" % (i, i) for i in range(5000)),
                               "-K", ":", "-o", "%t %p %o %k=%v")
        self.assertEqual(printed, b"".join(b"%s 0 %d k%d=v%d\n" % (self.topic.encode(), i, i, i)
                                           for i in range(5000)))

    def test_a_record_that_is_too_large_fails_and_the_others_arrive(self):
        self.create()
        result = self.broker.run("produce", self.topic, stdin=b"a\n" + b"x" * (5 << 20) + b"\nb\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"1 failed", result.stderr)
        self.assertIn(b"acknowledged 2 records", result.stderr)
        self.assertEqual(self.consume("-e"), b"a\nb\n")

    def test_a_record_that_names_a_missing_partition_fails_and_the_others_arrive(self):
        self.create("-p", 2)
        lines = b"".join(b'{"value":"%d","partition":%d}\n' % (i, 99 if i == 0 else i % 2) for i in range(50_000))
        result = self.broker.run("produce", self.topic, "--json", "--keep-partition", stdin=lines)
        self.assertEqual(result.returncode, 1)
        summary = json.loads(result.stdout)
        self.assertEqual((summary["records"], summary["failed"], summary["stopped"]), (49_999, 1, False))
        self.assertIn(f"has no partition 99; it has 2, numbered from 0; see which there are: tidelog topic describe "
                      f"{self.topic}\n".encode(), result.stderr)
        many = json.dumps({"value": "x", "headers": [{"key": "k", "value": ""}] * 70_000}).encode()
        result = self.broker.run("produce", self.topic, "--json", stdin=many + b"\n" + b'{"value":"y"}\n' * 9)
        summary = json.loads(result.stdout)
        self.assertEqual((summary["records"], summary["failed"], summary["stopped"]), (9, 1, False))

    def test_a_failure_that_ends_the_run_tells_of_the_input_that_was_not_read(self):
        self.create()
        producer = self.popen("produce", self.topic, "--json", "-D", r"\n", stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        producer.stdin.write(b"first\n")
        producer.stdin.flush()
        while self.consume("-e") != b"first\n":
            pass
        self.broker.must_run("topic", "delete", "-y", self.topic)
        # Its pipe stays open: only the failure ends it.
        producer.stdin.write(b"second\n")
        producer.stdin.flush()
        summary = json.loads(producer.stdout.read())
        self.assertEqual(producer.wait(WAIT_SECONDS_MAX), 1)
        self.assertEqual((summary["records"], summary["failed"], summary["stopped"]), (1, 1, True))
        told = producer.stderr.read()
        self.assertRegex(told, rb"; stopped there: the input behind record 2 was not read\n$")
        self.assertIn(f"; create it: tidelog topic create {self.topic};".encode(), told)

    def test_a_partition_that_does_not_exist_is_named(self):
        self.create("-p", 2)
        for command in ("produce", "consume"):
            result = self.broker.run(command, self.topic, "-p", 2)
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"has no partition 2; it has 2", result.stderr)

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


class WithoutBroker(unittest.TestCase):
    def test_a_missing_file_fails_before_anything_is_sent(self):
        result = run_alone("produce", "x", "/no/such/file")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"/no/such/file", result.stderr)


if __name__ == "__main__":
    main()
