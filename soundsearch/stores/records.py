"""The records of a store: the only place that lists the fields of a clip.

A new field needs a line in `ClipRecord` and, for each store, a line in its row codec
(`soundsearch.stores.local.catalog`, `soundsearch.stores.milvus.rows`) and a migration.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.discover import AudioFile

from ..errors import ArgumentError

__all__ = [
    "CLIP_LABELS",
    "LABEL",
    "LARGEST_WHOLE",
    "NO_LABEL",
    "SEGMENT",
    "SEGMENT_LABELS",
    "ClipName",
    "ClipRecord",
    "Counts",
    "FailureRecord",
    "HumanEvent",
    "Key",
    "NewClip",
    "Settings",
    "StoredClip",
    "TagValue",
    "TagsOf",
    "Tuning",
    "is_storable",
    "is_uri",
    "scalar",
]

# How many predicted labels are kept, at most.
SEGMENT_LABELS = 5
CLIP_LABELS = 10

# A stored label; unused places hold `NO_LABEL`.
LABEL = np.dtype([("class_index", "<u2"), ("score", "<f2")])
NO_LABEL = 0xFFFF

# What is stored of a segment besides its vector.
SEGMENT = np.dtype([("level", "<f4"), ("labels", LABEL, SEGMENT_LABELS)])

_FAIR_RECALL = 0.98
_STALE = "the file has changed and is no sound any more: "

TagValue = str | float | bool

# Whole numbers up to here are told apart as floats, which is how tags hold them.
LARGEST_WHOLE = 2**53
_WHOLE = re.compile(r"0|-?[1-9]\d{0,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Key:
    """The clip whose key this is: the value of the tag that was declared with `Library.use_key`.

    A uri is never taken for a key, nor a key for a uri. A whole number and its digits as a text are
    the same key.

    Parameters
    ----------
    value : str or int

    Raises
    ------
    ArgumentError
        It is no text or whole number, or an empty text.
    """

    value: str

    def __init__(self, value: str | int) -> None:
        text = _key_text(value)
        if text is None:
            raise ArgumentError(f"expected a text or a whole number as a key, got {value!r}")
        object.__setattr__(self, "value", text)

    def __str__(self) -> str:
        return self.value

    @classmethod
    def of(cls, tag: TagValue | None) -> Key | None:
        """The key that the value of a tag is; None if it is none."""
        text = _key_text(tag)
        return None if text is None else cls(text)

    @property
    def values(self) -> tuple[TagValue, ...]:
        """The values of a tag that are this key."""
        is_whole = _WHOLE.fullmatch(self.value) and abs(int(self.value)) <= LARGEST_WHOLE
        return (self.value, float(self.value)) if is_whole else (self.value,)


def _key_text(value: Any) -> str | None:
    value = scalar(value)
    if isinstance(value, str):
        return value if value and is_storable(value) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    is_whole = value == value and abs(value) <= LARGEST_WHOLE and value == int(value)
    return str(int(value)) if is_whole else None


# How a clip of a library is named: its uri, its id, or its key.
ClipName = str | os.PathLike[str] | int | Key


# Tags for clips, by their names; None takes one away.
TagsOf = (
    Mapping[str, Mapping[str, TagValue | None]]
    | Mapping[int, Mapping[str, TagValue | None]]
    | Mapping[str | int | Key, Mapping[str, TagValue | None]]
)


def scalar(value: Any) -> Any:
    """A NumPy scalar, or one like it, as a value of Python; what is none as it is."""
    if hasattr(value, "item") and not isinstance(value, str):
        with suppress(TypeError, ValueError, RuntimeError):  # an array of several
            return value.item()
    return value


def is_uri(text: str) -> bool:
    """Whether a uri can be so; names of files may have bytes that are no UTF-8."""
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def is_storable(text: str) -> bool:
    """Whether a text has no lone surrogates, which not every store can keep."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Settings:
    """The fixed properties of a library.

    Attributes
    ----------
    encoder, space : str
    dimension : int
    segment_seconds, hop : float
        Length of a segment, and time from the start of one segment to the start of the next.
    """

    encoder: str
    space: str
    dimension: int
    segment_seconds: float
    hop: float


