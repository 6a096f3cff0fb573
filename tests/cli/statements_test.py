#!/usr/bin/env python3
"""What the command line promises, one statement a test: its grammar, formats, shapes and exit codes."""

import base64
import json
import os
import re
import signal
import subprocess
import tempfile
import time
import unittest

from command_case import WAIT_SECONDS_MAX, CommandCase, binary, clean_environment, free_ports, main, run_alone

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
                    self.broker.must_run("produce", "events", "-p", 0, stdin=b"{}\n" * 1500)
                # Without an end it reads on until Ctrl-C.
                is_endless = example.startswith("tidelog consume") and not re.search(r" -e| -o \S*:", example)
                result = subprocess.run(["timeout", "-s", "INT", "2" if is_endless else "30", "bash", "-o", "pipefail",
                                         "-c", example], capture_output=True, check=False, cwd=self.folder,
                                        env=environment, timeout=WAIT_SECONDS_MAX)
                self.assertEqual(result.returncode, 124 if is_endless else 0, result.stderr)

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


class Offsets(CommandCase):
    def setUp(self):
        super().setUp()
        self.create("-p", 2)
        self.produce(b"".join(b"%d000 p0-%d\n" % (i, i) for i in range(10)), "-p", 0, "-f", r"%d %v\n")
        self.produce(b"".join(b"%d000 p1-%d\n" % (i, i) for i in range(4)), "-p", 1, "-f", r"%d %v\n")

    def meaning(self, expression):
        text = self.broker.must_run("offset", self.topic, expression, "--json")
        whole = json.loads(text)
        self.assertEqual(set(whole), {"topic", "partitions"})
        for item in whole["partitions"]:
            self.assertEqual(set(item), {"partition", "from", "to", "start_offset", "high_watermark"})
        return [(item["from"], item["to"]) for item in whole["partitions"]]

    def test_offset_tells_what_each_expression_means_in_each_partition(self):
        for expression, expected in (
            ("start", [(0, None), (0, None)]), ("beginning", [(0, None), (0, None)]),
            ("end", [(10, None), (4, None)]), ("3", [(3, None), (3, None)]), ("7", [(7, None), (7, None)]),
            ("-6", [(4, None), (0, None)]), ("+6", [(6, None), (4, None)]), ("2:5", [(2, 5), (2, 5)]),
            (":end", [(0, 10), (0, 4)]), (":3", [(0, 3), (0, 3)]), ("-2:end", [(8, 10), (2, 4)]),
            ("@3000", [(3, None), (3, None)]), ("@3001", [(4, None), (4, None)]), ("@5000", [(5, None), (4, None)]),
            ("@2000:3000", [(2, 3), (2, 3)]), ("@1970-01-01T00:00:02Z", [(2, None), (2, None)]),
            ("@1970-01-01T00:00:01Z:1970-01-01T01:00:08+01:00", [(1, 8), (1, 4)]),
            ("@-1h", [(10, None), (4, None)]), ("@1970-01-01", [(0, None), (0, None)]),
            ("s@2000", [(2, None), (2, None)]), ("e@2000", [(0, 2), (0, 2)]),
            ("+9223372036854775807", [(10, None), (4, None)]), ("-9223372036854775807", [(0, None), (0, None)]),
        ):
            with self.subTest(offset=expression):
                self.assertEqual(self.meaning(expression), expected)

    def test_consume_reads_from_what_offset_tells(self):
        for expression in ("start", "-3", "+2", "2:4", ":3", "@2000", "@2000:5000", "-3:end", "@-1h"):
            with self.subTest(offset=expression):
                expected = []
                for partition, (first, last) in enumerate(self.meaning(expression)):
                    end = (10, 4)[partition] if last is None else last
                    expected += [b"p%d-%d" % (partition, i) for i in range(first, end)]
                self.assertEqual(sorted(self.consume("-e", "-o", expression).splitlines()), sorted(expected))

    def test_offset_prints_a_table_and_says_where_no_record_is(self):
        text = self.broker.must_run("offset", self.topic, "5").decode()
        self.assertRegex(text, r"(?m)^ *PARTITION +OFFSET$")
        self.assertRegex(text, r"(?m)^ +0 +5$")
        self.assertRegex(text, r"(?m)^ +1 +5  \(behind the end\)$")
        self.assertRegex(self.broker.must_run("offset", self.topic, "2:4").decode(), r"(?m)^ +1 +2 +4$")
        self.assertRegex(self.broker.must_run("offset", "-t", self.topic, "end", "-p", 1).decode(),
                         r"(?m)^ +1 +4  \(the end\)$")

    def test_what_is_no_offset_is_refused_with_all_that_there_are(self):
        for expression in ("", "soon", "5x", "--5", "@", "@5:", "2:", "s@x", "@-5", "1:2:3"):
            for words in (("offset", self.topic, "--", expression), ("consume", self.topic, "-o", expression)):
                with self.subTest(words=words):
                    result = self.broker.run(*words)
                    self.assertEqual(result.returncode, 2, result.stderr)
                    self.assertIn(b":end", result.stderr)

    def test_partitions_are_lists_and_ranges_and_may_be_given_several_times(self):
        for flags, expected in ((("-p", "0"), {"0"}), (("-p", "0,1"), {"0", "1"}), (("-p", "0-1"), {"0", "1"}),
                                (("-p", "1", "-p", "0"), {"0", "1"}), (("--partition", "1"), {"1"})):
            with self.subTest(flags=flags):
                self.assertEqual(set(self.consume("-e", "-f", r"%p\n", *flags).decode().split()), expected)


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


