"""Logistic regression on pooled embeddings, with its gradient and a path of strengths."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .bags import Bags
from .models import Model, attended, losses

__all__ = ["STRENGTHS", "objective", "regressions", "standard"]

Floats = NDArray[np.float64]

# Of the penalty on squared weights, for the mean loss of clips; from strong to weak.
STRENGTHS = (1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
_ITERATIONS = 300
# Of the loss and of its slope: the same heads as with a thousandth of it, in half the time.
_TOLERANCES = {"ftol": 1e-6, "gtol": 1e-4}
# Scores that are looked at together: what they need stays in a processor's cache.
_AT_ONCE = 1 << 17
# A number of an embedding that hardly varies is not blown up.
_LEAST_DEVIATION = 1e-3


def standard(bags: Bags) -> tuple[Floats, Floats]:
    """Mean and deviation of each number of the embeddings, clips alike: float64 [dimension]."""
    shares = bags.shares / len(bags)
    mean = shares @ bags.vectors
    deviation = np.sqrt(shares @ (bags.vectors - mean) ** 2)
    return mean, np.maximum(deviation, max(_LEAST_DEVIATION * deviation.max(), 1e-12))


def regressions(bags: Bags, output: str, pooling: str) -> Iterator[Model]:
    """Logistic regressions, each with a weaker penalty and begun where the last one ended.

    Embeddings are standardised by `standard`, and the models read them as they are.
    """
    mean, deviation = standard(bags)
    inside = replace(bags, vectors=(bags.vectors - mean) / deviation)
    weights = np.zeros((bags.targets.shape[1], bags.vectors.shape[1] + 1))
    attention = np.zeros(bags.vectors.shape[1]) if pooling == "attention" else None
    means = inside.collapsed()
    for strength in STRENGTHS:
        if pooling == "max":  # where all segments are alike it would not know which to begin with
            weights, _ = _fitted(means, output, "mean", strength, weights, None)
        weights, attention = _fitted(inside, output, pooling, strength, weights, attention)
        layer = weights[:, :-1], weights[:, -1]
        model = Model((layer,), output, pooling, attention)
        yield model.reading(np.diag(1 / deviation), -mean / deviation)


def _fitted(
    bags: Bags,
    output: str,
    pooling: str,
    strength: float,
    weights: Floats,
    attention: Floats | None,
) -> tuple[Floats, Floats | None]:
    from scipy.optimize import minimize

    start = weights.ravel() if attention is None else np.append(weights, attention)
    found = minimize(
        objective(bags, output, pooling, strength),
        start,
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": _ITERATIONS, **_TOLERANCES},
    ).x
    shape, size = weights.shape, weights.size
    return found[:size].reshape(shape), None if attention is None else found[size:]


def objective(
    bags: Bags, output: str, pooling: str, strength: float
) -> Callable[[Floats], tuple[float, Floats]]:
    """The penalised mean loss of clips, and its gradient, by the parameters in one row.

    Parameters
    ----------
    bags : Bags
    output, pooling : str
    strength : float
        The penalty is `strength` / 2 times the sum of squares of the weights, not of the biases.

    Returns
    -------
    callable
        Of float64 [classes * (dimension + 1)], weights and bias of each class, and with
        ``attention`` [dimension] more.
    """
    classes, dimension = bags.targets.shape[1], bags.vectors.shape[1]
    size = classes * (dimension + 1)
    bags = replace(bags, weights=bags.weights / bags.weights.mean(1).sum())
    if pooling == "mean":
        bags = bags.collapsed()
    blocks = list(bags.blocks(max(1, _AT_ONCE // classes)))

    def value(parameters: Floats) -> tuple[float, Floats]:
        weights = parameters[:size].reshape(classes, dimension + 1)
        attention = parameters[size:]
        gradient = np.zeros_like(parameters)
        by_weights = gradient[:size].reshape(weights.shape)
        by_weights[:, :-1] = strength * weights[:, :-1]
        gradient[size:] = strength * attention
        total = strength / 2 * ((weights[:, :-1] ** 2).sum() + (attention**2).sum())
        for block in blocks:
            total += _added(block, output, pooling, weights, attention, by_weights, gradient[size:])
        return float(total), gradient

    return value


def _added(
    bags: Bags,
    output: str,
    pooling: str,
    weights: Floats,
    attention: Floats,
    by_weights: Floats,
    by_attention: Floats,
) -> float:
    """The loss of some clips, whose gradients are added to the last two."""
    weight = weights[:, :-1]
    shares: Floats | None = None
    inputs = bags.vectors
    if pooling == "attention":
        shares, inputs = attended(bags, attention)
    each, slopes = losses(inputs @ weight.T + weights[:, -1], bags, output, pooling)
    rows = bags.weights
    slopes *= rows if pooling != "max" else np.repeat(rows, bags.lengths, axis=0)
    by_weights[:, :-1] += slopes.T @ inputs
    by_weights[:, -1] += slopes.sum(0)
    if shares is not None:
        # By a segment's score: its share times how far it moves the mean along the slope.
        along = np.repeat(slopes @ weight, bags.lengths, axis=0)
        centred = bags.vectors - np.repeat(inputs, bags.lengths, axis=0)
        by_attention += (shares * (along * centred).sum(1)) @ bags.vectors
    return float((each * rows).sum())
