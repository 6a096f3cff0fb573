#!/usr/bin/env python3
"""What help says, and what is said of words that no command takes.

Usage: help_test.py BUILD/tools/tidelog [unittest options]
"""

import json
import os
import pathlib
import re
import subprocess
import unittest

from command_case import WAIT_SECONDS_MAX, CommandCase, binary, free_ports, main, run_alone

COMMANDS = {
    "broker": (), "topic": ("create", "list", "describe", "alter", "add-partitions", "trim", "delete"), "produce": (),
    "consume": (), "offset": (), "cluster": ("status", "config"), "log": ("verify", "dump", "repair"), "completion": (),
}
# Words that a command needs to get as far as the brokers.
NEEDED = {
    ("topic", "create"): ("x",), ("topic", "describe"): ("x",), ("topic", "delete"): ("-y", "x"),
    ("topic", "alter"): ("x", "--set", "retention.ms=1"), ("topic", "add-partitions"): ("x", "2"),
    ("topic", "trim"): ("x", "--before", "1"), ("produce",): ("x",), ("consume",): ("x",), ("offset",): ("x", "end"),
}


def leaf_commands():
    """Every command as the words that lead to it, read from --help itself."""
    def below(words):
        text = run_alone(*words, "--help").stdout.decode()
        section = re.search(r"\nSubcommands:\n((?:  \S.*\n(?: {30,}.*\n)*)+)", text)
        return re.findall(r"^  (\S+)", section.group(1), re.MULTILINE) if section else []

    def walk(words):
        found = below(words)
        if not found:
            yield words
        for name in found:
            yield from walk((*words, name))
    return list(walk(()))


