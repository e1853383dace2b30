"""What a map shows of clips, in columns: few bytes for each of very many."""

from __future__ import annotations

import base64
import hashlib
import os
from array import array
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.urls import basename, folder

from ..labels.vocabulary import Vocabulary
from ..stores.records import NO_LABEL, StoredClip
from .columns import best_label, categories, tag_text

__all__ = ["DIGEST", "Columns", "marks_of", "packed"]

# Predicted labels of a clip that are shown.
_LABELS = 3
# Bytes that tell a clip from others on a map.
DIGEST = 8
# Of a clip without a category.
_NO_CATEGORY = 0xFFFF


def packed(values: NDArray[Any] | Sequence[Any], dtype: str) -> str:
    """Numbers as text, which pages unpack."""
    return base64.b64encode(np.ascontiguousarray(values, dtype).tobytes()).decode()


def marks_of(digests: Sequence[bytes]) -> NDArray[np.uint64]:
    """Short forms of digests, uint64: two of 100,000 clips have one with a chance of 1e-9."""
    short = (hashlib.blake2b(digest, digest_size=DIGEST).digest() for digest in digests)
    return np.frombuffer(b"".join(short), "<u8").astype(np.uint64)


class Columns:
    """What is shown of clips, gathered a few at a time."""

    def __init__(self) -> None:
        self._names: list[str] = []
        self._folders: dict[str, int] = {}
        self._folder = array("I")
        self._uris: dict[int, str] = {}
        self._labels, self._scores = array("H"), array("B")
        self._given: dict[int, tuple[int, ...]] = {}
        self._best = array("H")
        self._durations = array("f")
        self._tags: dict[str, tuple[dict[str, int], array[int], array[int]]] = {}
        self._marks = bytearray()

    def __len__(self) -> int:
        return len(self._names)

    @property
    def marks(self) -> NDArray[np.uint64]:
        """See `marks_of`."""
        return np.frombuffer(bytes(self._marks), "<u8").astype(np.uint64)

    def add(self, clips: Sequence[StoredClip]) -> None:
        """Gather some more."""
        for row, clip in enumerate(clips, len(self)):
            self._add_name(row, clip.uri)
            self._add_labels(row, clip)
            self._durations.append(clip.record.duration)
            for key, value in clip.record.tags.items():
                values, rows, of = self._tags.setdefault(key, ({}, array("I"), array("I")))
                rows.append(row)
                of.append(values.setdefault(tag_text(value), len(values)))
        self._marks += marks_of([clip.record.digest for clip in clips]).astype("<u8").tobytes()

    def _add_name(self, row: int, uri: str) -> None:
        """The name and folder; the uri where these two do not give it."""
        inside, name = folder(uri), basename(uri)
        self._names.append(name)
        self._folder.append(self._folders.setdefault(inside, len(self._folders)))
        if os.path.join(inside, name) != uri:
            self._uris[row] = uri

    def _add_labels(self, row: int, clip: StoredClip) -> None:
        predicted = clip.record.labels[:_LABELS]
        percents = np.nan_to_num(predicted["score"].astype(np.float64) * 100)
        missing = _LABELS - len(predicted)
        self._labels.extend([*predicted["class_index"].tolist(), *[NO_LABEL] * missing])
        scores = np.clip(np.rint(percents), 0, 100).astype(int).tolist()
        self._scores.extend([*scores, *[0] * missing])
        self._best.append(best_label(clip))
        if clip.record.human_labels:
            self._given[row] = tuple(clip.record.human_labels)

    def data(self, vocabulary: Vocabulary) -> dict[str, Any]:
        """All of it, as JSON; the names of clips first."""
        return {
            "names": self._names,
            "folders": list(self._folders),
            "folder": packed(self._folder, "<u4"),
            "uris": self._uris,
            **self._labelled(vocabulary),
            "durations": packed(self._durations, "<f4"),
            "tags": [
                {
                    "key": key,
                    "values": list(values),
                    "clips": packed(rows, "<u4"),
                    "of": packed(of, "<u4"),
                }
                for key, (values, rows, of) in sorted(self._tags.items())
            ],
        }

    def _labelled(self, vocabulary: Vocabulary) -> dict[str, Any]:
        predicted = np.array(self._labels, np.uint16)
        given = {index for row in self._given.values() for index in row}
        used = given.union(np.unique(predicted).tolist())
        classes = sorted(index for index in used if index < len(vocabulary))
        numbers = {index: number for number, index in enumerate(classes)}
        renamed = np.full(NO_LABEL + 1, NO_LABEL, np.uint16)
        renamed[classes] = np.arange(len(classes))
        names, of = categories(self._best, vocabulary)
        category = np.full(NO_LABEL + 1, _NO_CATEGORY, np.uint16)
        category[list(of)] = list(of.values())
        return {
            "classes": [vocabulary.names[index] for index in classes],
            "labels": packed(renamed[predicted], "<u2"),
            "scores": packed(self._scores, "u1"),
            "categories": names,
            "category": packed(category[np.array(self._best, np.uint16)], "<u2"),
            "given": {
                row: [numbers[index] for index in indices if index in numbers]
                for row, indices in self._given.items()
            },
        }
