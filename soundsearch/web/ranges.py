"""A file as an answer, whole or a range of it (RFC 9110, sections 13 and 14)."""

from __future__ import annotations

import asyncio
import os
import re
from email.utils import formatdate
from typing import BinaryIO

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .problems import Problem

__all__ = ["FileAnswer", "wanted_range"]

_BLOCK = 1 << 18
_RANGE = re.compile(r"\s*bytes\s*=\s*(?:(\d{1,18})\s*-\s*(\d{0,18})|-\s*(\d{1,18}))\s*", re.I)


def wanted_range(text: str, size: int) -> tuple[int, int] | None:
    """The bytes, first to last, that a Range header wants of a file of `size` bytes.

    None stands for all of it: a server may ignore ranges, and does those that are malformed or
    of another unit, and several at once, which no player asks for.

    Raises
    ------
    Problem
        The file has no such bytes (416).
    """
    found = _RANGE.fullmatch(text)
    if found is None:
        return None
    if found[3] is not None:
        length = min(int(found[3]), size)
        first, last = size - length, size - 1
    else:
        first = int(found[1])
        last = min(int(found[2]), size - 1) if found[2] else size - 1
        if found[2] and int(found[2]) < first:
            return None
    if first >= size or last < first:
        raise Problem(
            416,
            "RangeNotSatisfiable",
            f"the sound has {size:,} bytes, none of which are in {text.strip()[:100]!r}",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return first, last


class FileAnswer(Response):
    """An open file, sent in pieces; closed in the end.

    Parameters
    ----------
    file : binary file
        Unbuffered, of which the descriptor is read; closed where this raises, too.
    media_type : str
    headers : Headers
        Of the request.

    Raises
    ------
    Problem
        A range is wanted that the file does not have.
    """

    def __init__(self, file: BinaryIO, media_type: str, headers: Headers) -> None:
        self._file = file
        known = os.fstat(file.fileno())
        tag = f'"{known.st_mtime_ns:x}-{known.st_size:x}-{known.st_ino:x}"'
        modified = formatdate(known.st_mtime, usegmt=True)
        said = {
            "Accept-Ranges": "bytes",
            "Cache-Control": "private, no-cache",
            "ETag": tag,
            "Last-Modified": modified,
        }
        self._first, self._left = 0, known.st_size
        status = 200
        matches = [each.strip() for each in headers.get("if-none-match", "").split(",")]
        if tag in matches or f"W/{tag}" in matches:
            status, self._left = 304, 0
        elif headers.get("if-range", tag) in (tag, modified) and "range" in headers:
            try:
                wanted = wanted_range(headers["range"], known.st_size)
            except Problem:
                file.close()
                raise
            if wanted is not None:
                status, self._first = 206, wanted[0]
                self._left = wanted[1] - wanted[0] + 1
                said["Content-Range"] = f"bytes {wanted[0]}-{wanted[1]}/{known.st_size}"
        if status != 304:
            said["Content-Length"] = str(self._left)
        super().__init__(None, status, said, media_type)
        if status != 304:  # the base class sets that of an empty body
            self.headers["Content-Length"] = str(self._left)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_disconnect(receive))
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            if scope["method"] == "HEAD":
                self._left = 0
            while self._left > 0:
                block = await to_thread.run_sync(self._read)
                # The file was cut meanwhile, and the client sees that bytes are missing; or it is
                # not there any more, and the rest is read for nobody.
                if not block or gone.done():
                    return
                await send({"type": "http.response.body", "body": block, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            gone.cancel()
            self._file.close()

    def _read(self) -> bytes:
        block = os.pread(self._file.fileno(), min(_BLOCK, self._left), self._first)
        self._first += len(block)
        self._left -= len(block)
        return block


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
