"""What people say of clips: which classes are heard in them, or are not, and from when to when."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import islice
from typing import Any

from .errors import ArgumentError
from .labels.kept import vocabulary_of
from .labels.ontology import CLASSES, ontology
from .labels.timeline import Event
from .labels.vocabulary import Vocabulary
from .naming import by_name, listed
from .stores.base import SaidOf, Store
from .stores.records import NO_LABEL, ClipName, ClipRecord, HumanEvent

__all__ = ["Correction", "correct_all", "corrected", "left", "said_in", "said_of", "unsayable"]

# Of one clip: stores keep what is said of a clip in one field.
_MOST = 1000
# How many corrections are stored at a time, with one sync of the disk.
_TOGETHER = 1024


@dataclass(frozen=True, slots=True)
class Correction:
    """What someone says of a label in a clip; see `Library.correct`.

    Parameters
    ----------
    clip : uri, id or Key
    label : str
    at : (float, float or None), optional
        From when to when, seconds. By default, of the clip as a whole.
    heard : bool or None
        None takes back what was said of this label and time.
    """

    clip: ClipName
    label: str
    at: tuple[float, float | None] | None = None
    heard: bool | None = True


def correct_all(store: Store, corrections: Iterable[Correction]) -> dict[int, str]:
    """Store corrections, in a store that is locked for writing; see `Library.correct_all`."""
    refused: dict[int, str] = {}
    vocabulary = vocabulary_of(store)
    waiting = enumerate(corrections)
    while batch := list(islice(waiting, _TOGETHER)):
        for _, each in batch:
            if not isinstance(each, Correction):
                raise ArgumentError(f"expected a Correction, got {each!r:.100}")
        named = by_name(store, listed([each.clip for _, each in batch])[0])
        records: dict[int, ClipRecord] = {}
        for number, each in batch:
            clip = named.get(each.clip)
            if clip is None:
                refused[number] = f"no clip of the library is {each.clip}"
                continue
            # Several of these may be of one clip.
            record = records.get(clip.id, clip.record)
            try:
                records[clip.id] = corrected(record, vocabulary, each.label, each.at, each.heard)
            except ArgumentError as error:
                refused[number] = str(error)
        if records:
            store.amend(records)
    return refused


def said_of(record: ClipRecord) -> tuple[HumanEvent, ...]:
    """All that people said of a clip, labels without a time among it, by class."""
    heard = {event.class_index for event in record.human_events if event.is_heard}
    labels = (index for index in record.human_labels if index not in heard)
    whole = (HumanEvent(index, 0.0, 0.0, True) for index in labels)
    return tuple(sorted((*whole, *record.human_events), key=lambda event: event.packed()))


def corrected(
    record: ClipRecord,
    vocabulary: Vocabulary,
    label: str,
    at: tuple[float, float | None] | None,
    heard: bool | None,
) -> ClipRecord:
    """A clip's record with what someone says of a label; see `Library.correct`.

    Raises
    ------
    ArgumentError
        There is no such label or stretch, or too much was said.
    """
    if heard not in (True, False, None):
        raise ArgumentError(f"heard: expected True, False or None, got {heard!r}")
    index = _index(vocabulary, label)
    onset, offset = (0.0, 0.0) if at is None else _stretch(record, at)
    place = index, onset, offset
    said = [
        event
        for event in said_of(record)
        if (event.class_index, event.onset, event.offset) != place
    ]
    if heard is not None:
        said.append(HumanEvent(*place, bool(heard)))
    if len(said) > _MOST:
        raise ArgumentError(
            f"{record.uri}: people may say {_MOST} things of a clip; take some back first"
        )
    now = dict.fromkeys(event.class_index for event in said if event.is_heard)
    kept = [each for each in record.human_labels if each in now]
    added = [each for each in now if each not in kept]
    timed = {event.class_index for event in said if event.is_heard and not event.is_whole}
    # What is heard sometime needs no event, while none says when.
    events = [
        event
        for event in said
        if not (event.is_whole and event.is_heard) or event.class_index in timed
    ]
    events.sort(key=lambda event: (event.onset, event.packed()))
    return replace(record, human_labels=(*kept, *added), human_events=tuple(events))


def said_in(new: Vocabulary, old: Vocabulary) -> SaidOf:
    """What makes records with what people said of the classes of an old vocabulary in a new one.

    What they said of classes that it lacks is left out.
    """
    numbers = {index: index for index in range(CLASSES)}
    theirs = {name.lower(): index for index, name in enumerate(new.own, CLASSES)}
    for index, name in enumerate(old.own, CLASSES):
        if name.lower() in theirs:
            numbers[index] = theirs[name.lower()]
    return partial(_renumbered, numbers)


def _renumbered(numbers: Mapping[int, int], record: ClipRecord) -> ClipRecord:
    labels = (numbers[index] for index in record.human_labels if index in numbers)
    events = (
        replace(event, class_index=numbers[event.class_index])
        for event in record.human_events
        if event.class_index in numbers
    )
    return replace(record, human_labels=tuple(labels), human_events=tuple(events))


def unsayable(store: Store, old: Vocabulary | None, new: Vocabulary) -> dict[str, int]:
    """Own classes of a store's vocabulary that another lacks: of how many clips people said them.

    None of which nobody said anything; the most frequent first.
    """
    if old is None:  # nobody knows what they are called
        lacked = dict.fromkeys(range(CLASSES + len(new.own), NO_LABEL), "of a damaged head")
    else:
        theirs = {name.lower() for name in new.own}
        named = enumerate(old.own, CLASSES)
        lacked = {index: name for index, name in named if name.lower() not in theirs}
    if not lacked:
        return {}
    counts = Counter(
        lacked[index]
        for clip in store.clips()
        for index in {event.class_index for event in said_of(clip.record)}
        if index in lacked
    )
    return dict(counts.most_common())


def left(
    events: Iterable[Event], said: Iterable[HumanEvent], vocabulary: Vocabulary
) -> list[Event]:
    """Those of predicted events of which people said nothing.

    Someone who says when a class is heard, or is not, replaces what was predicted of it in that
    time.
    """
    stretches: dict[str, list[tuple[float, float]]] = {}
    for event in said:
        if event.is_whole and event.is_heard:
            continue  # which does not say when
        end = math.inf if event.is_whole else event.offset
        name = vocabulary.label(event.class_index, 1.0).name
        stretches.setdefault(name, []).append((event.onset, end))
    return [
        event
        for event in events
        if not any(
            event.onset < end and event.offset > start
            for start, end in stretches.get(event.label.name, ())
        )
    ]


def _index(vocabulary: Vocabulary, label: str) -> int:
    try:
        return vocabulary.index(label)
    except ValueError:
        near = _near(label, vocabulary.own) if isinstance(label, str) else ""
        raise ArgumentError(
            f"expected the name or id of one of the library's {len(vocabulary)} classes, got "
            f"{label!r:.100}{near}"
        ) from None


@lru_cache(64)
def _near(label: str, own: tuple[str, ...]) -> str:
    """What to say of names that are near: the same for all clips that a wrong one is said of."""
    return ontology().similar(label, own)


def _stretch(record: ClipRecord, at: Any) -> tuple[float, float]:
    try:
        onset, end = at
        onset, end = float(onset), None if end is None else float(end)
    except (TypeError, ValueError):
        raise ArgumentError(
            f"at: expected (start, end) in seconds, or end None for the rest, got {at!r:.100}"
        ) from None
    offset = record.duration if end is None else min(end, record.duration)
    onset, offset = round(onset, 3), round(offset, 3)
    if not 0 <= onset < offset:
        raise ArgumentError(
            f"{record.uri}: expected a stretch within its {record.duration:.2f} s that ends after "
            f"it begins, got {onset:g}-{'' if end is None else format(end, 'g')}"
        )
    return onset, offset
