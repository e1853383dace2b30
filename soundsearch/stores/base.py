"""What a store is: where clips and their vectors live."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ..results import Finding
from ..vectors import Directions
from .filters import Filter
from .parts import Part
from .records import (
    ClipRecord,
    Counts,
    FailureRecord,
    Key,
    NewClip,
    Settings,
    StoredClip,
    Tuning,
)

__all__ = [
    "ClipChanged",
    "LabelsOf",
    "OnClips",
    "OnStep",
    "Reading",
    "SaidOf",
    "Span",
    "Store",
    "not_in",
]

# How many clips a store is asked about at a time.
_TOGETHER = 512
# A clip's id, the number of its first segment and the number after its last.
Span = tuple[int, int, int]
OnStep = Callable[[str], None]
OnClips = Callable[[int], None]
# Predicts labels, as `soundsearch.labels.predict` does: of clips, each the embeddings and levels of
# its segments, those of the segments, LABEL [n, SEGMENT_LABELS], and of the clip, [CLIP_LABELS].
LabelsOf = Callable[
    [Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]]],
    list[tuple[NDArray[np.void], NDArray[np.void]]],
]
# Makes of a clip's record one with what people say of it, where classes get other indices.
SaidOf = Callable[[ClipRecord], ClipRecord]


class ClipChanged(Exception):
    """A clip was removed or replaced since this reading saw it; open another reading."""


class Reading(Protocol):
    """One consistent view of a store, opened for one answer.

    Used by one thread at a time. Every method raises `ClipChanged` if the store no longer has the
    state that this reading saw.
    """

    def head_digest(self) -> str | None:
        """Which head the labels are of; see `Store.head_digest`."""
        ...

    def head(self) -> bytes:
        """The file of that head; see `Store.head`."""
        ...

    def counts(self, filter: Filter | None = None) -> Counts:
        """How many clips and segments a filter lets through, and how many failures there are."""
        ...

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        ...

    def clips_keyed(self, keys: Sequence[Key]) -> dict[Key, StoredClip]:
        """The clips that have these keys; see `Store.clips_keyed`."""
        ...

    def clips_by_id(self, clip_ids: Sequence[int]) -> dict[int, StoredClip]:
        """Those of these clips that exist, by id."""
        ...

    def ids(self, filter: Filter | None = None) -> NDArray[np.int64]:
        """The clips that a filter lets through, int64 [n], ascending."""
        ...

    def lengths(self, clip_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many segments these clips have, int64 [n]; 0 for a clip that does not exist."""
        ...

    def rows(self, spans: Sequence[Span]) -> tuple[NDArray[np.float32], NDArray[np.void]]:
        """The stored rows of spans of clips, concatenated.

        Parameters
        ----------
        spans : sequence of (clip_id, first, last)
            Segments `first` to `last` - 1 of a clip.

        Returns
        -------
        vectors : float32 [n, dimension]
            As the encoder gave them; n is the sum of the spans' lengths.
        segments : SEGMENT [n]

        Raises
        ------
        ClipChanged
            A clip does not exist or has fewer segments.
        """
        ...

    def search(
        self, queries: NDArray[np.float32], k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The segments with the highest cosine to each query.

        Parameters
        ----------
        queries : float32 [n, dimension]
            Of any length, but not zero.
        k : int
        filter : Filter, optional
            Search only the segments of clips that it lets through; applied within the search.

        Returns
        -------
        clip_ids, numbers : int64 [n, m]
            The clip and the number of the segment in it, nearest first, m <= k; padded with -1
            if a query has fewer.
        scores : float32 [n, m]
            Cosines, exact.
        """
        ...

    def pooled(self, clip_ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The vectors of the stretches of clips: see `stores.pooling`.

        Parameters
        ----------
        clip_ids : int64 [n]

        Returns
        -------
        owners : int64 [m]
            For each vector the place of its clip in `clip_ids`, ascending; at least one for each.
        vectors : float32 [m, dimension]
            Unit length, or zero where that of the clip has no direction.

        Raises
        ------
        ClipChanged
            A clip does not exist.
        """
        ...

    def search_pooled(
        self, queries: NDArray[np.float32], k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """The clips with the highest cosine of any of their stretches to each query.

        Parameters
        ----------
        queries : float32 [n, dimension]
            Of any length.
        k : int
        filter : Filter, optional
            Search only the clips that it lets through; applied within the search.

        Returns
        -------
        clip_ids : int64 [n, m]
            Nearest first, each clip once, ties by id, m <= k; padded with -1.
        scores : float32 [n, m]
            Cosines, exact; padded with -inf.
        """
        ...

    def highest(
        self, along: Directions, k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The segments with the highest scores along some directions: see `Directions`.

        Milvus, which searches by cosine alone, finds candidates by that.

        Parameters
        ----------
        along : Directions
        k : int
        filter : Filter, optional
            Search only the segments of clips that it lets through.

        Returns
        -------
        clip_ids, numbers : int64 [n]
            The clip and the number of the segment in it, best first, n <= k.
        """
        ...


class Store(Protocol):
    """The interface of every backend; one test suite checks them all."""

    settings: Settings
    address: str

    def reading(self) -> AbstractContextManager[Reading]:
        """Open a consistent view of the store. Never waits for a writer; thread-safe."""
        ...

    def counts(self) -> Counts:
        """How many clips, segments and failures are stored."""
        ...

    def head_digest(self) -> str | None:
        """Which head the labels are of, by the digest of its file; None for the encoder's own."""
        ...

    def head(self) -> bytes:
        """The file of that head, if it is not the encoder's own.

        Raises
        ------
        LibraryDamaged
            It is not what was stored.
        """
        ...

    def tuning(self) -> Tuning | None:
        """How the search index is tuned; None where there is none, or the database does it."""
        ...

    def is_exact(self) -> bool:
        """Whether a search without a filter looks at every segment."""
        ...

    def clips(self, filter: Filter | None = None) -> Iterator[StoredClip]:
        """Iterate over the clips that a filter lets through, ordered by id.

        Read in pages: clips that are added or removed meanwhile may or may not be included.
        """
        ...

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        ...

    def clips_at(self, uris: Sequence[str]) -> dict[str, StoredClip]:
        """Those clips that are at one of these uris, by their uris."""
        ...

    def key(self) -> str | None:
        """The tag that is the key of clips; None while none was declared."""
        ...

    def clips_keyed(self, keys: Sequence[Key]) -> dict[Key, StoredClip]:
        """Those clips that have one of these keys; found without reading the others.

        Raises
        ------
        ArgumentError
            No tag is the key.
        LibraryError
            Two clips have one of them.
        """
        ...

    def clips_with(self, digest: bytes, most: int | None = None) -> list[StoredClip]:
        """The clips with this content, or so many of them at most. Thread-safe."""
        ...

    def failures(self) -> Iterator[FailureRecord]:
        """Iterate over all failures, ordered by uri."""
        ...

    def failure_at(self, uri: str) -> FailureRecord | None:
        """The failure at this uri."""
        ...

    def failures_at(self, uris: Sequence[str]) -> dict[str, FailureRecord]:
        """Those failures that are at one of these uris, by their uris."""
        ...

    def failure_with(self, digest: bytes) -> FailureRecord | None:
        """A failure with this content. Thread-safe."""
        ...

    def writing(self, part: Part | None = None) -> AbstractContextManager[None]:
        """Lock the store for writing; the methods below need it.

        With a `part`, only against others that write the same part, or the whole: clips of its
        files may be added, amended and failed; what needs the whole must not be done.

        Raises
        ------
        LibraryBusy
            Another process has locked it.
        LibraryError
            The store cannot be written in parts.
        """
        ...

    def add(self, clips: Sequence[NewClip], on_step: OnStep = lambda _text: None) -> None:
        """Store clips, all or none; each replaces a clip at the same uri.

        Earlier failures at these uris are forgotten. Durable on return. `on_step` is told of what
        takes long: now and then a store indexes what was added.
        """
        ...

    def amend(self, records: Mapping[int, ClipRecord]) -> None:
        """Replace the records of clips, all or none; their segments stay unchanged.

        A record with a new uri replaces a clip or failure at that uri. Unknown ids are ignored.
        """
        ...

    def use_key(self, tag: str | None) -> None:
        """Say which tag is the key of clips, None for none; kept with the library."""
        ...

    def fail(self, failures: Sequence[FailureRecord]) -> None:
        """Remember files that failed."""
        ...

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Remove clips."""
        ...

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget the failures at these uris."""
        ...

    def optimise(self, on_step: OnStep = lambda _text: None) -> None:
        """Bring the search index up to date; called after an ingest."""
        ...

    def rebuild(self, on_step: OnStep = lambda _text: None) -> int:
        """Rebuild derived data and free the space of removed clips.

        Returns the number of clips that were removed because their vectors are lost.
        """
        ...

    def check(
        self, on_clips: OnClips = lambda _count: None, on_step: OnStep = lambda _text: None
    ) -> list[Finding]:
        """Read all that is stored, beside whoever reads and writes, and say what is damaged.

        `on_clips` is told how many more clips were checked.
        """
        ...

    def successor(self, settings: Settings) -> Store:
        """Open a store for the same clips in another space, unfinished or new."""
        ...

    def adopt(self, successor: Store) -> None:
        """Take over a successor's settings, clips and failures in one step and delete it.

        A clip at the same uri keeps its id.
        """
        ...

    def relabel(
        self,
        head: bytes | None,
        labels: LabelsOf,
        on_clips: OnClips = lambda _count: None,
        said: SaidOf = lambda record: record,
    ) -> None:
        """Give all clips other predicted labels and keep the file of their head, in one step.

        Everything else of them stays. Killed before its end, it has changed nothing.

        Parameters
        ----------
        head : bytes or None
            None for the encoder's own.
        labels : LabelsOf
        on_clips : callable
            Told how many more clips were labelled.
        said : SaidOf

        Raises
        ------
        LibraryDamaged
            A clip's segments are not what was stored.
        """
        ...

    def close(self) -> None:
        """Release all resources; the store cannot be used afterwards."""
        ...


def not_in(store: Store, clips: Iterable[StoredClip]) -> Iterator[StoredClip]:
    """Those of some clips at whose uris a store has none."""
    clips = iter(clips)
    while part := list(islice(clips, _TOGETHER)):
        there = store.clips_at([clip.uri for clip in part])
        yield from (clip for clip in part if clip.uri not in there)
