#!/usr/bin/python3
"""Plays the rules of wire/PROTOCOL.md against a live broker; every check has a name and says what it did.

    tests/conformance/conformance.py --binary build/dev/tools/tidelog      starts a broker of its own
    tests/conformance/conformance.py --address HOST:PORT                   a broker that runs; makes and deletes topics
"""

import argparse
import pathlib
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "integration")]

from broker_process import Broker  # noqa: E402
from protocol_client import Schema, default_schema  # noqa: E402
from world import CHECKS, World  # noqa: E402
import checks_connection, checks_topics, checks_records, checks_producers, checks_end  # noqa: E401,E402,F401  (in this order)


def run(world, names):
    failed = 0
    for function in CHECKS:
        name = function.__name__
        if names and name not in names:
            continue
        world.said.clear()
        begun = time.monotonic()
        try:
            function(world)
            print(f"ok      {name} ({time.monotonic() - begun:.1f} s)", flush=True)
        except Exception:  # a check must not end the others
            failed += 1
            print(f"FAILED  {name}\n{traceback.format_exc()}", flush=True)
        for line in world.said:
            print(f"        {line[:200]}", flush=True)
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--binary", help="tidelog, to start a broker of")
    parser.add_argument("--address", help="HOST:PORT of a broker that runs")
    parser.add_argument("--flatc", default="flatc")
    parser.add_argument("--list", action="store_true", help="the names of all checks")
    parser.add_argument("checks", nargs="*", help="only these")
    options = parser.parse_args()
    if options.list:
        print("\n".join(function.__name__ for function in CHECKS))
        return 0
    unknown = set(options.checks) - {function.__name__ for function in CHECKS}
    if unknown or bool(options.binary) == bool(options.address):
        parser.error(f"no check is named {', '.join(unknown)}" if unknown else "give --binary or --address")
    schema = Schema(default_schema(), options.flatc)
    with tempfile.TemporaryDirectory(prefix="tidelog-conformance-") as directory:
        broker = Broker(options.binary, directory).start() if options.binary else None
        try:
            host, port = (options.address or broker.address).rsplit(":", 1)
            failed = run(World(host, int(port), schema, broker), options.checks)
        finally:
            if broker is not None:
                broker.close()
        if failed and broker is not None:
            print(broker.log()[-4000:])
    print(f"{failed} checks failed" if failed else "every check holds")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
