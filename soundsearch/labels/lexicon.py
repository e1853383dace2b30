"""What the words of a text name among the classes of a library, without any model.

Names, their parts, ids, synonyms, plurals and typing errors. The tables of synonyms and of words in
other languages beside this module are this project's own; that of words that are no typing errors
is made by ``recipes.mini.other_words``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

from .ontology import ontology
from .vocabulary import Vocabulary

__all__ = [
    "EMPTY",
    "Lexicon",
    "Naming",
    "is_one_word",
    "other_words",
    "parts_of",
    "singular",
    "spelt",
    "words_of",
]

_TABLES = ("synonyms.tsv", "translations.tsv")
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# French words that lose a vowel, and scripts that put no space between words.
_ELIDED = re.compile(r"^(?:[cdjlmnst]|qu)'")
_UNSPACED = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")
_IN_BRACKETS = re.compile(r"\s*\(([^)]*)\)")
_BETWEEN_PARTS = re.compile(r",|/|;")
# Words that say nothing of a sound.
EMPTY = frozenset(
    "a an the of in on at to and or with for by from into over under near far away some any this "
    "that these those is are was be being it its his her my your their our as sound sounds noise "
    "noises audio recording recordings someone somebody something very few big small little loud "
    "soft old new everything anything all every else don't".split()
)
# A synonym, or a part of a name, says less than the whole name.
_OTHER_WORD = 0.95
# So does one word beside several that belong together.
_ONE_WORD = 0.9
# A label above another that is named as well says less; so does a word that is only part of a name.
_ABOVE = 0.8
_PART = 0.5
# A node that nothing predicts is heard as what lies above it, if at all.
_UNHEARD = 0.5
# Shorter words have too many neighbours for a typing error to be told.
_SHORTEST = 4
_LONG = 8
_NEAREST = 5
# What is being typed may be something else than a label.
_ALIKE = 75


@dataclass(frozen=True, slots=True)
class Naming:
    """What a text names.

    Attributes
    ----------
    labels : mapping of str to float
        Labels by name, each with a weight from above 0 to 1; empty where no word is known.
    read : mapping of str to str
        Words that are taken for typing errors, and what they are read as.
    unknown : tuple of str
        Words that name nothing, in the singular.
    whole : bool
        Whether all of the text is what a label is called.
    """

    labels: Mapping[str, float]
    read: Mapping[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()
    whole: bool = False


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case and without marks around them."""
    folded = (
        unicodedata.normalize("NFKC", spelt(text))
        .casefold()
        .replace("’", "'")
        .replace("&", " and ")
    )
    return [_ELIDED.sub("", word).removesuffix("'s") for word in _WORD.findall(folded)]


def spelt(text: str) -> str:
    """A text with pictures, such as emoji, by their names in Unicode."""
    return "".join(
        f" {unicodedata.name(char, '').lower()} " if unicodedata.category(char) == "So" else char
        for char in text
    )


def is_one_word(text: str) -> bool:
    """Whether a text is one word; in a script without spaces, whether it has two signs at most."""
    return len(text.split()) == 1 and (len(text) <= 2 or not _UNSPACED.search(text))


def singular(word: str) -> str:
    """An English word without the ending of a plural."""
    if len(word) <= 3 or word.endswith(("ss", "us", "is")) or not word.endswith("s"):
        return word
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("shes", "ches", "xes", "sses", "zzes")):
        return word[:-2]
    return word[:-1]


def parts_of(name: str) -> list[str]:
    """A label's name as people would say it: whole, without brackets, and each of its parts."""
    bare = _IN_BRACKETS.sub("", name)
    parts = [part.strip() for part in _BETWEEN_PARTS.split(bare)]
    inside = [f"{found} {bare}" for found in _IN_BRACKETS.findall(name) if "," not in found]
    every = [name, bare, *parts, *inside]
    return list(dict.fromkeys(part for part in every if part and part != "etc."))


@cache
def _others() -> dict[str, list[str]]:
    """Other words for nodes by their names."""
    found: dict[str, list[str]] = {}
    for table in _TABLES:
        for line in Path(__file__).with_name(table).read_text("utf-8").splitlines():
            if not line.startswith("#"):
                name, *columns = line.split("\t")
                found.setdefault(name, []).extend("|".join(columns).split("|"))
    return found


@cache
def other_words() -> frozenset[str]:
    """Words, in the singular, that mean something else than the sound that they are spelt like."""
    path = Path(__file__).with_name("other_words.txt")
    return frozenset(path.read_text("utf-8").split())


def _key(text: str) -> tuple[str, ...]:
    return tuple(map(singular, words_of(text)))


