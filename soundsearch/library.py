"""The library: what a user opens, fills and asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, BinaryIO, cast

from soundsearch_ingest import encoders
from soundsearch_ingest.discover import RECORDS_SUFFIX, expand

from .asking.questions import Moments, Sound, Source, as_sound
from .clips import Clips, shown
from .results import Clip, CopyReport, Failure, Finding, IngestReport, LabelledClip, TagReport
from .session import Session, default_address
from .stores.base import OnClips, OnStep
from .stores.opening import Place, place_of
from .stores.records import Key, TagsOf, TagValue
from .telling import facts
from .waiting import Patience

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
        The library was made with another encoder or hop.
    LibraryBusy
        Another process upgrades it, or has its Milvus Lite file open.
    """

    def __init__(
        self,
        address: Target | Place | None = None,
        *,
        encoder: str | None = None,
        hop: float | None = None,
        wait: float | bool = False,
        on_wait: OnStep = _ignore,
    ) -> None:
        self.address = default_address() if address is None else place_of(address)
        patience = Patience.of(wait, on_wait)
        super().__init__(Session(self.address, encoder, hop, patience), None, "")

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
        targets: Target | BinaryIO | Iterable[Target | BinaryIO],
        *,
        prune: bool = False,
        prune_all: bool = False,
        retry_failed: bool = False,
        again: bool = False,
        tags: TagsOf | None = None,
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
        targets : path, binary file or iterable of these
            Files, folders (searched recursively) and globs. A binary file that is none on disk
            is stored under its `name`; see `add`.
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
        on_file : callable
            Called with uri and outcome (``added``, ``replaced``, ``renamed``, ``unchanged``,
            ``failed``, ``failed before``) of each file once that is stored.
        on_sound : callable
            Called with the seconds of sound decoded since the last call, from other threads.
        on_step : callable
            Called with a text that says what else is done.

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
            It cannot be written to; or so many clips would be pruned that a fault is likelier,
            such as a disk that is not mounted. What was ingested is stored.
        """
        from .adding import add_streams, parted
        from .ingesting import Ingest, optimise, without_sound
        from .tags import Tagging

        tagging = Tagging(tags or {})
        is_one = isinstance(targets, (str, os.PathLike)) or hasattr(targets, "read")
        paths, streams = parted(cast(Any, [targets] if is_one else targets))
        roots = expand(paths)
        if not (self._session.is_made or streams) and (report := without_sound(roots)) is not None:
            report.tags = None if tags is None else TagReport(unknown=list(map(str, tags)))
            return report
        for_records = any(root.lower().endswith(RECORDS_SUFFIX) for root in roots)
        self._session.create(for_records, on_step)
        with self._session.writing() as store:
            if store.settings.space != encoders.AUDIOSET_SPACE:  # features need no encoder
                self._session.listener(1)
            listener = partial(self._session.listener, 1)
            ingest = Ingest(store, listener, retry_failed, on_file, on_sound, again=again)
            ingest.run(roots)
            add_streams(self._session, streams, ingest.report, on_file, on_sound)
            if tags is not None:
                ingest.report.tags = tagging.apply(store)
            optimise(store, ingest.report, on_step)
            ingest.find_missing(roots, prune or prune_all, prune_all)
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

        return shown(add(self._session, source, uri, sample_rate, tags)[0])

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
        from .reembedding import reembed

        return reembed(self._session, prune, prune_all, on_file, on_sound, on_step)

    def tag(self, tags: TagsOf) -> TagReport:
        """Attach tags to clips.

        Parameters
        ----------
        tags : mapping of uri or Key to mapping of key to value
            Uris may be relative paths. Values are texts, finite numbers or truth values; None
            takes a tag away. Other tags of these clips stay.

        Returns
        -------
        TagReport
            Uris that no clip has are in it, and those whose key (see `use_key`) cannot be; the
            others are tagged all the same.

        Raises
        ------
        ArgumentError
            A key or value cannot be; nothing is tagged.
        LibraryBusy
            Another process is writing to the library.
        """
        from .tags import Tagging

        tagging = Tagging(tags)
        with self._session.writing() as store:
            return tagging.apply(store)

    @property
    def key(self) -> str | None:
        """The tag that is the key of clips, see `use_key`; None while none is."""
        return self._session.store.key()

    def use_key(self, tag: str | None) -> None:
        """Say which tag is the key of clips, so that ``Key("t1")`` names one; None for none.

        Kept with the library. From then on, a clip gets no key that another one has; raises
        `ArgumentError` where two clips have the same already.
        """
        from .tags import declare_key

        with self._session.writing() as store:
            declare_key(store, tag)

    def remove(self, uris: Iterable[Target | Key]) -> int:
        """Take clips out, named by uri or key, a folder above or a pattern; returns how many.

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
        with self._session.writing():
            store.remove(list(found))
        return len(found)

    def check(self, *, on_clips: OnClips = _ignore, on_step: OnStep = _ignore) -> list[Finding]:
        """Read all that is stored, and compare it with its checksums.

        Milvus shows none: there, it is checked that all segments are there and are numbers.

        Parameters
        ----------
        on_clips : callable
            Called with how many more clips were checked.
        on_step : callable
            Called with a text that says what is checked.

        Returns
        -------
        list of Finding
            What is damaged and what to do; empty where all is well.
        """
        from .checking import check

        return check(self._session.store, on_clips, on_step)

    def rebuild(self, on_step: OnStep = _ignore) -> int:
        """Derive again whatever is derived, and free the space of removed clips.

        Returns how many clips had to be given up because their vectors are lost; ingest
        their folders again to get them back.
        """
        with self._session.writing() as store:
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

        session = self._session
        return copy(
            session.store, self.address, place_of(target), session.patience, on_clip, on_step
        )

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
        """Counts and settings: clips, segments, failures, encoder, space, hop, store, key, index.

        ``installed_space`` is what the encoder gives that is installed now, None without it.
        Where it differs, the library waits for `reembed`. ``index`` says how the approximate
        search of a large library in a folder is tuned: ``cells`` of ``all_cells`` are visited,
        ``candidates`` scored exactly, and of the ten nearest segments the share ``recall`` found,
        measured on ``queries`` when there were ``rows`` segments; ``warning`` if that is little.
        None where search is exact, or left to Milvus.
        """
        return facts(self._session.store)
