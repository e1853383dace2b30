"""Recommending: what several tastes find on ESC-50 folds 1-3, and the time it takes.

    python -m benchmarks.recommending DATA [--sizes 100000 1000000]

DATA holds ``esc50/labels.csv`` and ``esc50/audio/``. A listener likes clips of one to three
classes, of as many source recordings; other clips of these recordings are left out. Of the first 20
recommendations: `precision`, the share of liked classes; `cover`, the share of the classes that
have two or more; `calibrated`, the sum over the classes of the smaller of its share of the list
and its share of the likes (Steck, Calibrated Recommendations, 2018); `sources`, how many recordings
they are of. With `disliked`, up to three wrong ones of a first list are disliked; `their kind` is
the share of their classes in a second one. Means over 150 listeners.

Then, for libraries of as many clips of five segments, whose vectors are mixtures of embeddings of
the demo sounds: milliseconds of one warm thread to recommend 20 clips to someone who likes 50, and
of its processor time; to answer a stored clip by its company and plainly; for NumPy to find the
cosines of eight vectors to all clips (medians of 30).
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.decode import Decoder

import soundsearch
from benchmarks.query import make_store
from benchmarks.vectors import CLIP_SEGMENTS, demo_embeddings, median_ms, mixed
from soundsearch.asking.ranking import pool_query
from soundsearch.asking.recommending import AGAINST, diverse, tastes
from soundsearch.asking.related import HEAD, reranked
from soundsearch.vectors import loudness_weights, unit

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
LIKES = [(5,), (1, 1), (3, 3), (8, 2), (1, 1, 1), (5, 5, 5), (6, 3, 1)]
LISTENERS, LENGTH, LIKED = 150, 20, 50
Way = Callable[[Floats, Floats, Floats], list[int]]


def in_tastes(
    liked: Floats, clips: Floats, disliked: Floats, diversity: float = 0.0, against: float = AGAINST
) -> list[int]:
    """As the library recommends."""
    along, weights = tastes(liked, np.ones(len(liked), np.float32))
    cosines = along @ clips.T
    scores = np.full(cosines.shape, -np.inf, np.float32)
    for taste, row in enumerate(cosines):
        head = np.argsort(-row, kind="stable")[:HEAD]
        scores[taste, head] = reranked(along[taste], clips[head])
    if len(disliked):
        scores -= np.float32(against) * np.maximum((clips @ disliked.T).max(1), 0)
    return [clip for _, clip in diverse(scores, clips, weights, LENGTH, diversity)]


def mean(liked: Floats, clips: Floats, _disliked: Floats) -> list[int]:
    """One direction."""
    order: list[int] = np.argsort(-(clips @ liked.mean(0)), kind="stable")[:LENGTH].tolist()
    return order


def by_nearest(liked: Floats, clips: Floats, _disliked: Floats) -> list[int]:
    """By the cosine to the nearest liked clip."""
    near = (clips @ liked.T).max(1)
    order: list[int] = np.argsort(-near, kind="stable")[:LENGTH].tolist()
    return order


def pooled(folder: Path, rows: list[dict[str, str]]) -> Floats:
    """A unit vector for each clip of ESC-50."""
    encoder = encoders.load(encoders.BUNDLED, pipeline.available_cores())
    vectors = []
    for row in rows:
        with Decoder(folder / "audio" / row["filename"]) as decoder:
            found = pipeline.embed_sound(decoder, encoder, encoder.hop_seconds)
        vectors.append(pool_query(found[0], loudness_weights(found[1])))
    return unit(np.concatenate(vectors))


def listeners(
    likes: tuple[int, ...], classes: NDArray[np.str_], sources: NDArray[np.str_]
) -> list[tuple[NDArray[np.str_], Ints]]:
    """Which classes each likes, and which clips."""
    rng = np.random.default_rng(0)
    made = []
    for _ in range(LISTENERS):
        kinds = rng.choice(np.unique(classes), len(likes), replace=False)
        liked: list[int] = []
        for kind, count in zip(kinds, likes, strict=True):
            clips = rng.permutation(np.flatnonzero(classes == kind))
            _, first = np.unique(sources[clips], return_index=True)
            liked += clips[np.sort(first)][:count].tolist()
        made.append((kinds, np.array(liked)))
    return made


def quality(vectors: Floats, classes: NDArray[np.str_], sources: NDArray[np.str_]) -> None:
    """Print what each way finds."""
    ways: dict[str, Way] = {
        "mean": mean,
        "nearest liked": by_nearest,
        **{f"tastes, diversity {d:.1f}": partial(in_tastes, diversity=d) for d in (0, 0.3, 0.5)},
    }
    none = np.zeros((0, vectors.shape[1]), np.float32)
    print(f"{'likes':<10}{'way':<24}{'precision':>10}{'cover':>7}{'calibrated':>11}{'sources':>9}")
    for likes in LIKES:
        share = np.array(likes) / sum(likes)
        for name, way in ways.items():
            found: list[tuple[float, ...]] = []
            for kinds, liked in listeners(likes, classes, sources):
                others = np.flatnonzero(~np.isin(sources, sources[liked]))
                chosen = others[way(vectors[liked], vectors[others], none)]
                of = np.array([(classes[chosen] == kind).mean() for kind in kinds])
                calibrated = np.minimum(of, share).sum()
                different = len(np.unique(sources[chosen]))
                found.append((of.sum(), (of * LENGTH >= 2).mean(), calibrated, different))
            precision, cover, calibrated, different = np.mean(found, axis=0)
            print(
                f"{'+'.join(map(str, likes)):<10}{name:<24}{precision:>10.3f}{cover:>7.3f}"
                f"{calibrated:>11.3f}{different:>9.1f}",
                flush=True,
            )
    print(f"\n{'disliked':<12}{'precision':>10}{'their kind':>12}")
    for against in (0, 0.25, AGAINST, 1):
        shares = []
        for likes in LIKES:
            for kinds, liked in listeners(likes, classes, sources):
                others = np.flatnonzero(~np.isin(sources, sources[liked]))
                first = others[in_tastes(vectors[liked], vectors[others], none)]
                wrong = first[~np.isin(classes[first], kinds)][:3]
                if len(wrong):
                    others = others[~np.isin(sources[others], sources[wrong])]
                    second = in_tastes(
                        vectors[liked], vectors[others], vectors[wrong], against=against
                    )
                    got = classes[others[second]]
                    shares.append((np.isin(got, kinds).mean(), np.isin(got, classes[wrong]).mean()))
        precision, theirs = np.mean(shares, axis=0)
        print(f"{against:<12}{precision:>10.3f}{theirs:>12.3f}", flush=True)


def speed(sizes: list[int]) -> None:
    """Print the times."""
    real = demo_embeddings()
    print(
        f"\n{'clips':>9}  {'recommend':>9}  {'cpu':>6}  {'related':>8}  {'pooled':>7}  {'exact':>7}"
    )
    for size in sizes:
        vectors = mixed(real, size * CLIP_SEGMENTS, 0)
        clips = unit(vectors.reshape(size, CLIP_SEGMENTS, -1).mean(1))
        rng = np.random.default_rng(1)
        with tempfile.TemporaryDirectory() as folder:
            make_store(Path(folder) / "l", vectors).close()
            del vectors
            with soundsearch.open(f"{folder}/l") as lib:
                first = next(iter(lib)).id
                lib.recommend([first])  # warm
                liked = [rng.integers(first, first + size, LIKED).tolist() for _ in range(30)]
                recommend = median_ms([partial(lib.recommend, ids) for ids in liked])
                cpu = median_ms([partial(lib.recommend, ids) for ids in liked], time.process_time)
                stored = [ids[0] for ids in liked]
                by = {
                    ranking: median_ms(
                        [partial(lib.similar, id, 20, ranking=ranking) for id in stored]
                    )
                    for ranking in ("related", "pooled")
                }
            exact = median_ms([partial(np.matmul, clips[:8], clips.T) for _ in range(30)])
        print(
            f"{size:9}  {recommend:9.2f}  {cpu:6.2f}  {by['related']:8.2f}  {by['pooled']:7.2f}  "
            f"{exact:7.2f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000])
    options = parser.parse_args()
    folder = options.data / "esc50"
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    classes = np.array([row["category"] for row in rows])
    sources = np.array([row["source"] for row in rows])
    if len(options.sizes):
        speed(options.sizes)
    quality(pooled(folder, rows), classes, sources)


if __name__ == "__main__":
    main()
