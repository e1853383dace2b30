"""What clips are coloured by: a category, label, folder or tag of each, in few colours."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from soundsearch_ingest.urls import folder

from ..errors import ArgumentError
from ..labels.vocabulary import Vocabulary
from ..stores.records import NO_LABEL, StoredClip, TagValue

__all__ = [
    "COLOURS",
    "DEFAULT_BY",
    "best_label",
    "categories",
    "check_by",
    "coloured",
    "tag_text",
    "values_of",
]

DEFAULT_BY = "category"

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

# Of the clips with a label, a smaller share than this needs no colour of its own.
_RARE = 0.01

_BY = re.compile(r"(?:category|label|folder|tag\[(?P<key>.+)\])", re.DOTALL)


def check_by(by: str) -> str | None:
    """The tag that clips are coloured by; None for what is no tag. Raises ArgumentError."""
    found = _BY.fullmatch(by) if isinstance(by, str) else None
    if found is None:
        raise ArgumentError(
            f"by: expected category, label, folder or a tag, as in tag[mic], got {by!r}"
        )
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
    """The category, label, folder or tag of each clip; None where it has none.

    The label is what people gave it, else the one that was predicted best; see `categories`.
    """
    key = check_by(by)
    if key is not None:
        return [
            tag_text(clip.record.tags[key]) if key in clip.record.tags else None for clip in clips
        ]
    if by == "folder":
        return [folder(clip.uri) or None for clip in clips]
    labels = [best_label(clip) for clip in clips]
    if by == "label":
        names = vocabulary.names
        return [None if label == NO_LABEL else names[label] for label in labels]
    names, of = categories(labels, vocabulary)
    return [None if (place := of.get(label)) is None else names[place] for label in labels]


def best_label(clip: StoredClip) -> int:
    """The class of a clip: what people gave it, else what was predicted best, else `NO_LABEL`."""
    if clip.record.human_labels:
        return clip.record.human_labels[0]
    return int(clip.record.labels["class_index"][0]) if len(clip.record.labels) else NO_LABEL


def categories(
    labels: Iterable[int], vocabulary: Vocabulary
) -> tuple[tuple[str, ...], dict[int, int]]:
    """Upper nodes of the ontology that part these labels as evenly as few colours can.

    First those at the top, then, while there are colours for what is not rare, the node that makes
    the groups the most even, by their entropy; what it does not hold stays with the node above it,
    as *other*.

    Parameters
    ----------
    labels : iterable of int
        Classes; those that are none, such as `NO_LABEL`, are passed over.
    vocabulary : Vocabulary

    Returns
    -------
    tuple of str
        Their names.
    dict of int to int
        For each class, which of these it is in.
    """
    counts = Counter(label for label in labels if label < len(vocabulary))
    paths = {label: vocabulary.label(label, 1.0).path for label in sorted(counts)}
    tops = Counter[str]()
    for label, path in paths.items():
        tops[path[0]] += counts[label]
    rare = {name for name, count in tops.items() if count < _RARE * counts.total()}
    chosen, most = set(tops), _OWN + len(rare)
    # Of nodes that hold the same clips, the lowest says the most.
    places = {(-place, node) for path in paths.values() for place, node in enumerate(path)}
    nodes = [node for _, node in sorted(places)]

    def parted(chosen: Collection[str]) -> dict[int, str]:
        """The lowest of the chosen nodes above each label."""
        return {
            label: next(node for node in reversed(path) if node in chosen)
            for label, path in paths.items()
        }

    def evenness(chosen: Collection[str]) -> float:
        sizes = Counter[str]()
        for label, node in parted(chosen).items():
            sizes[node] += counts[label]
        shares = [size / sizes.total() for size in sizes.values()]
        return -sum(share * math.log(share) for share in shares)

    now = evenness(chosen)
    while len(chosen) < most:
        tried = [
            (round(evenness({*chosen, node}), 9), node) for node in nodes if node not in chosen
        ]
        best, node = max(tried, key=lambda each: each[0], default=(now, ""))
        if best <= now + 1e-6:
            break
        chosen.add(node)
        now = best
    found = parted(chosen)
    names = sorted({*found.values()})
    numbers = {name: number for number, name in enumerate(names)}
    is_split = {node for path in paths.values() for node in _above(path, chosen)}
    shown = tuple(f"{name}, other" if name in is_split else name for name in names)
    return shown, {label: numbers[name] for label, name in found.items()}


def _above(path: Sequence[str], chosen: Collection[str]) -> list[str]:
    """The chosen nodes of a path that have another one below them on it."""
    return [node for node in path if node in chosen][:-1]


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
