#!/usr/bin/env python3
"""What whoever runs a broker sees of it: cluster status and config, structured logs, metrics.

Usage: operations_test.py BUILD/tools/tidelog [unittest options]
"""

import json
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
import time
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
        return json.loads(self.broker.must_run(*words, "--json"))

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
        text = self.broker.must_run("cluster", "status").decode()
        for part in ("serving", self.broker.address, "DURABILITY", self.broker.data):
            self.assertIn(part, text)

    def test_config_tells_value_and_origin(self):
        config = self.config()
        self.assertEqual(config["shards"]["value"], "2")
        self.assertEqual(config["shards"]["origin"], "flag")
        self.assertEqual(config["default.partitions"]["origin"], "default")
        self.assertEqual(config["data.dir"]["value"], self.broker.data)
        text = self.broker.must_run("cluster", "config").decode()
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


class Forwarder:
    """Passes the bytes of connections to `port` on to another one, as a container's published port does."""

    def __init__(self, target_port):
        self.target = ("127.0.0.1", target_port)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return  # closed
            self.accepted += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client, socket.create_connection(self.target) as broker:
            answers = threading.Thread(target=self._pass_on, args=(broker, client), daemon=True)
            answers.start()
            self._pass_on(client, broker)
            answers.join()

    @staticmethod
    def _pass_on(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # one side is gone

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class InContainers(WithBroker):
    def durability(self):
        (broker,) = self.json_of("cluster", "status")["brokers"]
        return broker["durability"]

    def test_what_containers_hide_of_the_system_makes_no_disk_look_better(self):
        hidden = ["unshare", "-m", "sh", "-c", 'mount -t tmpfs tmpfs /sys/dev/block && exec "$@"', "sh"]
        if subprocess.run([*hidden, "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("mounts of its own are not allowed here")
        outside = self.durability()
        self.assertEqual(self.broker.stop(), 0)
        wrapper = pathlib.Path(self.directory.name) / "tidelog-in-container"
        wrapper.write_text("#!/bin/sh\nexec " + shlex.join([*hidden, BINARY]) + ' "$@"\n')
        wrapper.chmod(0o755)
        self.broker.binary = str(wrapper)
        self.broker.start()
        self.assertEqual(self.durability(), outside)
        self.assertEqual(self.broker.stop(), 0)


class Metrics(WithBroker):
    options = ("--shards", "2")

    def test_clients_connect_to_the_advertised_address_only(self):
        self.assertEqual(self.broker.stop(), 0)
        forwarder = Forwarder(self.broker.port)
        self.addCleanup(forwarder.close)
        outside = f"127.0.0.1:{forwarder.port}"
        for advertised in (outside, self.broker.address):
            self.broker.options = ["--set", f"advertised.listen={advertised}"]
            self.broker.start()
            before = forwarder.accepted
            self.broker.must_run("produce", "t", "--create", "-b", outside, stdin=b"x\n")
            self.assertIn(b"x\n", self.broker.must_run("consume", "t", "-e", "-b", outside))
            (status,) = json.loads(self.broker.must_run("cluster", "status", "--json", "-b", outside))["brokers"]
            self.assertEqual(status["address"], advertised)
            through = forwarder.accepted - before
            all_of_them = self.total(self.metrics(), "tidelog_accepted_connections_total")
            self.assertGreater(through, 0)
            (self.assertEqual if advertised == outside else self.assertLess)(through, all_of_them)
            self.assertEqual(self.broker.stop(), 0)

    def metrics(self):
        """Name and labels as they are shown -> number."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.broker.admin_port}/metrics", timeout=30) as answer:
            lines = answer.read().decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    @staticmethod
    def total(metrics, name):
        found = [value for key, value in metrics.items() if key.partition("{")[0] == name]
        if not found:
            raise AssertionError(f"there is no metric {name}")
        return sum(found)

    def settled(self, condition):
        """Metrics as soon as they fulfil the condition: counters follow the answers within a moment."""
        deadline = time.monotonic() + 30
        while True:
            metrics = self.metrics()
            if condition(metrics):
                return metrics
            if time.monotonic() > deadline:
                raise AssertionError("\n".join(f"{key} {value}" for key, value in metrics.items()))
            time.sleep(0.05)

    def test_counters_follow_what_clients_do(self):
        before = self.metrics()
        self.broker.must_run("topic", "create", "t", "-p", "4")
        self.broker.must_run("produce", "t", stdin=b"".join(b"record %d\n" % i for i in range(5000)))
        self.broker.must_run("consume", "t", "-e")
        # A write counts when it begins, its time when it has ended: quiet writes follow by themselves.
        after = self.settled(lambda now: self.total(now, "tidelog_produced_records_total") == 5000
                             and self.total(now, "tidelog_connections") == 0
                             and now["tidelog_journal_write_seconds_count"]
                             == self.total(now, "tidelog_journal_writes_total"))
        for name in ("received_bytes", "sent_bytes", "produced_bytes", "produced_batches", "fetched_bytes",
                     "fetched_records", "journal_writes", "journal_bytes", "accepted_connections", "tail_reads"):
            name = f"tidelog_{name}_total"
            self.assertGreater(self.total(after, name), self.total(before, name), name)
        self.assertGreaterEqual(self.total(after, "tidelog_fetched_records_total"), 5000)
        self.assertGreater(self.total(after, "tidelog_received_bytes_total"),
                           self.total(after, "tidelog_produced_bytes_total"))
        self.assertGreater(after["tidelog_journal_write_seconds_sum"], 0)
        self.assertEqual(self.total(after, "tidelog_partitions"), 4)
        for name in ("tidelog_requests_in_flight", "tidelog_fetch_sessions", "tidelog_undurable_bytes"):
            self.assertEqual(self.total(after, name), 0, name)
        self.assertEqual(after['tidelog_request_seconds_count{api="create_topic"}'], 1)
        self.assertEqual(self.total(after, "tidelog_disk_errors_total"), 0)

    def test_process_storage_and_budgets_are_told(self):
        now = self.metrics()
        self.assertEqual(now["tidelog_ready"], 1)
        self.assertGreater(now["process_resident_memory_bytes"], 1 << 20)
        self.assertGreater(now["process_cpu_seconds_total"], 0)
        self.assertGreater(now["process_open_fds"], 5)
        self.assertLess(abs(now["process_start_time_seconds"] - time.time()), 300)
        self.assertGreater(now["tidelog_data_file_system_bytes"], now["tidelog_data_file_system_free_bytes"])
        self.assertEqual(now['tidelog_budget_limit_bytes{budget="produce"}'], 256 << 20)
        status = self.json_of("cluster", "status")["brokers"][0]
        (storage,) = [key for key in now if key.startswith("tidelog_storage_info{")]
        self.assertIn(f'durability="{status["durability"]}"', storage)


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


class ServiceManager(unittest.TestCase):
    def test_ready_is_told_when_clients_are_served_and_stopping_when_it_stops(self):
        with tempfile.TemporaryDirectory(prefix="tidelog-operations-test-") as directory:
            path = str(pathlib.Path(directory) / "notify")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
                manager.bind(path)
                manager.settimeout(60)
                os.environ["NOTIFY_SOCKET"] = path
                try:
                    broker = Broker(BINARY, directory).start()
                finally:
                    del os.environ["NOTIFY_SOCKET"]
                try:
                    self.assertEqual(manager.recv(100), b"READY=1")
                    broker.must_run("topic", "list")
                    self.assertEqual(broker.stop(), 0)
                    self.assertEqual(manager.recv(100), b"STOPPING=1")
                finally:
                    broker.close()


if __name__ == "__main__":
    BINARY = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main(verbosity=1)
