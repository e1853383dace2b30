"""Label scores from embeddings, and the choice of the few labels worth showing."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders
from soundsearch_ingest.archives import read_archive
from soundsearch_ingest.products import product

from ..errors import EncoderError, LibraryDamaged
from ..results import Label
from ..stores.records import LABEL, NO_LABEL
from .ontology import CLASSES, Node, ontology

__all__ = [
    "SILENCE",
    "Head",
    "best_labels",
    "bundled_head",
    "given",
    "head_of",
    "named",
    "silence",
    "unlabelled",
    "write_head",
]

SILENCE = "/m/028v0c"

_LARGEST = 1 << 26
_DECIMALS = 9

# AudioSet class indices that YAMNet leaves out; it keeps the order of the others.
_NOT_IN_YAMNET = (1, 2, 12, 32, 33, 277)

# A score below this is not worth showing.
_WORTH_SHOWING = 0.05
# A class is left out if one below it has at least this share of its score.
_EXPLAINED_BY_CHILD = 0.6
# How many of the best classes are considered for this.
_CANDIDATES = 16


class Head:
    """A linear classifier on the embeddings of one space.

    Parameters
    ----------
    path : Path
        NumPy archive with ``weight`` [classes, dimension], ``bias`` [classes], ``space``,
        ``mids`` [classes].

    Raises
    ------
    EncoderError
        The file is missing, damaged, or not a head.
    """

    def __init__(self, path: Path) -> None:
        try:
            stored = read_archive(path, _LARGEST)
            weight = stored["weight"].astype(np.float32)
            bias = stored["bias"].astype(np.float32)
            self.space = str(stored["space"])
            mids = [str(mid) for mid in stored["mids"]]
            _check(weight, bias, mids)
        except Exception as error:  # zipfile, zlib and NumPy raise their own
            raise EncoderError(
                f"{path}: cannot be read as a label head ({error}); reinstall soundsearch, or the "
                "encoder that the head belongs to"
            ) from error
        self.dimension = weight.shape[1]
        self._weight = np.ascontiguousarray(weight.T)
        self._bias = bias
        nodes = ontology().nodes
        columns = {nodes[mid].class_index: column for column, mid in enumerate(mids)}
        self._columns = columns
        # Column `len(mids)` holds zeros: the score of classes that the head lacks.
        own = [columns.get(index, len(mids)) for index in range(CLASSES)]
        groups = [
            [own[index], *(own[below] for below in np.flatnonzero(row))]
            for index, row in enumerate(ontology().above)
        ]
        self._members = np.concatenate(groups)
        self._starts = np.cumsum([0] + [len(group) for group in groups[:-1]])

    def scores(self, embeddings: NDArray[np.float32]) -> NDArray[np.float32]:
        """Predict the probability of every AudioSet class for every embedding.

        Parameters
        ----------
        embeddings : float32 [n, dimension]

        Returns
        -------
        float32 [n, 527]
            Independent probabilities: they do not sum to 1. The score of a class is never below
            that of a class below it in the ontology.
        """
        logits = product(embeddings, self._weight) + self._bias
        own = np.zeros((len(logits), logits.shape[1] + 1), np.float32)
        own[:, :-1] = _probability(logits)
        return np.maximum.reduceat(own[:, self._members], self._starts, axis=1)

    def directions(self, classes: Iterable[int]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Weights, float32 [m, dimension], and biases [m] of those classes that the head has."""
        columns = [self._columns[index] for index in sorted(classes) if index in self._columns]
        return self._weight[:, columns].T, self._bias[columns]

    def highest(
        self, embeddings: NDArray[np.float32], classes: Iterable[int]
    ) -> NDArray[np.float64]:
        """The highest probability among some classes for every embedding, float64 [n].

        In float32, those that are nearly certain would all be 1. Rounded, so that a class has the
        same one alone and among others.
        """
        weights, biases = self.directions(classes)
        if not len(biases):
            return np.zeros(len(embeddings))
        rows: Any = embeddings.astype(np.float64)
        columns: Any = np.ascontiguousarray(weights.T.astype(np.float64))
        logits: Any = np.empty((len(rows), len(biases)))
        product(rows, columns, logits)
        return _probability(np.round((logits + biases).max(axis=1), _DECIMALS))


def _probability(logits: NDArray[Any]) -> NDArray[Any]:
    probability: NDArray[Any] = 1.0 / (1.0 + np.exp(-np.clip(logits, -60.0, 60.0)))
    return probability


def _check(weight: NDArray[np.float32], bias: NDArray[np.float32], mids: list[str]) -> None:
    nodes = ontology().nodes
    unknown = [mid for mid in mids if mid not in nodes or nodes[mid].class_index is None]
    if unknown:
        raise ValueError(f"expected AudioSet classes, got {unknown[0]!r}")
    if weight.ndim != 2 or len(weight) != len(mids) or bias.shape != (len(mids),):
        raise ValueError(
            f"expected a weight [{len(mids)}, dimension] and a bias [{len(mids)}], got "
            f"{list(weight.shape)} and {list(bias.shape)}"
        )
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError("its weights are not finite")


def write_head(
    path: Path, space: str, weight: NDArray[np.float32], bias: NDArray[np.float32]
) -> None:
    """Write a `Head` with YAMNet's classes.

    Parameters
    ----------
    path : Path
        Ends in ``.npz``.
    space : str
        The space of its embeddings.
    weight : float32 [521, dimension]
    bias : float32 [521]
    """
    mids = [node.mid for node in ontology().classes if node.class_index not in _NOT_IN_YAMNET]
    np.savez(path, weight=weight, bias=bias, space=np.array(space), mids=np.array(mids))


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
    scores : float32 [n, 527]
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
    below = ontology().above[top[:, :, None], top[:, None, :]]
    close = best[:, None, :] >= _EXPLAINED_BY_CHILD * best[:, :, None]
    kept = ~(below & close).any(axis=2) & (best >= _WORTH_SHOWING)
    # A stable sort moves the kept ones forward without changing their order.
    order = np.argsort(~kept, axis=1, kind="stable")[:, :count]
    out = np.empty(order.shape, LABEL)
    out["class_index"] = np.where(kept[rows, order], top[rows, order], NO_LABEL)
    out["score"] = np.where(kept[rows, order], best[rows, order], 0.0)
    return out


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


def given(classes: Iterable[int]) -> tuple[Label, ...]:
    """Human labels, by class index, as records with score 1."""
    table = ontology()
    return tuple(
        Label(node.name, node.mid, 1.0, table.path(node.mid)) for node in map(_class, classes)
    )


def named(labels: NDArray[np.void]) -> tuple[Label, ...]:
    """Stored labels, LABEL [n], as records with names and paths."""
    table = ontology()
    return tuple(
        Label(node.name, node.mid, float(score), table.path(node.mid))
        for index, score in labels.tolist()
        if index != NO_LABEL
        for node in (_class(index),)
    )


def _class(index: int) -> Node:
    if index >= CLASSES:
        raise LibraryDamaged(
            f"a clip of the library has the label {index}, and there are {CLASSES} only (from 0 "
            "on); restore the library from a copy, or ingest again into a new one"
        )
    return ontology().classes[index]
