#!/usr/bin/env python3
"""How commands end: exit codes, Ctrl-C, closed pipes, timeouts; and what a terminal shows meanwhile.

Usage: ends_test.py BUILD/tools/tidelog [unittest options]
"""

import os
import select
import signal
import subprocess
import time

from command_case import WAIT_SECONDS_MAX, CommandCase, main


class Ends(CommandCase):
    def test_exit_codes(self):
        self.create()
        for words, code in ((("topic", "list"), 0), (("consume", "no-such-topic"), 1), (("consume",), 2),
                            (("topic", "list", "-b", "127.0.0.1:1"), 1), (("nonsense",), 2)):
            self.assertEqual(self.broker.run(*words).returncode, code, words)

    def test_a_part_that_failed_is_exit_1(self):
        self.create()
        result = self.broker.run("produce", self.topic, stdin=b"a\n" + b"x" * (5 << 20) + b"\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"1 failed", result.stderr)

    def test_ctrl_c_exits_130(self):
        self.create()
        for words in (("consume", self.topic), ("produce", self.topic, "-o", "%v")):
            process = self.popen(*words, "-q", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            if words[0] == "consume":
                self.produce(b"x\n")
            else:
                process.stdin.write(b"x\n")
                process.stdin.flush()
            self.assertEqual(process.stdout.readline(), b"x\n")
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(WAIT_SECONDS_MAX), 130, words)

    def test_a_closed_pipe_ends_consume_quietly(self):
        self.create()
        self.produce(b"a line\n" * 100_000)
        result = self.shell(f'"$TIDELOG" consume {self.topic} | head -n 1; exit ${{PIPESTATUS[0]}}')
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"a line\n", b""))

    def test_timeout_ends_consume_when_nothing_comes(self):
        self.create()
        self.produce(b"x\n")
        begin = time.monotonic()
        self.assertEqual(self.consume("--timeout", "200ms"), b"x\n")
        self.assertLess(time.monotonic() - begin, 30)

    def test_progress_is_shown_on_a_terminal_only(self):
        self.create()
        main_end, terminal = os.openpty()
        producer = self.popen("produce", self.topic, stdin=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        seen = b""
        while b"\r" not in seen:  # a progress line, written over and over
            producer.stdin.write(b"x\n")
            producer.stdin.flush()
            seen += os.read(main_end, 4096) if self._readable(main_end) else b""
        self.assertRegex(seen, rb"\d[\d,]* records? acknowledged, ")
        producer.stdin.close()
        self.assertEqual(producer.wait(WAIT_SECONDS_MAX), 0)
        os.close(main_end)

    def test_consume_into_a_file_shows_progress_on_a_terminal(self):
        self.create()
        main_end, terminal = os.openpty()
        consumer = self.popen("consume", self.topic, stdout=subprocess.DEVNULL, stderr=terminal)
        os.close(terminal)
        seen = b""
        while b"\r" not in seen:
            self.produce(b"x\n")
            seen += os.read(main_end, 4096) if self._readable(main_end) else b""
        self.assertRegex(seen, rb"\r[\d,]+ records?, ")
        consumer.send_signal(signal.SIGINT)
        self.assertEqual(consumer.wait(WAIT_SECONDS_MAX), 130)
        os.close(main_end)

    @staticmethod
    def _readable(fd):
        return bool(select.select([fd], [], [], 0.05)[0])


class Consume(CommandCase):
    def test_count_is_exact(self):
        self.create("-p", 2)
        self.produce(b"".join(b"%d\n" % i for i in range(1000)), "-p", 0)
        self.produce(b"".join(b"%d\n" % i for i in range(1000)), "-p", 1)
        self.assertEqual(len(self.consume("-n", 7).splitlines()), 7)
        self.assertEqual(len(self.consume("-c", 1500).splitlines()), 1500)
        self.assertEqual(self.consume("-n", 0), b"")

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

    def test_a_topic_that_is_deleted_ends_consume_and_names_the_command_that_creates_it(self):
        self.create()
        self.produce(b"a\n")
        consumer = self.popen("consume", self.topic, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(consumer.stdout.readline(), b"a\n")
        self.broker.must_run("topic", "delete", "-y", self.topic)
        told = consumer.communicate(timeout=WAIT_SECONDS_MAX)[1]
        self.assertEqual(consumer.returncode, 1)
        self.assertIn(f"; create it: tidelog topic create {self.topic}\n".encode(), told)

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


if __name__ == "__main__":
    main()