class Formats(CommandCase):
    def test_every_field_and_modifier_prints_what_it_says(self):
        self.create("-p", 2)
        self.produce(b"1234 k v\n", "-f", r"%d %k %v\n", "-p", 1, "-H", "a=1", "-H", "b=x")
        for text, expected in (
            ("%t", self.topic), ("%p", "1"), ("%o", "0"), ("%d", "1234"), ("%k", "k"), ("%v", "v"), ("%s", "v"),
            ("%K", "1"), ("%V", "1"), ("%h", "a=1,b=x"), (r"%k\n%v\t", "k\nv\t"), (r"\0\x41\\", "\0A\\"), ("%%", "%"),
            ("%k{hex}", "6b"), ("%v{base64}", "dg=="), ("%v{json}", '"v"'), ("%t{hex}", self.topic.encode().hex()),
            ("%h{json}", '[{"key":"a","value":"1"},{"key":"b","value":"x"}]'),
        ):
            with self.subTest(format=text):
                self.assertEqual(self.consume("-e", "-f", text), expected.encode())

    def test_a_null_prints_as_nothing_and_in_json_as_null(self):
        self.create()
        self.broker.must_run("produce", self.topic, "--json", stdin=b'{"key":null,"value":null}\n')
        self.assertEqual(self.consume("-e", "-f", "[%k][%v][%k{hex}][%K][%V][%k{json}][%v{json}]"),
                         b"[][][][-1][-1][null][null]")

    def test_bytes_that_are_not_utf8_print_in_json_as_base64(self):
        self.create()
        self.produce(b"\xff\xfe\n")
        self.assertEqual(self.consume("-e", "-f", "%v{json}"), b'{"base64":"//4="}')
        self.assertEqual(self.consume("-e", "-f", "%v{hex}"), b"fffe")

    def test_produce_reads_what_the_same_format_prints(self):
        values = [b"", b"plain", b"new\nline", b"nul\0", b"\xff\xfe", b" space ", b"%v", b"a,b=c", b'"', b"x" * 3000]
        for number, text in enumerate((r"%K %V %k%v", r"%k{hex} %v{hex}\n", r"%k{base64},%v{base64}\n",
                                       r"%k{json}%v{json}\n", r"%p %d %K:%k %V:%v %h{json}\n", "%V %v%K %k",
                                       r"%o|%t|%k{hex}|%v{base64}|%d\n")):
            with self.subTest(format=text):
                source, copy = f"{self.topic}_{number}", f"{self.topic}_{number}_copy"
                self.broker.must_run("topic", "create", source, copy)
                lines = b"".join(json.dumps({"key": {"base64": base64.b64encode(value[::-1]).decode()},
                                             "value": {"base64": base64.b64encode(value).decode()},
                                             "timestamp_ms": 1000 + i, "headers": [{"key": "h", "value": None}]}
                                            ).encode() + b"\n" for i, value in enumerate(values))
                self.broker.must_run("produce", source, "--json", stdin=lines)
                printed = self.broker.must_run("consume", source, "-e", "-f", text)
                self.broker.must_run("produce", copy, "-f", text, stdin=printed)
                again = self.broker.must_run("consume", copy, "-e", "-f", text)
                self.assertEqual(again.replace(copy.encode(), source.encode()), printed)

    def test_consume_ends_every_record_with_its_newline_also_the_last(self):
        self.create()
        self.produce(b"a\nb")
        self.assertEqual(self.consume("-e"), b"a\nb\n")


