#!/usr/bin/env python3
"""Commands whose input, output or surroundings are not what one hopes for."""

import json
import os
import pathlib
import signal
import subprocess
import tempfile
import time
import unittest

from command_case import WAIT_SECONDS_MAX, Broker, CommandCase, binary, main, run_alone


class Words(CommandCase):
    def test_numbers_are_decimal_whatever_they_begin_with(self):
        self.create("-p", 9)
        self.produce(b"x\n", "-p", "007")
        self.assertEqual(self.consume("-e", "-f", "%p"), b"7")
        for words in (("consume", self.topic, "-n", "-5"), ("consume", self.topic, "-n", "0x10"),
                      ("consume", self.topic, "-n", " 5"), ("produce", self.topic, "-p", "0x1"),
                      ("topic", "create", "t", "-p", "1e3"), ("consume", self.topic, "-n", "5.0"),
                      ("consume", self.topic, "-n", ""), ("produce", self.topic, "-p", "-"),
                      ("consume", self.topic, "-n", "99999999999999999999999")):
            with self.subTest(words=words):
                result = self.broker.run(*words, timeout=10)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(words[-1].encode(), result.stderr)
                self.assertIn(b"number", result.stderr)

    def test_files_may_be_called_anything(self):
        self.create()
        names = ("[a,b]", "{}", "-dash", "--json", "[]", "%s", "ünïcödé", "with space")
        for name in names:
            (self.folder / name).write_text(name + "\n")
        # Behind -- everything is a file.
        result = self.shell(f'"$TIDELOG" produce {self.topic} ./\'[a,b]\' \'{{}}\' -- -dash --json "[]" %s '
                            'ünïcödé "with space" "[a,b]"')
        self.assertEqual((result.returncode, result.stderr.count(b"9 records")), (0, 1), result.stderr)
        self.assertEqual(self.consume("-e").decode().splitlines(),
                         ["[a,b]", "{}", "-dash", "--json", "[]", "%s", "ünïcödé", "with space", "[a,b]"])
        result = self.shell(f'"$TIDELOG" produce {self.topic} "[a,b]"')
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_topics_may_be_called_as_commands_are(self):
        for name in ("log", "topic", "consume", "list"):
            self.broker.must_run("topic", "create", name)
            self.broker.must_run("produce", name, stdin=b"x\n")
            self.assertEqual(self.broker.must_run("consume", name, "-e"), b"x\n")
            self.assertIn(name.encode(), self.broker.must_run("topic", "describe", name))

    def test_brackets_and_braces_in_values_stay(self):
        self.create()
        self.produce(b"x\n", "-k", "[1,2]", "-H", "h=[3,4]")
        self.assertEqual(self.consume("-e", "-f", "%k %h"), b"[1,2] h=[3,4]")
        self.assertEqual(self.produce(b"x\n", "-o", "{}"), b"{}\n")
        self.assertEqual(self.produce(b"x\n", "-o", "[a,b]"), b"[a,b]\n")

    def test_an_option_given_twice_is_named_with_the_advice(self):
        result = run_alone("consume", "t", "-n", "1", "--count", "2")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"--count is there twice", result.stderr)

    def test_a_name_that_no_topic_can_have_is_not_suggested_for_creation(self):
        for name in ("", "with space", "..", "a/b"):
            for command in ("produce", "consume"):
                with self.subTest(name=name, command=command):
                    result = self.broker.run(command, name)
                    self.assertEqual(result.returncode, 2 if name == "" else 1)
                    self.assertNotIn(b"Create it with", result.stderr)
                    self.assertIn(b"name", result.stderr)

    def test_an_offset_behind_the_end_is_an_error_also_when_reading_to_the_end(self):
        self.create("-p", 2)
        self.produce(b"a\nb\n", "-p", 0)
        self.produce(b"a\nb\nc\nd\n", "-p", 1)
        result = self.broker.run("consume", self.topic, "-e", "-o", 3)
        self.assertEqual((result.returncode, result.stdout), (1, b"d\n"))
        self.assertIn(b"partition 0", result.stderr)
        self.assertIn(b"offset 3", result.stderr)
        self.assertEqual(self.consume("-e", "-o", 2), b"c\nd\n")

    def test_addresses_that_cannot_be_are_refused(self):
        for address in ("host:", ":9700", "a:1,,b:2", "host:0", "host:99999", ","):
            with self.subTest(address=address):
                result = run_alone("topic", "list", "-b", address)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(b"HOST:PORT", result.stderr)


