"""The library: what a user opens, fills and asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Any, BinaryIO, cast

from soundsearch_ingest import encoders
from soundsearch_ingest.discover import RECORDS_SUFFIX, expand
from soundsearch_ingest.urls import suffix

from .asking.questions import Moments, Sound, Source, as_sound
from .care import Care
from .duplicates.found import DuplicatePair
from .errors import ArgumentError, LibraryBusy
from .keepers import OnLong
from .labels.kept import head_file, vocabulary_of
from .results import Clip, Failure, IngestReport, LabelledClip, TagReport
from .selection import shown
from .session import Session, default_address
from .stores.base import OnStep
from .stores.opening import Place, place_of
from .stores.parts import Part
from .stores.records import TagsOf, TagValue
from .telling import facts
from .waiting import Patience

__all__ = ["Library"]

OnFile = Callable[[str, str], None]
OnSound = Callable[[float], None]
OnDuplicate = Callable[[DuplicatePair], None]
Target = str | os.PathLike[str]


def _ignore(*_values: Any) -> None:
    pass


def _part(shard: str, prunes: bool, tags: TagsOf | None, streams: Mapping[str, Any]) -> Part:
    for is_given, name, after in (
        (bool(streams), "binary files", "ingest these by themselves"),
        (prunes, "prune", "ingest the same targets with it, and no shard, when all have ended"),
        (tags is not None, "tags", "give them with `tag` when all shards have ended"),
    ):
        if is_given:
            raise ArgumentError(f"shard: cannot be given with {name}; {after}")
    return Part.parse(shard)


class Library(Care):
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
    head : path, optional
        The file of a head that predicts labels, of a library that is still to be made; an
        existing one takes another with `use_head`. By default the encoder's own.
    wait : float or bool
        How long to wait where another process is writing to it: seconds, or True for ever. By
        default `LibraryBusy` is raised at once. Threads of this process always wait for each
        other.
    on_wait : callable
        Told, in a sentence, what is waited for.

    Attributes
    ----------
    address : Path or MilvusUri

    Raises
    ------
    LibraryError
        The library is damaged or of another version.
    ArgumentError
        The library was made with another encoder or hop, or keeps another head.
    LibraryBusy
        Another process upgrades it, or has its Milvus Lite file open.
    """

    def __init__(
        self,
        address: Target | Place | None = None,
        *,
        encoder: str | None = None,
        hop: float | None = None,
        head: Target | None = None,
        wait: float | bool = False,
        on_wait: OnStep = _ignore,
    ) -> None:
        self.address = default_address() if address is None else place_of(address)
        patience = Patience.of(wait, on_wait)
        file = None if head is None else head_file(head)
        super().__init__(Session(self.address, encoder, hop, patience, file))

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
        targets: Target | BinaryIO | Iterable[Target | BinaryIO] = (),
        *,
        manifest: Target | None = None,
        prune: bool = False,
        prune_all: bool = False,
        retry_failed: bool = False,
        again: bool = False,
        tags: TagsOf | None = None,
        engine: str = "local",
        address: str | None = None,
        shard: str | None = None,
        on_file: OnFile = _ignore,
        on_sound: OnSound = _ignore,
        on_step: OnStep = _ignore,
        on_long: OnLong = _ignore,
        on_duplicate: OnDuplicate | None = None,
    ) -> IngestReport:
        """Bring the library up to date with files and folders.

        Unchanged files are not opened, moved ones are recognised by their content, changed
        ones replaced. One bad file never stops the run; a clip whose file has become one stays
        as it was heard, with a warning. It may be interrupted or killed at
        any time: what `on_file` was told of is stored, and the same call goes on, within a file
        of ten minutes or more too.

        Parameters
        ----------
        targets : path, URL, binary file or iterable of these
            Files, folders (searched recursively), zip and tar archives, and globs, here or at URLs
            that fsspec knows. A binary file that is none on disk is stored under its `name`; see
            `add`.
        manifest : path, optional
            A text file that lists more files, a path or URL a line; ``-`` for standard input. See
            `soundsearch_ingest.manifests.Manifest`.
        prune : bool
            Take clips out whose file is gone: the folder that held it can be listed and it is
            not there.
        prune_all : bool
            Also where all clips of a target would go, or more than ten and more than a tenth of
            them.
        retry_failed : bool
            Try files again that failed before.
        again : bool
            Embed files again that have not changed, as when their clips are damaged (`check`).
        tags : mapping, optional
            Given to the clips at the end; see `tag`.
        engine : str
            ``local``: the files are heard by this process. ``ray``: by the workers of a Ray
            cluster, whose nodes see the files at the same paths, into a library on a Milvus
            server.
        address : str, optional
            Of the Ray cluster: ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``; by default
            ``RAY_ADDRESS`` from the environment, else Ray is started on this machine.
        shard : str, optional
            Which part of the files is this process's, as in ``3/64``, where as many processes, on
            as many machines as one likes, share an ingest into a library on a Milvus server. All
            are given the same targets, at the same paths. A part may be repeated, at any time;
            two processes never write the same one. Clips whose files are gone are not looked for.
        on_file : callable
            Called with uri and outcome (``added``, ``replaced``, ``renamed``, ``unchanged``,
            ``failed``, ``failed before``) of each file once that is stored.
        on_sound : callable
            Called with the seconds of sound decoded since the last call, from other threads.
        on_step : callable
            Called with a text that says what else is done.
        on_long : callable
            Called with the uri of a file of ten minutes or more, the seconds of it that were
            decoded, and those that it promises, from other threads.
        on_duplicate : callable, optional
            Called with a `DuplicatePair` of each new clip that is the same sound as another one,
            once that is stored; these are looked for only where this is given. See `duplicates`,
            which finds more.

        Returns
        -------
        IngestReport
            Where there is no library yet and nothing that could be audio, none is made.

        Raises
        ------
        AudioError
            A target or the manifest does not exist, or cannot be reached.
        ArgumentError
            A tag has no usable key or value, the engine cannot write to this library, or `shard`
            goes with something that needs all files; nothing is ingested. Or a line of the
            manifest cannot be a path or URL; what comes before it is ingested.
        ClusterError
            There is no Ray cluster, or its workers cannot do what they must.
        MissingExtra
            A URL or the engine needs a package that is not installed.
        LibraryBusy
            Another process is writing to the library.
        LibraryError
            It cannot be written to; or so many clips would be pruned that a fault is likelier,
            such as a disk that is not mounted. What was ingested is stored.
        """
        from soundsearch_ingest.manifests import Manifest

        from .adding import add_streams, parted
        from .clusters.choosing import check_engine, engine_of
        from .ingesting import Ingest, optimise
        from .surveying import without_sound
        from .tags import Tagging

        check_engine(engine, address, self.address)
        tagging = Tagging(tags or {})
        is_one = isinstance(targets, (str, os.PathLike)) or hasattr(targets, "read")
        paths, streams = parted(cast(Any, [targets] if is_one else targets))
        part = None if shard is None else _part(shard, prune or prune_all, tags, streams)
        roots = expand(paths)
        listed = None if manifest is None else Manifest(manifest)
        is_wanted = bool(self._session.is_made or streams or listed is not None)
        if not is_wanted and (report := without_sound(roots)) is not None:
            report.tags = None if tags is None else TagReport(unknown=list(map(str, tags)))
            return report
        for_records = any(suffix(root) == RECORDS_SUFFIX for root in roots)
        self._session.create(for_records, on_step)
        with self._session.writing(part) as store:
            self._session.head(store)  # raises where a damaged library keeps one that cannot be
            if store.settings.space != encoders.AUDIOSET_SPACE:  # features need no encoder
                self._session.listener(1)
            listener = partial(self._session.listener, 1)
            if on_duplicate is not None:
                from .duplicates.incoming import Incoming

                on_file = Incoming(store, on_duplicate).watching(on_file)
            told: Any = {"again": again, "on_long": on_long, "on_step": on_step}
            told["engine"] = engine_of(engine, address, store, on_sound, on_long, on_step)
            ingest = Ingest(store, listener, retry_failed, on_file, on_sound, **told)
            ingest.run(roots, part, listed)
            add_streams(self._session, streams, ingest.report, on_file, on_sound)
            if tags is not None:
                ingest.report.tags = tagging.apply(store)
            if part is None:
                optimise(store, ingest.report, on_step)
                ingest.find_missing(roots, prune or prune_all, prune_all)
        if part is not None:
            with suppress(LibraryBusy), store.writing():  # the last part indexes all of them
                optimise(store, ingest.report, on_step)
        return ingest.report

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the library for writing while much is added: it is locked, and indexed, once.

        What a call within has stored is stored, whatever follows::

            with lib.writing():
                for uri, samples in tracks:
                    lib.add(samples, 48_000, uri=uri)

        Raises
        ------
        LibraryBusy
            Another process is writing to the library.
        """
        self._session.create(False, _ignore)
        with self._session.filling():
            yield

    def add(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        uri: str,
        tags: Mapping[str, TagValue | None] | None = None,
    ) -> Clip:
        """Store a sound that is no file on disk; it replaces the clip at this uri.

        Safe in threads, which embed at the same time. Many are added faster within `writing`.

        Parameters
        ----------
        source : array or binary file
            Samples as in `Sound`, or a stream, which is read to its end.
        sample_rate : int, optional
            Of an array, Hz.
        uri : str
            What the clip is called in the library, such as ``track:1``.
        tags : mapping, optional
            Attached to it; see `tag`. Tags that the clip had stay.

        Returns
        -------
        Clip
            As it is stored. If the clip held the same sound before, that is not embedded again.

        Raises
        ------
        ArgumentError
            An argument cannot be.
        AudioError
            The source gives no sound.
        LibraryBusy
            Another process is writing to the library.
        LibraryError
            It cannot be written to.
        """
        from .adding import add

        clip = add(self._session, source, uri, sample_rate, tags)[0]
        return shown(clip, vocabulary_of(self._session.store))

    def reembed(
        self,
        *,
        prune: bool = False,
        prune_all: bool = False,
        on_file: OnFile = _ignore,
        on_sound: OnSound = _ignore,
        on_step: OnStep = _ignore,
        on_long: OnLong = _ignore,
    ) -> IngestReport:
        """Embed every clip again, for a library made with an older version of its encoder.

        The library answers as before until the last clip is done. An interrupted run goes on
        where it was. Tags stay, and so do the labels that people gave. A head of the library's
        own (`use_head`) is let go, as it reads the space that was; `on_step` is told.

        Parameters
        ----------
        prune : bool
            Let clips go whose file is gone or cannot be read any more.
        prune_all : bool
            Also where these are all, or more than ten and more than a tenth of them.
        on_file, on_sound, on_step, on_long : callable
            See `ingest`.

        Raises
        ------
        LibraryError
            Files are gone or unreadable and `prune` is not set, or these are too many; the
            library stays as it is.
        LibraryBusy
            Another process is writing to the library.
        """
        from .reembedding import reembed

        return reembed(self._session, prune, prune_all, on_file, on_sound, on_step, on_long)

    # Beside the clips

    def label(
        self,
        source: Sound | Source,
        *,
        at: Moments | None = None,
        sample_rate: int | None = None,
        on_sound: OnSound = _ignore,
    ) -> LabelledClip:
        """Predict the labels of a sound and of each of its segments; see `soundsearch.label`."""
        return self._session.labeller().label(as_sound(source, at, sample_rate), on_sound)

    def failures(self) -> list[Failure]:
        """The files that could not be ingested, and why."""
        failures = self._session.store.failures()
        return [Failure(failure.file.uri, failure.reason) for failure in failures]

    def info(self) -> dict[str, Any]:
        """Counts and settings: clips, segments, failures, encoder, space, head, hop, store, index.

        ``installed_space`` is what the encoder gives that is installed now, None without it.
        Where it differs, the library waits for `reembed`. ``index`` says how the approximate
        search of a large library in a folder is tuned: ``cells`` of ``all_cells`` are visited,
        ``candidates`` scored exactly, and of the ten nearest segments the share ``recall`` found,
        measured on ``queries`` when there were ``rows`` segments; ``warning`` if that is little.
        None where search is exact, or left to Milvus. ``head`` says what predicts labels in place
        of the encoder's own head, see `head`; None where nothing does.
        """
        return facts(self._session.store)