class Lines(CommandCase):
    """Lines of every kind, each a round trip through a live broker."""

    def round_trip(self, data, expected, *options, printing=()):
        self.create()
        self.produce(data, *options)
        self.assertEqual(self.consume("-e", *printing), expected)

    def test_empty_lines(self):
        self.round_trip(b"\n\na\n\n", b"\n\na\n\n")

    def test_a_line_of_a_mebibyte(self):
        self.round_trip(b"x" * (1 << 20) + b"\nshort\n", b"x" * (1 << 20) + b"\nshort\n")

    def test_a_last_line_without_newline(self):
        self.round_trip(b"a\nb", b"a\nb\n")

    def test_lines_that_are_not_utf8(self):
        self.round_trip(b"\xff\xfe\n\xc3\n\x80abc\n", b"\xff\xfe\n\xc3\n\x80abc\n")

    def test_lines_with_the_delimiter_in_their_value(self):
        self.round_trip(b"a:b:c\n::\n", b"[a][b:c]\n[][:]\n", "-K", ":", printing=("-f", r"[%k][%v]\n"))

    def test_a_key_without_value(self):
        self.round_trip(b"k:\n:\nnone\n", b"1 0\n0 0\n-1 4\n", "-K", ":", printing=("-f", r"%K %V\n"))

    def test_a_key_without_value_is_a_tombstone_with_capital_z(self):
        self.round_trip(b"k:\n\nk:v\n", b"1 -1\n-1 -1\n1 1\n", "-K", ":", "-Z", printing=("-f", r"%K %V\n"))

    def test_two_hundred_headers(self):
        flags = [word for i in range(200) for word in ("-H", f"header-{i}=value {i}")]
        self.round_trip(b"x\n", ",".join(f"header-{i}=value {i}" for i in range(200)).encode() + b"\n", *flags,
                        printing=("-f", r"%h\n"))

    def test_a_delimiter_of_several_bytes_that_is_cut_by_the_end(self):
        self.round_trip(b"a--b-", b"a|b-|", "-D", "--", printing=("-f", "%v|"))

    def test_an_empty_key_is_not_null(self):
        self.round_trip(b"x\n", b"0", "-k", "", printing=("-f", "%K"))

    def test_a_whole_file_is_one_record(self):
        data = b"two\nlines\0and \xff no newline"
        (self.folder / "whole").write_bytes(data)
        (self.folder / "empty").write_bytes(b"")
        self.create()
        self.broker.must_run("produce", self.topic, "--whole", self.folder / "whole", self.folder / "empty", "-",
                             stdin=b"from\nstdin\n")
        rows = [json.loads(row) for row in self.consume("-e", "--json").splitlines()]
        self.assertEqual([base64.b64decode(rows[0]["value"]["base64"]), rows[1]["value"], rows[2]["value"]],
                         [data, "", "from\nstdin\n"])


class Json(CommandCase):
    def test_consume_json_into_produce_json_copies_a_topic_exactly(self):
        source, copy = self.topic, self.topic + "_copy"
        self.broker.must_run("topic", "create", source, copy, "-p", 3)
        records = []
        for i in range(300):
            records.append({
                "key": (None, "", f"k{i % 7}", {"base64": "//79"}, "nul\0")[i % 5],
                "value": (None, "", f"line\n{i}", {"base64": "gICA"}, "ünïcödé ☃ \"quoted\" \\", "x" * 5000)[i % 6],
                "headers": [{"key": f"h{n}", "value": (None, "", "v", {"base64": "/w=="})[n % 4]} for n in range(i % 9)],
                "timestamp_ms": 1_700_000_000_000 - i * 1000, "partition": i % 3,
            })
        records[5]["headers"] = [{"key": "same", "value": str(n)} for n in range(200)]
        lines = b"".join(json.dumps(record).encode() + b"\n" for record in records)
        self.broker.must_run("produce", source, "--json", "--keep-partition", stdin=lines)
        printed = self.broker.must_run("consume", source, "-e", "--json")
        self.assertEqual(len(printed.splitlines()), 300)
        result = self.shell(f'"$TIDELOG" consume {source} -e --json | "$TIDELOG" produce {copy} --json --keep-partition')
        self.assertEqual(result.returncode, 0, result.stderr)

        def rows(topic):
            got = [json.loads(row) for row in self.broker.must_run("consume", topic, "-e", "--json").splitlines()]
            for row in got:
                row.pop("topic")
            return sorted(got, key=lambda row: (row["partition"], row["offset"]))
        self.assertEqual(rows(copy), rows(source))
        expected = [[record for record in records if record["partition"] == p] for p in range(3)]
        self.assertEqual([{k: v for k, v in row.items() if k != "offset"} for row in rows(copy)],
                         [{k: record[k] for k in record} for part in expected for record in part])

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
        self.assertEqual(summary, {"records": 1, "bytes": 3, "failed": 0, "unknown": 0,
                                   "partitions": [{"partition": 0, "first_offset": 0, "last_offset": 0}]})
        # Another flag may say how the input looks; the summary is JSON all the same.
        self.assertEqual(json.loads(self.produce(b"x\ny\n", "--json", "-f", r"%v\n"))["records"], 2)

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


class Produce(CommandCase):
    def test_create_makes_the_topic_and_leaves_one_that_is_there(self):
        for count in (1, 2):
            result = self.broker.run("produce", self.topic, "--create", stdin=b"x\n")
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertEqual(self.consume("-e"), b"x\n" * count)

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

    def test_it_ends_with_one_line_of_records_bytes_and_seconds(self):
        self.create()
        self.assertRegex(self.broker.run("produce", self.topic, stdin=b"a\nbc\n").stderr,
                         rb"\Aacknowledged 2 records, 3 B in [0-9.]+ s [^\n]*\n\Z")

    def test_output_format_prints_a_line_once_a_record_is_acknowledged(self):
        self.create()
        producer = self.popen("produce", self.topic, "-q", "-o", "%p:%o:%v", stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE)
        for i in range(3):
            producer.stdin.write(b"%d\n" % i)
            producer.stdin.flush()
            self.assertEqual(producer.stdout.readline(), b"0:%d:%d\n" % (i, i))


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

    @staticmethod
    def _readable(fd):
        import select
        return bool(select.select([fd], [], [], 0.05)[0])


if __name__ == "__main__":
    main()
