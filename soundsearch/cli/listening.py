"""``label --live``: what begins and ends, and what is heard of a library, line by line."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any, BinaryIO

from soundsearch_ingest.urls import is_url

import soundsearch

from ..errors import AudioError
from .layout import clocks, cut, moments, room, short_path
from .printing import print_json, say, shown

__all__ = ["print_live"]


def print_live(
    file: str,
    watch: str | None,
    where: str | None,
    as_json: bool,
    full: bool,
    **options: Any,
) -> None:
    """Listen to a file, or standard input, and print what is heard as soon as it is.

    Ctrl-C and SIGTERM end the sound: what is on ends, and the exit code is 128 and the signal's
    number, as of what they end at once.
    """
    # Before what reads it is loaded: threads of FAISS that wait for the next of four questions a
    # second spin, which takes half a core.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with ExitStack() as stack:
        if watch is not None:
            library = stack.enter_context(soundsearch.open(watch))
            watched = options["watch"] = library if where is None else library.where(where)
            if next(iter(watched), None) is None:
                _warn(f"{watch}: there is no such clip to watch for yet; one that is added counts")
        source = stack.enter_context(_opened(file))
        stop = threading.Event()
        signals = stack.enter_context(_caught(stop.set))
        heard = soundsearch.listen(source, **options, on_warning=_warn, stop=stop)
        with closing(heard):  # type: ignore[type-var]
            for moment in heard:
                if as_json:
                    print_json([moment.to_dict()])
                else:
                    _print(moment, full)
        if signals:
            sys.exit(128 + signals[0])


@contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    if file == "-":
        if sys.stdin is None:
            raise AudioError("standard input", "is closed; pipe some sound into it")
        # Without its buffer: a thread that waits in there keeps Python from ending.
        yield getattr(sys.stdin.buffer, "raw", sys.stdin.buffer)
        return
    if is_url(file):
        piped = "ffmpeg -loglevel error -i URL -f wav - | soundsearch label - --events --live"
        raise AudioError(
            file,
            "is no file on this disk, and --live copies none here; expected a file or -; pipe the "
            f"sound in, as in `{piped}`, or leave out --live",
        )
    try:
        opened = open(file, "rb", buffering=0)  # noqa: SIM115 - closed below
    except OSError as error:
        raise AudioError(file, str(error.strerror)) from error
    with opened:
        yield opened


@contextmanager
def _caught(on_first: Callable[[], None]) -> Iterator[list[int]]:
    """The signals that came, Ctrl-C and SIGTERM; a second one ends the process as it would."""
    came: list[int] = []
    before: dict[int, Any] = {}

    def on_signal(number: int, _frame: Any) -> None:
        came.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)
        on_first()

    for number in (signal.SIGINT, signal.SIGTERM):
        before[number] = signal.signal(number, on_signal)
    try:
        yield came
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _warn(text: str) -> None:
    say(f"Warning: {text}", err=True)


def _print(moment: soundsearch.Began | soundsearch.Ended | soundsearch.Matched, full: bool) -> None:
    width = room(full)
    if isinstance(moment, soundsearch.Matched):
        hit = moment.hit
        [time] = clocks([moment.start])
        [window] = moments([(hit.start, hit.end)])
        start, name, end = f"{time}  like   {hit.score:5.2f}  ", shown(short_path(hit.uri)), window
    else:
        label = moment.label
        name, end = shown(" > ".join(label.path)), ""
        if isinstance(moment, soundsearch.Began):
            [time] = clocks([moment.onset])
            start = f"{time}  begins {label.score:5.2f}  "
        else:
            [time] = clocks([moment.offset])
            start = f"{time}  ends   {label.score:5.2f}  "
            seconds = f"{moment.offset - moment.onset:.1f} s"
            end = seconds if moment.told_as is None else f"now {shown(moment.told_as.name)}"
    if end:
        end = f"  ({end})"
    if width is not None:
        name = cut(name, max(10, width - len(start) - len(end)), keep_end=True)
    say(f"{start}{name}{end}")
