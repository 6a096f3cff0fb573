"""Sending again: numbered batches are in the log once, in order, and refused for a reason."""

from protocol_client import encode_batch
from world import check, records


def new_producer(world, connection):
    answer = connection.call("init_producer_id")
    world.expect(connection.status_of(answer), "OK")
    assert answer.ProducerId() >= 0 and answer.ProducerEpoch() == 0
    return answer.ProducerId()


def numbered(topic, producer, sequence, *values, epoch=0, partition=0):
    return encode_batch(topic, partition, records(*values), producer_id=producer, producer_epoch=epoch,
                        base_sequence=sequence)


def values_of(world, connection, topic, partition=0):
    found, offset = [], 0
    while True:
        _, news = world.fetch(connection, changed=[world.fetch_partition(topic, partition, offset)])
        result, batches = news[0]
        found += [record.value for batch in batches for record in batch.records]
        offset = result.NextOffset()
        if offset == result.HighWatermark():
            return found


@check
def producers_get_ids_that_nobody_has(world):
    with world.connect() as connection, world.connect() as another:
        ids = [new_producer(world, one) for _ in range(20) for one in (connection, another)]
        assert len(set(ids)) == len(ids), ids
        world.say(f"ids {min(ids)} to {max(ids)}")


@check
def a_batch_that_is_sent_again_is_answered_as_its_original(world):
    with world.connect() as connection:
        _, topic = world.topic(connection, 2)
        producer = new_producer(world, connection)
        first = numbered(topic, producer, 0, b"a", b"b", b"c")
        second = numbered(topic, producer, 3, b"d")
        assert world.produce(connection, topic, 0, first).BaseOffset() == 0
        world.produce(connection, topic, 0, encode_batch(topic, 0, records(b"by somebody else")))
        assert world.produce(connection, topic, 0, second).BaseOffset() == 4
        with world.connect() as later:  # a producer that lost its connection
            for acks in (1, 2):
                again = world.produce(later, topic, 0, first, acks=acks)
                assert again.BaseOffset() == 0 and again.AppendTimeUs() == -1
                assert world.produce(later, topic, 0, second, acks=acks).BaseOffset() == 4
            part = numbered(topic, producer, 1, b"b", b"c")
            assert world.produce(later, topic, 0, part).BaseOffset() == 1, "a part of a batch is known too"
        # Each partition counts for itself.
        assert world.produce(connection, topic, 1, numbered(topic, producer, 0, b"a", partition=1)).BaseOffset() == 0
        assert values_of(world, connection, topic) == [b"a", b"b", b"c", b"by somebody else", b"d"]


@check
def a_gap_is_refused_until_the_sequence_goes_on_or_an_epoch_begins(world):
    with world.connect() as connection:
        _, topic = world.topic(connection)
        producer = new_producer(world, connection)
        world.produce(connection, topic, 0, numbered(topic, producer, 5, b"x"), "UNKNOWN_PRODUCER")
        world.produce(connection, topic, 0, numbered(topic, producer, 0, b"a", b"b"))
        for sequence in (3, 4, 1_000_000):
            world.produce(connection, topic, 0, numbered(topic, producer, sequence, b"x"), "OUT_OF_ORDER_SEQUENCE")
        overlapping = numbered(topic, producer, 1, b"b", b"c")
        world.produce(connection, topic, 0, overlapping, "OUT_OF_ORDER_SEQUENCE")
        world.produce(connection, topic, 0, numbered(topic, producer, 2, b"c"))
        # What would fill the gap never comes: a new epoch counts from 0, and from 0 only.
        world.produce(connection, topic, 0, numbered(topic, producer, 4, b"e"), "OUT_OF_ORDER_SEQUENCE")
        world.produce(connection, topic, 0, numbered(topic, producer, 4, b"e", epoch=1), "OUT_OF_ORDER_SEQUENCE")
        assert world.produce(connection, topic, 0, numbered(topic, producer, 0, b"e", epoch=1)).BaseOffset() == 3
        assert world.produce(connection, topic, 0, numbered(topic, producer, 0, b"e", epoch=1)).BaseOffset() == 3
        assert values_of(world, connection, topic) == [b"a", b"b", b"c", b"e"]


@check
def an_old_epoch_is_refused(world):
    with world.connect() as connection:
        _, topic = world.topic(connection)
        producer = new_producer(world, connection)
        old = numbered(topic, producer, 0, b"old")
        world.produce(connection, topic, 0, old)
        world.produce(connection, topic, 0, numbered(topic, producer, 0, b"new", epoch=1))
        for late in (old, numbered(topic, producer, 1, b"late"), numbered(topic, producer, 0, b"late")):
            world.produce(connection, topic, 0, late, "FENCED_PRODUCER")
        assert values_of(world, connection, topic) == [b"old", b"new"]


@check
def a_numbered_batch_is_alone_in_its_entry(world):
    with world.connect() as connection:
        _, topic = world.topic(connection)
        producer = new_producer(world, connection)
        one, other = numbered(topic, producer, 0, b"a"), numbered(topic, producer, 1, b"b")
        world.produce(connection, topic, 0, one + other, "INVALID_BATCH")
        world.produce(connection, topic, 0, encode_batch(topic, 0, records(b"x")) + one, "INVALID_BATCH")
        for wrong in ({"producer_id": producer}, {"producer_id": producer, "producer_epoch": 0},
                      {"producer_epoch": 0, "base_sequence": 0}):
            raw = encode_batch(topic, 0, records(b"x"), **wrong)
            world.produce(connection, topic, 0, raw, "INVALID_BATCH")
        assert world.produce(connection, topic, 0, one).BaseOffset() == 0
