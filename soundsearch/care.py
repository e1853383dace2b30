"""The care of a library: tags, keys, its head, what is damaged, copies."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .clips import Clips
from .labels.head import Head
from .labels.kept import kept_head, vocabulary_of
from .results import Clip, CopyReport, Finding, TagReport
from .selection import shown
from .stores.base import OnClips, OnStep
from .stores.opening import Place, place_of
from .stores.records import ClipName, TagsOf

if TYPE_CHECKING:
    from .correcting import Correction

__all__ = ["Care"]

Target = str | os.PathLike[str]


def _ignore(*_values: Any) -> None:
    pass


class Care(Clips):
    """What is done to a `Library` besides filling it."""

    def tag(self, tags: TagsOf) -> TagReport:
        """Attach tags to clips.

        Parameters
        ----------
        tags : mapping of uri, id or Key to mapping of key to value
            Uris may be relative paths. Values are texts, finite numbers or truth values; None
            takes a tag away. Whole numbers beyond 2**53 must be texts. Other tags of these clips
            stay.

        Returns
        -------
        TagReport
            Uris that no clip has are in it, and those whose key (see `use_key`) cannot be; the
            others are tagged all the same.

        Raises
        ------
        ArgumentError
            A name, a key or a value cannot be; nothing is tagged.
        LibraryBusy
            Another process is writing to the library.
        """
        from .tags import Tagging

        tagging = Tagging(tags)
        with self._session.writing() as store:
            return tagging.apply(store)

    def correct(
        self,
        clip: ClipName,
        label: str,
        *,
        at: tuple[float, float | None] | None = None,
        heard: bool | None = True,
    ) -> Clip:
        """Say that a label is heard in a clip, or is not, whatever was predicted.

        It is kept as long as the clip has this content, beside what is predicted, and is among its
        human labels where it is heard. What is said later of the same label and time counts.

        Parameters
        ----------
        clip : uri, id or Key
        label : str
            A class of the library, by its name or id.
        at : (float, float or None), optional
            From when to when, seconds; None as the end is that of the clip. By default, of the
            clip as a whole, without saying when.
        heard : bool or None
            None takes back what was said of this label and time.

        Returns
        -------
        Clip
            As it is now.

        Raises
        ------
        ClipNotFound
        ArgumentError
            There is no such label or time, or more than 1000 things were said of the clip.
        LibraryBusy
            Another process is writing to the library.
        """
        from .correcting import corrected

        with self._session.writing() as store:
            with store.reading() as reading:
                found = self._clip(reading, clip)
                vocabulary = vocabulary_of(reading)
            record = corrected(found.record, vocabulary, label, at, heard)
            store.amend({found.id: record})
        return shown(replace(found, record=record), vocabulary)

    def correct_all(self, corrections: Iterable[Correction]) -> dict[int, str]:
        """`correct` for many labels and clips, in few writes.

        Parameters
        ----------
        corrections : iterable of Correction
            In the order in which they were said.

        Returns
        -------
        dict of int to str
            Which of them, from 0 on, could not be, and why; all others are stored.

        Raises
        ------
        ArgumentError
            One is no Correction, or names no clip, but something else.
        LibraryBusy
            Another process is writing to the library.
        """
        from .correcting import correct_all

        with self._session.writing() as store:
            return correct_all(store, corrections)

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

    @property
    def head(self) -> Head | None:
        """What predicts the library's labels, see `use_head`; None for the encoder's own."""
        return kept_head(self._session.store)

    def use_head(
        self,
        head: Target | None,
        *,
        forget: bool = False,
        on_clips: OnClips = _ignore,
        on_step: OnStep = _ignore,
    ) -> None:
        """Predict the labels of all clips anew with a head, and keep it for those to come.

        Nothing is embedded again: the head reads stored vectors. What people said, tags, keys and
        ids stay. It is done in one step: the library answers as before until then, and is as
        before where this is interrupted or killed; the same call goes on. Memory does not grow
        with the number of clips.

        Parameters
        ----------
        head : path or None
            A head's file, see `soundsearch.Head`; None goes back to the encoder's own. Where that
            one does not read the library's vectors, clips then have no labels until `ingest` with
            `again` hears their files.
        forget : bool
            Let go what people said of classes that only the head before had.
        on_clips : callable
            Told how many more clips were labelled.
        on_step : callable
            Called with a text that says what else is done.

        Raises
        ------
        EncoderError
            The file cannot be read as a head.
        SpaceMismatch
            It reads another space than the library's.
        LibraryError
            It lacks classes of which people said something.
        LibraryBusy
            Another process is writing to the library.
        """
        from .using_heads import use_head

        use_head(self._session, head, forget, on_clips, on_step)

    def remove(self, uris: ClipName | Iterable[ClipName]) -> int:
        """Take clips out, named by uri, id or key, a folder above or a pattern; returns how many.

        In a pattern of uris, ``*`` and ``?`` stand for what is within a folder, ``**`` for
        folders too, and ``[...]`` for one of several characters.

        Raises
        ------
        ClipNotFound
            Nothing in the library has that name, lies in that folder or fits; nothing is removed.
        ArgumentError
            A name cannot be one, such as an empty text; nothing is removed.
        LibraryBusy
            Another process is writing to the library.
        """
        from .naming import clips_named, listed

        names, _ = listed(uris)
        # Looked up when it is our turn: who wrote before may have replaced them.
        with self._session.writing() as store:
            found = clips_named(store, names)
            store.remove(found)
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
        Others may write to this library meanwhile; what they do then may not be in the copy.

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
            The two are of different spaces or lengths of segments, the copy is not equal, or two
            clips would have one key (`use_key`); what was copied before stays.
        LibraryNotFound, LibraryBusy
        """
        from .copying import copy

        session = self._session
        return copy(
            session.store, session.address, place_of(target), session.patience, on_clip, on_step
        )
