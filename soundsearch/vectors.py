"""Unit vectors, scores along directions, and the weights of segments by loudness.

The sound of a clip is in its loud segments; the others hold room and noise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT
from soundsearch_ingest.products import product

__all__ = ["Directions", "loudness_weights", "scores_along", "sounding", "unit"]

Floats = NDArray[np.float32]

# Groups of directions, float32 [m, d], each direction with a number that is added to the product
# with it, float32 [m]. The score of a vector is its highest sum in each group, and the lowest of
# these.
Directions = Sequence[tuple[Floats, Floats]]


def scores_along(vectors: Floats, along: Directions) -> Floats:
    """The scores of vectors, float32 [n, d], along some directions: float32 [n]."""
    highest = [
        (product(vectors, np.ascontiguousarray(weights.T)) + biases).max(axis=1)
        for weights, biases in along
    ]
    lowest: Floats = np.min(highest, axis=0)
    return lowest


def unit(vectors: Floats) -> Floats:
    """Scale vectors, float32 [n, d], to length 1; a zero vector stays zero."""
    with np.errstate(over="ignore", invalid="ignore"):  # vectors that a disk damaged
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
        scaled: Floats = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)
    return scaled


def loudness_weights(levels: Floats) -> Floats:
    """The weights of segments with these levels, in dB: the square root of the amplitude."""
    weights: Floats = 10 ** (levels / np.float32(40))
    return weights


def sounding(vectors: Floats, levels: Floats) -> tuple[Floats, Floats]:
    """Drop the near-silent segments of a query, unless all are near-silent."""
    kept = levels >= SILENT
    return (vectors[kept], levels[kept]) if kept.any() else (vectors, levels)