class Help(CommandCase):
    def test_the_commands_are_those_that_are_promised(self):
        leaves = leaf_commands()
        for noun, verbs in COMMANDS.items():
            for words in [(noun, verb) for verb in verbs] or [(noun,)]:
                self.assertIn(words, leaves)

    def test_every_help_has_an_example(self):
        for words in [(), ("topic",), ("cluster",), ("log",), *leaf_commands()]:
            with self.subTest(command=words):
                result = run_alone(*words, "--help")
                self.assertEqual((result.returncode, result.stderr), (0, b""))
                self.assertIn(b"Example:\n  ", result.stdout)
                self.assertIn(b"\nUsage: " + " ".join(("tidelog", *words)).encode() + b" [OPTIONS]", result.stdout)

    def test_every_example_works_as_it_stands(self):
        begins = re.compile(r"\btidelog (topic|produce|consume|offset|cluster) ")
        examples = set()
        for words in [(), ("topic",), ("cluster",), *leaf_commands()]:
            text = run_alone(*words, "--help").stdout.decode().split("\nExample:\n")[1]
            examples.update(line.strip() for line in text.splitlines() if line.startswith("  ") and begins.search(line))
        self.assertGreater(len(examples), 20)
        for name in ("access.log", "lines.txt"):
            (self.folder / name).write_text("a line\n")
        os.symlink(binary(), self.folder / "tidelog")
        environment = dict(self.broker.environment(), PATH=f"{self.folder}:{os.environ['PATH']}")
        for example in sorted(examples):
            with self.subTest(example=example):
                for name in ("events", "clicks", "views", "copy"):
                    self.broker.run("topic", "delete", "-y", name)
                if "topic create events" not in example:
                    self.broker.must_run("topic", "create", "events", "-p", 4)
                    for partition in range(4):
                        self.broker.must_run("produce", "events", "-p", partition, stdin=b"{}\n" * 1500)
                # Without an end it reads on until Ctrl-C.
                is_endless = example.startswith("tidelog consume") and not re.search(r" -e| -o \S*:", example)
                result = subprocess.run(["timeout", "-s", "INT", "2" if is_endless else "30", "bash", "-o", "pipefail",
                                         "-c", example], capture_output=True, check=False, cwd=self.folder,
                                        env=environment, timeout=WAIT_SECONDS_MAX)
                self.assertEqual(result.returncode, 124 if is_endless else 0, result.stderr)

    def test_the_first_use_of_the_readme_works_line_by_line(self):
        readme = pathlib.Path(__file__).resolve().parents[2] / "README.md"
        block = readme.read_text().split("## First use\n\n```\n")[1].split("```")[0]
        tools = self.folder / "build" / "release" / "tools"
        tools.mkdir(parents=True)
        os.symlink(binary(), tools / "tidelog")
        (self.folder / "README.md").write_bytes(readme.read_bytes())
        lines = [line for line in block.splitlines() if "tidelog broker" not in line]
        self.assertGreater(len(lines), 10)
        for at, line in enumerate(lines):
            if "Ctrl-C ends" in line:  # 124: so it was
                lines[at] = "{ timeout -s INT 1 " + line.split("#")[0].strip() + " || [ $? = 124 ]; }"
        self.broker.run("topic", "delete", "-y", "events")
        self.broker.run("topic", "delete", "-y", "copy")
        result = self.shell("set -e -o pipefail\n" + "\n".join(lines) + "\ncomplete -p tidelog\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"tidelog", result.stdout.splitlines()[-1])
        for name in ("events", "copy"):
            self.assertEqual(len(json.loads(self.broker.must_run("topic", "describe", name, "--json"))["partitions"]), 4)
        whole = self.broker.must_run("consume", "events", "-e", "-f", "%p %o %d %k %v %h{json}\\n").splitlines()
        copy = self.broker.must_run("consume", "copy", "-e", "-f", "%p %o %d %k %v %h{json}\\n").splitlines()
        self.assertEqual(sorted(copy), sorted(whole))

    def test_structured_output_is_json_on_demand(self):
        self.create()
        for words in (("topic", "list"), ("topic", "describe", self.topic), ("topic", "trim", self.topic, "--before", "0"),
                      ("offset", self.topic, "end"), ("cluster", "status"), ("cluster", "config"),
                      ("log", "verify", self.broker.data), ("produce", self.topic)):
            with self.subTest(command=words):
                json.loads(self.broker.must_run(*words, "--json"))
        json.loads(run_alone("broker", "--settings", "--json").stdout)

    def test_the_address_that_is_asked_without_one_is_on_this_machine(self):
        for command in (("consume",), ("produce",), ("topic", "list"), ("cluster", "status")):
            self.assertIn(b"--bootstrap-server HOST:PORT,...=127.0.0.1:9700", run_alone(*command, "--help").stdout)

    def test_every_flag_shows_its_environment_name(self):
        for words in leaf_commands():
            text = run_alone(*words, "--help").stdout.decode()
            options = text.split("\nOptions:\n")[1].split("\nExample:")[0]
            entries = re.split(r"\n(?=  -)", options)
            for entry in entries:
                with self.subTest(command=words, flag=entry.split()[0]):
                    if "--help" not in entry:
                        self.assertRegex(entry, r"\[TIDELOG_[A-Z0-9_]+\]")

    def test_no_environment_name_of_a_flag_passes_for_a_mistyped_broker_setting(self):
        """A broker refuses variables that are nearly the name of a setting."""
        names = set()
        for words in leaf_commands():
            names.update(re.findall(r"\[(TIDELOG_[A-Z0-9_]+)\]", run_alone(*words, "--help").stdout.decode()))
        settings = json.loads(run_alone("broker", "--settings", "--json").stdout)
        names -= {one["environment"] for one in settings}
        result = run_alone("broker", "--data", "/proc/none", "--listen", "127.0.0.1:0", "--admin", "off",
                           environment={name: "" for name in names})
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn(b"/proc/none", result.stderr)

    def test_every_command_that_reaches_brokers_takes_their_addresses_in_three_ways(self):
        (port,) = free_ports(1)
        address = f"127.0.0.1:{port}"
        here = {("broker",), ("completion",), ("log", "verify"), ("log", "dump"), ("log", "repair")}
        for command in set(leaf_commands()) - here:
            words = (*command, *NEEDED.get(command, ()))
            for flags, environment in ((("-b", address), {}), (("--brokers", address), {}),
                                       (("--bootstrap-server", address), {}), ((), {"TIDELOG_BROKERS": address})):
                with self.subTest(command=words, flags=flags):
                    result = run_alone(*words, *flags, environment=environment)
                    self.assertEqual(result.returncode, 1)
                    self.assertIn(address.encode(), result.stderr)
                    self.assertIn(b"tidelog broker", result.stderr)

    def test_mistyped_commands_flags_topics_and_settings_name_what_is_close(self):
        self.broker.must_run("topic", "create", "orders")
        for words, part in ((("cosnume", "orders"), b"'consume'"), (("topic", "lsit"), b"'list'"),
                            (("consume", "orders", "--formt", "x"), b"'--format'"),
                            (("consume", "odrers", "-e"), b"'orders'"), (("offset", "odrers", "end"), b"'orders'"),
                            (("topic", "create", "y", "--set", "segment.byte=1"), b"segment.bytes"),
                            (("broker", "--set", "log.leve=info"), b"log.level")):
            with self.subTest(command=words):
                result = self.broker.run(*words)
                self.assertIn(result.returncode, (1, 2))
                self.assertIn(b"did you mean", result.stderr)
                self.assertIn(part, result.stderr)

    def test_data_goes_to_stdout_and_everything_else_to_stderr(self):
        self.create()
        result = self.broker.run("produce", self.topic, stdin=b"x\n")
        self.assertEqual(result.stdout, b"")
        self.assertNotEqual(result.stderr, b"")
        result = self.broker.run("consume", self.topic, "-e")
        self.assertEqual((result.stdout, result.stderr), (b"x\n", b""))


class Usage(unittest.TestCase):
    def test_version_is_one_line(self):
        self.assertRegex(run_alone("--version").stdout, rb"^tidelog \d+\.\d+\.\d+\n$")

    def test_a_flag_before_its_command_is_told_where_it_belongs(self):
        for words, said in ((("-b", "127.0.0.1:1", "topic", "list"),
                             b"-b stands before the command; write it behind: tidelog topic list -b HOST:PORT"),
                            (("-q", "produce", "x"), b"write it behind: tidelog produce -q\n"),
                            (("topic", "--brokers=a:1", "create", "x"),
                             b"write it behind: tidelog topic create --brokers HOST:PORT"),
                            (("--colour", "topic", "list"), b"tidelog has no option '--colour'")):
            with self.subTest(words=words):
                result = run_alone(*words)
                self.assertEqual(result.returncode, 2)
                self.assertIn(said, result.stderr)

    def test_usage_errors_exit_2_and_name_what_is_close(self):
        for words, part in (
            ((), b"Usage"),
            (("prodcue", "x"), b"did you mean 'produce'?"),
            (("topic", "creat", "x"), b"did you mean 'create'?"),
            (("topic",), b"create, list, describe, alter, add-partitions, trim, delete"),
            (("zzzz",), b"there are broker"),
            (("streams", "produce"), b"tidelog has no command 'streams'"),  # and not: produce does not take it
            (("topic", "zz", "create", "x"), b"tidelog topic has no command 'zz'"),
            (("topic", "create"), b"topic create needs NAME"),
            (("topic", "add-partitions", "x"), b"topic add-partitions needs TOTAL"),
            (("topic", "trim", "x"), b"topic trim needs --before OFFSET"),
            (("completion",), b"completion needs bash|zsh|fish"),
            (("consume", "x", "--jsn"), b"did you mean '--json'?"),
            (("consume", "x", "y"), b"does not take 'y'"),
            (("consume",), b"tidelog consume TOPIC"),
            (("consume", "x", "-o", "soon"), b":end"),
            (("consume", "x", "-f", "%q"), b"--format: '%q' is no field"),
            (("produce", "x", "-o", "%q"), b"--output-format: '%q' is no field"),
            (("produce", "x", "--acks", "none", "-o", "%o"), b"with --acks none nothing is"),
            (("produce", "x", "--delivery-timeout", "x"), b"--delivery-timeout: 'x' is no duration"),
            (("consume", "x", "-f", "%v", "--json"), b"use one"),
            (("consume", "x", "-p", "a"), b"0-3"),
            (("consume", "x", "--timeout", "5"), b"--timeout: '5' is no duration; write a number and a unit"),
            (("produce",), b"tidelog produce TOPIC"),
            (("produce", "x", "-z", "brotli"), b"none, gzip, snappy, lz4 or zstd"),
            (("produce", "x", "-z", "zstd:20"), b"levels 1 to 19, not '20'"),
            (("produce", "x", "-z", "gzip:"), b"levels 1 to 9, not ''"),
            (("produce", "x", "-z", "snappy:1"), b"snappy has no levels"),
            (("produce", "x", "--acks", "two"), b"all, leader or none"),
            (("produce", "x", "-k", "a", "-K", ":"), b"use one of them"),
            (("produce", "x", "-H", "a"), b"key=value"),
            (("produce", "x", "-f", "%k%v"), b"nothing separates %k from %v"),
            (("produce", "x", "-D", ""), b"at least one character"),
            (("produce", "x", "-b", "host:port"), b"HOST:PORT"),
            (("topic", "delete", "x"), b"add -y"),
            (("topic", "create", "x", "-p", "0"), b"--partitions"),
            (("broker", "--set", "nonsense"), b"key=value"),
            (("broker", "--set", "log.levle=debug"), b"log.level"),
        ):
            with self.subTest(command=words):
                result = run_alone(*words)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(part, result.stderr)
                self.assertEqual(result.stdout, b"")

    def test_a_broker_that_is_down_is_named_together_with_what_to_do(self):
        (port,) = free_ports(1)
        for words in (("topic", "list"), ("consume", "x"), ("produce", "x")):
            with self.subTest(command=words):
                result = run_alone(*words, environment={"TIDELOG_BROKERS": f"127.0.0.1:{port}"})
                self.assertEqual(result.returncode, 1)
                self.assertIn(f"127.0.0.1:{port}".encode(), result.stderr)
                self.assertIn(b"tidelog broker", result.stderr)


if __name__ == "__main__":
    main()
