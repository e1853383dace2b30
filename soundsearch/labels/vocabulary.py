"""The classes that labels name: AudioSet's 527, then those of a head's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import LibraryDamaged, SoundsearchError
from ..results import Label
from ..stores.records import NO_LABEL, HumanEvent
from .ontology import CLASSES, ontology

__all__ = ["AUDIOSET", "MOST_CLASSES", "Vocabulary", "class_of"]

# Own classes of a head, at most.
MOST_CLASSES = 4096
_LONGEST_NAME = 200


def class_of(name: str, mid: str = "") -> int | None:
    """The index of the AudioSet class that a name (in any case) or an id stands for.

    None for a name that is no class of AudioSet's.

    Raises
    ------
    ValueError
        The id is that of no class, or the name cannot be one.
    """
    if mid:
        node = ontology().nodes.get(mid)
        if node is None or node.class_index is None:
            raise ValueError(f"expected the id of an AudioSet class, or none, got {mid!r}")
        return node.class_index
    if not isinstance(name, str) or not name.isprintable() or name.strip() != name or not name:
        raise ValueError(f"expected a class's name, printable and on one line, got {name!r}")
    if len(name) > _LONGEST_NAME:
        raise ValueError(
            f"expected a class's name of at most {_LONGEST_NAME} characters, got {len(name)}"
        )
    return _indices().get(name.lower())


@cache
def _indices() -> dict[str, int]:
    """AudioSet's classes by their names and ids: a table may name them many times."""
    classes = list(enumerate(ontology().classes))
    return {text: index for index, node in classes for text in (node.name.lower(), node.mid)}


@dataclass(frozen=True)
class Vocabulary:
    """The classes of a library: AudioSet's, by their indices, then the own ones of its head.

    Parameters
    ----------
    own : tuple of str
        Names of classes that AudioSet lacks; the first has the index 527.
    """

    own: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Iterable[str], mids: Iterable[str]) -> Vocabulary:
        """The vocabulary of a head with classes of these names and ids; see `class_of`."""
        pairs = zip(names, mids, strict=True)
        return cls(tuple(name for name, mid in pairs if class_of(name, mid) is None))

    def __len__(self) -> int:
        return CLASSES + len(self.own)

    @property
    def names(self) -> tuple[str, ...]:
        """The display name of each class."""
        return (*(node.name for node in ontology().classes), *self.own)

    @cached_property
    def _own_indices(self) -> dict[str, int]:
        return {name.lower(): index for index, name in enumerate(self.own, CLASSES)}

    def index(self, name: str, mid: str = "") -> int:
        """The index of a class by its name or id; raises ValueError where there is none."""
        index = class_of(name, mid)
        if index is None:
            index = self._own_indices.get(name.lower())
        if index is None:
            raise ValueError(f"expected the name of a class, got {name!r}")
        return index

    def classes_below(self, name: str) -> frozenset[int]:
        """The indices of the classes at and below a node, by name, id or path, or of an own class.

        A path, such as ``Dog > Bark``, names some of the nodes above as well, in any case.

        Raises
        ------
        SoundsearchError
            There is no such node or own class; the message names some that are near.
        """
        own = self._own_indices.get(name.strip().lower())
        below = ontology().find_below(name)
        if own is not None:
            return (below or frozenset()) | {own}
        if below is None:
            raise SoundsearchError(
                f"expected the name, id or path of an AudioSet label{self._or_own}, got "
                f"{name!r}{ontology().similar(name, self.own)}"
            )
        return below

    @property
    def _or_own(self) -> str:
        return " or of a class of the library's head" if self.own else ""

    def reached(self) -> NDArray[np.bool_]:
        """bool [classes, classes]: whether a label of class [column] counts for class [row]."""
        reaches = np.eye(len(self), dtype=np.bool_)
        reaches[:CLASSES, :CLASSES] |= ontology().above
        return reaches

    def label(self, index: int, score: float) -> Label:
        """A class of the library with a score; raises LibraryDamaged where there is no such."""
        if index < CLASSES:
            node = ontology().classes[index]
            return Label(node.name, node.mid, score, ontology().path(node.mid))
        if index >= len(self):
            raise LibraryDamaged(
                f"a clip of the library has the label {index}, and there are {len(self)} only "
                "(from 0 on); restore the library from a copy, or ingest again into a new one"
            )
        name = self.own[index - CLASSES]
        return Label(name, "", score, (name,))

    def named(self, labels: NDArray[np.void]) -> tuple[Label, ...]:
        """Stored labels, LABEL [n], as records with names and paths."""
        stored: Sequence[tuple[int, Any]] = labels.tolist()
        return tuple(
            self.label(index, float(score)) for index, score in stored if index != NO_LABEL
        )

    def given(self, classes: Iterable[int]) -> tuple[Label, ...]:
        """Human labels, by class index, as records with score 1."""
        return tuple(self.label(index, 1.0) for index in classes)

    def said(self, events: Iterable[HumanEvent]) -> tuple[dict[str, Any], ...]:
        """What people said of stretches, for JSON; see `soundsearch.Clip`."""
        return tuple(
            {
                "label": self.label(event.class_index, 1.0).name,
                "onset": None if event.is_whole else event.onset,
                "offset": None if event.is_whole else event.offset,
                "heard": event.is_heard,
            }
            for event in events
        )


# The classes where no head has others.
AUDIOSET = Vocabulary()
