"""The clips that a filter lets through, read as they are: one by its name, or many as arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .asking.expressions import parse_filter
from .errors import ArgumentError, LibraryBusy
from .gathering import label_scores, pooled
from .labels.kept import Keeper, vocabulary_of
from .labels.vocabulary import AUDIOSET, Vocabulary
from .naming import find, find_all, listed, not_found
from .results import Clip
from .session import Session
from .stores.base import ClipChanged, OnClips, Reading
from .stores.filters import And, Filter, matches
from .stores.records import ClipName, StoredClip

if TYPE_CHECKING:
    from .mapping.maps import Map
    from .mapping.methods import OnLayout

__all__ = ["Selection", "shown"]

# A reading of a store that cannot hold its state may see clips change; each try takes a new one.
_TRIES = 20

_Answer = TypeVar("_Answer")
# Filter expressions that all must let a clip through, and the values of their parameters.
Wheres = tuple[tuple[str, Mapping[str, Any]], ...]


class Selection:
    """What `Clips` reads, without asking."""

    def __init__(self, session: Session, wheres: Wheres = ()) -> None:
        self._session = session
        self._wheres = wheres
        self._parsed: tuple[Vocabulary, Filter | None] | None = None
        if wheres:  # what is wrong is told at once
            self._filter_with(vocabulary_of(session.store) if session.is_made else AUDIOSET)

    def _filter_with(self, vocabulary: Vocabulary) -> Filter | None:
        """The clips that are selected where labels name these classes."""
        if self._parsed is None or self._parsed[0] != vocabulary:
            filters = tuple(parse_filter(*where, vocabulary) for where in self._wheres)
            both = filters[0] if len(filters) == 1 else And(filters) if filters else None
            self._parsed = vocabulary, both
        return self._parsed[1]

    def _filter_of(self, library: Keeper) -> Filter | None:
        """The clips that are selected in a reading, or in the store as it is now."""
        return self._filter_with(vocabulary_of(library)) if self._wheres else None

    def __contains__(self, clip: ClipName) -> bool:
        """Whether a clip, by its uri, id or key, is in the selection."""
        with self._session.store.reading() as reading:
            found = find(reading, clip)
            filter = self._filter_of(reading)
        return found is not None and (filter is None or matches(filter, found))

    def clip(self, clip: ClipName) -> Clip:
        """A clip of the library, in the selection or not, by its uri, id or `Key`.

        Raises
        ------
        ClipNotFound
        """
        with self._session.store.reading() as reading:
            return shown(self._clip(reading, clip), vocabulary_of(reading))

    def vectors(self, clips: ClipName | Iterable[ClipName]) -> NDArray[np.float32]:
        """The stored embeddings of clips of the library, in the selection or not.

        Parameters
        ----------
        clips : uri, id or Key, or several

        Returns
        -------
        float32 [segments, dimension] of one clip, [clips, dimension] of several
            Of one, the embeddings of its segments. Of several, the mean of each: its segments
            weighted by level, as the ranking ``pooled`` compares them. Not normalised.

        Raises
        ------
        ClipNotFound
            The message names those that are not there.
        """
        names, is_one = listed(clips)

        def read(reading: Reading) -> NDArray[np.float32]:
            found = self._named(reading, names)
            if is_one:
                return reading.rows([(found[0].id, 0, found[0].count)])[0]
            return pooled(reading, found, self._session.store.settings.dimension)

        return self._read(read)

    def labels(self, clips: ClipName | Iterable[ClipName]) -> NDArray[np.float32]:
        """What the library knows of each class in clips, in the selection or not.

        Parameters
        ----------
        clips : uri, id or Key, or several

        Returns
        -------
        float32 [classes] of one clip, [clips, classes] of several
            As filters take ``label[...]``: the highest score among a clip's ten best labels for
            this class or one below it, 1 where people gave one, else 0. A class that is not among
            the ten is 0, whatever the classifier made of it. Columns are AudioSet's 527 classes by
            their indices, then the own ones of the library's head; `classes` names them.

        Raises
        ------
        ClipNotFound
            The message names those that are not there.
        """
        names, is_one = listed(clips)

        def read(reading: Reading) -> NDArray[np.float32]:
            return label_scores(self._named(reading, names), vocabulary_of(reading))

        scores = self._read(read)
        return scores[0] if is_one else scores

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the columns of `labels`: AudioSet's classes, then the library's own."""
        return vocabulary_of(self._session.store).names

    def export(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        vectors: str | None = None,
        on_clip: Callable[[str], None] = lambda _uri: None,
    ) -> int:
        """Write the clips to one file, for other programs.

        It is written beside `path` and moved there when it is complete. Memory does not grow
        with the number of clips.

        Parameters
        ----------
        path : path
            What is there is replaced.
        format : str, optional
            ``npz``, ``parquet`` (needs ``pip install 'soundsearch[parquet]'``) or ``csv``; by
            default, as the path ends.
        vectors : str, optional
            ``clips`` for one of each clip (see `vectors`), ``segments`` for all (not in CSV), or
            ``none``. By default ``none`` in CSV, else ``clips``.
        on_clip : callable
            Called with the uri of each clip that was written.

        Returns
        -------
        int
            How many clips were written.

        Raises
        ------
        ArgumentError
            The format is not known, or cannot have such vectors.
        MissingExtra
        SoundsearchError
            The file cannot be written.
        """
        from .exporting import check_export, export

        chosen = check_export(path, format, vectors)
        store = self._session.store
        clips = store.clips(self._filter_of(store))
        return export(clips, self._read, store.settings, *chosen, on_clip)

    def map(
        self,
        *,
        by: str = "category",
        method: str | None = None,
        onto: Map | str | os.PathLike[str] | None = None,
        on_clips: OnClips = lambda _count: None,
        on_layout: OnLayout = lambda _done, _total: None,
    ) -> Map:
        """Lay out the clips in two dimensions: near each other where they sound alike.

        The same clips give the same map. It takes memory for one vector of each clip, and all of
        the process has one thread of BLAS and FAISS meanwhile.

        Parameters
        ----------
        by : str
            What clips are coloured by: ``label``, which is what people gave a clip, else the best
            that was predicted; ``category``, upper classes of the ontology that part these labels
            evenly; ``folder``; or a tag, ``tag[mic]``. A page lets one change it.
        method : str, optional
            ``tsne`` (the default) or ``umap``, which need ``pip install 'soundsearch[map]'``, or
            ``pca``, which needs nothing and keeps much less.
        onto : Map or path, optional
            A map, or a page with one that `Map.save` wrote. Clips that are on it, by their
            content, have their places there. Others are placed among those that are nearest to
            them; these need not be selected, but are in the library.
        on_clips : callable
            Told how many more clips were read.
        on_layout : callable
            Told how many steps of t-SNE or UMAP are done, of how many.

        Returns
        -------
        Map

        Raises
        ------
        ArgumentError
            There is no such method or tag, or no map where one is expected; or no clip of it is in
            the library.
        MissingExtra
        SpaceMismatch
            The map is of another space.
        """
        from .mapping.maps import mapped, old_map

        settings, old = self._session.store.settings, old_map(onto)
        what = settings.space, settings.dimension, method, old, by
        return mapped(self._read, self._filter_of, *what, on_clips, on_layout)

    def _read(self, read: Callable[[Reading], _Answer]) -> _Answer:
        """What a function makes of one reading, tried again where the reading could not hold."""
        for _ in range(_TRIES):
            with self._session.store.reading() as reading:
                try:
                    return read(reading)
                except ClipChanged:
                    continue
        raise LibraryBusy(
            f"{self._session.address}: its clips were replaced {_TRIES} times while this was "
            "asked; ask again when less is written to it"
        )

    def _clip(self, reading: Reading, clip: ClipName) -> StoredClip:
        names, is_one = listed(clip)
        if not is_one:
            raise ArgumentError(
                f"expected the uri, id or Key of one clip, got {len(names)} of them"
            )
        return self._named(reading, names)[0]

    def _named(self, reading: Reading, clips: Sequence[ClipName]) -> list[StoredClip]:
        found = find_all(reading, clips)
        unknown = [clip for clip, there in zip(clips, found, strict=True) if there is None]
        if unknown:
            raise not_found(self._session.store, unknown)
        return [clip for clip in found if clip is not None]


def shown(clip: StoredClip, vocabulary: Vocabulary) -> Clip:
    """A stored clip as it is answered, of a library with these classes."""
    record = clip.record
    return Clip(
        id=clip.id,
        uri=record.uri,
        duration=record.duration,
        segments=clip.count,
        padded=record.padded,
        warning=record.warning,
        labels=vocabulary.named(record.labels),
        human_labels=vocabulary.given(record.human_labels),
        human_events=vocabulary.said(record.human_events),
        tags=dict(record.tags),
    )
