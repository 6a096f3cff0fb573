#!/usr/bin/env python3
"""tidelog broker: its settings, and directories that are not its own.

Usage: broker_command_test.py BUILD/tools/tidelog [unittest options]
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

from command_case import WAIT_SECONDS_MAX, Broker, CommandCase, binary, clean_environment, main, run_alone


class BrokerCommand(unittest.TestCase):
    def test_it_listens_on_this_machine_only_unless_told_otherwise(self):
        settings = {one["name"]: one for one in json.loads(run_alone("broker", "--settings", "--json").stdout)}
        self.assertEqual(settings["listen"]["default"], "127.0.0.1:9700")
        self.assertEqual(settings["admin.listen"]["default"], "127.0.0.1:9701")

    def test_it_puts_its_data_where_it_stands_and_says_so(self):
        with tempfile.TemporaryDirectory() as folder:
            process = subprocess.Popen([binary(), "broker", "--listen", "127.0.0.1:0", "--admin", "off"], cwd=folder,
                                       stderr=subprocess.PIPE, env=clean_environment())
            try:
                said = b""
                while b"tidelog-data" not in said:
                    line = process.stderr.readline()
                    self.assertNotEqual(line, b"", said)
                    said += line
                self.assertTrue(os.path.isdir(os.path.join(folder, "tidelog-data")))
            finally:
                process.send_signal(signal.SIGTERM)
                process.stderr.read()
                process.wait(WAIT_SECONDS_MAX)
                process.stderr.close()

    def test_a_directory_that_cannot_be_written_is_told_without_blaming_the_disk(self):
        result = run_alone("broker", "--data", "/dev/null/none", "--listen", "127.0.0.1:0", "--admin", "off")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"/dev/null/none", result.stderr)
        self.assertIn(b"may be written by this user", result.stderr)
        self.assertNotIn(b"replace it", result.stderr)

    def test_flag_beats_variable_beats_file_beats_default(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "broker.toml")
            with open(path, "w", encoding="utf-8") as file:
                file.write('data.dir = "/proc/from-file"\n')
            words = ["broker", "--listen", "127.0.0.1:0", "--admin", "off", "--config", path]
            variable = {"TIDELOG_DATA_DIR": "/proc/from-variable"}
            for flags, environment, named in (((), {}, b"/proc/from-file"), ((), variable, b"/proc/from-variable"),
                                              (("--data", "/proc/from-flag"), variable, b"/proc/from-flag")):
                result = run_alone(*words, *flags, environment=environment)
                self.assertEqual(result.returncode, 1)
                self.assertIn(named, result.stderr)

    def test_settings_are_listed_with_their_meaning(self):
        self.assertIn(b"data.dir", run_alone("broker", "--settings").stdout)
        settings = json.loads(run_alone("broker", "--settings", "--json").stdout)
        self.assertEqual({"name", "type", "default", "environment", "live", "meaning"}, set(settings[0]))


class BesideABroker(CommandCase):
    def test_a_second_broker_on_the_directory_is_refused_with_the_first_ones_pid(self):
        result = self.broker.run("broker", "--data", self.broker.data, "--listen", "127.0.0.1:0",
                                 "--admin", "off")
        self.assertEqual(result.returncode, 1)
        self.assertIn(str(self.broker.process.pid).encode(), result.stderr)
        self.assertIn(b"choose another directory with --data", result.stderr)

    def test_an_address_that_is_taken_is_named_with_the_flags_that_choose_another(self):
        for flags in (("--listen", self.broker.address, "--admin", "off"),
                      ("--listen", "127.0.0.1:0", "--admin", f"127.0.0.1:{self.broker.admin_port}")):
            with self.subTest(flags=flags), tempfile.TemporaryDirectory() as folder:
                result = self.broker.run("broker", "--data", folder, *flags)
                self.assertEqual(result.returncode, 1)
                self.assertRegex(result.stderr, rb"cannot (listen|serve admin pages) on 127\.0\.0\.1:")
                self.assertEqual(result.stderr.count(b"choose"), 1, result.stderr)
                self.assertIn(b"choose other addresses with --listen and --admin", result.stderr)

    def test_an_address_without_a_host_of_that_name_is_refused_before_anything_is_lost(self):
        for flags in (("--listen", "nosuch.invalid:0", "--admin", "off"),
                      ("--listen", "127.0.0.1:0", "--admin", "nosuch.invalid:0")):
            with self.subTest(flags=flags), tempfile.TemporaryDirectory() as folder:
                result = self.broker.run("broker", "--data", folder + "/data", *flags)
                self.assertEqual(result.returncode, 1, result.stderr)
                self.assertIn(b"on nosuch.invalid:0: 'nosuch.invalid' has no address: ", result.stderr)

    def test_a_setting_is_named_as_it_was_written(self):
        for words, said in ((("--listen", "127.0.0.1"), b"--listen: '127.0.0.1' is no address"),
                            (("--set", "listen=127.0.0.1"), b"--set listen: '127.0.0.1' is no address"),
                            (("--listen", "127.0.0.1:0", "--set", "listen=127.0.0.1:1"),
                             b"--listen and --set listen both say listen; use one")):
            with self.subTest(words=words):
                result = run_alone("broker", "--data", "/proc/none", *words)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(b": " + said, result.stderr)

    def test_a_new_data_directory_that_holds_other_files_is_told(self):
        with tempfile.TemporaryDirectory() as folder:
            broker = Broker(binary(), folder)
            self.addCleanup(broker.close)
            data = pathlib.Path(broker.data)
            told = "becomes a data directory and holds other files too, such as 'thesis.txt'"
            # An empty file system, or nothing at all, is what a data directory is made of.
            for name in (None, "lost+found", "thesis.txt"):
                shutil.rmtree(data, ignore_errors=True)
                if name:
                    (data / name).mkdir(parents=True)
                broker.start()
                self.assertEqual(broker.stop(), 0)
                self.assertEqual(told in broker.log(), name == "thesis.txt", broker.log())
            lines = broker.log().count(told)
            broker.start()  # it is one now
            self.assertEqual(broker.stop(), 0)
            self.assertEqual(broker.log().count(told), lines)

    def test_a_directory_that_cannot_be_made_says_nothing_of_broken_disks(self):
        with tempfile.NamedTemporaryFile() as file:
            result = run_alone("broker", "--data", file.name, "--listen", "127.0.0.1:0", "--admin", "off")
            self.assertEqual(result.returncode, 1)
            self.assertIn(b"Not a directory", result.stderr)
            self.assertNotIn(b"replace", result.stderr)


if __name__ == "__main__":
    main()