@dataclass(frozen=True, slots=True)
class Tuning:
    """How an approximate index is searched, and what was measured of that.

    Attributes
    ----------
    cells, all_cells : int
        How many cells a search visits, and how many there are.
    candidates : int
        How many segments from them are scored exactly.
    recall : float
        The share of the ten nearest segments that are found so.
    queries : int
        How many were tried.
    rows : int
        How many segments the index held then.
    """

    cells: int
    all_cells: int
    candidates: int
    recall: float
    queries: int
    rows: int

    def __post_init__(self) -> None:
        if not (1 <= self.cells <= self.all_cells and self.candidates >= 1 and self.rows >= 1):
            raise ValueError(f"not a tuning of an index: {self}")

    @property
    def warning(self) -> str | None:
        """What to say of a low recall."""
        if self.recall >= _FAIR_RECALL:
            return None
        return (
            f"searches find {self.recall:.1%} of the ten nearest segments; to find more would take "
            "many times as long"
        )


@dataclass(frozen=True, slots=True)
class Counts:
    """How many clips, segments and failures a store holds."""

    clips: int
    segments: int
    failures: int


@dataclass(frozen=True, slots=True)
class HumanEvent:
    """What people said of a class in a stretch of a clip.

    Attributes
    ----------
    class_index : int
    onset, offset : float
        Seconds; both 0 for the clip as a whole, without saying when.
    is_heard : bool
        Whether it is heard there, or is not, whatever was predicted.
    """

    class_index: int
    onset: float
    offset: float
    is_heard: bool

    @property
    def is_whole(self) -> bool:
        """Whether it is said of the clip as a whole."""
        return self.offset == 0

    @classmethod
    def of(cls, stored: Any) -> tuple[HumanEvent, ...]:
        """Events of what `packed` gave; raises ValueError where it is none."""
        try:
            events = tuple(
                cls(int(index), float(onset), float(offset), bool(is_heard))
                for index, onset, offset, is_heard in stored
            )
        except (TypeError, ValueError, OverflowError):
            events = None
        if (
            not isinstance(stored, (list, tuple))
            or events is None
            or not all(
                0 <= event.class_index < NO_LABEL and 0 <= event.onset <= event.offset < math.inf
                for event in events
            )
        ):
            raise ValueError("a clip has events of people that are none")
        return events

    def packed(self) -> tuple[int, float, float, int]:
        """Plain numbers, which JSON keeps."""
        return self.class_index, self.onset, self.offset, int(self.is_heard)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ClipRecord:
    """What is known of a clip besides its segments.

    Attributes
    ----------
    file : AudioFile
        Uri, size and modification time.
    digest : bytes
        BLAKE3 of the content, 32 bytes.
    duration : float
        Seconds.
    padded : bool
        Whether the clip is shorter than one segment and was zero-padded.
    warning : str or None
        Why the clip may hold less sound than the file promised, or why the file no longer holds
        this sound (see `is_stale`).
    labels : LABEL [CLIP_LABELS]
        Predicted, best first.
    human_labels : tuple of int
        Class indices given by people, those that they heard in a stretch of it included.
    human_events : tuple of HumanEvent
        What people said of stretches of the clip, and which classes they did not hear.
    tags : mapping of str to str, float or bool
        What the user attached to the clip. Never changed in place.
    """

    file: AudioFile
    digest: bytes
    duration: float
    padded: bool = False
    warning: str | None = None
    labels: NDArray[np.void]
    human_labels: tuple[int, ...] = ()
    human_events: tuple[HumanEvent, ...] = ()
    tags: Mapping[str, TagValue] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<ClipRecord {self.uri}, {self.duration:.2f} s>"

    @property
    def uri(self) -> str:
        """Absolute path or URL."""
        return self.file.uri

    @property
    def is_stale(self) -> bool:
        """Whether the file was replaced by one that cannot be decoded."""
        return self.warning is not None and self.warning.startswith(_STALE)

    def as_stale(self, reason: str) -> ClipRecord:
        """This record for a clip whose file was replaced by one that cannot be decoded."""
        return replace(self, warning=f"{_STALE}{reason}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class NewClip:
    """A clip on its way into a store.

    Attributes
    ----------
    record : ClipRecord
    embeddings : float32 [n, dimension]
        As the encoder gave them, not normalised.
    segments : SEGMENT [n]
    """

    record: ClipRecord
    embeddings: NDArray[np.float32]
    segments: NDArray[np.void]

    def __repr__(self) -> str:
        return f"<NewClip {self.record.uri}, {len(self.embeddings)} segments>"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StoredClip:
    """A stored clip; `count` is its number of segments."""

    id: int
    count: int
    record: ClipRecord

    def __repr__(self) -> str:
        return f"<StoredClip {self.id}: {self.uri}, {self.count} segments>"

    @property
    def uri(self) -> str:
        """Absolute path or URL."""
        return self.record.file.uri


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """A file that failed; `digest` is None if the content is not known to be the cause."""

    file: AudioFile
    digest: bytes | None
    reason: str