class Lexicon:
    """The words for the classes of a vocabulary.

    Parameters
    ----------
    vocabulary : Vocabulary
    predicted : frozenset of int, optional
        The classes that the library's head predicts; labels of none of them are left out. None
        where that is not known.

    Attributes
    ----------
    phrases : dict of tuple of str to dict of str to float
        The words of what labels are called, in the singular, and these labels with their weights.
    longest : int
        How many words the longest phrase has.
    """

    def __init__(self, vocabulary: Vocabulary, predicted: frozenset[int] | None = None) -> None:
        self._vocabulary = vocabulary
        self._predicted = frozenset(range(len(vocabulary))) if predicted is None else predicted
        self.phrases: dict[tuple[str, ...], dict[str, float]] = {}
        self._said: dict[tuple[str, ...], str] = {}
        self._silent: dict[tuple[str, ...], str] = {}
        for name in self.names:
            if not any(self._heard(name)):
                self._silent |= {_key(phrase): name for phrase in parts_of(name)}
                continue
            whole = {name, _IN_BRACKETS.sub("", name)}
            for phrase in (*parts_of(name), *_others().get(name, ())):
                self._add(phrase, name, 1.0 if phrase in whole else _OTHER_WORD)
        self.longest = max(map(len, self.phrases))

    def _add(self, phrase: str, name: str, weight: float) -> None:
        key = _key(phrase)
        if key:
            names = self.phrases.setdefault(key, {})
            names[name] = max(weight, names.get(name, 0.0))
            self._said.setdefault(key, phrase)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All labels: the nodes of the ontology, then the classes of the head's own."""
        return (*(node.name for node in ontology().nodes.values()), *self._vocabulary.own)

    @cached_property
    def _by_word(self) -> dict[str, set[str]]:
        """Labels by the single words of their names."""
        found: dict[str, set[str]] = {}
        for name in self.names:
            for word in _key(name):
                if word not in EMPTY:
                    found.setdefault(word, set()).add(name)
        return found

    def is_phrase(self, words: Iterable[str]) -> bool:
        """Whether words are, as a whole, what a label is called."""
        return tuple(map(singular, words)) in self.phrases

    def silent(self, text: str) -> str | None:
        """The label that a text is the name of, if nothing is predicted of it."""
        return self._silent.get(_key(text))

    def find(self, text: str, *, guess: bool = True) -> Naming:
        """The labels that words of a text name, the longest phrases first.

        Parameters
        ----------
        text : str
        guess : bool
            Whether words that are not known are tried as parts of names and as typing errors,
            where no other word is known.
        """
        by_id = ontology().nodes.get(text.strip().lower())
        if by_id is not None:
            return Naming(self._weighed({by_id.name: 1.0}), whole=True)
        keys = list(_key(self._spaced(text)))
        found: dict[str, float] = {}
        unknown = []
        at = phrases = 0
        while at < len(keys):
            length = self._length_at(keys, at)
            if length:
                phrases += 1
                share = 1.0 if length > 1 else _ONE_WORD
                for name, weight in self._meant(tuple(keys[at : at + length])).items():
                    found[name] = max(weight * share, found.get(name, 0.0))
            elif keys[at] not in EMPTY:
                unknown.append(keys[at])
            at += length or 1
        if found:
            whole = phrases == 1 and not unknown
            return Naming(self._weighed(found), unknown=tuple(unknown), whole=whole)
        return self._guessed(unknown) if guess else Naming({}, unknown=tuple(unknown))

    def _spaced(self, text: str) -> str:
        """A text with spaces around the phrases that it has in a script without them."""
        if not _UNSPACED.search(text):
            return text
        return self._unspaced.sub(r" \g<0> ", text)

    @cached_property
    def _unspaced(self) -> re.Pattern[str]:
        phrases = [key[0] for key in self.phrases if len(key) == 1 and _UNSPACED.search(key[0])]
        return re.compile("|".join(map(re.escape, sorted(phrases, key=len, reverse=True))))

    def _guessed(self, words: Sequence[str]) -> Naming:
        """The labels that have words in their names, or else that words may have been meant for."""
        read: dict[str, str] = {}
        of_word = {word: dict.fromkeys(self._by_word.get(word, ()), _PART) for word in words}
        if not any(of_word.values()):
            read = {word: near for word in words if (near := self.misspelt(word))}
            of_word = {word: self.phrases[_key(near)] for word, near in read.items()}
        known = {word for word, labels in of_word.items() if labels}
        rest = tuple(word for word in words if word not in known)
        if len(rest) > len(known):  # more likely words of something else
            return Naming({}, unknown=tuple(words))
        found = {name: weight for labels in of_word.values() for name, weight in labels.items()}
        return Naming(self._weighed(found), read, rest, whole=len(words) == len(read) == 1)

    def _meant(self, key: tuple[str, ...]) -> dict[str, float]:
        """The labels of a phrase: those whose whole name it is, if there are such."""
        names = self.phrases[key]
        whole = {name: weight for name, weight in names.items() if weight == 1.0}
        return whole or names

    def _length_at(self, keys: list[str], at: int) -> int:
        """How many of the words from here on are the longest phrase; 0 for none."""
        for length in range(min(self.longest, len(keys) - at), 0, -1):
            phrase = tuple(keys[at : at + length])
            is_empty = length == 1 < len(keys) and phrase[0] in EMPTY
            if phrase in self.phrases and not is_empty:
                return length
        return 0

    def misspelt(self, word: str) -> str | None:
        """The phrase of one word that is the nearest to a word, if one is near.

        None for a word that is known to mean something else.
        """
        from rapidfuzz.distance import OSA
        from rapidfuzz.process import extractOne

        if len(word) < _SHORTEST or word in other_words():
            return None
        most = 2 if len(word) >= _LONG else 1
        single = [
            key[0]
            for key in self.phrases
            if len(key) == 1 and len(key[0]) >= _SHORTEST and key[0][0] == word[0]
        ]
        found = extractOne(word, single, scorer=OSA.distance, score_cutoff=most)
        return None if found is None else self._said[(found[0],)]

    def _weighed(self, found: Mapping[str, float]) -> dict[str, float]:
        """Labels with weights, those that can be heard; best first."""
        heard: dict[str, float] = {}
        for name, weight in found.items():
            for label, share in self._heard(name):
                heard[label] = max(heard.get(label, 0.0), weight * share)
        above = {up for name in heard for up in self._above(name)}
        weights = {name: w * (_ABOVE if name in above else 1) for name, w in heard.items()}
        highest = max(weights.values(), default=0.0)
        if highest >= _ABOVE:  # else it is known that little is said
            weights = {name: weight / highest for name, weight in weights.items()}
        sizes = {name: len(self._vocabulary.classes_below(name)) for name in weights}
        return dict(sorted(weights.items(), key=lambda each: (-each[1], sizes[each[0]])))

    def is_heard(self, name: str) -> bool:
        """Whether something is predicted of a label, or of one below it."""
        return not self._predicted.isdisjoint(self._vocabulary.classes_below(name))

    def _heard(self, name: str) -> Iterator[tuple[str, float]]:
        """A label, or what is nearest above it if nothing is said of it."""
        if self.is_heard(name):
            yield name, 1.0
            return
        if name in self._vocabulary.own:
            return
        nodes = ontology().nodes
        [node] = [node for node in nodes.values() if node.name == name]
        for mid in node.parents:
            if nodes[mid].class_index in self._predicted:
                yield nodes[mid].name, _UNHEARD

    def _above(self, name: str) -> set[str]:
        mid = _mids().get(name)
        return (
            set()
            if mid is None
            else {ontology().nodes[above].name for above in ontology().ancestors(mid)}
        )

    def nearest(self, text: str, least: float = 0) -> list[str]:
        """Labels whose names are spelt most like a text; `least` of 100 is how much, at least."""
        from rapidfuzz.fuzz import WRatio
        from rapidfuzz.process import extract

        keys = {" ".join(key): names for key, names in self.phrases.items()}
        text = " ".join(_key(text))
        found = extract(text, list(keys), scorer=WRatio, limit=4 * _NEAREST, score_cutoff=least)
        names = [name for key, *_ in found for name in keys[key]]
        heard = (label for name in names for label, _ in self._heard(name))
        return list(dict.fromkeys(heard))[:_NEAREST]

    @cached_property
    def _in_order(self) -> list[tuple[str, list[str]]]:
        """What is said and the labels that it stands for, short before long."""
        said = ((" ".join(words_of(text)), key) for key, text in self._said.items())
        ordered = sorted(said, key=lambda each: (len(each[0]), each[0]))
        return [(text, list(self.phrases[key])) for text, key in ordered]

    def complete(self, typed: str, count: int = 8) -> list[str]:
        """Labels for what is being typed: what begins so, then words that do, then what is near.

        Parameters
        ----------
        typed : str
            Names, ids, parts of names and synonyms are completed.
        count : int
            How many labels at most.

        Returns
        -------
        list of str
            Names of labels, none twice.
        """
        start = " ".join(words_of(typed))
        if not start:
            return []
        begins: list[str] = []
        within: list[str] = []
        for text, names in self._in_order:
            if text.startswith(start):
                begins += names
            elif f" {start}" in text:
                within += names
        own = [name for name in (*begins, *within) if " ".join(words_of(name)).startswith(start)]
        found = list(dict.fromkeys([*own, *begins, *within]))
        if not found and len(start) >= _SHORTEST:
            found = self.nearest(start, _ALIKE)
        return [name for name in found if self.is_heard(name)][:count]


@cache
def _mids() -> dict[str, str]:
    return {node.name: mid for mid, node in ontology().nodes.items()}
