"""More clips to learn from, made of the embeddings of those that there are."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .bags import Bags, joined

__all__ = ["AUGMENTATIONS", "augmented"]

Random = np.random.Generator
Floats = NDArray[np.float64]

# Of the Beta distribution that says how much of each clip is mixed.
_MIXED = 0.4
_DROPPED = 0.5


def augmented(bags: Bags, kinds: Collection[str], seed: int) -> Bags:
    """The clips, and as many more of each kind; of `AUGMENTATIONS`."""
    random = np.random.default_rng(seed)
    more = [make(bags, random) for name, make in AUGMENTATIONS.items() if name in kinds]
    return joined([bags, *more])


def _mixup(bags: Bags, random: Random) -> Bags:
    """Each clip mixed with another, as heard at once, and so are their labels.

    Zhang, Cisse, Dauphin and Lopez-Paz, mixup: Beyond Empirical Risk Minimization (2018). What is
    mixed are the segments, so that a pooling sees those of both.
    """
    other = bags.take(random.permutation(len(bags)))
    share = random.beta(_MIXED, _MIXED, (len(bags), 1))
    both = joined([_shared(bags, share), _shared(other, 1 - share)])
    count = len(bags)
    # A clip's segments, then those of the one that is mixed into it.
    pairs = both.take(np.stack([np.arange(count), count + np.arange(count)], axis=1).ravel())
    targets = share * bags.targets + (1 - share) * other.targets
    weights = share * bags.weights + (1 - share) * other.weights
    return replace(pairs, starts=pairs.starts[::2], targets=targets, weights=weights)


def _shared(bags: Bags, share: Floats) -> Bags:
    return replace(bags, shares=bags.shares * np.repeat(share[:, 0], bags.lengths))


def _shuffle(bags: Bags, random: Random) -> Bags:
    """Clips of segments drawn from clips with the same labels, as if one recording were cut."""
    _, alike = np.unique(bags.targets, axis=0, return_inverse=True)
    owners = np.repeat(np.arange(len(bags)), bags.lengths)
    order = np.argsort(alike[owners], kind="stable")
    # Permuted among the segments of clips that are alike.
    drawn = order[np.lexsort((random.random(len(order)), alike[owners][order]))]
    rows = np.empty_like(drawn)
    rows[order] = drawn
    return _normalised(replace(bags, vectors=bags.vectors[rows], shares=bags.shares[rows]))


def _drop(bags: Bags, random: Random) -> Bags:
    """Each clip without some of its segments, but never without all."""
    kept = random.random(len(bags.vectors)) >= _DROPPED
    kept[bags.starts + (random.random(len(bags)) * bags.lengths).astype(np.int64)] = True
    lengths = np.add.reduceat(kept.astype(np.int64), bags.starts)
    return _normalised(
        replace(
            bags,
            vectors=bags.vectors[kept],
            shares=bags.shares[kept],
            starts=np.cumsum(lengths) - lengths,
        )
    )


def _normalised(bags: Bags) -> Bags:
    sums = np.add.reduceat(bags.shares, bags.starts)
    return replace(bags, shares=bags.shares / np.repeat(sums, bags.lengths))


AUGMENTATIONS: dict[str, Callable[[Bags, Random], Bags]] = {
    "mixup": _mixup,
    "shuffle": _shuffle,
    "drop": _drop,
}
