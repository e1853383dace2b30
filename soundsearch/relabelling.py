"""Relabelling of segment lists, of feature files, and of the labels that people gave clips."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from soundsearch_ingest.audioset import (
    ListedClip,
    Record,
    read_list,
    read_records,
    write_list,
    write_records,
)
from soundsearch_ingest.files import expanded

from .errors import ArgumentError, AudioError
from .exporting import replacing
from .labels.counting import LabelCounts
from .labels.ontology import CLASSES, ontology
from .labels.relabel import Relabelling, node_named
from .results import Clip

__all__ = ["CLASSES_IN_USE", "relabel_clips", "relabel_files"]

# Which classes are kept: AudioSet's 527, those that occur in the input, or all nodes.
CLASSES_IN_USE = ("audioset", "list", "ontology")

PathLike = str | os.PathLike[str]
Pair = tuple[str, str]


@dataclass(slots=True)
class _Row:
    """The labels of a clip, as ids, and where they were read."""

    where: str
    labels: Sequence[str]
    masked: Sequence[str] = ()
    clip: ListedClip | Record | None = None
    own: Sequence[str] = ()


def relabel_files(
    sources: Sequence[PathLike],
    policy: str,
    *,
    parents: str = "all",
    classes: str = CLASSES_IN_USE[0],
    pairs: Iterable[Pair] = (),
    out: PathLike | None = None,
    on_clip: Callable[[str], None] = lambda _where: None,
) -> LabelCounts:
    """Relabel segment lists (names end in ``.csv``) and TFRecord files of features.

    Parameters
    ----------
    sources : sequence of path
    policy, parents : str
        See `soundsearch.labels.relabel.Relabelling`.
    classes : str
        What is kept of the labels: one of `CLASSES_IN_USE`.
    pairs : iterable of (str, str)
        Pairs of labels to count, by id or name, besides each label and its parents.
    out : path, optional
        For one source a file, for several a folder, in which each keeps its name. They have the
        form of the source; what is masked is in a fifth column, ``masked_labels``, or in a feature
        of this name. What is there is replaced, file by file, once each is complete. Without,
        labels are only counted.
    on_clip : callable
        Called with the row of each clip once that is relabelled.

    Returns
    -------
    LabelCounts
        Over all sources.

    Raises
    ------
    ArgumentError
        A choice or a label of a pair is not known, records cannot hold the classes, or `out` is
        one of the sources.
    AudioError
        A source cannot be read or holds no clips, has a label outside of the ontology, a clip none
        of whose labels is in use, or one whose mask hides a label. It names the file and the row.
    """
    asked = _asked(pairs)
    paths = [os.fspath(source) for source in sources]
    lists = [path for path in paths if path.lower().endswith(".csv")]
    if classes == "ontology" and out is not None and len(lists) < len(paths):
        raise ArgumentError(
            f"classes: TFRecord files hold AudioSet's {CLASSES} classes only; expected audioset or "
            f"list, got {classes!r}"
        )
    targets = [None] * len(paths) if out is None else _targets(paths, expanded(out))
    everything = (row.labels for path in paths for row in _rows(path))
    relabelling = Relabelling(policy, parents, _in_use(classes, everything))
    counts = LabelCounts(relabelling, asked)
    for path, target in zip(paths, targets, strict=True):
        if target is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
        rows = _some(path, "", _relabelled(path, _rows(path), relabelling, counts, on_clip))
        if target is None:
            _read_all(rows)
        elif path in lists:
            _write_list(target, path, rows, relabelling)
        else:
            _write_records(target, rows)
    return counts


def relabel_clips(
    clips: Iterable[Clip],
    policy: str,
    *,
    parents: str = "all",
    classes: str = CLASSES_IN_USE[0],
    pairs: Iterable[Pair] = (),
    out: PathLike | None = None,
    address: str = "the selection",
    on_clip: Callable[[str], None] = lambda _uri: None,
) -> LabelCounts:
    """Relabel what people gave clips; the library keeps their labels as they are.

    Parameters
    ----------
    clips : iterable of Clip
        Those without human labels are left out. It is gone through once or, for the classes
        ``list``, twice: a library, a selection or a list.
    policy, parents, classes, pairs
        Of `relabel_files`. Classes outside of the ontology stay, by their names, and are not
        counted.
    out : path, optional
        A CSV file with the columns ``uri``, ``labels`` and ``masked_labels``: ids, separated by
        commas. Without, labels are only counted.
    address : str
        What messages call the clips.
    on_clip : callable
        Called with the uri of each clip once it is relabelled.

    Returns
    -------
    LabelCounts

    Raises
    ------
    ArgumentError
        A choice or a label of a pair is not known.
    AudioError
        No clip has human labels, or none of those of a clip is in use.
    SoundsearchError
        `out` cannot be written.
    """
    asked = _asked(pairs)
    everything = (row.labels for row in _given(clips))
    relabelling = Relabelling(policy, parents, _in_use(classes, everything))
    counts = LabelCounts(relabelling, asked)
    found = _relabelled(address, _given(clips), relabelling, counts, on_clip)
    rows = _some(address, "with human labels", found)
    if out is None:
        _read_all(rows)
        return counts
    path = expanded(out)
    with (
        replacing(path) as temporary,
        # Bytes of a file name that are no text are escaped.
        open(temporary, "w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["uri", "labels", "masked_labels"])
        for row in rows:
            table.writerow([row.where, ",".join([*row.labels, *row.own]), ",".join(row.masked)])
    return counts


def _asked(pairs: Iterable[Pair]) -> list[Pair]:
    return [(node_named(label), node_named(other)) for label, other in pairs]


def _targets(paths: Sequence[str], out: Path) -> list[Path]:
    """Where each file is written."""
    inside = len(paths) > 1 or out.is_dir()
    if inside and out.exists() and not out.is_dir():
        raise ArgumentError(f"{out}: expected a folder for several files, got a file")
    targets = [out / Path(path).name if inside else out for path in paths]
    sources = {expanded(path).resolve() for path in paths}
    for number, target in enumerate(targets):
        if target in targets[:number]:
            raise ArgumentError(f"{target}: two files have this name; relabel them one by one")
        if target.resolve() in sources:
            raise ArgumentError(
                f"{target}: is one of the files to read; give another name to write"
            )
    return targets


def _in_use(choice: str, labels: Iterable[Iterable[str]]) -> frozenset[str]:
    """The ids of the classes in use; the labels are read only if these are those that occur."""
    nodes = ontology().nodes
    match choice:
        case "audioset":
            return frozenset(node.mid for node in ontology().classes)
        case "list":
            return frozenset(mid for each in labels for mid in each)
        case "ontology":
            return frozenset(nodes)
    raise ArgumentError(f"classes: expected one of {', '.join(CLASSES_IN_USE)}, got {choice!r}")


def _write_list(out: Path, path: str, rows: Iterable[_Row], relabelling: Relabelling) -> None:
    masks = relabelling.policy == "pe-cml" or any(row.masked for row in _rows(path))
    title = f"Segments csv relabelled: policy {relabelling.policy}, parents {relabelling.parents}"
    clips = (
        replace(row.clip, mids=tuple(row.labels), masked=tuple(row.masked))
        for row in rows
        if isinstance(row.clip, ListedClip)
    )
    write_list(out, clips, title, masks=masks)


def _write_records(out: Path, rows: Iterable[_Row]) -> None:
    records = (
        replace(row.clip, labels=_indices(row.labels), masked=_indices(row.masked))
        for row in rows
        if isinstance(row.clip, Record)
    )
    write_records(out, records)


def _indices(mids: Iterable[str]) -> tuple[int, ...]:
    nodes = ontology().nodes
    return tuple(index for mid in mids if (index := nodes[mid].class_index) is not None)


def _relabelled(
    source: str,
    rows: Iterable[_Row],
    relabelling: Relabelling,
    counts: LabelCounts,
    on_clip: Callable[[str], None],
) -> Iterator[_Row]:
    """Rows with the labels of the policy, counted."""
    nodes = relabelling.table.nodes
    for row in rows:
        now = relabelling(row.labels, row.masked)
        if row.labels and not now.labels:
            named = ", ".join(f"{mid} ({nodes[mid].name})" for mid in row.labels)
            raise AudioError(
                source,
                f"{row.where}: none of its labels is among the classes in use, got {named}; take "
                "the row out, or use all nodes as classes (--classes ontology)",
            )
        if row.labels or row.clip is not None:
            counts.add(row.labels, row.masked, now)
        on_clip(row.where)
        yield replace(row, labels=now.labels, masked=now.masked)


def _rows(path: str) -> Iterator[_Row]:
    """The clips of a list or a feature file, with labels that are in the ontology."""
    found = _listed(path) if path.lower().endswith(".csv") else _recorded(path)
    nodes = ontology().nodes
    for row in found:
        for mid in (*row.labels, *row.masked):
            if mid not in nodes:
                raise AudioError(path, f"{row.where}: {_unknown(mid)}")
        if hidden := [mid for mid in row.labels if mid in row.masked]:
            what = "every label" if len(hidden) == len(row.labels) else "a label"
            raise AudioError(
                path,
                f"{row.where}: its mask hides {what} of the clip, {hidden[0]} "
                f"({nodes[hidden[0]].name}); take it out of the labels or out of the mask",
            )
        yield row


def _unknown(mid: str) -> str:
    """What to say of an id that no node has."""
    try:
        node_named(mid)
    except ArgumentError as error:
        return str(error)
    return f"expected the id of a label, got {mid!r}"


def _listed(path: str) -> Iterator[_Row]:
    for clip in read_list(path):
        yield _Row(f"line {clip.line}", clip.mids, clip.masked, clip)


def _recorded(path: str) -> Iterator[_Row]:
    classes = ontology().classes
    for number, record in enumerate(read_records(path), 1):
        where = f"record {number}"
        if max((*record.labels, *record.masked), default=0) >= CLASSES:
            unknown = max((*record.labels, *record.masked))
            raise AudioError(
                path, f"{where}: expected labels from 0 to {CLASSES - 1}, got {unknown}"
            )
        labels, masked = (
            [classes[index].mid for index in indices] for indices in (record.labels, record.masked)
        )
        yield _Row(where, labels, masked, record)


def _given(clips: Iterable[Clip]) -> Iterator[_Row]:
    """The clips that people labelled."""
    nodes = ontology().nodes
    for clip in clips:
        if clip.human_labels:
            labels = [label.mid for label in clip.human_labels if label.mid in nodes]
            own = [label.name for label in clip.human_labels if label.mid not in nodes]
            yield _Row(clip.uri, labels, own=own)


def _some(source: str, which: str, rows: Iterator[_Row]) -> Iterator[_Row]:
    """The same rows; an error if there are none."""
    found = False
    for row in rows:
        found = True
        yield row
    if not found:
        raise AudioError(source, f"expected clips{f' {which}' if which else ''}, got none")


def _read_all(rows: Iterable[_Row]) -> None:
    for _ in rows:
        pass
