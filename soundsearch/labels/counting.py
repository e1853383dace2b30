"""How labels are distributed over clips, before and after a policy changed them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from .ontology import Ontology
from .relabel import Relabelled, Relabelling

__all__ = ["LabelCounts", "Tally"]

Pair = tuple[str, str]


class Tally:
    """Counts of the labels of clips, on one side of a change.

    Parameters
    ----------
    table : Ontology
    classes : frozenset of str
        Ids of the classes in use.
    pairs : iterable of (str, str)
        Ids of pairs of labels to count besides those of each label and its parents.

    Attributes
    ----------
    clips : int
    counts, masked : Counter of str
        Clips of which a class is a label, and in which it is masked.
    """

    def __init__(self, table: Ontology, classes: frozenset[str], pairs: Iterable[Pair]) -> None:
        self.clips = 0
        self.counts: Counter[str] = Counter()
        self.masked: Counter[str] = Counter()
        self._table, self._classes = table, classes
        parents = {(mid, parent) for mid, node in table.nodes.items() for parent in node.parents}
        self._asked = [pair for pair in pairs if pair not in parents]
        self._pairs: Counter[Pair] = Counter()
        self._all_labels = self._all_masked = 0

    def add(self, labels: Collection[str], masked: Collection[str]) -> None:
        """Count a clip with labels and masks, ids of nodes."""
        had = frozenset(labels)
        self.clips += 1
        self._all_labels += len(had)
        self._all_masked += len(frozenset(masked))
        self.counts.update(had & self._classes)
        self.masked.update(self._classes.intersection(masked))
        for mid in had:
            self._pairs.update(
                (mid, parent) for parent in self._table.nodes[mid].parents if parent in had
            )
        self._pairs.update(pair for pair in self._asked if had.issuperset(pair))

    def parents(self) -> list[Pair]:
        """The labels that occur, each with each parent that annotators are shown.

        Parents that are not in use, abstract or blacklisted are left out.
        """
        nodes = self._table.nodes
        return [
            (mid, parent)
            for mid in self.counts
            for parent in nodes[mid].parents
            if parent in self._classes and not nodes[parent].restrictions
        ]

    def share(self, pair: Pair) -> float | None:
        """Of the clips with a pair's first label, how many have the second too, in [0, 1].

        None where no clip has the first one.
        """
        count = self.counts[pair[0]]
        return self._pairs[pair] / count if count else None

    @property
    def with_parent(self) -> float | None:
        """How often a label has its parent beside it, in [0, 1], over all `parents`."""
        pairs = self.parents()
        cases = sum(self.counts[mid] for mid, _ in pairs)
        return sum(map(self._pairs.__getitem__, pairs)) / cases if cases else None

    def to_dict(self) -> dict[str, Any]:
        """Figures over all clips.

        ``labels`` and ``masked`` are classes in use a clip, ``all_labels`` and ``all_masked`` nodes
        a clip. ``imbalance`` is the clips of the most frequent class by those of the rarest that
        occurs, ``mean_imbalance`` the mean over these classes: MeanIR of Charte et al., Addressing
        imbalance in multilabel classification (Neurocomputing 163, 2015). 1 is balanced.
        """
        clips = max(1, self.clips)
        most = max(self.counts.values(), default=1)
        ratios = [most / count for count in self.counts.values()] or [1.0]
        figures = {
            "labels": self.counts.total() / clips,
            "masked": self.masked.total() / clips,
            "all_labels": self._all_labels / clips,
            "all_masked": self._all_masked / clips,
            "with_parent": self.with_parent,
            "imbalance": max(ratios),
            "mean_imbalance": sum(ratios) / len(ratios),
        }
        return {name: _rounded(value) for name, value in figures.items()}


class LabelCounts:
    """Counts before and after a policy.

    Parameters
    ----------
    relabelling : Relabelling
    pairs : iterable of (str, str)
        As of `Tally`.
    """

    def __init__(self, relabelling: Relabelling, pairs: Iterable[Pair] = ()) -> None:
        self._nodes = relabelling.table.nodes
        self._asked = tuple(pairs)
        self.before, self.after = (
            Tally(relabelling.table, relabelling.classes, self._asked) for _ in range(2)
        )

    def add(self, labels: Collection[str], masked: Collection[str], now: Relabelled) -> None:
        """Count a clip, with the labels and masks that it had and has now."""
        self.before.add(labels, masked)
        self.after.add(now.all_labels, now.all_masked)

    def pairs(self) -> list[dict[str, Any]]:
        """The pairs that were asked for, then each label with each parent, and their shares."""
        pairs = dict.fromkeys((*self._asked, *self.after.parents()))
        return [
            {
                "label": self._nodes[label].name,
                "above": self._nodes[above].name,
                "clips": self.before.counts[label],
                "before": _rounded(self.before.share((label, above))),
                "after": _rounded(self.after.share((label, above))),
            }
            for label, above in pairs
        ]

    def to_dict(self) -> dict[str, Any]:
        counts = self.before.counts, self.after.counts, self.after.masked
        occurring = sorted(set().union(*counts), key=lambda mid: (-counts[1][mid], mid))
        return {
            "clips": self.before.clips,
            "before": self.before.to_dict(),
            "after": self.after.to_dict(),
            "pairs": self.pairs(),
            "classes": [
                {
                    "mid": mid,
                    "name": self._nodes[mid].name,
                    "before": counts[0][mid],
                    "after": counts[1][mid],
                    "masked": counts[2][mid],
                }
                for mid in occurring
            ],
        }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
