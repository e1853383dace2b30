"""mn04, the teacher: what it hears in a sound, and what the student learns from that."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import scipy.fft
import soxr
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from onnx import numpy_helper

CLASSES = 527
WIDTH = 384
RATE = 32000
FFT, WINDOW, HOP, BANDS, TOP_HZ = 1024, 800, 320, 128, 15000.0
# A column of the feature map stands for 32 frames, and three columns for a segment of 0.96 s.
COLUMNS = 3

Floats = NDArray[np.float32]


@cache
def _window() -> Floats:
    """Symmetric Hann of 800 samples in the middle of 1024."""
    hann = np.hanning(WINDOW).astype(np.float32)
    return np.pad(hann, (FFT - WINDOW) // 2)


@cache
def _bank() -> Floats:
    """Weights from FFT bins to mel bands, float32 [512, 128]."""
    bins = 1127 * np.log1p(np.arange(FFT // 2) * RATE / FFT / 700)[:, None]
    edges = np.linspace(0, 1127 * np.log1p(TOP_HZ / 700), BANDS + 2)
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights: Floats = np.maximum(0, np.minimum(rising, falling)).astype(np.float32)
    return weights


def front_end(samples: Floats) -> Floats:
    """Return the teacher's log-mel of mono 32 kHz sound, float32 [128, frames]."""
    steps = np.pad(samples[1:] - np.float32(0.97) * samples[:-1], FFT // 2, "reflect")
    frames = sliding_window_view(steps, FFT)[::HOP]
    out = np.empty((len(frames), BANDS), np.float32)
    for at in range(0, len(frames), 256):  # so many spectra fit a core's cache
        spectrum = scipy.fft.rfft(frames[at : at + 256] * _window())[:, :-1]
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        np.matmul(power, _bank(), out=out[at : at + 256])
    mel: Floats = (np.log(out.T + np.float32(1e-5)) + np.float32(4.5)) / np.float32(5)
    return mel


class Teacher:
    """mn04 as an ONNX graph: sound in; slices of its feature map and scores out.

    Parameters
    ----------
    path : Path
        Input ``mel`` [b, 1, 128, t]; outputs ``fm`` [b, 384, t / 32] and ``logits`` [b, 527].
    """

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )
        self.layers = head_of(path)

    def __call__(self, sound: Floats, count: int) -> tuple[Floats, Floats]:
        """Listen to one sound.

        Parameters
        ----------
        sound : float32 [n]
            Mono, 16 kHz.
        count : int
            Segments of 0.96 s that are asked for.

        Returns
        -------
        slices : float32 [count, 384]
            The feature map's mean over each segment; a last segment of which the teacher has
            fewer than three columns is the mean of those it has.
        logits : float32 [527]
            Of the whole sound.
        """
        mel = front_end(soxr.resample(sound, RATE // 2, RATE))
        feature_map, logits = self._session.run(["fm", "logits"], {"mel": mel[None, None]})
        return slices(feature_map[0], count), logits[0]

    def scores(self, slices: Floats) -> Floats:
        """Return what the teacher's last two layers say of slices alone, float32 [n, 527]."""
        first, first_bias, last, last_bias = self.layers
        hidden = slices @ first.T + first_bias
        hidden *= np.clip(hidden + 3, 0, 6) / 6
        logits = hidden @ last.T + last_bias
        return (1 / (1 + np.exp(-logits))).astype(np.float32)


def slices(feature_map: Floats, count: int) -> Floats:
    """Average a feature map [384, columns] over segments: float32 [count, 384]."""
    need = count * COLUMNS
    columns = feature_map[:, :need].T
    if len(columns) < need:
        columns = np.pad(columns, ((0, need - len(columns)), (0, 0)), "edge")
    means: Floats = columns.reshape(count, COLUMNS, WIDTH).mean(1)
    return means


def head_of(path: Path) -> tuple[Floats, Floats, Floats, Floats]:
    """Return weight and bias of the teacher's last two layers, from the file."""
    graph = onnx.load(path).graph
    held = {tensor.name: tensor for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type == "Gemm"][-2:]
    first, first_bias, last, last_bias = (
        numpy_helper.to_array(held[name]).astype(np.float32)
        for node in layers
        for name in node.input[1:]
    )
    return first, first_bias, last, last_bias


@dataclass
class Projection:
    """PCA of the teacher's slices on corpus mixes; nothing is whitened.

    Attributes
    ----------
    mean : float32 [384]
    axes : float32 [128, 384]
        Principal axes, strongest first.
    deviation : float32 [128]
        Standard deviation along each axis.
    """

    mean: Floats
    axes: Floats
    deviation: Floats

    def apply(self, slices: Floats, power: float = 0.0) -> Floats:
        """Project slices [n, 384] to [n, 128]; `power` 1 whitens, 0.5 halfway."""
        return np.asarray((slices - self.mean) @ self.matrix(power).T, np.float32)

    def matrix(self, power: float) -> Floats:
        """Return what centred slices are multiplied by, float32 [128, 384]; see `apply`."""
        length = np.sqrt(np.mean(self.deviation ** (2 - 2 * power)))
        scaled = self.axes / self.deviation[:, None] ** np.float32(power)
        return np.asarray(scaled / length, np.float32)

    def save(self, path: Path) -> None:
        """Write the PCA to an .npz file."""
        temporary = path.with_suffix(".tmp.npz")
        np.savez(temporary, mean=self.mean, axes=self.axes, deviation=self.deviation)
        os.replace(temporary, path)


def load_projection(path: Path) -> Projection:
    """Read a PCA written by `Projection.save`."""
    with np.load(path) as data:
        return Projection(data["mean"], data["axes"], data["deviation"])


def fit_projection(embeddings: Floats, size: int = 128) -> Projection:
    """Fit the PCA on slices [n, 384]."""
    mean = embeddings.mean(0)
    centred = (embeddings - mean).astype(np.float64)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    order = np.argsort(values)[::-1][:size]
    deviation = np.sqrt(np.maximum(values[order], 1e-12))
    axes = vectors[:, order].T
    return Projection(mean, axes.astype(np.float32), deviation.astype(np.float32))
