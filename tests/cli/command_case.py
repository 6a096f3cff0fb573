"""What the tests of the command line share: a broker of their own, and commands against it.

Each test file runs alone: FILE.py BUILD/tools/tidelog [unittest options]
"""

import os
import pathlib
import select
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
import broker_process  # noqa: E402
from broker_process import Broker, free_ports  # noqa: E402,F401

WAIT_SECONDS_MAX = 60


def binary():
    return os.environ["TIDELOG_TEST_BINARY"]


def clean_environment(changes=None):
    """The environment without anything that Tidelog reads, a profile included, but with `changes`."""
    return dict(broker_process.clean_environment(), **(changes or {}))


def run_alone(*words, stdin=b"", environment=None, **options):
    """A command that needs no broker."""
    return subprocess.run([binary(), *words], input=stdin, capture_output=True,
                          env=clean_environment(environment), timeout=WAIT_SECONDS_MAX, check=False, **options)


def answer_on_a_terminal(broker, answer, *words):
    """Runs a command that asks once on a terminal: its exit code, standard output, and what it wrote on the terminal."""
    main_end, terminal = os.openpty()
    try:
        command = broker.popen(*words, stdin=terminal, stdout=subprocess.PIPE, stderr=terminal)
        os.close(terminal)
        shown = b""
        while b"[y/N] " not in shown:
            shown += os.read(main_end, 4096)
        os.write(main_end, answer)
        output, _ = command.communicate(timeout=WAIT_SECONDS_MAX)
        while select.select([main_end], [], [], 0)[0]:
            try:
                shown += os.read(main_end, 4096)
            except OSError:  # what was written is read, and nobody holds the terminal any more
                break
        return command.returncode, output, shown
    finally:
        os.close(main_end)


class CommandCase(unittest.TestCase):
    """One broker for all tests of a class, and a topic name of its own for each test."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory(prefix="tidelog-cli-test-")
        cls.folder = pathlib.Path(cls.directory.name)
        cls.broker = Broker(binary(), cls.directory.name).start()

    @classmethod
    def tearDownClass(cls):
        try:
            code = cls.broker.stop()
            if code != 0:
                raise AssertionError(f"clean stop ended with {code}:\n{cls.broker.log()}")
        finally:
            cls.broker.close()
            cls.directory.cleanup()

    def setUp(self):
        self.topic = self.id().rsplit(".", 1)[-1].replace("test_", "")[:200]

    def create(self, *options):
        self.broker.must_run("topic", "create", self.topic, *options)

    def produce(self, data, *options):
        return self.broker.must_run("produce", self.topic, *options, stdin=data)

    def consume(self, *options):
        return self.broker.must_run("consume", self.topic, *options)

    def shell(self, text):
        """A line of bash in which $TIDELOG is the binary."""
        environment = dict(self.broker.environment(), TIDELOG=binary())
        return subprocess.run(["bash", "-c", text], capture_output=True, env=environment, cwd=self.folder,
                              timeout=WAIT_SECONDS_MAX, check=False)

    def popen(self, *words, **options):
        process = self.broker.popen(*words, **options)
        self.addCleanup(self._end, process)
        return process

    @staticmethod
    def _end(process):
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None and not pipe.closed:
                pipe.close()


def main():
    if len(sys.argv) < 2:
        sys.exit(f"usage: {sys.argv[0]} BUILD/tools/tidelog [unittest options]")
    os.environ["TIDELOG_TEST_BINARY"] = str(pathlib.Path(sys.argv.pop(1)).resolve())
    unittest.main(module="__main__")
