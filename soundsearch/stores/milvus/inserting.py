"""Writing clips whose numbers were drawn: the same rows whoever writes them, and however often."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ...errors import LibraryError
from ..pooling import stretch_length
from ..records import ClipRecord, NewClip
from .client import Row
from .rows import clip_row, segment_rows
from .stretches import stretch_rows
from .tables import Tables

__all__ = ["Numbers", "insert", "record_row"]


class Numbers(NamedTuple):
    """The id of a clip, and the edition that its segments are stored under."""

    id: int
    edition: int


def insert(
    tables: Tables, clips: Sequence[tuple[NewClip, Numbers]], check: Callable[[], None]
) -> list[Row]:
    """Write clips: first their segments and stretches, then, all at once, the rows that show them.

    Ended before its last step, it has changed nothing that a reader sees; repeated, by this
    process or another, it writes the same rows. `check` is called before each step: it raises
    where the right to write was lost.

    Returns
    -------
    list of dict
        The clips' rows.
    """
    rows = [
        record_row(tables, numbers.id, clip.record, len(clip.embeddings), numbers.edition)
        for clip, numbers in clips
    ]
    check()
    limit = tables.segments_per_batch
    _write(
        tables,
        tables.segments,
        (
            segment_rows(clip, numbers.id, numbers.edition, begin, begin + limit)
            for clip, numbers in clips
            for begin in range(0, len(clip.embeddings), limit)
        ),
    )
    length = stretch_length(tables.settings)
    _write(
        tables,
        tables.stretches,
        (
            stretch_rows(clip.embeddings, clip.segments, length, numbers.id, numbers.edition)
            for clip, numbers in clips
        ),
    )
    check()
    tables.client.upsert(tables.clips, rows)
    return rows


def record_row(
    tables: Tables,
    id: int,
    record: ClipRecord,
    segments: int,
    edition: int,
    revision: int | None = None,
) -> Row:
    """A clip's row; its revision is by default its edition.

    Raises
    ------
    LibraryError
        The record holds what Milvus cannot.
    """
    revision = edition if revision is None else revision
    try:
        return clip_row(id, record, segments, edition, revision, tables.uri.lite)
    except (TypeError, ValueError) as error:
        raise LibraryError(
            f"{tables.uri}: the clip {record.uri!r} cannot be stored: {error}"
        ) from error


def _write(tables: Tables, collection: str, parts: Iterable[list[Row]]) -> None:
    """Write rows in batches that fit one message."""
    limit = tables.segments_per_batch
    batch: list[Row] = []
    for rows in parts:
        batch += rows
        while len(batch) >= limit:
            tables.client.upsert(collection, batch[:limit])
            del batch[:limit]
    if batch:
        tables.client.upsert(collection, batch)
