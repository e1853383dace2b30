"""What a whole selection holds: how many clips have each label and tag, and a clip's events."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..clips import Clips
from ..correcting import left, said_of
from ..gathering import label_scores
from ..hearing import Heard
from ..labels.head import Head
from ..labels.kept import vocabulary_of
from ..labels.timeline import Event, Tracker, in_order
from ..labels.vocabulary import Vocabulary
from ..library import Library
from ..stores.base import Reading
from ..stores.records import NO_LABEL, ClipName, ClipRecord, StoredClip
from ..timelines import segment_scores

__all__ = ["blocks_of", "events_of", "labels_of", "tags_of"]

_BLOCK = 1024
# Values of a tag that are listed, and that are told apart at all.
_LISTED, _TOLD_APART = 50, 10_000


def blocks_of(clips: Clips) -> Iterator[list[StoredClip]]:
    """The clips of a selection, so many at a time."""
    store = clips._session.store
    found = store.clips(clips._filter_of(store))
    while block := list(islice(found, _BLOCK)):
        yield block


def labels_of(clips: Clips, least: float) -> dict[str, Any]:
    """Each class of the library, and how many clips have it with a score of at least `least`.

    A clip has a class that people gave it, and one that is above another that it has.
    """
    vocabulary = vocabulary_of(clips._session.store)
    counts = np.zeros(len(vocabulary), np.int64)
    total = 0
    for block in blocks_of(clips):
        counts += (label_scores(block, vocabulary) >= max(least, 1e-6)).sum(axis=0)
        total += len(block)
    rows = []
    for index, count in enumerate(counts.tolist()):
        label = vocabulary.label(index, 1.0)
        rows.append(
            {"name": label.name, "mid": label.mid, "path": list(label.path), "clips": count}
        )
    return {"labels": rows, "total": total}


def tags_of(clips: Clips) -> dict[str, Any]:
    """Each tag of the clips: how many have it, and its most frequent values."""
    values: dict[str, Counter[Any]] = {}
    have: Counter[str] = Counter()
    cut: set[str] = set()
    for block in blocks_of(clips):
        for clip in block:
            for name, value in clip.record.tags.items():
                have[name] += 1
                known = values.setdefault(name, Counter())
                key = type(value) is bool, value  # True is 1, but another value of a tag
                if key in known or len(known) < _TOLD_APART:
                    known[key] += 1
                else:
                    cut.add(name)
    return {
        "tags": [
            {
                "name": name,
                "clips": have[name],
                "values": [
                    {"value": value, "clips": count}
                    for (_, value), count in values[name].most_common(_LISTED)
                ],
                "more": max(0, len(values[name]) - _LISTED),
                "is_complete": name not in cut,
            }
            for name in sorted(have)
        ]
    }


def events_of(library: Library, name: ClipName) -> dict[str, Any]:
    """What is heard in a clip from when to when, from what the library keeps of it, as JSON.

    Without its file. Where no head reads the library's vectors, from the labels that were kept
    of its segments. What people said takes the place of what was predicted, and is told too.
    """
    session = library._session

    def read(reading: Reading) -> dict[str, Any]:
        clip = library._clip(reading, name)
        head = session.head(reading)
        vocabulary = vocabulary_of(reading) if head is None else head.vocabulary
        settings = session.store.settings
        tracker = Tracker(vocabulary, settings.hop, settings.segment_seconds)
        found: list[Event] = []
        for first in range(0, clip.count, _BLOCK):
            span = clip.id, first, min(first + _BLOCK, clip.count)
            found += tracker.push(_scores(head, vocabulary, *reading.rows([span])))
        found += tracker.finish(clip.record.duration)
        return _told(clip.record, found, vocabulary)

    return library._read(read)


def _told(record: ClipRecord, found: list[Event], vocabulary: Vocabulary) -> dict[str, Any]:
    said = said_of(record)
    given = [
        Event(each.onset, each.offset, vocabulary.label(each.class_index, 1.0))
        for each in said
        if each.is_heard and not each.is_whole
    ]
    events = in_order([*left(found, said, vocabulary), *given])
    by_people = set(given)
    return {
        "uri": record.uri,
        "duration": round(record.duration, 3),
        "events": [
            {**event.to_dict(), "by": "people" if event in by_people else "head"}
            for event in events
        ],
        "said": [
            {
                "label": vocabulary.label(each.class_index, 1.0).to_dict(),
                "onset": None if each.is_whole else each.onset,
                "offset": None if each.is_whole else each.offset,
                "heard": each.is_heard,
            }
            for each in said
        ],
        "warning": record.warning,
    }


def _scores(
    head: Head | None,
    vocabulary: Vocabulary,
    vectors: NDArray[np.float32],
    segments: NDArray[np.void],
) -> NDArray[np.float32]:
    """float32 [segments, classes]."""
    if head is not None:
        return segment_scores(head, Heard(vectors, segments["level"], vectors, 0.0, None))
    scores = np.zeros((len(vectors), len(vocabulary)), np.float32)
    kept = segments["labels"]
    rows, places = np.nonzero(kept["class_index"] != NO_LABEL)
    chosen = kept[rows, places]
    above = vocabulary.reached()[:, chosen["class_index"]].T
    labels, classes = np.nonzero(above)
    values = chosen["score"].astype(np.float32)[labels]
    np.maximum.at(scores, (rows[labels], classes), values)
    return scores
