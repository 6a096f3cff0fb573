#!/usr/bin/env python3
"""A real disk that fills up under load and gets space again, and is killed while it is full.

The data directory lies on a small ext4 of its own (a loop device). Producers write numbered records, with a ledger of what
was acknowledged; a balloon file takes all the space there is. Then:
  - producers are refused with STORAGE_FULL, which they retry; one with a short deadline reports it;
  - consumers read everything acknowledged meanwhile, /ready stays 200 and /metrics says what is wrong;
  - once the balloon is gone records are taken again, without anybody doing anything;
  - after kill -9 at the fullest moment a start finds all of it;
  - a clean stop at the fullest moment ends well, and the next start finds all of it too;
  - every acknowledged record is there once, in order, at its offset.

Usage: full_disk.py --binary BUILD/tools/tidelog [--megabytes N]
Needs root and loop devices; without them it says so and exits 77.
"""

import argparse
import contextlib
import errno
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request

from broker_process import Broker
from history_process import History, checker_of
from kill_loop import TOPIC, Log, Producer

SKIPPED = 77
PARTITIONS = 4
PATIENCE_SECONDS = 90
ENDS = ["healed", "killed and restarted", "stopped cleanly and restarted"]  # of a round, in turn


class Skip(Exception):
    """What this test needs is not to be had here."""


@contextlib.contextmanager
def small_disk(directory, megabytes):
    """An ext4 of its own below `directory`, mounted."""
    if os.geteuid() != 0:
        raise Skip("mounting needs root")
    for tool in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(tool) is None:
            raise Skip(f"there is no {tool}")
    image = pathlib.Path(directory) / "disk.img"
    mount_point = pathlib.Path(directory) / "disk"
    mount_point.mkdir()
    with open(image, "wb") as file:
        file.truncate(megabytes << 20)
    subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", str(image)], check=True, capture_output=True)
    mounted = subprocess.run(["mount", "-o", "loop", str(image), str(mount_point)], capture_output=True, check=False)
    if mounted.returncode != 0:
        raise Skip(f"no loop device: {mounted.stderr.decode(errors='replace').strip()}")
    try:
        yield mount_point
    finally:
        for _ in range(50):
            if subprocess.run(["umount", str(mount_point)], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        else:
            subprocess.run(["umount", "-l", str(mount_point)], check=False)


class Balloon:
    """A file that takes all the space that is left."""

    def __init__(self, mount_point):
        self.path = pathlib.Path(mount_point) / "balloon"

    def inflate(self):
        """Until not a block is left."""
        with open(self.path, "ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                with contextlib.suppress(OSError):
                    while True:
                        try:
                            file.write(b"\x01" * size)
                        except OSError as error:
                            if error.errno == errno.ENOSPC:
                                break
                            raise

    def burst(self):
        self.path.unlink(missing_ok=True)


def metric(broker, name):
    """The values of a metric, one for each of its labels."""
    with urllib.request.urlopen(f"http://127.0.0.1:{broker.admin_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return [float(line.rsplit(" ", 1)[1]) for line in lines if line.split("{")[0].split(" ")[0] == name]


def wait_for(what, condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {PATIENCE_SECONDS} s")
        time.sleep(0.05)


def grew(producer, by):
    start = producer.acknowledged_bytes()
    return lambda: producer.acknowledged_bytes() >= start + by


def check_all(broker, log, history, producers):
    """What `producers` sent and were told, and all that was before, against what the broker holds."""
    complaints = [c for producer in producers for c in producer.tell(history)]
    complaints += [c for partition in range(PARTITIONS) for c in log.read_again(broker, partition, history)]
    complaints += history.complaints()
    if complaints:
        raise RuntimeError("\n  ".join([f"{len(complaints)} complaints", *complaints[:10]]))
    return sum(map(len, log.records))


def fill_and_heal(broker, balloon, directory, log, history, round_number, chance, end):
    """Returns how many records were acknowledged when the disk was full, and the producers."""
    producers = [Producer(broker, f"p{p}", round_number, directory,
                          ["-p", str(p), "--delivery-timeout", "300s"]) for p in range(PARTITIONS)]
    try:
        for producer in producers:
            wait_for("the first acknowledgements", grew(producer, 20_000))
        time.sleep(chance.uniform(0, 1))
        balloon.inflate()
        # By every shard: one may have room in what it took before.
        wait_for("records are refused", lambda: all(metric(broker, "tidelog_storage_full")))
        refused = broker.run("produce", TOPIC, "-p", 0, "--delivery-timeout", "3s", stdin=b"too much\n")
        if refused.returncode != 1 or b"the disk is nearly full" not in refused.stderr:
            raise RuntimeError(f"a record for a full disk: exit {refused.returncode}, {refused.stderr!r}")
        if not broker._is_ready():
            raise RuntimeError("a full disk made the broker unready, though it serves readers")
        # What is looked at takes time, in which they would take more than the disk has room for.
        for producer in producers:
            producer.feeding.clear()
        # What was acknowledged can be read while nothing can be written.
        check_all(broker, log, history, producers)
        full = sum(producer.told_acknowledged for producer in producers)
        for producer in producers:
            producer.feeding.set()
        if end != "healed":
            if end == "killed and restarted":
                broker.kill()
            elif broker.stop() != 0:
                raise RuntimeError("the clean stop on a full disk failed")
            balloon.burst()
            broker.start()
            return full, producers
        balloon.burst()
        wait_for("records are taken again", lambda: not any(metric(broker, "tidelog_storage_full")))
        for producer in producers:
            wait_for("a producer goes on", grew(producer, 20_000))
            if producer.process.poll() is not None:
                raise RuntimeError(f"produce ended with {producer.process.returncode}: {producer.errors()}")
        return full, producers
    finally:
        for producer in producers:
            producer.ask_to_stop()
        for producer in producers:
            producer.end()


def run(options, chance, directory):
    with small_disk(directory, options.megabytes) as mount_point:
        balloon = Balloon(mount_point)
        broker = Broker(options.binary, directory, ["--set", "storage.free.bytes.min=0",
                                                    "--set", "journal.bytes.max=33554432"])
        broker.data = str(mount_point / "data")
        log, history, total = Log(PARTITIONS), History(checker_of(options.binary)), 0
        try:
            broker.start()
            broker.must_run("topic", "create", TOPIC, "-p", PARTITIONS, "--set", "segment.bytes=16777216")
            for round_number in range(1, options.rounds + 1):
                end = ENDS[(round_number - 1) % len(ENDS)]
                full, producers = fill_and_heal(broker, balloon, directory, log, history, round_number, chance, end)
                held = check_all(broker, log, history, producers)
                total += sum(producer.told_acknowledged for producer in producers)
                print(f"round {round_number}: full with {full} of the round acknowledged and read, "
                      f"{end}; {total} acknowledged in all, {held} held",
                      flush=True)
            if broker.stop() != 0:
                raise RuntimeError("the clean stop at the end failed")
            broker.must_run("log", "verify", broker.data)
        except Exception:
            print(broker.log()[-4000:])
            raise
        finally:
            history.close()
            broker.close()
    print(f"all {total} acknowledged records were there once, in order, over {options.rounds} full disks")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--megabytes", type=int, default=320)
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    print(f"full_disk: {options.megabytes} MiB, {options.rounds} rounds, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tidelog-full-disk-") as directory:
        try:
            run(options, random.Random(seed), directory)
        except Skip as reason:
            print(f"SKIPPED: {reason}")
            return SKIPPED
        except RuntimeError as error:
            print(f"FAILED: {error}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
