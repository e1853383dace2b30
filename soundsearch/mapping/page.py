"""A map as one HTML page that needs no other file and no network; and such a page read again."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import ArgumentError
from ..labels.vocabulary import Vocabulary
from ..stores.records import StoredClip
from .columns import COLOURS, check_by
from .data import DIGEST, Columns, packed
from .methods import METHODS
from .placing import OldMap

__all__ = ["page", "read_page"]

Floats = NDArray[np.float32]

_FORMAT = "soundsearch-map-1"
_BEGIN, _END = b'<script type="application/json" id="data">', b"</script>"
# What follows on the places of clips in the data of a page.
_REST = b',"names":'
# How far into a page they may be: those of ten million clips. And how many values, lists and
# objects come before them, of which there are some 50.
_LARGEST, _PARTS = 1 << 28, 2000
_BLOCK = 1 << 20


def page(
    clips: Sequence[StoredClip],
    vocabulary: Vocabulary,
    places: Floats,
    method: str,
    space: str,
    by: str,
    where: str,
) -> bytes:
    """The page of a map.

    Parameters
    ----------
    clips : sequence of StoredClip
    vocabulary : Vocabulary
        What their labels are called.
    places : float32 [n, 2]
    method, space : str
    by : str
        What they are coloured by at first.
    where : str
        The folder that the page will be in: files below it are played from there wherever both
        are moved together.
    """
    key = check_by(by)
    columns = Columns()
    columns.add(clips)
    data = {
        "format": _FORMAT,
        "method": method,
        "space": space,
        "count": len(clips),
        "by": by if key is None else f"tag[{key}]",
        "where": where,
        "separator": os.sep,
        "colours": COLOURS,
        "places": packed(places, "<f4"),
        "marks": packed(columns.marks, "<u8"),
        **columns.data(vocabulary),
    }
    # Within a script, "<" could end it or begin a comment.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    script, css = _script(), _read("map.css")
    rules = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(css)}'; "
        "media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "rules": rules,
        "style": css,
        "data": _BEGIN.decode() + text + _END.decode(),
        "script": script,
    }
    return re.sub(r"\{(\w+)\}", lambda name: parts[name[1]], _read("map.html")).encode()


@cache
def _read(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text("utf-8")


@cache
def _script() -> str:
    """The page's modules as one: what they import from each other is simply there."""
    text = "".join(map(_read, ("scatter.js", "columns.js", "map.js")))
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("import ", "export ")))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def read_page(path: Path) -> OldMap:
    """The map that a page has; raises ArgumentError where it has none, or a damaged one.

    Only as much of it is read as tells where clips are, and what is not of a page's form is not
    taken apart: a file that was made to fill the memory does not.
    """
    head = _head(path)
    try:
        data = json.loads(head)
        if data["format"] != _FORMAT:
            raise ValueError(f"it is of the format {data['format']!r}, not {_FORMAT!r}")
        count = int(data["count"])
        places = np.frombuffer(base64.b64decode(data["places"], validate=True), "<f4")
        marks = base64.b64decode(data["marks"], validate=True)
        if places.shape != (2 * count,) or len(marks) != DIGEST * count:
            raise ValueError(f"{count} clips have {len(places)} coordinates")
        if not (np.abs(places) <= 1).all():
            raise ValueError("a coordinate is not from -1 to 1")
        space, method = data["space"], data["method"]
        if method not in METHODS or not isinstance(space, str):
            raise ValueError(f"it was made by {method!r} in the space {space!r}")
    except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ArgumentError(f"{path}: its map cannot be read ({error}); make a new one") from error
    keys = np.frombuffer(marks, "<u8").astype(np.uint64)
    return OldMap.of(str(path), space, method, keys, places.reshape(-1, 2))


def _head(path: Path) -> bytes:
    """The data of a page up to what clips are called, as JSON; raises ArgumentError."""
    found, begins = bytearray(), -1
    try:
        with open(path, "rb") as file:
            while block := file.read(_BLOCK):
                before = max(0, len(found) - len(_BEGIN))
                found += block
                if begins < 0:
                    begins = found.find(_BEGIN, before)
                ends = found.find(_REST, before) if begins >= 0 else -1
                if ends >= 0:
                    head = bytes(found[begins + len(_BEGIN) : ends])
                    if sum(map(head.count, b",[{")) > _PARTS:
                        break
                    return head + b"}"
                if len(found) > _LARGEST:
                    break
    except OSError as error:
        raise ArgumentError(
            f"{path}: expected a page with a map, and it cannot be read ({error.strerror})"
        ) from error
    raise ArgumentError(
        f"{path}: expected a page that `soundsearch map --out NAME.html` wrote, got something "
        "else, or a part of one"
    )
