"""How rows fit a terminal: times in one form, and columns that are cut where nothing is lost."""

from __future__ import annotations

import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence

from ..times import clock

__all__ = ["clocks", "columns", "cut", "fitted", "moments", "padded", "room", "short_path"]

# Below this, tables wrap: there would be nothing left of names.
_NARROWEST = 60
_CUT = "..."


def room(full: bool = False) -> int | None:
    """How wide a line may be; None for any width: `full`, or where no terminal is written to."""
    if full or not sys.stdout.isatty():
        return None
    return max(_NARROWEST, shutil.get_terminal_size().columns)


def columns(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(char) in "WF" for char in text)
    return len(text) + wide - sum(unicodedata.combining(char) > 0 for char in text)


def padded(text: str, width: int) -> str:
    """A text with spaces after it, `width` columns together."""
    return text + " " * (width - columns(text))


def cut(text: str, width: int, *, keep_end: bool = False) -> str:
    """A text of at most `width` columns: its beginning, or its end, and dots for the rest."""
    if columns(text) <= width:
        return text
    kept = text
    while kept and columns(kept) > width - len(_CUT):
        kept = kept[1:] if keep_end else kept[:-1]
    return f"{_CUT}{kept}" if keep_end else f"{kept}{_CUT}"


def fitted(names: Iterable[tuple[str, str]], width: int | None) -> str:
    """As many names as fit, none of them in part, each with what follows it, such as its score.

    Only a first one that is too long is cut, before what follows it.
    """
    chosen = ""
    for name, after in names:
        longer = f"{chosen}, {name}{after}" if chosen else f"{name}{after}"
        if width is not None and columns(longer) > width:
            return chosen or cut(name, width - columns(after)) + after
        chosen = longer
    return chosen


def short_path(uri: str) -> str:
    """A path with a tilde for the user's folder."""
    home = os.path.expanduser("~")
    return "~" + uri[len(home) :] if uri.startswith(home + os.sep) else uri


def clocks(times: Iterable[float]) -> list[str]:
    """Times as people read them, minutes:seconds; all with hours where one has them."""
    times = list(times)
    hours = any(round(100 * seconds) >= 360_000 for seconds in times)
    return [clock(seconds, 2, hours) for seconds in times]


def moments(spans: Sequence[tuple[float, float]]) -> list[str]:
    """Stretches of time, START-END, as `--at` takes them; one below the other, they align."""
    each = clocks(time for span in spans for time in span)
    texts = [f"{start}-{end}" for start, end in zip(each[::2], each[1::2], strict=True)]
    width = max(map(len, texts), default=0)
    return [text.rjust(width) for text in texts]
