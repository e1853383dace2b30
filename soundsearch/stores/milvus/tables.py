"""The collections of one generation of a library, and how a store reads them.

Consistency levels and their cost on a 2.3 server (Milvus Lite is always up to date):

===========================================  ==========  =================================
what                                         level       costs
===========================================  ==========  =================================
settings, lease, a writer's first look-up,   Strong      200 to 400 ms a call, a few calls
the first read after a deletion, segments
that a clip row names but a read missed
reading and searching in a store that        Session     nothing when idle; up to 300 ms
wrote: it sees its own writes                            just after a write
reading and searching in any other,          Bounded     nothing; some 0.2 to 0.4 s behind
a writer's look-ups (see `lookups`)                      (Milvus allows 5 s)
===========================================  ==========  =================================

While it is behind, a reader may miss a clip that is being replaced; it never sees part of one.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ...errors import LibraryError
from .client import MilvusClient, Row
from .collections import (
    KEY,
    collections_of,
    numbers_of,
    search_parameters,
    settings_of,
    state_collection,
    state_of,
)
from .heads import read_head
from .uri import MilvusUri

__all__ = ["BATCH_IDS", "LIMIT", "Tables", "both"]

# gRPC refuses messages of 64 MB.
BATCH_BYTES = 8 << 20
BATCH_IDS = 4096
# The most rows that one query or search returns.
LIMIT = 16_384
_PAGE = 1024
_MOST_ID = 1 << 63


class Tables:
    """A generation's clips, segments and stretches.

    Parameters
    ----------
    client : MilvusClient
    uri : MilvusUri
    row : dict
        The settings row of this generation.
    """

    def __init__(self, client: MilvusClient, uri: MilvusUri, row: Row) -> None:
        self.client = client
        self.uri = uri
        self.state = state_collection(uri)
        self.settings = settings_of(row)
        self.row = row
        self.generation: int = row["generation"]
        self.head_digest: str | None = row.get("head")
        names = collections_of(uri, self.generation)
        self.clips, self.segments, self.stretches = names
        for name in names:
            client.load_collection(name)
        # The index types of the collections that are searched.
        self.indexes = {
            name: client.index_type(name) or "FLAT" for name in (self.segments, self.stretches)
        }
        # The consistency level of reads: "Session" once this store has written.
        self.level = "Bounded"
        self.is_written_out = True
        self._deletions = dict.fromkeys(names, 0)
        self._strongly_read = dict(self._deletions)
        # The end of the clip ids when the counters were last read.
        self.end = 0
        self._lock = threading.Lock()

    @property
    def segments_per_batch(self) -> int:
        """How many segments with vectors fit one message."""
        return max(1, BATCH_BYTES // (4 * self.settings.dimension + 64))

    def query(
        self,
        collection: str,
        expression: str,
        fields: Sequence[str],
        level: str | None = None,
        limit: int | None = LIMIT,
    ) -> list[Row]:
        """The rows that match an expression, in no particular order.

        On a 2.3 server the level Session waits for upserts but not for deletions. After deletions,
        one Strong read brings the server's view up to date for good.
        """
        deletions = self._deletions[collection]
        behind = self._strongly_read[collection] < deletions
        if level is None:
            level = "Strong" if behind else self.level
        rows = self.client.query(collection, expression, fields, level, limit)
        if behind and level == "Strong":
            self._was_strongly_read(collection, deletions)
        return rows

    def nearest(
        self,
        collection: str,
        queries: NDArray[np.float32],
        limit: int,
        fields: Sequence[str],
        expression: str = "",
        clips: int | None = None,
    ) -> list[list[Row]]:
        """For each query, the nearest matching segments, or stretches, with these fields.

        `clips` is how many clips the expression lets through: of fewer, an IVF index must probe
        more cells.
        """
        deletions = self._deletions[collection]
        behind = self._strongly_read[collection] < deletions
        for attempt in (1, 2):
            index = self.indexes[collection]
            spread = 1.0
            if clips is not None and "IVF" in index:
                spread = (self.end or self.numbers()["id"]) / max(1, clips)
            try:
                found = self.client.search(
                    collection,
                    list(queries),
                    limit,
                    search_parameters(index, limit, spread),
                    fields,
                    "Strong" if behind else self.level,
                    expression,
                )
                break
            except LibraryError:
                changed = self.client.index_type(collection)
                if attempt == 2 or changed is None or changed == index:
                    raise
                self.indexes[collection] = changed  # by another process
        if behind:
            self._was_strongly_read(collection, deletions)
        return found

    def _was_strongly_read(self, collection: str, deletions: int) -> None:
        with self._lock:
            self._strongly_read[collection] = max(deletions, self._strongly_read[collection])

    def by_ids(
        self, collection: str, ids: Iterable[int], fields: Sequence[str], level: str | None = None
    ) -> list[Row]:
        """The existing rows with these ids, in no particular order."""
        batch = BATCH_IDS
        if "vector" in fields:
            batch = min(batch, self.segments_per_batch)
        # Milvus refuses to read others, which no row has.
        wanted = sorted({number for number in ids if abs(number) < _MOST_ID})
        rows: list[Row] = []
        for begin in range(0, len(wanted), batch):
            expression = f"id in {wanted[begin : begin + batch]}"
            rows += self.query(collection, expression, fields, level)
        return rows

    def clip_pages(
        self, fields: Sequence[str], page: int = _PAGE, expression: str = ""
    ) -> Iterator[list[Row]]:
        """Iterate over the matching clip rows, ordered by id, a page at a time."""
        if expression and (rows := self._few(fields, page, expression)) is not None:
            yield sorted(rows, key=_id)
            return
        end = self.numbers()["id"]
        for first in range(1, end, page):
            window = both(f"id >= {first} and id < {first + page}", expression)
            yield sorted(self.query(self.clips, window, fields), key=_id)

    def all_clips(self, fields: Sequence[str], page: int, expression: str) -> Iterator[list[Row]]:
        """As `clip_pages` but unordered, and, if these are few, in one request.

        Without `data`, a known id range is not read again.
        """
        if not self.end and (rows := self._few(fields, page, expression)) is not None:
            yield rows
            return
        end = self.end if self.end and "data" not in fields else self.numbers()["id"]
        for first in range(1, max(2, end), page):
            is_last = first + page >= end
            window = f"id >= {first}" if is_last else f"id >= {first} and id < {first + page}"
            yield self.query(self.clips, both(window, expression), fields, limit=None)

    def _few(self, fields: Sequence[str], page: int, expression: str) -> list[Row] | None:
        """The matching clip rows, if they are less than a page, and than a request returns."""
        most = min(page, LIMIT)
        rows = self.query(self.clips, both("id > 0", expression), fields, limit=most)
        return rows if len(rows) < most else None

    def failure_pages(self, fields: Sequence[str]) -> Iterator[list[Row]]:
        """Iterate over all failures; their ids are hashes, so equal ranges hold equally many."""

        def part(first: int, last: int) -> Iterator[list[Row]]:
            window = f"id <= {-1 - first} and id > {-1 - last}"
            rows = self.query(self.clips, window, fields)
            if len(rows) < LIMIT // 2:
                yield rows
            else:
                middle = (first + last) // 2
                yield from part(first, middle)
                yield from part(middle, last)

        return part(0, 1 << 62)

    def numbers(self, level: str | None = None) -> dict[str, int]:
        """The counters of ids and editions."""
        numbers = numbers_of(self.client, self.uri, level or self.level)
        self.end = numbers["id"]
        return numbers

    def head(self) -> bytes:
        """The file of the head that the labels are of."""
        return read_head(self.client, self.uri, self.generation, self.head_digest or "")

    def key(self) -> str | None:
        """The tag that is the key of clips."""
        row = state_of(self.client, self.state, KEY, self.level)
        return None if row is None else str(row["tag"])

    def delete(self, collection: str, ids: Sequence[int]) -> None:
        """Delete rows by their ids."""
        for begin in range(0, len(ids), BATCH_IDS):
            self.client.delete(collection, ids[begin : begin + BATCH_IDS])
        if ids:
            self.note_deletion(collection)

    def note_deletion(self, collection: str) -> None:
        """Note a deletion, by this process or others, so that the next read is Strong."""
        with self._lock:
            self._deletions[collection] += 1


def both(one: str, other: str) -> str:
    """Join two expressions by `and`; "" matches everything."""
    return f"({one}) and ({other})" if one and other else one or other


def _id(row: Row) -> int:
    id: int = row["id"]
    return id
