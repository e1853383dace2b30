"""Losses in which masked labels take no part, and outputs that agree with the ontology.

A masked label is neither there nor absent: whatever the network says of it costs nothing, and its
gradient is exactly zero. The same formulas serve NumPy and, in `keras.ops`, every backend of Keras.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from soundsearch.errors import ArgumentError

__all__ = ["LOSSES", "check_masks", "consistent", "gradient", "masked_bce", "masked_mse"]

Floats = NDArray[np.float32]
Flags = NDArray[np.bool_]

# Probabilities nearer to 0 and 1 are taken for this near.
_SMALLEST = 1e-7


def masked_mse(targets: Any, outputs: Any, masked: Any, ops: Any = np) -> Any:
    """The mean squared error over the labels that are not masked; 0 where all are.

    Parameters
    ----------
    targets, outputs : float32 [n, classes]
        In [0, 1].
    masked : bool [n, classes]
    ops : module
        ``numpy`` or ``keras.ops``.
    """
    error = ops.where(masked, 0.0, outputs - targets)
    return ops.sum(error * error) / _counted(masked, ops)


def masked_bce(targets: Any, outputs: Any, masked: Any, ops: Any = np) -> Any:
    """The mean binary cross-entropy, in nats, over the labels that are not masked.

    Parameters are those of `masked_mse`.
    """
    sure = ops.clip(ops.where(masked, 0.5, outputs), _SMALLEST, 1 - _SMALLEST)
    error = targets * ops.log(sure) + (1 - targets) * ops.log(1 - sure)
    return -ops.sum(ops.where(masked, 0.0, error)) / _counted(masked, ops)


def _counted(masked: Any, ops: Any) -> Any:
    return ops.maximum(ops.sum(ops.where(masked, 0.0, 1.0)), 1.0)


LOSSES: dict[str, Callable[..., Any]] = {"mse": masked_mse, "bce": masked_bce}


def gradient(loss: str, targets: Floats, outputs: Floats, masked: Flags) -> Floats:
    """The derivative of a loss by the outputs, float32 [n, classes]; exactly 0 where masked.

    Parameters
    ----------
    loss : str
        ``mse`` or ``bce``.
    targets, outputs, masked
        Of `masked_mse`.
    """
    error = np.where(masked, 0, outputs - targets)
    if loss == "bce":
        sure = np.clip(outputs, _SMALLEST, 1 - _SMALLEST)
        error = error / (sure * (1 - sure))
    else:
        error = 2 * error
    return (error / _counted(masked, np)).astype(np.float32)


def check_masks(labels: Flags, masked: Flags) -> None:
    """Refuse masks that leave a clip nothing to learn from, or hide what it is labelled.

    Parameters
    ----------
    labels, masked : bool [clips, classes]

    Raises
    ------
    ArgumentError
        The message names the first such clip.
    """
    if labels.shape != masked.shape:
        raise ArgumentError(
            f"expected masks {list(labels.shape)} as labels are, got {list(masked.shape)}"
        )
    for what, wrong in (
        ("every class", masked.all(1)),
        ("one of its labels", (masked & labels).any(1)),
    ):
        if wrong.any():
            raise ArgumentError(f"clip {int(wrong.argmax())}: its mask hides {what}")


def consistent(scores: Floats, above: Flags) -> Floats:
    """Scores, float32 [n, classes], of which no parent's is below its child's.

    A class gets the highest score among its own and those of the classes below it.

    Parameters
    ----------
    scores : float32 [n, classes]
    above : bool [classes, classes]
        Whether class [row] lies above class [column], at any distance.
    """
    found = scores.copy()
    for row in np.flatnonzero(above.any(1)):
        found[:, row] = np.maximum(scores[:, row], scores[:, above[row]].max(1))
    return found
