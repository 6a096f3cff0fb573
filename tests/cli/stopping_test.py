#!/usr/bin/env python3
"""Brokers that stop, die and come back under the commands.

Usage: stopping_test.py BUILD/tools/tidelog [unittest options]
"""

import os
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
