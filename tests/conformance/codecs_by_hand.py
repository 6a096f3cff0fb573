"""The five codecs without their libraries, as far as a standard Python goes.

gzip is whole. Snappy and LZ4 are written as literals and read whole; Zstandard is written and read as raw and
repeated blocks only: a stranger's compressed Zstandard cannot be read here.
"""

import struct
import zlib

import xxhash

BYTES_MAX = 64 << 20
LZ4_BLOCK_BYTES = 64 << 10
ZSTD_BLOCK_BYTES = 128 << 10


class CodecError(Exception):
    """The bytes are not of this codec, or hold more than the bound."""


def compress(codec, data):
    return {"none": bytes, "gzip": _gzip, "snappy": _snappy, "lz4": _lz4, "zstd": _zstd}[codec](data)


def decompress(codec, data, bound=0):
    """`bound`: the length that the batch header names, 0 where it does not."""
    bound = min(bound or BYTES_MAX, BYTES_MAX)
    plain = {"none": lambda d, _: bytes(d), "gzip": _gunzip, "snappy": _unsnappy, "lz4": _unlz4,
             "zstd": _unzstd}[codec](data, bound)
    if len(plain) > bound:
        raise CodecError(f"{len(plain)} bytes come out, {bound} are allowed")
    return plain


def _gzip(data):
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    return packer.compress(data) + packer.flush()


def _gunzip(data, bound):
    plain = b""
    while data:
        member = zlib.decompressobj(31)
        plain += member.decompress(data, bound - len(plain) + 1)
        if not member.eof:
            raise CodecError("gzip ends too early, or holds too much")
        data = member.unused_data
    return plain


def _length(number):
    out = bytearray()
    while number >= 0x80:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes(out) + bytes([number])


def _snappy(data):
    out = bytearray(_length(len(data)))
    for at in range(0, len(data), 65536):
        part = data[at:at + 65536]
        out += bytes([61 << 2]) + struct.pack("<H", len(part) - 1) + part  # a literal, its length in two bytes
    return bytes(out)


def _copy(out, distance, length):
    if not 0 < distance <= len(out):
        raise CodecError("a copy from before the beginning")
    for _ in range(length):
        out.append(out[-distance])


def _unsnappy(data, bound):
    total = shift = at = 0
    while True:
        byte = data[at]
        at += 1
        total |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            break
    if total > bound:
        raise CodecError(f"a snappy block of {total} bytes")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        if tag & 3 == 0:
            length = (tag >> 2) + 1
            if length > 60:
                size = length - 60
                length = int.from_bytes(data[at:at + size], "little") + 1
                at += size
            out += data[at:at + length]
            at += length
        elif tag & 3 == 1:
            _copy(out, (tag >> 5) << 8 | data[at], (tag >> 2 & 7) + 4)
            at += 1
        else:
            size = 2 if tag & 3 == 2 else 4
            _copy(out, int.from_bytes(data[at:at + size], "little"), (tag >> 2) + 1)
            at += size
        if len(out) > total:
            raise CodecError("a snappy block holds more than it says")
    if len(out) != total:
        raise CodecError("a snappy block holds less than it says")
    return bytes(out)


def _lz4(data):
    descriptor = bytes([0x60, 0x40])  # version 1, independent blocks of at most 64 KiB
    out = bytearray(struct.pack("<I", 0x184D2204) + descriptor)
    out.append(xxhash.xxh32_intdigest(descriptor) >> 8 & 0xFF)
    for at in range(0, len(data), LZ4_BLOCK_BYTES):
        part = data[at:at + LZ4_BLOCK_BYTES]
        out += struct.pack("<I", len(part) | 0x80000000) + part  # stored as it is
    return bytes(out) + bytes(4)


def _unlz4(data, bound):
    if len(data) < 7 or struct.unpack_from("<I", data)[0] != 0x184D2204:
        raise CodecError("no LZ4 frame")
    flags = data[4]
    at = 6 + (8 if flags & 8 else 0) + (4 if flags & 1 else 0) + 1
    out = bytearray()
    while True:
        size = struct.unpack_from("<I", data, at)[0]
        at += 4
        if size == 0:
            break
        block, at = data[at:at + (size & 0x7FFFFFFF)], at + (size & 0x7FFFFFFF) + (4 if flags & 16 else 0)
        if size & 0x80000000:
            out += block
        else:
            _unlz4_block(block, out)
        if len(out) > bound:
            raise CodecError("an LZ4 frame holds too much")
    if flags & 4:
        at += 4
    if at != len(data):
        raise CodecError("bytes behind an LZ4 frame")
    return bytes(out)


def _unlz4_block(block, out):
    def long_length(length, at):
        if length == 15:
            while True:
                byte = block[at]
                at += 1
                length += byte
                if byte != 255:
                    break
        return length, at

    at = 0
    while at < len(block):
        token = block[at]
        length, at = long_length(token >> 4, at + 1)
        out += block[at:at + length]
        at += length
        if at >= len(block):
            return
        distance = struct.unpack_from("<H", block, at)[0]
        length, at = long_length(token & 15, at + 2)
        _copy(out, distance, length + 4)


def _zstd(data):
    # Single segment, content size in four bytes; raw blocks.
    out = bytearray(bytes.fromhex("28b52ffd") + b"\xa0" + struct.pack("<I", len(data)))
    parts = [data[at:at + ZSTD_BLOCK_BYTES] for at in range(0, len(data), ZSTD_BLOCK_BYTES)] or [b""]
    for number, part in enumerate(parts):
        head = len(part) << 3 | (number == len(parts) - 1)
        out += head.to_bytes(3, "little") + part
    return bytes(out)


def _unzstd(data, bound):
    if data[:4] != bytes.fromhex("28b52ffd"):
        raise CodecError("no Zstandard frame")
    descriptor = data[4]
    single = descriptor >> 5 & 1
    size_bytes = (1 if single else 0, 2, 4, 8)[descriptor >> 6]
    at = 5 + (0 if single else 1) + (0, 1, 2, 4)[descriptor & 3] + size_bytes
    out = bytearray()
    while True:
        head = int.from_bytes(data[at:at + 3], "little")
        at += 3
        kind, size = head >> 1 & 3, head >> 3
        if kind == 0:
            out += data[at:at + size]
            at += size
        elif kind == 1:
            out += data[at:at + 1] * size
            at += 1
        else:
            raise CodecError("compressed Zstandard blocks cannot be read without a library")
        if len(out) > bound:
            raise CodecError("a Zstandard frame holds too much")
        if head & 1:
            return bytes(out)
