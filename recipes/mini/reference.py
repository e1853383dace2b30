"""The teacher as the benchmark takes encoders: what the student is measured against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.logmel import levels, log_mel, patches, segments_in

from benchmarks.encoder import SHORT, TEACHER, Encode, sigmoid

from .teacher import Teacher, load_projection

__all__ = ["teachers"]

Floats = NDArray[np.float32]


def teachers(mn04: Path, pca: Path) -> dict[str, Encode]:
    """The slices of mn04's feature map: in 128 dimensions, and as they are.

    Parameters
    ----------
    mn04 : Path
        Its ONNX file.
    pca : Path
        The PCA of its slices on the training corpus, written by the training.
    """
    return {SHORT: _encode(mn04, pca), TEACHER: _encode(mn04, None)}


def _encode(mn04: Path, pca: Path | None) -> Encode:
    net = Teacher(mn04)
    projection = load_projection(pca) if pca else None

    def encode(sound: Floats) -> tuple[Floats, Floats, Floats]:
        slices, logits = net(sound, max(1, segments_in(len(sound))))
        loudness = levels(patches(log_mel(sound)))
        found = projection.apply(slices) if projection else slices
        return found, np.tile(sigmoid(logits), (len(slices), 1)), loudness

    return encode
