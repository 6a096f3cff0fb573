"""Produce, fetch, and where records are."""

import time

from protocol_client import BATCH_BYTES, CODECS, Record, encode_batch
from world import check, records


@check
def a_produced_batch_comes_back_byte_for_byte(world):
    with world.connect() as connection:
        _, topic = world.topic(connection)
        sent = [Record(b"hello", b"k"), Record(b"", None, [(b"h", b"1"), (b"n", None)], 1_700_000_000_300),
                Record(None, b"", [], 1_699_999_999_995)]
        raw = encode_batch(topic, 0, sent)
        result = world.produce(connection, topic, 0, raw)
        assert result.BaseOffset() == 0 and result.StartOffset() == 0
        assert result.AppendTimeUs() == -1  # the records keep their own timestamps
        _, news = world.fetch(connection, changed=[world.fetch_partition(topic)])
        result, batches = news[0]
        assert result.NextOffset() == 3 and result.HighWatermark() == 3
        assert batches[0].stored == raw[BATCH_BYTES:] and batches[0].base_offset == 0
        for number, (read, record) in enumerate(zip(batches[0].records, sent, strict=True)):
            record.offset = number
            assert read == record, f"{read} instead of {record}"


@check
def the_time_of_the_append_is_told_where_it_is_the_records_timestamp(world):
    with world.connect() as connection:
        _, topic = world.topic(connection, settings=(("message.timestamp.type", "LogAppendTime"),))
        before = time.time()
        told = world.produce(connection, topic, 0, encode_batch(topic, 0, [Record(b"v", b"k", [], 1)])).AppendTimeUs()
        assert abs(told / 1e6 - before) < 60, told
        _, news = world.fetch(connection, changed=[world.fetch_partition(topic)])
        _, batches = news[0]
        assert batches[0].append_time == told, f"{batches[0].append_time} instead of {told}"


@check
def every_codec_is_stored_and_read_back(world):
    with world.connect() as connection:
        _, topic = world.topic(connection)
        offset = 0
        for codec in CODECS:
            values = [f"{codec} {i} ".encode() * 50 for i in range(100)]
            result = world.produce(connection, topic, 0, encode_batch(topic, 0, records(*values), codec))
            assert result.BaseOffset() == offset
            _, news = world.fetch(connection, changed=[world.fetch_partition(topic, offset=offset)])
            batch = news[0][1][0]
            assert batch.codec == codec and [record.value for record in batch.records] == values
            world.say(f"{codec}: {len(batch.stored)} bytes stored")
            offset += 100


@check
def entries_of_a_request_settle_one_by_one(world):
    with world.connect() as connection:
        _, topic = world.topic(connection, 3)
        good = [encode_batch(topic, partition, records(b"x")) for partition in range(3)]
        entries = [(topic, 0, good[0] + encode_batch(topic, 0, records(b"y", b"z"))), (topic, 1, good[0]),
                   (topic, 2, good[2]), (topic, 3, good[2]), (bytes(16), 0, good[0])]
        results = world.produce_parts(connection, entries)
        for key, error in (((topic, 0), "OK"), ((topic, 1), "CHECKSUM_MISMATCH"), ((topic, 2), "OK"),
                           ((topic, 3), "UNKNOWN_PARTITION"), ((bytes(16), 0), "UNKNOWN_TOPIC")):
            world.expect(connection.status_of(results[key]), error)
        assert world.offsets(connection, topic, -1).Offset() == 3, "two batches of one entry"


