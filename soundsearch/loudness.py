"""How much the segments of a sound count, by their levels.

The sound of a clip is in its loud segments; what lies between them is room and noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import SILENT

__all__ = ["sounding", "weights"]

Floats = NDArray[np.float32]


def weights(levels: Floats) -> Floats:
    """How much segments count, by their levels in dB: the square root of the amplitude."""
    amplitudes: Floats = 10 ** (levels / np.float32(40))
    return amplitudes


def sounding(vectors: Floats, levels: Floats) -> tuple[Floats, Floats]:
    """A query without its near-silent segments, which say nothing about it, if it has others."""
    kept = levels >= SILENT
    return (vectors[kept], levels[kept]) if kept.any() else (vectors, levels)
