"""What a store is: where clips and their vectors live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.discover import AudioFile

from ..labels.head import LABEL

__all__ = [
    "CLIP_LABELS",
    "SEGMENT",
    "SEGMENT_LABELS",
    "NewClip",
    "Settings",
    "Span",
    "Store",
    "StoredClip",
    "StoredFailure",
]

Span = tuple[int, int, int]

SEGMENT_LABELS = 5
CLIP_LABELS = 10

# What is kept of a segment beside its vector.
SEGMENT = np.dtype([("level", "<f4"), ("labels", LABEL, SEGMENT_LABELS)])


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


@dataclass(frozen=True, slots=True, eq=False)
class NewClip:
    """A clip on its way into a store.

    Attributes
    ----------
    file : AudioFile
    digest : bytes
        BLAKE3 of the content.
    duration : float
        Seconds.
    padded : bool
    warning : str or None
    embeddings : float32 [segments, dimension]
        As the encoder gave them, not normalised.
    segments : SEGMENT [segments]
    labels : LABEL [CLIP_LABELS]
        Predicted.
    human : tuple of int
        Class indices that people gave it.
    """

    file: AudioFile
    digest: bytes
    duration: float
    padded: bool
    warning: str | None
    embeddings: NDArray[np.float32]
    segments: NDArray[np.void]
    labels: NDArray[np.void]
    human: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class StoredClip:
    """A clip as a store knows it; see `NewClip`. `count` is its number of segments."""

    id: int
    file: AudioFile
    digest: bytes
    duration: float
    padded: bool
    warning: str | None
    count: int
    labels: NDArray[np.void]
    human: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StoredFailure:
    """A file that failed. `digest` is None when it could not even be read."""

    file: AudioFile
    digest: bytes | None
    reason: str


class Store(Protocol):
    """The small interface that every backend has; one test suite holds them all to it."""

    settings: Settings
    where: str

    def counts(self) -> tuple[int, int, int]:
        """Clips, segments, failures."""
        ...

    def clips(self) -> Iterator[StoredClip]:
        """Every clip, in the order of ids."""
        ...

    def clips_by_id(self, clip_ids: Sequence[int]) -> dict[int, StoredClip]:
        """Those of these clips that are there, by their ids."""
        ...

    def clip_at(self, uri: str) -> StoredClip | None: ...

    def clips_with(self, digest: bytes) -> list[StoredClip]:
        """The clips with this content. Safe to call from any thread."""
        ...

    def failures(self) -> Iterator[StoredFailure]: ...

    def failure_at(self, uri: str) -> StoredFailure | None: ...

    def failure_with(self, digest: bytes) -> StoredFailure | None:
        """A failure of this content. Safe to call from any thread."""
        ...

    def lengths(self, clip_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many segments these clips have, int64 [n]; 0 for a clip that is not there."""
        ...

    def rows(self, spans: Sequence[Span]) -> tuple[NDArray[np.float32], NDArray[np.void]]:
        """What is stored of stretches of clips, one after the other.

        Parameters
        ----------
        spans : sequence of (clip_id, first, last)
            Segments from `first` up to `last` of a clip.

        Returns
        -------
        vectors : float32 [n, dimension]
            As the encoder gave them; n is the sum of the spans' lengths.
        segments : SEGMENT [n]

        Raises
        ------
        KeyError
            A clip is not there or has fewer segments.
        """
        ...

    def search(
        self, queries: NDArray[np.float32], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The segments with the highest cosine to each query.

        Parameters
        ----------
        queries : float32 [n, dimension]
            Of any length, none of them zero.
        k : int

        Returns
        -------
        clip_ids, segments : int64 [n, m]
            The clip and the segment's number in it, nearest first, m <= k; where a query
            has fewer, -1 fills the end.
        scores : float32 [n, m]
            Cosines, exact.
        """
        ...

    def writing(self) -> AbstractContextManager[None]:
        """Hold the store for writing; the methods below need it.

        Raises
        ------
        LibraryBusy
            Another process holds it.
        """
        ...

    def add(self, clips: Sequence[NewClip]) -> None:
        """Store clips, all or none, each in the place of a clip at the same uri.

        What failed at that uri before is forgotten. Durable when it returns.
        """
        ...

    def fail(self, failures: Sequence[StoredFailure]) -> None: ...

    def move(self, clip_id: int, file: AudioFile) -> None:
        """Give a clip another file: a new uri, or a new time for the same content."""
        ...

    def remove(self, clip_ids: Sequence[int]) -> None: ...

    def forget_failures(self, uris: Sequence[str]) -> None: ...

    def optimise(self, on_progress: Callable[[str], None] = lambda _text: None) -> None:
        """Bring whatever makes searching fast up to date; called after an ingest."""
        ...

    def rebuild(self, on_progress: Callable[[str], None] = lambda _text: None) -> int:
        """Make everything derived anew and free what removed clips left.

        Returns how many clips had to be given up because their vectors are lost.
        """
        ...

    def successor(self, settings: Settings) -> Store:
        """A store for the same clips in another space; goes on with one that was begun."""
        ...

    def adopt(self, successor: Store) -> None:
        """Take over a successor's settings, clips and failures in one step, and delete it.

        A clip at the same uri keeps its id.
        """
        ...

    def close(self) -> None: ...
