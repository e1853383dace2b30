"""The library: what a user opens, fills and asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.discover import RECORDS_SUFFIX, AudioFile, expand, stat_file

from .asking.ranking import DEFAULT_RANKING, RANKINGS
from .asking.searching import find_hits
from .errors import (
    ClipNotFound,
    EncoderError,
    LibraryError,
    LibraryNotFound,
    SoundsearchError,
    SpaceMismatch,
)
from .hearing import Source, embed_source, label
from .labels.head import given, named
from .labels.ontology import ontology
from .labels.predict import predict
from .listener import Listener
from .loudness import sounding
from .results import (
    Answer,
    Clip,
    Failure,
    Hit,
    IngestReport,
    LabelledClip,
)
from .stores.base import CLIP_LABELS, Settings, Store, StoredClip
from .stores.opening import Place, create_store, open_store, place_of

__all__ = ["Library", "default_path", "user_data"]

_AUDIOSET = Settings(encoders.AUDIOSET_SPACE, encoders.AUDIOSET_SPACE, 128, 0.96, 0.96)


def default_path() -> Place:
    """Where the library is when nothing is said: ``SOUNDSEARCH_LIBRARY``, else user data."""
    if path := os.environ.get("SOUNDSEARCH_LIBRARY"):
        return place_of(path)
    return user_data() / "library"


def user_data() -> Path:
    """The user's folder for soundsearch's data."""
    from platformdirs import user_data_path

    return user_data_path("soundsearch", appauthor=False)


class Library:
    """A collection of clips that can be searched by sound. Use `soundsearch.open`.

    Parameters
    ----------
    path : path or str, optional
        Folder of the library, or its address in Milvus: ``milvus://host:19530/name``,
        ``milvus-lite:file.db`` (see `soundsearch.stores.milvus.client.MilvusUri.parse`);
        `default_path` when left out. It is made by the first `ingest`.
    encoder : str, optional
        For a library that is still to be made; an existing one keeps its own. By default
        ``vggish`` where it is installed, else ``mini``.
    hop : float, optional
        Seconds between the starts of two segments, 0.01 to 0.96; likewise. By default the
        segments do not overlap.

    Raises
    ------
    LibraryError
        The library is damaged, of another version, or made with another encoder or hop.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | Place | None = None,
        *,
        encoder: str | None = None,
        hop: float | None = None,
    ) -> None:
        self.path = default_path() if path is None else place_of(path)
        self._wanted = (encoder, hop)
        self._listeners: dict[int, Listener] = {}
        self._opened: Store | None = None
        try:
            self._opened = open_store(self.path)
        except LibraryNotFound as error:
            self._not_found = error
        else:
            self._check_wanted(self._opened.settings)

    def __enter__(self) -> Library:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the library's files."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    # Filling

    def ingest(
        self,
        targets: str | os.PathLike[str] | Iterable[str | os.PathLike[str]],
        *,
        prune: bool = False,
        retry_failed: bool = False,
        on_file: Callable[[str, str], None] = lambda _uri, _outcome: None,
        on_sound: Callable[[float], None] = lambda _seconds: None,
        on_step: Callable[[str], None] = lambda _text: None,
    ) -> IngestReport:
        """Bring the library up to date with files and folders.

        Unchanged files are not opened, moved ones are recognised by their content, changed
        ones replaced. One bad file never stops the run. It may be interrupted or killed at
        any time: what was told to `on_file` is stored, and the same call goes on.

        Parameters
        ----------
        targets : path or iterable of paths
            Files, folders (searched recursively) and globs.
        prune : bool
            Take clips out whose file is gone.
        retry_failed : bool
            Try files again that failed before.
        on_file : callable
            Told uri and outcome (``added``, ``replaced``, ``renamed``, ``unchanged``,
            ``failed``) of each file once that is stored.
        on_sound : callable
            Told how many seconds of sound were decoded since it was last called; called from
            other threads.
        on_step : callable
            Told in words what is done beside the files: making a library, its index.

        Returns
        -------
        IngestReport

        Raises
        ------
        AudioError
            A target does not exist.
        LibraryBusy
            Another process is writing to the library.
        LibraryError
            It cannot be written to, for example because the disk is full.
        """
        from .ingesting import Ingest

        one = isinstance(targets, (str, os.PathLike))
        roots = expand([targets] if one else targets)  # type: ignore[list-item, arg-type]
        store = self._open_or_create(roots, on_step)
        with store.writing():
            if store.settings.space != encoders.AUDIOSET_SPACE:  # features need no encoder
                self._listener(1)
            ingest = Ingest(store, partial(self._listener, 1), retry_failed, on_file, on_sound)
            ingest.run(roots)
            ingest.find_missing(roots, prune)
            store.optimise(on_step)
        return ingest.report

    def reembed(
        self,
        *,
        prune: bool = False,
        on_file: Callable[[str, str], None] = lambda _uri, _outcome: None,
        on_sound: Callable[[float], None] = lambda _seconds: None,
        on_step: Callable[[str], None] = lambda _text: None,
    ) -> IngestReport:
        """Embed every clip anew, for a library made with an older version of its encoder.

        The library answers as before until the last clip is done. An interrupted run goes on
        where it was.

        Parameters
        ----------
        prune : bool
            Let clips go whose file is gone or cannot be read any more.
        on_file, on_sound, on_step : callable
            See `ingest`.

        Raises
        ------
        LibraryError
            Files are gone or unreadable and `prune` is not set; the library stays as it is.
        LibraryBusy
            Another process is writing to the library.
        """
        from .ingesting import Ingest

        store = self._store
        listener = Listener.open(store.settings.encoder)
        encoder = listener.encoder
        if encoder.space == store.settings.space:
            return IngestReport()
        settings = replace(
            store.settings,
            space=encoder.space,
            dimension=listener.dimension,
            segment_seconds=encoder.segment_seconds,
        )
        with store.writing():
            successor = store.successor(settings)
            with closing(successor):
                with successor.writing():
                    ingest = Ingest(successor, lambda: listener, True, on_file, on_sound)
                    ingest.run_files(_files_of(store))
                lost = [
                    clip.file.uri
                    for clip in store.clips()
                    if successor.clip_at(clip.file.uri) is None
                ]
                if lost and not prune:
                    raise LibraryError(
                        f"{self.path}: {len(lost)} of its clips cannot be embedded anew, their "
                        f"files are gone or cannot be read (the first: {lost[0]}); the library "
                        "is as before. Put them back, or let them go with --prune"
                    )
                store.adopt(successor)
            store.optimise(on_step)
        self._listeners.clear()
        ingest.report.removed = len(lost)
        return ingest.report

    def remove(self, uris: Iterable[str | os.PathLike[str]]) -> int:
        """Take clips out, named by uri or by a folder above them; returns how many.

        Raises
        ------
        ClipNotFound
            Nothing in the library has that uri or lies in that folder; nothing is removed.
        """
        store = self._store
        found: dict[int, None] = {}
        for uri in uris:
            text = os.path.abspath(os.path.expanduser(os.fspath(uri)))
            exact = store.clip_at(os.fspath(uri)) or store.clip_at(text)
            ids = [exact.id] if exact else _ids_below(store, text)
            if not ids:
                raise ClipNotFound(f"{os.fspath(uri)}: no clip of {store.where} is there")
            found.update(dict.fromkeys(ids))
        with store.writing():
            store.remove(list(found))
        return len(found)

    def rebuild(self, on_step: Callable[[str], None] = lambda _text: None) -> int:
        """Make everything derived anew and free the space of removed clips.

        Returns how many clips had to be given up because their vectors are lost; ingest
        their folders again to get them back.
        """
        with self._store.writing():
            return self._store.rebuild(on_step)

    # Asking

    def query(
        self,
        source: Source,
        k: int = 10,
        *,
        at: tuple[float, float | None] | None = None,
        sample_rate: int | None = None,
        ranking: str = DEFAULT_RANKING,
    ) -> Answer:
        """Find the clips nearest to a sound.

        Parameters
        ----------
        source : path, binary file or array
            An array is float in [-1, 1] or integer at full scale, [n] or [n, channels], and
            needs `sample_rate`.
        k : int
            Clips wanted.
        at : (start, end), optional
            Part of the sound, seconds; end None means to the end.
        sample_rate : int, optional
            Of an array, Hz.
        ranking : str
            One of `soundsearch.asking.ranking.RANKINGS`.

        Returns
        -------
        Answer
            Iterates over at most `k` hits, nearest first.

        Raises
        ------
        AudioError
            The source gives no sound.
        LibraryNotFound, SpaceMismatch
        """
        _check_wish(k, ranking)
        store = self._store
        listener = self._listener(pipeline.available_cores())
        embeddings, levels, warning = embed_source(
            source, at, sample_rate, listener.encoder, store.settings.hop
        )
        [(_, labels)] = predict(
            listener.head, [(listener.for_head(embeddings), levels)], 1, CLIP_LABELS
        )
        embeddings, levels = sounding(listener.wanted(embeddings), levels)
        hits = self._find(embeddings, levels, k, ranking)
        return Answer(tuple(hits), named(labels), warning)

    def similar(
        self, uri: str | os.PathLike[str], k: int = 10, *, ranking: str = DEFAULT_RANKING
    ) -> Answer:
        """Find the clips nearest to one of the library; its encoder is not needed.

        Parameters
        ----------
        uri : path or URL
            Of the clip, which is not among the hits.
        k, ranking
            See `query`.

        Raises
        ------
        ClipNotFound
        """
        _check_wish(k, ranking)
        clip, vectors, segments = self._rows_at(uri)
        hits = self._find(*sounding(vectors, segments["level"]), k + 1, ranking)
        others = [hit for hit in hits if hit.clip_id != clip.id][:k]
        return Answer(
            tuple(replace(hit, rank=rank) for rank, hit in enumerate(others, 1)),
            named(clip.labels) or given(clip.human),
            clip.warning,
        )

    def _find(
        self, query: NDArray[np.float32], levels: NDArray[np.float32], k: int, ranking: str
    ) -> list[Hit]:
        while True:
            try:
                return find_hits(self._store, query, levels, k, ranking)
            except KeyError:  # a clip was removed or replaced between two steps
                continue

    def label(
        self,
        source: Source,
        *,
        at: tuple[float, float | None] | None = None,
        sample_rate: int | None = None,
    ) -> LabelledClip:
        """Predict the labels of a sound and of each of its segments; see `query`."""
        encoder = self._opened.settings.encoder if self._opened else encoders.BUNDLED
        return label(source, at=at, sample_rate=sample_rate, encoder=encoder)

    def vectors(self, uri: str | os.PathLike[str]) -> NDArray[np.float32]:
        """A clip's stored embeddings, float32 [segments, dimension]; raises ClipNotFound."""
        return self._rows_at(uri)[1]

    # What is there

    def clips(self, human_label: str | None = None) -> Iterator[Clip]:
        """Every clip, in the order in which they came.

        Parameters
        ----------
        human_label : str, optional
            Name or id of a node of the ontology: only clips that people gave this label or one
            below it.

        Raises
        ------
        SoundsearchError
            The ontology has no such node.
        """
        classes = None if human_label is None else ontology().classes_below(human_label)
        return (
            Clip(
                clip.id,
                clip.file.uri,
                clip.duration,
                clip.count,
                clip.padded,
                clip.warning,
                named(clip.labels),
                given(clip.human),
            )
            for clip in self._store.clips()
            if classes is None or not classes.isdisjoint(clip.human)
        )

    def failures(self) -> list[Failure]:
        """The files that could not be ingested, and why."""
        return [Failure(failure.file.uri, failure.reason) for failure in self._store.failures()]

    def info(self) -> dict[str, Any]:
        """Counts and settings: clips, segments, failures, encoder, space, hop, store.

        ``installed_space`` is what the encoder gives that is installed now, None without it.
        Where it differs, the library waits for `reembed`.
        """
        clips, segments, failures = self._store.counts()
        settings = self._store.settings
        installed = None
        with suppress(EncoderError):
            installed = encoders.load(settings.encoder).space
        return {
            "clips": clips,
            "segments": segments,
            "failures": failures,
            "encoder": settings.encoder,
            "space": settings.space,
            "installed_space": installed,
            "dimension": settings.dimension,
            "hop": settings.hop,
            "store": self._store.where,
        }

    # Within

    @property
    def _store(self) -> Store:
        if self._opened is None:
            raise self._not_found
        return self._opened

    def _open_or_create(self, roots: list[str], on_step: Callable[[str], None]) -> Store:
        if self._opened is None:
            name, hop = self._wanted
            if name is None and any(root.lower().endswith(RECORDS_SUFFIX) for root in roots):
                # Features need no encoder; who asks with a sound needs it.
                settings = _AUDIOSET
            else:
                encoder = encoders.load(name or encoders.default())
                settings = Settings(
                    encoder.name,
                    encoder.space,
                    encoder.dimension,
                    encoder.segment_seconds,
                    encoder.hop_seconds if hop is None else hop,
                )
                pipeline.hop_frames(settings.hop)
            self._opened = create_store(self.path, settings)
            on_step(f"{self.path} is a new library of the encoder {settings.encoder}")
            self._check_wanted(self._opened.settings)
        return self._opened

    def _check_wanted(self, settings: Settings) -> None:
        for what, wanted, got in zip(
            ("encoder", "hop"), self._wanted, (settings.encoder, settings.hop), strict=True
        ):
            if wanted is not None and wanted != got:
                raise SoundsearchError(
                    f"{self.path}: was made with {what} {got}, not {wanted}; leave the option "
                    "out, or make a new library"
                )

    def _listener(self, threads: int) -> Listener:
        """The encoder that made the library, checked to give its space, and its head."""
        if threads not in self._listeners:
            settings = self._store.settings
            listener = Listener.open(settings.encoder, threads)
            if listener.encoder.space != settings.space:
                raise SpaceMismatch(self._store.where, settings.space, listener.encoder.space)
            self._listeners[threads] = listener
        return self._listeners[threads]

    def _rows_at(
        self, uri: str | os.PathLike[str]
    ) -> tuple[StoredClip, NDArray[np.float32], NDArray[np.void]]:
        text = os.fspath(uri)
        while True:
            clip = self._store.clip_at(text) or self._store.clip_at(os.path.abspath(text))
            if clip is None:
                raise ClipNotFound(f"{text}: no clip of {self._store.where} has this uri")
            try:
                return clip, *self._store.rows([(clip.id, 0, clip.count)])
            except KeyError:  # it was removed or replaced between the two steps
                continue


def _check_wish(k: int, ranking: str) -> None:
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    if ranking not in RANKINGS:
        raise ValueError(f"ranking: expected one of {', '.join(RANKINGS)}, got {ranking!r}")


def _files_of(store: Store) -> Iterator[AudioFile]:
    """The clips' files as they are now, those that are there."""
    for clip in store.clips():
        with suppress(OSError):
            yield stat_file(clip.file.uri)


def _ids_below(store: Store, folder: str) -> Sequence[int]:
    prefix = os.path.join(folder, "")
    return [clip.id for clip in store.clips() if clip.file.uri.startswith(prefix)]
