"""What the checks share: a registry of them, the broker's address, and words to expect with."""

import pathlib
import re
import time

from protocol_client import Connection, Record, decode_batches

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHECKS = []


def check(function):
    CHECKS.append(function)
    return function


def errors():
    """The table of errors in PROTOCOL.md: name -> number."""
    rows = re.findall(r"^\| (\d+) \| ([A-Z_]+) \|", (ROOT / "wire" / "PROTOCOL.md").read_text(), re.MULTILINE)
    return {name: int(number) for number, name in rows}


def document_block(name):
    """The bytes of a hex block of PROTOCOL.md."""
    text = (ROOT / "wire" / "PROTOCOL.md").read_text()
    block = re.search(rf"```hex {name}\n(.*?)```", text, re.DOTALL).group(1)
    return b"".join(bytes.fromhex(line[4:].split(";")[0]) for line in block.splitlines())


class World:
    """What the checks share: the broker's address, the schema, and words to expect with."""

    def __init__(self, host, port, schema, broker=None):
        self.host, self.port, self.schema, self.broker = host, port, schema, broker
        self.error_numbers = errors()
        self.topics = 0
        self.said = []

    def say(self, what):
        self.said.append(what)

    def connect(self, hello=True):
        connection = Connection(self.schema, self.host, self.port)
        if hello:
            self.expect(connection.status_of(connection.hello()), "OK")
        return connection

    def expect(self, status, name):
        found = next((known for known, number in self.error_numbers.items() if number == status.code), status.code)
        assert found == name, f"expected {name}, found {found}: {status.message}"
        if name != "OK":
            assert status.message, f"{name} came without a sentence"
            self.say(f"{name}: {status.message}")

    def topic(self, connection, partitions=1, settings=()):
        """A new topic: its name and id."""
        self.topics += 1
        name = f"conformance-{time.time_ns():x}-{self.topics}"
        made = [self.schema.make("Setting", name=key, value=value) for key, value in settings]
        answer = connection.call("create_topic", name=name, partitions=partitions, settings=made)
        self.expect(connection.status_of(answer), "OK")
        return name, self.schema.uuid_bytes(answer.Id())

    def produce_parts(self, connection, entries, acks=2, **fields):
        """Entries are (topic id, partition, bytes); the results by (topic id, partition)."""
        made = [self.schema.make("ProduceEntry", topic=self.schema.uuid(topic), partition=partition, bytes=len(raw))
                for topic, partition, raw in entries]
        correlation = connection.request("produce", b"".join(raw for _, _, raw in entries), acks=acks, entries=made,
                                         **fields)
        tables, _ = connection.answer(correlation)
        results = {}
        for table in tables:
            self.expect(connection.status_of(table), "OK")
            for i in range(table.ResultsLength()):
                result = table.Results(i)
                key = (self.schema.uuid_bytes(result.Topic()), result.Partition())
                assert key not in results, "a partition is in two parts of an answer"
                results[key] = result
        assert len(results) == len(entries), "a partition is missing in the answer"
        return results

    def produce(self, connection, topic, partition, raw, status="OK", **fields):
        result = self.produce_parts(connection, [(topic, partition, raw)], **fields)[(topic, partition)]
        self.expect(connection.status_of(result), status)
        return result

    def fetch_partition(self, topic, partition=0, offset=0, bytes_max=0, last_epoch=-1, leader_epoch=-1):
        return self.schema.make("FetchPartition", topic=self.schema.uuid(topic), partition=partition, offset=offset,
                                bytesMax=bytes_max, lastEpoch=last_epoch, currentLeaderEpoch=leader_epoch)

    def ask_fetch(self, connection, **fields):
        return connection.request("fetch", minBytes=fields.pop("minBytes", 1), **fields)

    def fetched(self, connection, correlation, status="OK"):
        """(answer table, [(result, batches)])."""
        tables, raw = connection.answer(correlation)
        assert len(tables) == 1, "a fetch answer in parts"
        table = tables[0]
        self.expect(connection.status_of(table), status)
        news, at = [], 0
        for i in range(table.ResultsLength() if status == "OK" else 0):
            result = table.Results(i)
            topic = self.schema.uuid_bytes(result.Topic())
            news.append((result, decode_batches(topic, result.Partition(), raw[at:at + result.Bytes()])))
            at += result.Bytes()
        assert at == len(raw), f"the results name {at} bytes, {len(raw)} came"
        return table, news

    def fetch(self, connection, status="OK", **fields):
        return self.fetched(connection, self.ask_fetch(connection, **fields), status)

    def offsets(self, connection, topic, timestamp, partition=0):
        entry = self.schema.make("ListOffsetsEntry", topic=self.schema.uuid(topic), partition=partition,
                                 timestampMs=timestamp)
        answer = connection.call("list_offsets", entries=[entry])
        self.expect(connection.status_of(answer), "OK")
        return answer.Results(0)


def records(*values, start=1_700_000_000_000):
    return [Record(value, timestamp=start + i) for i, value in enumerate(values)]
