"""Messages between a server and its workers: JSON, then bytes, with their lengths before them.

Not pickles: a worker that a decoder's fault has taken over can send nothing that is run.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from typing import Any, BinaryIO

__all__ = ["receive", "send", "streams"]

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


def streams() -> tuple[BinaryIO, BinaryIO]:
    """Where a worker's jobs come from and its results go; what else is printed goes nowhere.

    Faults of Python still go to the server's log.
    """
    given, told = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    sys.stderr = os.fdopen(os.dup(2), "w", errors="backslashreplace")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(nowhere, number)
    return given, told
