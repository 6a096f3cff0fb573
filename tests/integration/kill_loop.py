#!/usr/bin/env python3
"""kill -9 of the broker while producers write, again and again.

Three producers write numbered records to several partitions; `produce -o` keeps, outside the broker,
what was acknowledged. Three die with each broker; two live through all kills and send again whatever
was in flight. After each kill and restart:
  - every acknowledged record is in its partition at its offset, and nowhere else;
  - no record, acknowledged or not, is there twice;
  - each producer's records of a partition are in the order in which they were sent;
  - offsets have no gaps, and what was read after an earlier restart is still there, byte for byte.
The checker of histories (tests/history) judges that. At the end everything that the survivors were fed is acknowledged,
and in the log once, in order, and nothing else of them: that is what their numbering by producer id, epoch and sequence
is for.

Usage: kill_loop.py --binary BUILD/tools/tidelog [--rounds N] [--partitions N] [--seed N]
"""

import argparse
import hashlib
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time

from broker_process import Broker
from history_process import History, checker_of

TOPIC = "ledger"
LINES_PER_CHUNK = 200
CHUNK_SECONDS = 0.01  # 20,000 records a second and producer: load, not saturation
SURVIVOR_LINES_PER_CHUNK = 20  # they write all the time, and every round reads all of it
ACKNOWLEDGED_MIN = 2000  # per producer and round, before the broker may be killed


class Producer:
    """`tidelog produce` with its ledger, fed with numbered records until it is stopped."""

    def __init__(self, broker, name, round_number, directory, options, lines_per_chunk=LINES_PER_CHUNK):
        self.lines_per_chunk = lines_per_chunk
        self.prefix = f"{name}.{round_number}"
        self.ledger_path = pathlib.Path(directory) / f"ledger-{self.prefix}"
        self.keyed = "-K" in options
        self.stopping = threading.Event()
        self.feeding = threading.Event()  # cleared: it gets nothing new
        self.feeding.set()
        self.fed = 0  # records, when the feeder has ended
        self.told = 0  # records that the history knows as sent
        self.told_acknowledged = 0
        with open(self.ledger_path, "wb") as ledger, open(f"{self.ledger_path}.err", "wb") as errors:
            self.process = broker.popen("produce", TOPIC, "-o", "%p %o %v", *options,
                                        stdin=subprocess.PIPE, stdout=ledger, stderr=errors)
        self.feeder = threading.Thread(target=self._feed, daemon=True)
        self.feeder.start()

    def _feed(self):
        sequence = 0
        try:
            while not self.stopping.is_set():
                lines = []
                for _ in range(self.lines_per_chunk):
                    key = f"key-{sequence % 61}\t" if self.keyed else ""
                    lines.append(f"{key}{self.value(sequence)}\n")
                    sequence += 1
                self.process.stdin.write("".join(lines).encode())
                self.process.stdin.flush()
                self.fed = sequence
                time.sleep(CHUNK_SECONDS)
                self.feeding.wait()
        except (BrokenPipeError, OSError):
            pass  # the producer was stopped

    def value(self, sequence):
        return f"{self.prefix}.{sequence} {'x' * (sequence % 80)}"

    def tell(self, history):
        """Tells the history what is new. Yields complaints."""
        # A chunk may be on its way that does not count as fed.
        sent = self.fed + self.lines_per_chunk
        history.sent(self.prefix, [self.value(sequence) for sequence in range(self.told, sent)])
        self.told = sent
        entries = list(self.acknowledged())
        for entry in entries[self.told_acknowledged:]:
            if entry[1] >= 0:
                history.acknowledged([(entry[0], entry[1], entry[2].decode())])
            else:
                yield f"{entry[2][:40]!r} was acknowledged without its offset, though its producer has few batches in flight"
        self.told_acknowledged = len(entries)

    def acknowledged_bytes(self):
        return self.ledger_path.stat().st_size

    def errors(self):
        return pathlib.Path(f"{self.ledger_path}.err").read_text(errors="replace")

    def stop_feeding(self):
        self.stopping.set()
        self.feeding.set()

    def ask_to_stop(self):
        self.stop_feeding()
        self.process.send_signal(signal.SIGTERM)

    def end(self):
        """Ends the producer, whose broker is dead. What it has printed by then is the ledger."""
        try:
            self.process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.feeder.join(timeout=10)

    def finish(self, seconds_max=150):
        """Ends the input and lets the producer deliver what it has; yields complaints."""
        self.stop_feeding()
        self.feeder.join(timeout=seconds_max)
        try:
            self.process.stdin.close()
            code = self.process.wait(timeout=seconds_max)
        except (subprocess.TimeoutExpired, OSError) as error:
            self.process.kill()
            self.process.wait()
            yield f"{self.prefix} did not end: {error}; it said: {self.errors()[-500:]}"
            return
        if code != 0:
            yield f"{self.prefix} ended with {code}: {self.errors()[-500:]}"
        acknowledged = sum(1 for _ in self.acknowledged())
        if acknowledged != self.fed:
            yield f"{self.prefix} was fed {self.fed} records, {acknowledged} were acknowledged"

    def acknowledged(self):
        """(partition, offset, value) of each whole line."""
        data = self.ledger_path.read_bytes()
        for line in data[: data.rfind(b"\n") + 1].splitlines():
            partition, offset, value = line.split(b" ", 2)
            yield int(partition), int(offset), value


