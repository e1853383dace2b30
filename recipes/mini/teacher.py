"""YAMNet in float, rebuilt from its TFLite file, and what the student learns from it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as func
from numpy.typing import NDArray
from soundsearch_ingest.encoders.yamnet import read
from torch import Tensor, nn

CLASSES = 521
LOG_OFFSET = 0.001
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)


class Teacher(nn.Module):
    """YAMNet: mel magnitudes [n, 96, 64] in, 1024-d embedding and 521 logits out."""

    def __init__(self, path: Path, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        tensors = [array for layer in read(path) for array in layer]
        self.dtype = dtype
        self.kernels = nn.ParameterList()
        self.biases = nn.ParameterList()
        for i in range(0, len(tensors), 2):
            kernel = torch.from_numpy(tensors[i])
            if kernel.ndim == 4:
                depthwise = kernel.shape[0] == 1
                kernel = kernel.permute(3, 0, 1, 2) if depthwise else kernel.permute(0, 3, 1, 2)
                kernel = kernel.contiguous(memory_format=torch.channels_last)
            last = i == len(tensors) - 2
            kept = torch.float32 if last else dtype
            self.kernels.append(nn.Parameter(kernel.to(kept), requires_grad=False))
            bias = torch.from_numpy(tensors[i + 1])
            self.biases.append(nn.Parameter(bias.to(kept), requires_grad=False))

    @torch.no_grad()
    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Return the embeddings float32 [n, 1024] and logits [n, 521]."""
        x = torch.log(mel + LOG_OFFSET).to(self.dtype)[:, None]
        x = x.contiguous(memory_format=torch.channels_last)
        weights = list(zip(self.kernels, self.biases, strict=True))
        x = func.relu_(func.conv2d(func.pad(x, (0, 1, 0, 1)), *weights[0], stride=2))
        for i, stride in enumerate(STRIDES):
            kernel, bias = weights[1 + 2 * i]
            if stride == 2:
                x = func.pad(x, (0, 1, 0, 1))
            padding = 1 if stride == 1 else 0
            x = func.conv2d(x, kernel, bias, stride, padding, groups=kernel.shape[0])
            x = func.relu_(func.conv2d(func.relu_(x), *weights[2 + 2 * i]))
        embedding = x.float().mean((2, 3))
        return embedding, func.linear(embedding, *weights[-1])


@dataclass
class Whitening:
    """PCA of the teacher's embedding on corpus mixes.

    Attributes
    ----------
    mean : float32 [1024]
    axes : float32 [128, 1024]
        Principal axes, strongest first.
    deviation : float32 [128]
        Standard deviation along each axis.
    """

    mean: NDArray[np.float32]
    axes: NDArray[np.float32]
    deviation: NDArray[np.float32]

    def matrix(self, power: float) -> NDArray[np.float32]:
        """Return the projection [128, 1024]; `power` 1 whitens, 0.5 halfway."""
        return self.axes / self.deviation[:, None] ** np.float32(power)

    def apply(self, embedding: Tensor, power: float) -> Tensor:
        """Project embeddings [n, 1024] to [n, 128]."""
        matrix = torch.from_numpy(self.matrix(power)).to(embedding.device)
        return (embedding - torch.from_numpy(self.mean).to(embedding.device)) @ matrix.T

    def save(self, path: Path) -> None:
        """Write the PCA to an .npz file."""
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, mean=self.mean, axes=self.axes, deviation=self.deviation)
        os.replace(temporary, path)


def load_whitening(path: Path) -> Whitening:
    """Read a PCA written by `Whitening.save`."""
    with np.load(path) as data:
        return Whitening(data["mean"], data["axes"], data["deviation"])


def fit_whitening(embeddings: NDArray[np.float32], size: int = 128) -> Whitening:
    """Fit the PCA on embeddings [n, 1024]."""
    mean = embeddings.mean(0)
    centred = (embeddings - mean).astype(np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(values)[::-1][:size]
    deviation = np.sqrt(np.maximum(values[order], 1e-12))
    axes = vectors[:, order].T
    return Whitening(mean, axes.astype(np.float32), deviation.astype(np.float32))
