#!/usr/bin/env python3
"""Five thousand connections at once: all are greeted, the memory each takes is bounded and told, the
broker serves others beside them, and forgets them when they go.

Usage: connections.py --binary BUILD/tools/tidelog [--connections N] [--sanitized]
Ends with 77 (skipped) where this machine allows too few open files.
"""

import argparse
import pathlib
import resource
import socket
import struct
import sys
import tempfile
import time
import urllib.request

from broker_process import Broker

# More than an idle connection takes, by far less than one that holds a large buffer.
BYTES_PER_CONNECTION_MAX = 16 * 1024
AT_ONCE = 200
SECONDS_MAX = 120
PROTOCOL = pathlib.Path(__file__).resolve().parents[2] / "wire" / "PROTOCOL.md"


def hello_bytes():
    """The hello of PROTOCOL.md, byte for byte."""
    lines = PROTOCOL.read_text().split("```hex hello-request\n")[1].split("```")[0].splitlines()
    hello = bytes.fromhex("".join(line.split(";")[0].split(" ", 1)[1] for line in lines))
    assert len(hello) == struct.unpack_from("<I", hello, 4)[0], "the document's hello is whole"
    return hello


def open_connections(address, count, hello):
    """`count` sockets, each greeted by the broker."""
    sockets = []
    for begin in range(0, count, AT_ONCE):
        batch = [socket.create_connection(address, timeout=SECONDS_MAX)
                 for _ in range(min(AT_ONCE, count - begin))]
        for one in batch:
            one.sendall(hello)
        for one in batch:
            head = one.recv(32, socket.MSG_WAITALL)
            assert head[:4] == b"TIDE", f"no answer to a hello: {head!r}"
            length = struct.unpack_from("<I", head, 4)[0]
            one.recv(length - 32, socket.MSG_WAITALL)
        sockets += batch
    return sockets


def resident_bytes(pid):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS")


def connections_open(broker):
    page = urllib.request.urlopen(f"http://127.0.0.1:{broker.admin_port}/metrics", timeout=30).read().decode()
    return sum(int(float(line.split()[-1])) for line in page.splitlines()
               if line.startswith("tidelog_connections{"))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--sanitized", action="store_true",
                        help="the broker keeps a sanitizer's records too: tell the memory, do not bound it")
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = options.connections + 200
    if hard != resource.RLIM_INFINITY and hard < needed:
        print(f"skipped: {needed} open files are needed, {hard} are allowed here")
        return 77
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
    hello = hello_bytes()
    with tempfile.TemporaryDirectory(prefix="tidelog-connections-") as directory:
        broker = Broker(options.binary, directory)
        try:
            broker.start()
            address = ("127.0.0.1", broker.port)
            broker.must_run("topic", "create", "t")
            # What the first connections need once does not count.
            for one in open_connections(address, 2 * AT_ONCE, hello):
                one.close()
            deadline = time.monotonic() + SECONDS_MAX
            while connections_open(broker) > 0:
                assert time.monotonic() < deadline, "connections that went are not forgotten"
            before = resident_bytes(broker.process.pid)

            sockets = open_connections(address, options.connections, hello)
            assert connections_open(broker) == options.connections, "one was lost"
            each = (resident_bytes(broker.process.pid) - before) / options.connections
            print(f"{options.connections} idle connections: {each:.0f} bytes of memory each")
            assert options.sanitized or each < BYTES_PER_CONNECTION_MAX, \
                f"{each:.0f} bytes a connection are too much"

            broker.must_run("produce", "t", stdin=b"one\ntwo\nthree\n")
            assert broker.must_run("consume", "t", "-o", "start", "-n", "3") == b"one\ntwo\nthree\n"
            print("produce and consume beside them: served")

            for one in sockets:
                one.close()
            deadline = time.monotonic() + SECONDS_MAX
            while connections_open(broker) > 0:
                assert time.monotonic() < deadline, "connections that went are not forgotten"
            assert broker.stop() == 0, broker.log()
            print("all forgotten; clean stop")
        finally:
            broker.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
