"""The teacher as the benchmark takes encoders: what the student is measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from soundsearch_ingest.logmel import LOG_OFFSET

from benchmarks.encoder import TEACHER, WHITE, Encode, sigmoid

from .teacher import Teacher, load_whitening

__all__ = ["teachers"]

Floats = NDArray[np.float32]


def teachers(yamnet: Path, pca: Path) -> dict[str, Encode]:
    """YAMNet in float: as it is, and in its best form, whitened to 128 dimensions.

    Parameters
    ----------
    yamnet : Path
        Its TFLite file.
    pca : Path
        Its PCA on the training corpus, written by the training.
    """
    return {WHITE: _encode(yamnet, pca), TEACHER: _encode(yamnet, None)}


def _encode(yamnet: Path, pca: Path | None) -> Encode:
    """YAMNet in float on the same patches; whitened to 128 when a PCA is given."""
    net = Teacher(yamnet)
    white = load_whitening(pca) if pca else None
    weight, bias = net.kernels[-1].numpy(), net.biases[-1].numpy()

    def encode(batch: Floats) -> tuple[Floats, Floats]:
        embeddings, logits = net(torch.from_numpy(np.exp(batch) - np.float32(LOG_OFFSET)))
        if white is None:
            return embeddings.numpy(), sigmoid(logits.numpy())
        short = white.apply(embeddings, 1.0).numpy()
        back = short @ np.linalg.pinv(white.matrix(1.0)).T + white.mean
        return short, sigmoid(back @ weight.T + bias)

    return encode
