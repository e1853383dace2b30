"""How many answers a class needs that is taught in the loop, against clips drawn at random.

    python -m benchmarks.teaching DATA [--categories 10] [--draws 2]

DATA holds ``esc50/labels.csv`` and ``esc50/audio/``: folds 1 to 3 of ESC-50, embedded by the
bundled encoder, which saw nothing of it. Each category is taught alone, with clips of two folds
(800, of which 16 are of it), and tested on the third, three times for each draw. Both ways begin
with one clip of the category (``teach --like``), and train again with the same code after every
five answers.

- How good: average precision on the third fold, and how many answers it takes to reach 90 % of what
  all 800 answers give: the median, and where 95 % of medians would lie for other categories (a
  bootstrap of these).
- How sure: of the clips of the third fold, after 50 answers, how many score at least 0.9 or at most
  0.1, and how many of these are right.
- How many answers it takes to the first clip of the category where nothing is known of it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.learning import FOLDS, Data, embedded
from soundsearch.learn.choosing import asked_first, asked_next
from soundsearch.learn.measures import average_precisions
from soundsearch.learn.models import Model
from soundsearch.learn.teaching import taught
from soundsearch.vectors import unit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
# Of the clips, the answers so far, and the model that these give, the next to ask about.
Choose = Callable[[Ints, Ints, Model | None], Ints]

ROUND = 5
SHOWN = (6, 11, 21, 31, 51, 101)
ENOUGH = 0.9
SURE = 0.9
SURE_AT = 51
# From so many answers on, drawn at random, training is less often.
MANY, SELDOM = 101, 50


class Class:
    """A category, to be taught with two folds and tested on the third."""

    def __init__(self, data: Data, kind: int, fold: int, draw: int) -> None:
        self.random = np.random.default_rng((kind, fold, draw))
        self.bags = replace(data.bags.collapsed(), targets=data.bags.targets[:, [kind]])
        self.units = unit(self.bags.vectors.astype(np.float32))
        self.pool = np.flatnonzero(data.folds != fold)
        self.tested = self.bags.take(np.flatnonzero(data.folds == fold))
        self.is_one = self.bags.targets[:, 0] > 0
        self.first = int(self.random.choice(self.pool[self.is_one[self.pool]]))

    def learnt(self, choose: Choose, most: int) -> Iterator[tuple[int, float, Floats]]:
        """After each round: how many answers, the average precision, scores of what is tested."""
        known = np.array([self.first])
        model: Model | None = None
        while len(known) < min(most, len(self.pool)):
            asked = choose(np.setdiff1d(self.pool, known), known, model)
            known = np.concatenate([known, asked])
            if len(np.unique(self.is_one[known])) == 2:
                model = taught(self.bags.take(np.sort(known))).model
            yield len(known), *self.tested_with(model)

    def tested_with(self, model: Model | None) -> tuple[float, Floats]:
        targets = self.tested.targets
        if model is None:
            return float(targets.mean()), np.full(len(targets), 0.5)
        scores = model.probabilities(self.tested)
        return float(average_precisions(scores, targets)[0]), scores[:, 0]

    def in_the_loop(self, rows: Ints, known: Ints, model: Model | None) -> Ints:
        """As `Teaching` asks, which was given one clip to begin with."""
        if model is not None:
            [(weight, bias)] = model.layers
            return asked_next(self.units, self.bags.vectors @ weight[0] + bias[0], rows, ROUND)
        yes, no = known[self.is_one[known]], known[~self.is_one[known]]
        return asked_first(self.units, None, yes, no, rows, ROUND)

    def at_random(self, rows: Ints, known: Ints, _model: Model | None) -> Ints:
        count = ROUND if len(known) < MANY else SELDOM
        return self.random.choice(rows, min(count, len(rows)), replace=False)

    def to_the_first(self) -> tuple[int, int]:
        """How many answers to a first clip of it, without a clip to begin with, and at random."""
        none = known = np.empty(0, np.int64)
        while not self.is_one[known].any():
            rows = np.setdiff1d(self.pool, known)
            known = np.append(known, asked_first(self.units, None, none, known, rows, ROUND))
        drawn = self.random.permutation(self.pool)
        return int(self.is_one[known].argmax()) + 1, int(self.is_one[drawn].argmax()) + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--categories", type=int, default=10)
    parser.add_argument("--draws", type=int, default=2)
    options = parser.parse_args()
    data = embedded(options.data / "esc50", lambda sound, _seed: sound)
    kinds = np.random.default_rng(0).permutation(data.bags.targets.shape[1])[: options.categories]
    classes = [
        Class(data, int(kind), fold, draw)
        for kind in kinds
        for fold in FOLDS
        for draw in range(options.draws)
    ]
    full = [each.tested_with(taught(each.bags.take(each.pool)).model)[0] for each in classes]
    print(f"{len(kinds)} categories, {len(classes)} runs; with all answers AP {np.mean(full):.3f}")
    print(f"\n{'AP after answers':20}" + "".join(f"{count:7}" for count in SHOWN), flush=True)
    reached, sure = {}, {}
    for name, choose, most in (
        ("in the loop", Class.in_the_loop, SHOWN[-1]),
        ("at random", Class.at_random, 10**6),
    ):
        curves = []
        for each in classes:
            curve = list(each.learnt(lambda *state, to=each, how=choose: how(to, *state), most))
            curves.append(curve)
        means = {n: np.mean([ap for c in curves for m, ap, _ in c if m == n]) for n in SHOWN}
        print(f"{name:20}" + "".join(f"{value:7.3f}" for value in means.values()), flush=True)
        reached[name] = [needed(curve, top) for curve, top in zip(curves, full, strict=True)]
        sure[name] = [
            (scores, each.tested.targets[:, 0] > 0)
            for each, curve in zip(classes, curves, strict=True)
            for count, _, scores in curve
            if count == SURE_AT
        ]
    print(f"\nanswers to {ENOUGH:.0%} of that: median (95 %), a quarter needs at least")
    for name, counts in reached.items():
        by_kind = np.array(counts, np.float64).reshape(len(kinds), -1)
        low, high = interval(by_kind)
        print(f"{name:20} {np.median(counts):.0f} ({low:.0f}-{high:.0f}), {upper(counts):.0f}")
    print(f"\nafter {SURE_AT} answers: sure of, of these right, of those called yes right")
    for name, pairs in sure.items():
        scores, truth = (np.concatenate(part) for part in zip(*pairs, strict=True))
        yes, no = scores >= SURE, scores <= 1 - SURE
        right = (yes & truth) | (no & ~truth)
        print(
            f"{name:20} {(yes | no).mean():.3f} {right.sum() / max((yes | no).sum(), 1):.4f} "
            f"{(yes & truth).sum() / max(yes.sum(), 1):.3f}"
        )
    firsts = np.array([each.to_the_first() for each in classes])
    asked, drawn = np.median(firsts, axis=0)
    print(f"\nanswers to a first clip, nothing known: median {asked:.0f}, at random {drawn:.0f}")


def needed(curve: list[tuple[int, float, Floats]], full: float) -> float:
    """After how many answers the average precision is near to that of all."""
    return next((count for count, found, _ in curve if found >= ENOUGH * full), np.inf)


def upper(counts: list[float]) -> float:
    return float(np.quantile(counts, 0.75, method="higher"))


def interval(by_kind: Floats) -> tuple[float, float]:
    """Where 95 % of the medians lie for other categories drawn from these."""
    random = np.random.default_rng(0)
    drawn = random.integers(0, len(by_kind), (2000, len(by_kind)))
    medians = np.sort(np.median(by_kind[drawn].reshape(len(drawn), -1), axis=1))
    return float(medians[49]), float(medians[-50])


if __name__ == "__main__":
    main()
