#!/usr/bin/env python3
"""Ten thousand partitions on one broker: created, listed, written, stopped, killed and started again. Every
acknowledged record is there each time, and the memory that a partition takes is bounded and told.

Usage: many_partitions.py --binary BUILD/tools/tidelog [--partitions N] [--sanitized]
"""

import argparse
import collections
import json
import pathlib
import sys
import tempfile
import time

from broker_process import Broker

PARTITIONS_PER_TOPIC = 1000
RECORDS_PER_PARTITION = 12
# Bounds of this test, not promises: what an idle partition takes, and what one takes that was just written.
BYTES_IDLE_MAX = 16 * 1024
BYTES_WRITTEN_MAX = 64 * 1024
WAIT_SECONDS = 600


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS")


def timed(what, action):
    begin = time.monotonic()
    result = action()
    print(f"{what}: {time.monotonic() - begin:.2f} s", flush=True)
    return result


class Check:
    def __init__(self, broker, partitions, is_sanitized):
        self.broker = broker
        self.is_sanitized = is_sanitized
        self.topics = [f"many-{i}" for i in range(-(-partitions // PARTITIONS_PER_TOPIC))]
        self.per_topic = -(-partitions // len(self.topics))
        self.partitions = self.per_topic * len(self.topics)
        self.rounds = 0

    def create(self):
        self.broker.must_run("topic", "create", *self.topics, "-p", self.per_topic, timeout=WAIT_SECONDS)

    def list(self):
        listed = json.loads(self.broker.must_run("topic", "list", "--json", timeout=WAIT_SECONDS))
        found = {topic["name"]: topic["partitions"] for topic in listed}
        assert found == {name: self.per_topic for name in self.topics}, found

    def write(self):
        """Keys spread the records over all partitions; the name of the round is the value."""
        count = self.per_topic * RECORDS_PER_PARTITION
        lines = b"".join(b"%d:%d\n" % (key, self.rounds) for key in range(count))
        for topic in self.topics:
            self.broker.must_run("produce", topic, "-K", ":", stdin=lines, timeout=WAIT_SECONDS)
        self.rounds += 1

    def read(self):
        """Each topic holds each key of each round once."""
        count = self.per_topic * RECORDS_PER_PARTITION
        expected = collections.Counter({b"%d:%d" % (key, one): 1 for key in range(count) for one in range(self.rounds)})
        for topic in self.topics:
            printed = self.broker.must_run("consume", topic, "-e", "-f", "%k:%v\\n", timeout=WAIT_SECONDS)
            found = collections.Counter(printed.split(b"\n")[:-1])
            assert found == expected, (f"{topic}: {len(expected - found)} records are missing and "
                                       f"{sum((found - expected).values())} are more than were sent")

    def tell_memory(self, what, before, bytes_max):
        each = (resident_bytes(self.broker.process.pid) - before) / self.partitions
        print(f"memory of a partition, {what}: {each / 1024:.1f} KiB")
        assert self.is_sanitized or each < bytes_max, f"{each:.0f} bytes a partition are too much"

    def run(self):
        broker = self.broker
        broker.start()
        empty = resident_bytes(broker.process.pid)
        timed(f"{self.partitions} partitions created", self.create)
        self.tell_memory("idle", empty, BYTES_IDLE_MAX)
        timed("listed", self.list)
        timed(f"{self.partitions * RECORDS_PER_PARTITION} records written", self.write)
        self.tell_memory("just written", empty, BYTES_WRITTEN_MAX)
        timed("read", self.read)

        assert timed("clean stop", broker.stop) == 0, broker.log()
        timed("start after it", broker.start)
        self.tell_memory("after a clean stop", empty, BYTES_WRITTEN_MAX)
        self.list()
        self.read()
        self.write()
        broker.kill()
        timed("start after kill -9", broker.start)
        self.tell_memory("after kill -9", empty, BYTES_WRITTEN_MAX)
        self.list()
        self.read()
        for topic in self.topics:
            broker.must_run("topic", "delete", topic, "-y", timeout=WAIT_SECONDS)
        assert broker.stop() == 0, broker.log()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--partitions", type=int, default=10_000)
    parser.add_argument("--sanitized", action="store_true",
                        help="the broker keeps a sanitizer's records too: tell the memory, do not bound it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidelog-partitions-") as directory:
        broker = Broker(options.binary, directory)
        try:
            Check(broker, options.partitions, options.sanitized).run()
        finally:
            broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
