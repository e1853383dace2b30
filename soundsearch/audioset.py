"""Statistics of AudioSet's segment lists and feature files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from soundsearch_ingest.audioset import read_list, read_records

from .labels.ontology import CLASSES, ontology

__all__ = ["AudioSetStats", "ClassCount", "class_names", "stats"]


def class_names() -> tuple[str, ...]:
    """The names of AudioSet's 527 classes, by their index."""
    return tuple(node.name for node in ontology().classes)


@dataclass(frozen=True, slots=True)
class ClassCount:
    """A class and the number of clips that have it as a label.

    Attributes
    ----------
    mid, name : str
        Ontology id and display name. For a label outside the ontology, both are the id or index
        that the file gives.
    clips : int
    """

    mid: str
    name: str
    clips: int


@dataclass(frozen=True, slots=True)
class AudioSetStats:
    """Counts over a set of files.

    Attributes
    ----------
    clips : int
        A clip counts each time it is listed.
    mean_labels : float
        Distinct labels per clip; 0 if there are no clips.
    classes : tuple of ClassCount
        The classes that occur, most frequent first, ties by id.
    """

    clips: int
    mean_labels: float
    classes: tuple[ClassCount, ...]

    def to_dict(self) -> dict[str, Any]:
        return {
            "clips": self.clips,
            "mean_labels": round(self.mean_labels, 4),
            "classes": [
                {"mid": row.mid, "name": row.name, "clips": row.clips} for row in self.classes
            ],
        }


def stats(paths: Iterable[str | os.PathLike[str]]) -> AudioSetStats:
    """Count the clips and labels of AudioSet files, in total.

    Parameters
    ----------
    paths : iterable of path
        Segment lists (names end in ``.csv``) and TFRecord files of features.

    Returns
    -------
    AudioSetStats

    Raises
    ------
    AudioError
        A file cannot be read or is damaged.
    """
    clips = 0
    counts: Counter[str] = Counter()
    for path in paths:
        for labels in _labels(os.fspath(path)):
            clips += 1
            counts.update(set(labels))
    nodes = ontology().nodes
    classes = tuple(
        ClassCount(mid, nodes[mid].name if mid in nodes else mid, count)
        for mid, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )
    return AudioSetStats(clips, counts.total() / max(clips, 1), classes)


def _labels(path: str) -> Iterator[Iterable[str]]:
    """Yield the label ids of each clip."""
    if path.lower().endswith(".csv"):
        for clip in read_list(path):
            yield clip.mids
    else:
        classes = ontology().classes
        for record in read_records(path):
            yield (classes[index].mid if index < CLASSES else str(index) for index in record.labels)
