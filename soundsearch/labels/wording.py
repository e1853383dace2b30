"""From a text to the classes that it means: what is to be heard, together or not at all."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ..errors import ArgumentError
from ..results import Meaning
from .lexicon import EMPTY, Lexicon, is_one_word, spelt, words_of
from .sentences import LEAST, Sentences, has_sentences, is_language, is_word
from .vocabulary import Vocabulary

__all__ = ["MOST_LABELS", "MOST_PARTS", "lexicon_of", "understood", "wanted_text"]

# Of several things at once; each combination of their labels is searched for.
MOST_PARTS = 3
_MOST_LABELS = {1: 5, 2: 3, 3: 3}
MOST_LABELS = max(_MOST_LABELS.values())
# How fast weights fall with the distance of the cosine to the nearest class's: of what words name
# slowly, of others fast, and these count less beside what is named; and the least worth keeping.
# Chosen on every other row of `benchmarks/words_queries.tsv`.
_AGREED = 0.4
_FALL = 0.05
_UNNAMED = 0.4
_WORTH = 0.1
_NOT = frozenset(
    "not without except excluding no minus nicht ohne kein keine keinen sans sin senza sem geen "
    "zonder".split()
)
_BUT = frozenset("but only just aber nur mais pero ma mas maar".split())
_OR = frozenset("or oder ou o oppure".split())
_AND = frozenset("and und et y e & +".split())
# In French, pas is a step as well: not after an article or de.
_PAS = re.compile(
    r"(?:\bil )?\b(?:n['’]y a )?"
    r"(?<!\bde )(?<!\bun )(?<!\ble )(?<!\bdes )(?<!\bles )(?<!\bses )\bpas (?:de |d['’])"
    r"|(?<=\bmais )pas ",
    re.IGNORECASE,
)
# What joins in Chinese, where no space is around it.
_UNSPACED = {"没有": "not", "不要": "not", "但是": "but", "但": "but", "或者": "or", "或": "or"}


@dataclass(frozen=True, slots=True)
class _Part:
    text: str
    joined: str  # how to what comes before: "and", "or", "not"


Predicted = frozenset[int] | None


@lru_cache(maxsize=4)
def lexicon_of(vocabulary: Vocabulary, predicted: Predicted = None) -> Lexicon:
    """The words for the classes of a library; see `Lexicon`."""
    return Lexicon(vocabulary, predicted)


@lru_cache(maxsize=4)
def _sentences_of(lexicon: Lexicon, vocabulary: Vocabulary) -> tuple[tuple[str, ...], Sentences]:
    names = tuple(filter(lexicon.is_heard, vocabulary.names))
    return names, Sentences(names)


def understood(text: str, vocabulary: Vocabulary, predicted: Predicted = None) -> Meaning:
    """What a text means in a library.

    Parameters
    ----------
    text : str
        In English, words and their parts; in 16 languages, whatever one says, with the extra
        ``text``. "and", "or", "not", "without" and "but", in several languages, join what is known
        on both sides.
    vocabulary : Vocabulary
    predicted : frozenset of int, optional
        The classes that the library's head predicts; None where that is not known.

    Raises
    ------
    ArgumentError
        Nothing in the text is known, or only what is not to be heard; the message names labels
        that are near.
    """
    parts = list(_split(text, lexicon_of(vocabulary, predicted)))
    wanted = [part for part in parts if part.joined != "not"]
    unwanted = [part for part in parts if part.joined == "not"]
    if not wanted:
        raise ArgumentError(
            f"text: expected what is to be heard, got {_short(text)!r}, "
            + ("which says only what is not" if unwanted else "without a word")
        )
    told = _Told(vocabulary, predicted)
    found = [told.labels(part.text) for part in wanted]
    if not all(found):  # "and" and "or" are within what is meant
        wanted = [_Part(wanted_text(text, vocabulary), "and")]
        found = [told.labels(wanted[0].text)]
    groups: list[dict[str, float]] = []
    for part, labels in zip(wanted, found, strict=True):
        if not labels:
            raise ArgumentError(told.nothing(part.text))
        if part.joined == "or" and groups:
            groups[-1] = {
                name: max(labels.get(name, 0.0), groups[-1].get(name, 0.0))
                for name in (*groups[-1], *labels)
            }
        else:
            groups.append(labels)
    if len(groups) > MOST_PARTS:
        raise ArgumentError(
            f"text: expected at most {MOST_PARTS} sounds at once, got {len(groups)}; join those "
            "that may stand for each other with or"
        )
    most = _MOST_LABELS[len(groups)]
    classes = [_best(labels, max(most, _count(labels))) for labels in groups]
    against: dict[str, float] = {}
    for part in unwanted:
        labels = told.labels(part.text)
        if not labels:
            raise ArgumentError(told.nothing(part.text))
        for name, weight in labels.items():
            against[name] = min(-weight, against.get(name, 0.0))
    both = {name for each in classes for name in each} & set(against)
    against = {name: weight for name, weight in against.items() if name not in both}
    if both and not against:
        raise ArgumentError(f"text: expected no sound for and against at once, got {min(both)}")
    if against:
        classes.append(dict(sorted(against.items(), key=lambda each: each[1])[:MOST_LABELS]))
    return Meaning(tuple(classes), told.read, tuple(told.unknown))


def _count(labels: Mapping[str, float]) -> int:
    """How many labels alternatives that were named have: none of these is left out."""
    return min(MOST_LABELS, sum(weight == 1.0 for weight in labels.values()))


def _best(labels: Mapping[str, float], most: int) -> dict[str, float]:
    return dict(sorted(labels.items(), key=lambda each: -each[1])[:most])


def wanted_text(text: str, vocabulary: Vocabulary) -> str:
    """A text without what is not to be heard."""
    said: list[str] = []
    for part in _split(text, lexicon_of(vocabulary)):
        if part.joined != "not":
            said += [part.joined] * bool(said) + [part.text]
    return " ".join(said)


class _Told:
    """What is told of words on the way: those that are unknown or misspelt."""

    def __init__(self, vocabulary: Vocabulary, predicted: Predicted) -> None:
        self._vocabulary = vocabulary
        self._lexicon = lexicon_of(vocabulary, predicted)
        self.read: dict[str, str] = {}
        self.unknown: list[str] = []

    def labels(self, text: str) -> dict[str, float]:
        """The labels that a text without connectives may mean, best first; none if nothing is near.

        What is, as a whole, the name of a label means this. With the sentence encoder, others that
        are near count too, words that name a label more so.
        """
        lexicon = self._lexicon
        if lexicon.silent(text) is not None:
            naming = lexicon.find(text)
            return {} if naming.read else dict(naming.labels)
        if not has_sentences():
            naming = lexicon.find(text)
            self.read |= naming.read
            self.unknown += naming.unknown
            return dict(naming.labels)
        naming = lexicon.find(text, guess=False)
        if naming.whole:
            return dict(naming.labels)
        text = " ".join(spelt(text).split())
        names, sentences = _sentences_of(lexicon, self._vocabulary)
        near = sentences.near(text)
        if not naming.labels:
            is_one = is_one_word(text)
            is_known = near.max() >= LEAST[is_one] and is_language(text)
            if not is_known or (is_one and not is_word(text)):
                guess = lexicon.find(text)
                if guess.labels:
                    self.read |= guess.read
                    self.unknown += guess.unknown
                    return dict(guess.labels)
            if not is_known:
                return {}
            self.unknown += naming.unknown
        cosines = dict(zip(names, near.tolist(), strict=True))
        named = {
            name: weight * float(np.exp((cosines.get(name, near.max()) - near.max()) / _AGREED))
            for name, weight in naming.labels.items()
        }
        highest = max(named.values(), default=1.0)
        weights = {name: weight / highest for name, weight in named.items()}
        for name, cosine in cosines.items():
            weight = float(np.exp((cosine - near.max()) / _FALL)) * (_UNNAMED if named else 1)
            weights[name] = max(weight, weights.get(name, 0.0))
        return _best({name: w for name, w in weights.items() if w >= _WORTH}, MOST_LABELS)

    def nothing(self, text: str) -> str:
        """What to say of a text that means nothing."""
        said = _short(text)
        unheard = self._lexicon.silent(text)
        if unheard is not None:
            return (
                f"text: {said!r} is the label {unheard}, which nothing predicts here; leave it out"
            )
        if has_sentences():
            names, sentences = _sentences_of(self._lexicon, self._vocabulary)
            near = sentences.near(" ".join(spelt(text).split()))
            nearest = [names[index] for index in np.argsort(-near)[:MOST_LABELS]]
        else:
            nearest = self._lexicon.nearest(text)
        message = f"text: no word of {said!r} is known as a sound; the nearest labels are: "
        message += "; ".join(nearest) or "none"
        if not has_sentences():
            message += ". Free text, in many languages, needs: pip install 'soundsearch[text]'"
        return message


def _split(text: str, lexicon: Lexicon) -> Iterator[_Part]:
    """The parts of a text, between words that join them."""
    for sign, word in _UNSPACED.items():
        text = text.replace(sign, f" {word} ")
    text = _PAS.sub("sans ", " ".join(text.split()))
    tokens = text.split()
    folded = [token.strip(string.punctuation.replace("&", "").replace("+", "")).casefold()
              for token in tokens]  # fmt: skip
    kept = _within_phrases(tokens, lexicon)

    def says(said: Sequence[str]) -> bool:
        words = words_of(" ".join(said))
        return lexicon.is_phrase(words) or not EMPTY.issuperset(words)

    said: list[str] = []
    joined = "and"
    for token, word, is_kept in zip(tokens, folded, kept, strict=True):
        next_joined = None if is_kept else _joining(word, joined)
        if next_joined is None:
            said.append(token)
            continue
        if says(said):
            yield _Part(" ".join(said), joined)
        said, joined = [], next_joined
    if says(said):
        yield _Part(" ".join(said), joined)
    elif joined == "not":
        raise ArgumentError(
            "text: expected what is not to be heard after not, got nothing there in "
            f"{_short(text)!r}"
        )


def _joining(word: str, before: str) -> str | None:
    """How a word joins what comes after it; None for one that does not."""
    if word in _NOT:
        return "not"
    if word in _BUT:
        return "and"
    if word in _OR or word in _AND:  # after "not" they go on with what is not to be heard
        return "not" if before == "not" else "or" if word in _OR else "and"
    return None


def _within_phrases(tokens: Sequence[str], lexicon: Lexicon) -> list[bool]:
    """Which words belong to the name of a label of several words, such as "rock and roll"."""
    kept = [False] * len(tokens)
    for first in range(len(tokens)):
        for last in range(min(len(tokens), first + lexicon.longest), first + 1, -1):
            if lexicon.is_phrase(words_of(" ".join(tokens[first:last]))):
                kept[first:last] = [True] * (last - first)
                break
    return kept


def _short(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."
