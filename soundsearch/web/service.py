"""What all requests share: the library, threads that ask it, workers that decode, counts."""

from __future__ import annotations

import asyncio
import functools
import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TypeVar

from starlette.requests import Request

from ..deadlines import OutOfTime, within
from ..errors import LibraryNotFound
from ..hints import command
from ..library import Library
from ..stores.opening import Place
from .fields import Values
from .folders import Folder
from .holding import Holding
from .ingests import Ingests
from .limits import Gate, Limits, Room
from .maps import Maps
from .metrics import Metrics
from .problems import Problem
from .workers import Workers

__all__ = ["Call", "Service"]

_Found = TypeVar("_Found")

# Converted files that are kept for the next request of a player, and their bytes.
_KEPT, _KEPT_BYTES = 32, 2 << 30
# Summaries of a whole library that are kept, and for how many seconds.
_SUMMARIES, _SUMMARY_SECONDS = 16, 60.0


class Service:
    """One server's resources; its coroutines belong to one event loop.

    Parameters
    ----------
    place : Path or MilvusUri
        Of the library.
    limits : Limits
    token : str or None
    ingest : sequence of str or None
        Folders that may be ingested; see `Ingests`.
    """

    def __init__(
        self,
        place: Place,
        limits: Limits,
        token: str | None = None,
        ingest: Sequence[str] | None = None,
    ) -> None:
        self.holding = Holding(place)
        self.ingests = Ingests(place, ingest)
        self.limits, self.token = limits, token
        self.metrics = Metrics()
        self.questions = Gate(limits.questions, limits.waiting_questions, "questions")
        self.uploads = Gate(limits.uploads, 0, "uploads")
        self.room = Room(limits.waiting_bytes)
        self.exports = Gate(limits.exports, 0, "exports")
        self.workers = Workers(limits)
        asking = functools.partial(self.ask, seconds=limits.question_seconds)
        self.maps = Maps(asking, self.new_path, limits)
        self._folder = Folder()
        self._threads = ThreadPoolExecutor(limits.questions, "soundsearch-question")
        self._played: OrderedDict[Any, asyncio.Future[tuple[str, str | None]]] = OrderedDict()
        self._summaries: OrderedDict[Any, tuple[float, Any]] = OrderedDict()
        self._summing: dict[Any, asyncio.Future[Any]] = {}
        self._prepared: set[str] = set()
        self._files = 0

    async def ask(self, question: Callable[[Library], _Found], seconds: float = math.inf) -> _Found:
        """What a function makes of the library, in a thread, when it is its turn.

        What takes longer than `seconds` is given up where it next looks; it must only read.

        Raises
        ------
        Problem
            Too many questions wait.
        SoundsearchError
        """
        async with self.questions.turn():
            try:
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, functools.partial(self._ask, question, seconds)
                )
            except OutOfTime:
                raise Problem(
                    504,
                    "TooLong",
                    f"the question was given up after {seconds:g} s; ask for fewer clips, with a "
                    "simpler filter, or not so deep in the list",
                ) from None

    def _ask(self, question: Callable[[Library], _Found], seconds: float = math.inf) -> _Found:
        place = self.holding.place
        with self.holding.library() as library, within(seconds):
            try:
                return question(library)
            except LibraryNotFound as error:
                fill = command("ingest FOLDER", place)
                if library._session.is_made or fill in str(error):
                    raise
                raise LibraryNotFound(f"{error} Make it with: {fill}") from None

    def once(self, name: str, prepare: Callable[[Library], Any]) -> None:
        """Prepare what is likely to be asked next, beside all questions; only the first time."""
        if name not in self._prepared:
            self._prepared.add(name)
            self._threads.submit(self._ask, prepare)

    async def summary(self, key: Any, make: Callable[[Library], _Found]) -> _Found:
        """What `make` says of the whole library, kept for a minute while its size is the same.

        It is made once, however many ask for it meanwhile.
        """
        counts = await self.ask(lambda library: library._session.store.counts())
        place = key, counts
        known = self._summaries.get(place)
        if known is not None and time.monotonic() - known[0] < _SUMMARY_SECONDS:
            return known[1]  # type: ignore[no-any-return]
        making = self._summing.get(place)
        if making is None:
            making = self._summing[place] = asyncio.ensure_future(self.ask(make))
            making.add_done_callback(functools.partial(self._keep_summary, place))
        return await asyncio.shield(making)

    def _keep_summary(self, place: Any, made: asyncio.Future[Any]) -> None:
        if self._summing.get(place) is not made:
            return  # labels have changed since it began
        del self._summing[place]
        if made.cancelled() or made.exception() is not None:
            return
        self._summaries[place] = time.monotonic(), made.result()
        while len(self._summaries) > _SUMMARIES:
            self._summaries.popitem(last=False)

    def forget_summaries(self) -> None:
        """Count anew when asked again, as labels have changed."""
        self._summaries.clear()
        self._summing.clear()

    @property
    def folder(self) -> str:
        """Where uploads and copies are."""
        return self._folder.path

    def new_path(self, end: str = "") -> str:
        """A path in the server's folder that nobody has."""
        self._files += 1
        return os.path.join(self.folder, f"{self._files}{end}")

    async def play(self, uri: str, is_path: bool, state: Any) -> tuple[str, str | None]:
        """How browsers play a clip's whole sound: the media type, and the file that they get.

        None in place of the file stands for the clip's own. `state` tells one content of the uri
        from the next.
        """
        key = uri, state
        known = self._played.get(key)
        if known is None or (known.done() and not _is_there(known)):
            known = self._played[key] = asyncio.ensure_future(self._play(uri, is_path))
        self._played.move_to_end(key)
        try:
            found = await asyncio.shield(known)
        except BaseException:
            if known.done():
                self._played.pop(key, None)
            raise
        self._let_go(key)
        return found

    async def _play(self, uri: str, is_path: bool) -> tuple[str, str | None]:
        out = self.new_path()
        job = {"job": "play", "uri": uri, "is_path": is_path, "at": None, "out": out}
        try:
            answer, _ = await self.workers.ask(uri, job | {"longest": self.limits.longest})
        except BaseException:
            with suppress(OSError):
                os.unlink(out)
            raise
        return answer["type"], None if answer["is_original"] else out

    def _let_go(self, latest: Any) -> None:
        """Remove the converted files that nobody asked for the longest, while there are many."""
        made = {key: found.result()[1] for key, found in self._played.items() if _is_made(found)}
        sizes = {key: _size(path) for key, path in made.items()}
        count, total = len(made), sum(sizes.values())
        for key, path in made.items():
            if key == latest or (count <= _KEPT and total <= _KEPT_BYTES):
                return
            del self._played[key]
            count, total = count - 1, total - sizes[key]
            if path is not None:
                with suppress(OSError):
                    os.unlink(path)

    def open(self, path: str) -> BinaryIO:
        """Open a file to be sent; one that was replaced by a pipe is not waited for."""
        flags = getattr(os, "O_NONBLOCK", 0)
        return open(path, "rb", buffering=0, opener=lambda name, mode: os.open(name, mode | flags))

    def close(self) -> None:
        """Release everything; requests have ended."""
        self.ingests.close()
        self.maps.close()
        self.workers.close()
        self._threads.shutdown()
        self.holding.close()
        self._folder.close()


