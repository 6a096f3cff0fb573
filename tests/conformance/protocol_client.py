"""A minimal client of the Tidelog protocol, written from wire/PROTOCOL.md and wire/protocol.fbs alone.

Needs flatc, and Debian's python3-flatbuffers and python3-xxhash.
"""

import importlib
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field

import flatbuffers
import xxhash

import codecs_by_hand

PREFIX = struct.Struct("<4sIQHHHHI")  # all but the checksum
PREFIX_BYTES = 32
BATCH = struct.Struct("<4sBBHQIIqiiqqqihHiIq")  # all but the checksum
BATCH_BYTES = 96
ANSWER, MORE_PARTS = 1, 2
APIS = {"hello": 1, "ping": 2, "cancel": 4, "metadata": 10, "create_topic": 11, "delete_topic": 12, "describe_topic": 13,
        "produce": 20, "fetch": 21, "list_offsets": 22, "epoch_end": 23, "init_producer_id": 24}
TABLES = {key: "".join(word.capitalize() for word in key.split("_")) for key in APIS}
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


class ProtocolError(Exception):
    """The peer broke a rule of PROTOCOL.md."""


class Closed(Exception):
    """The peer ended the connection."""


class Schema:
    """protocol.fbs, compiled by flatc into a temporary folder."""

    def __init__(self, path, flatc="flatc"):
        self.folder = tempfile.TemporaryDirectory(prefix="tidelog-conformance-")
        subprocess.run([flatc, "--python", "--gen-object-api", "-o", self.folder.name, str(path)], check=True)
        sys.path.insert(0, self.folder.name)

    def module(self, name):
        return importlib.import_module(f"tidelog.wire.fb.{name}")

    def make(self, table, /, **fields):
        """A table or struct object; unknown fields are mistakes."""
        made = getattr(self.module(table), table + "T")()
        for key, value in fields.items():
            if not hasattr(made, key):
                raise KeyError(f"{table} has no field {key}")
            setattr(made, key, value)
        return made

    def uuid(self, raw):
        return self.make("Uuid", bytes=list(raw))

    @staticmethod
    def encode(table):
        builder = flatbuffers.Builder(256)
        builder.Finish(table.Pack(builder))
        return bytes(builder.Output())

    def decode(self, name, table):
        return getattr(self.module(name), name).GetRootAs(table, 0)

    def uuid_bytes(self, struct_object):
        """The object API of flatbuffers 2.0.8 reads a struct's array wrongly: these are its bytes."""
        tab = struct_object._tab
        return bytes(tab.Bytes[tab.Pos:tab.Pos + 16])


def xxh3(data, seed=0):
    return xxhash.xxh3_64_intdigest(data, seed=seed)


def encode_frame(api, table, raw=b"", *, version=1, correlation=1, flags=0):
    head = PREFIX_BYTES + len(table)
    padding = -head % 8
    prefix = PREFIX.pack(b"TIDE", head + padding + len(raw), correlation, api, version, flags, 0, len(table))
    checksum = xxh3(prefix + table) & 0xFFFFFFFF
    return prefix + struct.pack("<I", checksum) + table + bytes(padding) + raw


@dataclass
class Frame:
    correlation: int
    api: int
    version: int
    flags: int
    table: bytes
    raw: bytes


@dataclass
class Record:
    value: bytes | None
    key: bytes | None = None
    headers: list = field(default_factory=list)  # (text as bytes, bytes or None)
    timestamp: int = 1_700_000_000_000
    offset: int = -1


# ---- records and batches ----

def varint(number):
    rest = (number << 1) ^ (number >> 63)
    rest &= (1 << 64) - 1
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def take_varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7
        if shift > 63:
            raise ProtocolError("a varint of more than ten bytes")


def text(data):
    return varint(-1) if data is None else varint(len(data)) + data


def take_text(data, at):
    length, at = take_varint(data, at)
    if length == -1:
        return None, at
    if length < 0 or at + length > len(data):
        raise ProtocolError(f"a length of {length} points outside the records")
    return data[at:at + length], at + length


def encode_records(records):
    out = bytearray()
    for number, record in enumerate(records):
        body = bytearray(b"\0")
        body += varint(record.timestamp - records[0].timestamp) + varint(number)
        body += text(record.key) + text(record.value) + varint(len(record.headers))
        for key, value in record.headers:
            body += text(key) + text(value)
        out += varint(len(body)) + body
    return bytes(out)


