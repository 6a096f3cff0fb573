#!/usr/bin/env python3
"""Records of every difficult kind, each through a live broker and compared byte by byte: as lines and delimited records in
and out, in every format, and copied by consume --json | produce --json.

Usage: lines_test.py BUILD/tools/tidelog [unittest options]
"""

import base64
import json

from command_case import CommandCase, main

MEBIBYTE = b"0123456789abcdef" * (1 << 16)
NOT_UTF8 = b"\xff\xfe \xc3\x28 \x80 \xed\xa0\x80 \xf8\x88\x80\x80\x80"
HEADERS_200 = [(f"header-{i}", f"value {i}") for i in range(200)]
VALUES = {
    "empty": b"",
    "one byte": b"x",
    "a mebibyte": MEBIBYTE,
    "not UTF-8": NOT_UTF8,
    "every byte": bytes(range(256)),
    "the default delimiter": b"first line\nsecond line\n",
    "only the delimiter": b"\n",
    "another delimiter": b"a--b--",
    "a key delimiter": b"a:b:c",
    "carriage returns": b"\r\n\r",
    "nul": b"\0\0",
    "what looks like a format": rb"%v %k\n {hex} \x41",
    "what looks like JSON": b'{"value": "x", "base64": "AAAA"}',
    "quotes and backslashes": b'"\\"\\n"',
    "UTF-8": "ünïcödé ☃ 𝄞".encode(),
    "white space": b" \t leading and trailing \t ",
}


def json_bytes(data):
    """As produce --json takes any bytes."""
    return None if data is None else {"base64": base64.b64encode(data).decode()}


def bytes_of(field):
    """As consume --json shows them."""
    if isinstance(field, dict):
        return base64.b64decode(field["base64"])
    return None if field is None else field.encode()


class RoundTrips(CommandCase):
    def round_trip(self, data, expected, *options, printing=()):
        self.create()
        self.produce(data, *options)
        self.assertEqual(self.consume("-e", *printing), expected)


class Lines(RoundTrips):
    """A record a line."""

    def test_empty_lines(self):
        self.round_trip(b"\n\na\n\n", b"\n\na\n\n")

    def test_nothing_at_all(self):
        self.round_trip(b"", b"")

    def test_a_line_of_a_mebibyte(self):
        self.round_trip(MEBIBYTE + b"\nshort\n", MEBIBYTE + b"\nshort\n")

    def test_a_last_line_without_newline(self):
        self.round_trip(b"a\nb", b"a\nb\n")

    def test_a_mebibyte_without_newline(self):
        self.round_trip(MEBIBYTE, MEBIBYTE + b"\n")

    def test_lines_that_are_not_utf8(self):
        self.round_trip(NOT_UTF8 + b"\n\xff\n\x80abc\n", NOT_UTF8 + b"\n\xff\n\x80abc\n")

    def test_every_byte_but_the_newline(self):
        line = bytes(range(256)).replace(b"\n", b"")
        self.round_trip(line + b"\n", line + b"\n")

    def test_lines_that_end_as_on_windows_keep_their_carriage_return(self):
        self.round_trip(b"a\r\n\r\n", b"a\r\n\r\n")

    def test_many_lines_in_order(self):
        data = b"".join(b"line %d\n" % i for i in range(200_000))
        self.round_trip(data, data)

    def test_every_kind_of_line_in_every_codec(self):
        lines = b"".join(value + b"\n" for value in VALUES.values() if b"\n" not in value)
        self.create()
        codecs = ("none", "gzip", "snappy", "lz4", "zstd", "gzip:9", "lz4:12", "zstd:19")
        for codec in codecs:
            self.produce(lines, "-z", codec)
        self.assertEqual(self.consume("-e"), lines * len(codecs))

    def test_two_hundred_headers(self):
        flags = [word for key, value in HEADERS_200 for word in ("-H", f"{key}={value}")]
        self.round_trip(b"x\n", ",".join(f"{key}={value}" for key, value in HEADERS_200).encode() + b"\n", *flags,
                        printing=("-f", r"%h\n"))

    def test_headers_may_be_empty_repeated_and_not_utf8(self):
        self.round_trip(b"x\n", b"same=1,same=,=no key,bytes=\xff,equals=a=b\n", "-H", "same=1", "-H", "same=", "-H",
                        "=no key", "-H", b"bytes=\xff", "-H", "equals=a=b", printing=("-f", r"%h\n"))


