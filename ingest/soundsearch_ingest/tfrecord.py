"""TFRecord files of ``tf.train.SequenceExample``, without TensorFlow or protobuf.

A file is a sequence of frames: length, its checksum, content, its checksum. A SequenceExample has
a context, which maps names to features, and a map from names to lists of features; a feature is a
list of strings, floats or integers. Features and lists of features are passed around encoded, so
that only what is needed is decoded. Malformed data raises ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from typing import BinaryIO

from .extras import needs

__all__ = [
    "OVERHEAD",
    "encode_example",
    "encode_floats",
    "encode_integers",
    "encode_list",
    "encode_strings",
    "features",
    "floats",
    "frame",
    "integers",
    "parse",
    "payloads",
    "strings",
]

_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")

OVERHEAD = _LENGTH.size + 2 * _CHECKSUM.size
"""Bytes of a frame besides its content."""

# AudioSet's records are below 2 kB. A larger length means damage or another kind of file, and is
# not worth the memory.
_LARGEST = 1 << 24

# Protobuf tags: 8 * field number + wire type. Everything here is field 1, 2 or 3 of its message,
# length-delimited; numbers in lists may also be unpacked.
_FIRST, _SECOND, _THIRD = 0x0A, 0x12, 0x1A
_STRINGS, _FLOATS, _INTEGERS = _FIRST, _SECOND, _THIRD
_LONE = {_FLOATS: 0x0D, _INTEGERS: 0x08}
_FIXED_LENGTHS = {1: 8, 5: 4}


def payloads(file: BinaryIO) -> Iterator[bytes]:
    """Yield the content of each frame of a file, after verifying both checksums."""
    while start := file.read(_LENGTH.size + _CHECKSUM.size):
        (length,) = _LENGTH.unpack(_whole("length", start, _LENGTH.size))
        if length > _LARGEST:
            raise ValueError(f"expected at most {_LARGEST} bytes, got a length of {length}")
        yield _whole("content", file.read(length + _CHECKSUM.size), length)


def frame(payload: bytes) -> bytes:
    """Frame content with its length and checksums."""
    if len(payload) > _LARGEST:
        raise ValueError(f"expected at most {_LARGEST} bytes, got {len(payload)}")
    length = _LENGTH.pack(len(payload))
    return b"".join(
        (length, _CHECKSUM.pack(_masked(length)), payload, _CHECKSUM.pack(_masked(payload)))
    )


def _whole(what: str, data: bytes, length: int) -> bytes:
    """Return data without its checksum; raise ValueError if it is truncated or damaged."""
    if len(data) != length + _CHECKSUM.size:
        raise ValueError(
            f"the file is cut short: expected {length + _CHECKSUM.size} bytes of {what} and"
            f" checksum, got {len(data)}"
        )
    (expected,) = _CHECKSUM.unpack_from(data, length)
    data = data[:length]
    if (got := _masked(data)) != expected:
        raise ValueError(
            f"its {what} is damaged, or this is not a TFRecord file: expected the checksum"
            f" {expected:08x}, got {got:08x}"
        )
    return data


def _masked(data: bytes) -> int:
    """The checksum of TFRecord files: CRC-32C, rotated and offset."""
    checksum = _crc32c()(data)
    return ((checksum >> 15 | checksum << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc32c() -> Callable[[bytes], int]:
    checksum: Callable[[bytes], int] = needs("google_crc32c", "audioset").value
    return checksum


def parse(payload: bytes) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """Split a SequenceExample into its context features and its lists of features."""
    fields = _fields(payload)
    context, lists = (
        _map(b"".join([content for tag, content in fields if tag == half]))
        for half in (_FIRST, _SECOND)
    )
    return context, lists


def _map(message: bytes) -> dict[str, bytes]:
    found = {}
    for entry in _contents(message, _FIRST):
        name, value = b"", b""
        for tag, content in _fields(entry):
            if tag == _FIRST:
                name = content
            elif tag == _SECOND:
                value += content
        found[name.decode()] = value
    return found


def features(encoded: bytes) -> list[bytes]:
    """The features in a list of features."""
    return _contents(encoded, _FIRST)


def strings(feature: bytes) -> list[bytes]:
    """The strings of a feature; empty if it holds another type."""
    return _items(feature, _STRINGS)


def floats(feature: bytes) -> list[float]:
    """The float32 numbers of a feature; empty if it holds another type."""
    packed = b"".join(_items(feature, _FLOATS))
    if len(packed) % 4:
        raise ValueError(f"expected float32 numbers, got {len(packed)} bytes of them")
    return list(struct.unpack(f"<{len(packed) // 4}f", packed))


def integers(feature: bytes) -> list[int]:
    """The int64 numbers of a feature; empty if it holds another type."""
    packed = b"".join(_items(feature, _INTEGERS))
    values = []
    at = 0
    while at < len(packed):
        value, at = _read_varint(packed, at)
        values.append((value + (1 << 63)) % (1 << 64) - (1 << 63))
    return values


def _items(feature: bytes, kind: int) -> list[bytes]:
    # One string, or packed numbers, and no more than 123 bytes of them: almost every feature.
    size = len(feature) - 4
    if 0 <= size < 0x7C and feature[:4] == bytes((kind, size + 2, _FIRST, size)):
        return [feature[4:]]
    return _contents(b"".join(_contents(feature, kind)), _FIRST, _LONE.get(kind))


def _contents(message: bytes, *tags: int | None) -> list[bytes]:
    """The contents of a message's fields with these tags, varints still encoded.

    A message may come in several pieces; as in protobuf, concatenating them merges it.
    """
    return [content for tag, content in _fields(message) if tag in tags]


def _fields(message: bytes) -> list[tuple[int, bytes]]:
    """The tags and contents of a message's fields."""
    found = []
    at, end = 0, len(message)
    while at < end:
        tag = message[at]
        if tag < 0x80:  # as almost all are, and a call costs more than the rest
            at += 1
        else:
            tag, at = _read_varint(message, at)
        wire_type = tag & 7
        if wire_type == 2:
            if at < end and (length := message[at]) < 0x80:
                at += 1
            else:
                length, at = _read_varint(message, at)
        elif wire_type == 0:
            length = _read_varint(message, at)[1] - at
        elif wire_type in _FIXED_LENGTHS:
            length = _FIXED_LENGTHS[wire_type]
        else:
            raise ValueError(f"expected a SequenceExample, got a field of wire type {wire_type}")
        if tag < 8 or length > end - at:
            raise ValueError(
                f"expected a SequenceExample, got field {tag >> 3} of {length} bytes"
                f" with {end - at} left"
            )
        found.append((tag, message[at : at + length]))
        at += length
    return found


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    """Decode the number at offset `at`; return it and the offset after it."""
    value = 0
    for place, byte in enumerate(data[at : at + 10]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value, at + place + 1
    raise ValueError("expected a SequenceExample, got a number without an end")


def encode_example(context: dict[str, bytes], lists: dict[str, bytes]) -> bytes:
    """Encode a SequenceExample from encoded features and lists of features."""
    return _field(_FIRST, _encode_map(context)) + _field(_SECOND, _encode_map(lists))


def encode_list(features: Iterable[bytes]) -> bytes:
    return b"".join(_field(_FIRST, feature) for feature in features)


def encode_strings(values: Iterable[bytes]) -> bytes:
    return _field(_STRINGS, b"".join(_field(_FIRST, value) for value in values))


def encode_floats(values: Sequence[float]) -> bytes:
    return _field(_FLOATS, _field(_FIRST, struct.pack(f"<{len(values)}f", *values)))


def encode_integers(values: Iterable[int]) -> bytes:
    return _field(
        _INTEGERS, _field(_FIRST, b"".join(_varint(value % (1 << 64)) for value in values))
    )


def _encode_map(messages: dict[str, bytes]) -> bytes:
    return b"".join(
        _field(_FIRST, _field(_FIRST, name.encode()) + _field(_SECOND, message))
        for name, message in messages.items()
    )


def _field(tag: int, content: bytes) -> bytes:
    return bytes((tag,)) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    return bytes((value & 0x7F | 0x80,)) + _varint(value >> 7)
