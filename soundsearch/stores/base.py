"""What a store is: where clips and their vectors live."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .filters import Filter
from .records import ClipRecord, Counts, FailureRecord, NewClip, Settings, StoredClip

__all__ = ["ClipChanged", "OnStep", "Reading", "Span", "Store"]

# A clip's id, and its segments from a first up to a last one.
Span = tuple[int, int, int]
OnStep = Callable[[str], None]


class ClipChanged(Exception):
    """A clip was removed or replaced since this reading saw it: take another reading."""


class Reading(Protocol):
    """One consistent view of a store, taken for one answer: what it gives fits together.

    Used by one thread at a time; every method raises `ClipChanged` where the store cannot give
    the state that this reading has seen.
    """

    def counts(self, filter: Filter | None = None) -> Counts:
        """How many clips and segments a filter lets through; failures have no filter."""
        ...

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        ...

    def clips_by_id(self, clip_ids: Sequence[int]) -> dict[int, StoredClip]:
        """Those of these clips that are there, by their ids."""
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
        ClipChanged
            A clip is not there or has fewer segments.
        """
        ...

    def search(
        self, queries: NDArray[np.float32], k: int, filter: Filter | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        """The segments with the highest cosine to each query.

        Parameters
        ----------
        queries : float32 [n, dimension]
            Of any length, none of them zero.
        k : int
        filter : Filter, optional
            Only segments of clips that it lets through; applied within the search.

        Returns
        -------
        clip_ids, numbers : int64 [n, m]
            The clip and the segment's number in it, nearest first, m <= k; where a query
            has fewer, -1 fills the end.
        scores : float32 [n, m]
            Cosines, exact.
        """
        ...


class Store(Protocol):
    """The small interface that every backend has; one test suite holds them all to it."""

    settings: Settings
    address: str

    def reading(self) -> AbstractContextManager[Reading]:
        """Take a view of what is stored now. Never waits for a writer; safe in threads."""
        ...

    def counts(self) -> Counts:
        """What is stored now."""
        ...

    def clips(self, filter: Filter | None = None) -> Iterator[StoredClip]:
        """Every clip that a filter lets through, in the order of ids.

        Read in pages: what is added or removed meanwhile may be among them or not.
        """
        ...

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        ...

    def clips_with(self, digest: bytes) -> list[StoredClip]:
        """The clips with this content. Safe to call from any thread."""
        ...

    def failures(self) -> Iterator[FailureRecord]:
        """Every failure, in the order of uris."""
        ...

    def failure_at(self, uri: str) -> FailureRecord | None:
        """What failed at this uri."""
        ...

    def failure_with(self, digest: bytes) -> FailureRecord | None:
        """A failure of this content. Safe to call from any thread."""
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

    def amend(self, records: Mapping[int, ClipRecord]) -> None:
        """Give clips other records, all or none; their segments stay as they are.

        A record with another uri takes the place of a clip or failure that is there. Ids of
        clips that are not there are passed over.
        """
        ...

    def fail(self, failures: Sequence[FailureRecord]) -> None:
        """Remember files that failed."""
        ...

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Take clips out."""
        ...

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget what failed at these uris."""
        ...

    def optimise(self, on_step: OnStep = lambda _text: None) -> None:
        """Bring whatever makes searching fast up to date; called after an ingest."""
        ...

    def rebuild(self, on_step: OnStep = lambda _text: None) -> int:
        """Derive again whatever is derived and free what removed clips left.

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

    def close(self) -> None:
        """Release what is open; the store cannot be used any more."""
        ...
