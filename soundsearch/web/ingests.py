"""The ingest that a server runs, one at a time, in a process of its own."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

from soundsearch_ingest.urls import is_url

from ..hints import command
from ..library import Library
from ..stores.milvus.uri import MilvusUri
from ..stores.opening import Place
from .messages import receive, send
from .problems import Problem
from .processes import spawn
from .workers import how_it_ended

__all__ = ["Ingests"]

# How long an ingest may take to stop before it is killed; it loses nothing by that.
_STOP_SECONDS = 20.0
# Folders of the library that are looked up are known for so long, for so many times what that took,
# and while an ingest runs; so many are listed.
_KNOWN_SECONDS, _KNOWN_TIMES, _LISTED = 60.0, 20, 100


@dataclass
class _Run:
    """An ingest from its beginning on; `facts` are as its process told them last."""

    folder: str
    process: subprocess.Popen[bytes]
    facts: dict[str, Any] = field(default_factory=dict)
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    is_stopped: bool = False


class Ingests:
    """Starts ingests of allowed folders, tells how far they are, and stops them. Thread-safe.

    Parameters
    ----------
    place : Path or MilvusUri
        Of the library.
    allowed : sequence of str or None
        Folders, what is in which may be ingested; none for those that hold clips of the library.
        None where nothing may be.
    """

    def __init__(self, place: Place, allowed: Sequence[str] | None) -> None:
        self._place = place
        self._allowed = None if allowed is None else [os.path.abspath(each) for each in allowed]
        self._lock = threading.Lock()
        self._run: _Run | None = None
        self._reader: threading.Thread | None = None
        # Until when they are known, and the folders.
        self._known: tuple[float, list[str]] | None = None
        self._is_closed = False

    @property
    def is_running(self) -> bool:
        return self._run is not None and self._run.ended is None

    @property
    def known(self) -> list[str] | None:
        """The folders, what is in which may be ingested; None where `look_up` must be asked."""
        if self._allowed is None or self._allowed:
            return self._allowed or []
        if self._known is None or not (self.is_running or time.monotonic() < self._known[0]):
            return None
        return self._known[1]

    def look_up(self, library: Library) -> list[str]:
        """The folders that hold clips of the library, all of which are read for that."""
        began = time.monotonic()
        store = library._session.store if library._session.is_made else None
        uris = () if store is None else (clip.uri for clip in store.clips())
        found = _folders_of(uris)
        now = time.monotonic()
        self._known = now + max(_KNOWN_SECONDS, _KNOWN_TIMES * (now - began)), found
        return found

    def start(self, folder: str, retry_failed: bool, folders: Sequence[str]) -> None:
        """Start the ingest of a folder in or below one of `folders`.

        Raises
        ------
        Problem
            It is none of these, or cannot be now.
        """
        by_hand = self.command(folder)
        if self._allowed is None:
            raise Problem(
                403,
                "NotAllowed",
                "this server was started without --allow-ingest; start it with that, or type: "
                f"{by_hand}",
            )
        if isinstance(self._place, MilvusUri) and self._place.lite:
            raise Problem(
                409,
                "OneProcess",
                "Milvus Lite lets one process have the library open, and this server has it; stop "
                f"the server and type: {by_hand}",
            )
        path = _checked(folder, folders, command("serve --allow-ingest FOLDER", self._place))
        with self._lock:
            if self._is_closed:
                raise Problem(503, "Stopping", "the server is being stopped", retry_after=5)
            if self._run is not None and self.is_running:
                raise Problem(
                    409,
                    "Ingesting",
                    f"an ingest of {self._run.folder} is under way; wait until it ends, or stop it",
                )
            self._begin(path, retry_failed)

    def _begin(self, path: str, retry_failed: bool) -> None:
        process = spawn("ingester", 0, 0)
        place = self._place
        # Here, as command lines are seen by others, and may hold a token.
        address = asdict(place) if isinstance(place, MilvusUri) else str(place)
        job = {"library": address, "folder": path, "retry_failed": retry_failed}
        run = self._run = _Run(path, process)
        with suppress(OSError):  # it ended, which its reader finds
            send(cast(BinaryIO, process.stdin), job)
        self._reader = threading.Thread(target=self._read, args=(run,), daemon=True)
        self._reader.start()

    def _read(self, run: _Run) -> None:
        """Keep what a process tells until it ends."""
        told = cast(BinaryIO, run.process.stdout)
        with told:
            while (message := receive(told)) is not None:
                run.facts = message[0]
        code = run.process.wait()
        with suppress(OSError):
            cast(BinaryIO, run.process.stdin).close()
        if "ended" not in run.facts:
            is_stopped = run.is_stopped
            text = (
                f"the process that ingests ended ({how_it_ended(code)}); what it had stored is "
                "stored, and the same ingest goes on from there"
            )
            ended = {"ended": "stopped" if is_stopped else "failed"}
            run.facts = {**run.facts, **ended, "message": None if is_stopped else text}
        run.ended = time.monotonic()

    def stop(self) -> None:
        """Stop the ingest that is under way, if one is, and wait until it has ended."""
        with self._lock:
            run, reader = self._run, self._reader
            if run is None or reader is None:
                return
            run.is_stopped = True
            with suppress(OSError):
                cast(BinaryIO, run.process.stdin).close()
        reader.join(_STOP_SECONDS)
        if reader.is_alive():
            run.process.kill()
            reader.join()

    def close(self) -> None:
        """Let no other begin, and stop the one that is under way."""
        with self._lock:
            self._is_closed = True
        self.stop()

    def command(self, folder: str = "FOLDER") -> str:
        """What to type to ingest a folder."""
        name = folder if folder == "FOLDER" else shlex.quote(folder)
        return command(f"ingest {name}", self._place)

    def state(self, folders: Sequence[str]) -> dict[str, Any]:
        """How far the last ingest is, as JSON."""
        run = self._run
        facts = {} if run is None else run.facts
        outcomes = facts.get("outcomes", {})
        files, total = sum(outcomes.values()), facts.get("total")
        seconds = 0.0
        if run is not None:
            seconds = (run.ended or time.monotonic()) - run.began
        is_running = self.is_running
        left = None
        if is_running and files and total is not None:
            left = round(max(0, total - files) * seconds / files, 1)
        long = facts.get("long")
        sound = facts.get("sound", 0.0)
        return {
            "is_allowed": self._allowed is not None,
            "folders": list(folders[:_LISTED]),
            "command": self.command(),
            "state": "running" if is_running else facts.get("ended", "none"),
            "folder": None if run is None else run.folder,
            "files": files,
            "total": total,
            "outcomes": outcomes,
            "sound": round(sound, 1),
            "seconds": round(seconds, 1),
            "rate": round(sound / seconds, 1) if seconds else 0.0,
            "left": left,
            "step": facts.get("step") if is_running else None,
            "long": None
            if long is None or not is_running
            else {"uri": long[0], "heard": round(long[1], 1), "all": round(long[2], 1)},
            "message": facts.get("message"),
        }


def _folders_of(uris: Iterable[str]) -> list[str]:
    """The folders that hold files of this disk, without those that are in others of them."""
    parents = {os.path.dirname(uri) for uri in uris if not is_url(uri) and os.path.isabs(uri)}
    kept: list[str] = []
    for folder in sorted(parents - {os.path.abspath(os.sep)}, key=lambda each: Path(each).parts):
        if not kept or not _is_in(folder, kept[-1]):
            kept.append(folder)
    return kept


def _is_in(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _checked(folder: str, allowed: Sequence[str], allowing: str) -> str:
    """A folder in one that is allowed, without links on the way to it; raises Problem.

    `allowing` is the command that allows others.
    """
    refused = Problem(
        403,
        "NotAllowed",
        f"{folder[:500]}: is in none of the folders that may be ingested; start the server with: "
        f"{allowing}",
    )
    path = os.path.normpath(folder)
    # Nothing is looked up for what does not even look as if it were allowed.
    within = [each for each in allowed if _is_in(path, each)]
    if not os.path.isabs(folder) or "\0" in folder or not within:
        raise refused
    try:
        real = os.path.realpath(path, strict=True)
    except OSError as error:
        raise Problem(
            422, "NoFolder", f"{path}: expected a folder ({error.strerror or error})"
        ) from None
    if not any(_is_in(real, os.path.realpath(each)) for each in within):
        raise refused
    if not os.path.isdir(real):
        raise Problem(422, "NoFolder", f"{path}: expected a folder, got a file")
    return path
