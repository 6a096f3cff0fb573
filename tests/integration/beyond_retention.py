#!/usr/bin/env python3
"""A topic that is filled far beyond its retention at full speed takes no more disk and no more memory as time goes on.

Two `tidelog produce` write as fast as they are acknowledged into several partitions with small segments and a small
`retention.bytes`. Every few seconds the broker's memory (VmRSS), the producers' and the disk use of the data directory
(allocated blocks) are looked at. It fails when
  - the disk is ever above partitions * (3 * retention.bytes + 2 * segment.bytes) + shards * journal.bytes.max + 32 MiB:
    of each partition what is to be kept, the segment that is being written, one that retention may not split, and up to
    twice as much that is on its way out, since checkpoints and syncs come before a file goes;
  - the median of disk use or of a memory in the last third of the samples is above the one of the first third by more
    than the bound that is printed; samples count once every partition has lost its first records and caches are full;
  - a record is refused, a producer or the broker ends, or what is left is not every offset from start to end, in order.

Usage: beyond_retention.py --binary BUILD/tools/tidelog [--seconds N] [--partitions N] [--directory DIR] [--sanitized]
"""

import argparse
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from broker_process import Broker

MIB = 1 << 20
SEGMENT_BYTES = 4 * MIB
RETENTION_BYTES = 16 * MIB
JOURNAL_BYTES = 32 * MIB
SHARDS = 2
PRODUCERS = 2
# Beside what partitions and journals take: catalog, checkpoints, indexes, metadata.
DISK_SLACK_BYTES = 32 * MIB
# What producers hold of their buffers of 64 MiB goes up and down: only that it stays within them is certain.
GROWTH_MAX = {"disk": 64 * MIB, "broker": 64 * MIB, "producers": PRODUCERS * 128 * MIB}
SAMPLES_MIN = 9
WARM_UP_SECONDS_MAX = 300
SETTINGS = ["--shards", str(SHARDS), "--set", f"journal.bytes.max={JOURNAL_BYTES}", "--set", "tail.cache.bytes=64MiB",
            "--set", "produce.memory.bytes=64MiB", "--set", "storage.free.bytes.min=0"]
TOPIC = "t"


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"process {pid} has ended")


def disk_bytes(directory):
    """As du: allocated blocks. Files may go meanwhile."""
    total = 0
    for folder, _, names in os.walk(directory):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                pass
    return total


class Flood:
    """`tidelog produce` whose input never ends."""

    def __init__(self, broker, lines):
        self.process = broker.popen("produce", TOPIC, "--json", "-D", r"\n", stdin=subprocess.PIPE,
                                    stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._feed, args=(lines,))
        self._thread.start()

    def _feed(self, lines):
        try:
            while not self._is_ending.is_set():
                self.process.stdin.write(lines)
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it ended; who looks at the process sees that

    def end(self):
        """The summary, once everything is acknowledged."""
        self._is_ending.set()
        self._thread.join()
        out = self.process.stdout.read()
        words = self.process.stderr.read()
        if self.process.wait() != 0:
            raise RuntimeError(f"produce ended with {self.process.returncode}: {words.decode(errors='replace')}")
        return json.loads(out)

    def abandon(self):
        self._is_ending.set()
        if self.process.poll() is None:
            self.process.kill()
        self._thread.join()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()


def start_offsets(broker):
    topic = json.loads(broker.must_run("topic", "describe", TOPIC, "--json"))
    return [partition["start_offset"] for partition in topic["partitions"]]


def produced_bytes(broker):
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.admin_port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("tidelog_produced_bytes_total"))


def check_running(broker, floods):
    for process in (broker.process, *(flood.process for flood in floods)):
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[1]} ended with {process.returncode}")


def wait_until_filled(broker, floods):
    """Every partition has lost records, and what is cached has been cached once over."""
    deadline = time.monotonic() + WARM_UP_SECONDS_MAX
    while min(start_offsets(broker)) == 0 or produced_bytes(broker) < 512 * MIB:
        check_running(broker, floods)
        if time.monotonic() > deadline:
            raise RuntimeError(f"not filled after {WARM_UP_SECONDS_MAX} s: starts {start_offsets(broker)}")
        time.sleep(0.2)


def sample_for(seconds, broker, floods, disk_max):
    interval = min(5.0, seconds / SAMPLES_MIN)
    begin = time.monotonic()
    samples = []
    print("seconds  broker MiB  producers MiB  disk MiB  produced GiB", flush=True)
    while len(samples) < SAMPLES_MIN or time.monotonic() - begin < seconds:
        time.sleep(interval)
        check_running(broker, floods)
        sample = {"seconds": time.monotonic() - begin, "broker": resident_bytes(broker.process.pid),
                  "producers": sum(resident_bytes(flood.process.pid) for flood in floods),
                  "disk": disk_bytes(broker.data), "produced": produced_bytes(broker)}
        samples.append(sample)
        print(f"{sample['seconds']:7.0f}  {sample['broker'] / MIB:10.1f}  {sample['producers'] / MIB:13.1f}  "
              f"{sample['disk'] / MIB:8.1f}  {sample['produced'] / 1024 / MIB:12.2f}", flush=True)
        if sample["disk"] > disk_max:
            raise RuntimeError(f"the disk holds {sample['disk']} bytes; retention, segments and journals allow {disk_max}")
    return samples


