"""Tasks with labels of an ontology: a base that is learned from, and a target that gains by it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchmarks.labels import label_of
from soundsearch.evaluate import average_precision
from soundsearch.labels.ontology import Node, Ontology, ontology
from soundsearch.labels.relabel import Relabelling, node_named

from .data import Embedded

__all__ = ["RATE", "Task", "esc50_task", "mean_ap", "omitted", "synthetic_task"]

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]
Rows = NDArray[np.intp]

RATE = 8000

# The made-up world: four roots of five children of five children each; the last root is the target.
_ROOTS, _CHILDREN = 4, 5
# Dimensions in which classes differ, and in which recordings do, whatever sounds in them.
_KIND, _RECORDING = 16, 48
_SPREAD = 0.8
_WITHIN, _BETWEEN = 0.5, 1.5
_BOTH = 0.1
# Of ESC-50, the clips of each category that the target learns from.
_FEW = 2

# How often people give the sound itself, its parent, or what is above that; and how often the
# parent of what they gave, too: AudioSet's lists have it beside 38 % of labels.
_LEVELS = (0.4, 0.4, 0.2)
_PARENT_TOO = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Clips, their labels, and who learns from which.

    Attributes
    ----------
    table : Ontology
    x : float32 [clips, ...]
    given : list of tuple of str
        The labels that people gave each clip: ids.
    true : list of frozenset of str
        All that is to be heard in it, with all that lies above.
    base, target : tuple of three int arrays
        Clips to learn from, to choose the best epoch by, and to test on. A clip with labels of both
        sides is the target's, and its labels of the base count no more.
    base_classes, target_classes : tuple of str
        Ids of what the networks tell.
    origin : str
        What a report says of it.
    """

    table: Ontology
    x: Floats
    given: list[tuple[str, ...]]
    true: list[frozenset[str]]
    base: tuple[Rows, Rows, Rows]
    target: tuple[Rows, Rows, Rows]
    base_classes: tuple[str, ...]
    target_classes: tuple[str, ...]
    origin: str

    def truth(self, rows: Rows, classes: Sequence[str]) -> Flags:
        """What is there of some classes in some clips, bool [rows, classes]."""
        return _hot([self.true[row] for row in rows], classes)

    def relabelled(self, policy: str, rows: Rows) -> tuple[Flags, Flags]:
        """The base's labels and masks of some clips, bool [rows, base classes] each."""
        relabel = Relabelling(policy, table=self.table)
        found = [relabel(self.given[row]) for row in rows]
        labels, masked = (
            _hot(each, self.base_classes)
            for each in (
                [clip.all_labels for clip in found],
                [clip.all_masked for clip in found],
            )
        )
        return labels, masked


def _hot(sets: Iterable[Collection[str]], classes: Sequence[str]) -> Flags:
    return np.array([[mid in each for mid in classes] for each in sets], np.bool_)


def mean_ap(truth: Flags, scores: Floats, masked: Flags | None = None) -> float:
    """Mean average precision over the classes that some clip has.

    Parameters
    ----------
    truth, scores : bool and float32 [clips, classes]
    masked : bool [clips, classes], optional
        Clips that do not count for a class.
    """
    found = []
    for column in np.flatnonzero(truth.any(0)):
        rows = slice(None) if masked is None else ~masked[:, column]
        order = np.argsort(-scores[rows, column], kind="stable")
        found.append(average_precision(truth[rows, column][order]))
    return float(np.mean(found))


def omitted(table: Ontology, label: str, rng: np.random.Generator) -> set[str]:
    """What someone may call a sound: itself or what is above it, perhaps with its parent."""
    names = {node.name: mid for mid, node in table.nodes.items()}
    path = [names[name] for name in reversed(table.path(label))]
    shown = [mid for mid in path if not table.nodes[mid].restrictions] or path[:1]
    level = min(int(rng.choice(len(_LEVELS), p=_LEVELS)), len(shown) - 1)
    found = {shown[level]}
    if level + 1 < len(shown) and rng.random() < _PARENT_TOO:
        found.add(shown[level + 1])
    return found


