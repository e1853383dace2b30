"""Messages between a server and its workers: JSON, then bytes, with their lengths before them.

Not pickles: a worker that a decoder's fault has taken over can send nothing that is run.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

__all__ = ["receive", "send"]

_LENGTHS = struct.Struct(">IQ")
# More than any answer has.
_MOST = 1 << 30


def send(file: BinaryIO, facts: dict[str, Any], content: bytes = b"") -> None:
    """Write a message; raises OSError."""
    text = json.dumps(facts).encode()
    file.write(_LENGTHS.pack(len(text), len(content)) + text)
    file.write(content)
    file.flush()


def receive(file: BinaryIO) -> tuple[dict[str, Any], bytes] | None:
    """Read a message; None where the other side has ended, before or within it."""
    lengths = file.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    text_length, length = _LENGTHS.unpack(lengths)
    if max(text_length, length) > _MOST:
        return None
    text, content = file.read(text_length), file.read(length)
    if len(text) < text_length or len(content) < length:
        return None
    return json.loads(text), content
