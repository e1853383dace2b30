"""A process that ingests a folder for a server, which tells it what to do and reads how far it is.

It reads one message from standard input and writes its state to standard output, see
`soundsearch.web.messages`. It stops when standard input ends, as it does when the server is gone:
what is stored by then is stored.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

from soundsearch_ingest.discover import discover, expand

from ..errors import SoundsearchError
from ..library import Library
from ..results import IngestReport
from ..stores.milvus.uri import MilvusUri
from .messages import receive, send
from .processes import begin

__all__ = ["main"]

# Of the processor's time, questions come first.
_NICE = 10
_SECONDS_BETWEEN = 0.2


class _State:
    """How far the ingest is, told to the server now and then; safe in threads."""

    def __init__(self, told: BinaryIO) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._outcomes: Counter[str] = Counter()
        self._facts: dict[str, Any] = {"sound": 0.0, "total": None, "step": None, "long": None}
        self._next = 0.0

    def on_file(self, _uri: str, outcome: str) -> None:
        with self._lock:
            self._outcomes[outcome] += 1
            self._facts["long"] = None
            self._tell()

    def on_sound(self, seconds: float) -> None:
        with self._lock:
            self._facts["sound"] += seconds
            self._tell()

    def on_step(self, text: str) -> None:
        self.set(step=text)

    def on_long(self, uri: str, heard: float, all: float) -> None:
        with self._lock:
            self._facts["long"] = uri, heard, all
            self._tell()

    def set(self, **facts: Any) -> None:
        """Tell something that is to be told at once."""
        with self._lock:
            self._facts.update(facts)
            self._next = 0.0
            self._tell()

    def _tell(self) -> None:
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _SECONDS_BETWEEN
            with suppress(OSError):  # the server is gone, and so is standard input
                send(self._told, {**self._facts, "outcomes": dict(self._outcomes)})


def main() -> None:
    """Ingest what standard input says."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    given, told = begin()
    if hasattr(os, "nice"):
        os.nice(_NICE)
    asked = receive(given)
    if asked is None:
        return
    job = asked[0]
    state = _State(told)
    threading.Thread(target=_wait, args=(given,), daemon=True).start()
    threading.Thread(target=_count, args=(job["folder"], state), daemon=True).start()
    try:
        address = job["library"]
        place = MilvusUri(**address) if isinstance(address, dict) else Path(address)
        with Library(place) as library:
            report = library.ingest(
                job["folder"],
                retry_failed=job["retry_failed"],
                on_file=state.on_file,
                on_sound=state.on_sound,
                on_step=state.on_step,
                on_long=state.on_long,
            )
        state.set(ended="done", message=_said(report))
    except KeyboardInterrupt:
        state.set(ended="stopped", message=None)
    except (SoundsearchError, OSError, MemoryError) as error:
        state.set(ended="failed", message=str(error) or type(error).__name__)


def _wait(given: BinaryIO) -> None:
    """Stop as Ctrl-C does once the server says so, or is gone."""
    receive(given)
    os.kill(os.getpid(), signal.SIGINT)


def _count(folder: str, state: _State) -> None:
    with suppress(SoundsearchError, OSError):  # the ingest itself will say so
        state.set(total=sum(1 for _ in discover(expand([folder]))))


def _said(report: IngestReport) -> str | None:
    """What is to be said of an ingest that ended, besides numbers of files."""
    missing = len(report.missing)
    texts = [
        f"{missing:,} clips of this folder have no file any more" if missing else "",
        report.damage or "",
    ]
    return "; ".join(filter(None, texts)) or None
