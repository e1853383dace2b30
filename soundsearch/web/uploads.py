"""Bodies of requests, read as they come: JSON in memory, forms with their file on disk."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from .limits import Limits, Room
from .problems import Problem

__all__ = ["Form", "Upload", "form", "json_body", "media_type"]

# Of JSON, and of the texts of a form together.
_TEXT_BYTES = 1 << 20
_PARTS = 1000
_NAME = 200


@dataclass
class Upload:
    """A file of a form, on disk.

    Attributes
    ----------
    field : str
    name : str
        As the client calls it; for messages alone.
    path : str
    size : int
        Bytes.
    """

    field: str
    name: str
    path: str
    size: int = 0


@dataclass
class Form:
    """What a form holds: texts by their names, in order, and at most one file."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    upload: Upload | None = None


def media_type(request: Request) -> str:
    """The type of a request's body, in small letters, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def json_body(request: Request, limits: Limits) -> Any:
    """A request's JSON.

    Raises
    ------
    Problem
        It is none, too long, or comes too slowly.
    """
    parts = [part async for part in _body(request, _TEXT_BYTES, limits.upload_seconds)]
    try:
        return json.loads(b"".join(parts))
    except (ValueError, RecursionError) as error:
        text = f"expected JSON, got what is none ({str(error) or 'it is nested too deeply'})"
        raise Problem(400, "BadRequest", text) from None


@asynccontextmanager
async def form(request: Request, limits: Limits, folder: str, room: Room) -> AsyncIterator[Form]:
    """A request's form (multipart/form-data); its file is in `folder` until the end.

    Raises
    ------
    Problem
        It is damaged or too long, has several files, or comes too slowly.
    """
    reader = _Reader(folder, room)
    options = parse_options_header(request.headers.get("content-type", ""))[1]
    try:
        try:
            parser = MultipartParser(options.get(b"boundary", b""), reader.callbacks())
            if not options.get(b"boundary"):
                raise FormParserError("it has no boundary")
            async for part in _body(request, limits.upload_bytes, limits.upload_seconds):
                # A large form is parsed and written by a thread: the disk may be slow.
                await asyncio.to_thread(parser.write, part)
            parser.finalize()
            if not reader.is_whole:
                raise FormParserError("it has no end")
        except FormParserError as error:
            text = f"expected a form (multipart/form-data), got a damaged one: {error}"
            raise Problem(400, "BadRequest", text) from None
        finally:
            reader.close()
        yield reader.form
    finally:
        if reader.form.upload is not None:
            with suppress(OSError):
                os.unlink(reader.form.upload.path)
            room.give_back(reader.form.upload.size)


async def _body(request: Request, most: int, seconds: float) -> AsyncIterator[bytes]:
    """The pieces of a body of so many bytes at most, all of which come within some seconds."""
    promised = request.headers.get("content-length", "")
    if promised.isdigit() and int(promised) > most:
        raise _too_large(most)
    stream = request.stream()
    end = asyncio.get_running_loop().time() + seconds
    size = 0
    while True:
        left = end - asyncio.get_running_loop().time()
        try:
            part = await asyncio.wait_for(anext(stream), max(left, 0))
        except StopAsyncIteration:
            return
        except asyncio.TimeoutError:
            raise Problem(
                408,
                "TooSlow",
                f"the request did not come within {seconds:g} s; send less, or faster",
                headers={"Connection": "close"},
            ) from None
        except ClientDisconnect:
            raise Problem(400, "BadRequest", "the request ended within its body") from None
        size += len(part)
        if size > most:
            raise _too_large(most)
        if part:
            yield part


def _too_large(most: int) -> Problem:
    size = f"{most >> 20} MB" if most >= 1 << 20 else f"{most:,} bytes"
    return Problem(
        413, "TooLarge", f"a request may have {size}, got more; send a part of the sound"
    )


class _Reader:
    """Takes the parts of a form from the parser."""

    def __init__(self, folder: str, room: Room) -> None:
        self.form = Form()
        self._room = room
        self.is_whole = False
        self._folder = folder
        self._file: BinaryIO | None = None
        self._header = b""
        self._value = b""
        self._disposition: dict[bytes, bytes] = {}
        self._text = bytearray()
        self._texts = self._parts = 0

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_field,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._data,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise FormParserError(f"it has more than {_PARTS} parts")
        self._disposition = {}
        self._text.clear()

    def _header_field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = parse_options_header(self._value)[1]
        self._header = self._value = b""

    def _headers_finished(self) -> None:
        name = self._disposition.get(b"name")
        if name is None:
            raise FormParserError("a part has no name")
        if b"filename" not in self._disposition:
            return
        if self.form.upload is not None:
            raise FormParserError("it has several files; send one")
        shown = self._disposition[b"filename"].decode("utf-8", "replace")
        shown = shown.replace("\\", "/").rpartition("/")[2][:_NAME] or "the sound"
        number, path = tempfile.mkstemp(prefix="upload-", dir=self._folder)
        self._file = os.fdopen(number, "wb")
        self.form.upload = Upload(name.decode("utf-8", "replace"), shown, path)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None and self.form.upload is not None:
            self._room.take(end - start)
            self.form.upload.size += end - start
            self._file.write(data[start:end])
            return
        self._texts += end - start
        if self._texts > _TEXT_BYTES:
            raise Problem(413, "TooLarge", f"texts of a form may have {_TEXT_BYTES:,} bytes")
        self._text += data[start:end]

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            return
        name = self._disposition[b"name"].decode("utf-8", "replace")
        self.form.texts.setdefault(name, []).append(self._text.decode("utf-8", "surrogateescape"))

    def _finish(self) -> None:
        self.is_whole = True
