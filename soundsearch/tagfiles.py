"""Reading tags files, tables or JSON lines: the tags of each clip, and the rows in error."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundsearch_ingest.files import expanded

from .errors import ArgumentError
from .stores.records import LARGEST_WHOLE, TagValue, is_storable, is_uri

__all__ = ["RowProblem", "TagsFile", "read_tags", "table_of", "text_of", "uri_in"]

_CLIP_COLUMNS = ("path", "uri")
_DELIMITERS = ",;\t"
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Numbers as people write them. With leading zeros they are names, as in take 007.
_NUMBER = re.compile(r"[-+]?(?:0|[1-9]\d*)?(?:\.\d+)?(?:[eE][-+]?\d{1,3})?", re.ASCII)
_DIGIT = re.compile(r"\d", re.ASCII)


@dataclass(frozen=True, slots=True)
class RowProblem:
    """A row of a file that cannot be used.

    Attributes
    ----------
    line : int
        The first line of the row, from 1.
    reason : str
        Why the row cannot be used.
    """

    line: int
    reason: str


@dataclass(slots=True)
class TagsFile:
    """The contents of a tags file.

    Attributes
    ----------
    path : Path
        The file.
    tags : dict of str to dict
        The tags of each clip, by its uri; None removes a tag. `Library.tag` and
        `Library.ingest` accept it as it is.
    lines : dict of str to int
        The line of each clip, by its uri.
    problems : list of RowProblem
        The rows that cannot be used, ordered by line.
    """

    path: Path
    tags: dict[str, dict[str, TagValue | None]] = field(default_factory=dict)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[RowProblem] = field(default_factory=list)


def read_tags(path: str | os.PathLike[str]) -> TagsFile:
    """Read a tags file, UTF-8 with or without a byte order mark.

    In a table (``.csv``) the first row names the columns. The column ``path`` or ``uri`` names the
    clip of a row; the other columns are tags. Columns are separated by commas, semicolons or tabs.
    Spaces around a value are dropped. A value that looks like a number, ``true`` or ``false`` is
    converted, except a number with leading zeros or one that a float cannot hold. An empty cell
    leaves the tag unchanged.

    JSON lines (``.jsonl``) are objects with a key ``path`` or ``uri``; the other keys are tags,
    whose values are texts, numbers, truth values, or null, which removes a tag.

    A relative path is relative to the folder of the tags file, unless the file exists only
    relative to the current folder. Addresses such as ``https://...`` stay unchanged.

    Parameters
    ----------
    path : path

    Returns
    -------
    TagsFile
        Rows that cannot be used are in its `problems`.

    Raises
    ------
    ArgumentError
        The file cannot be used: it cannot be read, is not UTF-8, has another suffix, or has no
        column that names clips.
    """
    file = TagsFile(expanded(path))
    suffix = file.path.suffix.lower()
    if suffix == ".csv":
        _read_table(file, text_of(file.path))
    elif suffix == ".jsonl":
        _read_json_lines(file, text_of(file.path))
    else:
        raise ArgumentError(f"{file.path}: expected a name that ends in .csv or .jsonl")
    file.problems.sort(key=lambda problem: problem.line)
    return file


def text_of(path: Path) -> str:
    """The text of a file, with plain ends of lines; raises ArgumentError where it is no UTF-8."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{path}: cannot be read ({error.strerror or error})") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
        raise ArgumentError(
            f"{path}, line {line}: expected text in UTF-8, got "
            f"{'UTF-16' if wide else f'the byte 0x{content[error.start]:02x}'}; save the file as "
            "UTF-8"
        ) from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


# Tables


def table_of(
    path: Path, text: str, problems: list[RowProblem]
) -> tuple[int, list[str], Iterator[tuple[int, list[str]]]]:
    """A table of commas, semicolons or tabs: its header with its line, and the rows with theirs.

    Cells have no spaces around them; blank rows are left out. What cannot be read as a row is
    added to `problems` as the rows are read. Raises ArgumentError where there is no header.
    """
    header_text = next((line for line in text.split("\n") if line.strip()), "")
    rows = _rows(text, max(_DELIMITERS, key=header_text.count), problems)
    line, names = next(rows, (1, []))
    if not names:
        raise ArgumentError(f"{path}: is empty; expected a first row that names the columns")
    return line, names, _even(rows, len(names), problems)


def _even(
    rows: Iterable[tuple[int, list[str]]], columns: int, problems: list[RowProblem]
) -> Iterator[tuple[int, list[str]]]:
    """The rows of so many cells; others are problems."""
    for line, cells in rows:
        if len(cells) == columns:
            yield line, cells
        else:
            reason = f"expected {columns} columns, as in the first row, got {len(cells)}"
            problems.append(RowProblem(line, reason))


def _read_table(file: TagsFile, text: str) -> None:
    line, names, rows = table_of(file.path, text, file.problems)
    header = _header(file, line, names)
    which = next(number for number, name in enumerate(header) if name in _CLIP_COLUMNS)
    for line, cells in rows:
        tags: dict[str, TagValue | None] = {
            name: _value(cell)
            for name, cell in zip(header, cells, strict=True)
            if cell and name and name not in _CLIP_COLUMNS
        }
        _add(file, line, cells[which], tags)


