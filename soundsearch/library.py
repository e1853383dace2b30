"""The library: what a user opens, fills and asks."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import asdict, replace
from functools import partial
from types import TracebackType
from typing import Any

from soundsearch_ingest import encoders
from soundsearch_ingest.decode import Decoder
from soundsearch_ingest.discover import (
    AUDIO_SUFFIXES,
    RECORDS_SUFFIX,
    AudioFile,
    discover,
    expand,
    stat_file,
)

from .asking.questions import Moments, Sound, Source
from .clips import Clips
from .errors import AudioError, EncoderError, LibraryError
from .hearing import Listener
from .results import CopyReport, Failure, IngestReport, LabelledClip, TagReport
from .session import Session, default_address
from .stores.base import OnStep, Store
from .stores.opening import Place, place_of
from .stores.records import TagValue

__all__ = ["Library"]

OnFile = Callable[[str, str], None]
OnSound = Callable[[float], None]
Target = str | os.PathLike[str]


def _ignore(*_values: Any) -> None:
    pass


class Library(Clips):
    """A collection of clips that can be searched by sound. Use `soundsearch.open`.

    It is the selection of all its clips, see `Clips`, and it can be filled.

    Parameters
    ----------
    address : path or str, optional
        Folder of the library, or its address in Milvus: ``milvus://host:19530/name``,
        ``milvus-lite:file.db`` (see `soundsearch.stores.milvus.uri.MilvusUri.parse`). When left
        out, ``SOUNDSEARCH_LIBRARY`` or a folder in the user's data. It is made by the first
        `ingest`.
    encoder : str, optional
        For a library that is still to be made; an existing one keeps its own. By default
        ``vggish`` where it is installed, else ``mini``.
    hop : float, optional
        Seconds between the starts of two segments, 0.01 to 0.96, of a library that is still to be
        made. By default the segments do not overlap.

    Attributes
    ----------
    address : Path or MilvusUri

    Raises
    ------
    LibraryError
        The library is damaged or of another version.
    ArgumentError
        The library was made with another encoder or hop.
    """

    def __init__(
        self,
        address: Target | Place | None = None,
        *,
        encoder: str | None = None,
        hop: float | None = None,
    ) -> None:
        self.address = default_address() if address is None else place_of(address)
        super().__init__(Session(self.address, encoder, hop), None, "")

    def __repr__(self) -> str:
        return f"<Library {self.address}>"

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
        """Release the library's files or connections."""
        self._session.close()

    # Filling

    def ingest(
        self,
        targets: Target | Iterable[Target],
        *,
        prune: bool = False,
        prune_all: bool = False,
        retry_failed: bool = False,
        tags: Mapping[str, Mapping[str, TagValue | None]] | None = None,
        on_file: OnFile = _ignore,
        on_sound: OnSound = _ignore,
        on_step: OnStep = _ignore,
    ) -> IngestReport:
        """Bring the library up to date with files and folders.

        Unchanged files are not opened, moved ones are recognised by their content, changed
        ones replaced. One bad file never stops the run; a clip whose file has become one stays
        as it was heard, with a warning. It may be interrupted or killed at
        any time: what `on_file` was told of is stored, and the same call goes on.

        Parameters
        ----------
        targets : path or iterable of paths
            Files, folders (searched recursively) and globs.
        prune : bool
            Take clips out whose file is gone: the folder that held it can be listed and it is
            not there.
        prune_all : bool
            Also where all clips of a target would go, or more than ten and more than a tenth of
            them.
        retry_failed : bool
            Try files again that failed before.
        tags : mapping, optional
            Given to the clips at the end; see `tag`.
        on_file : callable
            Called with uri and outcome (``added``, ``replaced``, ``renamed``, ``unchanged``,
            ``failed``, ``failed before``) of each file once that is stored.
        on_sound : callable
            Called with the seconds of sound decoded since the last call, from other threads.
        on_step : callable
            Called with a text that says what is done beside the files: making a library, its
            index.

        Returns
        -------
        IngestReport
            Where there is no library yet and nothing that could be audio, none is made.

        Raises
        ------
        AudioError
            A target does not exist.
        ArgumentError
            A tag has no usable key or value; nothing is ingested.
        LibraryBusy
            Another process is writing to the library.
        LibraryError
            It cannot be written to, for example because the disk is full; or so many clips would
            be pruned that a fault is likelier, such as a disk that is not mounted. What was
            ingested is stored.
        """
        from .ingesting import Ingest
        from .tags import Tagging

        tagging = Tagging(tags or {})
        roots = expand([targets] if isinstance(targets, (str, os.PathLike)) else targets)
        if not self._session.is_made and (report := _without_sound(roots)) is not None:
            report.tags = None if tags is None else TagReport(unknown=list(map(os.fspath, tags)))
            return report
        for_records = any(root.lower().endswith(RECORDS_SUFFIX) for root in roots)
        store = self._session.create(for_records, on_step)
        with store.writing():
            if store.settings.space != encoders.AUDIOSET_SPACE:  # features need no encoder
                self._session.listener(1)
            ingest = Ingest(
                store, partial(self._session.listener, 1), retry_failed, on_file, on_sound
            )
            ingest.run(roots)
            if tags is not None:
                ingest.report.tags = tagging.apply(store)
            store.optimise(on_step)
            ingest.find_missing(roots, prune or prune_all, prune_all)
        return ingest.report

    def reembed(
        self,
        *,
        prune: bool = False,
        prune_all: bool = False,
        on_file: OnFile = _ignore,
        on_sound: OnSound = _ignore,
        on_step: OnStep = _ignore,
    ) -> IngestReport:
        """Embed every clip again, for a library made with an older version of its encoder.

        The library answers as before until the last clip is done. An interrupted run goes on
        where it was. Tags stay, and so do the labels that people gave.

        Parameters
        ----------
        prune : bool
            Let clips go whose file is gone or cannot be read any more.
        prune_all : bool
            Also where these are all, or more than ten and more than a tenth of them.
        on_file, on_sound, on_step : callable
            See `ingest`.

        Raises
        ------
        LibraryError
            Files are gone or unreadable and `prune` is not set, or these are too many; the
            library stays as it is.
        LibraryBusy
            Another process is writing to the library.
        """
        from .ingesting import Ingest
        from .pruning import check_plausible

        store = self._session.store
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
                    ingest = Ingest(successor, lambda: listener, True, on_file, on_sound, store)
                    ingest.run_files(_files_of(store))
                lost = [clip.uri for clip in store.clips() if successor.clip_at(clip.uri) is None]
                if lost and not (prune or prune_all):
                    raise LibraryError(
                        f"{self.address}: {len(lost)} of its clips cannot be embedded again, their "
                        f"files are gone or cannot be read (the first: {lost[0]}); the library "
                        "is as before. Put them back, or let them go with --prune"
                    )
                if not prune_all:
                    check_plausible(str(self.address), lost, store.counts().clips)
                store.adopt(successor)
            store.optimise(on_step)
        self._session.forget_listeners()
        ingest.report.removed = len(lost)
        return ingest.report

    def tag(self, tags: Mapping[str, Mapping[str, TagValue | None]]) -> TagReport:
        """Attach tags to clips.

        Parameters
        ----------
        tags : mapping of uri to mapping of key to value
            Uris may be relative paths. Values are texts, finite numbers or truth values; None
            takes a tag away. Other tags of these clips stay.

        Returns
        -------
        TagReport
            Uris that no clip has are in it; the others are tagged all the same.

        Raises
        ------
        ArgumentError
            A key or value cannot be; nothing is tagged.
        LibraryBusy
            Another process is writing to the library.
        """
        from .tags import Tagging

        tagging = Tagging(tags)
        store = self._session.store
        with store.writing():
            return tagging.apply(store)

    def remove(self, uris: Iterable[Target]) -> int:
        """Take clips out, named by uri, by a folder above them or by a pattern; returns how many.

        In a pattern of uris, ``*`` and ``?`` stand for what is within a folder, ``**`` for
        folders too, and ``[...]`` for one of several characters.

        Raises
        ------
        ClipNotFound
            Nothing in the library has that uri, lies in that folder or fits; nothing is removed.
        """
        from .naming import clips_named

        store = self._session.store
        found: dict[int, None] = {}
        for uri in uris:
            found.update(dict.fromkeys(clips_named(store, uri)))
        with store.writing():
            store.remove(list(found))
        return len(found)

    def rebuild(self, on_step: OnStep = _ignore) -> int:
        """Derive again whatever is derived, and free the space of removed clips.

        Returns how many clips had to be given up because their vectors are lost; ingest
        their folders again to get them back.
        """
        store = self._session.store
        with store.writing():
            return store.rebuild(on_step)

    def copy(
        self,
        target: Target | Place,
        *,
        on_clip: Callable[[str], None] = _ignore,
        on_step: OnStep = _ignore,
    ) -> CopyReport:
        """Copy every clip with its vectors, labels and tags, and the failures, to another library.

        Nothing is decoded or embedded. Clips that the target has with the same file and content
        are skipped: an interrupted copy goes on where it was. What else the target holds stays.

        Parameters
        ----------
        target : path or str
            A folder or an address in Milvus; created if nothing is there.
        on_clip : callable
            Called with the uri of each clip that is in the target.
        on_step : callable
            Called with a text that says what else is done.

        Raises
        ------
        LibraryError
            The two are of different spaces or lengths of segments, or the copy is not equal.
        LibraryNotFound, LibraryBusy
        """
        from .copying import copy

        return copy(self._session.store, self.address, place_of(target), on_clip, on_step)

    # Beside the clips

    def label(
        self,
        source: Source,
        *,
        at: Moments | None = None,
        sample_rate: int | None = None,
        on_sound: OnSound = _ignore,
    ) -> LabelledClip:
        """Predict the labels of a sound and of each of its segments; see `soundsearch.label`."""
        return self._session.labeller().label(Sound(source, at, sample_rate), on_sound)

    def failures(self) -> list[Failure]:
        """The files that could not be ingested, and why."""
        failures = self._session.store.failures()
        return [Failure(failure.file.uri, failure.reason) for failure in failures]

    def info(self) -> dict[str, Any]:
        """Counts and settings: clips, segments, failures, encoder, space, hop, store, index.

        ``installed_space`` is what the encoder gives that is installed now, None without it.
        Where it differs, the library waits for `reembed`. ``index`` says how the approximate
        search of a large library in a folder is tuned: ``cells`` of ``all_cells`` are visited,
        ``candidates`` scored exactly, and of the ten nearest segments the share ``recall`` found,
        measured on ``queries`` when there were ``rows`` segments; ``warning`` if that is little.
        None where search is exact, or left to Milvus.
        """
        store = self._session.store
        counts, settings, tuning = store.counts(), store.settings, store.tuning()
        installed = None
        with suppress(EncoderError):
            installed = encoders.load(settings.encoder).space
        return {
            "clips": counts.clips,
            "segments": counts.segments,
            "failures": counts.failures,
            "encoder": settings.encoder,
            "space": settings.space,
            "installed_space": installed,
            "dimension": settings.dimension,
            "hop": settings.hop,
            "store": store.address,
            "index": None if tuning is None else asdict(tuning) | {"warning": tuning.warning},
        }


def _without_sound(roots: list[str]) -> IngestReport | None:
    """The report of an ingest that has nothing to store; None where something may be audio.

    A damaged file is, by its name: that it failed is worth a library to keep it in.
    """
    skipped: Counter[str] = Counter()
    report = IngestReport()
    for file in discover(roots, skipped):
        if os.path.splitext(file.uri)[1].lower() in {*AUDIO_SUFFIXES, RECORDS_SUFFIX}:
            return None
        try:
            Decoder(file.uri).close()
        except AudioError as error:
            report.failed.append(Failure(file.uri, error.reason))
        else:
            return None
    report.skipped = dict(skipped)
    return report


def _files_of(store: Store) -> Iterator[AudioFile]:
    """The clips' files as they are now, those that are there."""
    for clip in store.clips():
        with suppress(OSError):
            yield stat_file(clip.uri)
