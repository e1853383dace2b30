"""A small network in NumPy: dense layers, batch normalisation, ELU, sigmoid outputs, Adam.

Hundreds of networks this small train in minutes here; a learning library would compile each of them
first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import losses

__all__ = ["Network", "Plan", "fit"]

Floats = NDArray[np.float32]

_MOMENTUM = 0.9
_EPSILON = 1e-3


@dataclass(frozen=True, slots=True)
class Plan:
    """How a network is trained: the paper's settings, and how long.

    Attributes
    ----------
    epochs, batch : int
    rate, decay : float
        Adam's rate in the first epoch, and what it is multiplied with after each.
    loss : str
        ``mse`` or ``bce``.
    """

    epochs: int
    batch: int = 24
    rate: float = 1e-3
    decay: float = 0.987
    loss: str = "mse"


class _Dense:
    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        limit = np.sqrt(6 / (inputs + outputs))  # Glorot's
        self.weights = [
            rng.uniform(-limit, limit, (inputs, outputs)).astype(np.float32),
            np.zeros(outputs, np.float32),
        ]
        self.slopes = [np.zeros_like(weight) for weight in self.weights]

    def forward(self, x: Floats, training: bool) -> Floats:
        self._x = x
        return x @ self.weights[0] + self.weights[1]

    def backward(self, slope: Floats) -> Floats:
        self.slopes = [self._x.T @ slope, slope.sum(0)]
        return slope @ self.weights[0].T


class _BatchNorm:
    def __init__(self, size: int) -> None:
        self.weights = [np.ones(size, np.float32), np.zeros(size, np.float32)]
        self.slopes = [np.zeros_like(weight) for weight in self.weights]
        self._mean, self._variance = np.zeros(size, np.float32), np.ones(size, np.float32)

    def forward(self, x: Floats, training: bool) -> Floats:
        mean, variance = self._mean, self._variance
        if training:
            mean, variance = x.mean(0), x.var(0)
            self._mean = _MOMENTUM * self._mean + (1 - _MOMENTUM) * mean
            self._variance = _MOMENTUM * self._variance + (1 - _MOMENTUM) * variance
        self._scale = 1 / np.sqrt(variance + np.float32(_EPSILON))
        self._unit = (x - mean) * self._scale
        return self._unit * self.weights[0] + self.weights[1]

    def backward(self, slope: Floats) -> Floats:
        self.slopes = [(slope * self._unit).sum(0), slope.sum(0)]
        inner = slope * self.weights[0]
        centred = inner - inner.mean(0) - self._unit * (inner * self._unit).mean(0)
        found: Floats = centred * self._scale
        return found


class _Elu:
    weights: Sequence[Floats] = ()
    slopes: Sequence[Floats] = ()

    def forward(self, x: Floats, training: bool) -> Floats:
        self._y: NDArray[Any] = np.maximum(x, 0) + np.expm1(np.minimum(x, 0))
        return self._y

    def backward(self, slope: Floats) -> Floats:
        return slope * np.minimum(self._y + 1, 1)


class _Sigmoid(_Elu):
    def forward(self, x: Floats, training: bool) -> Floats:
        self._y = np.asarray(1 / (1 + np.exp(-np.clip(x, -30, 30))), x.dtype)
        return self._y

    def backward(self, slope: Floats) -> Floats:
        return slope * self._y * (1 - self._y)


_Layer = _Dense | _BatchNorm | _Elu


class Network:
    """A trunk, from inputs to features before their activation, and a head, to probabilities.

    Parameters
    ----------
    trunk : sequence of int
        Widths, the inputs first, the features last.
    head : sequence of int
        Widths of what follows the features, the outputs last.
    seed : int

    Notes
    -----
    Each layer but the last is followed by batch normalisation and ELU.
    """

    def __init__(self, trunk: Sequence[int], head: Sequence[int], seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.trunk = _stack(trunk, rng)
        self.head: list[_Layer] = [
            _BatchNorm(trunk[-1]), _Elu(), *_stack((trunk[-1], *head), rng), _Sigmoid()
        ]  # fmt: skip

    def with_head(self, head: Sequence[int], seed: int) -> Network:
        """A copy of the trunk, with a new head: see `Network`."""
        size = self.trunk[-1].weights[0].shape[1]
        made = Network((size,), head, seed)
        made.trunk = deepcopy(self.trunk)
        return made

    def features(self, x: Floats) -> Floats:
        """From inputs, float32 [n, inputs], to features before their activation."""
        return _through(self.trunk, x, False)

    def __call__(self, x: Floats) -> Floats:
        """From inputs, float32 [n, inputs], to probabilities, float32 [n, outputs]."""
        return _through(self.head, self.features(x), False)

    def layers(self, with_trunk: bool) -> list[_Layer]:
        """The layers that are trained, in order."""
        return [*self.trunk, *self.head] if with_trunk else self.head


def _stack(widths: Sequence[int], rng: np.random.Generator) -> list[_Layer]:
    layers: list[_Layer] = []
    for number, (inputs, outputs) in enumerate(pairwise(widths)):
        layers += [_BatchNorm(inputs), _Elu()] if number else []
        layers.append(_Dense(inputs, outputs, rng))
    return layers


def _through(layers: Sequence[_Layer], x: Floats, training: bool) -> Floats:
    for layer in layers:
        x = layer.forward(x, training)
    return x


def fit(
    network: Network,
    x: Floats,
    labels: NDArray[np.bool_],
    masked: NDArray[np.bool_],
    plan: Plan,
    seed: int,
    score: Callable[[Network], float],
    frozen: bool = False,
) -> tuple[Network, list[float]]:
    """Train a network.

    Parameters
    ----------
    network : Network
        Is changed.
    x : float32 [n, inputs]
    labels, masked : bool [n, outputs]
    plan : Plan
    seed : int
        Of the order of the clips.
    score : callable
        Called after each epoch; higher is better.
    frozen : bool
        Train the head alone.

    Returns
    -------
    Network, list of float
        As it was after the best epoch, and the scores of all epochs.

    Raises
    ------
    ArgumentError
        A mask hides every class of a clip, or one of its labels.
    """
    losses.check_masks(labels, masked)
    layers = network.layers(not frozen)
    inputs = network.features(x) if frozen else x
    targets = labels.astype(np.float32)
    rng = np.random.default_rng(seed)
    adam = _Adam(layers)
    best, scores = deepcopy(network), [-np.inf]
    for epoch in range(plan.epochs):
        order = rng.permutation(len(x))
        for start in range(0, len(order) - 1, plan.batch):
            rows = order[start : start + plan.batch]
            if len(rows) < 2:  # batch normalisation needs more
                break
            outputs = _through(layers, inputs[rows], True)
            slope = losses.gradient(plan.loss, targets[rows], outputs, masked[rows])
            for layer in reversed(layers):
                slope = layer.backward(slope)
            adam.step(plan.rate * plan.decay**epoch)
        scores.append(score(network))
        if scores[-1] > max(scores[:-1]):
            best = deepcopy(network)
    return best, scores[1:]


class _Adam:
    """Kingma and Ba, Adam: a method for stochastic optimization (2015), with their settings."""

    def __init__(self, layers: Sequence[_Layer]) -> None:
        self._layers = layers
        self._moments = [
            (np.zeros_like(weight), np.zeros_like(weight)) for weight, _ in self._pairs()
        ]
        self._steps = 0

    def _pairs(self) -> Iterator[tuple[Floats, Floats]]:
        for layer in self._layers:
            yield from zip(layer.weights, layer.slopes, strict=True)

    def step(self, rate: float) -> None:
        self._steps += 1
        size = rate * np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        for (weight, slope), (first, second) in zip(self._pairs(), self._moments, strict=True):
            first += 0.1 * (slope - first)
            second += 0.001 * (slope * slope - second)
            weight -= np.float32(size) * first / (np.sqrt(second) + np.float32(1e-7))
