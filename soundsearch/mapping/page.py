"""A map as one HTML page that needs no other file and no network; and such a page read again."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.urls import basename, folder

from ..errors import ArgumentError
from ..labels.vocabulary import Vocabulary
from ..stores.records import NO_LABEL, StoredClip
from .columns import COLOURS, check_by, tag_text
from .methods import METHODS

__all__ = ["OldMap", "mark", "page", "read_page"]

Floats = NDArray[np.float32]

_FORMAT = "soundsearch-map-1"
# Predicted labels of a clip that the page shows.
_LABELS = 3
# Bytes that tell a clip from others on a map.
_DIGEST = 8
_BEGIN, _END = '<script type="application/json" id="data">', "</script>"
_LARGEST = 1 << 30


@dataclass(frozen=True)
class OldMap:
    """Where clips are on a map, by what `mark` makes of the digests of their content.

    Attributes
    ----------
    name : str
        What it is called in messages.
    space, method : str
    places : dict of bytes to (float, float)
    """

    name: str
    space: str
    method: str
    places: dict[bytes, tuple[float, float]]

    @classmethod
    def of(
        cls, name: str, space: str, method: str, marks: Sequence[bytes], places: Floats
    ) -> OldMap:
        """A map of clips with these marks at these places, float32 [n, 2]."""
        pairs = zip(marks, places.tolist(), strict=True)
        return cls(name, space, method, {key: (x, y) for key, (x, y) in pairs})

    def __len__(self) -> int:
        return len(self.places)

    def found(self, digests: Sequence[bytes]) -> tuple[Floats, NDArray[np.bool_]]:
        """The places of clips, float32 [n, 2], and whether they are on the map, bool [n]."""
        found = [self.places.get(mark(digest)) for digest in digests]
        places = np.array([each or (0.0, 0.0) for each in found], np.float32).reshape(-1, 2)
        return places, np.array([each is not None for each in found], np.bool_)


def mark(digest: bytes) -> bytes:
    """A short form of a digest, of 8 bytes: two of 100,000 clips have one with a chance of 1e-9."""
    return hashlib.blake2b(digest, digest_size=_DIGEST).digest()


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
    data = {
        "format": _FORMAT,
        "method": method,
        "space": space,
        "count": len(clips),
        "by": by if key is None else f"tag[{key}]",
        "where": where,
        "separator": os.sep,
        "colours": COLOURS,
        "places": _packed(places, "<f4"),
        "marks": _packed(
            np.frombuffer(b"".join(mark(clip.record.digest) for clip in clips), np.uint8), "u1"
        ),
        **_names(clips),
        **_labels(clips, vocabulary),
        "durations": _packed(np.array([clip.record.duration for clip in clips]), "<f4"),
        "tags": _tags(clips),
    }
    # Within a script, "<" could end it or begin a comment.
    text = json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
    script, css = _script(), _read("map.css")
    rules = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(css)}'; "
        "media-src 'self' file:; base-uri 'none'; form-action 'none'"
    )
    parts = {"rules": rules, "style": css, "data": _BEGIN + text + _END, "script": script}
    return re.sub(r"\{(\w+)\}", lambda name: parts[name[1]], _read("map.html")).encode()


def _packed(values: NDArray[Any], dtype: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()


def _names(clips: Sequence[StoredClip]) -> dict[str, Any]:
    """Names and folders; uris where these two do not give them."""
    folders: dict[str, int] = {}
    names, of, others = [], [], {}
    for row, clip in enumerate(clips):
        inside, name = folder(clip.uri), basename(clip.uri)
        names.append(name)
        of.append(folders.setdefault(inside, len(folders)))
        if os.path.join(inside, name) != clip.uri:
            others[row] = clip.uri
    return {
        "names": names,
        "folders": list(folders),
        "folder": _packed(np.array(of), "<u4"),
        "uris": others,
    }


def _labels(clips: Sequence[StoredClip], vocabulary: Vocabulary) -> dict[str, Any]:
    predicted = np.full((len(clips), _LABELS), NO_LABEL, np.uint16)
    scores = np.zeros((len(clips), _LABELS), np.uint8)
    for row, clip in enumerate(clips):
        labels = clip.record.labels[:_LABELS]
        predicted[row, : len(labels)] = labels["class_index"]
        percents = np.nan_to_num(labels["score"].astype(np.float64) * 100)
        scores[row, : len(labels)] = np.clip(np.rint(percents), 0, 100)
    given = {row: clip.record.human_labels for row, clip in enumerate(clips)}
    used = {*np.unique(predicted).tolist(), *(index for row in given.values() for index in row)}
    classes = sorted(index for index in used if index < len(vocabulary))
    numbers = {index: number for number, index in enumerate(classes)}
    renamed = np.full(NO_LABEL + 1, NO_LABEL, np.uint16)
    renamed[classes] = np.arange(len(classes))
    names = vocabulary.names
    return {
        "classes": [names[index] for index in classes],
        "labels": _packed(renamed[predicted], "<u2"),
        "scores": _packed(scores, "u1"),
        "given": {
            row: [numbers[index] for index in indices if index in numbers]
            for row, indices in given.items()
            if indices
        },
    }


def _tags(clips: Sequence[StoredClip]) -> list[dict[str, Any]]:
    """For each tag the clips that have it: as many numbers in all as clips have tags."""
    rows: dict[str, list[int]] = {}
    values: dict[str, dict[str, int]] = {}
    of: dict[str, list[int]] = {}
    for row, clip in enumerate(clips):
        for key, value in clip.record.tags.items():
            known = values.setdefault(key, {})
            rows.setdefault(key, []).append(row)
            of.setdefault(key, []).append(known.setdefault(tag_text(value), len(known)))
    return [
        {
            "key": key,
            "values": list(values[key]),
            "clips": _packed(np.array(rows[key]), "<u4"),
            "of": _packed(np.array(of[key]), "<u4"),
        }
        for key in sorted(values)
    ]


@cache
def _read(name: str) -> str:
    return (files(__package__) / "assets" / name).read_text("utf-8")


@cache
def _script() -> str:
    """The page's modules as one: what they import from each other is simply there."""
    text = _read("scatter.js") + _read("map.js")
    lines = text.splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(("import ", "export ")))


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def read_page(path: Path) -> OldMap:
    """The map that a page has; raises ArgumentError where it has none, or a damaged one."""
    try:
        with open(path, "rb") as file:
            content = file.read(_LARGEST + 1)
    except OSError as error:
        raise ArgumentError(
            f"{path}: expected a page with a map, and it cannot be read ({error.strerror})"
        ) from error
    if len(content) > _LARGEST:
        raise ArgumentError(f"{path}: expected a page with a map, got more than 1 GiB")
    _, begin, rest = content.partition(_BEGIN.encode())
    text, end, _ = rest.partition(_END.encode())
    if not (begin and end):
        raise ArgumentError(
            f"{path}: expected a page that `soundsearch map --out NAME.html` wrote, got something "
            "else, or a part of one"
        )
    try:
        data = json.loads(text)
        if data["format"] != _FORMAT:
            raise ValueError(f"it is of the format {data['format']!r}, not {_FORMAT!r}")
        count = int(data["count"])
        places = np.frombuffer(base64.b64decode(data["places"], validate=True), "<f4")
        marks = base64.b64decode(data["marks"], validate=True)
        if places.shape != (2 * count,) or len(marks) != _DIGEST * count:
            raise ValueError(f"{count} clips have {len(places)} coordinates")
        if not (np.abs(places) <= 1).all():
            raise ValueError("a coordinate is not from -1 to 1")
        space, method = data["space"], data["method"]
        if method not in METHODS or not isinstance(space, str):
            raise ValueError(f"it was made by {method!r} in the space {space!r}")
    except (ArithmeticError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise ArgumentError(f"{path}: its map cannot be read ({error}); make a new one") from error
    keys = [marks[at : at + _DIGEST] for at in range(0, len(marks), _DIGEST)]
    return OldMap.of(str(path), space, method, keys, places.reshape(-1, 2))