@check
def batches_that_are_not_sound_are_refused(world):
    with world.connect() as connection:
        _, topic = world.topic(connection, settings=[("max.message.bytes", "4096")])
        sound = records(b"value")
        plain = encode_batch(topic, 0, sound)
        flipped = plain[:-1] + bytes([plain[-1] ^ 1])
        for raw, error in ((flipped, "CHECKSUM_MISMATCH"),
                           (encode_batch(topic, 0, sound, header_checksum=1), "CHECKSUM_MISMATCH"),
                           (encode_batch(topic, 1, sound), "CHECKSUM_MISMATCH"),
                           (encode_batch(topic, 0, sound, attributes=5), "UNSUPPORTED_CODEC"),
                           (encode_batch(topic, 0, sound, magic=b"JUNK"), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, version=2), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, words=13), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, flags=4), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, flags=2), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, attributes=32), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, base_offset=7), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, leader_epoch=1), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, append_time=1), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, crc32c=1), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, record_count=0), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, record_count=1000), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, last_offset_delta=5), "INVALID_BATCH"),
                           (encode_batch(topic, 0, sound, base_sequence=0), "INVALID_BATCH"),
                           (encode_batch(topic, 0, records(b"v" * 5000)), "BATCH_TOO_LARGE")):
            world.produce(connection, topic, 0, raw, error)
        assert world.offsets(connection, topic, -1).Offset() == 0, "nothing was appended"
        world.produce(connection, topic, 0, plain)


@check
def produce_requests_that_contradict_themselves_fail_whole(world):
    schema = world.schema
    with world.connect() as connection:
        _, topic = world.topic(connection)
        raw = encode_batch(topic, 0, records(b"x"))

        def entry(count):
            return schema.make("ProduceEntry", topic=schema.uuid(topic), partition=0, bytes=count)

        for entries, sent in (([entry(len(raw) + 1)], raw), ([entry(len(raw))] * 2, raw * 2), ([], b"")):
            tables, _ = connection.answer(connection.request("produce", sent, entries=entries))
            world.expect(connection.status_of(tables[0]), "INVALID_ARGUMENT")


@check
def acks_none_has_no_answer_and_leader_has_one(world):
    schema = world.schema
    with world.connect() as connection:
        _, topic = world.topic(connection)
        raw = encode_batch(topic, 0, records(b"x"))
        entry = schema.make("ProduceEntry", topic=schema.uuid(topic), partition=0, bytes=len(raw))
        connection.request("produce", raw, acks=0, entries=[entry])
        result = world.produce(connection, topic, 0, raw, acks=1)
        assert result.BaseOffset() == 1, "requests of a connection are carried out in order"
        world.expect(connection.status_of(connection.call("ping")), "OK")
        assert not connection.waiting.get(connection.last_correlation - 2), "acks=none was answered"


@check
def a_mistake_without_an_answer_ends_the_connection(world):
    schema = world.schema
    with world.connect() as connection:
        _, topic = world.topic(connection)
        raw = encode_batch(topic, 0, records(b"x"))
        refused = schema.make("ProduceEntry", topic=schema.uuid(topic), partition=9, bytes=len(raw))
        connection.request("produce", raw, acks=0, entries=[refused])
        world.expect(connection.status_of(connection.call("ping")), "OK")
        wrong = schema.make("ProduceEntry", topic=schema.uuid(topic), partition=0, bytes=len(raw) + 1)
        connection.request("produce", raw, acks=0, entries=[wrong])
        world.expect(connection.status_of(connection.next_notice()), "INVALID_ARGUMENT")
        assert connection.ended()


@check
def open_requests_keep_their_order_in_a_partition(world):
    schema = world.schema
    with world.connect() as connection:
        _, topic = world.topic(connection)
        asked = []
        for i in range(50):
            raw = encode_batch(topic, 0, records(b"%d" % i))
            entry = schema.make("ProduceEntry", topic=schema.uuid(topic), partition=0, bytes=len(raw))
            asked.append(connection.request("produce", raw, entries=[entry]))
        offsets = [connection.answer(correlation)[0][0].Results(0).BaseOffset() for correlation in asked]
        assert offsets == list(range(50)), offsets


