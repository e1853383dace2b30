"""A question by label: clips in which something can be heard, alone or beside a sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError
from .questions import Embeddings, Examples, Stored, as_sound, is_number

__all__ = ["LABEL_WEIGHT", "Labelled"]

# How much a label counts beside a sound: see `benchmarks.labels`.
LABEL_WEIGHT = 0.5
# Each more doubles the ways in which people's labels and predicted ones may come together.
_MOST = 5


@dataclass(frozen=True, slots=True)
class Labelled:
    """What can be heard, by its name.

    A clip scores what the best of its segments does: the probability that the label's head
    predicts, as it is. A clip that people gave the label scores 1.

    Parameters
    ----------
    label : str or sequence of str
        Nodes of the AudioSet ontology, by name, id or path, such as ``Dog > Bark``, or classes of
        the library's head by name. A node stands for itself and all below it. Several are to be
        heard at once: what counts is the one that is the least likely.
    like : question or what a sound is made of, optional
        What the clips are to sound like as well. Their score is then the mean of the label's and
        of the cosine to this, each anywhere in the clip.
    weight : float
        How much the label counts in this mean, 0 to 1.

    Raises
    ------
    ArgumentError
        An argument cannot be. That there is no such label is told when a library is asked.
    """

    label: Any
    like: Any = None
    weight: float = LABEL_WEIGHT

    def __post_init__(self) -> None:
        labels = (self.label,) if isinstance(self.label, str) else self.label
        try:
            labels = tuple(dict.fromkeys(labels))
        except TypeError:
            labels = (labels,)
        if not 1 <= len(labels) <= _MOST or not all(isinstance(label, str) for label in labels):
            raise ArgumentError(
                f"label: expected a name, or 1 to {_MOST} of them, got {self.label!r}"
            )
        weight = self.weight
        if not is_number(weight) or not 0 <= weight <= 1:
            raise ArgumentError(f"weight: expected a number from 0 to 1, got {weight!r}")
        if self.like is not None and not isinstance(self.like, (Stored, Embeddings, Examples)):
            object.__setattr__(self, "like", as_sound(self.like, None, None))
        object.__setattr__(self, "weight", float(weight))
        object.__setattr__(self, "label", labels)
