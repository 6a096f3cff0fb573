"""Runs the `tidelog` binary for tests: a broker on free ports of 127.0.0.1, and commands against it."""

import os
import pathlib
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 20


def free_ports(count):
    """Ports that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def clean_environment():
    """The environment without anything that Tidelog reads, a profile included."""
    environment = {name: value for name, value in os.environ.items()
                   if not name.startswith("TIDELOG_") or name == "TIDELOG_TEST_BINARY"}
    environment["XDG_CONFIG_HOME"] = "/proc/nonexistent"  # nobody can make anything there
    return environment


def _word(word):
    return word if isinstance(word, bytes) else str(word)


class Broker:
    """One broker process on one data directory; may be stopped, killed and started again."""

    def __init__(self, binary, directory, options=()):
        self.binary = str(pathlib.Path(binary).resolve())
        self.data = str(pathlib.Path(directory) / "data")
        self.log_path = pathlib.Path(directory) / "broker.log"
        self.options = list(options)
        self.port, self.admin_port = free_ports(2)
        self.address = f"127.0.0.1:{self.port}"
        self.process = None

    def launch(self):
        """Starts the process and waits for nothing."""
        command = [self.binary, "broker", "--data", self.data, "--listen", self.address,
                   "--admin", f"127.0.0.1:{self.admin_port}", *self.options]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment())

    def start(self):
        """Returns once the broker says that it is ready."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS_MAX
        while not self._is_ready():
            if self.process.poll() is not None:
                raise RuntimeError(f"broker ended with {self.process.returncode}:\n{self.log()}")
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"broker not ready after {START_SECONDS_MAX} s:\n{self.log()}")
            time.sleep(0.02)
        return self

    def _is_ready(self):
        return self._readiness()[0] == 200

    def is_starting(self):
        """Whether it says that it still recovers."""
        code, words = self._readiness()
        return code == 503 and b"is starting" in words

    def _readiness(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}/ready", timeout=5) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as refusal:
            with refusal:
                return refusal.code, refusal.read()
        except (urllib.error.URLError, OSError):
            return None, b""

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def stop(self, with_signal=signal.SIGTERM):
        """Clean stop; returns the exit code."""
        self.process.send_signal(with_signal)
        return self.process.wait(timeout=STOP_SECONDS_MAX)

    def log(self):
        return self.log_path.read_text(errors="replace")

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def environment(self):
        return dict(clean_environment(), TIDELOG_BROKERS=self.address)

    def popen(self, *words, **options):
        return subprocess.Popen([self.binary, *map(_word, words)], env=self.environment(), **options)

    def run(self, *words, stdin=b"", timeout=120):
        """Runs a command to its end; the result has returncode, stdout and stderr (bytes)."""
        return subprocess.run([self.binary, *map(_word, words)], env=self.environment(), input=stdin,
                              capture_output=True, timeout=timeout, check=False)

    def must_run(self, *words, stdin=b"", timeout=120):
        """As run(), but anything except exit code 0 raises. Returns what was printed."""
        result = self.run(*words, stdin=stdin, timeout=timeout)
        if result.returncode != 0:
            raise RuntimeError(f"tidelog {' '.join(map(str, words))}: exit {result.returncode}: "
                               f"{result.stderr.decode(errors='replace')}")
        return result.stdout