class Log:
    """What the broker holds, as read after each restart."""

    def __init__(self, partitions):
        self.records = [[] for _ in range(partitions)]  # values by offset
        self.prefix_bytes = [0] * partitions
        self.prefix_digest = [hashlib.sha256() for _ in range(partitions)]

    def read_again(self, broker, partition, history):
        """Checks that what was read before is unchanged and adds what is new; yields complaints."""
        data = broker.must_run("consume", TOPIC, "-p", partition, "-e", "-f", r"%o %v\n", timeout=600)
        known = self.prefix_bytes[partition]
        if len(data) < known or hashlib.sha256(data[:known]).digest() != self.prefix_digest[partition].digest():
            yield f"partition {partition}: records that were read after an earlier restart changed"
            return
        added = data[known:]
        self.prefix_digest[partition].update(added)
        self.prefix_bytes[partition] = len(data)
        records = self.records[partition]
        begin = len(records)
        for line in added.splitlines():
            offset, value = line.split(b" ", 1)
            if int(offset) != len(records):
                yield f"partition {partition}: offset {len(records)} is missing, {offset.decode()} comes instead"
                return
            records.append(value)
        history.read("reader", partition, begin, [value.decode() for value in records[begin:]])


def complaints_about_survivors(log, survivors):
    """What a producer was fed, from its first record to its last, is in the log, and nothing else of it."""
    sent = {}
    for records in log.records:
        for value in records:
            producer, sequence = value.split(b" ", 1)[0].decode().rsplit(".", 1)
            sent.setdefault(producer, []).append(int(sequence))
    for one in survivors:
        found = sorted(sent.get(one.prefix, []))
        if found != list(range(one.fed)):
            missing = sorted(set(range(one.fed)) - set(found))
            yield (f"{one.prefix} was fed {one.fed} records, {len(found)} are in the log; {len(missing)} are missing, "
                   f"the first of them {missing[:5]}")


