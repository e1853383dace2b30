"""How the approximate index is tuned: what version 0.1.0 came to, and what is chosen now.

    python -m benchmarks.tuning [--sizes 200000 1000000] [--data DATA | --vectors FILE.npy]

Both for the same index of each size, in one run: the cells visited, the candidates scored exactly,
recall@10 against an exact search and the recall that the tuning saw, milliseconds of a search
(medians over 500 vectors that are not in the index, one after the other, both in turns; by the
clock, and of processor time), and the processor time that the tuning took.

Then how hard the vectors are: recall@10 by the cells visited, with few and with many candidates.

Version 0.1.0 kept 50 candidates, and visited half as many cells more until .995 of the ten nearest
of 400 rows were found. Vectors as in `benchmarks.query`.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.vectors import (
    add_vector_options,
    chosen_embeddings,
    median_ms,
    mixed,
    tenth_best,
)
from soundsearch.stores.local.building import build
from soundsearch.stores.local.index import SegmentIndex
from soundsearch.stores.local.live import Live
from soundsearch.stores.local.shards import Shards
from soundsearch.stores.local.tuning import tuned
from soundsearch.stores.records import Tuning
from soundsearch.vectors import unit

QUERIES = 500
ROUND = 50
CELLS = (4, 16, 64, 256)


def tuned_by_0_1(shards: Shards, vectors: np.ndarray, all_cells: int) -> Tuning:
    """The setting that version 0.1.0 chose."""
    rng = np.random.default_rng(0)
    asked = unit(vectors[np.sort(rng.choice(len(vectors), 400, replace=False))])
    enough = tenth_best(vectors, asked, 11)[:, None] - 1e-6  # each finds itself
    setting = Tuning(
        cells=4,
        all_cells=all_cells,
        candidates=50,
        recall=0,
        queries=len(asked),
        rows=len(vectors),
    )
    while True:
        index = SegmentIndex(vectors, Live(len(vectors)), shards, setting)
        _, scores = index.search(asked, 11)
        setting = replace(setting, recall=((scores >= enough).sum(axis=1) - 1).mean() / 10)
        if setting.recall >= 0.995 or setting.cells == all_cells:
            return setting
        setting = replace(setting, cells=min(int(np.ceil(1.5 * setting.cells)), all_cells))


def compare(vectors: np.ndarray, queries: np.ndarray, folder: Path) -> None:
    """Print a row for each of the two."""
    path = folder / "index.faiss"
    build(vectors, path, lambda _text: None)
    shards = Shards([path], vectors.shape[1])
    settings, seconds = {}, {}
    began = time.process_time()
    settings["now"] = tuned(shards, vectors, np.zeros(len(vectors), np.float32))
    seconds["now"] = time.process_time() - began
    began = time.process_time()
    settings["0.1.0"] = tuned_by_0_1(shards, vectors, settings["now"].all_cells)
    seconds["0.1.0"] = time.process_time() - began
    tenth = tenth_best(vectors, queries)[:, None]
    indexes = {
        name: SegmentIndex(vectors, Live(len(vectors)), shards, setting)
        for name, setting in settings.items()
    }
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in settings}
    for begin in range(0, len(queries), ROUND):
        for name, index in indexes.items():
            asked = queries[begin : begin + ROUND]
            actions: list[Callable[[], object]] = [
                partial(index.search, query[None], 10) for query in asked
            ]
            times[name].append((median_ms(actions), median_ms(actions, time.thread_time)))
    for name in ("0.1.0", "now"):
        setting = settings[name]
        recall = (indexes[name].search(queries, 10)[1] >= tenth - 1e-5).mean()
        ms, cpu_ms = np.median(times[name], axis=0)
        print(
            f"{len(vectors):9}  {name:6}  {f'{setting.cells} of {setting.all_cells}':>12}"
            f"  {setting.candidates:10}  {recall:9.4f}  {setting.recall:6.4f}  {ms:8.2f}"
            f"  {cpu_ms:8.2f}  {seconds[name]:8.1f}",
            flush=True,
        )
    for candidates in (50, 400):
        recalls = []
        for cells in CELLS:
            setting = replace(settings["now"], cells=cells, candidates=candidates)
            index = SegmentIndex(vectors, Live(len(vectors)), shards, setting)
            recalls.append((index.search(queries, 10)[1] >= tenth - 1e-5).mean())
        curve = ", ".join(f"{n}: {recall:.3f}" for n, recall in zip(CELLS, recalls, strict=True))
        print(f"{'':9}  recall@10 with {candidates} candidates, by cells: {curve}", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[200_000, 1_000_000])
    add_vector_options(parser)
    options = parser.parse_args()
    real = chosen_embeddings(options)
    queries = unit(mixed(real, QUERIES, 1))
    print(
        f"{'segments':>9}  {'tuning':6}  {'cells':>12}  {'candidates':>10}  {'recall@10':>9}"
        f"  {'said':>6}  {'ms':>8}  {'cpu ms':>8}  {'tuning s':>8}"
    )
    for size in options.sizes:
        with tempfile.TemporaryDirectory() as folder:
            compare(mixed(real, size, 0), queries, Path(folder))


if __name__ == "__main__":
    main()
