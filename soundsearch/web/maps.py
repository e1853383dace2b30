"""Maps of the library, made in the background, one at a time, and kept."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import subprocess
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, cast
from weakref import ref

import numpy as np
from numpy.typing import NDArray

from ..clips import Clips
from ..labels.kept import vocabulary_of
from ..labels.vocabulary import Vocabulary
from ..library import Library
from ..mapping.columns import COLOURS
from ..mapping.data import Columns, packed
from ..mapping.maps import clips_and_vectors
from ..mapping.placing import OldMap
from ..session import Session
from ..stores.base import Reading
from ..stores.records import Settings
from .limits import Limits
from .messages import receive, send
from .problems import Problem
from .processes import spawn

__all__ = ["Made", "Making", "Maps"]

Ints = NDArray[np.int64]
Floats = NDArray[np.float32]
Key = tuple[str | None, str]
Ask = Callable[[Callable[[Library], Any]], Awaitable[Any]]

# Maps that are kept, and that may wait to be made.
_KEPT, _WAITING = 4, 8
# So long a map is given out without a look at the library, and what was read of its clips, whose
# labels and tags may have changed, before that is read again; seconds.
_FRESH, _GOOD = 60.0, 600.0
# One that nobody has asked about for so long gives way to others.
_ABANDONED = 60.0
# How long a request waits for a map, which is enough for one of few clips.
_PATIENCE = 1.0
# Clips that are read as one question, so that others have their turn.
_TOGETHER = 1024
# Columns compress no better beyond this level, and take much longer.
_LEVEL = 5


@dataclass(frozen=True, eq=False)
class _Clips:
    """What was read of a map's clips, so that it is not read again when others come.

    Attributes
    ----------
    ids : int64 [n]
    columns : Columns
    vectors : float32 [n * dimension]
        Mapped from a file without a name.
    library : weak reference
        To the session of the library that it was read from.
    vocabulary : Vocabulary
        The classes that labels name.
    since : float
        When the first of them were read.
    """

    ids: Ints
    columns: Columns
    vectors: Floats
    library: ref[Session]
    vocabulary: Vocabulary
    since: float


@dataclass(frozen=True)
class Made:
    """A map.

    Attributes
    ----------
    content : bytes
        What is answered, compressed by gzip.
    tag : str
        Tells it from others.
    """

    content: bytes
    tag: str
    _state: bytes
    _since: float
    # Those that were laid out together; others were placed among them.
    _base: OldMap
    _warning: str | None
    _clips: _Clips


@dataclass(eq=False)
class Making:
    """A map that is still to be made.

    Attributes
    ----------
    step : str
        ``waiting`` for others, ``reading`` clips, or ``placing`` them.
    share : float
        How much of the step is done, 0 to 1.
    """

    _state: bytes
    _asked: float
    step: str = "waiting"
    share: float = 0.0
    _task: asyncio.Task[Made] | None = None
    _process: subprocess.Popen[bytes] | None = None
    _is_over: bool = False
    _files: list[str] = field(default_factory=list)

    def _end(self) -> None:
        """End it at once; its thread may just be about to start the process."""
        self._is_over = True
        if self._process is not None:
            self._process.kill()
        if self._task is not None:
            self._task.cancel()


class Maps:
    """The maps of one server; its coroutines belong to one event loop.

    Parameters
    ----------
    ask : coroutine function
        Has a function of the library called in a thread, when it is its turn.
    new_path : callable
        Gives a path that nobody has.
    limits : Limits
    """

    def __init__(self, ask: Ask, new_path: Callable[[], str], limits: Limits) -> None:
        self._ask, self._new_path, self._limits = ask, new_path, limits
        self._made: OrderedDict[Key, Made] = OrderedDict()
        self._making: dict[Key, Making] = {}
        self._turn = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, "soundsearch-map")

    async def find(self, where: str | None, method: str) -> Made | Making:
        """The map of a selection, or how far it is.

        Raises
        ------
        Problem
            Too many wait to be made, or this could not be.
        SoundsearchError
        """
        key = where, method
        making, known = self._making.get(key), self._made.get(key)
        if known is not None:
            self._made.move_to_end(key)
        if making is None:
            now = time.monotonic()
            if known is not None and now - known._since < _FRESH:
                return known
            is_good = known is not None and now - known._clips.since < _GOOD
            state = await self._ask(lambda library: _state(_chosen(library, where)))
            making = self._making.get(key)  # another request may have been faster
            if making is None and (known is None or known._state != state or not is_good):
                making = self._begin(key, state, known)
        if known is not None and (making is None or making._state == known._state):
            self._clear(key)
            return known
        assert making is not None
        making._asked = time.monotonic()
        task = cast("asyncio.Task[Made]", making._task)
        await asyncio.wait({task}, timeout=_PATIENCE)
        if not task.done():
            return making
        self._clear(key)
        if task.cancelled():
            raise Problem(503, "Overloaded", "other maps were asked for; ask again", retry_after=5)
        return task.result()

    def _begin(self, key: Key, state: bytes, known: Made | None) -> Making:
        now = time.monotonic()
        for other, each in list(self._making.items()):
            if now - each._asked > _ABANDONED:
                del self._making[other]
                each._end()
        if len(self._making) >= _WAITING:
            raise Problem(
                503, "Overloaded", f"{_WAITING} maps wait to be made; ask again", retry_after=30
            )
        making = self._making[key] = Making(state, now)
        making._task = asyncio.ensure_future(self._make(key, making, known))
        making._task.add_done_callback(_heard)
        return making

    def _clear(self, key: Key) -> None:
        """Forget one that is done."""
        making = self._making.get(key)
        if making is not None and cast("asyncio.Task[Made]", making._task).done():
            del self._making[key]

    async def _make(self, key: Key, making: Making, known: Made | None) -> Made:
        async with self._turn:
            try:
                made = await self._made_of(key, making, known)
            finally:
                for path in making._files:
                    with suppress(OSError):
                        os.unlink(path)
        if self._making.get(key) is making:
            del self._making[key]
        self._made[key] = made
        while len(self._made) > _KEPT:
            self._made.popitem(last=False)
        return made

    async def _made_of(self, key: Key, making: Making, known: Made | None) -> Made:
        making.step = "reading"
        where, method = key
        now = time.monotonic()
        ids, total, settings, session = await self._patiently(
            lambda library: _ids(_chosen(library, where), self._limits.map_clips)
        )
        vocabulary = await self._patiently(lambda library: vocabulary_of(library._session.store))
        dimension, vectors = settings.dimension, self._path(making)
        nothing = np.empty(0, np.float32)
        clips = _Clips(ids[:0], Columns(), nothing, ref(session), vocabulary, now)
        if known is not None and making._state != known._state:
            is_same = known._base.space == settings.space and known._clips.vocabulary == vocabulary
            if is_same and _have_come(known, ids, session):
                clips = known._clips
        # As it is for as long as the old map is given out.
        columns = await asyncio.to_thread(deepcopy, clips.columns)
        found, ids = [clips.ids], np.setdiff1d(ids, clips.ids, assume_unique=True)
        with open(vectors, "wb") as file:
            await asyncio.to_thread(clips.vectors.tofile, file)
            for first in range(0, len(ids), _TOGETHER):
                block = ids[first : first + _TOGETHER]
                read = partial(_read, ids=block, dimension=dimension, columns=columns, file=file)
                found.append(await self._patiently(read))
                making.share = min(1.0, (first + _TOGETHER) / len(ids))
        making.step, making.share = "placing", 0.0
        places, is_old = self._base_of(known, settings.space, columns.marks)
        job = {"vectors": vectors, "dimension": dimension, "method": method, "places": None}
        if is_old is not None:
            job["places"] = self._path(making)
            np.where(is_old[:, None], places, np.nan).astype(np.float32).tofile(job["places"])

        def finish() -> Made:
            out = self._path(making)
            facts: dict[str, Any] = {"method": method, "warning": None}
            if len(columns):
                facts = self._lay(making, {**job, "out": out})
            placed = np.fromfile(out, np.float32).reshape(-1, 2) if len(columns) else places
            placed_ids = np.concatenate(found)
            read = np.memmap(vectors, np.float32, "r") if len(columns) else clips.vectors
            kept = _Clips(placed_ids, columns, read, clips.library, vocabulary, clips.since)
            if known is not None and is_old is not None:
                base, warning = known._base, known._warning
            else:
                base = OldMap.of("", settings.space, facts["method"], columns.marks, placed)
                warning = facts["warning"]
            content = {
                "count": len(columns),
                "total": total,
                "method": base.method,
                "warning": warning,
                "placed": 0 if is_old is None else int((~is_old).sum()),
                "separator": os.sep,
                "colours": COLOURS,
                "ids": packed(placed_ids, "<f8"),
                "places": packed(placed, "<f4"),
                **columns.data(vocabulary),
            }
            text = json.dumps(content, allow_nan=False, separators=(",", ":")).encode()
            tag = hashlib.blake2b(text, digest_size=12).hexdigest()
            packed_text = gzip.compress(text, _LEVEL, mtime=0)
            return Made(packed_text, tag, making._state, time.monotonic(), base, warning, kept)

        running = asyncio.get_running_loop().run_in_executor(self._thread, finish)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            making._end()
            with suppress(Exception):
                await running
            raise

    async def _patiently(self, question: Callable[[Library], Any]) -> Any:
        """Ask, and again as long as others ask too much."""
        while True:
            try:
                return await self._ask(question)
            except Problem as problem:
                if problem.error != "Overloaded":
                    raise
                await asyncio.sleep(1)

    @staticmethod
    def _base_of(
        known: Made | None, space: str, marks: NDArray[np.uint64]
    ) -> tuple[Floats, NDArray[np.bool_] | None]:
        """Where clips are that were laid out before, if those are most of them."""
        if known is not None and known._base.space == space and len(marks):
            places, is_old = known._base.found(marks)
            if 2 * is_old.sum() > len(marks):
                return places, is_old
        return np.empty((0, 2), np.float32), None

    def _lay(self, making: Making, job: dict[str, Any]) -> dict[str, Any]:
        """Have a process do a job, and tell how far it is; raises Problem."""
        limits = self._limits
        making._process = process = spawn("laying", limits.map_bytes, limits.map_bytes)
        given, told = cast(BinaryIO, process.stdin), cast(BinaryIO, process.stdout)
        if making._is_over:
            process.kill()
        try:
            with suppress(OSError):
                send(given, job)
            while (message := receive(told)) is not None:
                facts = message[0]
                if "steps" not in facts:
                    break
                making.share = facts["done"] / facts["steps"]
        finally:
            process.kill()
            process.wait()
            with suppress(OSError):
                given.close()
            told.close()
        if message is None:
            facts = {"error": "the process that makes it was ended, or takes too much memory"}
        if "error" in facts:
            raise Problem(500, "NoMap", f"the map cannot be made: {facts['error']}")
        return facts

    def _path(self, making: Making) -> str:
        path = self._new_path()
        making._files.append(path)
        return path

    def close(self) -> None:
        """End what is being made."""
        for making in self._making.values():
            making._end()
        self._thread.shutdown()


def _heard(task: asyncio.Task[Made]) -> None:
    """What went wrong is told to who asks next, and is no surprise where nobody does."""
    if not task.cancelled():
        task.exception()


def _chosen(library: Library, where: str | None) -> Clips:
    return library if where is None else library.where(where)


def _state(clips: Clips) -> bytes:
    """What tells a selection from itself after a clip came, went or changed."""

    def read(reading: Reading) -> bytes:
        ids = reading.ids(clips._filter_of(reading))
        # Another library may have clips of the same numbers.
        ends = reading.clips_by_id(ids[[0, -1]].tolist() if len(ids) else [])
        digests = [clip.record.digest for _, clip in sorted(ends.items())]
        facts = repr((reading.counts(), digests, clips._session.store.settings)).encode()
        return hashlib.blake2b(ids.tobytes() + facts, digest_size=16).digest()

    return clips._read(read)


def _have_come(known: Made, ids: Ints, session: Session) -> bool:
    """Whether all clips of a map are still among those of the library that it was made of."""
    before = known._clips
    return before.library() is session and bool(np.isin(before.ids, ids).all())


def _ids(clips: Clips, most: int) -> tuple[Ints, int, Settings, Session]:
    """The clips of a selection, or an even choice of them that more clips change little.

    Beside them the number of all, the settings of the library, and what has it open.
    """
    ids: Ints = clips._read(lambda reading: reading.ids(clips._filter_of(reading)))
    total = len(ids)
    if total > most:
        mixed = ids.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        ids = np.sort(ids[np.argsort(mixed, kind="stable")[:most]])
    return ids, total, clips._session.store.settings, clips._session


def _read(library: Library, ids: Ints, dimension: int, columns: Columns, file: BinaryIO) -> Ints:
    """Gather what a map needs of some clips, and give the ids of those that are there."""
    clips, vectors = library._read(lambda reading: clips_and_vectors(reading, ids, dimension))
    columns.add(clips)
    file.write(np.ascontiguousarray(vectors, np.float32).tobytes())
    return np.array([clip.id for clip in clips], np.int64)