class Delimiters(RoundTrips):
    """The delimiter, of records and of keys, in all places where it may be."""

    def test_newlines_are_bytes_like_others_where_another_delimiter_ends_records(self):
        self.round_trip(b"a\nb\0\n\0\0c", b"<a\nb><\n><><c>", "-D", r"\0", printing=("-f", "<%v>"))

    def test_a_delimiter_of_several_bytes(self):
        self.round_trip(b"a--b-c----d--", b"<a><b-c><><d>", "-D", "--", printing=("-f", "<%v>"))

    def test_a_delimiter_of_several_bytes_that_is_cut_by_the_end(self):
        self.round_trip(b"a--b-", b"a|b-|", "-D", "--", printing=("-f", "%v|"))

    def test_a_delimiter_that_is_not_utf8(self):
        self.round_trip(b"a\xffb\xff", b"<a><b>", "-D", r"\xff", printing=("-f", "<%v>"))

    def test_a_delimiter_across_the_blocks_in_which_the_input_is_read(self):
        fill = b"x" * ((1 << 20) - 1)
        self.round_trip(fill + b"--" + fill + b"--", b"".join(b"%d," % len(fill) for _ in range(2)), "-D", "--",
                        printing=("-f", "%V,"))

    def test_only_the_first_key_delimiter_counts(self):
        self.round_trip(b"a:b:c\n::\n", b"[a][b:c]\n[][:]\n", "-K", ":", printing=("-f", r"[%k][%v]\n"))

    def test_a_key_delimiter_of_several_bytes(self):
        self.round_trip(b"no key\na=>b=>c\n=>empty key\n", b"-1 [] [no key]\n1 [a] [b=>c]\n0 [] [empty key]\n", "-K",
                        "=>", printing=("-f", r"%K [%k] [%v]\n"))

    def test_both_delimiters_together(self):
        self.round_trip(b"k\n1:v\n1;k2:;:;", b"[k\n1][v\n1] [k2][] [][] ", "-K", ":", "-D", ";",
                        printing=("-f", "[%k][%v] "))

    def test_keys_and_values_that_are_not_utf8(self):
        self.round_trip(b"\xff\xfe:\x80\n", b"fffe 80\n", "-K", ":", printing=("-f", r"%k{hex} %v{hex}\n"))

    def test_a_key_of_a_mebibyte(self):
        self.round_trip(MEBIBYTE + b":v\n", MEBIBYTE + b" v\n", "-K", ":", printing=("-f", r"%k %v\n"))


class NullAndEmpty(RoundTrips):
    """A key that is missing is not an empty one; so it is with values."""

    def test_a_key_without_value(self):
        self.round_trip(b"k:\n:\nnone\n", b"1 0\n0 0\n-1 4\n", "-K", ":", printing=("-f", r"%K %V\n"))

    def test_a_value_without_key(self):
        self.round_trip(b"v\n", b'{null}"v"\n', "-K", ":", printing=("-f", r"{%k{json}}%v{json}\n"))

    def test_an_empty_key_is_not_null(self):
        self.round_trip(b"x\n", b'0""', "-k", "", printing=("-f", "%K%k{json}"))

    def test_capital_z_makes_tombstones_of_empty_values_only(self):
        self.round_trip(b"k:\n\nk:v\n:\n", b"1 -1\n-1 -1\n1 1\n0 -1\n", "-K", ":", "-Z", printing=("-f", r"%K %V\n"))

    def test_capital_z_with_one_key_for_all(self):
        self.round_trip(b"\nv\n", b'"k" null\n"k" "v"\n', "-k", "k", "-Z", printing=("-f", r"%k{json} %v{json}\n"))

    def test_capital_z_of_an_empty_file(self):
        (self.folder / "empty").write_bytes(b"")
        self.create()
        self.broker.must_run("produce", self.topic, "--whole", "-Z", "-k", "k", self.folder / "empty")
        self.assertEqual(self.consume("-e", "-f", r"%k %V\n"), b"k -1\n")


class WholeFiles(CommandCase):
    def test_a_whole_file_is_one_record_whatever_it_holds(self):
        self.create()
        for number, value in enumerate(VALUES.values()):
            (self.folder / str(number)).write_bytes(value)
        self.broker.must_run("produce", self.topic, "--whole", *(self.folder / str(i) for i in range(len(VALUES))), "-",
                             stdin=b"from\nstdin\n")
        rows = [json.loads(row) for row in self.consume("-e", "--json").splitlines()]
        self.assertEqual([bytes_of(row["value"]) for row in rows], [*VALUES.values(), b"from\nstdin\n"])


