"""Heads trained on ESC-50 folds 1-3: how many examples a class they need, and what helps.

    pip install -e '.[augment,learn]'
    python -m benchmarks.learning DATA [--only examples,models,augment,audio,adapt,large]
        [--draws 3] [--clips 20000]

DATA holds ``esc50/labels.csv`` and ``esc50/audio/``. Embeddings are the bundled encoder's. Trained
with two folds and tested on the third, three times; steps and calibration are chosen within the two
by folds of their own, in which no recording is twice. The bundled encoder saw nothing of ESC-50.

- ``examples``: accuracy by the number of clips a class, drawn at random, of different recordings
  where there are enough. A fold has 8 of each class, so that all are 16. Mean over the draws, with
  where 95 % of such means would lie for other recordings to be tested on (a bootstrap), and the
  deviation between draws. Beside it: the class of the nearest clip, and that of most of the five
  nearest, by the cosine of pooled embeddings.
- ``models``: all of them with all clips.
- ``augment``: with more clips made of the embeddings.
- ``audio``: with more clips made of their sound, tested on clean sound and as in ``adapt``.
- ``adapt``: tested on the same clips after a room and a telephone: convolved with white noise that
  decays by 60 dB a second, as loud as the direct sound, and 300 to 3400 Hz of it. CORAL knows the
  spoilt clips of the two folds, but not what they are.
- ``large``, only if it is asked for: seconds and peak memory of ``soundsearch train`` for made-up
  clips of AudioSet's 527 classes; see `benchmarks.large_training`.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.decode import SAMPLE_RATE, read
from soundsearch_ingest.logmel import SILENT

from benchmarks.large_training import measure, passes
from soundsearch.learn.adapt import coral
from soundsearch.learn.bags import Bags, joined
from soundsearch.learn.fitting import Recipe, common_step, fit, validated
from soundsearch.learn.folds import dealt
from soundsearch.learn.measures import average_precisions, reliability
from soundsearch.learn.models import Model
from soundsearch.learn.rehearing import Reheard
from soundsearch.learn.report import held_out
from soundsearch.learn.sounds import CHANGES, changed
from soundsearch.vectors import loudness_weights

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

EXAMPLES = (1, 2, 5, 10, 16)
FOLDS = (1, 2, 3)
INNER = 5
DECAY, BAND = 1.0, (300, 3400)
RESAMPLED = 2000


@dataclass(frozen=True)
class Data:
    """The clips of ESC-50, their folds and recordings."""

    bags: Bags
    folds: Ints
    sources: Ints

    @property
    def kinds(self) -> Ints:
        found: Ints = self.bags.targets.argmax(1)
        return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", default="examples,models,augment,audio,adapt")
    parser.add_argument("--draws", type=int, default=3)
    parser.add_argument("--clips", type=int, default=20_000)
    options = parser.parse_args()
    wanted = options.only.split(",")
    if "large" in wanted:
        passes(options.clips)
        measure(options.clips)
    if wanted == ["large"]:
        return
    data = embedded(options.data / "esc50", lambda sound, _seed: sound)
    if "examples" in wanted:
        examples(data, options.draws)
    if "models" in wanted:
        models(data)
    if "augment" in wanted:
        augmentations(data, options.draws)
    if {"audio", "adapt"} & {*wanted}:
        spoiled = embedded(options.data / "esc50", spoilt)
    if "audio" in wanted:
        changes(data, spoiled, options.data / "esc50", options.draws)
    if "adapt" in wanted:
        adaptation(data, spoiled)


def embedded(folder: Path, change: Callable[[NDArray[np.float32], int], object]) -> Data:
    """Embed all clips, after a change."""
    encoder = encoders.load(threads=1)
    with open(folder / "labels.csv", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    kinds = sorted({row["category"] for row in rows})
    vectors, shares, lengths = [], [], []
    for seed, row in enumerate(rows):
        sound = change(read(folder / "audio" / row["filename"]), seed)
        embeddings, levels, _ = pipeline.embed_sound([np.asarray(sound)], encoder, 0.96)
        kept = levels >= SILENT
        kept = kept if kept.any() else ~kept
        weights = loudness_weights(levels[kept])
        vectors.append(embeddings[kept])
        shares.append(weights / weights.sum())
        lengths.append(len(weights))
    targets = np.eye(len(kinds))[[kinds.index(row["category"]) for row in rows]]
    bags = Bags(
        np.concatenate(vectors).astype(np.float64),
        np.concatenate(shares).astype(np.float64),
        np.cumsum(lengths, dtype=np.int64) - np.array(lengths, np.int64),
        targets,
        np.ones((len(rows), 1)),
    )
    sources = np.unique([row["source"] for row in rows], return_inverse=True)[1]
    return Data(bags, np.array([int(row["fold"]) for row in rows]), sources)


def spoilt(sound: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    """A sound through a room and a telephone."""
    count = int(DECAY * SAMPLE_RATE)
    decay = 10 ** (-3 * np.arange(count) / count)
    room = np.random.default_rng(seed).normal(size=count) * decay
    room /= np.sqrt((room**2).sum())
    room[0] += 1
    spectrum = np.fft.rfft(fftconvolve(sound, room)[: len(sound)])
    hertz = np.fft.rfftfreq(len(sound), 1 / SAMPLE_RATE)
    spectrum[(hertz < BAND[0]) | (hertz > BAND[1])] = 0
    return np.fft.irfft(spectrum, len(sound)).astype(np.float32)


def seen(recipe: Recipe, bags: Bags) -> Bags:
    """Clips as the models see them."""
    return recipe.prepared(bags.unit() if recipe.normalised else bags)


def trained(
    recipe: Recipe, data: Data, clips: Ints, beside: Sequence[Data] = ()
) -> tuple[Model, float]:
    """A calibrated head for some clips, and its accuracy as measured on these.

    Beside them it is trained with the same clips, changed.
    """
    bags = seen(recipe, data.bags.take(clips))
    heard = more = None
    if beside:
        more = joined([seen(recipe, each.bags.take(clips)) for each in beside])
        heard = Reheard(more, np.tile(np.arange(len(clips)), len(beside)))
    groups = np.unique(data.sources[clips], return_inverse=True)[1]
    of_class = [len(np.unique(groups[column > 0])) for column in bags.targets.T]
    if min(of_class) < 2:
        return fit(recipe, bags, None, more=more).model, float("nan")
    folds = dealt(bags.targets, groups, INNER, recipe.seed)
    fitted, held = validated(recipe, bags, folds, lambda _text: None, heard)
    found, calibration = held_out(fitted, held)
    model = fit(recipe, bags, None, common_step(fitted), more).model
    right = found.scores.argmax(1) == found.targets.argmax(1)
    return calibration.of(model), float(right.mean())


def scored(recipe: Recipe, data: Data, each: int | None, draw: int) -> tuple[Floats, float]:
    """Scores of all clips, each by a head of the other folds; the accuracy that these expected."""
    scores = np.zeros(data.bags.targets.shape)
    expected = []
    for fold in FOLDS:
        model, own = trained(recipe, data, drawn(data, fold, each, draw))
        tested = np.flatnonzero(data.folds == fold)
        scores[tested] = model.probabilities(seen(recipe, data.bags.take(tested)))
        expected.append(own)
    return scores, float(np.mean(expected))


def drawn(data: Data, fold: int, each: int | None, draw: int) -> Ints:
    """So many clips a class that are not of a fold, of different recordings first."""
    others = np.flatnonzero(data.folds != fold)
    if each is None:
        return others
    random = np.random.default_rng((draw, fold))
    chosen = []
    for kind in range(data.bags.targets.shape[1]):
        clips = random.permutation(others[data.kinds[others] == kind])
        _, first = np.unique(data.sources[clips], return_index=True)
        is_first = np.isin(np.arange(len(clips)), first)
        chosen.append(clips[np.argsort(~is_first, kind="stable")][:each])
    return np.concatenate(chosen)


def nearest(data: Data, each: int | None, draw: int, votes: int) -> NDArray[np.bool_]:
    """Whether each clip gets its class from the clips nearest to it."""
    means = data.bags.means()
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    right = np.zeros(len(means), np.bool_)
    for fold in FOLDS:
        known = drawn(data, fold, each, draw)
        tested = np.flatnonzero(data.folds == fold)
        cosines = means[tested] @ means[known].T
        near = np.argsort(-cosines, axis=1, kind="stable")[:, :votes]
        # Of classes with as many votes, the one with the nearest clip.
        weights = 1 - 1e-3 * np.arange(near.shape[1])
        counts = np.zeros((len(tested), data.bags.targets.shape[1]))
        np.add.at(counts, (np.arange(len(tested))[:, None], data.kinds[known][near]), weights)
        right[tested] = counts.argmax(1) == data.kinds[tested]
    return right


def interval(right: Floats, sources: Ints) -> tuple[float, float]:
    """Where 95 % of means would lie for other recordings: a bootstrap over these."""
    sums, counts = np.bincount(sources, right), np.bincount(sources)
    random = np.random.default_rng(0)
    draws = random.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), RESAMPLED)
    low, high = np.quantile(draws @ sums / (draws @ counts), [0.025, 0.975])
    return float(low), float(high)


def examples(data: Data, draws: int) -> None:
    """Print accuracy by the number of examples a class."""
    print("\naccuracy by examples a class: mean (95 % over recordings; deviation between draws)")
    ways: dict[str, Callable[[int | None, int], NDArray[np.bool_]]] = {
        "nearest clip": lambda each, draw: nearest(data, each, draw, 1),
        "five nearest": lambda each, draw: nearest(data, each, draw, 5),
        "logistic": lambda each, draw: by_head("logistic", data, each, draw),
        "network": lambda each, draw: by_head("network", data, each, draw),
    }
    for way, right in ways.items():
        for each in EXAMPLES:
            # Of all clips there is one draw; a network takes long.
            several = draws if each < EXAMPLES[-1] and way != "network" else 1
            found = np.array([right(each, draw) for draw in range(several)], np.float64)
            low, high = interval(found.mean(0), data.sources)
            print(
                f"{each:3}  {way:13}  {found.mean():.3f} ({low:.3f}-{high:.3f}; "
                f"{found.mean(1).std():.3f})",
                flush=True,
            )


def by_head(model: str, data: Data, each: int | None, draw: int) -> NDArray[np.bool_]:
    scores, _ = scored(Recipe("softmax", model, seed=draw), data, each, draw)
    right: NDArray[np.bool_] = scores.argmax(1) == data.kinds
    return right


def models(data: Data) -> None:
    """Print what models and poolings make of all clips."""
    print("\nmodel, pooling, output: accuracy (95 %), what its folds said, mAP, calibration error")
    for model, pooling, output in (
        ("logistic", "mean", "softmax"),
        ("logistic", "max", "softmax"),
        ("logistic", "attention", "softmax"),
        ("network", "mean", "softmax"),
        ("logistic", "mean", "sigmoid"),
    ):
        scores, expected = scored(Recipe(output, model, pooling), data, None, 0)
        right = (scores.argmax(1) == data.kinds).astype(np.float64)
        low, high = interval(right, data.sources)
        precision = average_precisions(scores, data.bags.targets).mean()
        error = reliability(scores, data.bags.targets, one_label=output == "softmax").error
        print(
            f"{model:9} {pooling:9} {output:8} {right.mean():.3f} ({low:.3f}-{high:.3f})  "
            f"{expected:.3f}  {precision:.3f}  {error:.3f}",
            flush=True,
        )


def augmentations(data: Data, draws: int) -> None:
    """Print what augmentation adds."""
    print("\naugmentation: accuracy with 2, 5 and 16 examples a class")
    choices: Sequence[tuple[str, ...]] = (
        (),
        ("mixup",),
        ("shuffle",),
        ("drop",),
        ("mixup", "shuffle", "drop"),
    )
    for kinds in choices:
        cells = []
        for each in (2, 5, 16):
            recipe = Recipe("softmax", augment=kinds)
            several = draws if each < EXAMPLES[-1] else 1
            found = [scored(recipe, data, each, draw)[0] for draw in range(several)]
            means = [(scores.argmax(1) == data.kinds).mean() for scores in found]
            cells.append(f"{np.mean(means):.3f}")
        print(f"{'+'.join(kinds) or 'none':20} {'  '.join(cells)}", flush=True)


def changes(data: Data, spoiled: Data, folder: Path, draws: int) -> None:
    """Print what more clips made of sound add."""
    print(
        "\nchange of sound: accuracy with 2, 5 and 16 examples a class, clean; spoilt", flush=True
    )
    recipe = Recipe("softmax")
    heard = {}
    for kind in CHANGES:
        began = time.monotonic()

        def change(sound: NDArray[np.float32], seed: int, kind: str = kind) -> object:
            return np.concatenate(list(changed([sound], kind, [seed])))

        heard[kind] = embedded(folder, change)
        print(
            f"{kind}: {time.monotonic() - began:.0f} s to hear {len(data.folds):,} clips again",
            flush=True,
        )
    choices = [(), *((kind,) for kind in CHANGES), ("noise", "reverb"), tuple(CHANGES)]
    for kinds in choices:
        more = [heard[kind] for kind in kinds]
        cells: tuple[list[str], list[str]] = [], []
        for each in (2, 5, 16):
            right: tuple[list[float], list[float]] = [], []
            for draw in range(draws if each < EXAMPLES[-1] else 1):
                for fold in FOLDS:
                    model, _ = trained(recipe, data, drawn(data, fold, each, draw), more)
                    tested = np.flatnonzero(data.folds == fold)
                    for of, found in zip((data, spoiled), right, strict=True):
                        scores = model.probabilities(seen(recipe, of.bags.take(tested)))
                        found.append(float((scores.argmax(1) == data.kinds[tested]).mean()))
            for column, found in zip(cells, right, strict=True):
                column.append(f"{np.mean(found):.3f}")
        name = "+".join(kinds) or "none"
        print(f"{name:34} {'  '.join(cells[0])};  {'  '.join(cells[1])}", flush=True)


def adaptation(data: Data, spoiled: Data) -> None:
    """Print what a head for clean sound makes of spoilt sound, as it is and adapted."""
    print("\ntrained with, tested on: accuracy (95 %)")
    recipe = Recipe("softmax")
    rows: dict[str, list[NDArray[np.bool_]]] = {}
    for fold in FOLDS:
        clips = drawn(data, fold, None, 0)
        tested = np.flatnonzero(data.folds == fold)
        model, _ = trained(recipe, data, clips)
        other, _ = trained(recipe, spoiled, clips)
        clean, unlabelled = (each.bags.take(clips).unit() for each in (data, spoiled))
        into = coral(clean.vectors, unlabelled.vectors)
        for name, head, of in (
            ("clean, clean", model, data),
            ("clean, spoilt", model, spoiled),
            ("clean and adapted, spoilt", model.reading(*into), spoiled),
            ("spoilt, spoilt", other, spoiled),
        ):
            scores = head.probabilities(seen(recipe, of.bags.take(tested)))
            rows.setdefault(name, []).append(scores.argmax(1) == data.kinds[tested])
    tested = np.concatenate([np.flatnonzero(data.folds == fold) for fold in FOLDS])
    for name, parts in rows.items():
        right = np.concatenate(parts).astype(np.float64)
        low, high = interval(right, data.sources[tested])
        print(f"{name:26} {right.mean():.3f} ({low:.3f}-{high:.3f})", flush=True)


if __name__ == "__main__":
    main()