class Streams(CommandCase):
    def test_a_closed_standard_input_is_an_error_and_not_somebody_elses_descriptor(self):
        self.create()
        result = self.shell(f'"$TIDELOG" produce {self.topic} <&-')
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"cannot read standard input", result.stderr)

    def test_a_closed_standard_output_is_an_error_and_not_somebody_elses_descriptor(self):
        self.create()
        self.produce(b"x\n")
        for words in (f"consume {self.topic} -e", "topic list", "--version", "--help", "broker --settings"):
            with self.subTest(words=words):
                result = self.shell(f'"$TIDELOG" {words} >&-')
                self.assertEqual(result.returncode, 1)
                self.assertIn(b"cannot write the output", result.stderr)

    def test_a_broker_without_standard_error_writes_no_log_lines_into_its_files(self):
        with tempfile.TemporaryDirectory() as folder:
            broker = Broker(binary(), folder)
            command = [broker.binary, "broker", "--data", broker.data, "--listen", broker.address, "--admin", "off",
                       "--set", "log.level=debug"]
            process = subprocess.Popen(["bash", "-c", 'exec "$@" <&- >&- 2>&-', "bash", *command])
            try:
                deadline = time.monotonic() + WAIT_SECONDS_MAX
                while broker.run("topic", "list").returncode != 0:
                    self.assertLess(time.monotonic(), deadline)
                    self.assertIsNone(process.poll())
                opened = {number: os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)}
                self.assertEqual(opened, {number: "/dev/null" for number in range(3)})
            finally:
                process.send_signal(signal.SIGTERM)
                process.wait(WAIT_SECONDS_MAX)
            self.assertEqual(process.returncode, 0)

    def test_a_full_disk_under_the_output_is_told_without_blaming_the_broker(self):
        self.create()
        self.produce(b"x\n")
        for words in (f"consume {self.topic} -e", "topic list", f"topic describe {self.topic}", "--help"):
            with self.subTest(words=words):
                result = self.shell(f'"$TIDELOG" {words} > /dev/full')
                self.assertEqual(result.returncode, 1)
                self.assertEqual(result.stderr, b"tidelog: cannot write the output: No space left on device\n")

    def test_every_command_ends_quietly_when_nobody_reads(self):
        self.create()
        self.produce(b"x\n" * 100_000)
        (journal, *_) = sorted(pathlib.Path(self.broker.data, "journal").iterdir())
        for words in ("--help", "topic list", f"topic describe {self.topic}", "broker --settings",
                      f"log verify {self.broker.data}", f"log dump --records {journal}",
                      f"consume {self.topic} -e"):
            with self.subTest(words=words):
                result = self.shell(f'"$TIDELOG" {words} | true; exit ${{PIPESTATUS[0]}}')
                self.assertEqual((result.returncode, result.stderr), (0, b""))

    def test_json_of_paths_that_are_not_utf8_is_json(self):
        with tempfile.TemporaryDirectory() as folder:
            broker = Broker(binary(), folder).start()
            self.addCleanup(broker.close)
            broker.must_run("topic", "create", "t")
            self.assertEqual(broker.stop(), 0)
            odd = os.fsencode(folder) + b"/\xff\xfe"
            os.rename(broker.data, odd)
            broker.data = odd
            self.assertTrue(json.loads(broker.must_run("log", "verify", odd, "--json"))["ok"])
            broker.start()
            (status,) = json.loads(broker.must_run("cluster", "status", "--json"))["brokers"]
            self.assertIn("/\ufffd\ufffd", status["storage"])
            (config,) = json.loads(broker.must_run("cluster", "config", "--json"))
            self.assertIn("/\ufffd\ufffd", {one["name"]: one for one in config["settings"]}["data.dir"]["value"])
            broker.must_run("produce", "t", stdin=b"x\n")
            self.assertIn("partitions", json.loads(broker.must_run("topic", "describe", "t", "--json")))
            self.assertEqual(broker.stop(), 0)
            self.assertTrue(json.loads(broker.must_run("log", "repair", odd, "--json"))["ok"])
            (segment,) = pathlib.Path(os.fsdecode(odd)).glob("*/0/*.log")
            segment.unlink()
            (finding,) = json.loads(broker.must_run("log", "repair", odd, "--accept-loss", "--json"))["findings"]
            self.assertIn("/\ufffd\ufffd", finding["partitions"][0]["path"])

    def test_what_cannot_be_read_is_told_without_blaming_the_brokers_disk(self):
        for path in ("/dev/null", "/proc"):
            result = run_alone("log", "dump", path)
            self.assertEqual(result.returncode, 1)
            self.assertIn(path.encode(), result.stderr)
            self.assertNotIn(b"replace it", result.stderr)
        self.assertIn(b"tidelog log verify /proc", result.stderr)


