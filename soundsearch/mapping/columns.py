"""What clips are coloured by: a label, a folder or a tag of each, in few colours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from soundsearch_ingest.urls import folder

from ..errors import ArgumentError
from ..labels.vocabulary import Vocabulary
from ..stores.records import NO_LABEL, StoredClip, TagValue

__all__ = ["COLOURS", "check_by", "coloured", "tag_text", "values_of"]

# For light and for dark grounds: nine that also those can tell apart who lack one kind of cones
# (in OKLab at least 0.09 apart, as they see them by Machado, Oliveira and Fernandes, A
# physiologically-based model for simulation of color vision deficiency, 2009), one for all kinds
# beyond these, and one for clips that are of none.
COLOURS = {
    "light": [
        *("#006d91", "#c90069", "#3ca694", "#ad7b3d", "#8a63fe", "#6f0000", "#5c5c01"),
        *("#e87ce0", "#1b2093", "#b4b7bc", "#d9dbdf"),
    ],
    "dark": [
        *("#7be6df", "#f3669a", "#549a44", "#e7a875", "#425aec", "#b32517", "#f1f47f"),
        *("#8e35a1", "#37a8ec", "#70747b", "#464a50"),
    ],
}
_OWN = len(COLOURS["light"]) - 2
_OTHER, _NONE = _OWN, _OWN + 1

_BY = re.compile(r"(?:label|folder|tag\[(?P<key>.+)\])", re.DOTALL)


def check_by(by: str) -> str | None:
    """The tag that clips are coloured by; None for a label or folder. Raises ArgumentError."""
    found = _BY.fullmatch(by) if isinstance(by, str) else None
    if found is None:
        raise ArgumentError(f"by: expected label, folder or a tag, as in tag[mic], got {by!r}")
    key = found["key"]
    if key is not None and key[0] in "'\"" and key[-1] == key[0] and len(key) > 2:
        key = key[1:-1]  # as in a filter
    return key


def tag_text(value: TagValue) -> str:
    """A tag's value as people read it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else f"{value:.15g}"


def values_of(clips: Sequence[StoredClip], vocabulary: Vocabulary, by: str) -> list[str | None]:
    """The label, folder or tag of each clip; None where it has none.

    The label is what people gave it, else the one that was predicted best.
    """
    key = check_by(by)
    if key is not None:
        return [
            tag_text(clip.record.tags[key]) if key in clip.record.tags else None for clip in clips
        ]
    if by == "folder":
        return [folder(clip.uri) or None for clip in clips]
    names = vocabulary.names
    return [None if (index := _label(clip)) is None else names[index] for clip in clips]


def _label(clip: StoredClip) -> int | None:
    if clip.record.human_labels:
        return clip.record.human_labels[0]
    best = int(clip.record.labels["class_index"][0]) if len(clip.record.labels) else NO_LABEL
    return None if best == NO_LABEL else best


def coloured(values: Sequence[str | None]) -> tuple[list[int], list[tuple[str, int, int]]]:
    """A colour for each value, and what colours mean: the most frequent have their own.

    Returns
    -------
    list of int
        Places in the lists of `COLOURS`.
    list of (str, int, int)
        Name, colour and count, for a legend.
    """
    counts = Counter(value for value in values if value is not None)
    own = sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))[:_OWN]
    colours = {name: colour for colour, (name, _) in enumerate(own)}
    found = [_NONE if value is None else colours.get(value, _OTHER) for value in values]
    legend = [(name, colour, count) for colour, (name, count) in enumerate(own)]
    for name, colour in (("other", _OTHER), ("none", _NONE)):
        if count := found.count(colour):
            legend.append((name, colour, count))
    return found, legend
