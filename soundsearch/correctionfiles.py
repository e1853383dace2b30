"""Reading tables of what people say is heard in clips, or is not, and from when to when."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from soundsearch_ingest.files import expanded

from .correcting import Correction
from .errors import ArgumentError
from .tagfiles import RowProblem, table_of, text_of, uri_in

__all__ = ["HEARD", "CorrectionsFile", "read_corrections"]

# As the page says it, too.
HEARD = {"yes": True, "no": False, "unsaid": None}

_CLIPS = ("path", "uri", "file")
_NAMES = ("label", "onset", "offset", "heard")
# What a table of events has beside (`soundsearch label --events --format csv`).
_PASSED_OVER = ("mid", "score")


@dataclass(slots=True)
class CorrectionsFile:
    """The contents of a table of corrections.

    Attributes
    ----------
    path : Path
        The file.
    corrections : list of Correction
    lines : list of int
        The line of each.
    problems : list of RowProblem
        The rows that cannot be used.
    """

    path: Path
    corrections: list[Correction] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)
    problems: list[RowProblem] = field(default_factory=list)


def read_corrections(path: str | os.PathLike[str]) -> CorrectionsFile:
    """Read a table of corrections, UTF-8, with commas, semicolons or tabs between columns.

    The first row names the columns, in any order: ``path``, ``uri`` or ``file`` of the clip;
    ``label``; ``onset`` and ``offset``, seconds, both empty for the clip as a whole, and ``heard``:
    ``yes``, ``no`` or ``unsaid``. All but the first two may be left out. A table of events is one.

    Raises
    ------
    ArgumentError
        The file cannot be used: it cannot be read, is not UTF-8, or has other columns.
    """
    file = CorrectionsFile(expanded(path))
    line, names, rows = table_of(file.path, text_of(file.path), file.problems)
    names = [name.lower() for name in names]
    clips = [name for name in names if name in _CLIPS]
    known = {*_CLIPS, *_NAMES, *_PASSED_OVER}
    if len(clips) != 1 or "label" not in names or len({*names} & known) < len(names):
        raise ArgumentError(
            f"{file.path}, line {line}: expected the columns path (or uri, or file) and label, and "
            f"if wanted onset, offset and heard, each once and no others; got {', '.join(names)}"
        )
    for line, cells in rows:
        row = dict(zip(names, cells, strict=True))
        try:
            correction = _correction(file.path, row[clips[0]], row)
        except ValueError as error:
            file.problems.append(RowProblem(line, str(error)))
        else:
            file.corrections.append(correction)
            file.lines.append(line)
    return file


def _correction(path: Path, clip: str, row: dict[str, str]) -> Correction:
    if not clip or "\0" in clip:
        raise ValueError(f"expected the path of a clip, got {clip!r}")
    heard = row.get("heard") or "yes"
    if heard.lower() not in HEARD:
        raise ValueError(f"heard: expected {', '.join(HEARD)}, or nothing for yes, got {heard!r}")
    onset, offset = (_seconds(name, row.get(name, "")) for name in ("onset", "offset"))
    at = None if onset is None and offset is None else (onset or 0.0, offset)
    return Correction(uri_in(path, clip), row["label"], at, HEARD[heard.lower()])


def _seconds(name: str, text: str) -> float | None:
    try:
        return float(text) if text else None
    except ValueError:
        raise ValueError(f"{name}: expected seconds, as in 1.25, got {text!r}") from None
