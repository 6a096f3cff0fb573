#!/usr/bin/env python3
"""A broker among strangers: random, mutated and half-sent frames, HTTP, TLS, another protocol, huge lengths,
absurd counts, clients that send a byte at a time, connections that say nothing.

Beside them a producer and a consumer go about their work. In the end:
  - each record is delivered once, in order, and neither of the two heard of an error;
  - each kind of stranger was closed, and the log says whom and why, in few lines;
  - the memory that the strangers cost is bounded, and told; so is the clients' latency (told only).

Usage: hostile.py --binary BUILD/tools/tidelog [--seconds N] [--idle N] [--seed N] [--sanitized]
Needs Debian's python3-xxhash and python3-flatbuffers.
"""

import argparse
import pathlib
import random
import re
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

from broker_process import Broker

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))
from protocol_client import APIS, encode_frame  # noqa: E402  (its folder comes first)

DOCUMENT = (pathlib.Path(__file__).resolve().parents[2] / "wire" / "PROTOCOL.md").read_text()
TOPIC = "beside"
RECORDS_PER_SECOND = 200
HELLO_SECONDS = 10  # wire/limits.h
# What strangers may cost: frames that are admitted have their budgets, each connection a small buffer.
STRANGER_BYTES_MAX = 192 << 20
LINES_PER_TEN_SECONDS = 20  # of one shard, about connections that were closed
TLS_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(32))
OTHER_PROTOCOL = struct.pack(">ihhih", 30, 18, 3, 1, 4) + b"kcat"


def document_frame(name):
    lines = DOCUMENT.split(f"```hex {name}\n")[1].split("```")[0].splitlines()
    return bytes.fromhex("".join(line.split(";")[0].split(" ", 1)[1] for line in lines))


HELLO = document_frame("hello-request")
FRAMES = [document_frame(name) for name in ("hello-request", "produce-request", "fetch-request")]


