"""What a store keeps: the one place that says which fields a clip has.

A new field needs a line in `ClipRecord`, a line in the row codec of each store
(`soundsearch.stores.local.catalog`, `soundsearch.stores.milvus.rows`) and a migration of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.discover import AudioFile

__all__ = [
    "CLIP_LABELS",
    "LABEL",
    "NO_LABEL",
    "SEGMENT",
    "SEGMENT_LABELS",
    "ClipRecord",
    "Counts",
    "FailureRecord",
    "NewClip",
    "Settings",
    "StoredClip",
    "TagValue",
]

# Predicted labels that are kept, at most.
SEGMENT_LABELS = 5
CLIP_LABELS = 10

# A label as it is stored; `NO_LABEL` fills the places of labels that are not there.
LABEL = np.dtype([("class_index", "<u2"), ("score", "<f2")])
NO_LABEL = 0xFFFF

# What is kept of a segment beside its vector.
SEGMENT = np.dtype([("level", "<f4"), ("labels", LABEL, SEGMENT_LABELS)])

_STALE = "the file has changed and is no sound any more: "

TagValue = str | float | bool


@dataclass(frozen=True, slots=True)
class Settings:
    """What a library was made with, for ever.

    Attributes
    ----------
    encoder, space : str
    dimension : int
    segment_seconds, hop : float
        Length of a segment, and from one segment's start to the next one's.
    """

    encoder: str
    space: str
    dimension: int
    segment_seconds: float
    hop: float


@dataclass(frozen=True, slots=True)
class Counts:
    """How many clips, segments and failures a store holds."""

    clips: int
    segments: int
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class ClipRecord:
    """What is known of a clip, beside its segments.

    Attributes
    ----------
    file : AudioFile
        Uri, size and modification time.
    digest : bytes
        BLAKE3 of the content, 32 bytes.
    duration : float
        Seconds.
    padded : bool
        Shorter than one segment, zero-padded to one.
    warning : str or None
        Why the clip may hold less than the file promised, or another sound than the file does
        by now, see `is_stale`.
    labels : LABEL [CLIP_LABELS]
        Predicted, best first.
    human_labels : tuple of int
        Class indices that people gave it.
    tags : mapping of str to str, float or bool
        What the user attached to it. Never changed in place.
    """

    file: AudioFile
    digest: bytes
    duration: float
    padded: bool = False
    warning: str | None = None
    labels: NDArray[np.void]
    human_labels: tuple[int, ...] = ()
    tags: Mapping[str, TagValue] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<ClipRecord {self.uri}, {self.duration:.2f} s>"

    @property
    def uri(self) -> str:
        """Absolute path or URL."""
        return self.file.uri

    @property
    def is_stale(self) -> bool:
        """Whether the file was replaced by something that cannot be heard."""
        return self.warning is not None and self.warning.startswith(_STALE)

    def as_stale(self, reason: str) -> ClipRecord:
        """The record of a clip whose file was replaced by something that cannot be heard."""
        return replace(self, warning=f"{_STALE}{reason}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class NewClip:
    """A clip on its way into a store.

    Attributes
    ----------
    record : ClipRecord
    embeddings : float32 [segments, dimension]
        As the encoder gave them, not normalised.
    segments : SEGMENT [segments]
    """

    record: ClipRecord
    embeddings: NDArray[np.float32]
    segments: NDArray[np.void]

    def __repr__(self) -> str:
        return f"<NewClip {self.record.uri}, {len(self.embeddings)} segments>"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class StoredClip:
    """A clip as a store knows it; `count` is its number of segments."""

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
    """A file that failed; `digest` is None where the content is not known to be the cause."""

    file: AudioFile
    digest: bytes | None
    reason: str