def _is_made(found: asyncio.Future[tuple[str, str | None]]) -> bool:
    return found.done() and not found.cancelled() and found.exception() is None


def _is_there(found: asyncio.Future[tuple[str, str | None]]) -> bool:
    return _is_made(found) and ((path := found.result()[1]) is None or os.path.exists(path))


def _size(path: str | None) -> int:
    with suppress(OSError):
        return 0 if path is None else os.path.getsize(path)
    return 0


@dataclass
class Call:
    """One request on its way to its answer.

    Attributes
    ----------
    request : Request
    service : Service
    values : dict
        What the request holds, checked; see `soundsearch.web.fields`.
    upload : Upload or None
    times : dict
        Milliseconds that its parts took.
    """

    request: Request
    service: Service
    values: Values
    upload: Any = None
    times: dict[str, float] = field(default_factory=dict)

    async def question(self, question: Callable[[Library], _Found]) -> _Found:
        """`ask` for what only reads: it is given up after a time."""
        return await self.ask(question, self.service.limits.question_seconds)

    async def ask(self, question: Callable[[Library], _Found], seconds: float = math.inf) -> _Found:
        """`Service.ask`, timed: how long the question waited, and how long it took."""
        asked = time.perf_counter()

        def timed(library: Library) -> _Found:
            began = time.perf_counter()
            self._add("wait", began - asked)
            try:
                return question(library)
            finally:
                self._add("search", time.perf_counter() - began)

        return await self.service.ask(timed, seconds)

    async def work(self, name: str, job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """`Workers.ask`, timed."""
        began = time.perf_counter()
        try:
            return await self.service.workers.ask(name, job)
        finally:
            self._add("decode", time.perf_counter() - began)

    def _add(self, what: str, seconds: float) -> None:
        self.times[what] = self.times.get(what, 0.0) + 1000 * seconds
