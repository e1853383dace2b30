"""Rows of a catalogue's tables as records, and back. A row that no library stores is refused."""

from __future__ import annotations

import json
import math
import os
import zlib
from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from soundsearch_ingest.discover import AudioFile

from ..records import LABEL, ClipRecord, FailureRecord, HumanEvent, StoredClip, TagValue
from .postings import HUMAN

__all__ = [
    "FAILURE",
    "PLACE",
    "POSTED",
    "RECORD",
    "clip_of",
    "failure_of",
    "is_sound",
    "record_sum",
    "row_of",
]

# The columns that hold a record, in the order in which `row_of` and `_record_of` have them.
RECORD = (
    "uri", "size", "mtime_ns", "digest", "duration", "padded", "warning", "labels",
    "human_labels", "tags", "human_events", "record_sum",
)  # fmt: skip
# Those that say where its rows are, and what they were when they were written.
PLACE = ("first_row", "count", "checksum")
# Those of a failure.
FAILURE = "uri, size, mtime_ns, digest, reason"
# Those that are posted for filters.
POSTED = slice(RECORD.index("labels"), RECORD.index("human_labels") + 1)
_TEXT_OR_NONE = (str, type(None))
# Types that the columns of a row may have.
_CLIP_TYPES = frozenset(
    product(
        (int,), (int,), (bytes,), (int,), (int,), (bytes,), (float,), (int,), _TEXT_OR_NONE,
        (bytes,), (bytes,), _TEXT_OR_NONE, _TEXT_OR_NONE, (int, type(None)),
    )
)  # fmt: skip
_FAILURE_TYPES = frozenset(product((bytes,), (int,), (int,), (bytes, type(None)), (str,)))


# A record as bytes, for its checksum: fast, and of one meaning, as the first uri ends at a zero.
_SUMMED = b"%b\0%d %d %b%r %d %r%b\0%b%r"


def row_of(record: ClipRecord) -> tuple[Any, ...]:
    """The columns `RECORD` of a clip."""
    row = (
        os.fsencode(record.file.uri),
        int(record.file.size),
        int(record.file.mtime_ns),
        record.digest,
        float(record.duration),
        int(record.padded),
        record.warning,
        record.labels.astype(LABEL, copy=False).tobytes(),
        np.array(record.human_labels, HUMAN).tobytes(),
        # As `conditions` expects it: ASCII, no spaces. NULL when there are none.
        json.dumps(dict(record.tags), separators=(",", ":")) if record.tags else None,
        _packed_events(record.human_events) if record.human_events else None,
    )
    return (*row, record_sum(row))


def record_sum(row: Sequence[Any]) -> int:
    """The checksum of the columns `RECORD` before it."""
    *first, events = row
    found = zlib.crc32(_SUMMED % tuple(first))
    # As before there were any, where there are none.
    return found if events is None else zlib.crc32(repr(events).encode(), found)


def _record_of(row: Sequence[Any]) -> ClipRecord:
    uri, size, mtime_ns, digest, duration, padded, warning, labels, human_labels, *rest = row
    tags, human_events, _ = rest
    return ClipRecord(
        file=AudioFile(os.fsdecode(uri), size, mtime_ns),
        digest=digest,
        duration=duration,
        padded=bool(padded),
        warning=warning,
        labels=np.frombuffer(labels, LABEL),
        human_labels=tuple(np.frombuffer(human_labels, HUMAN).tolist()),
        human_events=_events_of(human_events) if human_events else (),
        tags=_tags_of(tags) if tags else {},
    )


def clip_of(row: Sequence[Any]) -> StoredClip:
    """A clip of its id, its count and its columns `RECORD`; raises ValueError where it is none."""
    _check_clip(row)
    if not is_sound(row):
        raise ValueError(f"the record of {os.fsdecode(row[2])} is damaged")
    return StoredClip(id=row[0], count=row[1], record=_record_of(row[2:]))


def is_sound(row: Sequence[Any]) -> bool:
    """Whether a clip's columns are what was stored, as far as that is known."""
    return row[-1] is None or record_sum(row[2:-1]) == row[-1]


def failure_of(row: Sequence[Any]) -> FailureRecord:
    """A failure of its columns; raises ValueError where it is none."""
    _check_failure(row)
    uri, size, mtime_ns, digest, reason = row
    return FailureRecord(AudioFile(os.fsdecode(uri), size, mtime_ns), digest, reason)


def _check_clip(row: Sequence[Any]) -> None:
    """Raise ValueError where the columns of a clip are not such as a library stores."""
    if tuple(map(type, row)) not in _CLIP_TYPES:
        raise ValueError("a clip has a column of another type")
    _, count, uri, size, _, digest, duration, *_ = row
    if count < 1 or size < 0 or len(digest) != 32 or not 0 <= duration < math.inf:
        raise ValueError("a clip has a number that is out of range")
    if not uri or 0 in uri:
        raise ValueError("a clip has a uri that is none")


def _tags_of(text: str) -> dict[str, TagValue]:
    """The tags of a clip; raises ValueError where they are none."""
    try:
        tags = json.loads(text)
    except (ValueError, RecursionError):
        tags = None
    if not isinstance(tags, dict) or not all(map(_is_tag, tags.values())):
        raise ValueError("a clip has tags that are none")
    return tags


def _packed_events(events: Sequence[HumanEvent]) -> str:
    return json.dumps([event.packed() for event in events], separators=(",", ":"))


def _events_of(text: str) -> tuple[HumanEvent, ...]:
    """What people said of a clip; raises ValueError where it is none."""
    try:
        stored = json.loads(text)
    except RecursionError:
        stored = None
    return HumanEvent.of(stored)


def _is_tag(value: Any) -> bool:
    return isinstance(value, (str, bool, int)) or (
        isinstance(value, float) and math.isfinite(value)
    )


def _check_failure(row: Sequence[Any]) -> None:
    """Raise ValueError where the columns of a failure are not such as a library stores."""
    if tuple(map(type, row)) not in _FAILURE_TYPES:
        raise ValueError("a failure has a column of another type")
    if not row[0] or 0 in row[0]:
        raise ValueError("a failure has a uri that is none")
