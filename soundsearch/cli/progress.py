"""Progress on standard error of whatever takes longer than a second.

A bar on a terminal; elsewhere, as in a log, a line now and then.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from soundsearch_ingest.urls import basename, is_remote

from ..errors import SoundsearchError
from .printing import say, shown

__all__ = [
    "above_bar",
    "check_progress",
    "clip_progress",
    "compare_progress",
    "file_progress",
    "sound_progress",
    "step_progress",
    "targets_counter",
    "watched",
]

_SECONDS_BEFORE_BAR = 1.0
_SECONDS_BETWEEN_REFRESHES = 0.1
_SECONDS_BETWEEN_LINES = 15.0


class _Progress:
    """How much of something is done; safe in threads.

    Parameters
    ----------
    unit : str
        What is counted, such as "files".
    total : float, optional
        How many there are; may be set later.
    """

    def __init__(self, unit: str, total: float | None = None) -> None:
        self.total = total
        self.is_bar = sys.stderr.isatty()
        self._unit = unit
        self._done = 0.0
        self._begun: dict[str, float] = {}
        self._began = time.time()
        self._next = self._began + (_SECONDS_BEFORE_BAR if self.is_bar else _SECONDS_BETWEEN_LINES)
        self._bar: Any = None
        self._lock = threading.Lock()

    @property
    def elapsed(self) -> float:
        return time.time() - self._began

    def advance(self, step: float = 1, note: str = "") -> None:
        """So much more is done, 0 for still the same; `note` is shown beside it."""
        with self._lock:
            self._done += step
            now = time.time()
            if now < self._next:
                return
            if self.is_bar:
                self._next = now + _SECONDS_BETWEEN_REFRESHES
                self._refresh(note)
            else:
                self._next = now + _SECONDS_BETWEEN_LINES
                of = "" if self.total is None else f" of {self.total:,.0f}"
                beside = f", {note}" if note else ""
                say(
                    f"{self._done:,.0f}{of} {self._unit} after {self.elapsed:,.0f} s{beside}",
                    err=True,
                )

    def begun(self, name: str, share: float) -> None:
        """So much of one of those that are counted is done; 1 for all of it."""
        with self._lock:
            self._begun[name] = min(share, 1.0)
            if share >= 1:
                del self._begun[name]

    def _refresh(self, note: str) -> None:
        if self._bar is None:
            from tqdm import tqdm  # not for what is done within a second

            self._bar = tqdm(unit=f" {self._unit}", dynamic_ncols=True, leave=False)
            self._bar.start_t = self._began
        self._bar.total = self.total
        # As a whole number, unless something long is under way.
        self._bar.n = round(self._done + sum(self._begun.values()), 2 if self._begun else None)
        self._bar.set_postfix_str(note)

    def write(self, text: str) -> None:
        """Print a line on standard error, above the bar."""
        with self._lock:
            if self._bar is None:
                say(text, err=True)
            else:
                self._bar.write(shown(text), file=sys.stderr)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()


@contextmanager
def _progress(unit: str, total: float | None = None) -> Iterator[_Progress]:
    progress = _Progress(unit, total)
    try:
        yield progress
    finally:
        progress.close()


@contextmanager
def above_bar() -> Iterator[None]:
    """Let standard output be written to while a bar is shown: the bar stands below."""
    if "tqdm" not in sys.modules:
        yield
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(sys.stdout):
        yield


@contextmanager
def file_progress(verbose: bool, count: Callable[[], int | None]) -> Iterator[dict[str, Any]]:
    """Give the callbacks of `Library.ingest`, which count files and tell their rate.

    `count` gives the number of files; it is called from another thread, and need not succeed.
    """
    sound = 0.0
    with _progress("files") as progress:

        def find_total() -> None:
            with suppress(SoundsearchError):  # the ingest itself will say so
                progress.total = count()

        long = ""

        def note() -> str:
            return f"{sound / max(progress.elapsed, 1e-9):,.0f}x real time{long}"

        def on_long(uri: str, heard: float, all: float) -> None:
            nonlocal long
            long = f", {shown(basename(uri))}: {heard:,.0f} of {all:,.0f} s"
            # Decoded is not stored yet.
            progress.begun(uri, min(heard / all, 0.99))
            progress.advance(0, note())

        def on_file(uri: str, outcome: str) -> None:
            nonlocal long
            long = ""
            progress.begun(uri, 1.0)
            if verbose:
                progress.write(f"{outcome:9} {uri}")
            progress.advance(1, note())

        def on_sound(seconds: float) -> None:
            nonlocal sound
            with lock:
                sound += seconds
            progress.advance(0, note())

        lock = threading.Lock()
        if progress.is_bar:  # counting goes on beside the work
            threading.Thread(target=find_total, daemon=True).start()
        told = {"on_file": on_file, "on_sound": on_sound, "on_long": on_long}
        yield {**told, "on_step": progress.write}


@contextmanager
def clip_progress(total: int | None = None) -> Iterator[dict[str, Any]]:
    """Give the callbacks of what goes through clips, such as `Library.copy`."""
    with _progress("clips", total) as progress:
        yield {"on_clip": lambda _uri: progress.advance(), "on_step": progress.write}


@contextmanager
def check_progress(total: int) -> Iterator[dict[str, Any]]:
    """Give the callbacks of `Library.check`, which count clips."""
    with _progress("clips", total) as progress:
        yield {"on_clips": progress.advance, "on_step": progress.write}


@contextmanager
def compare_progress(unit: str = "segments compared") -> Iterator[Callable[[int, int], None]]:
    """Give the callback of `Clips.query` that is told how many segments were compared.

    With another unit, a callback that is told how much is done of how much.
    """
    last = 0
    with _progress(unit) as progress:

        def on_compared(done: int, total: int) -> None:
            nonlocal last
            progress.total = total
            progress.advance(done - last)
            last = done

        yield on_compared


@contextmanager
def step_progress() -> Iterator[Callable[[str], None]]:
    """Give a callback that is told of each step before it is taken."""
    with _progress("steps") as progress:
        yield lambda text: progress.advance(1, text)


@contextmanager
def sound_progress(length: Callable[[], float | None]) -> Iterator[Callable[[float], None]]:
    """Give a callback that is told of seconds of sound that were heard.

    `length` gives how many there are, None where it cannot be known; it is called only if the
    bar is wanted.
    """
    asked = False
    with _progress("s of sound") as progress:

        def on_sound(seconds: float) -> None:
            nonlocal asked
            if not asked and progress.elapsed > _SECONDS_BEFORE_BAR:
                asked = True
                with suppress(SoundsearchError):
                    progress.total = length()
            progress.advance(seconds)

        yield on_sound


def watched(files: Iterable[str], total: int) -> Iterator[str]:
    """Files, one after the other, with their progress."""
    with _progress("files", total) as progress:
        for file in files:
            yield file
            progress.advance()


def targets_counter(
    targets: Sequence[str], manifest: str | None = None, shard: str | None = None
) -> Callable[[], int | None]:
    """Return what counts the files that an ingest of these targets, or a shard, will meet.

    It gives None where only a server could tell, or a manifest that is read once.
    """

    def count() -> int | None:
        if manifest is not None or any(map(is_remote, targets)):
            return None
        from soundsearch_ingest.discover import discover, expand

        from ..stores.parts import Part

        part = Part.parse(shard or "1/1")
        return sum(part.has(file.uri) for file in discover(expand(targets)))

    return count