@check
def a_session_goes_on_where_it_is(world):
    with world.connect() as connection:
        _, topic = world.topic(connection, 2)
        for partition in range(2):
            world.produce(connection, topic, partition, encode_batch(topic, partition, records(b"a", b"b")))
        answer, news = world.fetch(connection, minBytes=300,
                                   changed=[world.fetch_partition(topic, partition) for partition in range(2)])
        session = answer.Session()
        assert session != 0 and {result.Partition() for result, _ in news} == {0, 1}
        world.produce(connection, topic, 1, encode_batch(topic, 1, records(b"c")))
        _, news = world.fetch(connection, session=session, maxWaitMs=10_000)
        assert [(result.Partition(), batches[0].records[0].value) for result, batches in news] == [(1, b"c")]
        _, news = world.fetch(connection, session=session, maxWaitMs=0)
        assert not news, "no news, no results"
        schema = world.schema
        forgotten = schema.make("ForgottenPartition", topic=schema.uuid(topic), partition=1)
        world.produce(connection, topic, 1, encode_batch(topic, 1, records(b"d")))
        _, news = world.fetch(connection, session=session, maxWaitMs=0, forgotten=[forgotten],
                              changed=[world.fetch_partition(topic, 0, offset=1)])
        assert [(result.Partition(), batches[0].base_offset) for result, batches in news] == [(0, 0)], \
            "moved into a batch: it comes whole"
        world.fetch(connection, session=session, closeSession=True)
        world.fetch(connection, "UNKNOWN_SESSION", session=session)


@check
def a_fetch_waits_for_news_and_no_longer(world):
    with world.connect() as connection, world.connect() as other:
        _, topic = world.topic(connection)
        begun = time.monotonic()
        answer, news = world.fetch(connection, maxWaitMs=300, changed=[world.fetch_partition(topic)])
        waited = time.monotonic() - begun
        assert not news and 0.25 < waited < 10, f"waited {waited} s"
        asked = world.ask_fetch(connection, session=answer.Session(), maxWaitMs=30_000)
        world.expect(connection.status_of(connection.call("ping")), "OK")  # overtakes it
        world.produce(other, topic, 0, encode_batch(topic, 0, records(b"news")))
        begun = time.monotonic()
        _, news = world.fetched(connection, asked)
        assert news[0][1][0].records[0].value == b"news" and time.monotonic() - begun < 15
        asked = world.ask_fetch(connection, session=answer.Session(), maxWaitMs=30_000, minBytes=400)
        for _ in range(4):
            world.produce(other, topic, 0, encode_batch(topic, 0, records(b"more")))
        _, news = world.fetched(connection, asked)
        assert news[0][0].Bytes() >= 400, "min_bytes are waited for"


@check
def two_open_fetches_are_answered_in_order(world):
    with world.connect() as connection, world.connect() as other:
        _, topic = world.topic(connection)
        answer, _ = world.fetch(connection, maxWaitMs=0, changed=[world.fetch_partition(topic)])
        first = world.ask_fetch(connection, session=answer.Session(), maxWaitMs=20_000)
        second = world.ask_fetch(connection, session=answer.Session(), maxWaitMs=20_000)
        world.produce(other, topic, 0, encode_batch(topic, 0, records(b"1")))
        _, news = world.fetched(connection, first)
        assert news[0][0].NextOffset() == 1
        world.produce(other, topic, 0, encode_batch(topic, 0, records(b"2")))
        _, news = world.fetched(connection, second)
        assert news[0][0].NextOffset() == 2


@check
def places_that_cannot_be_read_are_named(world):
    with world.connect() as connection:
        name, topic = world.topic(connection)
        world.produce(connection, topic, 0, encode_batch(topic, 0, records(b"a", b"b", b"c")))
        epoch = connection.call("metadata", names=[name]).Topics(0).Partitions(0).LeaderEpoch()
        for place, error in ((dict(offset=4), "OFFSET_OUT_OF_RANGE"), (dict(offset=-1), "OFFSET_OUT_OF_RANGE"),
                             (dict(offset=2, last_epoch=epoch + 5), "DIVERGED"),
                             (dict(offset=9, last_epoch=epoch), "DIVERGED"),
                             (dict(leader_epoch=epoch + 1), "NOT_LEADER"),
                             (dict(partition=1), "UNKNOWN_PARTITION")):
            _, news = world.fetch(connection, maxWaitMs=10_000, changed=[world.fetch_partition(topic, **place)])
            result, batches = news[0]
            assert not batches
            status = connection.status_of(result)
            world.expect(status, error)
            if error == "NOT_LEADER":
                assert (status.leader_epoch, status.leader_address) == (epoch, f"{world.host}:{world.port}"), status
            if error == "DIVERGED":
                assert result.DivergingEpoch() == epoch and result.DivergingOffset() <= 3
            if error == "OFFSET_OUT_OF_RANGE":
                assert result.StartOffset() == 0 and result.HighWatermark() == 3
        _, news = world.fetch(connection, changed=[world.fetch_partition(topic, offset=2, last_epoch=epoch,
                                                                         leader_epoch=epoch)])
        assert news[0][1][0].records[2].value == b"c"
        _, news = world.fetch(connection, changed=[world.fetch_partition(bytes(16))])
        world.expect(connection.status_of(news[0][0]), "UNKNOWN_TOPIC")


