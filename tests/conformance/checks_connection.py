"""Hello, frames, strangers, and the end of a connection."""

import struct
import threading
import time

from protocol_client import APIS, encode_frame
from world import check, document_block


@check
def hello_of_the_document_is_answered(world):
    with world.connect(hello=False) as connection:
        connection.socket.sendall(document_block("hello-request"))
        tables, _ = connection.answer(1)
        answer = tables[0]
        world.expect(connection.status_of(answer), "OK")
        apis = {answer.Apis(i).Key(): (answer.Apis(i).VersionMin(), answer.Apis(i).VersionMax())
                for i in range(answer.ApisLength())}
        missing = [name for name, key in APIS.items() if key not in apis]
        assert not missing, f"the broker does not name {missing}"
        assert answer.BatchBytesMax() + 65536 <= answer.FrameBytesMax()
        assert 0 <= answer.Shard() < answer.ShardCount()
        world.say(f"broker {answer.BrokerId()} {answer.BrokerVersion().decode()}, frames of {answer.FrameBytesMax()}, "
                  f"APIs {sorted(apis)}")


@check
def only_hello_and_ping_come_before_a_hello(world):
    with world.connect(hello=False) as connection:
        world.expect(connection.status_of(connection.call("metadata")), "HELLO_REQUIRED")
        assert connection.call("ping").WallMs() > 1_600_000_000_000
        world.expect(connection.status_of(connection.hello()), "OK")
        world.expect(connection.status_of(connection.hello()), "INVALID_ARGUMENT")


@check
def hello_is_refused_for_what_cannot_work(world):
    with world.connect(hello=False) as connection:
        world.expect(connection.status_of(connection.hello(frameBytesMax=65536)), "TOO_LARGE")
        world.expect(connection.status_of(connection.hello(features=["time-travel"])), "UNSUPPORTED_FEATURE")
        other = world.schema.uuid(bytes(range(1, 17)))
        world.expect(connection.status_of(connection.hello(clusterId=other)), "WRONG_CLUSTER")
        world.expect(connection.status_of(connection.hello()), "OK")


@check
def unknown_apis_and_versions_are_errors_and_not_the_end(world):
    with world.connect() as connection:
        for api, version, name in ((999, 1, "UNSUPPORTED_API"), (0, 1, "UNSUPPORTED_API"),
                                   (APIS["ping"], 99, "UNSUPPORTED_VERSION"), (APIS["ping"], 0, "UNSUPPORTED_VERSION")):
            tables, _ = connection.answer(connection.send(api, b"", version=version))
            world.expect(connection.status_of(tables[0]), name)
        world.expect(connection.status_of(connection.call("ping")), "OK")


@check
def tables_that_are_not_sound_are_answered(world):
    with world.connect() as connection:
        sound = world.schema.encode(world.schema.make("MetadataRequest", names=["a", "b"]))
        wrong_root = struct.pack("<I", 1 << 30) + sound[4:]
        for table in (b"", b"\xff" * 64, sound[:len(sound) // 2], wrong_root):
            tables, _ = connection.answer(connection.send("metadata", table))
            world.expect(connection.status_of(tables[0]), "MALFORMED_FRAME")
        world.expect(connection.status_of(connection.call("ping")), "OK")


def expect_closed(world, sent, error, words, hello=False):
    """The broker says why in a notice, and ends the connection."""
    with world.connect(hello) as connection:
        connection.socket.sendall(sent)
        begun = time.monotonic()
        notice = connection.next_notice()
        status = connection.status_of(notice)
        world.expect(status, error)
        assert notice.Kind() == 0, "Closing"
        assert words in status.message, f"'{words}' is not in '{status.message}'"
        assert connection.ended(), "the connection stays open"
        assert time.monotonic() - begun < 5, "it took too long"


@check
def strangers_are_told_whom_they_met(world):
    long_http = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nUser-Agent: x\r\nAccept: */*\r\n\r\n"
    tls = bytes.fromhex("1603010200010001fc0303") + bytes(200)
    other_request = struct.pack(">ihhih", 35, 18, 3, 1, 9) + b"rdkafka-1" + bytes(16)
    short_request = struct.pack(">ihhih", 11, 18, 0, 1, 1) + b"x"
    for sent, words in ((long_http, "HTTP"), (b"GET / HTTP/1.0\r\n\r\n", "HTTP"), (tls, "TLS"),
                        (other_request, "Apache Kafka"), (short_request, "Apache Kafka"), (b"hello\n", "68 65 6c 6c 6f")):
        expect_closed(world, sent, "MALFORMED_FRAME", words)


@check
def frames_that_cannot_be_followed_end_the_connection(world):
    ping = world.schema.encode(world.schema.make("PingRequest"))
    sound = encode_frame(APIS["ping"], ping)

    def changed(at, data):
        return sound[:at] + data + sound[at + len(data):]

    for sent, error, words in (
            (changed(28, b"\0\0\0\0"), "CHECKSUM_MISMATCH", "checksum"),
            (changed(4, struct.pack("<I", 65537)), "TOO_LARGE", "65536"),
            (changed(4, struct.pack("<I", 0xFFFFFFFF)), "TOO_LARGE", "65536"),
            (changed(4, struct.pack("<I", 31)), "MALFORMED_FRAME", "31 bytes"),
            (changed(24, struct.pack("<I", 1 << 31)), "MALFORMED_FRAME", "cannot hold a table"),
            (changed(20, b"\x04"), "MALFORMED_FRAME", "flags"), (changed(22, b"\x01"), "MALFORMED_FRAME", "flags"),
            (encode_frame(APIS["ping"], ping, flags=1), "MALFORMED_FRAME", "flags"),
            (encode_frame(APIS["ping"], ping, correlation=0), "MALFORMED_FRAME", "correlation id 0")):
        expect_closed(world, sent, error, words)
    padded = encode_frame(APIS["ping"], ping + b"\0" * (1 - len(ping) % 8 + 8 if len(ping) % 8 == 0 else 0))
    if len(padded) > 32 + len(ping):
        expect_closed(world, padded[:-1] + b"\1", "CHECKSUM_MISMATCH", "padding")


@check
def frames_may_be_as_large_as_the_hello_says_and_no_larger(world):
    ping = world.schema.encode(world.schema.make("PingRequest"))
    with world.connect(hello=False) as connection:
        head = len(encode_frame(APIS["ping"], ping))
        connection.socket.sendall(encode_frame(APIS["ping"], ping, bytes(65536 - head), correlation=9))
        world.expect(connection.status_of(connection.answer(9)[0][0]), "OK")
        limit = connection.hello().FrameBytesMax()
        connection.socket.sendall(encode_frame(APIS["ping"], ping, bytes(limit - head), correlation=10))
        world.expect(connection.status_of(connection.answer(10)[0][0]), "OK")
    too_long = encode_frame(APIS["ping"], ping)
    too_long = too_long[:4] + struct.pack("<I", limit + 1) + too_long[8:]
    expect_closed(world, too_long, "TOO_LARGE", str(limit), hello=True)


@check
def frames_come_in_any_pieces(world):
    ping = world.schema.encode(world.schema.make("PingRequest"))
    with world.connect() as connection:
        many = b"".join(encode_frame(APIS["ping"], ping, correlation=100 + i) for i in range(200))
        connection.socket.sendall(many)
        for i in range(200):
            world.expect(connection.status_of(connection.answer(100 + i)[0][0]), "OK")
        for byte in encode_frame(APIS["ping"], ping, b"raw bytes", correlation=999):
            connection.socket.sendall(bytes([byte]))
        world.expect(connection.status_of(connection.answer(999)[0][0]), "OK")


