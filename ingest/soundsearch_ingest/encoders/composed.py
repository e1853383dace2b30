"""Encoders made of encoders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..postprocess import Pca, dequantise, quantise
from .base import Encoder

__all__ = ["PostProcessed", "SideBySide"]

Floats = NDArray[np.float32]


class PostProcessed:
    """VGGish with its PCA, and to 8 bits and back where that is wanted.

    Parameters
    ----------
    encoder : Encoder
        Raw VGGish.
    pca : Pca
    name : str
        The name of this encoder.
    space : str
        The space it leads to.
    quantised : bool
        Clip to -2 to 2 and give the values that 8 bits can stand for.
    """

    def __init__(self, encoder: Encoder, pca: Pca, name: str, space: str, quantised: bool) -> None:
        self.name = name
        self.space = space
        self.dimension = encoder.dimension
        self.segment_seconds = encoder.segment_seconds
        self.hop_seconds = encoder.hop_seconds
        self.context_seconds = encoder.context_seconds
        self._encoder = encoder
        self._pca = pca
        self._quantised = quantised

    def embed(self, mel: Floats) -> Floats:
        """See `Encoder.embed`."""
        embeddings = self._pca.apply(self._encoder.embed(mel))
        return dequantise(quantise(embeddings)) if self._quantised else embeddings


class SideBySide:
    """Two encoders on the same sound: the embeddings of the second follow those of the first.

    It bears the name and space of the first.
    """

    def __init__(self, first: Encoder, second: Encoder) -> None:
        self.name = first.name
        self.space = first.space
        self.dimension = first.dimension + second.dimension
        self.segment_seconds = first.segment_seconds
        self.hop_seconds = first.hop_seconds
        self.context_seconds = max(first.context_seconds, second.context_seconds)
        self._encoders = (first, second)

    def embed(self, mel: Floats) -> Floats:
        """See `Encoder.embed`."""
        return np.hstack([encoder.embed(mel) for encoder in self._encoders])
