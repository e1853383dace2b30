"""Label scores from embeddings, and the choice of the few labels worth showing."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders
from soundsearch_ingest.archives import read_archive
from soundsearch_ingest.products import product

from ..errors import EncoderError
from ..stores.records import LABEL, NO_LABEL
from ..vectors import unit
from .headfile import LARGEST, HeadSpec, spec_of, write_head
from .ontology import CLASSES, ontology
from .vocabulary import Vocabulary

__all__ = [
    "SILENCE",
    "ClipPool",
    "Head",
    "HeadSpec",
    "best_labels",
    "bundled_head",
    "head_of",
    "silence",
    "unlabelled",
    "write_head",
]

SILENCE = "/m/028v0c"

# The poolings of the scores of segments; the others pool embeddings.
_OF_SCORES = ("power", "max")

# A layer gives no higher number to the next: a product of a damaged embedding stays finite.
_HIGHEST = 1e15
_DECIMALS = 9
# How many rows are scored at a time: some megabytes of scores.
_ROWS = 1024
# A clip's score for a class is a weighted power mean over its segments, between the average, which
# drowns a short event, and the maximum, which trusts every stray segment.
_POOLING_POWER = 2.0

# A score below this is not worth showing.
_WORTH_SHOWING = 0.05
# A class is left out if one below it has at least this share of its score.
_EXPLAINED_BY_CHILD = 0.6
# How many of the best classes are considered for this.
_CANDIDATES = 16

Floats = NDArray[np.float32]


class Head:
    """A classifier on the embeddings of one space.

    Parameters
    ----------
    path : str or Path
        A file that `write_head` wrote, or one of version 0.1: an archive with ``weight`` [classes,
        dimension], ``bias`` [classes], ``space``, ``mids`` [classes].
    content : bytes, optional
        What the file holds, if it is not to be read; `path` is then only what messages call it.

    Attributes
    ----------
    spec : HeadSpec
    space : str
    dimension : int
    vocabulary : Vocabulary
        What the columns of scores are.
    is_linear : bool
        Whether its scores grow along directions: one layer, sigmoid, embeddings as they are.

    Raises
    ------
    EncoderError
        The file is missing, damaged, or not a head.
    """

    def __init__(self, path: str | os.PathLike[str], content: bytes | None = None) -> None:
        try:
            source = Path(path) if content is None else io.BytesIO(content)
            self.spec = spec = spec_of(read_archive(source, LARGEST))
        except Exception as error:  # zipfile, zlib and NumPy raise their own
            raise EncoderError(
                f"{path}: cannot be read as a label head ({error}); expected a file that "
                "soundsearch wrote: train it again, restore it from a copy or, if it belongs to an "
                "encoder, import that one again or reinstall soundsearch"
            ) from error
        self.space = spec.space
        self.dimension = spec.dimension
        self.vocabulary = Vocabulary.of(spec.names, spec.mids)
        self.is_linear = len(spec.layers) == 1 and spec.output == "sigmoid" and not spec.normalised
        self.pools_scores = spec.pooling in _OF_SCORES
        self._layers = [(np.ascontiguousarray(weight.T), bias) for weight, bias in spec.layers]
        pairs = zip(spec.names, spec.mids, strict=True)
        columns = {self.vocabulary.index(*pair): column for column, pair in enumerate(pairs)}
        self._columns = columns
        # The column after the last holds zeros: the score of classes that the head lacks.
        own = [columns.get(index, len(columns)) for index in range(len(self.vocabulary))]
        groups = [
            [own[index], *(own[below] for below in np.flatnonzero(row))]
            for index, row in enumerate(ontology().above)
        ]
        groups += [[column] for column in own[CLASSES:]]
        self._members = np.concatenate(groups)
        self._starts = np.cumsum([0] + [len(group) for group in groups[:-1]])

    def to_dict(self) -> dict[str, Any]:
        """What the head is and how it was made, for JSON; without its weights."""
        spec = self.spec
        return {
            "space": self.space,
            "layers": [self.dimension, *(len(bias) for _, bias in spec.layers)],
            "output": spec.output,
            "pooling": spec.pooling,
            "normalised": spec.normalised,
            "classes": list(spec.names),
            "own_classes": list(self.vocabulary.own),
            "made": dict(spec.made),
        }

    def scores(self, embeddings: Floats) -> Floats:
        """Predict the score of every class for every embedding.

        Parameters
        ----------
        embeddings : float32 [n, dimension]

        Returns
        -------
        float32 [n, classes of the vocabulary]
            Of a sigmoid, independent probabilities: they do not sum to 1. Of a softmax, those of
            the head's classes do. Never is the score of a class below that of a class below it in
            the ontology; a class that the head lacks has the highest of those below it, or 0.
        """
        return self._scored(unit(embeddings) if self.spec.normalised else embeddings)

    def _scored(self, embeddings: Floats) -> Floats:
        values = embeddings
        for number, (weight, bias) in enumerate(self._layers):
            if number:
                values = np.clip(values, 0, _HIGHEST)
            values = product(values, weight) + bias
        own = np.zeros((len(values), values.shape[1] + 1), np.float32)
        own[:, :-1] = _softmax(values) if self.spec.output == "softmax" else _probability(values)
        return np.maximum.reduceat(own[:, self._members], self._starts, axis=1)

    def clip_scores(self, embeddings: Floats, shares: Floats, starts: NDArray[np.int64]) -> Floats:
        """Predict the score of every class for clips, as `HeadSpec.pooling` says.

        Parameters
        ----------
        embeddings : float32 [n, dimension]
            Of the clips' segments, one clip after the other.
        shares : float32 [n]
            How much each counts, above 0; see `soundsearch.vectors.loudness_weights`.
        starts : int64 [clips]
            Where each clip begins, ascending from 0; none is without segments.

        Returns
        -------
        float32 [clips, classes of the vocabulary]
        """
        spec = self.spec
        if not self.pools_scores and spec.normalised:
            embeddings = unit(embeddings)
        weights: NDArray[Any] = shares.astype(np.float64)
        if spec.attention is not None:
            towards = product(embeddings, spec.attention[:, None])[:, 0].astype(np.float64)
            lengths = np.diff(starts, append=len(towards))
            weights = np.exp(towards - np.repeat(np.maximum.reduceat(towards, starts), lengths))
        pool = ClipPool(self, len(starts))
        owners = np.repeat(np.arange(len(starts)), np.diff(starts, append=len(shares)))
        for rows in _blocks(len(embeddings)):
            values = self.scores(embeddings[rows]) if self.pools_scores else embeddings[rows]
            pool.add(values, weights[rows], owners[rows])
        if self.pools_scores:
            return pool.pooled().astype(np.float32)
        return self._scored(pool.pooled().astype(np.float32))

    @property
    def predicted(self) -> frozenset[int]:
        """The classes of the vocabulary that it predicts, not by those below them alone."""
        return frozenset(self._columns)

    def directions(self, classes: Iterable[int]) -> tuple[Floats, Floats]:
        """Weights, float32 [m, dimension], and biases [m] of those classes that the head has.

        Of a linear head only.
        """
        if not self.is_linear:
            raise ValueError("only a linear head has directions")
        [(weight, bias)] = self._layers
        columns = [self._columns[index] for index in sorted(classes) if index in self._columns]
        return weight[:, columns].T, bias[columns]

    def highest(self, embeddings: Floats, classes: Iterable[int]) -> NDArray[np.float64]:
        """The highest probability among some classes for every embedding, float64 [n].

        Of a linear head. In float32, those that are nearly certain would all be 1. Rounded, so
        that a class has the same one alone and among others.
        """
        weights, biases = self.directions(classes)
        if not len(biases):
            return np.zeros(len(embeddings))
        rows: Any = embeddings.astype(np.float64)
        columns: Any = np.ascontiguousarray(weights.T.astype(np.float64))
        logits: Any = np.empty((len(rows), len(biases)))
        product(rows, columns, logits)
        return _probability(np.round((logits + biases).max(axis=1), _DECIMALS))


class ClipPool:
    """Pools what is said of segments into what is said of clips, a block of segments at a time.

    Parameters
    ----------
    head : Head
    clips : int
    """

    def __init__(self, head: Head, clips: int) -> None:
        self._pooling = head.spec.pooling
        width = len(head.vocabulary) if head.pools_scores else head.dimension
        self._sums = np.zeros((clips, width))
        self._weights = np.zeros(clips)

    def add(self, values: Floats, weights: NDArray[Any], owners: NDArray[np.int64]) -> None:
        """Take in scores or embeddings, [n, width], of the segments of clips, ascending."""
        starts = np.flatnonzero(np.diff(owners, prepend=-1))
        clips = owners[starts]
        if self._pooling == "max":
            highest = np.maximum.reduceat(values, starts, axis=0)
            self._sums[clips] = np.maximum(self._sums[clips], highest)
            return
        if self._pooling == "power":
            values = values**_POOLING_POWER
        self._sums[clips] += np.add.reduceat(values * weights[:, None], starts, axis=0)
        self._weights[clips] += np.add.reduceat(weights, starts)

    def pooled(self) -> NDArray[np.float64]:
        """What was pooled, float64 [clips, width]; zeros for a clip without segments."""
        if self._pooling == "max":
            return self._sums
        means = self._sums / np.where(self._weights > 0, self._weights, 1)[:, None]
        return means ** (1 / _POOLING_POWER) if self._pooling == "power" else means


def _blocks(count: int) -> Iterator[slice]:
    return (slice(begin, begin + _ROWS) for begin in range(0, count, _ROWS))


def _probability(logits: NDArray[Any]) -> NDArray[Any]:
    probability: NDArray[Any] = 1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))
    return probability


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


@cache
def bundled_head() -> Head:
    """The head of the bundled encoder."""
    return Head(Path(__file__).with_name("mini.npz"))


def head_of(encoder: str, space: str) -> Head | None:
    """The head that reads the embeddings of an encoder in a space; None if there is none."""
    if space == bundled_head().space:
        return bundled_head()
    path = encoders.head_file(encoder)
    head = None if path is None else Head(path)
    return head if head is not None and head.space == space else None


def best_labels(scores: NDArray[np.float32], count: int) -> NDArray[np.void]:
    """Choose the labels worth showing, best first.

    A class is left out if a class below it in the ontology has at least 0.6 of its score: the path
    of the lower one names it anyway.

    Parameters
    ----------
    scores : float32 [n, classes of a vocabulary]
    count : int
        The most labels per row.

    Returns
    -------
    LABEL [n, count]
    """
    rows = np.arange(len(scores))[:, None]
    top = np.argpartition(-scores, _CANDIDATES, axis=1)[:, :_CANDIDATES]
    top = top[rows, np.argsort(-scores[rows, top], axis=1, kind="stable")]
    best = scores[rows, top]
    nodes = np.minimum(top, CLASSES)  # own classes have none above or below them
    below = _above()[nodes[:, :, None], nodes[:, None, :]]
    close = best[:, None, :] >= _EXPLAINED_BY_CHILD * best[:, :, None]
    kept = ~(below & close).any(axis=2) & (best >= _WORTH_SHOWING)
    # A stable sort moves the kept ones forward without changing their order.
    order = np.argsort(~kept, axis=1, kind="stable")[:, :count]
    out = np.empty(order.shape, LABEL)
    out["class_index"] = np.where(kept[rows, order], top[rows, order], NO_LABEL)
    out["score"] = np.where(kept[rows, order], best[rows, order], 0.0)
    return out


@cache
def _above() -> NDArray[np.bool_]:
    return np.pad(ontology().above, (0, 1))


def silence(count: int) -> NDArray[np.void]:
    """The labels of a near-silent segment, LABEL [count]: only Silence."""
    out = unlabelled(count)
    out[0] = (ontology().nodes[SILENCE].class_index, 1.0)
    return out


def unlabelled(*shape: int) -> NDArray[np.void]:
    """An array LABEL of this shape without labels."""
    out = np.zeros(shape, LABEL)
    out["class_index"] = NO_LABEL
    return out
