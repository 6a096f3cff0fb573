#!/usr/bin/env python3
"""SIGSTOP of the broker under producers and consumers, as a machine that swaps or a virtual one that is moved.

Two producers write numbered records to several partitions while a consumer follows them; the broker is stopped for
some seconds, longer than a request waits, then goes on. Everybody finishes by themselves: each record that was fed is
acknowledged, in the log once, in the order of its producer; the consumer saw each record once, in the order of offsets.

Usage: pause.py --binary BUILD/tools/tidelog [--seconds N] [--rounds N] [--partitions N]
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import threading
import time

from broker_process import Broker
from history_process import History, checker_of
from kill_loop import TOPIC, Log, Producer, complaints_about_survivors, wait_for_load, wait_for_progress

LINES_PER_CHUNK = 20
END_SECONDS_MAX = 150


class Consumer:
    """`tidelog consume` from the start on, without end."""

    def __init__(self, broker):
        self.lines = []
        self.process = broker.popen("consume", TOPIC, "-o", "start", "-f", r"%p %o %v\n", stdout=subprocess.PIPE,
                                    stderr=subprocess.PIPE)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.append(line)

    def complaints(self, log):
        """Once it saw as many records as there are, or the time is over."""
        count = sum(map(len, log.records))
        deadline = time.monotonic() + END_SECONDS_MAX
        while len(self.lines) < count and time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.05)
        self.process.terminate()
        self.reader.join(timeout=30)
        code = self.process.wait(timeout=30)
        if code not in (0, -signal.SIGTERM, 128 + signal.SIGTERM):
            yield f"the consumer ended with {code}: {self.process.stderr.read()[-500:]!r}"
        positions = [0] * len(log.records)
        for line in self.lines:
            partition, offset, value = line.rstrip(b"\n").split(b" ", 2)
            partition, offset = int(partition), int(offset)
            if offset != positions[partition]:
                yield f"the consumer saw offset {offset} of partition {partition}, {positions[partition]} was next"
                return
            positions[partition] += 1
            if offset >= len(log.records[partition]) or log.records[partition][offset] != value:
                yield f"the consumer saw other bytes at offset {offset} of partition {partition}"
                return
        for partition, position in enumerate(positions):
            if position != len(log.records[partition]):
                yield f"the consumer saw {position} of {len(log.records[partition])} records of partition {partition}"

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float, default=5, help="how long the broker stands still")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--partitions", type=int, default=4)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidelog-pause-") as directory:
        broker = Broker(options.binary, directory).start()
        history = History(checker_of(options.binary))
        producers, consumer = [], None
        try:
            broker.must_run("topic", "create", TOPIC, "-p", options.partitions)
            producers += [
                Producer(broker, "keyed", 0, directory, ["-K", r"\t"], LINES_PER_CHUNK),
                Producer(broker, "sticky", 0, directory, ["-z", "lz4"], LINES_PER_CHUNK),
            ]
            consumer = Consumer(broker)
            wait_for_load(producers, broker)
            for number in range(1, options.rounds + 1):
                broker.process.send_signal(signal.SIGSTOP)
                time.sleep(options.seconds)
                broker.process.send_signal(signal.SIGCONT)
                begin = time.monotonic()
                wait_for_progress(producers, broker)
                print(f"pause {number}: {options.seconds} s; all go on {time.monotonic() - begin:.2f} s after it", flush=True)
                time.sleep(0.5)
            complaints = [c for one in producers for c in one.finish(END_SECONDS_MAX)]
            log = Log(options.partitions)
            complaints += [c for one in producers for c in one.tell(history)]
            complaints += [c for p in range(options.partitions) for c in log.read_again(broker, p, history)]
            complaints += history.complaints()
            complaints += complaints_about_survivors(log, producers)
            complaints += consumer.complaints(log)
            if broker.stop() != 0:
                complaints.append("the clean stop failed")
            if complaints:
                print(f"FAILED: {len(complaints)} complaints", *complaints[:10], broker.log()[-2000:], sep="\n  ")
                return 1
            print(f"{sum(map(len, log.records))} records: each acknowledged, stored and read once, in order")
        finally:
            for one in producers:
                one.stop_feeding()
                one.process.kill()
                one.process.wait()
            if consumer is not None:
                consumer.close()
            if broker.process.poll() is None:
                broker.process.send_signal(signal.SIGCONT)
            history.close()
            broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
