"""What a library and its selections share: an address, the store there, and what hears for it."""

from __future__ import annotations

import os
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from soundsearch_ingest import encoders, pipeline

from .errors import ArgumentError, LibraryDamaged, LibraryNotFound, SpaceMismatch
from .hearing import Listener, check_space
from .hints import command, default_library
from .labels.head import Head, head_of
from .labels.kept import HeadFile, Keeper, head_file, kept_head
from .stores.base import OnStep, Store
from .stores.opening import Place, create_store, libraries_near, made, open_store, place_of
from .stores.parts import Part
from .stores.records import Settings
from .waiting import Patience

__all__ = ["Session", "default_address"]

# Libraries named in a message where the one that was meant is not there.
_NEIGHBOURS = 5

_AUDIOSET = Settings(encoders.AUDIOSET_SPACE, encoders.AUDIOSET_SPACE, 128, 0.96, 0.96)


def default_address() -> Place:
    """Where the library is when nothing is said: ``SOUNDSEARCH_LIBRARY``, else user data."""
    return place_of(default_library())


class Session:
    """An address and, once there is a library, its store and listeners.

    Parameters
    ----------
    address : Path or MilvusUri
    encoder, hop
        What a new library is to be made with, and an existing one is checked against; None
        takes what is there.
    patience : Patience
        With other processes that write to it.
    head : HeadFile, optional
        Which head a new library is to keep, and an existing one is checked to keep.

    Raises
    ------
    LibraryError
        The library is damaged or of another version.
    ArgumentError
        It was made with another encoder or hop, or keeps another head.
    """

    def __init__(
        self,
        address: Place,
        encoder: str | None,
        hop: float | None,
        patience: Patience,
        head: HeadFile | None = None,
    ) -> None:
        self.address = address
        self.patience = patience
        self._encoder = encoder
        self._hop = hop
        self._wanted_head = head
        self._store: Store | None = None
        self._closed = False
        self._listeners: dict[tuple[int, Head | None], Listener] = {}
        self._default_head: list[Head | None] = []
        self._opening = threading.Lock()
        # Threads write one after the other; the one whose turn it is may have begun before.
        self._turn = threading.RLock()
        self._writers = 0
        with suppress(LibraryNotFound):
            self._store = patience.until(lambda: open_store(address))
            self._check_wanted(self._store)

    @property
    def store(self) -> Store:
        """The open store; raises LibraryNotFound where no library has been made yet."""
        if self._store is not None:
            return self._store
        if self._closed:
            raise LibraryNotFound(f"{self.address}: this library was closed; open it again")
        raise LibraryNotFound(f"{self.address}: there is no library here{self._advice()}")

    @property
    def is_made(self) -> bool:
        """Whether there is a library at the address, and it is open."""
        return self._store is not None

    def _advice(self) -> str:
        """What to do about a library that is not there; never to make one by mistake."""
        if "SOUNDSEARCH_LIBRARY" not in os.environ and self.address == default_address():
            return f"; make one with: {command('ingest FOLDER', self.address)}"
        near = libraries_near(self.address) if isinstance(self.address, Path) else []
        if not near:
            return "; is its name right?"
        more = ", ..." if len(near) > _NEIGHBOURS else ""
        return f"; is its name right? Beside it are: {', '.join(near[:_NEIGHBOURS])}{more}"

    def create(self, for_records: bool, on_step: OnStep) -> Store:
        """The open store, made first where there is none.

        `for_records` says that AudioSet's features come, which need no encoder: only who asks
        with a sound will.
        """
        with self._turn:
            # One that was closed raises.
            store = self.store if self._closed else self._store or self._made(for_records, on_step)
            if self._wanted_head is not None and store.head_digest() != self._wanted_head.digest:
                with self.writing():
                    self._check_wanted(store)  # that it is empty still
                    store.relabel(self._wanted_head.content, lambda _clips: [])
            return store

    def _made(self, for_records: bool, on_step: OnStep) -> Store:
        if self._encoder is None and for_records:
            settings = _AUDIOSET
        else:
            # Kept, as an ingest asks for it next.
            listener = self._any_listener(self._encoder or encoders.default(), 1)
            encoder = listener.encoder
            settings = Settings(
                encoder.name,
                encoder.space,
                listener.dimension,
                encoder.segment_seconds,
                encoder.hop_seconds if self._hop is None else self._hop,
            )
            pipeline.hop_frames(settings.hop)
        if self._wanted_head is not None:
            what = f"a new library with the encoder {settings.encoder}"
            check_space(self._wanted_head.head, settings.space, settings.dimension, what)
        store = self.patience.until(lambda: create_store(self.address, settings))
        if store.settings != settings:  # another process made one meanwhile
            self.forget_listeners()
        on_step(made(self.address, settings))
        self._check_wanted(store)
        self._store = store
        return store

    @contextmanager
    def writing(self, part: Part | None = None) -> Iterator[Store]:
        """Hold the library for writing, or a part of it, against other processes and threads.

        A thread that holds it already goes on.

        Raises
        ------
        LibraryBusy
            Another process holds it, for longer than there is patience.
        """
        with self._turn:
            store = self.store
            with nullcontext() if self._writers else self.patience.writing(store, part):
                self._writers += 1
                try:
                    yield store
                finally:
                    self._writers -= 1

    @contextmanager
    def filling(self) -> Iterator[Store]:
        """`writing`, with the index brought up to date at the end."""
        with self.writing() as store:
            yield store
            if self._writers == 1:
                with suppress(LibraryDamaged):  # which an ingest and a check tell of
                    store.optimise()

    def _check_wanted(self, store: Store) -> None:
        wanted_head = self._wanted_head
        if wanted_head is not None and store.head_digest() != wanted_head.digest:
            try:
                self.check_head(wanted_head.head, store)
                if store.counts().clips:
                    use = f"head use {shlex.quote(str(wanted_head.path))}"
                    raise ArgumentError(
                        f"{self.address}: its labels are of another head than {wanted_head.path}; "
                        f"leave the option out, or use this head for all of the library with: "
                        f"{command(use, store.address)}"
                    )
            except BaseException:
                store.close()
                raise
        for name, wanted, got in (
            ("encoder", self._encoder, store.settings.encoder),
            ("hop", self._hop, store.settings.hop),
        ):
            if wanted is not None and wanted != got:
                store.close()
                raise ArgumentError(
                    f"{self.address}: was made with {name} {got}, not {wanted}; leave the option "
                    "out, or make a new library"
                )

    def listener(self, threads: int) -> Listener:
        """The library's encoder, checked to give its space, and its head.

        Raises
        ------
        SpaceMismatch
            The encoder that is installed gives another space.
        EncoderError
        """
        listener = self._any_listener(self.store.settings.encoder, threads)
        space = self.store.settings.space
        if listener.encoder.space != space:
            raise SpaceMismatch(self.store.address, space, listener.encoder.space)
        dimension = self.store.settings.dimension
        if listener.dimension != dimension:
            raise LibraryDamaged(
                f"{self.store.address}: says that its vectors have {dimension} numbers, but those "
                f"of the space {space} have {listener.dimension}; restore it from a copy, or "
                "ingest again into a new library"
            )
        return listener

    def head(self, library: Keeper) -> Head | None:
        """What predicts labels from the library's embeddings; None if they are not what it reads.

        Needs no encoder. `library` is its store, or a reading.
        """
        head = kept_head(library)
        if head is not None:
            self.check_head(head, self.store)
        return head or self.default_head()

    def default_head(self) -> Head | None:
        """What predicts labels where the library keeps no head."""
        settings = self.store.settings
        with self._opening:
            if not self._default_head:
                self._default_head = [head_of(settings.encoder, settings.space)]
            return self._default_head[0]

    def head_for_questions(self, path: str | os.PathLike[str] | None) -> Head | None:
        """The head in a file, which reads the library's space; None for none."""
        if path is None:
            return None
        head = head_file(path).head
        self.check_head(head, self.store)
        return head

    def check_head(self, head: Head, store: Store) -> None:
        """Raise SpaceMismatch where a head does not read a library's embeddings."""
        settings = store.settings
        check_space(head, settings.space, settings.dimension, store.address)

    def labeller(self) -> Listener:
        """What predicts labels for the library, of whatever version its encoder is by now."""
        encoder = self._store.settings.encoder if self._store else encoders.BUNDLED
        return self._any_listener(encoder, pipeline.available_cores())

    def _any_listener(self, encoder: str, threads: int) -> Listener:
        head = kept_head(self._store) if self._store else None
        with self._opening:
            if (threads, head) not in self._listeners:
                for other in [each for each in self._listeners if each[1] is not head]:
                    del self._listeners[other]
                self._listeners[threads, head] = Listener.open(encoder, threads, head)
            return self._listeners[threads, head]

    def forget_listeners(self) -> None:
        """Open the encoder again when it is needed next: the library's space has changed."""
        self._listeners.clear()
        self._default_head.clear()

    def close(self) -> None:
        """Release what is open."""
        if self._store is not None:
            self._store.close()
            self._store = None
        self._closed = True
        self._listeners.clear()
