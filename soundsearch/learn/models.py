"""A classifier in training: layers on embeddings, and a pooling over the segments of a clip."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .bags import Bags

__all__ = ["Model", "attended", "log_softmax", "losses", "sigmoid"]

Floats = NDArray[np.float64]
# Segments that are scored at once.
_SEGMENTS = 8192

Layers = tuple[tuple[Floats, Floats], ...]


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Model:
    """What `soundsearch.labels.head.HeadSpec` holds, in float64; see there.

    Attributes
    ----------
    layers : tuple of (float64 [m, n], float64 [m])
    output : str
        ``softmax`` or ``sigmoid``.
    pooling : str
        ``mean``, ``max`` or ``attention``.
    attention : float64 [dimension] or None
    """

    layers: Layers
    output: str
    pooling: str
    attention: Floats | None = None

    def __repr__(self) -> str:
        return f"<Model, {len(self.layers)} layers, {self.pooling}, {self.output}>"

    def logits(self, bags: Bags) -> Floats:
        """Float64 [rows, classes]: of clips, or of segments where their scores are pooled."""
        if self.pooling == "max":
            values = bags.vectors
        elif self.attention is not None:
            values = attended(bags, self.attention)[1]
        else:
            values = bags.means()
        for number, (weight, bias) in enumerate(self.layers):
            values = (np.maximum(values, 0) if number else values) @ weight.T + bias
        return values

    def probabilities(self, bags: Bags) -> Floats:
        """The score of every class for every clip, float64 [clips, classes], in [0, 1]."""
        return np.concatenate([self._scores(part) for part in bags.blocks(_SEGMENTS)])

    def _scores(self, bags: Bags) -> Floats:
        logits = self.logits(bags)
        scores = np.exp(log_softmax(logits)) if self.output == "softmax" else sigmoid(logits)
        if self.pooling == "max":
            scores = np.maximum.reduceat(scores, bags.starts, axis=0)
        return scores

    def loss(self, bags: Bags) -> float:
        """The weighted mean of the losses of the clips; see `losses`."""
        clips, _ = losses(self.logits(bags), bags, self.output, self.pooling)
        return float((clips * bags.weights).sum() / bags.weights.mean(1).sum())

    def scaled(self, scale: Floats, shift: Floats) -> Model:
        """The model whose logits are these times `scale` [classes] and more by `shift`."""
        weight, bias = self.layers[-1]
        last = weight * scale[:, None], bias * scale + shift
        return replace(self, layers=(*self.layers[:-1], last))

    def reading(self, matrix: Floats, offset: Floats) -> Model:
        """The model that gives for x what this one gives for `matrix` @ x + `offset`."""
        weight, bias = self.layers[0]
        first = weight @ matrix, bias + weight @ offset
        # What is added to all products of a clip is nothing to a softmax over them.
        attention = None if self.attention is None else matrix.T @ self.attention
        return replace(self, layers=(first, *self.layers[1:]), attention=attention)


def losses(logits: Floats, bags: Bags, output: str, pooling: str) -> tuple[Floats, Floats]:
    """Cross-entropies of clips, and their gradients by the logits.

    With ``max`` and one label, the loss of a clip is that of the segment that fits its label best:
    the one whose score its own is. With several labels, each class has such a segment.

    Parameters
    ----------
    logits : float64 [rows, classes]
        As `Model.logits` gives them.
    bags : Bags
    output, pooling : str

    Returns
    -------
    losses : float64 [clips, 1] of a softmax, [clips, classes] of a sigmoid
    gradients : float64 [rows, classes]
        Of the losses, not weighted; of all clips, or with ``max`` of the segments that count.
    """
    targets = bags.targets
    if pooling != "max":
        return _entropies(logits, targets, output)
    lengths = bags.lengths
    if output == "softmax":
        owners = np.repeat(np.arange(len(bags)), lengths)
        each, slopes = _entropies(logits, targets[owners], output)
        best = np.minimum.reduceat(each, bags.starts, axis=0)
        counted = _first(each == best[owners], bags)
        return best, slopes * counted
    highest = np.maximum.reduceat(logits, bags.starts, axis=0)
    counted = _first(logits == np.repeat(highest, lengths, axis=0), bags)
    each, slopes = _entropies(highest, targets, output)
    return each, np.repeat(slopes, lengths, axis=0) * counted


def _entropies(logits: Floats, targets: Floats, output: str) -> tuple[Floats, Floats]:
    if output == "softmax":
        logs = log_softmax(logits)
        return -(targets * logs).sum(1, keepdims=True), np.exp(logs) - targets
    # log(1 + exp(x)) and the sigmoid by one exponential, which is what most of the time goes into.
    powers = np.exp(-np.abs(logits))
    ones = 1 + powers
    each = np.log(ones) + np.maximum(logits, 0) - targets * logits
    return each, np.where(logits > 0, 1, powers) / ones - targets


def _first(chosen: NDArray[np.bool_], bags: Bags) -> NDArray[np.bool_]:
    """Of the rows that are chosen, the first of each clip, in each column."""
    before = np.cumsum(chosen, axis=0)
    outside: NDArray[np.int64] = (before - chosen)[bags.starts]
    return chosen & (before - np.repeat(outside, bags.lengths, axis=0) == 1)


def attended(bags: Bags, attention: Floats) -> tuple[Floats, Floats]:
    """How much attention each segment gets [n], and the mean embeddings of clips by it.

    Ilse, Tomczak and Welling, Attention-based Deep Multiple Instance Learning (2018), with a
    linear score.
    """
    towards = bags.vectors @ attention
    lengths = bags.lengths
    highest = np.repeat(np.maximum.reduceat(towards, bags.starts), lengths)
    powers = bags.shares * np.exp(towards - highest)
    shares = powers / np.repeat(np.add.reduceat(powers, bags.starts), lengths)
    return shares, np.add.reduceat(bags.vectors * shares[:, None], bags.starts, axis=0)


def log_softmax(logits: Floats) -> Floats:
    """The logarithm of the softmax of each row."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    logs: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def sigmoid(logits: Floats) -> Floats:
    """1 / (1 + exp(-x)), without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))
