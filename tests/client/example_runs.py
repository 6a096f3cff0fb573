"""Runs the example programs against a real broker and checks what they print."""

import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "integration"))
from broker_process import Broker  # noqa: E402

TIMEOUT_SECONDS = 120

# (program, arguments behind the broker's address, pattern of all that it prints), in this order: one reads what
# another wrote.
RUNS = [
    ("topics", [], r"short-lived has 3 partitions\n"
                   r"(  partition \d: offsets 0 to 0, leader \d+\n){3}"
                   r"the cluster has 4 topics\ndeleted\n"),
    ("produce", ["one"], r"stored in one partition 0 at offset 0\n"
                         r"stored in one partition 0 at offset 1\n"
                         r"stored in one partition 0 at offset 2\n"),
    ("consume", ["one"], r"0/0 sensor-7 = 21\.5\n"
                         r"0/1 sensor-7 = 21\.6 \[unit: celsius\] \[checked: \(null\)\]\n"
                         r"0/2 sensor-8 = \(null\)\n"
                         r"3 records\n"),
    ("seek", ["one"], r"the end is at 3\n"
                      r"records since 2020 begin at 0\n"
                      r"offset 1: 21\.6\noffset 2: \(null\)\n"
                      r"offset 0: 21\.5\n"),
    ("wakeup", ["one"], r"read 1 new record\n"),
    ("own_partitioner", ["two"], r"(urgent-[12] is in partition 0\n|later-[12] is in partition 1\n){4}"),
    ("pause", ["two"], r"partition 0: 2 records, partition 1: 0\n"
                       r"partition 0: 2 records, partition 1: 2\n"
                       r"lag 0 and 0\n"),
    ("produce_async", ["many", "20000"], r"20000 stored, 0 failed, 0 unknown\n"),
    ("administer", ["two"], r"broker 0 is serving and leads 7 partitions\n"
                            r"log\.level is warning, from: live\n"
                            r"two has 3 partitions and retention\.ms 3600000\n"
                            r"partition 0 begins at offset 1\n"
                            r"partition 1 begins at offset 2\n"),
]


def run_examples(programs, binary):
    """`programs`: the folder of the built examples. Raises on the first that does otherwise than it should."""
    left_out = {path.name for path in pathlib.Path(programs).glob("example_*") if path.is_file()
                and "." not in path.name} ^ {f"example_{name}" for name, _, _ in RUNS}
    if left_out:
        raise RuntimeError(f"these are built, or else run, but not both: {sorted(left_out)}")
    with tempfile.TemporaryDirectory(prefix="tidelog-examples-") as directory:
        broker = Broker(binary, directory).start()
        try:
            for topic, partitions in (("one", 1), ("two", 2), ("many", 4)):
                broker.must_run("topic", "create", topic, "-p", partitions)
            for name, arguments, pattern in RUNS:
                run_one(pathlib.Path(programs) / f"example_{name}", [broker.address, *arguments], pattern)
        finally:
            broker.close()


def run_one(program, arguments, pattern):
    result = subprocess.run([str(program), *arguments], capture_output=True, text=True, check=False,
                            timeout=TIMEOUT_SECONDS)
    if result.returncode != 0 or not re.fullmatch(pattern, result.stdout):
        raise RuntimeError(f"{program.name} ended with {result.returncode}; it printed\n{result.stdout}"
                           f"instead of\n{pattern}\nand said\n{result.stderr}")
    print(f"{program.name}: as it should be", flush=True)
