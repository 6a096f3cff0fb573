#!/usr/bin/env python3
"""A large file of real text goes through the broker and back.

On one partition what is consumed is the file, byte for byte. On eight partitions, with a key before
each line, every key's lines are there, once each and in the file's order.

Usage: big_file.py --binary BUILD/tools/tidelog [--bytes N] [-z none|lz4|zstd] [--directory DIR]
"""

import argparse
import gzip
import hashlib
import pathlib
import subprocess
import sys
import tempfile
import time

from broker_process import Broker

KEYS = 997
PARTITIONS = 8


def real_text():
    """Text files of this machine, again and again: documentation, headers, sources."""
    while True:
        found = False
        for root in ("/usr/share/doc", "/usr/include", "/usr/share/perl", "/usr/lib/python3"):
            for path in sorted(pathlib.Path(root).rglob("*")):
                if path.suffix not in (".gz", ".h", ".hpp", ".py", ".pm", ".txt", "") or not path.is_file():
                    continue
                try:
                    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
                except (OSError, EOFError, ValueError):
                    continue
                if data:
                    found = True
                    yield data if data.endswith(b"\n") else data + b"\n"
        if not found:
            raise RuntimeError("there is no text on this machine to send")


def make_files(plain, keyed, bytes_min):
    """The text as it is, and with a key and a tab before each line. Returns digests per key."""
    size = line_number = 0
    digests = {}
    with open(plain, "wb") as plain_file, open(keyed, "wb") as keyed_file:
        for data in real_text():
            plain_file.write(data)
            size += len(data)
            for line in data[:-1].split(b"\n"):
                key = b"key-%d" % (line_number * 7919 % KEYS)
                line_number += 1
                keyed_file.write(key + b"\t" + line + b"\n")
                digests.setdefault(key, hashlib.blake2b()).update(b"%d:" % len(line) + line)
            if size >= bytes_min:
                return size, line_number, digests


def seconds_of(action):
    begin = time.monotonic()
    action()
    return time.monotonic() - begin


def same_bytes(broker, topic, plain):
    consumer = broker.popen("consume", topic, "-e", "-q", stdout=subprocess.PIPE)
    compared = subprocess.run(["cmp", "-", str(plain)], stdin=consumer.stdout, check=False)
    consumer.stdout.close()
    return consumer.wait() == 0 and compared.returncode == 0


def digests_of(broker, topic):
    """Digest of each key's lines, in the order in which they are consumed."""
    digests = {}
    partition_of = {}
    lines = 0
    consumer = broker.popen("consume", topic, "-e", "-q", "-f", r"%p\t%k\t%v\n", stdout=subprocess.PIPE)
    for row in consumer.stdout:
        partition, key, line = row[:-1].split(b"\t", 2)
        lines += 1
        if partition_of.setdefault(key, partition) != partition:
            raise RuntimeError(f"{key} is in partitions {partition} and {partition_of[key]}")
        digests.setdefault(key, hashlib.blake2b()).update(b"%d:" % len(line) + line)
    if consumer.wait() != 0:
        raise RuntimeError("consume failed")
    return lines, digests, set(partition_of.values())


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--bytes", type=int, default=64 * 1024 * 1024)
    parser.add_argument("-z", "--compression", default="none")
    parser.add_argument("--directory", help="where files and data go (default: a temporary one)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tidelog-big-file-", dir=options.directory) as directory:
        plain, keyed = pathlib.Path(directory) / "plain", pathlib.Path(directory) / "keyed"
        size, lines, digests = make_files(plain, keyed, options.bytes)
        print(f"{size / 2**20:.0f} MiB of text, {lines} lines", flush=True)
        broker = Broker(options.binary, directory).start()
        try:
            return run(broker, options, plain, keyed, size, lines, digests)
        finally:
            broker.close()


def run(broker, options, plain, keyed, size, lines, digests):
    mebibytes = size / 2**20

    def produce(*words):
        broker.must_run("produce", *words, "-z", options.compression, "-q", timeout=3600)

    broker.must_run("topic", "create", "one", "-p", 1)
    seconds = seconds_of(lambda: produce("one", plain))
    print(f"one partition: produced in {seconds:.1f} s, {mebibytes / seconds:.0f} MiB/s", flush=True)
    begin = time.monotonic()
    if not same_bytes(broker, "one", plain):
        print("FAILED: what came back from one partition is not the file")
        return 1
    seconds = time.monotonic() - begin
    print(f"one partition: consumed and identical in {seconds:.1f} s, {mebibytes / seconds:.0f} MiB/s", flush=True)

    broker.must_run("topic", "create", "eight", "-p", PARTITIONS)
    seconds = seconds_of(lambda: produce("eight", keyed, "-K", r"\t"))
    print(f"{PARTITIONS} partitions, keyed: produced in {seconds:.1f} s, {mebibytes / seconds:.0f} MiB/s", flush=True)
    lines_back, digests_back, partitions = digests_of(broker, "eight")
    wrong = [key for key in digests if key not in digests_back or digests_back[key].digest() != digests[key].digest()]
    if lines_back != lines or wrong or len(digests_back) != len(digests):
        print(f"FAILED: {lines_back} of {lines} lines came back; {len(wrong)} keys differ, such as {wrong[:3]}")
        return 1
    if lines > 10 * KEYS and len(partitions) != PARTITIONS:
        print(f"FAILED: only partitions {sorted(partitions)} were used")
        return 1
    print(f"{PARTITIONS} partitions: {lines} lines, the lines of all {len(digests)} keys in order", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
