"""A question in words: what is to be heard, as one would say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import ArgumentError
from ..labels.vocabulary import Vocabulary
from ..labels.wording import MOST_LABELS, MOST_PARTS, understood
from ..results import Meaning
from .labelled import LABEL_WEIGHT
from .questions import Embeddings, Examples, Stored, as_sound, is_number

__all__ = ["WORDS_WEIGHT", "Words"]

# How much the labels count beside the cosine to where the words lie: see `benchmarks.words`.
WORDS_WEIGHT = 0.2
_MOST_WORDS, _MOST_CHARACTERS = 200, 2000


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """What can be heard, in words: ``Words("a small dog far away")``.

    The words become labels with weights, which the answer has as `Answer.words`. A label's weight
    is a factor of its probability; of labels that may stand for each other the highest counts, of
    several sounds at once the lowest.

    Parameters
    ----------
    text : str
        At most 200 words. "or" stands between sounds that may stand for each other, "and" between
        those that are to be heard at once, "not" or "without" before what is not to be heard.
    classes : mapping of str to float, or sequence of mappings, optional
        In place of what the words would become: labels with weights, as `Answer.words` has them.
        Labels of one mapping may stand for each other, several mappings are to be heard at once,
        and a weight below 0 says that a label is not to be heard.
    like : question or what a sound is made of, optional
        What the clips are to sound like as well.
    weight : float, optional
        How much the labels count beside the cosine, 0 to 1: by default 0.5 beside a sound, else
        0.2 beside where the words lie in the library's space.
    names : bool
        Whether a clip with the words in its path or tags counts as if people had given it the
        labels.

    Raises
    ------
    ArgumentError
        An argument cannot be. That no word is known is told when a library is asked.
    """

    text: str
    classes: Any = None
    like: Any = None
    weight: float | None = None
    names: bool = False

    def __post_init__(self) -> None:
        text, weight = self.text, self.weight
        if not isinstance(text, str) or not (text.strip() or self.classes):
            raise ArgumentError(f"text: expected words that say what is to be heard, got {text!r}")
        count = len(text.split())
        if count > _MOST_WORDS or len(text) > _MOST_CHARACTERS:
            raise ArgumentError(
                f"text: expected at most {_MOST_WORDS} words and {_MOST_CHARACTERS:,} characters, "
                f"got {count:,} words and {len(text):,} characters"
            )
        if self.classes is not None:
            object.__setattr__(self, "classes", _checked(self.classes))
        if weight is not None:
            if not is_number(weight) or not 0 <= weight <= 1:
                raise ArgumentError(f"weight: expected a number from 0 to 1, got {weight!r}")
            weight = float(weight)
        if not isinstance(self.names, bool):
            raise ArgumentError(f"names: expected True or False, got {self.names!r}")
        if self.like is None:
            object.__setattr__(self, "weight", WORDS_WEIGHT if weight is None else weight)
            return
        object.__setattr__(self, "weight", LABEL_WEIGHT if weight is None else weight)
        if not isinstance(self.like, (Stored, Embeddings, Examples)):
            object.__setattr__(self, "like", as_sound(self.like, None, None))

    def meaning(self, vocabulary: Vocabulary, predicted: frozenset[int] | None) -> Meaning:
        """What the words become in a library; raises ArgumentError where nothing is known."""
        if self.classes is None:
            return understood(self.text, vocabulary, predicted)
        return Meaning(self.classes)


def _checked(classes: Any) -> tuple[dict[str, float], ...]:
    """Classes as `Meaning` has them: those that are not to be heard together, and last."""
    groups = (classes,) if isinstance(classes, Mapping) else classes
    wanted: list[dict[str, float]] = []
    against: dict[str, float] = {}
    try:
        for group in groups:
            labels = dict(group.items())
            if not all(map(_is_weight, labels.items())):
                raise TypeError
            labels = {name: float(weight) for name, weight in labels.items()}
            against |= {name: weight for name, weight in labels.items() if weight < 0}
            wanted.append({name: weight for name, weight in labels.items() if weight > 0})
    except (TypeError, AttributeError):
        raise ArgumentError(
            "classes: expected labels by name with weights from -1 to 1, not 0, got "
            f"{str(classes)[:80]}"
        ) from None
    wanted = [labels for labels in wanted if labels]
    most = max(map(len, [*wanted, against]), default=0)
    if not 1 <= len(wanted) <= MOST_PARTS or most > MOST_LABELS:
        raise ArgumentError(
            f"classes: expected 1 to {MOST_PARTS} sounds at once, each of at most {MOST_LABELS} "
            f"labels, got {len(wanted)} of at most {most}"
        )
    return (*wanted, against) if against else tuple(wanted)


def _is_weight(label: tuple[Any, Any]) -> bool:
    name, weight = label
    return isinstance(name, str) and is_number(weight) and weight != 0 and abs(weight) <= 1
