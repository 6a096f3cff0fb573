#!/usr/bin/env python3
"""What a consume that runs does when its topic grows, and when nothing answers.

Usage: running_consume_test.py BUILD/tools/tidelog [unittest options]
"""

import socket
import subprocess
import tempfile

from command_case import Broker, CommandCase, binary, main


class RunningConsume(CommandCase):
    def test_reads_partitions_that_are_added_from_their_start(self):
        self.create("-p", "1")
        process = self.popen("consume", self.topic, "-f", "%p %v\\n", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.produce(b"old\n", "-p", "0")
        self.assertEqual(process.stdout.readline(), b"0 old\n")
        self.broker.must_run("topic", "add-partitions", self.topic, "3")
        self.produce(b"added\n", "-p", "2")
        self.assertEqual(process.stdout.readline(), b"2 added\n")
        self.produce(b"more\n", "-p", "0")
        self.assertEqual(process.stdout.readline(), b"0 more\n")
        process.terminate()
        self.assertIn(b"partition 2 was added", process.communicate()[1])

    def test_an_advertised_address_that_leads_nowhere_is_named_beside_the_one_that_is_used_instead(self):
        with tempfile.TemporaryDirectory(prefix="tidelog-cli-test-") as directory:
            broker = Broker(binary(), directory, ["--set", "advertised.listen=127.0.0.1:1"]).start()
            try:
                broker.must_run("topic", "create", "t")
                broker.must_run("produce", "t", stdin=b"x\n")
                result = broker.run("consume", "t", "-e")
                self.assertEqual((result.returncode, result.stdout), (0, b"x\n"))
                for words in (b"its address is 127.0.0.1:1, which fails",
                              b"going on by " + broker.address.encode(), b"advertised.listen"):
                    self.assertIn(words, result.stderr)
                self.assertEqual(broker.stop(), 0)
            finally:
                broker.close()

    def test_silence_ends_what_has_an_end(self):
        with tempfile.TemporaryDirectory(prefix="tidelog-cli-test-") as directory, socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()  # connections are made, and nothing answers
            address = "127.0.0.1:%d" % silent.getsockname()[1]
            broker = Broker(binary(), directory, ["--set", f"advertised.listen={address}"]).start()
            try:
                broker.must_run("topic", "create", "t")
                broker.must_run("produce", "t", stdin=b"x\n")
                result = broker.run("consume", "t", "-e", "--timeout", "500ms")
                self.assertEqual((result.returncode, result.stdout), (1, b""))
                self.assertIn(b"nothing came for 500 ms", result.stderr)
                self.assertEqual(broker.stop(), 0)
            finally:
                broker.close()


if __name__ == "__main__":
    main()