def wait_for_load(producers, broker, seconds_max=60):
    """Until each producer got acknowledgements; a line of a ledger is at least 20 bytes."""
    deadline = time.monotonic() + seconds_max
    while any(one.acknowledged_bytes() < ACKNOWLEDGED_MIN * 20 for one in producers):
        for one in producers:
            if one.process.poll() is not None:
                raise RuntimeError(f"produce ended with {one.process.returncode}: {one.errors()}")
        if broker.process.poll() is not None:
            raise RuntimeError(f"the broker died by itself:\n{broker.log()[-3000:]}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"no load after {seconds_max} s: {[one.errors() for one in producers]}")
        time.sleep(0.02)


def wait_for_progress(producers, broker, seconds_max=60):
    """Until each producer got acknowledgements from the broker that runs now."""
    before = [one.acknowledged_bytes() for one in producers]
    deadline = time.monotonic() + seconds_max
    while any(one.acknowledged_bytes() == at for one, at in zip(producers, before)):
        for one in producers:
            if one.process.poll() is not None:
                raise RuntimeError(f"{one.prefix} ended with {one.process.returncode}: {one.errors()}")
        if time.monotonic() > deadline:
            raise RuntimeError(f"nobody goes on after a restart:\n{broker.log()[-3000:]}")
        time.sleep(0.02)


def run_round(broker, options, chance, round_number, directory, history, survivors):
    for survivor in survivors:
        survivor.feeding.set()
    wait_for_progress(survivors, broker)
    producers = [
        Producer(broker, "keyed", round_number, directory, ["-K", r"\t"]),
        Producer(broker, "sticky", round_number, directory, ["-z", "zstd"]),
        Producer(broker, "pinned", round_number, directory, ["-p", str(chance.randrange(options.partitions))]),
    ]
    try:
        wait_for_load(producers, broker)
        time.sleep(chance.uniform(0, options.seconds))  # so that the kill falls anywhere
        broker.kill()
    finally:
        for producer in producers:
            producer.ask_to_stop()
        for producer in producers:
            producer.end()
    # What is checked takes time, in which they would fill the log; they still have to deliver what they took.
    for survivor in survivors:
        survivor.feeding.clear()
    complaints = []
    for producer in producers:
        complaints += producer.tell(history)
        producer.ledger_path.unlink()
    return sum(producer.told_acknowledged for producer in producers), complaints


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--partitions", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=0.7, help="longest load after the first acknowledgements")
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    print(f"kill_loop: {options.rounds} rounds, {options.partitions} partitions, seed {seed}", flush=True)
    chance = random.Random(seed)

    with tempfile.TemporaryDirectory(prefix="tidelog-kill-loop-") as directory:
        broker = Broker(options.binary, directory).start()
        history = History(checker_of(options.binary))
        total = 0
        survivors = []
        try:
            broker.must_run("topic", "create", TOPIC, "-p", options.partitions)
            log = Log(options.partitions)
            survivors += [
                Producer(broker, "survivor-keyed", 0, directory, ["-K", r"\t"], SURVIVOR_LINES_PER_CHUNK),
                Producer(broker, "survivor-sticky", 0, directory, ["-z", "lz4"], SURVIVOR_LINES_PER_CHUNK),
            ]
            for round_number in range(1, options.rounds + 1):
                acknowledged, complaints = run_round(
                    broker, options, chance, round_number, directory, history, survivors)
                begin = time.monotonic()
                broker.start()
                seconds = time.monotonic() - begin
                # Before the log is read: what is acknowledged meanwhile is looked for in the next round.
                complaints += [c for one in survivors for c in one.tell(history)]
                complaints += [c for p in range(options.partitions) for c in log.read_again(broker, p, history)]
                complaints += history.complaints()
                total += acknowledged
                print(f"round {round_number}: {acknowledged} acknowledged, {sum(map(len, log.records))} in the log; "
                      f"restarted in {seconds:.2f} s", flush=True)
                if complaints:
                    print(f"FAILED: {len(complaints)} complaints", *complaints[:10], sep="\n  ")
                    print(broker.log()[-3000:])
                    return 1
            complaints = [c for one in survivors for c in one.finish()]
            complaints += [c for one in survivors for c in one.tell(history)]
            complaints += [c for p in range(options.partitions) for c in log.read_again(broker, p, history)]
            complaints += history.complaints()
            total += sum(one.told_acknowledged for one in survivors)
            complaints += complaints_about_survivors(log, survivors)
            if complaints:
                print(f"FAILED at the end: {len(complaints)} complaints", *complaints[:10], sep="\n  ")
                print(broker.log()[-3000:])
                return 1
            fed = sum(one.fed for one in survivors)
            print(f"two producers lived through all kills: each of their {fed} records is there once", flush=True)
            if broker.stop() != 0:
                print(f"FAILED: the clean stop at the end failed:\n{broker.log()[-3000:]}")
                return 1
        finally:
            for one in survivors:
                one.stopping.set()
                one.process.kill()
                one.process.wait()
            history.close()
            broker.close()
    print(f"all {total} acknowledged records were there once, in order, after each of {options.rounds} kills")
    return 0


if __name__ == "__main__":
    sys.exit(main())
