#!/usr/bin/env python3
"""Formats: what each field prints, and how produce reads it again.

Usage: formats_test.py BUILD/tools/tidelog [unittest options]
"""

import base64
import json

from command_case import CommandCase, main


class Formats(CommandCase):
    def test_every_field_and_modifier_prints_what_it_says(self):
        self.create("-p", 2)
        self.produce(b"1234 k v\n", "-f", r"%d %k %v\n", "-p", 1, "-H", "a=1", "-H", "b=x")
        for text, expected in (
            ("%t", self.topic), ("%p", "1"), ("%o", "0"), ("%d", "1234"), ("%k", "k"), ("%v", "v"), ("%s", "v"),
            ("%K", "1"), ("%V", "1"), ("%h", "a=1,b=x"), (r"%k\n%v\t", "k\nv\t"), (r"\0\x41\\", "\0A\\"), ("%%", "%"),
            ("%k{hex}", "6b"), ("%v{base64}", "dg=="), ("%v{json}", '"v"'), ("%t{hex}", self.topic.encode().hex()),
            ("%h{json}", '[{"key":"a","value":"1"},{"key":"b","value":"x"}]'),
        ):
            with self.subTest(format=text):
                self.assertEqual(self.consume("-e", "-f", text), expected.encode())

    def test_a_null_prints_as_nothing_and_in_json_as_null(self):
        self.create()
        self.broker.must_run("produce", self.topic, "--json", stdin=b'{"key":null,"value":null}\n')
        self.assertEqual(self.consume("-e", "-f", "[%k][%v][%k{hex}][%K][%V][%k{json}][%v{json}]"),
                         b"[][][][-1][-1][null][null]")

    def test_bytes_that_are_not_utf8_print_in_json_as_base64(self):
        self.create()
        self.produce(b"\xff\xfe\n")
        self.assertEqual(self.consume("-e", "-f", "%v{json}"), b'{"base64":"//4="}')
        self.assertEqual(self.consume("-e", "-f", "%v{hex}"), b"fffe")

    def test_produce_reads_what_the_same_format_prints(self):
        values = [b"", b"plain", b"new\nline", b"nul\0", b"\xff\xfe", b" space ", b"%v", b"a,b=c", b'"', b"x" * 3000]
        for number, text in enumerate((r"%K %V %k%v", r"%k{hex} %v{hex}\n", r"%k{base64},%v{base64}\n",
                                       r"%k{json}%v{json}\n", r"%p %d %K:%k %V:%v %h{json}\n", "%V %v%K %k",
                                       r"%o|%t|%k{hex}|%v{base64}|%d\n")):
            with self.subTest(format=text):
                source, copy = f"{self.topic}_{number}", f"{self.topic}_{number}_copy"
                self.broker.must_run("topic", "create", source, copy)
                lines = b"".join(json.dumps({"key": {"base64": base64.b64encode(value[::-1]).decode()},
                                             "value": {"base64": base64.b64encode(value).decode()},
                                             "timestamp_ms": 1000 + i, "headers": [{"key": "h", "value": None}]}
                                            ).encode() + b"\n" for i, value in enumerate(values))
                self.broker.must_run("produce", source, "--json", stdin=lines)
                printed = self.broker.must_run("consume", source, "-e", "-f", text)
                self.broker.must_run("produce", copy, "-f", text, stdin=printed)
                again = self.broker.must_run("consume", copy, "-e", "-f", text)
                self.assertEqual(again.replace(copy.encode(), source.encode()), printed)

    def test_consume_ends_every_record_with_its_newline_also_the_last(self):
        self.create()
        self.produce(b"a\nb")
        self.assertEqual(self.consume("-e"), b"a\nb\n")

    def test_input_that_does_not_look_like_the_format_names_the_record(self):
        self.create()
        result = self.broker.run("produce", self.topic, "-f", r"%p %v\n", stdin=b"0 fine\nx bad\n")
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"standard input, record 2", result.stderr)
        self.assertEqual(self.consume("-e"), b"fine\n")


if __name__ == "__main__":
    main()
