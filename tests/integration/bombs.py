#!/usr/bin/env python3
"""Decompression bombs: a broker of ill will, in Python, hands `tidelog consume` a batch of each codec whose few bytes
become more than any batch may; its header says nothing of their size, or lies.

The consumer must refuse the batch with a sentence that names partition and offset, within its memory and in time, and
print the record that comes before the bomb.

Usage: bombs.py --binary BUILD/tools/tidelog [--flatc PATH] [--sanitized]
Needs flatc, and Debian's python3-flatbuffers and python3-xxhash.
"""

import argparse
import os
import pathlib
import socket
import struct
import sys
import threading
import time
import zlib

import xxhash

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "conformance"))
import protocol_client as protocol  # noqa: E402  (its folder comes first)

from broker_process import clean_environment  # noqa: E402

BOMB_BYTES = 256 << 20  # four times what a batch may become
SECONDS_MAX = 60
CONSUMER_BYTES_MAX = 256 << 20  # the library's buffers and one batch at its limit, several times over
TOPIC = bytes(range(16))


def gzip_bomb():
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    return b"".join(packer.compress(zeros) for _ in range(BOMB_BYTES >> 20)) + packer.flush()


def snappy_bomb():
    copies = (80 << 20) // 64  # three bytes become 64: more than a batch may hold, not more than it may become
    total = 1 + copies * 64
    head = bytearray()
    while total >= 0x80:
        head.append(total & 0x7F | 0x80)
        total >>= 7
    return bytes(head) + bytes([total, 0, 0]) + struct.pack("<BH", 63 << 2 | 2, 1) * copies


def snappy_promise():
    return b"\xff\xff\xff\xff\x0f" + b"\0" * 20  # 4 GiB, and hardly a byte of it


