#!/usr/bin/env python3
"""Defaults of flags: environment variables, and the profiles of ~/.config/tidelog/config.toml."""

import os
import tempfile
import textwrap
import pathlib
import subprocess
import unittest.mock

from command_case import WAIT_SECONDS_MAX, Broker, CommandCase, binary, clean_environment, main


class Defaults(CommandCase):
    def setUp(self):
        super().setUp()
        self.config = tempfile.TemporaryDirectory(prefix="tidelog-config-")
        self.addCleanup(self.config.cleanup)
        self.path = pathlib.Path(self.config.name) / "tidelog" / "config.toml"

    def write(self, text):
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_text(textwrap.dedent(text))

    def run_tidelog(self, *words, stdin=b"", **environment):
        env = clean_environment({"XDG_CONFIG_HOME": self.config.name, **environment})
        return subprocess.run([binary(), *map(str, words)], input=stdin, capture_output=True, env=env,
                              timeout=WAIT_SECONDS_MAX, check=False)

    def test_a_profile_gives_flags_their_defaults(self):
        self.create("-p", 2)
        self.produce(b"k:v\n", "-K", ":", "-p", 1)
        self.write(f"""
            profile = "here"
            [profiles.here]
            brokers = "{self.broker.address}"
            [profiles.here.consume]
            format = "%k=%v\\n"
            exit-at-end = true
            [profiles.here.topic.create]
            partitions = 5
            [profiles.other]
            brokers = "127.0.0.1:1"
            """)
        result = self.run_tidelog("consume", self.topic)
        self.assertEqual((result.returncode, result.stdout, result.stderr), (0, b"k=v\n", b""))
        # A flag beats the profile, and so does a variable.
        self.assertEqual(self.run_tidelog("consume", self.topic, "-f", "%p").stdout, b"1")
        self.assertEqual(self.run_tidelog("consume", self.topic, TIDELOG_CONSUME_FORMAT="%o").stdout, b"0")
        self.assertEqual(self.run_tidelog("consume", self.topic, "-f", "%p", TIDELOG_CONSUME_FORMAT="%o").stdout, b"1")
        self.assertEqual(self.run_tidelog("topic", "create", self.topic + "5").returncode, 0)
        self.assertIn(self.topic + "5  ", "".join(self.run_tidelog("topic", "list").stdout.decode()))
        self.assertEqual(len(self.broker.must_run("offset", self.topic + "5", "end").splitlines()), 6)

    def test_a_profile_may_give_several_values_where_a_line_may(self):
        self.create("-p", 3)
        self.write(f"""
            profile = "here"
            [profiles.here]
            brokers = ["127.0.0.1:1", "{self.broker.address}"]
            [profiles.here.produce]
            header = ["source=here", "list=a,b"]
            [profiles.here.consume]
            partitions = [0, 2]
            offset = []
            """)
        headers = ("-e", "-f", "%h|")
        for partition in range(3):
            result = self.run_tidelog("produce", self.topic, "-q", "-p", partition, stdin=b"%d\n" % partition)
            self.assertEqual(result.returncode, 0, result.stderr)
        result = self.run_tidelog("consume", self.topic, "-e")
        self.assertEqual((result.returncode, sorted(result.stdout.split())), (0, [b"0", b"2"]), result.stderr)
        self.assertEqual(self.run_tidelog("consume", self.topic, *headers).stdout, b"source=here,list=a,b|" * 2)
        # What is nearer stands for all of them.
        self.assertEqual(self.run_tidelog("consume", self.topic, "-e", "-p", 1).stdout, b"1\n")
        self.assertEqual(self.run_tidelog("consume", self.topic, "-e", TIDELOG_CONSUME_PARTITIONS="1").stdout, b"1\n")
        self.run_tidelog("produce", self.topic, "-p", 1, "-H", "own=1", stdin=b"x\n")
        self.run_tidelog("produce", self.topic, "-p", 1, stdin=b"x\n", TIDELOG_PRODUCE_HEADER="own=2")
        self.assertEqual(self.run_tidelog("consume", self.topic, "-p", 1, *headers).stdout,
                         b"source=here,list=a,b|own=1|own=2|")
        # A bad one is told as that of a variable is.
        self.write('[profiles.a.produce]\nheader = ["a=b", "nonsense"]\n')
        result = self.run_tidelog("produce", self.topic, "--profile", "a", stdin=b"x\n")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"nonsense", result.stderr)

    def test_the_flag_and_the_variable_choose_another_profile(self):
        self.write(f"""
            profile = "down"
            [profiles.down]
            brokers = "127.0.0.1:1"
            [profiles.up]
            brokers = "{self.broker.address}"
            """)
        self.assertEqual(self.run_tidelog("topic", "list").returncode, 1)
        self.assertEqual(self.run_tidelog("topic", "list", "--profile", "up").returncode, 0)
        self.assertEqual(self.run_tidelog("topic", "list", "--profile=up").returncode, 0)
        self.assertEqual(self.run_tidelog("topic", "list", TIDELOG_PROFILE="up").returncode, 0)
        self.assertEqual(self.run_tidelog("topic", "list", "--profile", "down", TIDELOG_PROFILE="up").returncode, 1)
        self.assertEqual(self.run_tidelog("topic", "list", "-b", self.broker.address).returncode, 0)

    def test_what_is_not_understood_is_refused_with_file_line_and_what_is_close(self):
        for text, part in (
            ('[profiles.a]\nbroker = "x"\n', b"config.toml:2: no flag is called 'broker'; did you mean 'brokers'?"),
            ('[profiles.a.consume]\nfromat = "x"\n', b"'consume.fromat'; did you mean 'consume.format'"),
            ('[profiles.a.consum]\nformat = "x"\n', b"did you mean 'consume.format'?"),
            ('brokers = "x"\n', b"config.toml:1: 'brokers' is not understood"),
            ('[profiles.a.consume]\nformat = ["x"]\n', b"config.toml:2: 'consume.format' takes one value, no list"),
            ('[profiles.a.produce]\nheader = ["a=b", ""]\n', b"config.toml:2: an item of 'produce.header' is empty"),
            ('[profiles.a.produce]\nheader = ["a=b", 1.5]\n', b"config.toml:2: "),
            ('profile = ["a"]\n[profiles.a]\n', b"config.toml:1: 'profile' is one name, no list"),
            ('[profiles.a\n', b"config.toml:"),
            ('profile = "b"\n[profiles.a]\nquiet = true\n', b"there is no profile 'b'"),
            ('[profiles.a.broker]\nlisten = "x"\n', b"no flag is called 'broker.listen'"),
        ):
            with self.subTest(text=text):
                self.write(text)
                result = self.run_tidelog("topic", "list", "-b", self.broker.address)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(part, result.stderr)
                # Help and commands that reach no broker go on.
                self.assertEqual(self.run_tidelog("consume", "--help").returncode, 0)
                self.assertEqual(self.run_tidelog("broker", "--settings").returncode, 0)
                self.assertEqual(self.run_tidelog("completion", "bash").returncode, 0)

    def test_a_value_that_is_refused_names_the_variable_it_came_from(self):
        for words, name, value, part in (
            (("consume", "x"), "TIDELOG_CONSUME_TIMEOUT", "5", b"--timeout: '5' is no duration"),
            (("consume", "x"), "TIDELOG_CONSUME_FORMAT", "%k %q", b"--format: '%q' is no field"),
            (("consume", "x"), "TIDELOG_CONSUME_OFFSET", "soon", b"offset 'soon'"),
            (("consume", "x"), "TIDELOG_CONSUME_COUNT", "many", b"many"),
            (("produce", "x"), "TIDELOG_PRODUCE_DELIVERY_TIMEOUT", "y", b"--delivery-timeout: 'y'"),
            (("produce", "x"), "TIDELOG_PRODUCE_ACKS", "two", b"'two'"),
        ):
            with self.subTest(variable=name):
                result = self.run_tidelog(*words, **{name: value})
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertIn(part, result.stderr)
                self.assertIn(f"(from {name} or a profile)".encode(), result.stderr)
        # What stands on the line comes from nowhere else.
        result = self.run_tidelog("consume", "x", "--timeout", "5", TIDELOG_CONSUME_TIMEOUT="5")
        self.assertIn(b"--timeout: '5' is no duration", result.stderr)
        self.assertNotIn(b"or a profile", result.stderr)

    def test_a_mistyped_variable_is_told_and_others_are_nobodys_matter(self):
        base = {"TIDELOG_BROKERS": self.broker.address}
        for name, close in (("TIDELOG_CONSUME_FORMATT", b"; did you mean 'TIDELOG_CONSUME_FORMAT'"),
                            ("TIDELOG_COSNUME_FORMAT", b"; did you mean 'TIDELOG_CONSUME_FORMAT'"),
                            ("TIDELOG_QUIETT", b"; did you mean 'TIDELOG_QUIET'"),
                            ("TIDELOG_CONSUME_ZZZZZZZZZZZZZZZZZZZZZZZZZZ", b"\n")):
            with self.subTest(variable=name):
                told = f"environment variable {name} sets no flag of tidelog consume".encode() + close
                result = self.run_tidelog("consume", "missing", **base, **{name: "%v"})
                self.assertIn(told, result.stderr)
                self.assertIn(b"there is no topic 'missing'", result.stderr)  # and the command runs
                self.assertNotIn(told, self.run_tidelog("consume", "missing", "-q", **base, **{name: "%v"}).stderr)
                self.assertEqual(self.run_tidelog("consume", "--help", **base, **{name: "%v"}).stderr, b"")
        # Those of other commands, settings of brokers, and what a container platform sets for a service.
        for name in ("TIDELOG_PRODUCE_KEY", "TIDELOG_LOG_LEVEL", "TIDELOG_BROKER_ID", "TIDELOG_PORT_9700_TCP",
                     "TIDELOG_SERVICE_HOST"):
            with self.subTest(variable=name):
                self.assertEqual(self.run_tidelog("topic", "list", **base, **{name: "x"}).stderr, b"")

    def test_a_profile_that_is_not_there_is_named_with_the_closest(self):
        self.assertIn(b"does not exist", self.run_tidelog("topic", "list", "--profile", "x").stderr)
        self.write('[profiles.production]\nquiet = true\n')
        result = self.run_tidelog("topic", "list", "--profile", "prodution")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"did you mean 'production'?", result.stderr)

    def test_these_tests_look_at_no_profile_and_no_variable_of_who_runs_them(self):
        self.create()
        home = pathlib.Path(self.config.name)
        path = home / ".config" / "tidelog" / "config.toml"
        path.parent.mkdir(parents=True)
        path.write_text('profile = "p"\n[profiles.p]\nbrokers = "127.0.0.1:1"\n[profiles.p.consume]\nformat = "%p"\n')
        with unittest.mock.patch.dict(os.environ, {"HOME": str(home), "TIDELOG_CONSUME_COUNT": "0",
                                                   "TIDELOG_LOG_LEVEL": "nonsense"}):
            os.environ.pop("XDG_CONFIG_HOME", None)
            self.produce(b"x\n")
            self.assertEqual(self.consume("-e"), b"x\n")
            with tempfile.TemporaryDirectory() as folder:
                broker = Broker(binary(), folder).start()
                self.addCleanup(broker.close)
                self.assertEqual(broker.stop(), 0)

    def test_home_holds_the_file_where_no_other_place_is_named(self):
        home = pathlib.Path(self.config.name) / "home"
        path = home / ".config" / "tidelog" / "config.toml"
        path.parent.mkdir(parents=True)
        path.write_text(f'profile = "p"\n[profiles.p]\nbrokers = "{self.broker.address}"\n')
        self.assertEqual(self.run_tidelog("topic", "list", XDG_CONFIG_HOME="", HOME=str(home)).returncode, 0)

    def test_a_variable_sets_its_flag_and_only_that_of_its_command(self):
        self.create()
        self.produce(b"x\n")
        base = {"TIDELOG_BROKERS": self.broker.address}
        result = self.run_tidelog("consume", self.topic, TIDELOG_CONSUME_EXIT_AT_END="true",
                                  TIDELOG_CONSUME_JSON="1", **base)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertTrue(result.stdout.startswith(b"{"))
        # A bad value of another command's variable is no matter here.
        result = self.run_tidelog("topic", "list", TIDELOG_CONSUME_COUNT="many", **base)
        self.assertEqual(result.returncode, 0, result.stderr)
        result = self.run_tidelog("consume", self.topic, TIDELOG_CONSUME_COUNT="many", **base)
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"TIDELOG_CONSUME_COUNT", result.stderr)
        self.assertEqual(self.run_tidelog("produce", self.topic, stdin=b"y\n", TIDELOG_QUIET="1", **base).stderr, b"")

    def test_a_flag_beats_the_variables_and_profiles_that_it_excludes(self):
        self.create()
        base = {"TIDELOG_BROKERS": self.broker.address}
        self.produce(b"k:v\n", "-K", ":")
        everything = self.consume("-e", "--json")
        # What README shows as a profile.
        self.write(f"""
            profile = "local"
            [profiles.local]
            brokers = "{self.broker.address}"
            [profiles.local.consume]
            format = "%k %v\\n"
            """)
        for words, variables, printed in (
            ((self.topic, "-e"), {}, b"k v\n"),
            ((self.topic, "-e", "--json"), {}, everything),
            ((self.topic, "-e", "--json=false"), {}, b"k v\n"),
            ((self.topic, "-e"), {"TIDELOG_CONSUME_JSON": "1"}, everything),
            ((self.topic, "-e", "--json=false"), {"TIDELOG_CONSUME_JSON": "1"}, b"k v\n"),
            ((self.topic, "-e"), {"TIDELOG_CONSUME_JSON": "off"}, b"k v\n"),
            ((self.topic, "-ef", "%v"), {"TIDELOG_CONSUME_JSON": "1"}, b"v"),
            ((self.topic, "-e", "-f%v"), {"TIDELOG_CONSUME_JSON": "1"}, b"v"),
            ((self.topic, "-e", "--format=%v"), {"TIDELOG_CONSUME_JSON": "1"}, b"v"),
            ((self.topic, "-e"), {"TIDELOG_CONSUME_TOPIC": "other"}, b"k v\n"),
            (("-e",), {"TIDELOG_CONSUME_TOPIC": self.topic}, b"k v\n"),
            ((self.topic, "-e", "--from-beginning"), {"TIDELOG_CONSUME_OFFSET": "end"}, b"k v\n"),
            ((self.topic, "-e", "-o", "end"), {"TIDELOG_CONSUME_FROM_BEGINNING": "1"}, b""),
        ):
            with self.subTest(words=words, variables=variables):
                result = self.run_tidelog("consume", *words, **variables)
                self.assertEqual((result.returncode, result.stdout), (0, printed), result.stderr)
        result = self.run_tidelog("offset", self.topic, "end", TIDELOG_OFFSET_TOPIC="other")
        self.assertEqual(result.returncode, 0, result.stderr)
        # From one place they still contradict each other.
        self.assertEqual(self.run_tidelog("consume", self.topic, "-f", "%v", "--json").returncode, 2)
        self.assertEqual(self.run_tidelog("consume", self.topic, TIDELOG_CONSUME_JSON="1", TIDELOG_CONSUME_FORMAT="%v",
                                          **base).returncode, 2)

    def test_what_says_how_produce_reads_beats_farther_words_about_it(self):
        self.create("-p", 2)
        self.write(f"""
            profile = "local"
            [profiles.local]
            brokers = "{self.broker.address}"
            """)
        sent = 0
        for data, words, variables, printed in (
            (b"a:b\n", ("-K", ":"), {"KEY": "x"}, b"[a][b]"),
            (b"a:b\n", ("-k", "x"), {"KEY_DELIMITER": ":"}, b"[x][a:b]"),
            (b"a,b\n", ("-D", "\\n"), {"FORMAT": "%k,%v\\n"}, b"[][a,b]"),
            (b"a,b\n", ("-f", "%k,%v\\n"), {"DELIMITER": ";", "KEY_DELIMITER": ":"}, b"[a][b]"),
            (b"a:b\n", ("--whole",), {"KEY_DELIMITER": ":"}, b"[][a:b\n]"),
            (b"a:b\n", ("-K", ":"), {"WHOLE": "1"}, b"[a][b]"),
            (b'{"key":"a","value":"b"}\n', ("--json",), {"KEY": "x", "FORMAT": "%v"}, b"[a][b]"),
            (b"b\n", ("-k", "x"), {"JSON": "1"}, b"[x][b]"),
            (b"b\n", ("--json", "-f", "%v\\n"), {"KEY": "x"}, b"[x][b]"),
            (b"b\n", ("-k", "x"), {"JSON": "1", "FORMAT": "%v\\n"}, b"[x][b]"),
            (b'{"value":"b","partition":1}\n', ("--json", "--keep-partition"), {"PARTITION": "0"}, b"[][b]"),
        ):
            with self.subTest(words=words, variables=variables):
                variables = {f"TIDELOG_PRODUCE_{name}": value for name, value in variables.items()}
                result = self.run_tidelog("produce", self.topic, *words, stdin=data, **variables)
                self.assertEqual(result.returncode, 0, result.stderr)
                sent += 1
                records = self.run_tidelog("consume", self.topic, "-e", "--timeout", "10s", "-f", "%d [%k][%v]|").stdout
                newest = max(records.split(b"|")[:-1], key=lambda record: int(record.split()[0]))
                self.assertEqual(records.count(b"|"), sent)
                self.assertEqual(newest.split(b" ", 1)[1], printed)
        self.assertEqual(self.consume("-e", "-p", 1, "-f", "%v|").count(b"|") > 0, True)


if __name__ == "__main__":
    main()