def check_flat(samples, name, is_bound):
    third = len(samples) // 3
    first = statistics.median(sample[name] for sample in samples[:third])
    last = statistics.median(sample[name] for sample in samples[-third:])
    print(f"{name}: {first / MIB:.1f} MiB in the first third, {last / MIB:.1f} MiB in the last "
          f"(bound: {GROWTH_MAX[name] / MIB:.0f} MiB more)")
    if is_bound and last > first + GROWTH_MAX[name]:
        raise RuntimeError(f"{name} grew by {(last - first) / MIB:.1f} MiB")


def check_what_is_left(broker, line_set, summaries):
    """Every offset from each partition's start to its end, each one of the lines that were sent."""
    # Retention goes on by itself and would move a start between what describe says and what consume reads.
    broker.must_run("topic", "alter", TOPIC, "--set", "retention.bytes=-1")
    topic = json.loads(broker.must_run("topic", "describe", TOPIC, "--json"))
    next_offset = {p["partition"]: p["start_offset"] for p in topic["partitions"]}
    consumer = broker.popen("consume", TOPIC, "-e", "-q", "-f", r"%p %o %v\n", stdout=subprocess.PIPE)
    left = 0
    for row in consumer.stdout:
        partition, offset, value = row[:-1].split(b" ", 2)
        if next_offset[int(partition)] != int(offset) or value not in line_set:
            consumer.kill()
            raise RuntimeError(f"partition {int(partition)}: offset {int(offset)} where {next_offset[int(partition)]} "
                               "was expected, or a record that nobody sent")
        next_offset[int(partition)] += 1
        left += 1
    consumer.stdout.close()
    if consumer.wait() != 0:
        raise RuntimeError(f"consume ended with {consumer.returncode}")
    ends = {p["partition"]: p["high_watermark"] for p in topic["partitions"]}
    acknowledged = sum(summary["records"] for summary in summaries)
    if next_offset != ends or sum(ends.values()) != acknowledged:
        raise RuntimeError(f"{acknowledged} records were acknowledged; read up to {next_offset}, ends {ends}")
    print(f"{acknowledged} records were acknowledged, {left} are left: every offset from start to end, in order")


def run(options, directory):
    # Lines that do not compress away and are known again.
    noise = random.Random(1)
    lines = [b"%06d " % i + noise.randbytes(496).hex().encode() for i in range(4096)]
    block = b"\n".join(lines) + b"\n"
    disk_max = (options.partitions * (3 * RETENTION_BYTES + 2 * SEGMENT_BYTES) + SHARDS * JOURNAL_BYTES
                + DISK_SLACK_BYTES)
    broker = Broker(options.binary, directory, SETTINGS)
    floods = []
    try:
        broker.start()
        broker.must_run("topic", "create", TOPIC, "-p", options.partitions, "--set", f"segment.bytes={SEGMENT_BYTES}",
                        "--set", f"retention.bytes={RETENTION_BYTES}")
        floods = [Flood(broker, block) for _ in range(PRODUCERS)]
        wait_until_filled(broker, floods)
        samples = sample_for(options.seconds, broker, floods, disk_max)
        summaries = [flood.end() for flood in floods]
        for summary in summaries:
            if summary["failed"] or summary["unknown"]:
                raise RuntimeError(f"records were refused: {summary}")
        print(f"disk: {min(s['disk'] for s in samples) / MIB:.0f} to {max(s['disk'] for s in samples) / MIB:.0f} MiB "
              f"(bound: {disk_max / MIB:.0f} MiB)")
        for name in GROWTH_MAX:
            check_flat(samples, name, is_bound=name == "disk" or not options.sanitized)
        check_what_is_left(broker, set(lines), summaries)
        if broker.stop() != 0:
            raise RuntimeError("the clean stop failed")
        broker.must_run("log", "verify", broker.data)
    except Exception:
        print(broker.log()[-4000:])
        raise
    finally:
        for flood in floods:
            flood.abandon()
        broker.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--directory", default=None, help="where the data directory is made (default: TMPDIR)")
    parser.add_argument("--sanitized", action="store_true",
                        help="the broker keeps a sanitizer's records too: tell the memory, do not bound it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidelog-beyond-retention-", dir=options.directory) as directory:
        try:
            run(options, directory)
        except RuntimeError as error:
            print(f"FAILED: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
