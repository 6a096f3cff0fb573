#!/usr/bin/env python3
"""What whoever runs a broker sees of it: cluster status and config, structured logs, metrics.

Usage: operations_test.py BUILD/tools/tidelog [unittest options]
"""

import json
import pathlib
import sys
import tempfile
import unittest
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
from broker_process import Broker  # noqa: E402

BINARY = None


class WithBroker(unittest.TestCase):
    options = ()

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="tidelog-operations-test-")
        self.addCleanup(self.directory.cleanup)
        self.broker = Broker(BINARY, self.directory.name, self.options).start()
        self.addCleanup(self.broker.close)

    def json_of(self, *words):
        return json.loads(self.broker.must_run(*words, "--json").stdout)

    def config(self, *words):
        (broker,) = self.json_of("cluster", "config", *words)
        return {setting["name"]: setting for setting in broker["settings"]}


class ClusterCommands(WithBroker):
    options = ("--set", "log.level=warning", "--shards", "2", "--id", "3")

    def test_status_has_the_promised_shape(self):
        self.broker.must_run("topic", "create", "t", "-p", "4")
        status = self.json_of("cluster", "status")
        self.assertEqual(status["controller"], 3)
        self.assertEqual(status["metadata"], "local")
        self.assertRegex(status["cluster_id"], "^[0-9a-f]{32}$")
        (broker,) = status["brokers"]
        promised = {"id", "address", "admin", "state", "version", "durability", "partitions", "leaders"}
        self.assertLessEqual(promised, set(broker))
        self.assertEqual(broker["id"], 3)
        self.assertEqual(broker["address"], self.broker.address)
        self.assertEqual(broker["admin"], f"127.0.0.1:{self.broker.admin_port}")
        self.assertEqual(broker["state"], "serving")
        self.assertEqual((broker["partitions"], broker["leaders"]), (4, 4))
        self.assertIn(broker["durability"], ("stable", "weaker", "not_stable", "network"))
        self.assertIn(self.broker.data, broker["storage"])

    def test_status_for_people_names_state_address_and_storage(self):
        text = self.broker.must_run("cluster", "status").stdout.decode()
        for part in ("serving", self.broker.address, "DURABILITY", self.broker.data):
            self.assertIn(part, text)

    def test_config_tells_value_and_origin(self):
        config = self.config()
        self.assertEqual(config["shards"]["value"], "2")
        self.assertEqual(config["shards"]["origin"], "flag")
        self.assertEqual(config["default.partitions"]["origin"], "default")
        self.assertEqual(config["data.dir"]["value"], self.broker.data)
        text = self.broker.must_run("cluster", "config").stdout.decode()
        self.assertRegex(text, r"(?m)^log\.level +warning +flag +yes ")

    def test_a_live_change_holds_until_the_restart_and_is_logged(self):
        result = self.broker.run("cluster", "config", "--set", "log.level=error", "--set", "default.partitions=5")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertIn(b"until it restarts", result.stderr)
        self.assertEqual(self.config()["log.level"]["origin"], "live")
        self.broker.must_run("topic", "create", "five")
        self.assertEqual(len(self.json_of("topic", "describe", "five")["partitions"]), 5)
        self.assertEqual(self.broker.stop(), 0)
        self.assertIn("setting=default.partitions", self.broker.log())
        self.broker.start()
        self.assertEqual(self.config()["default.partitions"]["value"], "1")

    def test_a_change_that_is_not_possible_says_what_is(self):
        for change, part in (("shards=4", b"restart the broker"), ("log.levle=x", b"did you mean 'log.level'?"),
                             ("log.level=loud", b"must be one of debug")):
            with self.subTest(change=change):
                result = self.broker.run("cluster", "config", "--set", change)
                self.assertEqual(result.returncode, 1)
                self.assertIn(part, result.stderr)
                self.assertEqual(result.stdout, b"")
        self.assertEqual(self.broker.run("cluster", "config", "--set", "log.level").returncode, 2)


class JsonLogs(WithBroker):
    options = ("--set", "log.format=json", "--set", "log.level=debug")

    def test_every_line_is_an_object_with_the_same_first_keys(self):
        self.broker.must_run("topic", "create", "t")
        self.assertEqual(self.broker.stop(), 0)
        lines = [json.loads(line) for line in self.broker.log().splitlines()]
        self.assertGreater(len(lines), 2)
        for line in lines:
            self.assertEqual(list(line)[:4], ["time", "level", "thread", "message"])
        (serves,) = [line for line in lines if "serves" in line["message"]]
        self.assertEqual(serves["listen"], self.broker.address)
        self.assertEqual(serves["data_dir"], self.broker.data)

    def test_a_start_that_fails_says_why_in_the_same_form(self):
        second = Broker(BINARY, self.directory.name, self.options)
        second.log_path = pathlib.Path(self.directory.name) / "second.log"
        with self.assertRaises(RuntimeError):
            second.start()
        last = json.loads(second.log().splitlines()[-1])
        self.assertEqual(last["level"], "error")
        self.assertEqual(last["error"], "DIRECTORY_IN_USE")


if __name__ == "__main__":
    BINARY = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=1)
