"""The sound of clips: whole, a moment of it, its picture, its events."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from soundsearch_ingest.urls import is_remote, is_url
from starlette.responses import Response

from ..errors import ArgumentError
from ..library import Library
from ..results import Clip
from .problems import Problem
from .ranges import FileAnswer
from .service import Call
from .surveying import events_of

__all__ = ["audio", "events", "peaks", "spectrogram", "state_of"]

# The longest part of a sound that is drawn, seconds.
_DRAWN = 3600.0


async def events(call: Call) -> dict[str, Any]:
    """What is heard in a clip from when to when."""
    return await call.ask(lambda library: events_of(library, call.values["id"]))


async def audio(call: Call) -> Response:
    """A clip's sound as browsers play it: the file, or a copy; a part of it as WAV."""
    clip, state = await _found(call)
    service, at = call.service, call.values["at"]
    is_path = not is_url(clip.uri)
    if at is None:
        kind, path = await service.play(clip.uri, is_path, state)
        file = service.open(clip.uri if path is None else path)
        if path is None and state != _known(os.fstat(file.fileno())):
            file.close()  # what was found to be audio is another file by now
            raise Problem(
                503, "FileChanged", f"{clip.uri}: changes at the moment; ask again", retry_after=1
            )
        return FileAnswer(file, kind, call.request.headers)
    _check(at, clip)
    out = service.new_path(".wav")
    longest = service.limits.longest
    job = {"job": "play", "uri": clip.uri, "is_path": is_path, "at": at, "out": out}
    try:
        facts, _ = await call.work(clip.uri, job | {"longest": longest})
        file = service.open(out)
    finally:
        with suppress(OSError):  # it is there until it is closed
            os.unlink(out)
    return FileAnswer(file, facts["type"], call.request.headers)


async def spectrogram(call: Call) -> Response:
    """A clip's spectrogram."""
    clip, part = await _drawn(call)
    start, end = part
    job = {"job": "draw", "uri": clip.uri, "at": (start, max(end, start + 0.01))}
    size = {"width": call.values["width"], "height": call.values["height"]}
    _, content = await call.work(clip.uri, job | size)
    return Response(content, 200, {"Cache-Control": "private, max-age=60"}, "image/png")


async def peaks(call: Call) -> dict[str, Any]:
    """A clip's highest levels over time."""
    clip, part = await _drawn(call)
    job = {"job": "peaks", "uri": clip.uri, "at": part, "width": call.values["width"]}
    facts, _ = await call.work(clip.uri, job | {"longest": _DRAWN})
    return facts


async def _drawn(call: Call) -> tuple[Clip, tuple[float, float]]:
    """The clip, and which part of it is to be drawn."""
    clip, _ = await _found(call)
    at = call.values["at"] or (0.0, None)
    _check(at, clip)
    start, end = at[0], clip.duration if at[1] is None else at[1]
    if end - start > _DRAWN:
        raise ArgumentError(
            f"at: expected at most {_DRAWN:,.0f} s, got {end - start:,.0f}; ask for a part, as in "
            "at=0-60"
        )
    return clip, (start, end)


def _check(at: tuple[float, float | None], clip: Clip) -> None:
    if at[0] >= clip.duration:
        raise ArgumentError(
            f"at: expected a start within the clip's {clip.duration:.2f} s, got {at[0]:g}"
        )


async def _found(call: Call) -> tuple[Clip, Any]:
    """The clip, and the state of its file; raises Problem where that cannot be sent."""

    def find(library: Library) -> tuple[Clip, Any]:
        clip = library.clip(call.values["id"])
        return clip, state_of(clip.uri)

    return await call.ask(find)


def state_of(uri: str) -> Any:
    """What tells one content of a file from the next; only files of this disk are sent.

    Raises
    ------
    Problem
        It is on another server, never was a file, or is gone.
    """
    if is_remote(uri):
        raise Problem(
            404, "NoFile", f"{uri}: is on another server, from which this one sends nothing"
        )
    path = uri.rpartition("::")[2] if is_url(uri) else uri
    if not os.path.isabs(path):
        raise Problem(
            404,
            "NoFile",
            f"{uri}: is no file; the library keeps what was heard of a sound, not the sound",
        )
    try:
        return _known(os.stat(path))
    except OSError as error:
        raise Problem(
            404, "FileGone", f"{path}: {error.strerror or error}; the clip is still in the library"
        ) from None


def _known(found: os.stat_result) -> tuple[int, ...]:
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns
