"""Vectors of segments: scaled to length 1, and how much each segment of a sound counts.

The sound of a clip is in its loud segments; what lies between them is room and noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT

__all__ = ["loudness_weights", "sounding", "unit"]

Floats = NDArray[np.float32]


def unit(vectors: Floats) -> Floats:
    """Vectors scaled to length 1; a zero vector stays zero. float32 [n, d]."""
    with np.errstate(over="ignore", invalid="ignore"):  # vectors that a disk damaged
        norms = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))[:, None]
        scaled: Floats = (vectors / np.where(norms > 0, norms, 1)).astype(np.float32, copy=False)
    return scaled


def loudness_weights(levels: Floats) -> Floats:
    """How much segments count, by their levels in dB: the square root of the amplitude."""
    weights: Floats = 10 ** (levels / np.float32(40))
    return weights


def sounding(vectors: Floats, levels: Floats) -> tuple[Floats, Floats]:
    """A query without its near-silent segments, which say nothing about it, if it has others."""
    kept = levels >= SILENT
    return (vectors[kept], levels[kept]) if kept.any() else (vectors, levels)