def decode_records(data, count, base_offset, base_timestamp):
    records, at = [], 0
    for _ in range(count):
        length, at = take_varint(data, at)
        end = at + length
        if data[at] != 0:
            raise ProtocolError("record attributes are not 0")
        timestamp, at = take_varint(data, at + 1)
        delta, at = take_varint(data, at)
        key, at = take_text(data, at)
        value, at = take_text(data, at)
        headers_left, at = take_varint(data, at)
        headers = []
        for _ in range(headers_left):
            name, at = take_text(data, at)
            content, at = take_text(data, at)
            headers.append((name, content))
        if at != end:
            raise ProtocolError("a record's length does not fit its fields")
        records.append(Record(value, key, headers, base_timestamp + timestamp, base_offset + delta))
    if at != len(data):
        raise ProtocolError("bytes are left behind the last record")
    return records


def batch_seed(topic, partition):
    return xxh3(topic + struct.pack("<i", partition))


def encode_batch(topic, partition, records, codec="none", **changes):
    """A producer's batch. `changes` set header fields to what a right producer would not send."""
    plain = encode_records(records)
    stored = codecs_by_hand.compress(codec, plain)
    fields = dict(magic=b"TIDB", version=1, words=12, flags=0, records_checksum=xxh3(stored), records_bytes=len(stored),
                  crc32c=0, base_offset=0, leader_epoch=0, last_offset_delta=len(records) - 1,
                  base_timestamp=records[0].timestamp, max_timestamp=max(r.timestamp for r in records),
                  producer_id=-1, base_sequence=-1, producer_epoch=-1, attributes=CODECS[codec],
                  record_count=len(records), uncompressed_bytes=len(plain), append_time=0)
    header_checksum = changes.pop("header_checksum", None)
    fields.update(changes)
    header = BATCH.pack(*fields.values())
    if header_checksum is None:
        header_checksum = xxh3(header, batch_seed(topic, partition))
    return header + struct.pack("<Q", header_checksum) + stored


@dataclass
class Batch:
    base_offset: int
    leader_epoch: int
    last_offset_delta: int
    codec: str
    append_time: int
    stored: bytes  # the records as stored
    records: list


def decode_batches(topic, partition, data):
    """All batches of `data`, verified as a consumer has to."""
    batches = []
    while data:
        if len(data) < BATCH_BYTES:
            raise ProtocolError("the bytes end within a batch header")
        (magic, version, words, _, records_checksum, records_bytes, _, base_offset, epoch, last_delta, base_time, _, _,
         _, _, attributes, count, uncompressed, append_time) = BATCH.unpack_from(data)
        checksum = struct.unpack_from("<Q", data, 88)[0]
        if magic != b"TIDB" or version != 1 or words != 12:
            raise ProtocolError(f"no batch: {data[:8].hex()}")
        if checksum != xxh3(data[:88], batch_seed(topic, partition)):
            raise ProtocolError("a batch's header checksum is wrong")
        stored = data[BATCH_BYTES:BATCH_BYTES + records_bytes]
        if len(stored) != records_bytes or xxh3(stored) != records_checksum:
            raise ProtocolError("a batch's records checksum is wrong")
        codec = next(name for name, number in CODECS.items() if number == attributes & 7)
        plain = codecs_by_hand.decompress(codec, stored, uncompressed)
        batches.append(Batch(base_offset, epoch, last_delta, codec, append_time, stored,
                             decode_records(plain, count, base_offset, base_time)))
        data = data[BATCH_BYTES + records_bytes:]
    return batches


# ---- the connection ----