class EveryRecord(CommandCase):
    """One topic with every kind of value, as key, as value and as header, and each way to print and to read it again."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.records = []
        for name, value in VALUES.items():
            for key in (None, b"", b"key of " + name.encode(), value):
                cls.records.append({"key": key, "value": value, "headers": [(name.encode(), value), (value[:64], None)]})
            cls.records.append({"key": value, "value": None, "headers": []})  # a tombstone
        cls.records.append({"key": b"k", "value": b"v",
                            "headers": [(key.encode(), value.encode()) for key, value in HEADERS_200]})
        for number, record in enumerate(cls.records):
            record["timestamp"] = 1_700_000_000_000 - 1000 * number
            record["partition"] = number % 3
        lines = b"".join(json.dumps({
            "key": json_bytes(record["key"]), "value": json_bytes(record["value"]), "partition": record["partition"],
            "timestamp_ms": record["timestamp"],
            "headers": [{"key": json_bytes(key), "value": json_bytes(value)} for key, value in record["headers"]],
        }).encode() + b"\n" for record in cls.records)
        cls.broker.must_run("topic", "create", "all", "-p", 3)
        cls.broker.must_run("produce", "all", "--json", "--keep-partition", stdin=lines)

    def read(self, topic):
        """The records of a topic as they were given: by partition, in order."""
        rows = [json.loads(row) for row in self.broker.must_run("consume", topic, "-e", "--json").splitlines()]
        rows.sort(key=lambda row: (row["partition"], row["offset"]))
        return [{"key": bytes_of(row["key"]), "value": bytes_of(row["value"]), "partition": row["partition"],
                 "timestamp": row["timestamp_ms"],
                 "headers": [(bytes_of(one["key"]), bytes_of(one["value"])) for one in row["headers"]]} for row in rows]

    def test_json_brings_every_record_in_and_shows_it_exactly(self):
        self.assertEqual(self.read("all"), sorted(self.records, key=lambda record: record["partition"]))

    def test_consume_json_into_produce_json_copies_all_of_it_exactly(self):
        self.broker.must_run("topic", "create", "copy", "-p", 3)
        result = self.shell('"$TIDELOG" consume all -e --json | "$TIDELOG" produce copy --json --keep-partition')
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(self.read("copy"), self.read("all"))
        for partition in range(3):  # and so is every byte that is printed, offsets included
            of = [self.broker.must_run("consume", topic, "-p", partition, "-e", "-f",
                                       r"%p %o %d %K %V %k%v %h{json}\n") for topic in ("all", "copy")]
            self.assertEqual(of[0], of[1])

    def test_a_copy_of_the_copy_is_the_same_in_every_codec(self):
        printed = self.broker.must_run("consume", "all", "-e", "--json")
        for codec in ("gzip", "snappy", "lz4", "zstd"):
            with self.subTest(codec=codec):
                self.broker.must_run("topic", "create", codec, "-p", 3)
                self.broker.must_run("produce", codec, "--json", "--keep-partition", "-z", codec, stdin=printed)
                self.assertEqual(self.read(codec), self.read("all"))

    def in_partition(self, partition):
        return [record for record in self.records if record["partition"] == partition]

    def test_base64_shows_every_record_exactly(self):
        for partition in range(3):
            expected = b"".join(base64.b64encode(record["key"] or b"") + b" " + base64.b64encode(record["value"] or b"")
                                + b"\n" for record in self.in_partition(partition))
            self.assertEqual(self.broker.must_run("consume", "all", "-p", partition, "-e", "-f",
                                                  r"%k{base64} %v{base64}\n"), expected)

    def test_hex_shows_every_record_exactly(self):
        for partition in range(3):
            expected = b"".join((record["key"] or b"").hex().encode() + b" " + (record["value"] or b"").hex().encode()
                                + b"\n" for record in self.in_partition(partition))
            self.assertEqual(self.broker.must_run("consume", "all", "-p", partition, "-e", "-f",
                                                  r"%k{hex} %v{hex}\n"), expected)

    def test_lengths_tell_null_from_empty(self):
        for partition in range(3):
            expected = b"".join(b"%d %d\n" % tuple(-1 if record[name] is None else len(record[name])
                                                   for name in ("key", "value"))
                                for record in self.in_partition(partition))
            self.assertEqual(self.broker.must_run("consume", "all", "-p", partition, "-e", "-f", r"%K %V\n"), expected)

    def test_what_a_format_prints_the_same_format_reads(self):
        """Hex and base64 have no word for null: a key that prints as nothing is read as none, a value as empty."""
        for number, (text, keeps_null, keeps_headers) in enumerate((
            (r"%k{hex} %v{hex}\n", False, False), (r"%k{base64},%v{base64}\n", False, False),
            (r"%k{json}%v{json}%h{json}\n", True, True), ("%K %V %k%v", True, False),
            (r"%p %d %K:%k %V:%v %h{json}\n", True, True),
        )):
            with self.subTest(format=text):
                copy = f"copy-{number}"
                self.broker.must_run("topic", "create", copy, "-p", 3)
                for partition in range(3):
                    printed = self.broker.must_run("consume", "all", "-p", partition, "-e", "-f", text)
                    flags = () if "%p" in text else ("-p", partition)
                    self.broker.must_run("produce", copy, "-f", text, *flags, stdin=printed)
                    again = self.broker.must_run("consume", copy, "-p", partition, "-e", "-f", text)
                    self.assertEqual(again, printed)
                expected = [{"key": record["key"] if keeps_null else record["key"] or None,
                             "value": record["value"] if keeps_null else record["value"] or b""}
                            | ({"headers": record["headers"]} if keeps_headers else {})
                            for record in sorted(self.records, key=lambda record: record["partition"])]
                self.assertEqual([{name: record[name] for name in expected[0]} for record in self.read(copy)], expected)


if __name__ == "__main__":
    main()
