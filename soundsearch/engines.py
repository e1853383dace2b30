"""What hears the files of an ingest: this process, by `LocalEngine`, or others for it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import Protocol

from soundsearch_ingest import pipeline
from soundsearch_ingest.files import AudioFile
from soundsearch_ingest.keeping import Keeper

from .copies import usable_copies
from .hearing import Listener
from .keepers import OnLong, keeper_of
from .stores.base import Store

__all__ = ["Engine", "LocalEngine", "Outcome", "Reuse", "StoredFile"]


@dataclass(frozen=True, slots=True)
class Reuse:
    """Which content need not be heard again.

    Attributes
    ----------
    clips : bool
        That of clips, unless their file has become none.
    failures : bool
        What failed before.
    """

    clips: bool
    failures: bool

    def has(self, store: Store, digest: bytes) -> bool:
        """Whether a store has this content. Thread-safe."""
        if self.clips and usable_copies(store, digest):
            return True
        return self.failures and store.failure_with(digest) is not None


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file whose clip an engine has stored already.

    Attributes
    ----------
    file : AudioFile
    digest : bytes
        BLAKE3 of the content.
    duration : float
        Seconds.
    warning : str or None
        Why there may be less sound than the file promised.
    sample_rate : int
        Of the file, Hz.
    replaced : bool
        Whether there was a clip at the uri.
    """

    file: AudioFile
    digest: bytes
    duration: float
    warning: str | None
    sample_rate: int
    replaced: bool


Outcome = pipeline.Result | StoredFile


class Engine(Protocol):
    """Hears files for an `Ingest`, which stores what it is given that is not stored yet."""

    def run(self, files: Iterator[AudioFile], reuse: Reuse) -> Generator[Outcome, None, None]:
        """Hear files, which are taken one at a time; one outcome for each, in any order.

        Closing the generator ends the work.
        """
        ...

    def forget(self, digest: bytes | None) -> None:
        """Let go what was kept of a sound to go on with, as its outcome is stored; None of all."""
        ...

    def close(self) -> None:
        """Release all resources; `forget` may be called afterwards."""
        ...


class LocalEngine:
    """Hears files on all cores of this process.

    Parameters
    ----------
    store : Store
        Locked for writing.
    open_listener : callable
        Returns the encoder; called only when there is sound to embed.
    on_sound, on_long : callable
        Called from other threads; see `soundsearch.Library.ingest`.
    """

    def __init__(
        self,
        store: Store,
        open_listener: Callable[[], Listener],
        on_sound: Callable[[float], None],
        on_long: OnLong,
    ) -> None:
        self._store = store
        self._open_listener = open_listener
        self._on_sound = on_sound
        self._on_long = on_long
        self._keeper: Keeper | None = None

    def run(self, files: Iterator[AudioFile], reuse: Reuse) -> Generator[Outcome, None, None]:
        """Hear files; see `Engine.run`."""
        first = next(files, None)
        if first is None:
            return
        encoder = self._open_listener().encoder
        if self._keeper is None:
            self._keeper = keeper_of(self._store, encoder)
        results = pipeline.run(
            chain([first], files),
            encoder,
            self._store.settings.hop,
            is_known=lambda digest: reuse.has(self._store, digest),
            on_sound=self._on_sound,
            on_long=self._on_long,
            keeper=self._keeper,
        )
        with closing(results):
            yield from results

    def forget(self, digest: bytes | None) -> None:
        """Drop what was kept of a long sound, or of all."""
        if self._keeper is not None and digest is None:
            self._keeper.clear()
        elif self._keeper is not None and digest is not None:
            self._keeper.drop(digest)

    def close(self) -> None:
        """Let another process keep its own."""
        if self._keeper is not None:
            self._keeper.close()
