"""How many clips of a selection there are of each kind that a filter can tell apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.urls import folder, split

from ..clips import Clips
from ..gathering import label_scores
from ..labels.kept import vocabulary_of
from ..labels.ontology import ontology
from ..labels.vocabulary import Vocabulary
from .surveying import blocks_of

__all__ = ["facets_of"]

# Seconds between which durations are counted.
_EDGES = (0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
# Folders that are listed.
_FOLDERS = 500


def facets_of(clips: Clips, least: float) -> dict[str, Any]:
    """The labels, folders, durations and months of clips, with the number of clips of each.

    Parameters
    ----------
    clips : Clips
    least : float
        The score from which a label counts.
    """
    vocabulary = vocabulary_of(clips._session.store)
    nodes = _Nodes(vocabulary)
    durations = np.zeros(len(_EDGES), np.int64)
    folders: Counter[str] = Counter()
    months: Counter[str] = Counter()
    total = 0
    for block in blocks_of(clips):
        total += len(block)
        nodes.count(label_scores(block, vocabulary) >= max(least, 1e-6))
        each = np.searchsorted(_EDGES, [clip.record.duration for clip in block], side="right") - 1
        durations += np.bincount(np.maximum(each, 0), minlength=len(_EDGES))
        folders.update(folder(clip.uri) for clip in block)
        months.update(map(_month, (clip.record.file.mtime_ns for clip in block)))
    undated = months.pop("", 0)
    return {
        "total": total,
        "labels": nodes.rows(),
        "folders": _tree(folders, total),
        "durations": [
            {"least": least, "below": below, "clips": count}
            for least, below, count in zip(
                _EDGES, (*_EDGES[1:], None), durations.tolist(), strict=True
            )
        ],
        "months": [{"month": month, "clips": months[month]} for month in sorted(months)],
        "undated": undated,
    }


class _Nodes:
    """Counts clips by all nodes of the ontology: by those that are no classes, too."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._counts = np.zeros(len(vocabulary), np.int64)
        known = ontology()
        self._others = [node for node in known.nodes.values() if node.class_index is None]
        self._below = np.zeros((len(vocabulary), len(self._others)), np.float32)
        for column, node in enumerate(self._others):
            for mid in known.descendants[node.mid]:
                if (index := known.nodes[mid].class_index) is not None:
                    self._below[index, column] = 1
        self._other_counts = np.zeros(len(self._others), np.int64)

    def count(self, have: NDArray[np.bool_]) -> None:
        """Count some clips, bool [clips, classes]."""
        self._counts += have.sum(axis=0)
        self._other_counts += (have.astype(np.float32) @ self._below > 0).sum(axis=0)

    def rows(self) -> list[dict[str, Any]]:
        """The nodes that clips have, each after the one above it."""
        found = [
            (self._vocabulary.label(index, 1.0).path, count)
            for index, count in enumerate(self._counts.tolist())
        ]
        found += [
            (ontology().path(node.mid), count)
            for node, count in zip(self._others, self._other_counts.tolist(), strict=True)
        ]
        return [
            {"name": path[-1], "path": list(path), "clips": count}
            for path, count in sorted(found)
            if count
        ]


def _month(nanoseconds: int) -> str:
    if not nanoseconds:
        return ""
    return datetime.fromtimestamp(nanoseconds // 10**9, timezone.utc).strftime("%Y-%m")


def _tree(folders: Counter[str], total: int) -> list[dict[str, Any]]:
    """The folders with the most clips in them and below, each with a pattern for ``uri like``.

    Without those that have all clips, or only one folder and nothing else.
    """
    counts: Counter[str] = Counter()
    children: dict[str, str] = {}
    for name, count in folders.items():
        below = ""
        for above in _upwards(name):
            counts[above] += count
            if below:
                children[above] = below  # the last one; an only child has as many
            below = above
    kept = [
        (name, count)
        for name, count in counts.items()
        if count < total and counts.get(children.get(name, ""), 0) < count and _is_text(name)
    ]
    kept.sort(key=lambda pair: (-pair[1], pair[0]))
    return [
        {
            "folder": name.removeprefix("::"),
            "pattern": f"%{name}" if name.startswith("::") else f"{name}/%",
            "clips": count,
        }
        for name, count in sorted(kept[:_FOLDERS])
    ]


def _upwards(name: str) -> Iterator[str]:
    """A folder and those above it; ``::`` and an archive's path stand for all that is in it."""
    if (parts := split(name)) is not None:
        yield f"::{parts[2]}"
        return
    top = name.find("://") + 3 if "://" in name else 1
    while len(name) > top:
        yield name
        name = name.rpartition("/")[0]


def _is_text(name: str) -> bool:
    """Whether a filter can name it: bytes that are no text cannot be sent in one."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)
