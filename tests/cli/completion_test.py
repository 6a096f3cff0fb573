#!/usr/bin/env python3
"""What shells complete with the scripts of `tidelog completion`: asked of the shells themselves."""

import shutil
import subprocess
import tempfile
import unittest

from command_case import WAIT_SECONDS_MAX, CommandCase, binary, clean_environment, main, run_alone

BASH = r"""
source <(tidelog completion bash) || exit 1
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
_tidelog
printf '%s\n' "${COMPREPLY[@]}"
"""
# The builtins that add matches print them instead.
ZSH = r"""
compdef() { :; }
source <(tidelog completion zsh) || exit 1
compadd() { while [[ $1 != -- ]]; do shift; done; shift; print -l -- "$@"; }
_describe() { local -a list; list=("${(@P)${@[-1]}}"); print -l -- "${(@)list%%:*}"; }
_files() { print -l -- *(N); }
words=("$@"); CURRENT=$#
_tidelog
"""
FISH = r"""
tidelog completion fish | source; or exit 1
complete -C (string join ' ' -- $argv) | string replace -r '\t.*' ''
exit 0
"""


class ShellCase:
    """The same questions for every shell; ask() is what differs."""

    def setUp(self):
        super().setUp()
        self.places = {"TIDELOG_BROKERS": self.broker.address}

    def ask(self, *words):
        raise NotImplementedError

    def run_shell(self, command, script, words):
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/tidelog"
            subprocess.run(["ln", "-s", binary(), path], check=True)
            work = f"{folder}/work"
            subprocess.run(["mkdir", work], check=True)
            for name in ("a file.txt", "other.log"):
                open(f"{work}/{name}", "w", encoding="utf-8").close()
            subprocess.run(["mkdir", "-p", f"{folder}/.config/tidelog"], check=True)
            with open(f"{folder}/.config/tidelog/config.toml", "w", encoding="utf-8") as profiles:
                profiles.write(f'[profiles.here]\nbrokers = "{self.broker.address}"\n')
            environment = clean_environment({"PATH": f"{folder}:/usr/bin:/bin", "HOME": folder,
                                             "XDG_CONFIG_HOME": f"{folder}/.config", **self.places})
            result = subprocess.run([*command, script, *words], capture_output=True, env=environment, cwd=work,
                                    timeout=WAIT_SECONDS_MAX, check=False)
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        return [line for line in result.stdout.decode().splitlines() if line]

    def complete(self, *words):
        """What begins with the last word, as every shell sees to it in the end."""
        return sorted({one for one in self.ask(*words) if one.startswith(words[-1])})

    def test_commands(self):
        self.assertEqual(self.complete("tidelog", "com"), ["completion"])
        self.assertLessEqual({"broker", "consume", "log", "offset", "produce", "topic"},
                             set(self.complete("tidelog", "")))
        self.assertEqual(self.complete("tidelog", "topic", "de"), ["delete", "describe"])
        self.assertEqual(self.complete("tidelog", "log", "v"), ["verify"])

    def test_flags(self):
        self.assertEqual(self.complete("tidelog", "consume", "--fo"), ["--format"])
        self.assertEqual(self.complete("tidelog", "topic", "create", "--part"), ["--partitions"])
        self.assertIn("--keep-partition", self.complete("tidelog", "produce", "events", "--"))
        self.assertEqual(self.complete("tidelog", "consume", "--keep"), [])

    def test_values_of_flags(self):
        self.assertEqual(self.complete("tidelog", "produce", "--acks", ""), ["all", "leader", "none"])
        self.assertEqual(self.complete("tidelog", "produce", "events", "-z", "z"), ["zstd"])
        self.assertEqual(self.complete("tidelog", "completion", ""), ["bash", "fish", "zsh"])
        self.assertEqual(self.complete("tidelog", "consume", "-n", ""), [])

    def test_topics(self):
        for name in ("orders", "orders.eu", "people"):
            self.broker.run("topic", "create", name)
        self.assertEqual(self.complete("tidelog", "consume", "or"), ["orders", "orders.eu"])
        self.assertEqual(self.complete("tidelog", "topic", "delete", "pe"), ["people"])
        self.assertEqual(self.complete("tidelog", "consume", "-t", "pe"), ["people"])
        for verb in ("alter", "add-partitions", "trim"):
            self.assertEqual(self.complete("tidelog", "topic", verb, "pe"), ["people"])

    def test_topics_are_asked_of_the_brokers_that_the_line_names(self):
        self.broker.run("topic", "create", "orders")
        self.places = {"TIDELOG_BROKERS": "127.0.0.1:1"}
        self.assertEqual(self.complete("tidelog", "consume", "or"), [])
        for place in (("-b", self.broker.address), (f"-b{self.broker.address}",), ("--brokers", self.broker.address),
                      (f"--bootstrap-server={self.broker.address}",)):
            self.assertIn("orders", self.complete("tidelog", "consume", *place, "or"))
            self.assertIn("orders", self.complete("tidelog", "topic", "delete", *place, "or"))
        self.places = {}
        self.assertIn("orders", self.complete("tidelog", "consume", "--profile", "here", "or"))
        self.assertIn("orders", self.complete("tidelog", "consume", "--profile=here", "or"))

    def test_files(self):
        self.assertIn("other.log", self.complete("tidelog", "log", "repair", "oth"))
        self.assertIn("other.log", self.complete("tidelog", "broker", "--data", "oth"))
        self.assertIn("other.log", self.complete("tidelog", "log", "dump", ""))
        self.assertIn("other.log", self.complete("tidelog", "broker", "--config", "oth"))
        self.assertEqual(self.complete("tidelog", "topic", "list", "oth"), [])

    def test_a_topic_called_like_a_command_changes_nothing(self):
        self.assertEqual(self.complete("tidelog", "consume", "topic", "--fo"), ["--format"])


class Bash(ShellCase, CommandCase):
    def ask(self, *words):
        return self.run_shell(["bash", "--norc", "-c"], BASH, ["bash", *words])

    def test_file_names_with_spaces_stay_one(self):
        self.assertIn("a file.txt", self.complete("tidelog", "log", "dump", "a"))


@unittest.skipUnless(shutil.which("zsh"), "zsh is not installed")
class Zsh(ShellCase, CommandCase):
    def ask(self, *words):
        return self.run_shell([shutil.which("zsh"), "-f", "-c"], ZSH, ["zsh", *words])


@unittest.skipUnless(shutil.which("fish"), "fish is not installed")
class Fish(ShellCase, CommandCase):
    def ask(self, *words):
        return self.run_shell([shutil.which("fish"), "--no-config", "-c"], FISH, words)


class Scripts(unittest.TestCase):
    def test_another_shell_is_refused_with_those_there_are(self):
        result = run_alone("completion", "csh")
        self.assertEqual(result.returncode, 2)
        self.assertIn(b"bash, zsh and fish", result.stderr)


if __name__ == "__main__":
    main()
