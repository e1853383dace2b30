"""Unit vectors, and the weights of segments by loudness.

The sound of a clip is in its loud segments; the others hold room and noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT

__all__ = ["loudness_weights", "sounding", "unit"]

Floats = NDArray[np.float32]


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
