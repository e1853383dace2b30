"""Several writers at once: each writes a part of an ingest, under numbers of its own.

A part has a row in the library's state, which is a lease like the writer's: its holder renews it
and others respect it. In it are the *blocks* of editions that it drew from the library's counters
and has not finished. It holds the writer's lease only for as long as it draws a block, so parts
take turns in that. A writer of the whole library is refused while parts are written, and a part
while that writer is at work. The blocks of a part that was killed are cleaned up by the next
process that writes the same part, or the whole library.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ...errors import LibraryBusy, LibraryError
from ..parts import Part
from .client import MilvusClient, Row
from .collections import NUMBERS, numbers_of, state_collection
from .lease import SETTLE_SECONDS, Lease, is_over
from .rows import state_row
from .uri import MilvusUri
from .writer import Counters

__all__ = ["PartCounters", "drop_ended", "ended_parts", "part_written", "seized_parts"]

# The ids of the rows of parts; those of heads begin at 65 536.
_FIRST, _END = 1000, 65_000
# How many ids and editions a part draws at a time, and how long it waits for its turn, seconds.
_BLOCK = 4096
_TURN_SECONDS = 300.0
_LONGEST_PAUSE = 0.5


class PartCounters(Counters):
    """Ids and editions in blocks, drawn from the library's counters in turn with other parts."""

    def __init__(
        self, client: MilvusClient, uri: MilvusUri, lease: Lease, blocks: list[list[int]]
    ) -> None:
        self._client = client
        self._uri = uri
        self._state = state_collection(uri)
        self._lease = lease
        self._next = {"id": 0, "edition": 0}
        self._reserved = dict(self._next)
        # Blocks that were begun by a process that was killed.
        self.unfinished = [(first, end) for first, end in blocks]
        # Blocks that were drawn, the last one in use, and the editions of clips under way.
        self._blocks: list[tuple[int, int]] = []
        self.open = set()
        numbers = numbers_of(client, uri)
        if numbers["from"] < numbers["edition"]:  # a writer of the whole was killed
            self._draw(0)

    def new(self, name: str, count: int) -> int:
        """Draw `count` new ids or editions; return the first."""
        if self._next[name] + count > self._reserved[name]:
            self._draw(count)
        first: int = self._next[name]
        self._next[name] = first + count
        return first

    def finished(self) -> None:
        """What a killed process began is cleaned up."""
        self.unfinished = []
        self._note()

    def give_back(self) -> None:
        """Nothing: the numbers that are left are lost, the row of the part goes with its lease."""

    def _note(self) -> None:
        # Earlier editions belong to clips that are complete, but for those under way.
        under_way = sorted({*self.open, self._next["edition"]})
        kept = []
        for first, end in self._blocks:
            begun = [edition for edition in under_way if first <= edition < end]
            if begun:
                kept.append((begun[0], end))
        self._blocks = kept
        self._lease.note(blocks=[*self.unfinished, *kept])

    def _draw(self, count: int) -> None:
        while not self._has_drawn(max(count, _BLOCK)):
            pass

    def _has_drawn(self, size: int) -> bool:
        with self._turn() as turn:
            numbers = numbers_of(self._client, self._uri)
            if numbers["from"] < numbers["edition"]:
                self.unfinished.append((numbers["from"], numbers["edition"]))
                self._note()  # before the counters forget it
            block = {name: numbers[name] + size for name in self._next}
            row = state_row(NUMBERS, {**block, "from": block["edition"]})
            # Two whose turn it seemed to be, as one of them was slow or suspended, have read the
            # same numbers: they are of the one whose turn it still is when they are written.
            if not turn.is_held():
                return False
            self._client.upsert(self._state, [row])
            if not turn.is_held():
                return False
            # Now nobody else draws them: killed here, nothing was written under them.
            self._next = {name: numbers[name] for name in self._next}
            self._reserved = block
            self._blocks.append((self._next["edition"], block["edition"]))
            self._note()
        return True

    @contextmanager
    def _turn(self) -> Iterator[Lease]:
        """Hold the writer's lease for a moment."""
        end = time.monotonic() + _TURN_SECONDS
        lease = Lease(self._client, self._uri, drawing=True)
        while True:
            try:
                lease.take()
                break
            except LibraryBusy:
                if time.monotonic() > end:
                    raise
                time.sleep(random.uniform(0, _LONGEST_PAUSE))
        try:
            yield lease
        finally:
            lease.release()


@contextmanager
def part_written(
    client: MilvusClient, uri: MilvusUri, part: Part
) -> Iterator[tuple[Lease, PartCounters]]:
    """Hold a part of an ingest.

    Raises
    ------
    LibraryBusy
        Another process writes this part, the whole library, or parts of another number.
    """
    rows = _rows(client, uri)
    _refuse_others(uri, part, rows)
    id = _FIRST + part.number
    blocks = rows[id]["blocks"] if id in rows else []
    lease = Lease(client, uri, id, part=str(part), count=part.count, blocks=blocks)
    if id in rows:  # else its blocks may change until it is taken
        lease.refuse_other(rows[id])
    lease.take()
    is_clean = not blocks
    try:
        _refuse_others(uri, part, _rows(client, uri))  # that began at the same time
        writer = Lease(client, uri)
        holder = writer.holder()
        if holder is not None and not holder.get("drawing"):
            writer.refuse_other(holder)
        is_clean = False
        counters = PartCounters(client, uri, lease, blocks)
        yield lease, counters
        is_clean = not counters.open
    finally:
        if is_clean:
            lease.release()
        else:  # its row says what is to be cleaned up
            with suppress(LibraryError):
                lease.abandon()


def _refuse_others(uri: MilvusUri, part: Part, rows: dict[int, Row]) -> None:
    """Raise LibraryBusy where parts of another number are written."""
    for row in rows.values():
        if not is_over(row) and row["count"] != part.count:
            raise LibraryBusy(
                f"{uri}: part {row['part']} of an ingest is being written, and this would be part "
                f"{part}: all parts must be of the same number"
            )


def ended_parts(client: MilvusClient, uri: MilvusUri) -> dict[int, Row]:
    """The rows of parts that were killed; raises LibraryBusy where one is being written."""
    rows = _rows(client, uri)
    for id in rows:
        Lease(client, uri, id).refuse_other(rows[id])
    return rows


def seized_parts(
    client: MilvusClient, uri: MilvusUri
) -> tuple[dict[int, Row], list[tuple[int, int]]]:
    """`ended_parts` and their blocks; one that was only suspended will find that it has ended."""
    rows = ended_parts(client, uri)
    if rows:
        marked = [state_row(id, {**row, "token": "", "time": 0.0}) for id, row in rows.items()]
        client.upsert(state_collection(uri), marked)
        if not uri.lite:
            time.sleep(SETTLE_SECONDS)  # as one may have been about to renew its row
        ended_parts(client, uri)
    return rows, [(first, end) for row in rows.values() for first, end in row["blocks"]]


def drop_ended(client: MilvusClient, uri: MilvusUri, rows: dict[int, Row]) -> None:
    """Forget parts whose blocks are cleaned up."""
    if rows:
        client.delete(state_collection(uri), list(rows))


def _rows(client: MilvusClient, uri: MilvusUri) -> dict[int, Row]:
    expression = f"id >= {_FIRST} and id < {_END}"
    found = client.query(state_collection(uri), expression, ["id", "data"], "Strong")
    return {row["id"]: json.loads(row["data"]) for row in found}
