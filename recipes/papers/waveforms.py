"""The 1-D CNN on 8 kHz waveforms: 1.8 million weights, in Keras."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.archives import read_archive
from soundsearch_ingest.decode import read

from .losses import check_masks, masked_mse
from .ontology_data import RATE
from .training import fit, keras

__all__ = ["BLOCKS", "Convolutions", "esc50_waveforms"]

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

# M11 of Dai et al., Very deep convolutional neural networks for raw waveforms (2017): filters of
# each convolution between two poolings. It hears 8 kHz and has 1.8 million weights, as the paper's
# network does, whose layers are not known here.
BLOCKS: tuple[tuple[int, ...], ...] = ((64, 64), (128, 128), (256, 256, 256), (512, 512))
_FIRST, _KERNEL, _STRIDE, _POOL = 64, 80, 4, 4
_FEATURES = 128
_BATCH = 48
_LARGEST = 1 << 31


class _Network:
    """A trunk, from sound to features before their activation, and a head, to probabilities."""

    def __init__(self, kit: Convolutions, trunk: Any, head: Any) -> None:
        self._kit, self.trunk, self.head = kit, trunk, head

    def __call__(self, x: Floats) -> Floats:
        return _predict(self.head, self.features(x))

    def features(self, x: Floats) -> Floats:
        return _predict(self.trunk, x[..., None])

    def with_head(self, head: Sequence[int], seed: int) -> _Network:
        made = self._kit.new(head, seed)
        for new, learned in zip(made.trunk.variables, self.trunk.variables, strict=True):
            # Copied, as the next step of the one frees what it shares with the other.
            new.assign(np.array(keras().ops.convert_to_numpy(learned.value)))
        return made


class Convolutions:
    """Networks on waveforms, and how they are trained.

    Parameters
    ----------
    samples : int
        Of a clip, at 8 kHz.
    epochs, batch : int
    blocks : tuple of tuple of int
        See `BLOCKS`; a miniature has others.
    """

    def __init__(
        self,
        samples: int,
        epochs: int,
        batch: int = 24,
        blocks: tuple[tuple[int, ...], ...] = BLOCKS,
    ) -> None:
        self.samples, self.epochs, self.batch, self.blocks = samples, epochs, batch, blocks

    def new(self, head: Sequence[int], seed: int) -> _Network:
        """A network that has learned nothing, with a head of these widths, the outputs last."""
        k = keras()
        k.utils.set_random_seed(seed)
        return _Network(self, self._trunk(), _head(head))

    def _trunk(self) -> Any:
        layers = keras().layers
        parts = [layers.Input((self.samples, 1))]
        parts.append(layers.Conv1D(_FIRST, _KERNEL, _STRIDE, "same", use_bias=False))
        for filters in self.blocks:
            parts += [*_activated(), layers.MaxPooling1D(_POOL, padding="same")]
            for number, width in enumerate(filters):
                parts += _activated() if number else []
                parts.append(layers.Conv1D(width, 3, 1, "same", use_bias=False))
        parts += [*_activated(), layers.GlobalAveragePooling1D(), layers.Dense(_FEATURES)]
        return keras().Sequential(parts)

    def describe(self) -> str:
        """The layers, as a report has them."""
        blocks = " | ".join("-".join(map(str, filters)) for filters in self.blocks)
        return (
            f"{self.samples} samples at 8 kHz; convolutions: {_FIRST} filters of {_KERNEL}, stride "
            f"{_STRIDE}, then | {blocks} | filters of 3, | a max-pool by {_POOL}; batch "
            f"normalisation and ELU after each; mean over time, {_FEATURES} features"
        )

    @property
    def weights(self) -> int:
        """How many weights are trained up to the features."""
        return sum(int(np.prod(weight.shape)) for weight in self._trunk().trainable_weights)

    def fit(
        self,
        network: _Network,
        x: Floats,
        labels: Flags,
        masked: Flags,
        seed: int,
        score: Callable[[Any], float],
        frozen: bool,
        folder: Path,
    ) -> _Network:
        """Train with masked MSE; the network ends as it was after the best epoch.

        Parameters
        ----------
        network : network of `new`
        x : float32 [clips, samples]
        labels, masked : bool [clips, outputs]
        seed : int
            Of the order of the clips.
        score : callable
            Of a network, after each epoch; higher is better.
        frozen : bool
            Train the head alone.
        folder : Path
            For a checkpoint.
        """
        check_masks(labels, masked)
        k = keras()
        folder.mkdir(parents=True, exist_ok=True)
        model = network.head if frozen else k.Sequential([network.trunk, network.head])
        steps = max(1, len(x) // self.batch)
        rate = k.optimizers.schedules.ExponentialDecay(1e-3, steps, 0.987, staircase=True)
        model.compile(k.optimizers.Adam(rate), _loss)
        inputs = network.features(x) if frozen else x[..., None]
        fit(
            model,
            inputs,
            np.stack([labels, masked], axis=-1).astype(np.float32),
            epochs=self.epochs,
            batch=self.batch,
            seed=seed,
            folder=folder,
            score=lambda _: score(network),
        )
        return network


def _predict(model: Any, x: Floats) -> Floats:
    # Filled up to whole batches: one of another size would be compiled for itself.
    filled = np.resize(x, (-(-len(x) // _BATCH) * _BATCH, *x.shape[1:]))
    found: Floats = model.predict(filled, batch_size=_BATCH, verbose=0)
    return found[: len(x)]


def _activated() -> list[Any]:
    layers = keras().layers
    return [layers.BatchNormalization(), layers.Activation("elu")]


def _head(widths: Sequence[int]) -> Any:
    layers = keras().layers
    parts = [layers.Input((_FEATURES,)), *_activated()]
    for number, width in enumerate(widths):
        parts += _activated() if number else []
        parts.append(layers.Dense(width))
    return keras().Sequential([*parts, layers.Activation("sigmoid")])


def _loss(both: Any, outputs: Any) -> Any:
    """`masked_mse` of labels and masks, [n, outputs, 2]."""
    return masked_mse(both[..., 0], outputs, both[..., 1] > 0.5, keras().ops)


def esc50_waveforms(folder: Path, kept: Path, seconds: float) -> Floats:
    """The beginnings of ESC-50's clips at 8 kHz, each at the same level: float32 [clips, samples].

    Parameters
    ----------
    folder : Path
        With ``labels.csv`` and ``audio``.
    kept : Path
        A file to keep them in, for the next time.
    seconds : float
    """
    if not kept.exists():
        import soxr

        with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
            names = [row["filename"] for row in csv.DictReader(file)]
        found = np.zeros((len(names), int(seconds * RATE)), np.float32)
        for row, name in zip(found, names, strict=True):
            sound = soxr.resample(read(folder / "audio" / name), 2 * RATE, RATE)[: len(row)]
            row[: len(sound)] = sound
        found /= np.maximum(found.std(1, keepdims=True), 1e-4)
        temporary = kept.with_name("waveforms.new.npz")
        np.savez(temporary, waveforms=found)
        temporary.replace(kept)
    stored: Floats = read_archive(kept, _LARGEST)["waveforms"]
    return stored