class GoodClients:
    """A producer and a consumer that go on, with the time from the one's input to the other's output."""

    def __init__(self, broker):
        self.sent = 0
        self.latencies = []  # (when, seconds)
        self.received = []
        self.stopping = threading.Event()
        self.consumer = broker.popen("consume", TOPIC, "-o", "start", "-f", r"%v\n", stdout=subprocess.PIPE,
                                     stderr=subprocess.PIPE)
        self.producer = broker.popen("produce", TOPIC, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                     stderr=subprocess.PIPE)
        self.threads = [threading.Thread(target=one, daemon=True) for one in (self._send, self._receive)]
        for one in self.threads:
            one.start()

    def _send(self):
        while not self.stopping.is_set():
            self.producer.stdin.write(f"{self.sent} {time.monotonic():.6f}\n".encode())
            self.producer.stdin.flush()
            self.sent += 1
            time.sleep(1 / RECORDS_PER_SECOND)

    def _receive(self):
        for line in self.consumer.stdout:
            now = time.monotonic()
            number, sent_at = line.split()
            self.received.append(int(number))
            self.latencies.append((now, now - float(sent_at)))

    def p99_ms(self, begin, end):
        within = sorted(seconds for when, seconds in self.latencies if begin <= when < end)
        return 1000 * within[len(within) * 99 // 100] if within else float("nan")

    def finish(self):
        """Ends both; what is wrong."""
        self.stopping.set()
        self.threads[0].join(timeout=60)
        _, producer_errors = self.producer.communicate(timeout=120)
        deadline = time.monotonic() + 60
        while len(self.received) < self.sent and time.monotonic() < deadline:
            time.sleep(0.05)
        self.consumer.terminate()
        self.threads[1].join(timeout=30)
        consumer_errors = self.consumer.stderr.read()
        self.consumer.wait(timeout=30)
        wrong = []
        if self.producer.returncode != 0:
            wrong.append(f"the producer ended with {self.producer.returncode}")
        for name, said in (("producer", producer_errors), ("consumer", consumer_errors)):
            if re.search(rb"error|warning|lost|retry", said, re.IGNORECASE):
                wrong.append(f"the {name} said: {said.decode(errors='replace')[-500:]}")
        if self.received != list(range(self.sent)):
            wrong.append(f"{self.sent} records were sent, {len(self.received)} came, or in another order")
        return wrong

    def close(self):
        self.stopping.set()
        for one in (self.producer, self.consumer):
            if one.poll() is None:
                one.kill()
                one.wait()


class Strangers:
    """What comes to `address`, of each kind one after the other, until the time is over."""

    def __init__(self, address, chance):
        self.address = address
        self.chance = chance
        self.counts = {}
        self.wrong = []

    def connect(self):
        one = socket.create_connection(self.address, timeout=30)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return one

    def greeted(self):
        one = self.connect()
        one.sendall(HELLO)
        head = one.recv(32, socket.MSG_WAITALL)
        one.recv(struct.unpack_from("<I", head, 4)[0] - 32, socket.MSG_WAITALL)
        return one

    @staticmethod
    def closed(one):
        """Whether the broker ends the connection; what it says before is read over."""
        try:
            while one.recv(65536):
                pass
        except ConnectionError:
            pass
        except TimeoutError:
            return False
        return True

    def send(self, kind, data, greeted=False, must_close=True):
        with self.greeted() if greeted else self.connect() as one:
            self.counts[kind] = self.counts.get(kind, 0) + 1
            try:
                one.sendall(data)
            except ConnectionError:
                return
            if must_close and not self.closed(one):
                self.wrong.append(f"{kind}: {data[:40].hex()}... was not closed")

    def random_bytes(self):
        data = self.chance.randbytes(self.chance.randrange(1, 4096))
        self.send("random", data, must_close=len(data) >= 4 and data[:4] != b"TIDE")

    def mutated(self):
        data = bytearray(self.chance.choice(FRAMES))
        for _ in range(self.chance.randrange(1, 8)):
            data[self.chance.randrange(len(data))] ^= 1 << self.chance.randrange(8)
        self.send("mutated", bytes(data), greeted=self.chance.random() < 0.7, must_close=False)

    def half(self):
        data = self.chance.choice(FRAMES)
        self.send("half", data[:self.chance.randrange(1, len(data))], greeted=self.chance.random() < 0.5,
                  must_close=False)

    def http(self):
        self.send("HTTP", b"GET / HTTP/1.1\r\nHost: broker\r\n\r\n")

    def tls(self):
        self.send("TLS", TLS_HELLO)

    def other_protocol(self):
        self.send("Apache Kafka", OTHER_PROTOCOL)

    def huge_length(self):
        length = self.chance.choice([0xffffffff, 0x7fffffff, (8 << 20) + 8, 64 * 1024 + 8])
        table = self.chance.choice([0, 16, 0xffffffff, length - 32])
        prefix = struct.pack("<4sIQHHHHI", b"TIDE", length, 5, 20, 1, 0, 0, table & 0xffffffff)
        self.send("huge", prefix + self.chance.randbytes(4), greeted=length > 8 << 20)

    def absurd_counts(self):
        """Tables whose frame is sound, with lengths and counts that are not."""
        api = self.chance.choice(sorted(APIS.values()))
        table = bytearray(self.chance.choice(FRAMES)[32:])
        for _ in range(self.chance.randrange(1, 6)):
            at = self.chance.randrange(0, max(1, len(table) - 4))
            value = self.chance.choice([0xffffffff, 0x7fffffff, 0x80000000, 1 << 20, 0, 16])
            struct.pack_into("<I", table, at & ~3, value)
        self.send("absurd", encode_frame(api, bytes(table), self.chance.randbytes(8)), greeted=True,
                  must_close=False)

    def goes_at_once(self):
        one = self.connect()
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.sendall(HELLO[:self.chance.randrange(len(HELLO))])
        one.close()
        self.counts["reset"] = self.counts.get("reset", 0) + 1

    def run(self, seconds):
        kinds = [self.random_bytes, self.mutated, self.half, self.http, self.tls, self.other_protocol,
                 self.huge_length, self.absurd_counts, self.goes_at_once]
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for kind in kinds:
                kind()


class Waiting:
    """Connections that say nothing, or too little: each must be closed in its time."""

    def __init__(self, strangers, idle, slow):
        self.begin = time.monotonic()
        self.silent = [strangers.connect() for _ in range(idle)]
        self.slow = [strangers.connect() for _ in range(slow)]
        # Greeted, with a frame that is announced and never comes.
        frame = FRAMES[1]
        self.announced = [strangers.greeted() for _ in range(slow)]
        for one in self.announced:
            one.sendall(frame[:32 + 8])
        self.stopping = threading.Event()
        self.feeder = threading.Thread(target=self._feed, daemon=True)
        self.feeder.start()

    def _feed(self):
        """A byte of a hello, or of a frame, now and then."""
        for at in range(len(HELLO) - 1):
            for one in self.slow:
                try:
                    one.send(HELLO[at:at + 1])
                except OSError:
                    pass
            if self.stopping.wait(0.5):
                return

    def left_open(self, seconds):
        deadline = self.begin + seconds
        left = 0
        for one in self.silent + self.slow + self.announced:
            one.settimeout(max(0.01, deadline - time.monotonic()))
            left += 0 if Strangers.closed(one) else 1
        self.stopping.set()
        return left

    def close(self):
        self.stopping.set()
        for one in self.silent + self.slow + self.announced:
            one.close()


def memory_of(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return {name: int(re.search(rf"^{name}:\s*(\d+)", status, re.MULTILINE)[1]) << 10 for name in ("VmRSS", "VmHWM")}


def complaints_about_log(text, counts, seconds):
    lines = [line for line in text.splitlines() if " is closed: " in line]
    for name in ("HTTP", "TLS", "Apache Kafka"):
        if not any(name in line for line in lines):
            yield f"no line says that somebody came with {name}"
    if any(not re.search(r"connection from 127\.0\.0\.1:\d+", line) for line in lines):
        yield "a line does not name its peer"
    if not any("lines left out" in line for line in lines) and sum(counts.values()) > 500:
        yield "no line tells how many were left out"
    allowed = (seconds // 10 + 2) * LINES_PER_TEN_SECONDS * 2  # two shards
    if len(lines) > allowed:
        yield f"{len(lines)} lines about closed connections in {seconds:.0f} s, {allowed:.0f} are allowed"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--seconds", type=float, default=20, help="how long strangers come")
    parser.add_argument("--idle", type=int, default=2000, help="connections that say nothing")
    parser.add_argument("--slow", type=int, default=100, help="clients that send a byte at a time")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--sanitized", action="store_true", help="tell the memory, do not bound it")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < options.idle + 2 * options.slow + 500:
        print(f"skipped: {options.idle} connections need more open files than {hard}")
        return 77
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"hostile: {options.seconds} s, {options.idle} idle connections, seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="tidelog-hostile-") as directory:
        broker = Broker(options.binary, directory, ["--set", "shards=2"]).start()
        clients = waiting = None
        try:
            broker.must_run("topic", "create", TOPIC)
            clients = GoodClients(broker)
            quiet_at = time.monotonic()
            time.sleep(3)
            before = memory_of(broker.process.pid)["VmRSS"]
            hostile_at = time.monotonic()
            strangers = Strangers(("127.0.0.1", broker.port), random.Random(seed))
            waiting = Waiting(strangers, options.idle, options.slow)
            strangers.run(options.seconds)
            # Those that owe a hello have 10 s, a frame that does not go on as long; then they must be gone.
            left = waiting.left_open(max(options.seconds, 3 * HELLO_SECONDS))
            ended_at = time.monotonic()
            memory = memory_of(broker.process.pid)
            wrong = list(strangers.wrong[:5])
            if left:
                wrong.append(f"{left} connections that say nothing or too little are still open")
            if broker.process.poll() is not None:
                wrong.append(f"the broker ended with {broker.process.returncode}")
            wrong += clients.finish()
            wrong += complaints_about_log(broker.log(), strangers.counts, ended_at - hostile_at)
            cost = memory["VmHWM"] - before
            print(f"strangers: {strangers.counts}")
            print(f"memory: {before >> 20} MiB before, at most {cost >> 20} MiB more among strangers")
            print(f"{clients.sent} records beside them; p99 from input to output {clients.p99_ms(quiet_at, hostile_at):.1f} ms "
                  f"when quiet, {clients.p99_ms(hostile_at, ended_at):.1f} ms among strangers")
            if cost > STRANGER_BYTES_MAX and not options.sanitized:
                wrong.append(f"{cost >> 20} MiB for strangers, {STRANGER_BYTES_MAX >> 20} are allowed")
            if broker.stop() != 0:
                wrong.append("the clean stop failed")
            if wrong:
                print(f"FAILED, seed {seed}:", *wrong, broker.log()[-2000:], sep="\n  ")
                return 1
        finally:
            for one in (waiting, clients):
                if one is not None:
                    one.close()
            broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
