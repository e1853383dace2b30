"""A map: clips of a library in the plane, and what is shown of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.extras import needs
from soundsearch_ingest.files import expanded

from ..errors import ArgumentError, SpaceMismatch
from ..exporting import replacing
from ..labels.kept import vocabulary_of
from ..labels.vocabulary import Vocabulary
from ..stores.base import OnClips, Reading
from ..stores.filters import Filter
from ..stores.records import StoredClip
from ..vectors import unit
from .columns import check_by, coloured, values_of
from .data import marks_of
from .methods import DEFAULT_METHOD, OnLayout, check_method, laid_out
from .page import page, read_page
from .pictures import png, svg
from .placing import OldMap, beside

__all__ = ["FORMATS", "Map", "check_out", "clips_and_vectors", "mapped", "old_map"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

# How the names of files end that a map is written to.
FORMATS = (".html", ".png", ".svg")
# Clips that are read together.
_TOGETHER = 4096

Read = Callable[[Callable[[Reading], Any]], Any]


def check_out(path: str | os.PathLike[str]) -> Path:
    """Where a map is to be written; raises ArgumentError, MissingExtra."""
    target = expanded(path)
    if target.suffix.lower() not in FORMATS:
        raise ArgumentError(
            f"{target}: expected a name that ends in .html, .png or .svg, got "
            f"{target.suffix or 'no ending'!r}"
        )
    if target.is_dir():
        raise ArgumentError(f"{target}: expected the name of a file, got a folder")
    if not target.parent.is_dir():
        raise ArgumentError(f"{target}: there is no folder {target.parent}; make it first")
    if target.suffix.lower() == ".png":
        needs("PIL", "map")
    return target


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Map:
    """Clips of a library in the plane: near each other where they sound alike.

    Attributes
    ----------
    ids : int64 [n]
        In the order of their uris.
    uris : tuple of str
    places : float32 [n, 2]
        x and y. From -1 to 1 on a new map, both axes to one scale. Distances within a
        neighbourhood mean something, those across the map little.
    method : str
        What laid them out: ``tsne``, ``pca`` or ``umap``.
    space : str
        Of the library.
    placed : int
        How many were placed on a map that was there.
    by : str
        What clips are coloured by.
    """

    ids: Ints
    uris: tuple[str, ...]
    places: Floats
    method: str
    space: str
    placed: int
    by: str
    _clips: tuple[StoredClip, ...] = field(repr=False)
    _vocabulary: Vocabulary = field(repr=False)

    def __len__(self) -> int:
        return len(self.uris)

    def __repr__(self) -> str:
        return f"<Map of {len(self)} clips by {self.method}>"

    def save(self, path: str | os.PathLike[str], *, by: str | None = None) -> None:
        """Write the map to a file, which is replaced once all is written.

        Parameters
        ----------
        path : path
            ``.html`` for a page that needs no other file and no network; ``.svg`` or ``.png``
            (needs ``pip install 'soundsearch[map]'``) for a picture.
        by : str, optional
            What clips are coloured by in place of what the map says; see `Clips.map`.

        Raises
        ------
        ArgumentError
            The name ends otherwise, or no clip has the tag.
        MissingExtra
        SoundsearchError
            The file cannot be written.
        """
        target, by = check_out(path), by or self.by
        _check_there(self._clips, by)
        ending = target.suffix.lower()
        if ending == ".html":
            where = os.path.dirname(os.path.abspath(target))
            what = self._clips, self._vocabulary, self.places, self.method, self.space
            content = page(*what, by, where)
        else:
            colours, legend = coloured(values_of(self._clips, self._vocabulary, by))
            content = (svg if ending == ".svg" else png)(self.places, colours, legend)
        with replacing(target) as temporary:
            temporary.write_bytes(content)


def _check_there(clips: Sequence[StoredClip], by: str) -> None:
    """Whether some clip has the tag that all are coloured by; raises ArgumentError."""
    key = check_by(by)
    if key is None or any(key in clip.record.tags for clip in clips):
        return
    known = sorted({tag for clip in clips for tag in clip.record.tags})
    are = f"their tags are {', '.join(known)}" if known else "they have no tags"
    raise ArgumentError(f"by: expected a tag of one of the clips, got {key!r}; {are}")


def old_map(onto: Map | str | os.PathLike[str] | None) -> OldMap | None:
    """Where clips are on a map, or on a page that has one; raises ArgumentError."""
    if isinstance(onto, Map):
        marks = marks_of([clip.record.digest for clip in onto._clips])
        return OldMap.of("the map", onto.space, onto.method, marks, onto.places)
    return None if onto is None else read_page(expanded(onto))


def mapped(
    read: Read,
    filter_of: Callable[[Reading], Filter | None],
    space: str,
    dimension: int,
    method: str | None,
    old: OldMap | None,
    by: str,
    on_clips: OnClips,
    on_layout: OnLayout,
) -> Map:
    """The map of a selection; see `Clips.map`.

    Parameters
    ----------
    read : callable
        Calls a function with a reading, and again with another where that could not hold.
    filter_of : callable
        Gives the filter of the selection, of a reading.
    space, dimension
        Of the library.
    method : str or None
    old : OldMap or None
        The map that new clips are placed on.
    by : str
    on_clips, on_layout : callable
    """
    check_by(by)
    method = _method(method, old, space)
    chosen: Ints = read(lambda reading: reading.ids(filter_of(reading)))
    # Clips that are on the old map say where others go, whether they are selected or not.
    needed: Ints = chosen if old is None else read(lambda reading: reading.ids())
    clips, vectors = _read_all(read, needed, dimension, on_clips)
    is_chosen = np.isin([clip.id for clip in clips], chosen)
    kept = [clip for clip, is_ in zip(clips, is_chosen.tolist(), strict=True) if is_]
    if kept:
        _check_there(kept, by)
    vocabulary: Vocabulary = read(vocabulary_of)
    if old is None:
        places, placed = laid_out(vectors, method, on_layout), 0
    else:
        places, placed = _placed(clips, vectors, is_chosen, old)
    return Map(
        ids=np.array([clip.id for clip in kept], np.int64),
        uris=tuple(clip.uri for clip in kept),
        places=places[is_chosen],
        method=method,
        space=space,
        placed=placed,
        by=by,
        _clips=tuple(kept),
        _vocabulary=vocabulary,
    )


def _method(method: str | None, old: OldMap | None, space: str) -> str:
    """What lays clips out, checked; raises ArgumentError, MissingExtra, SpaceMismatch."""
    if old is None:
        return check_method(method or DEFAULT_METHOD)
    if method is not None:
        raise ArgumentError(
            f"method: expected none where clips are placed on a map, got {method!r}; {old.name} "
            f"was made by {old.method}"
        )
    if old.space != space:
        raise SpaceMismatch(
            old.name,
            space,
            old.space,
            f"{old.name} is a map of the space {old.space!r}, and the library is of {space!r}: "
            "clips of one have no place among those of the other; make a new map",
        )
    return old.method


def _placed(
    clips: Sequence[StoredClip],
    vectors: Floats,
    is_chosen: NDArray[np.bool_],
    old: OldMap,
) -> tuple[Floats, int]:
    """Where clips are beside those of an old map, and how many of the chosen are new to it."""
    places, is_old = old.found(marks_of([clip.record.digest for clip in clips]))
    is_new = is_chosen & ~is_old
    count = int(is_new.sum())
    if count:
        if not is_old.any():
            raise ArgumentError(
                f"{old.name}: none of its {len(old):,} clips is in the library, and so nothing "
                "says where others belong; make a new map"
            )
        places[is_new] = beside(vectors[is_old], places[is_old], vectors[is_new])
    return places, count


def _read_all(
    read: Read, ids: Ints, dimension: int, on_clips: OnClips
) -> tuple[list[StoredClip], Floats]:
    """Clips in the order of their uris, which every store has alike, and a vector of each."""
    clips: list[StoredClip] = []
    parts = [np.empty((0, dimension), np.float32)]
    for first in range(0, len(ids), _TOGETHER):
        together = ids[first : first + _TOGETHER]
        found, vectors = read(partial(clips_and_vectors, ids=together, dimension=dimension))
        clips += found
        parts.append(vectors)
        on_clips(len(together))
    order = sorted(range(len(clips)), key=lambda row: clips[row].uri)
    return [clips[row] for row in order], np.concatenate(parts)[order]


def clips_and_vectors(
    reading: Reading, ids: Ints, dimension: int
) -> tuple[list[StoredClip], Floats]:
    """Those of some clips that are there, and one vector of each, of unit length or zero."""
    clips = list(reading.clips_by_id(ids.tolist()).values())
    if not clips:
        return [], np.empty((0, dimension), np.float32)
    owners, stretches = reading.pooled(np.array([clip.id for clip in clips], np.int64))
    first = np.flatnonzero(np.diff(owners, prepend=-1))
    return clips, unit(np.add.reduceat(stretches, first, axis=0))
