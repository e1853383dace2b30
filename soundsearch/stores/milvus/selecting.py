"""The clips that a filter lets through, and how a search is kept to them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..filters import Filter, matches
from ..records import StoredClip
from .expressions import among, are_enough, compile_filter
from .rows import CLIP_FIELDS, NAMED_FIELDS, SEEN_FIELDS, clip_of, named_clip
from .tables import BATCH_IDS, Tables

__all__ = ["Seen", "Selection", "clips_of", "select"]

# The most clip ids that one search lists.
_LISTED = 50_000
# How many clips are read at a time: `SEEN_FIELDS` only, and whole rows.
_SEEN_PAGE = 1 << 18
_WHOLE_PAGE = 4096


@dataclass(frozen=True, slots=True)
class Seen:
    """The state in which a reading saw a clip."""

    edition: int
    revision: int
    segments: int


@dataclass(frozen=True, slots=True)
class Selection:
    """The clips that a filter lets through: int64 [n] each, ordered by id."""

    ids: NDArray[np.int64]
    editions: NDArray[np.int64]
    revisions: NDArray[np.int64]
    segments: NDArray[np.int64]

    def seen(self, clip_ids: Iterable[int]) -> dict[int, Seen]:
        """The states of those of these clips that the filter lets through."""
        wanted = np.unique(np.fromiter(clip_ids, np.int64))
        at = np.searchsorted(self.ids, wanted)
        at = at[(at < len(self.ids))]
        at = at[np.isin(self.ids[at], wanted)]
        return {
            id: Seen(*numbers)
            for id, *numbers in zip(
                self.ids[at].tolist(),
                self.editions[at].tolist(),
                self.revisions[at].tolist(),
                self.segments[at].tolist(),
                strict=True,
            )
        }

    def expressions(self) -> list[str]:
        """Expressions that together match the segments of these clips."""
        if not len(self.ids):
            return []
        first, last = int(self.ids[0]), int(self.ids[-1])
        between = f"clip >= {first} and clip <= {last}"
        left_out = last - first + 1 - len(self.ids)
        if not left_out:
            return [between]
        if left_out < len(self.ids) and left_out <= _LISTED:
            others = np.setdiff1d(np.arange(first, last + 1), self.ids, assume_unique=True)
            return [f"({between}) and not ({among('clip', others)})"]
        return [
            among("clip", self.ids[begin : begin + _LISTED])
            for begin in range(0, len(self.ids), _LISTED)
        ]


def select(tables: Tables, filter: Filter) -> Selection:
    """Find the clips that a filter lets through."""
    compiled = compile_filter(filter, tables.uri.lite)
    rest = compiled.rest
    fields: Sequence[str] = CLIP_FIELDS
    clip, page = clip_of, _WHOLE_PAGE
    if rest is None:
        fields, page = SEEN_FIELDS, _SEEN_PAGE
    elif are_enough(NAMED_FIELDS, rest):
        fields, clip = NAMED_FIELDS, named_clip
    numbers: list[tuple[int, ...]] = []
    if compiled.text is not None:
        for rows in tables.all_clips(fields, page, compiled.text):
            numbers += [
                tuple(row[name] for name in SEEN_FIELDS)
                for row in rows
                if rest is None or matches(rest, clip(row))
            ]
    array = np.array(sorted(numbers), np.int64).reshape(-1, len(SEEN_FIELDS))
    return Selection(*np.ascontiguousarray(array.T))


def clips_of(tables: Tables, filter: Filter) -> Iterator[StoredClip]:
    """The clips that a filter lets through, ordered by id; read in pages."""
    compiled = compile_filter(filter, tables.uri.lite)
    if compiled.text is None:
        return
    if compiled.rest is None:
        for rows in tables.clip_pages(CLIP_FIELDS, _WHOLE_PAGE, compiled.text):
            yield from map(clip_of, rows)
        return
    ids = select(tables, filter).ids.tolist()
    for begin in range(0, len(ids), BATCH_IDS):
        rows = tables.by_ids(tables.clips, ids[begin : begin + BATCH_IDS], CLIP_FIELDS)
        clips = map(clip_of, sorted(rows, key=lambda row: int(row["id"])))
        yield from (clip for clip in clips if matches(filter, clip))  # as it is now
