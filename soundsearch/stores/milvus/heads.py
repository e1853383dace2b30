"""The file of a head in the state of a library: rows of its parts, for each generation its own."""

from __future__ import annotations

from base64 import b64decode, b64encode

import blake3

from ...errors import LibraryDamaged
from ...hints import command
from .client import MilvusClient
from .collections import state_collection, state_of
from .rows import state_row
from .uri import MilvusUri

__all__ = ["drop_head", "read_head", "write_head"]

# The ids of a generation's parts begin at so many times its number; other rows have lower ones.
_IDS = 1 << 16
# Bytes of a part, whose text fits a field; and parts that fit a message.
_PART = 45_000
_TOGETHER = 100


def write_head(client: MilvusClient, uri: MilvusUri, generation: int, content: bytes) -> None:
    """Keep a head's file for a generation; it counts once a settings row has its digest."""
    drop_head(client, uri, generation)
    state = state_collection(uri)
    texts = [
        b64encode(content[begin : begin + _PART]).decode()
        for begin in range(0, len(content), _PART)
    ]
    for begin in range(0, len(texts), _TOGETHER):
        part = enumerate(texts[begin : begin + _TOGETHER], generation * _IDS + begin)
        parts = len(texts)
        rows = [state_row(id, {"parts": parts, "base64": text}) for id, text in part]
        client.upsert(state, rows)


def read_head(client: MilvusClient, uri: MilvusUri, generation: int, digest: str) -> bytes:
    """A generation's head; raises LibraryDamaged where it is not what was stored."""
    state = state_collection(uri)
    content = b""
    number = count = 0
    while number <= count:
        row = state_of(client, state, generation * _IDS + number)
        if row is None:
            break
        content += b64decode(row["base64"])
        number, count = number + 1, row["parts"] - 1
    if blake3.blake3(content).hexdigest() != digest:
        raise LibraryDamaged(
            f"{uri}: the head of its labels is not what was stored; keep it again with: "
            f"{command('head use FILE', uri)}"
        )
    return content


def drop_head(client: MilvusClient, uri: MilvusUri, generation: int) -> None:
    """Delete a generation's head, if it has one."""
    first, last = generation * _IDS, (generation + 1) * _IDS
    state = state_collection(uri)
    rows = client.query(state, f"id >= {first} and id < {last}", ["id"], "Strong")
    if rows:
        client.delete(state, [row["id"] for row in rows])
