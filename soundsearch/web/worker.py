"""A process that decodes what a server is given, so that a decoder's crash ends nothing else.

It reads jobs from standard input and writes what came of them to standard output; see
`soundsearch.web.messages`.
"""

from __future__ import annotations

import shutil
import signal
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ..asking.questions import Sound
from ..errors import SoundsearchError
from ..hearing import Heard, Listener
from ..labels.kept import head_file
from ..labels.timeline import Event, Tracker, in_order
from ..stores.records import CLIP_LABELS
from ..timelines import score_blocks
from .messages import receive, send
from .pictures import peaks, spectrogram
from .playing import opened, playable, written
from .processes import begin

__all__ = ["main"]

_Result = tuple[dict[str, Any], bytes]
_EVENTS = 1000
_listeners: dict[tuple[str, str | None], Listener] = {}


def _hear(job: dict[str, Any]) -> _Result:
    """Embeddings and levels of a sound, one after the other, and its labels."""
    wanted = job["encoder"], job["head"]
    if wanted not in _listeners:
        _listeners.clear()
        head = None if job["head"] is None else head_file(Path(job["head"])).head
        _listeners[wanted] = Listener.open(job["encoder"], 1, head)
    listener = _listeners[wanted]
    with open(job["file"], "rb", buffering=0) as file:
        file.name = job["name"]  # what messages call it
        at = None if job["at"] is None else tuple(job["at"])
        sound = Sound(file, at, max_duration=job["longest"])
        heard = listener.hear(sound, job["hop"])
        wave = None
        if job["peaks"]:
            file.seek(0)
            wave = _wave(file, (0.0, None), job["peaks"], job["longest"])
    [(_, labels)] = listener.labels([heard], 1, CLIP_LABELS)
    named = [label.to_dict() for label in listener.head.vocabulary.named(labels)]
    facts = {
        "labels": named,
        "warning": heard.warning,
        "space": listener.encoder.space,
        "duration": round(heard.duration, 3),
        "events": _events(listener, heard, job["hop"], at),
        "wave": wave,
    }
    vectors = np.ascontiguousarray(heard.vectors, np.float32)
    return facts | {"shape": vectors.shape}, vectors.tobytes() + heard.levels.tobytes()


def _events(
    listener: Listener, heard: Heard, hop: float, at: tuple[float, float | None] | None
) -> list[dict[str, Any]]:
    """What is heard in a sound from when to when, as many events as an answer has at most."""
    head = listener.head
    start = 0.0 if at is None else at[0]
    tracker = Tracker(head.vocabulary, hop, listener.encoder.segment_seconds, start)
    found: list[Event] = []
    for scores in score_blocks(head, heard):
        found += tracker.push(scores)
    found += tracker.finish(heard.duration)
    return [event.to_dict() for event in in_order(found)[:_EVENTS]]


def _play(job: dict[str, Any]) -> _Result:
    """A file's sound as browsers play it: what they call it, and whether that is the file as is."""
    with opened(job["uri"]) as file:
        if job["at"] is None and (kind := playable(file, job["uri"])) is not None:
            if job["is_path"]:
                return {"type": kind, "is_original": True}, b""
            file.seek(0)
            with open(job["out"], "wb") as out:
                while block := file.read(1 << 20):
                    out.write(block)
            return {"type": kind, "is_original": False}, b""
        part = (0.0, None) if job["at"] is None else tuple(job["at"])
        kind = written(file, job["uri"], part, job["longest"], job["out"], job["at"] is not None)
        return {"type": kind, "is_original": False}, b""


def _copy(job: dict[str, Any]) -> _Result:
    """A clip's file as it is."""
    with opened(job["uri"]) as file, open(job["out"], "wb") as out:
        shutil.copyfileobj(file, out, 1 << 20)
    return {}, b""


def _peaks(job: dict[str, Any]) -> _Result:
    with opened(job["uri"]) as file:
        return _wave(file, tuple(job["at"]), job["width"], job["longest"]), b""


def _wave(
    file: BinaryIO, part: tuple[float, float | None], count: int, longest: float
) -> dict[str, Any]:
    found, duration = peaks(file, part, count, longest)
    return {"duration": round(duration, 3), "peaks": found}


def _draw(job: dict[str, Any]) -> _Result:
    with opened(job["uri"]) as file:
        size = job["width"], job["height"]
        return {}, spectrogram(file, tuple(job["at"]), size)


_JOBS: dict[str, Callable[[dict[str, Any]], _Result]] = {
    "hear": _hear,
    "play": _play,
    "peaks": _peaks,
    "draw": _draw,
    "copy": _copy,
}


def main() -> None:
    """Do jobs until standard input ends."""
    given, told = begin()
    send(told, {"is_ready": True})
    while (job := receive(given)) is not None:
        what = job[0]
        _alarm(what["seconds"])
        try:
            answer, content = _JOBS[what["job"]](what)
        except SoundsearchError as error:
            reason = getattr(error, "reason", None)
            answer = {"error": type(error).__name__, "message": str(error), "reason": reason}
            content = b""
        except MemoryError:
            answer, content = {"error": "MemoryError", "message": ""}, b""
        except OSError as error:
            text = error.strerror or str(error)
            answer, content = {"error": "OSError", "message": text, "errno": error.errno}, b""
        except Exception as error:  # a fault of what decodes, not of the sound
            traceback.print_exc()
            answer, content = {"error": "Exception", "message": type(error).__name__}, b""
        _alarm(0)
        send(told, answer, content)


def _alarm(seconds: float) -> None:
    """End this process after a time: a parent that was killed cannot stop what never ends."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
