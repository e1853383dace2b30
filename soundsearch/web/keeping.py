"""What people take away: moments and files in a ZIP, tables and playlists."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from soundsearch_ingest.urls import basename, is_url
from starlette.responses import Response

from ..errors import ArgumentError
from ..labels.kept import vocabulary_of
from ..library import Library
from ..naming import find_all
from ..results import Clip
from ..selection import shown
from ..stores.base import Reading
from .fields import Values
from .problems import Problem
from .service import Call
from .zips import Part, Zip

__all__ = ["FORMATS", "SOUNDS", "export"]

FORMATS = ("zip", "csv", "m3u")
SOUNDS = ("moments", "files")

# Bytes of a second of sound as it is sent at most: 16 bits, two channels, 48 kHz.
_SECOND = 48_000 * 2 * 2
# What is before a sign that makes spreadsheets compute a cell, where one may begin; the wide signs
# are taken for the others in some languages.
_FORMULA = re.compile('(?:^|[;\t\r\n])[ "]*(?=[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20])')
_COLUMNS = (
    *("id", "uri", "start", "end", "score", "duration", "labels", "human_labels"),
    *("human_events", "tags"),
)


@dataclass(frozen=True, slots=True)
class _Kept:
    """A clip or a moment of it that is taken away.

    Attributes
    ----------
    name : str
        What it was asked for by.
    clip : Clip or None
        None where it is not in the library any more.
    at : (start, end) or None
        Seconds, None for all of it.
    score : float or None
    size : int
        Of its file, bytes.
    """

    name: str
    clip: Clip | None
    at: tuple[float, float | None] | None
    score: float | None
    size: int


async def export(call: Call) -> Response:
    """Some clips or moments: their sound, or a list of them."""
    values = call.values
    for name in ("at", "score"):
        if values[name] and len(values[name]) != len(values["clip"]):
            raise ArgumentError(
                f"{name}: expected one for each of the {len(values['clip'])} clips, or none; got "
                f"{len(values[name])}"
            )
    kept = await call.ask(lambda library: _looked_up(library, values))
    if values["format"] == "csv":
        return _sent(_table(kept), "text/csv; charset=utf-8", "sounds.csv")
    if values["format"] == "m3u":
        return _sent(_playlist(kept), "audio/x-mpegurl; charset=utf-8", "sounds.m3u8")
    as_files = values["sound"] == "files"
    most = call.service.limits.export_bytes
    size = sum(each.size if as_files else _moment_size(each) for each in kept)
    if size > most:
        raise Problem(
            413,
            "TooLarge",
            f"these are some {size / 1e9:,.1f} GB, and a ZIP may have {most / 1e9:,.1f}; take "
            "fewer, or shorter moments",
        )
    parts = [_part(each, as_files) for each in kept]
    async with AsyncExitStack() as turn:
        await turn.enter_async_context(call.service.exports.turn())
        return Zip(call, parts, most, "sounds.zip", turn.pop_all())


def _looked_up(library: Library, values: Values) -> list[_Kept]:
    names = values["clip"]
    ats: Sequence[Any] = values["at"] or [None] * len(names)
    scores: Sequence[Any] = values["score"] or [None] * len(names)

    def read(reading: Reading) -> list[_Kept]:
        vocabulary = vocabulary_of(reading)
        return [
            _Kept(
                str(name),
                None if found is None else shown(found, vocabulary),
                None if at in (None, (0.0, None)) else at,
                score,
                0 if found is None else found.record.file.size,
            )
            for name, found, at, score in zip(
                names, find_all(reading, names), ats, scores, strict=True
            )
        ]

    return library._read(read)


def _moment_size(kept: _Kept) -> int:
    if kept.clip is None:
        return 0
    start, end = _span(kept, kept.clip)
    return int(max(0.0, end - start) * _SECOND)


def _span(kept: _Kept, clip: Clip) -> tuple[float, float]:
    """From when to when, seconds."""
    start, end = kept.at or (0.0, None)
    return start, clip.duration if end is None else min(end, clip.duration)


def _part(kept: _Kept, as_file: bool) -> Part:
    if kept.clip is None:
        return Part(kept.name, None, None, f"{kept.name}: is not in the library any more")
    name = basename(kept.clip.uri) or kept.clip.uri
    if as_file:
        return Part(name, kept.clip.uri, None)
    stem = os.path.splitext(name)[0]
    start, end = _span(kept, kept.clip)
    if kept.at is None:
        return Part(f"{stem}.wav", kept.clip.uri, (0.0, None))
    if start >= kept.clip.duration:
        said = f"{kept.clip.uri}: has {kept.clip.duration:.2f} s, and nothing from {start:g} s on"
        return Part(name, None, None, said)
    return Part(f"{stem} {start:.2f}-{end:.2f}.wav", kept.clip.uri, kept.at)


def _sent(content: bytes, media_type: str, name: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(content, 200, headers, media_type)


# Lists


def _table(kept: Sequence[_Kept]) -> bytes:
    """A row for each, in UTF-8 with the mark by which spreadsheets know it."""
    out = io.StringIO()
    rows = csv.writer(out, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\r\n")
    rows.writerow(_COLUMNS)
    for each in kept:
        rows.writerow(_row(each))
    return out.getvalue().encode("utf-8-sig", "backslashreplace")


def _row(kept: _Kept) -> list[Any]:
    clip = kept.clip
    if clip is None:
        return [_cell(kept.name), "", *[""] * (len(_COLUMNS) - 2)]
    start, end = _span(kept, clip)
    labels = {label.name: round(label.score, 4) for label in clip.labels}
    return [
        clip.id,
        _cell(clip.uri),
        round(start, 3),
        round(end, 3),
        "" if kept.score is None else kept.score,
        round(clip.duration, 3),
        _cell(_json(labels)),
        _cell(_json([label.name for label in clip.human_labels])),
        _cell(_json(clip.human_events)),
        _cell(_json(clip.tags)),
    ]


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""


def _cell(text: str) -> str:
    """A text that no spreadsheet takes for a formula, nor a part of it for one in another cell.

    Where semicolons part cells, as in many countries, quotes protect only those cells that begin
    with one.
    """
    return _FORMULA.sub(r"\g<0>'", text)


def _playlist(kept: Sequence[_Kept]) -> bytes:
    lines = ["#EXTM3U"]
    for each in kept:
        lines += _entry(each)
    # Bytes of a path that are no text are the file's name all the same.
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "surrogateescape")


def _entry(kept: _Kept) -> Iterator[str]:
    if kept.clip is None:
        yield f"# {_line(kept.name)}: is not in the library any more"
        return
    uri = kept.clip.uri
    if not is_url(uri) and not os.path.isabs(uri):  # it might begin as an option does
        yield f"# {_line(uri)}: is no file"
        return
    start, end = _span(kept, kept.clip)
    yield f"#EXTINF:{max(0, round(end - start))},{_line(basename(uri))}"
    if kept.at is not None:
        yield f"#EXTVLCOPT:start-time={start:.2f}"
        yield f"#EXTVLCOPT:stop-time={end:.2f}"
    if is_url(uri) or _line(uri) == uri:
        yield _line(uri)
    else:
        yield f"file://{quote(os.fsencode(uri))}"


def _line(text: str) -> str:
    """A text on one line."""
    return "".join(
        " " if unicodedata.category(each) in ("Cc", "Zl", "Zp") else each for each in text
    )
