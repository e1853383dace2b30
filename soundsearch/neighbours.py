"""The clips nearest to many others, by their pooled vectors: arrays, not hits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ArgumentError
from .naming import find, listed, not_found
from .stores.base import OnClips, Reading, Store
from .stores.filters import Filter
from .stores.pooling import nearest_clips
from .stores.records import ClipName

__all__ = ["Graph", "Neighbours", "are_several"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]

# Segments of the clips that are asked with together.
_TOGETHER = 1 << 14
_MOST = 1 << 62


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Neighbours:
    """The clips nearest to each of several clips of a library.

    Attributes
    ----------
    clips : int64 [n]
        The ids of the clips that were asked with.
    ids : int64 [n, m]
        The ids of the clips nearest to each, nearest first, itself left out; m is what was asked
        for, or fewer where the selection holds no more. Padded with -1.
    scores : float32 [n, m]
        Cosines of pooled vectors, -1 to 1; higher is nearer. Padded with -inf.
    """

    clips: Ints
    ids: Ints
    scores: Floats
    _named: Callable[[Ints], dict[int, str]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.clips)

    def __reduce__(self) -> tuple[Any, ...]:
        return Neighbours, (self.clips, self.ids, self.scores, _nameless)

    def __repr__(self) -> str:
        return f"<Neighbours of {len(self)} clips, {self.ids.shape[1]} each>"

    def uris(self) -> list[list[str]]:
        """The uris of the nearest clips of each, read from the library now.

        A clip that was removed since has an empty one. A copy, as by pickle, has no library, and
        raises ArgumentError.
        """
        found = self._named(np.unique(self.ids[self.ids >= 0]))
        return [[found.get(id, "") for id in row if id >= 0] for row in self.ids.tolist()]

    def clip_uris(self) -> list[str]:
        """The uris of the clips that were asked with; see `uris`."""
        found = self._named(np.unique(self.clips))
        return [found.get(id, "") for id in self.clips.tolist()]


def _nameless(_ids: Ints) -> dict[int, str]:
    raise ArgumentError(
        "uris: expected neighbours that a library gave, got a copy, which has none; "
        "ask for their uris before, or library.clip(id).uri"
    )


def are_several(clips: Any) -> bool:
    """Whether these are clips, not one clip."""
    return not isinstance(clips, (str, bytes, os.PathLike, int)) and isinstance(clips, Iterable)


class Graph:
    """The clips of a selection, each beside those that are nearest to it.

    Parameters
    ----------
    store : callable
        Gives the store of the library.
    filter_of : callable
        Gives the filter of clips that may be found, of a reading; None for all.
    read : callable
        Gives what a function makes of a reading, of another one where that could not hold.
    """

    def __init__(
        self,
        store: Callable[[], Store],
        filter_of: Callable[[Reading], Filter | None],
        read: Callable[[Callable[[Reading], Any]], Any],
    ) -> None:
        self._store = store
        self._filter_of = filter_of
        self._read = read

    def similar(self, clips: Iterable[ClipName], k: int) -> Neighbours:
        """The clips nearest to each of many; raises ClipNotFound."""
        asked, _ = listed(clips)

        def read(reading: Reading) -> Neighbours:
            ids, unknown = self.ids(reading, asked)
            if unknown:
                raise not_found(self._store(), unknown)
            return self._nearest(reading, _parts(reading, ids), k)

        found: Neighbours = self._read(read)
        return found

    def all(self, k: int, on_clips: OnClips) -> Iterator[Neighbours]:
        """The clips nearest to each, in blocks."""
        yield from self.near(
            self._read(lambda reading: reading.ids(self._filter_of(reading))), k, on_clips
        )

    def near(
        self, ids: Ints, k: int, on_clips: OnClips = lambda _count: None
    ) -> Iterator[Neighbours]:
        """The clips nearest to each of those of some, int64 [n], that are there; in blocks."""
        for part in self._read(lambda reading: _parts(reading, ids)):
            found = self._read(partial(self._still_there, part, k))
            if len(found):
                yield found
            on_clips(len(part))

    def _still_there(self, ids: Ints, k: int, reading: Reading) -> Neighbours:
        return self._nearest(reading, _parts(reading, ids), k)

    def ids(self, reading: Reading, clips: Sequence[ClipName]) -> tuple[Ints, list[ClipName]]:
        """The ids of clips, and those that are not there."""
        numbers = []
        for clip in clips:
            if isinstance(clip, int):
                numbers.append(clip if 0 <= clip < _MOST else -1)
            else:
                found = find(reading, clip)
                numbers.append(-1 if found is None else found.id)
        ids = np.array(numbers, np.int64)
        missing = np.flatnonzero(reading.lengths(ids) == 0)
        return ids, list(dict.fromkeys(clips[place] for place in missing.tolist()))

    def _nearest(self, reading: Reading, parts: Sequence[Ints], k: int) -> Neighbours:
        filter = self._filter_of(reading)
        found = [_nearest(reading, part, k, filter) for part in parts]
        width = max((ids.shape[1] for ids, _ in found), default=0)
        ids = [np.empty((0, width), np.int64), *(_padded(each, width) for each, _ in found)]
        scores = [np.empty((0, width), np.float32), *(_padded(each, width) for _, each in found)]
        clips = np.concatenate((np.empty(0, np.int64), *parts))
        return Neighbours(clips, np.concatenate(ids), np.concatenate(scores), self._named)

    def _named(self, ids: Ints) -> dict[int, str]:
        with self._store().reading() as reading:
            return {id: clip.uri for id, clip in reading.clips_by_id(ids.tolist()).items()}


def _parts(reading: Reading, ids: Ints) -> list[Ints]:
    """Those of these clips that exist, int64 [n], in parts of about as many segments."""
    lengths = reading.lengths(ids)
    ids, lengths = ids[lengths > 0], lengths[lengths > 0]
    parts = np.cumsum(lengths) // _TOGETHER
    return np.split(ids, np.flatnonzero(np.diff(parts)) + 1) if len(ids) else []


def _nearest(reading: Reading, ids: Ints, k: int, filter: Filter | None) -> tuple[Ints, Floats]:
    """The clips nearest to each of some clips: ids and scores, see `Neighbours`."""
    owners, vectors = reading.pooled(ids)
    found, scores = reading.search_pooled(vectors, k + 1, filter)
    questions = np.repeat(owners, found.shape[1])
    others = np.where(found.ravel() == ids[questions], -1, found.ravel())
    return nearest_clips(questions, others, scores.ravel(), len(ids), k)


def _padded(array: NDArray[Any], width: int) -> NDArray[Any]:
    filling = -1 if array.dtype == np.int64 else -np.inf
    return np.pad(array, ((0, 0), (0, width - array.shape[1])), constant_values=filling)
