"""The post-processing from VGGish's embeddings to AudioSet's features: PCA, then 8 bits.

The constants are those of tensorflow/models, research/audioset/vggish
(``vggish_postprocess.py``); 8-bit values are converted back to floats as in YouTube-8M's readers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .archives import read_archive
from .errors import EncoderError
from .products import product

__all__ = ["Pca", "dequantise", "quantise", "read_pca"]

Floats = NDArray[np.float32]

_SIZE = 128
_LARGEST = 1 << 20
_LOWEST, _HIGHEST = -2.0, 2.0
_STEP = (_HIGHEST - _LOWEST) / 255


def quantise(embeddings: Floats) -> NDArray[np.uint8]:
    """Clip embeddings to [-2, 2] and truncate them to 8 bits, without rounding: 0 means -2."""
    clipped = np.clip(embeddings, _LOWEST, _HIGHEST)
    return ((clipped - np.float32(_LOWEST)) * np.float32(1 / _STEP)).astype(np.uint8)


def dequantise(codes: NDArray[np.uint8]) -> Floats:
    """Convert 8-bit codes to embeddings; `quantise` restores the codes.

    Half a step (of 4 / 256) above the truncated value: x * 4/255 + 4/512 - 2.
    """
    return (codes * np.float32(_STEP) + np.float32(4 / 512 - 2)).astype(np.float32, copy=False)


@dataclass(frozen=True, slots=True, eq=False)
class Pca:
    """VGGish's PCA with whitening, as stored in ``vggish_pca_params.npz``.

    Attributes
    ----------
    matrix : float32 [128, 128]
        Includes the whitening.
    means : float32 [128]
    """

    matrix: Floats
    means: Floats

    def apply(self, embeddings: Floats) -> Floats:
        """Project float32 [n, 128] to float32 [n, 128]."""
        return product(embeddings - self.means, np.ascontiguousarray(self.matrix.T))


def read_pca(path: Path) -> Pca:
    """Read ``vggish_pca_params.npz``.

    Raises
    ------
    EncoderError
        The file cannot be read, or its arrays have other names or shapes.
    """
    shapes = {"pca_eigen_vectors": (_SIZE, _SIZE), "pca_means": (_SIZE, 1)}
    try:
        stored = read_archive(path, _LARGEST)
        arrays = {name: array.astype(np.float32) for name, array in stored.items()}
    except Exception as error:  # zipfile, zlib and NumPy raise their own
        raise EncoderError(f"{path}: cannot be read as PCA parameters ({error})") from error
    for name, shape in shapes.items():
        got = arrays[name].shape if name in arrays else "none"
        if got != shape:
            raise EncoderError(f"{path}: expected {name} of the shape {shape}, got {got}")
        if not np.isfinite(arrays[name]).all():
            raise EncoderError(f"{path}: {name} holds values that are not finite")
    return Pca(arrays["pca_eigen_vectors"], arrays["pca_means"][:, 0])
