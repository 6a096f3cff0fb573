"""Topics and metadata."""

from protocol_client import Connection
from world import check


@check
def topics_are_made_described_and_deleted(world):
    schema = world.schema
    with world.connect() as connection:
        name, topic = world.topic(connection, 3, [("segment.bytes", "1MiB")])
        world.expect(connection.status_of(connection.call("create_topic", name=name)), "TOPIC_EXISTS")
        for fields, error in ((dict(name="a b"), "INVALID_TOPIC_NAME"), (dict(name="x" * 250), "INVALID_TOPIC_NAME"),
                              (dict(name="ok", partitions=10_001), "INVALID_PARTITIONS"),
                              (dict(name="ok", partitions=-1), "INVALID_PARTITIONS"),
                              (dict(name="ok", replicationFactor=9), "INVALID_REPLICATION_FACTOR"),
                              (dict(name="ok", settings=[schema.make("Setting", name="no.such", value="1")]),
                               "INVALID_SETTING")):
            world.expect(connection.status_of(connection.call("create_topic", **fields)), error)
        described = connection.call("describe_topic", name=name)
        world.expect(connection.status_of(described), "OK")
        assert schema.uuid_bytes(described.Id()) == topic
        settings = {described.Settings(i).Name(): described.Settings(i).Value()
                    for i in range(described.SettingsLength())}
        assert settings[b"segment.bytes"] == b"1048576", settings
        assert described.PartitionsLength() == 3 and described.Partitions(2).HighWatermark() == 0
        world.expect(connection.status_of(connection.call("delete_topic", name=name)), "OK")
        world.expect(connection.status_of(connection.call("delete_topic", name=name)), "UNKNOWN_TOPIC")
        world.expect(connection.status_of(connection.call("describe_topic", name=name)), "UNKNOWN_TOPIC")


@check
def metadata_tells_ids_leaders_and_an_address_that_works(world):
    schema = world.schema
    with world.connect() as connection:
        name, topic = world.topic(connection, 4)
        by_name = connection.call("metadata", names=[name, "no-such-topic"])
        world.expect(connection.status_of(by_name), "OK")
        assert by_name.TopicsLength() == 2
        known, unknown = by_name.Topics(0), by_name.Topics(1)
        world.expect(connection.status_of(unknown), "UNKNOWN_TOPIC")
        assert schema.uuid_bytes(known.Id()) == topic and known.PartitionsLength() == 4
        leader = known.Partitions(3).Leader()
        brokers = {by_name.Brokers(i).Id(): (by_name.Brokers(i).Host().decode(), by_name.Brokers(i).Port())
                   for i in range(by_name.BrokersLength())}
        with Connection(schema, *brokers[leader]) as again:
            world.expect(again.status_of(again.hello()), "OK")
        world.say(f"leader {leader} at {brokers[leader]}, epoch {known.Partitions(3).LeaderEpoch()}")
        by_id = connection.call("metadata", ids=[schema.uuid(topic), schema.uuid(bytes(16))])
        assert by_id.Topics(0).Name().decode() == name
        world.expect(connection.status_of(by_id.Topics(1)), "UNKNOWN_TOPIC")
        everything = connection.call("metadata")
        assert name in {everything.Topics(i).Name().decode() for i in range(everything.TopicsLength())}


@check
def metadata_comes_in_pages(world):
    with world.connect() as connection:
        name, _ = world.topic(connection, 1000)
        asked = [name] * 100  # some 16 KB each
        pages = 0
        while asked:
            page = connection.call("metadata", names=asked)
            world.expect(connection.status_of(page), "OK")
            assert page.TopicsLength() > 0 and page.More() == (page.TopicsLength() < len(asked))
            asked = asked[page.TopicsLength():]
            pages += 1
        assert pages > 1
        world.say(f"{pages} pages")
        names, after, more = [], "", True
        while more:
            page = connection.call("metadata", all=True, after=after)
            names += [page.Topics(i).Name() for i in range(page.TopicsLength())]
            after, more = names[-1].decode(), page.More()
        assert names == sorted(names) and name.encode() in names
        last = connection.call("metadata", all=True, after=names[-1].decode())
        assert last.TopicsLength() == 0 and not last.More()
        world.expect(connection.status_of(connection.call("metadata", names=["x" * 70_000])), "TOO_LARGE")
        long_name = connection.call("metadata", names=["x" * 250, name])
        world.expect(connection.status_of(long_name.Topics(0)), "INVALID_TOPIC_NAME")
        world.expect(connection.status_of(long_name.Topics(1)), "OK")
