"""What a head is trained with: clips of a library, and what people say they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT

from ..clips import Clips
from ..errors import ArgumentError
from ..gathering import portions
from ..hints import command
from ..labels.ontology import ontology
from ..labels.vocabulary import class_of
from ..stores.base import Reading
from ..stores.records import StoredClip
from ..vectors import loudness_weights
from .bags import Bags, joined

__all__ = [
    "LabelsOf",
    "Material",
    "canonical",
    "human_labels",
    "material",
    "numbered",
    "read_bags",
    "similar",
    "sounding_bags",
]

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# The class of each clip, or its classes.
LabelsOf = Mapping[str, str] | Mapping[str, Iterable[str]] | Mapping[str, str | Iterable[str]]

_NAMED = 3


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Material:
    """Labelled clips.

    Attributes
    ----------
    bags : Bags
        Weights are 1.
    uris : tuple of str
        Of the clips.
    classes : tuple of str
        AudioSet's in the order of their indices, then the others by name.
    one_label : bool
        Whether each clip has one label.
    warnings : tuple of str
        Of labels and clips that are not used.
    """

    bags: Bags
    uris: tuple[str, ...]
    classes: tuple[str, ...]
    one_label: bool
    warnings: tuple[str, ...]

    def __repr__(self) -> str:
        return f"<Material, {len(self.uris)} clips of {len(self.classes)} classes>"


def human_labels(clips: Clips) -> dict[str, tuple[str, ...]]:
    """The labels that people gave the clips of a library, by their uris; none is left out."""
    given = ((clip.uri, clip.human_labels) for clip in clips)
    return {uri: tuple(label.name for label in labels) for uri, labels in given if labels}


def material(
    clips: Clips,
    labels: LabelsOf,
    *,
    ontology_only: bool = False,
    min_clips: int = 1,
    whole: bool = False,
) -> Material:
    """Read what a head is trained with.

    Parameters
    ----------
    clips : Clips
        A library, or a selection of one.
    labels : mapping of uri to class, or to classes
        If the classes of any clip come in a collection, a clip may have several, or none.
    ontology_only : bool
        Whether all must be classes of AudioSet.
    min_clips : int
        Classes with fewer clips are left out.
    whole : bool
        Keep only the mean embedding of each clip, in place of its segments.

    Returns
    -------
    Material
        Where each clip has one label, embeddings are scaled to length 1. Where it may have several,
        a clip counts for the AudioSet classes above its labels too.
        Near-silent segments are left out, and clips that have no others.

    Raises
    ------
    ArgumentError
        A label cannot be one, no labelled clip is there, or there are fewer than two classes.
    """
    one_label, names_of = _names_of(labels)
    named = canonical({name for names in names_of.values() for name in names}, ontology_only)
    warnings = []
    store = clips._session.store
    there = [clip for clip in store.clips(clips._filter_of(store)) if clip.uri in names_of]
    if len(there) < len(names_of):
        known = {clip.uri for clip in there}
        missing = [uri for uri in names_of if uri not in known]
        among = f"of {len(names_of):,} labelled clips" if there else "labelled clips"
        text = f"{len(missing):,} {among} not in the library, such as {missing[0]}"
        if not there:
            raise ArgumentError(
                f"{text}; expected labels by the uris of clips, as in: "
                f"{command('clips --json', clips._session.address)}"
            )
        warnings.append(text)
    read = [
        clips._read(partial(read_bags, clips=part, unit=one_label, whole=whole))
        for part in portions(there)
    ]
    sounding = np.concatenate([kept for _, kept in read])
    if dropped := int((~sounding).sum()):
        example = there[int(np.flatnonzero(~sounding)[0])].uri
        warnings.append(f"{dropped:,} near-silent or damaged clips left out, such as {example}")
    kept = [clip.uri for clip, sounds in zip(there, sounding, strict=True) if sounds]
    labels_of = [{named[name] for name in names_of[uri]} for uri in kept]
    classes = _ordered({name for names in labels_of for name in names})
    targets = _targets(labels_of, classes, one_label=one_label)
    bags = joined([part for part, _ in read]) if kept else None
    found = targets.sum(0)
    rare = [name for name, count in zip(classes, found, strict=True) if count < min_clips]
    if rare:
        warnings.append(
            f"{len(rare):,} classes of fewer than {min_clips} clips left out: {_listed(rare)}"
        )
    columns = np.flatnonzero(found >= min_clips)
    if bags is None or len(columns) < 2:
        only = ", ".join(classes[column] for column in columns) or "none"
        raise ArgumentError(
            f"labels: expected at least two classes, to tell one from another, got {only}; label "
            "clips that are something else as well"
        )
    targets = targets[:, columns]
    rows = np.flatnonzero(targets.any(1)) if one_label else np.arange(len(targets))
    bags = replace(bags, targets=targets, weights=np.ones((len(targets), 1))).take(rows)
    return Material(
        bags,
        tuple(kept[row] for row in rows),
        tuple(classes[column] for column in columns),
        one_label,
        tuple(warnings),
    )


def _names_of(labels: LabelsOf) -> tuple[bool, dict[str, tuple[str, ...]]]:
    """Whether each clip has one label, and the labels of each, checked."""
    names_of = {}
    one_label = True
    for uri, value in labels.items():
        several = isinstance(value, Iterable) and not isinstance(value, str)
        one_label &= not several
        names: Iterable[Any] = value if several else (value,)
        names_of[uri] = tuple(_checked(uri, name) for name in names)
    if not names_of:
        raise ArgumentError("labels: expected the class of at least some clips, got none")
    return one_label, names_of


def _checked(uri: str, name: Any) -> str:
    if not isinstance(name, str) or name.strip().lower() in ("", "nan"):
        got = "nothing" if name is None or name == "" else repr(name)
        raise ArgumentError(f"labels: expected the name of a class for {uri}, got {got}")
    return name.strip()


def canonical(names: Collection[str], ontology_only: bool) -> dict[str, str]:
    """The class that each name stands for: AudioSet's own name where it is one of its classes.

    Raises
    ------
    ArgumentError
        A name cannot be that of a class, or must be one of AudioSet's and is not.
    """
    found: dict[str, str] = {}
    own: dict[str, str] = {}
    unknown = []
    for name in sorted(names):
        try:
            index = class_of(name)
            if index is None:  # folders are often called so
                index = class_of(name.replace("_", " ").strip())
        except ValueError as error:
            raise ArgumentError(f"labels: {error}") from error
        if index is not None:
            found[name] = ontology().classes[index].name
        else:
            unknown.append(name)
            found[name] = own.setdefault(name.lower(), name)
    if unknown and ontology_only:
        named = "; ".join(f"{name!r}{similar(name)}" for name in unknown[:_NAMED])
        more = f" ({len(unknown)} are unknown)" if len(unknown) > _NAMED else ""
        raise ArgumentError(
            f"labels: expected the names or ids of AudioSet's classes, got {named}{more}; correct "
            "them, or train them as classes of your own without this check (--ontology)"
        )
    return found


def similar(name: str) -> str:
    """What to say of the classes that a name may stand for: those that hold it, those alike."""
    phrase = name.lower().replace("_", " ")
    names = {node.name.lower(): node.name for node in ontology().classes}
    holding = [each for lower, each in names.items() if phrase in lower]
    alike = [names[lower] for lower in get_close_matches(phrase, names)]
    near = list(dict.fromkeys([*holding, *alike]))[:_NAMED]
    return f" (similar: {', '.join(near)})" if near else ""


def _ordered(names: Collection[str]) -> list[str]:
    def place(name: str) -> tuple[bool, int, str]:
        index = class_of(name)
        return index is None, index or 0, name

    return sorted(names, key=place)


def _targets(
    labels_of: Sequence[Collection[str]], classes: Sequence[str], *, one_label: bool
) -> Floats:
    """Which classes each clip has, float64 [clips, classes]."""
    columns = {name: column for column, name in enumerate(classes)}
    targets = np.zeros((len(labels_of), len(classes)))
    for row, names in enumerate(labels_of):
        targets[row, [columns[name] for name in names]] = 1
    if one_label:
        return targets
    indices = [class_of(name) for name in classes]
    known = [column for column, index in enumerate(indices) if index is not None]
    above = ontology().above[np.ix_(*2 * ([index for index in indices if index is not None],))]
    targets[:, known] = np.maximum(targets[:, known], targets[:, known] @ above.T > 0)
    return targets


def read_bags(
    reading: Reading, clips: Sequence[StoredClip], *, unit: bool, whole: bool
) -> tuple[Bags, NDArray[np.bool_]]:
    """The segments of clips that sound, and which clips have any.

    Parameters
    ----------
    reading : Reading
    clips : sequence of StoredClip
    unit : bool
        Scale the embeddings to length 1.
    whole : bool
        Keep only the mean embedding of each clip, in place of its segments.

    Returns
    -------
    bags : Bags
        Of the clips that have any; nothing is known of them.
    bool [clips]
    """
    vectors, segments = reading.rows([(clip.id, 0, clip.count) for clip in clips])
    counts = [clip.count for clip in clips]
    return sounding_bags(vectors, segments["level"], counts, unit=unit, whole=whole)


def sounding_bags(
    vectors: NDArray[np.float32],
    levels: NDArray[np.float32],
    counts: Sequence[int],
    *,
    unit: bool,
    whole: bool,
) -> tuple[Bags, NDArray[np.bool_]]:
    """`read_bags` of float32 [n, dimension] and [n], so many of which are each clip's."""
    owners = np.repeat(np.arange(len(counts)), counts)
    with np.errstate(invalid="ignore"):  # levels that a disk damaged
        sounds = (levels >= SILENT) & np.isfinite(vectors).all(1)
    owners, vectors = owners[sounds], vectors[sounds]
    there, starts = np.unique(owners, return_index=True)
    shares = loudness_weights(levels[sounds]).astype(np.float64)
    lengths = np.diff(starts, append=len(owners))
    if len(shares):
        shares /= np.repeat(np.add.reduceat(shares, starts), lengths)
    nothing = np.zeros((len(starts), 1))
    bags = Bags(vectors.astype(np.float64), shares, starts, nothing, nothing)
    bags = bags.unit() if unit else bags
    kept = np.isin(np.arange(len(counts)), there)
    return bags.collapsed() if whole and len(bags) else bags, kept


def numbered(uris: Sequence[str], names: Mapping[str, Any] | None) -> tuple[Ints, list[str]]:
    """The group of each clip, numbered from 0, and the groups' names.

    A clip without one is a group of its own.
    """
    found: dict[tuple[str, str], int] = {}
    numbers = np.empty(len(uris), np.int64)
    for row, uri in enumerate(uris):
        given = None if names is None else names.get(uri)
        key = ("own", uri) if given is None else ("given", _shown(given))
        numbers[row] = found.setdefault(key, len(found))
    return numbers, [name for _, name in found]


def _shown(value: Any) -> str:
    """A value as it was written: in tags, 3 is 3.0."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _listed(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