def synthetic_task(seed: int, clips: int, target: int, seconds: float | None = None) -> Task:
    """A made-up world in which people leave labels out.

    Classes lie near their parents in a few dimensions; recordings differ in three times as many,
    and more. What is observed is a fixed random function of both, so that what tells classes apart
    has to be learned: from many clips of the base, or from few of the target.

    Parameters
    ----------
    seed : int
        Of all: the world, the clips, what people give.
    clips, target : int
        To learn from, in the base and in the target; a third and ten times as many are there to
        test on, and a sixth and five times as many to choose by.
    seconds : float, optional
        Give sounds of this length at 8 kHz, float32 [clips, samples], in which each dimension is
        the level of a band; without, embeddings [clips, 128].
    """
    rng = np.random.default_rng([seed, 17])
    table = _made_up_ontology()
    own = {mid: rng.normal(0, 1, _KIND) for mid in table.nodes}
    middle = {
        mid: _SPREAD * own[mid] + sum(own[above] for above in table.ancestors(mid))
        for mid in table.nodes
    }
    lowest = [mid for mid in table.nodes if not table.descendants[mid]]
    root = f"/{_ROOTS - 1}"
    sides = [[mid for mid in lowest if (root in table.ancestors(mid)) == own] for own in (0, 1)]
    counts = (clips, clips // 6, clips // 3, target, 5 * target, 10 * target)
    chosen: list[list[str]] = []
    for number, count in enumerate(counts):
        for _ in range(count):
            one = rng.choice(sides[number // 3], rng.integers(1, 3), replace=False).tolist()
            if number >= 3 and rng.random() < _BOTH:
                one.append(str(rng.choice(sides[0])))
            chosen.append(one)
    kinds = np.stack([sum(middle[mid] for mid in each) / len(each) ** 0.5 for each in chosen])
    kinds += rng.normal(0, _WITHIN, kinds.shape)
    hidden = np.hstack([kinds, rng.normal(0, _BETWEEN, (len(kinds), _RECORDING))])
    observe = _embeddings if seconds is None else _sounds
    ends = np.cumsum((0, *counts))
    rows = [np.arange(start, end) for start, end in pairwise(ends)]
    expand = Relabelling("pel", table=table)
    return Task(
        table=table,
        x=observe(hidden, rng, seconds or 0),
        given=[
            tuple(sorted(set().union(*(omitted(table, mid, rng) for mid in each))))
            for each in chosen
        ],
        true=[expand(each).all_labels for each in chosen],
        base=(rows[0], rows[1], rows[2]),
        target=(rows[3], rows[4], rows[5]),
        base_classes=tuple(mid for mid in table.nodes if not mid.startswith(root)),
        target_classes=tuple(mid for mid in table.nodes if mid in table.descendants[root]),
        origin=f"made-up features, {clips:,} clips in the base and {target} in the target"
        if seconds is None
        else f"made-up features as sound of {seconds:g} s, {clips:,} clips in the base and "
        f"{target} in the target",
    )


def _made_up_ontology() -> Ontology:
    nodes: list[Node] = []

    def add(mid: str, parents: tuple[str, ...], levels: int) -> None:
        nodes.append(Node(mid, f"sound {mid}", parents, frozenset(), None))
        for number in range(_CHILDREN if levels else 0):
            add(f"{mid}.{number}", (mid,), levels - 1)

    for number in range(_ROOTS):
        add(f"/{number}", (), 2)
    return Ontology(nodes)


def _embeddings(hidden: NDArray[np.float64], rng: np.random.Generator, _: float) -> Floats:
    size = hidden.shape[1]
    inner = rng.normal(0, 1.5 / size**0.5, (size, 256))
    outer = rng.normal(0, 1 / 16, (256, 128))
    found: Floats = (np.tanh(hidden @ inner) @ outer).astype(np.float32)
    return _standardised(found)


def _sounds(hidden: NDArray[np.float64], rng: np.random.Generator, seconds: float) -> Floats:
    size = hidden.shape[1]
    times = np.arange(int(seconds * RATE)) / RATE
    bands = rng.permutation(np.geomspace(120, 3600, size))
    tones = np.exp(2j * np.pi * times[None] * bands[:, None])
    phases = np.exp(2j * np.pi * rng.random(hidden.shape))
    levels = np.exp(0.7 * hidden)
    found: Floats = ((levels * phases) @ tones).real.astype(np.float32)
    return found / found.std(1, keepdims=True)


def _standardised(x: Floats) -> Floats:
    found: Floats = (x - x.mean(0)) / x.std(0)
    return found


def esc50_task(clips: Embedded, x: Floats, root: str, omissions: bool, seed: int) -> Task:
    """ESC-50 with AudioSet's ontology: the sounds below a root are the target, all others the base.

    The target learns from two clips of each category.

    Parameters
    ----------
    clips : Embedded
        Their classes and folds; categories that AudioSet has no class for are left out.
    x : float32 [clips, ...]
        What the networks hear of them.
    root : str
        The name of a node.
    omissions : bool
        Whether labels are left out as people do (`omitted`), in place of giving what ESC-50 gives.
    seed : int
        Turns the folds, of which one is to learn from, one to choose by and one to test on, and
        decides on omissions.
    """
    rng = np.random.default_rng([seed, 19])
    table = ontology()
    mids = [node_named(label_of(name)) if label_of(name) else "" for name in clips.names]
    expand = Relabelling("pel")
    above = node_named(root)
    folds = sorted(set(clips.folds.tolist()))
    learn, choose, test = (folds[(seed + number) % len(folds)] for number in range(3))
    kept = np.array([mids[number] != "" for number in clips.classes])
    true = [expand([mids[n]] if mids[n] else []).all_labels for n in clips.classes]
    aimed = np.array([above in each for each in true])
    where = {fold: kept & (clips.folds == fold) for fold in folds}
    given = [
        (tuple(sorted(omitted(table, mids[n], rng))) if omissions else (mids[n],))
        if mids[n]
        else ()
        for n in clips.classes
    ]
    rows, aims = (
        [np.flatnonzero(where[fold] & side) for fold in (learn, choose, test)]
        for side in (~aimed, aimed)
    )

    # With many, networks need no base. The same ones with and without omissions.
    rng = np.random.default_rng([seed, 23])
    few = [rng.permutation(aims[0][clips.classes[aims[0]] == n])[:_FEW] for n in range(len(mids))]
    aims[0] = np.sort(np.concatenate(few))

    def heard(parts: Sequence[Rows]) -> set[str]:
        return set().union(*(true[row] for part in parts for row in part))

    def ordered(found: set[str]) -> tuple[str, ...]:
        return tuple(mid for mid in table.nodes if mid in found)

    below = table.descendants[above]
    return Task(
        table=table,
        x=x,
        given=given,
        true=true,
        base=(rows[0], rows[1], rows[2]),
        target=(aims[0], aims[1], aims[2]),
        base_classes=ordered(heard(rows) - below),
        target_classes=ordered(heard(aims) & below),
        origin=clips.origin,
    )