class Signals(CommandCase):
    @unittest.skipIf("thread" in os.environ.get("TIDELOG_SANITIZE", ""),
                     "ThreadSanitizer delivers signals late while the main thread waits in std::future")
    def test_ctrl_c_ends_a_command_whose_broker_does_not_answer(self):
        with tempfile.TemporaryDirectory() as folder:
            broker = Broker(binary(), folder).start()
            self.addCleanup(broker.close)
            broker.must_run("topic", "create", "t")
            broker.process.send_signal(signal.SIGSTOP)
            for words in (("topic", "list"), ("consume", "t"), ("produce", "t"), ("topic", "describe", "t")):
                with self.subTest(words=words):
                    command = subprocess.Popen([binary(), *words, "-b", broker.address], stdin=subprocess.PIPE,
                                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
                    self.addCleanup(self._end, command)
                    self._wait_for_connection(command.pid, broker.port)
                    command.send_signal(signal.SIGINT)
                    self.assertEqual(command.wait(5), 130)
            broker.process.send_signal(signal.SIGCONT)

    @staticmethod
    def _wait_for_connection(pid, port):
        """Until the process has a socket: then it is waiting for the broker."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while time.monotonic() < deadline:
            folder = f"/proc/{pid}/fd"
            targets = []
            for name in os.listdir(folder):
                try:
                    targets.append(os.readlink(f"{folder}/{name}"))
                except OSError:
                    pass  # closed meanwhile
            if any(target.startswith("socket:") for target in targets):
                return
        raise AssertionError(f"process {pid} did not connect to port {port}")

    @staticmethod
    def _wait_for_full_pipe(process):
        """Until nothing more fits into the process's output pipe: how many bytes that takes depends on its writes."""
        import select
        end = os.open(f"/proc/self/fd/{process.stdout.fileno()}", os.O_WRONLY | os.O_NONBLOCK)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        try:
            while time.monotonic() < deadline:
                if not select.select([], [end], [], 0)[1]:
                    return
                time.sleep(0.01)
        finally:
            os.close(end)
        raise AssertionError("the pipe did not fill")

    def test_ctrl_c_ends_consume_although_nobody_empties_its_pipe(self):
        self.create()
        self.produce(b"a rather long line to fill a pipe with\n" * 50_000)
        consumer = self.popen("consume", self.topic, stdout=subprocess.PIPE)
        self._wait_for_full_pipe(consumer)
        consumer.send_signal(signal.SIGINT)
        self.assertEqual(consumer.wait(20), 130)

    def test_ctrl_c_ends_produce_although_nobody_empties_its_pipe(self):
        self.create()
        lines = self.folder / "lines.txt"
        lines.write_bytes(b"a rather long line to fill a pipe with\n" * 200_000)
        producer = self.popen("produce", self.topic, lines, "-o", "%o %v %v %v %v", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self._wait_for_full_pipe(producer)
        producer.send_signal(signal.SIGINT)
        self.assertEqual(producer.wait(30), 130)

    def test_ctrl_c_still_prints_whole_lines_to_who_reads(self):
        self.create()
        line = b"a rather long line to fill a pipe with\n"
        self.produce(line * 50_000)
        consumer = self.popen("consume", self.topic, stdout=subprocess.PIPE)
        self._wait_for_full_pipe(consumer)
        consumer.send_signal(signal.SIGINT)
        printed = consumer.stdout.read()
        self.assertEqual(consumer.wait(20), 130)
        self.assertEqual(printed, line * (len(printed) // len(line)))

    def test_ctrl_c_ends_produce_that_waits_for_a_named_pipe(self):
        self.create()
        pipe = self.folder / "named-pipe"
        os.mkfifo(pipe)
        first = self.folder / "first.txt"
        first.write_bytes(b"first\n")
        producer = self.popen("produce", self.topic, first, pipe, "-o", "%v", stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE)
        self.assertEqual(producer.stdout.readline(), b"first\n")
        producer.send_signal(signal.SIGINT)
        self.assertEqual(producer.wait(20), 130)

    def test_a_named_pipe_is_read_like_a_file(self):
        self.create()
        pipe = self.folder / "second-pipe"
        os.mkfifo(pipe)
        producer = self.popen("produce", self.topic, pipe, "-q")
        with open(pipe, "wb") as writer:
            writer.write(b"one\ntwo\n")
        self.assertEqual(producer.wait(WAIT_SECONDS_MAX), 0)
        self.assertEqual(self.consume("-e"), b"one\ntwo\n")

    def test_a_terminal_that_closes_stops_the_broker_cleanly(self):
        with tempfile.TemporaryDirectory() as folder:
            broker = Broker(binary(), folder).start()
            self.addCleanup(broker.close)
            self.assertEqual(broker.stop(signal.SIGHUP), 0, broker.log())

    def test_nohup_keeps_the_broker_running(self):
        with tempfile.TemporaryDirectory() as folder:
            broker = Broker(binary(), folder)
            ignored = signal.signal(signal.SIGHUP, signal.SIG_IGN)
            try:
                broker.start()
            finally:
                signal.signal(signal.SIGHUP, ignored)
            self.addCleanup(broker.close)
            broker.process.send_signal(signal.SIGHUP)
            broker.must_run("topic", "list")
            self.assertEqual(broker.stop(), 0, broker.log())


if __name__ == "__main__":
    main()
