"""Training with Keras 3, with whichever backend is installed, that goes on where it was cut."""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.archives import read_archive

from soundsearch.errors import MissingExtra, SoundsearchError

__all__ = ["device", "fit", "keras"]

_INSTALL = "pip install -r recipes/papers/requirements.txt"
_BACKENDS = ("jax", "torch", "tensorflow")
_LARGEST = 1 << 34


def keras() -> Any:
    """The module keras, with the backend of ``KERAS_BACKEND`` or the first that is installed.

    Raises
    ------
    MissingExtra
        Keras or every backend is missing; the message has the command that installs them.
    """
    found = [name for name in _BACKENDS if importlib.util.find_spec(name)]
    if importlib.util.find_spec("keras") is None or not found:
        raise MissingExtra(
            f"this needs keras and one of {', '.join(_BACKENDS)}; install them with: {_INSTALL}"
        )
    os.environ.setdefault("KERAS_BACKEND", found[0])
    import keras as module

    return module


def device() -> str:
    """What a report says of where it was trained, such as ``jax on cpu:0``."""
    module = keras()
    # A backend that cannot list them says nothing.
    devices = module.distribution.list_devices() or ["its default device"]
    return f"{module.backend.backend()} on {', '.join(devices)}"


def fit(
    model: Any,
    x: NDArray[Any],
    y: NDArray[Any],
    *,
    epochs: int,
    batch: int,
    seed: int,
    folder: Path | None = None,
    order: Callable[[int], NDArray[np.intp]] | None = None,
    score: Callable[[Any], float] | None = None,
    convert: Callable[[NDArray[Any]], NDArray[Any]] | None = None,
    every: float = 30.0,
) -> list[float]:
    """Train a compiled model; a run that was cut gives what it would have given uncut.

    Parameters
    ----------
    model : keras.Model
        Built and compiled; holds the trained weights afterwards.
    x, y : array [n, ...]
    epochs, batch, seed : int
        The seed shuffles; set Keras's own (``keras.utils.set_random_seed``) before building.
    folder : Path, optional
        For a checkpoint.
    order : callable, optional
        The rows that an epoch (from 0) goes through; by default all of them, shuffled. Those at the
        end that fill no batch are left out.
    score : callable, optional
        Higher is better, called after each epoch: the model ends with the best epoch's weights.
    convert : callable, optional
        From `x` as it is stored to what the model takes, for the rows of an epoch.
    every : float
        Seconds between checkpoints.

    Returns
    -------
    list of float
        The scores of the epochs; empty without `score`.

    Raises
    ------
    SoundsearchError
        The checkpoint is that of another network.
    """
    checkpoint = folder and folder / "checkpoint.npz"
    model.optimizer.build(model.trainable_variables)
    scores: list[float] = []
    best = _arrays(model.variables)
    first = 0
    if checkpoint and checkpoint.exists():
        first, scores, best = _load(model, checkpoint)
    kept = time.monotonic()
    for epoch in range(first, epochs):
        rows = order(epoch) if order else np.random.default_rng([seed, epoch]).permutation(len(x))
        # A batch of another size would be compiled for itself.
        rows = rows[: len(rows) // batch * batch or len(rows)]
        seen = convert(x[rows]) if convert else x[rows]
        model.fit(seen, y[rows], batch_size=batch, epochs=1, shuffle=False, verbose=0)
        if score:
            scores.append(score(model))
            if scores[-1] >= max(scores):
                best = _arrays(model.variables)
        if checkpoint and time.monotonic() - kept >= every:
            _save(model, checkpoint, epoch + 1, scores, best)
            kept = time.monotonic()
    if score:
        _assign(model.variables, best)
    return scores


def _state(model: Any) -> list[Any]:
    # Seeds of dropout are among a model's variables.
    return [*model.variables, *model.optimizer.variables]


def _save(
    model: Any, path: Path, epoch: int, scores: list[float], best: list[NDArray[Any]]
) -> None:
    arrays: dict[str, Any] = {f"now_{i}": array for i, array in enumerate(_arrays(_state(model)))}
    arrays |= {f"best_{i}": array for i, array in enumerate(best)}
    temporary = path.with_name("checkpoint.new.npz")
    np.savez(temporary, epoch=np.array(epoch), scores=np.array(scores, np.float64), **arrays)
    os.replace(temporary, path)


def _load(model: Any, path: Path) -> tuple[int, list[float], list[NDArray[Any]]]:
    kept = read_archive(path, _LARGEST)
    state = _state(model)
    shapes = {f"now_{i}": tuple(variable.shape) for i, variable in enumerate(state)}
    found = {name: kept[name].shape for name in kept if name.startswith("now_")}
    if found != shapes:
        raise SoundsearchError(
            f"{path}: expected the checkpoint of a network with {shapes}, got {found}; remove it"
        )
    _assign(state, [kept[name] for name in shapes])
    best = [kept[f"best_{i}"] for i in range(len(model.variables))]
    return int(kept["epoch"]), kept["scores"].tolist(), best


def _arrays(variables: list[Any]) -> list[NDArray[Any]]:
    convert = keras().ops.convert_to_numpy
    # Copies, as a view would change with the next step.
    return [np.array(convert(variable.value)) for variable in variables]


def _assign(variables: list[Any], arrays: list[NDArray[Any]]) -> None:
    for variable, array in zip(variables, arrays, strict=True):
        variable.assign(array)