class Connection:
    def __init__(self, schema, host, port, timeout=20):
        self.schema = schema
        self.socket = socket.create_connection((host, port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.last_correlation = 0
        self.frame_bytes_max = 8 << 20
        self.notices = []
        self.waiting = {}  # correlation id -> frames that came while another one was waited for

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def _receive(self, count):
        data = bytearray()
        while len(data) < count:
            part = self.socket.recv(count - len(data))
            if not part:
                raise Closed(f"the broker ended the connection after {len(data)} of {count} bytes")
            data += part
        return bytes(data)

    def receive_frame(self):
        """The next frame, checked in the order that PROTOCOL.md names."""
        prefix = self._receive(PREFIX_BYTES)
        magic, length, correlation, api, version, flags, zero, table_bytes = PREFIX.unpack_from(prefix)
        checksum = struct.unpack_from("<I", prefix, 28)[0]
        if magic != b"TIDE":
            raise ProtocolError(f"wrong magic {magic!r}")
        if length > self.frame_bytes_max:
            raise ProtocolError(f"a frame of {length} bytes")
        raw_at = (PREFIX_BYTES + table_bytes + 7) // 8 * 8
        if raw_at > length:
            raise ProtocolError("a table longer than its frame")
        if flags & ~3 or zero:
            raise ProtocolError("unknown flags")
        rest = self._receive(length - PREFIX_BYTES)
        table = rest[:table_bytes]
        if checksum != xxh3(prefix[:28] + table) & 0xFFFFFFFF:
            raise ProtocolError("wrong frame checksum")
        if any(rest[table_bytes:raw_at - PREFIX_BYTES]):
            raise ProtocolError("the padding is not zeros")
        return Frame(correlation, api, version, flags, table, rest[raw_at - PREFIX_BYTES:])

    def send(self, api, table, raw=b"", **head):
        """Sends a request and returns its correlation id. `api` is a name, or a number."""
        self.last_correlation += 1
        head.setdefault("correlation", self.last_correlation)
        self.socket.sendall(encode_frame(APIS.get(api, api), table, raw, **head))
        return head["correlation"]

    def request(self, api, raw=b"", **fields):
        """As send(), with the table made from its fields."""
        return self.send(api, self.schema.encode(self.schema.make(TABLES[api] + "Request", **fields)), raw)

    def wait(self, correlation):
        """The next part of the answer to a request; notices and other answers are kept."""
        while not self.waiting.get(correlation):
            frame = self.receive_frame()
            if frame.correlation == 0:
                self.notices.append(self.schema.decode("Notice", frame.table))
            else:
                if not frame.flags & ANSWER:
                    raise ProtocolError("the broker sent a request")
                self.waiting.setdefault(frame.correlation, []).append(frame)
        return self.waiting[correlation].pop(0)

    def answer(self, correlation):
        """Every part of an answer: (tables, raw bytes)."""
        tables, raw = [], b""
        while True:
            frame = self.wait(correlation)
            name = next((table for key, table in TABLES.items() if APIS[key] == frame.api), None)
            if self.status_of(self.schema.decode("AnyAnswer", frame.table)).code != 0 or name is None:
                name = "Any"
            tables.append(self.schema.decode(name + "Answer", frame.table))
            raw += frame.raw
            if not frame.flags & MORE_PARTS:
                return tables, raw

    def call(self, api, raw=b"", **fields):
        """One request and its answer, which must be in one part."""
        tables, _ = self.answer(self.request(api, raw, **fields))
        if len(tables) != 1:
            raise ProtocolError(f"an answer to {api} in {len(tables)} parts")
        return tables[0]

    def next_notice(self):
        """The next notice; answers that come before it are kept."""
        while not self.notices:
            frame = self.receive_frame()
            if frame.correlation == 0:
                self.notices.append(self.schema.decode("Notice", frame.table))
            else:
                self.waiting.setdefault(frame.correlation, []).append(frame)
        return self.notices.pop(0)

    @dataclass
    class Status:
        code: int
        message: str
        leader_id: int
        leader_address: str = ""
        leader_epoch: int = -1

    def status_of(self, table):
        """The status of an answer, a result or a notice; absent is success."""
        status = table.Status()
        if status is None:
            return self.Status(0, "", -1)
        message = status.Message()
        address = status.LeaderAddress()
        return self.Status(status.Code(), message.decode() if message else "", status.LeaderId(),
                           address.decode() if address else "", status.LeaderEpoch())

    def hello(self, **fields):
        fields = {"clientName": "conformance", "clientVersion": "1", "frameBytesMax": self.frame_bytes_max, **fields}
        return self.call("hello", **fields)

    def ended(self, seconds=20):
        """True when the broker ends the connection; what it still sends is thrown away."""
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                if not self.socket.recv(65536):
                    return True
        except ConnectionError:
            return True
        return False


def default_schema():
    return pathlib.Path(__file__).resolve().parents[2] / "wire" / "protocol.fbs"
