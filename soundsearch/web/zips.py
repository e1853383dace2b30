"""A ZIP of clips, made while it is sent: its size needs no memory and no disk."""

from __future__ import annotations

import asyncio
import os
import zipfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from anyio import to_thread
from soundsearch_ingest.urls import is_url
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from ..errors import SoundsearchError
from .filenames import FileNames
from .problems import Problem
from .service import Call
from .sounds import state_of

__all__ = ["Part", "Zip"]

_BLOCK = 1 << 18
_MISSING = "missing.txt"
# How often a server that is busy is asked again for one of many sounds, once a second.
_TRIES = 60
# Of entries whose size takes more bytes to write.
_LARGE = 1 << 31


@dataclass(frozen=True, slots=True)
class Part:
    """What becomes a file of a ZIP.

    Attributes
    ----------
    name : str
        Which the file is called, as far as it can be.
    uri : str or None
    at : (start, end) or None
        The part of the sound that is sent as WAV; None for the file as it is.
    missing : str
        Why it is not there, where there is no `uri`.
    """

    name: str
    uri: str | None
    at: tuple[float, float | None] | None
    missing: str = ""


class Zip(StreamingResponse):
    """Sends a ZIP of some parts; one that cannot be had is named in it, in ``missing.txt``.

    Parameters
    ----------
    call : Call
    parts : list of Part
    most : int
        Bytes; what would make it larger is left out.
    name : str
        Of the ZIP.
    held : AsyncExitStack
        Closed in the end.
    """

    def __init__(
        self, call: Call, parts: list[Part], most: int, name: str, held: AsyncExitStack
    ) -> None:
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        self._content = _zipped(call, parts, most)
        super().__init__(self._content, 200, headers, "application/zip")
        self._held = held

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with self._held:
            try:
                await super().__call__(scope, receive, send)
            finally:
                await self._content.aclose()  # the client may have gone amid it


class _Sink:
    """Keeps what is written until it is taken; it cannot be sought in."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []

    def write(self, block: bytes) -> int:
        self._blocks.append(bytes(block))
        return len(block)

    def flush(self) -> None:
        pass

    def take(self) -> bytes:
        taken = b"".join(self._blocks)
        self._blocks.clear()
        return taken


async def _zipped(call: Call, parts: list[Part], most: int) -> AsyncGenerator[bytes, None]:
    sink, names = _Sink(), FileNames(_MISSING)
    archive = zipfile.ZipFile(sink, "w")  # type: ignore[call-overload]  # needs no more of a file
    missing, sent = [], 0
    for part in parts:
        try:
            if part.uri is None:
                raise Problem(404, "NoClip", part.missing)
            file = await _opened(call, part, part.uri)
        except (Problem, SoundsearchError, OSError) as error:
            missing.append(str(error))
            continue
        with file:
            known = os.fstat(file.fileno())
            if sent + known.st_size > most:
                missing.append(f"{part.uri}: is left out, as the ZIP would be too large")
                continue
            sent += known.st_size
            info = zipfile.ZipInfo(names.new(part.name), _date(known.st_mtime))
            info.external_attr = 0o644 << 16
            with archive.open(info, "w", force_zip64=known.st_size >= _LARGE) as entry:
                left = known.st_size
                while left and (block := await _read(file, min(left, _BLOCK))):
                    left -= len(block)
                    entry.write(block)
                    yield sink.take()
            if left:
                missing.append(f"{part.uri}: {left:,} bytes at its end could not be read")
    if missing:
        archive.writestr(_MISSING, "".join(f"{_one_line(line)}\n" for line in missing))
    archive.close()
    yield sink.take()


def _one_line(text: str) -> str:
    return " ".join(text.splitlines()).encode("utf-8", "backslashreplace").decode()


def _date(seconds: float) -> tuple[int, int, int, int, int, int]:
    """A time as ZIPs hold it, from 1980 to 2107."""
    with suppress(ValueError, OverflowError, OSError):
        found = datetime.fromtimestamp(seconds)
        if 1980 <= found.year <= 2107:
            return (found.year, found.month, found.day, found.hour, found.minute, found.second)
    return (1980, 1, 1, 0, 0, 0)


async def _read(file: BinaryIO, count: int) -> bytes:
    """The next bytes; none where the disk fails."""
    try:
        return await to_thread.run_sync(file.read, count)
    except OSError:
        return b""


async def _opened(call: Call, part: Part, uri: str) -> BinaryIO:
    """The file of a part, or a copy of what is in an archive, or the sound of a moment."""
    await to_thread.run_sync(state_of, uri)
    if part.at is None and not is_url(uri):
        return await to_thread.run_sync(call.service.open, uri)
    out = call.service.new_path()
    job: dict[str, Any] = {"job": "copy", "uri": uri, "out": out}
    if part.at is not None:
        job |= {"job": "play", "is_path": not is_url(uri), "at": part.at}
        job["longest"] = call.service.limits.longest
    try:
        for remaining in reversed(range(_TRIES)):
            try:
                await call.work(uri, job)
                break
            except Problem as problem:
                if problem.status != 503 or not remaining:
                    raise
                await asyncio.sleep(1)
        return call.service.open(out)
    finally:
        with suppress(OSError):  # it is there until it is closed
            os.unlink(out)