@check
def a_whole_batch_comes_whatever_the_limits(world):
    with world.connect() as connection:
        _, topic = world.topic(connection)
        world.produce(connection, topic, 0, encode_batch(topic, 0, records(b"v" * 100_000)))
        _, news = world.fetch(connection, bytesMax=1, changed=[world.fetch_partition(topic, bytes_max=1)])
        assert len(news[0][1][0].records[0].value) == 100_000


@check
def offsets_are_found_by_place_and_by_time(world):
    with world.connect() as connection:
        _, topic = world.topic(connection)
        for start in (1000, 2000, 3000):
            world.produce(connection, topic, 0, encode_batch(topic, 0, records(b"a", b"b", start=start)))
        for timestamp, offset in ((-2, 0), (-1, 6), (0, 0), (1001, 0), (1002, 2), (2001, 2), (2002, 4), (3002, -1)):
            result = world.offsets(connection, topic, timestamp)
            world.expect(connection.status_of(result), "OK")
            assert result.Offset() == offset, f"{timestamp} ms: {result.Offset()} instead of {offset}"
        world.expect(connection.status_of(world.offsets(connection, topic, -1, partition=9)), "UNKNOWN_PARTITION")
        entry = world.schema.make("ListOffsetsEntry", topic=world.schema.uuid(topic), partition=0, timestampMs=-3)
        refused = connection.call("list_offsets", entries=[entry])
        world.expect(connection.status_of(refused), "INVALID_ARGUMENT")


@check
def epochs_end_where_their_records_end(world):
    schema = world.schema
    with world.connect() as connection:
        name, topic = world.topic(connection)
        world.produce(connection, topic, 0, encode_batch(topic, 0, records(b"a", b"b")))
        now = connection.call("metadata", names=[name]).Topics(0).Partitions(0).LeaderEpoch()
        asked = [schema.make("EpochEndEntry", topic=schema.uuid(topic), partition=partition, epoch=epoch)
                 for partition, epoch in ((0, now), (0, now + 7), (0, -1), (5, now))]
        answer = connection.call("epoch_end", entries=asked)
        world.expect(connection.status_of(answer), "OK")
        for i in (0, 1):
            result = answer.Results(i)
            assert (result.Epoch(), result.EndOffset(), result.LeaderEpoch()) == (now, 2, now)
        assert answer.Results(2).Epoch() == -1
        world.expect(connection.status_of(answer.Results(3)), "UNKNOWN_PARTITION")


@check
def a_fetch_that_waits_can_be_cancelled(world):
    with world.connect() as connection:
        _, topic = world.topic(connection)
        answer, _ = world.fetch(connection, maxWaitMs=0, changed=[world.fetch_partition(topic)])
        asked = world.ask_fetch(connection, session=answer.Session(), maxWaitMs=60_000)
        cancelled = connection.call("cancel", correlation=asked)
        world.expect(connection.status_of(cancelled), "OK")
        assert cancelled.Found()
        _, news = world.fetched(connection, asked)
        assert not news
        assert not connection.call("cancel", correlation=asked).Found(), "it was answered"
        world.produce(connection, topic, 0, encode_batch(topic, 0, records(b"x")))
        _, news = world.fetch(connection, session=answer.Session(), maxWaitMs=10_000)
        assert news[0][0].NextOffset() == 1, "the session goes on"
