"""Maps: how well each method keeps neighbours on ESC-50 folds 1-3, and the time it takes.

    python -m benchmarks.mapping DATA [--sizes 2000 10000 100000]

DATA holds ``esc50/labels.csv`` and ``esc50/audio/``. Of the 1 200 clips in the plane, with ten
neighbours each: `trust`, trustworthiness (Venna and Kaski, Neighborhood preservation in nonlinear
projection methods, 2001); `kept`, the share of the ten nearest vectors that are among the ten
nearest in the plane; `class`, the share of the ten nearest in the plane, those of the same
recording left out, that are of the same class. The row `vectors` has that of all 128 numbers.

`new clips`: a fifth of the recordings is left out, the others are laid out by the method, and the
clips of the fifth are placed by so many of their nearest: `class` of these.

Then the processor seconds of one thread for so many vectors, mixed of embeddings of the demo
sounds; UMAP was compiled before, which takes some 20 seconds once on a machine.
"""

from __future__ import annotations

import argparse
import csv
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.recommending import pooled
from benchmarks.vectors import demo_embeddings, mixed
from soundsearch.mapping.methods import METHODS, laid_out
from soundsearch.mapping.placing import beside
from soundsearch.vectors import unit

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
NEIGHBOURS = 10


def ranked(cosines_or_nearness: NDArray[np.float64]) -> Ints:
    """The others of each, nearest first, int64 [n, n - 1]."""
    nearness = cosines_or_nearness.copy()
    np.fill_diagonal(nearness, -np.inf)
    order: Ints = np.argsort(-nearness, axis=1, kind="stable")[:, :-1]
    return order


def in_plane(places: Floats) -> Ints:
    """The others of each in the plane, nearest first."""
    wide = places.astype(np.float64)
    return ranked(-((wide[:, None] - wide[None]) ** 2).sum(-1))


def trustworthiness(near: Ints, far: Ints) -> float:
    """Of the nearest in the plane, `near`, by the ranks that they have in `far`."""
    count = len(near)
    ranks = np.empty((count, count), np.int64)
    np.put_along_axis(ranks, far, np.arange(1, count)[None], axis=1)
    strange = np.take_along_axis(ranks, near[:, :NEIGHBOURS], axis=1) - NEIGHBOURS
    worst = count * NEIGHBOURS * (2 * count - 3 * NEIGHBOURS - 1)
    return float(1 - 2 / worst * np.maximum(strange, 0).sum())


def same_class(
    order: Ints, classes: NDArray[np.str_], sources: NDArray[np.str_], of: Ints | None = None
) -> float:
    """The share of the nearest, own recording left out, that are of the same class."""
    shares = []
    for clip in range(len(order)) if of is None else of:
        others = order[clip][sources[order[clip]] != sources[clip]][:NEIGHBOURS]
        shares.append((classes[others] == classes[clip]).mean())
    return float(np.mean(shares))


def quality(vectors: Floats, classes: NDArray[np.str_], sources: NDArray[np.str_]) -> None:
    """Print what each method keeps."""
    wide = vectors.astype(np.float64)
    far = ranked(wide @ wide.T)
    print(f"{'method':<10}{'trust':>7}{'kept':>7}{'class':>7}")
    print(f"{'vectors':<10}{1:>7.3f}{1:>7.3f}{same_class(far, classes, sources):>7.3f}")
    for method in METHODS:
        near = in_plane(laid_out(vectors, method))
        kept = np.mean(
            [
                len(np.intersect1d(a, b)) / NEIGHBOURS
                for a, b in zip(near[:, :NEIGHBOURS], far[:, :NEIGHBOURS], strict=True)
            ]
        )
        trust = trustworthiness(near, far)
        purity = same_class(near, classes, sources)
        print(f"{method:<10}{trust:>7.3f}{kept:>7.3f}{purity:>7.3f}", flush=True)


def newcomers(vectors: Floats, classes: NDArray[np.str_], sources: NDArray[np.str_]) -> None:
    """Print how well new clips are placed."""
    names = np.random.default_rng(0).permutation(np.unique(sources))
    is_new = np.isin(sources, names[: len(names) // 5])
    new = np.flatnonzero(is_new)
    ways = (1, 3, 5, 10)
    print(f"\n{'new clips':<10}{'all laid out':>14}" + "".join(f"{f'of {k}':>8}" for k in ways))
    for method in METHODS:
        row = [same_class(in_plane(laid_out(vectors, method)), classes, sources, new)]
        old = laid_out(vectors[~is_new], method)
        for k in ways:
            places = np.empty((len(vectors), 2), np.float32)
            places[~is_new] = old
            places[is_new] = beside(vectors[~is_new], old, vectors[is_new], k)
            row.append(same_class(in_plane(places), classes, sources, new))
        print(f"{method:<10}{row[0]:>14.3f}" + "".join(f"{each:>8.3f}" for each in row[1:]))


def times(sizes: list[int]) -> None:
    """Print the processor seconds of each method."""
    if not sizes:
        return
    import faiss

    faiss.omp_set_num_threads(1)
    real = demo_embeddings()
    laid_out(unit(mixed(real, 1000, 1)), "umap")  # its first use compiles it
    print(f"\n{'seconds':<10}" + "".join(f"{size:>10,}" for size in sizes))
    for method in METHODS:
        row = []
        for size in sizes:
            vectors = unit(mixed(real, size, 0))
            began = time.process_time()
            laid_out(vectors, method)
            row.append(time.process_time() - began)
        print(f"{method:<10}" + "".join(f"{each:>10.1f}" for each in row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, help="a folder with esc50/")
    parser.add_argument("--sizes", type=int, nargs="*", default=[2000, 10_000, 100_000])
    options = parser.parse_args()
    folder = options.data / "esc50"
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    vectors = pooled(folder, rows)
    known = (
        vectors,
        np.array([row["category"] for row in rows]),
        np.array([row["source"] for row in rows]),
    )
    quality(*known)
    newcomers(*known)
    times(options.sizes)


if __name__ == "__main__":
    main()
