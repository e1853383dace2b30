"""The AudioSet ontology: 632 nodes, 527 of them classes; a node may have several parents.

The table beside this module holds only facts (ids, names, parents, restrictions, class indices)
from Google's AudioSet ontology, CC BY-SA 4.0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import SoundsearchError

__all__ = ["CLASSES", "Node", "Ontology", "ontology"]

CLASSES = 527
# Between the names of a path, as it is printed.
_BELOW = ">"
_TABLE = Path(__file__).with_name("ontology.tsv")


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the ontology.

    Attributes
    ----------
    mid, name : str
    parents : tuple of str
        Ids; empty for the seven roots.
    restrictions : frozenset of str
        ``abstract`` and ``blacklist``, as AudioSet marks them.
    class_index : int or None
        Index among AudioSet's 527 classes; None for a node that is not a class.
    """

    mid: str
    name: str
    parents: tuple[str, ...]
    restrictions: frozenset[str]
    class_index: int | None


class Ontology:
    """The nodes by id, and relations derived from them."""

    def __init__(self, nodes: list[Node]) -> None:
        self.nodes = {node.mid: node for node in nodes}
        by_index = {node.class_index: node for node in nodes if node.class_index is not None}
        self.classes = [by_index[index] for index in range(len(by_index))]
        self._paths: dict[str, tuple[str, ...]] = {}
        self._ancestors: dict[str, frozenset[str]] = {}

    def path(self, mid: str) -> tuple[str, ...]:
        """The names on the shortest path from a root to a node (the first of equals)."""
        if mid not in self._paths:
            self._paths[mid] = self._shortest_path(mid)
        return self._paths[mid]

    def _shortest_path(self, mid: str) -> tuple[str, ...]:
        paths: list[tuple[tuple[str, ...], str]] = [((self.nodes[mid].name,), mid)]
        while True:
            longer = []
            for names, top in paths:
                parents = self.nodes[top].parents
                if not parents:
                    return names
                longer += [((self.nodes[parent].name, *names), parent) for parent in parents]
            paths = longer

    def ancestors(self, mid: str) -> frozenset[str]:
        """The ids of all nodes above a node, including those that are not classes."""
        if mid not in self._ancestors:
            parents = self.nodes[mid].parents
            self._ancestors[mid] = frozenset(parents).union(*map(self.ancestors, parents))
        return self._ancestors[mid]

    @cached_property
    def descendants(self) -> dict[str, frozenset[str]]:
        """The ids of all nodes below each node, including those that are not classes."""
        below: dict[str, set[str]] = {mid: set() for mid in self.nodes}
        for mid in self.nodes:
            for above in self.ancestors(mid):
                below[above].add(mid)
        return {mid: frozenset(each) for mid, each in below.items()}

    def find_below(self, name: str) -> frozenset[int] | None:
        """The indices of the classes at and below a node, given by name, id or path.

        A path, such as ``Dog > Bark``, names some of the nodes above as well, in any case. None if
        there is no such node.
        """
        *above, last = (part.strip() for part in name.lower().split(_BELOW))
        wanted = {
            mid
            for mid in self._called.get(last, ())
            if {self.nodes[each].name.lower() for each in self.ancestors(mid)}.issuperset(above)
        }
        wanted |= {name.strip().lower()} & self.nodes.keys()
        if not wanted:
            return None
        nodes = (
            self.nodes[mid] for mid in wanted.union(*(self.descendants[mid] for mid in wanted))
        )
        return frozenset(node.class_index for node in nodes if node.class_index is not None)

    @cached_property
    def _called(self) -> dict[str, list[str]]:
        """The ids of nodes by their names in small letters."""
        found: dict[str, list[str]] = {}
        for node in self.nodes.values():
            found.setdefault(node.name.lower(), []).append(node.mid)
        return found

    def classes_below(self, name: str) -> frozenset[int]:
        """As `find_below`, but raises SoundsearchError if there is no such node."""
        found = self.find_below(name)
        if found is None:
            raise SoundsearchError(
                f"expected the name, id or path of an AudioSet label, got {name!r}"
                f"{self.similar(name)}"
            )
        return found

    def similar(self, name: str, others: Sequence[str] = ()) -> str:
        """What to say of names that are near one that is not there; "" where none is."""
        from difflib import get_close_matches

        names = {each.lower(): each for each in (*(n.name for n in self.nodes.values()), *others)}
        last = name.lower().split(_BELOW)[-1].strip()
        near = [names[found] for found in get_close_matches(last, names)]
        return f"; similar: {', '.join(near)}" if near else ""

    @cached_property
    def above(self) -> NDArray[np.bool_]:
        """bool [527, 527]: whether class [row] lies above class [column]."""
        table = np.zeros((len(self.classes), len(self.classes)), np.bool_)
        for node in self.classes:
            for mid in self.ancestors(node.mid):
                if (index := self.nodes[mid].class_index) is not None:
                    table[index, node.class_index] = True
        return table


@cache
def ontology() -> Ontology:
    """The bundled ontology."""
    nodes = []
    with open(_TABLE, encoding="utf-8") as table:
        for line in table:
            if line.startswith(("#", "mid\t")):
                continue
            mid, name, parents, restrictions, index = line.rstrip("\n").split("\t")
            nodes.append(
                Node(
                    mid,
                    name,
                    tuple(filter(None, parents.split(","))),
                    frozenset(filter(None, restrictions.split(","))),
                    int(index) if index else None,
                )
            )
    return Ontology(nodes)
