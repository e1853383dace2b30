"""An encoder's network with 8-bit weights and activations: faster on CPUs, nearly the same."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..decode import Decoder
from ..discover import discover, expand
from ..errors import AudioError, EncoderError
from ..extras import needs
from ..logmel import SILENT, levels, log_mel, patches, segments_in
from .base import Encoder

__all__ = ["agreement", "sample_patches", "to_int8"]

Floats = NDArray[np.float32]

# Patches of a file, and in all for each of the two halves.
_PER_FILE = 16
_PATCHES = 512
_BATCH = 16


def sample_patches(targets: Iterable[Path]) -> tuple[Floats, Floats]:
    """Patches of some files, in two halves that share no file.

    Parameters
    ----------
    targets : iterable of Path
        Files and folders of sound.

    Returns
    -------
    calibration, held_out : float32 [n, 96, 64]
        None of them near-silent, at most 512 each.

    Raises
    ------
    AudioError
        A target does not exist.
    EncoderError
        There are not at least two files with sound.
    """
    halves: tuple[list[Floats], list[Floats]] = ([], [])
    number = 0
    for file in discover(expand(targets)):
        try:
            patches = _some_patches(file.uri)
        except (AudioError, OSError):
            continue
        if len(patches):
            halves[number % 2].append(patches)
            number += 1
        if all(sum(map(len, half)) >= _PATCHES for half in halves):
            break
    if number < 2:
        raise EncoderError(
            "int8 needs real sound to be fitted and checked on: expected at least two files in "
            f"{', '.join(map(str, targets))}, got {number}"
        )
    first, second = (np.concatenate(half)[:_PATCHES] for half in halves)
    return first, second


def _some_patches(path: str) -> Floats:
    parts, held = [], 0
    with Decoder(path) as decoder:
        for block in decoder:
            parts.append(block)
            held += len(block)
            if segments_in(held) >= _PER_FILE:
                break
    some = patches(log_mel(np.concatenate(parts)))[:_PER_FILE]
    return some[levels(some) >= SILENT]


def to_int8(
    model: Path, out: Path, patches: Floats, *, percentile: bool = False, keep: Iterable[str] = ()
) -> None:
    """Quantise an ONNX encoder: weights per output channel, activations by what they reach.

    Weights get 7 bits: with 8, sums overflow on CPUs without VNNI, which then give other
    embeddings than those that have it.

    Parameters
    ----------
    model, out : Path
        The float network, and where the other one is written, with the same metadata.
    patches : float32 [n, 96, 64]
        Real sound that the ranges of activations are taken from.
    percentile : bool
        Cut the few highest activations off. Takes much more memory: all activations of all
        patches are held.
    keep : iterable of str
        Names of nodes that stay in float.

    Raises
    ------
    MissingExtra
    """
    onnx = needs("onnx", "convert")
    quantization = needs("onnxruntime.quantization", "convert")

    class Reader(quantization.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            self._batches = iter(np.array_split(patches, -(-len(patches) // _BATCH)))

        def get_next(self) -> dict[str, Floats] | None:
            batch = next(self._batches, None)
            return None if batch is None else {"patches": batch}

    logging.disable(logging.WARNING)  # advice for those who write the graph
    try:
        quantization.quantize_static(
            str(model),
            str(out),
            Reader(),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            calibrate_method=getattr(
                quantization.CalibrationMethod, "Percentile" if percentile else "MinMax"
            ),
            nodes_to_exclude=list(keep),
        )
    finally:
        logging.disable(logging.NOTSET)
    quantised = onnx.load(str(out))
    meta = {item.key: item.value for item in onnx.load(str(model)).metadata_props}
    onnx.helper.set_model_props(quantised, meta)
    onnx.save(quantised, str(out))


def agreement(one: Encoder, other: Encoder, patches: Floats) -> tuple[float, float]:
    """Mean and lowest cosine between two encoders' embeddings of patches."""
    cosines = []
    for batch in np.array_split(patches, -(-len(patches) // _BATCH)):
        first, second = one.embed(batch), other.embed(batch)
        norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
        cosines.append(np.sum(first * second, axis=1) / np.maximum(norms, 1e-12))
    together = np.concatenate(cosines)
    return float(together.mean()), float(together.min())