def _rows(text: str, delimiter: str, problems: list[RowProblem]) -> Iterator[tuple[int, list[str]]]:
    """Iterate over the rows that are not blank: their first lines and stripped cells."""
    reader = csv.reader(io.StringIO(text), delimiter=delimiter, strict=True)
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if str(error) == "unexpected end of data":
                reason = "a quote that opens here is never closed; nothing after it was read"
            else:
                reason = f"cannot be read as a row of the table ({error})"
            problems.append(RowProblem(line, reason))
            continue
        cells = [cell.strip() for cell in row]
        if any(cells):
            yield line, cells


def _header(file: TagsFile, line: int, names: list[str]) -> list[str]:
    names = [name.lower() if name.lower() in _CLIP_COLUMNS else name for name in names]
    clips = [name for name in names if name in _CLIP_COLUMNS]
    place = f"{file.path}, line {line}"
    if len(clips) != 1:
        found = f"both {' and '.join(clips)}" if clips else ", ".join(names)
        raise ArgumentError(
            f"{place}: expected one column named path or uri, to name the clip of each row, "
            f"got {found}"
        )
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise ArgumentError(f"{place}: expected each column once, got {twice} twice")
    if not all(names):
        column = names.index("") + 1
        file.problems.append(RowProblem(line, f"column {column} has no name and is left out"))
    return names


def _value(cell: str) -> TagValue:
    if cell.lower() in ("true", "false"):
        return cell.lower() == "true"
    if _NUMBER.fullmatch(cell) and _DIGIT.search(cell):
        try:
            number = float(cell)
        except ValueError:  # only an exponent
            return cell
        whole = not set(cell) & set(".eE")
        if math.isfinite(number) and not (whole and abs(int(cell)) > LARGEST_WHOLE):
            return number
    return cell


# JSON lines


def _read_json_lines(file: TagsFile, text: str) -> None:
    for line, row in enumerate(text.split("\n"), 1):
        if not row.strip():
            continue
        try:
            record = json.loads(row, object_pairs_hook=_unique, parse_constant=_no_constant)
            if not isinstance(record, dict):
                raise ValueError(f"expected an object in braces, got {_brief(record)}")
            clip, tags = _split(record)
        except RecursionError:
            file.problems.append(RowProblem(line, "is nested too deeply"))
        except json.JSONDecodeError as error:
            file.problems.append(
                RowProblem(line, f"is not JSON: {error.msg} at character {error.colno}")
            )
        except ValueError as error:
            file.problems.append(RowProblem(line, str(error)))
        else:
            _add(file, line, clip, tags)


def _unique(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"expected each key once, got {key!r} twice")
        found[key] = value
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"expected finite numbers, got {name}")


def _split(record: dict[str, Any]) -> tuple[str, dict[str, TagValue | None]]:
    """Split a JSON object into its clip and tags."""
    clips = [key for key in _CLIP_COLUMNS if key in record]
    if len(clips) != 1:
        found = "both" if clips else ", ".join(record) or "nothing"
        raise ValueError(f"expected one of the keys path and uri, got {found}")
    clip = record.pop(clips[0])
    if not isinstance(clip, str):
        raise ValueError(f"expected a text for {clips[0]}, got {_brief(clip)}")
    tags: dict[str, TagValue | None] = {}
    for key, value in record.items():
        if not key.strip():
            raise ValueError("expected a name for each tag, got an empty one")
        if value is None or isinstance(value, (str, bool)):
            tags[key] = value
        elif isinstance(value, int) and abs(value) > LARGEST_WHOLE:
            raise ValueError(
                f"{key}: {_brief(value)} is too large to be kept exactly as a number; put it in "
                "quotes to keep it as a text"
            )
        elif isinstance(value, (int, float)):
            if not math.isfinite(value):  # 1e999
                raise ValueError(f"expected finite numbers, got one that is too large for {key}")
            tags[key] = float(value)
        else:
            raise ValueError(
                f"expected a text, a number, true, false or null for {key}, got {_brief(value)}"
            )
    return clip, tags


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 40 else f"{text[:37]}..."


# Both


def _add(file: TagsFile, line: int, clip: str, tags: dict[str, TagValue | None]) -> None:
    if not clip.strip() or not is_uri(clip):
        file.problems.append(RowProblem(line, f"expected the path of a clip, got {clip!r}"))
        return
    texts = (part for pair in tags.items() for part in pair if isinstance(part, str))
    if not all(map(is_storable, texts)):
        file.problems.append(
            RowProblem(line, "holds half a character (a lone surrogate), which cannot be stored")
        )
        return
    uri = uri_in(file.path, clip)
    if uri in file.tags:
        reason = f"{clip} already has tags from line {file.lines[uri]}"
        file.problems.append(RowProblem(line, reason))
        return
    file.tags[uri] = tags
    file.lines[uri] = line


def uri_in(file: Path, clip: str) -> str:
    """The library's uri of the clip that a row of a file names."""
    if _ADDRESS.match(clip):
        return clip
    path = os.path.expanduser(clip)
    beside = os.path.abspath(os.path.join(file.parent, path))
    if not os.path.lexists(beside) and os.path.lexists(path):
        return os.path.abspath(path)
    return beside