def lz4_bomb():
    block_bytes = 4 << 20
    rest = block_bytes - 1 - 5 - 4 - 15
    match = b"\x1f" + b"\0" + b"\x01\0" + b"\xff" * (rest // 255) + bytes([rest % 255])
    block = match + b"\x50" + bytes(5)
    head = b"\x60\x70"
    frame = b"\x04\x22\x4d\x18" + head + bytes([xxhash.xxh32_intdigest(head) >> 8 & 0xFF])
    return frame + (struct.pack("<I", len(block)) + block) * (BOMB_BYTES // block_bytes) + bytes(4)


def zstd_bomb():
    repeat = struct.pack("<I", (128 << 10) << 3 | 1 << 1)[:3] + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x38" + repeat * (8 * BOMB_BYTES >> 17) + b"\x01\0\0"


BOMBS = {"gzip": [gzip_bomb], "snappy": [snappy_bomb, snappy_promise], "lz4": [lz4_bomb], "zstd": [zstd_bomb]}


def stored_batch(codec, stored, base_offset, uncompressed):
    fields = (b"TIDB", 1, 12, 0, protocol.xxh3(stored), len(stored), 0, base_offset, 1, 0, 1000, 1000, -1, -1, -1,
              protocol.CODECS[codec], 1, uncompressed, 1000)
    header = protocol.BATCH.pack(*fields)
    return header + struct.pack("<Q", protocol.xxh3(header, protocol.batch_seed(TOPIC, 0))) + stored


class IllBroker:
    """Speaks as much of the protocol as a consumer needs; its one partition holds a record and a bomb."""

    def __init__(self, schema, batches):
        self.schema = schema
        self.batches = batches  # (base offset, bytes)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.wrong = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                one, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _read(self, one, count):
        data = b""
        while len(data) < count:
            part = one.recv(count - len(data))
            if not part:
                raise ConnectionError
            data += part
        return data

    def _serve(self, one):
        position = {}
        try:
            while True:
                prefix = self._read(one, protocol.PREFIX_BYTES)
                _, length, correlation, api, version, _, _, table_bytes = protocol.PREFIX.unpack_from(prefix)
                rest = self._read(one, length - protocol.PREFIX_BYTES)
                name = next((key for key, number in protocol.APIS.items() if number == api), None)
                if name is None:
                    raise RuntimeError(f"API {api} is not known here")
                request = self.schema.decode(protocol.TABLES[name] + "Request", rest[:table_bytes])
                fields, raw = getattr(self, "answer_" + name)(request, position)
                table = self.schema.encode(self.schema.make(protocol.TABLES[name] + "Answer", **fields))
                one.sendall(protocol.encode_frame(api, table, raw, version=version, correlation=correlation,
                                                  flags=protocol.ANSWER))
        except (ConnectionError, OSError):
            pass
        except Exception as error:  # what goes wrong in this thread is the test's to tell
            self.wrong.append(f"{type(error).__name__}: {error}")
            one.close()

    def answer_hello(self, _, __):
        apis = [self.schema.make("ApiRange", key=number, versionMin=1, versionMax=1)
                for number in protocol.APIS.values()]
        return {"clusterId": self.schema.uuid(bytes(16)), "brokerId": 1, "brokerVersion": "0", "apis": apis, "features": [],
                "shard": 0, "shardCount": 1, "frameBytesMax": 8 << 20, "batchBytesMax": 4 << 20,
                "requestsInFlightMax": 100, "bytesInFlightMax": 32 << 20, "unsettledBatchesMax": 256,
                "idleTimeoutMs": 600_000, "mechanisms": []}, b""

    def answer_ping(self, _, __):
        return {"wallMs": 1000}, b""

    def answer_cancel(self, _, __):
        return {"found": False}, b""

    def answer_metadata(self, _, __):
        partition = self.schema.make("PartitionMetadata", partition=0, leader=1, leaderEpoch=1, shard=0)
        topic = self.schema.make("TopicMetadata", name="bombs", id=self.schema.uuid(TOPIC), partitions=[partition],
                                 replicationFactor=1, batchBytesMax=4 << 20)
        broker = self.schema.make("BrokerMetadata", id=1, host="127.0.0.1", port=self.port)
        return {"clusterId": self.schema.uuid(bytes(16)), "controller": 1, "brokers": [broker], "topics": [topic],
                "more": False}, b""

    def answer_describe_topic(self, _, __):
        end = len(self.batches)
        partition = self.schema.make("PartitionDescription", partition=0, leader=1, leaderEpoch=1, replicas=[1], isr=[1],
                                     startOffset=0, highWatermark=end, logEndOffset=end)
        return {"name": "bombs", "id": self.schema.uuid(TOPIC), "settings": [], "partitions": [partition]}, b""

    def answer_list_offsets(self, request, _):
        results = []
        for i in range(request.EntriesLength()):
            latest = request.Entries(i).TimestampMs() == -1
            results.append(self.schema.make("ListOffsetsResult", topic=self.schema.uuid(TOPIC), partition=0,
                                            offset=len(self.batches) if latest else 0, leaderEpoch=1))
        return {"results": results}, b""

    def answer_fetch(self, request, position):
        for i in range(request.ChangedLength()):
            position["at"] = request.Changed(i).Offset()
        for i in range(request.ForgottenLength()):
            position.pop("at", None)
        at = position.get("at")
        if at is None or at >= len(self.batches):
            time.sleep(min(request.MaxWaitMs(), 100) / 1000)
            return {"session": 1, "results": []}, b""
        raw = b"".join(self.batches[at:])
        position["at"] = len(self.batches)
        result = self.schema.make("FetchResult", topic=self.schema.uuid(TOPIC), partition=0, startOffset=0,
                                  highWatermark=len(self.batches), lastStableOffset=len(self.batches),
                                  nextOffset=len(self.batches), bytes=len(raw))
        return {"session": 1, "results": [result]}, raw

    def close(self):
        self.listener.close()


def consume(binary, port):
    """(exit code, output, errors, most memory, seconds) of a consumer that reads to the end."""
    outputs = [os.pipe(), os.pipe()]
    environment = dict(clean_environment(), TIDELOG_BROKERS=f"127.0.0.1:{port}")
    begin = time.monotonic()
    pid = os.posix_spawn(binary, [binary, "consume", "bombs", "-o", "start", "-e", "-f", r"%o %v\n"], environment,
                         file_actions=[(os.POSIX_SPAWN_DUP2, outputs[0][1], 1), (os.POSIX_SPAWN_DUP2, outputs[1][1], 2)])
    texts = [b"", b""]

    def drain(number):
        while part := os.read(outputs[number][0], 65536):
            texts[number] += part

    for _, end in outputs:
        os.close(end)
    readers = [threading.Thread(target=drain, args=(number,), daemon=True) for number in (0, 1)]
    for one in readers:
        one.start()
    killer = threading.Timer(SECONDS_MAX, lambda: os.kill(pid, 9))
    killer.start()
    _, status, usage = os.wait4(pid, 0)
    killer.cancel()
    for one in readers:
        one.join(timeout=5)
    for end, _ in outputs:
        os.close(end)
    return os.waitstatus_to_exitcode(status), *texts, usage.ru_maxrss << 10, time.monotonic() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--flatc", default="flatc")
    parser.add_argument("--sanitized", action="store_true", help="tell the memory, do not bound it")
    options = parser.parse_args()
    binary = str(pathlib.Path(options.binary).resolve())
    schema = protocol.Schema(protocol.default_schema(), options.flatc)
    first = stored_batch("none", protocol.encode_records([protocol.Record(b"before")]), 0, 0)
    wrong = []
    for codec, makers in BOMBS.items():
        for maker in makers:
            stored = maker()
            for claimed in (0, 100, 0xFFFFFFFF):
                broker = IllBroker(schema, [first, stored_batch(codec, stored, 1, claimed)])
                code, out, errors, memory, seconds = consume(binary, broker.port)
                broker.close()
                if broker.wrong:
                    raise RuntimeError(broker.wrong)
                name = f"{maker.__name__} of {len(stored)} bytes that claims {claimed}"
                print(f"{name}: exit {code}, {memory >> 20} MiB, {seconds:.1f} s: {errors.decode(errors='replace').strip()[:300]}",
                      flush=True)
                if out != b"0 before\n":
                    wrong.append(f"{name}: printed {out[:100]!r}")
                if code in (0, -9) or b"offset 1" not in errors:
                    wrong.append(f"{name}: exit {code}, and no sentence about offset 1")
                if memory > CONSUMER_BYTES_MAX and not options.sanitized:
                    wrong.append(f"{name}: took {memory >> 20} MiB")
    if wrong:
        print("FAILED", *wrong, sep="\n  ")
        return 1
    print("every bomb was refused")
    return 0


if __name__ == "__main__":
    sys.exit(main())
