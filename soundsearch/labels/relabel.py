"""Labels that agree with the ontology: parents added, and children masked that may be there.

People who label sounds choose some labels of a path and leave out others: of recordings with
"Rain", hardly one is labelled "Water". A model that is trained on such labels learns that rain is
no water. The policies are those of Grzywalski and Botteldooren:

- ``ol``: original labels, as they are;
- ``pel``: parent-expanded labels, each label with all that lies above it;
- ``pe-cml``: the same, with children masked: where none of a label's descendants was chosen, nobody
  knows whether one of them is there, so all of them are masked, and take no part in the loss.

Expansion goes through all 632 nodes of the ontology, as a class may reach another only through a
node that is none; the classes in use are chosen after it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from ..errors import ArgumentError
from .ontology import Ontology, ontology

__all__ = ["PARENTS", "POLICIES", "Relabelled", "Relabelling", "node_named"]

POLICIES = ("ol", "pel", "pe-cml")
PARENTS = ("all", "single")
# Sets of labels whose result is kept: some tens of megabytes.
_KEPT = 1 << 14


@dataclass(frozen=True, slots=True)
class Relabelled:
    """The labels of a clip under a policy; nothing is both a label and masked.

    Attributes
    ----------
    labels, masked : tuple of str
        Ids among the classes in use: the labels that were given first, the others in order.
    all_labels, all_masked : frozenset of str
        Ids among all nodes.
    """

    labels: tuple[str, ...]
    masked: tuple[str, ...]
    all_labels: frozenset[str]
    all_masked: frozenset[str]


class Relabelling:
    """A policy, as a function of a clip's labels.

    Parameters
    ----------
    policy : str
        One of `POLICIES`.
    parents : str
        ``all``: all that lies above a label. ``single``: only the nodes on the shortest path from a
        root, the first of equals, as paths are printed. What is masked does not depend on it.
    classes : collection of str, optional
        Ids of the classes in use. Default: all nodes.
    table : Ontology, optional
        Default: AudioSet's.

    Raises
    ------
    ArgumentError
        There is no such policy, or no such choice of parents.
    """

    def __init__(
        self,
        policy: str,
        parents: str = "all",
        classes: Collection[str] | None = None,
        table: Ontology | None = None,
    ) -> None:
        for name, value, known in (("policy", policy, POLICIES), ("parents", parents, PARENTS)):
            if value not in known:
                raise ArgumentError(f"{name}: expected one of {', '.join(known)}, got {value!r}")
        self.policy, self.parents = policy, parents
        self.table = ontology() if table is None else table
        self.classes = frozenset(self.table.nodes if classes is None else classes)
        self._above = {mid: self._added(mid) for mid in self.table.nodes}
        # Few sets of labels are had by many clips.
        self._known: dict[tuple[tuple[str, ...], tuple[str, ...]], Relabelled] = {}

    def __call__(self, labels: Iterable[str], masked: Iterable[str] = ()) -> Relabelled:
        """Relabel a clip.

        Parameters
        ----------
        labels : iterable of str
            Ids of nodes.
        masked : iterable of str
            Ids that are masked already; they stay so, unless a label lies below them.
        """
        asked = tuple(labels), tuple(masked)
        if asked not in self._known:
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[asked] = self._relabelled(*asked)
        return self._known[asked]

    def _relabelled(self, labels: tuple[str, ...], masked: tuple[str, ...]) -> Relabelled:
        chosen = frozenset(labels)
        expanded = chosen.union(*map(self._above.__getitem__, chosen))
        hidden = set(masked)
        if self.policy == "pe-cml":
            below = self.table.descendants
            hidden.update(*(below[mid] for mid in chosen if below[mid].isdisjoint(chosen)))
        hidden -= expanded
        ordered = (*dict.fromkeys(labels), *sorted(expanded - chosen))
        return Relabelled(
            labels=tuple(mid for mid in ordered if mid in self.classes),
            masked=tuple(sorted(hidden & self.classes)),
            all_labels=expanded,
            all_masked=frozenset(hidden),
        )

    def _added(self, mid: str) -> frozenset[str]:
        """What the policy adds to a label."""
        if self.policy == "ol":
            return frozenset()
        if self.parents == "all":
            return self.table.ancestors(mid)
        path = []
        while parents := self.table.nodes[mid].parents:
            mid = min(parents, key=lambda each: len(self.table.path(each)))
            path.append(mid)
        return frozenset(path)


def node_named(name: str) -> str:
    """The id of a node of AudioSet's ontology, given by its id or, in any case, its name.

    Raises
    ------
    ArgumentError
        There is none; the message has those alike.
    """
    nodes = ontology().nodes
    known = {**{node.name.lower(): node.mid for node in nodes.values()}, **{m: m for m in nodes}}
    if (mid := known.get(name.strip().lower())) is not None:
        return mid
    near = (known[text] for text in get_close_matches(name.strip().lower(), known))
    named = ", ".join(f"{mid} ({nodes[mid].name})" for mid in near)
    hint = f"; near it are: {named}" if named else ""
    raise ArgumentError(f"expected a label of the AudioSet ontology, got {name!r}{hint}")
