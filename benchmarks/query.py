"""The time of a query, and the recall of the approximate index against an exact search.

    python -m benchmarks.query [--sizes 10000 100000 1000000] [--data DATA | --vectors FILE.npy]

For libraries of several sizes, all in one run: milliseconds to find the 10 nearest segments of
one vector (median over 500, one after the other), recall@10 against an exact search and what the
library says of it, the cells that are visited and the candidates scored, and the whole query of a
five-second clip given its embeddings (search, exact scores, ranking, labels). Then, on a library
of 2 000 clips: questions a second from one thread and from eight, which should gain where there
are two cores or more; and whole processes, `soundsearch query` compared with `python -c "import
numpy, onnxruntime, faiss"`, and `soundsearch --help`.

Vectors are mixtures of embeddings: of pairs of demo sounds and silence (which are as hard to
search as mixtures of recordings), of the recordings in DATA, a folder with ``esc50/labels.csv`` and
``esc50/audio/``, and the demo sounds, or of those in FILE.npy, float32 [n, 128].
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import soundfile

import soundsearch
from benchmarks.vectors import (
    CLIP_SEGMENTS,
    add_vector_options,
    bundled_settings,
    chosen_embeddings,
    clips_of,
    median_ms,
    mixed,
    tenth_best,
)
from soundsearch import demo_sounds
from soundsearch.asking.searching import find_hits
from soundsearch.results import Hit
from soundsearch.stores.base import Store
from soundsearch.stores.opening import create_store, place_of
from soundsearch.vectors import unit

QUERIES = 500


def make_store(folder: Path, vectors: np.ndarray) -> Store:
    """Make a store of five-segment clips with these vectors."""
    store = create_store(place_of(folder), bundled_settings())
    with store.writing():
        for first in range(0, len(vectors), 100_000):
            store.add(clips_of(vectors[first : first + 100_000], first))
        store.optimise()
    return store


def search(store: Store, query: np.ndarray) -> np.ndarray:
    """The cosines of the 10 nearest segments, float32 [1, 10]."""
    with store.reading() as reading:
        return reading.search(query[None], 10)[2]


def answer(store: Store, clip: np.ndarray) -> list[Hit]:
    """The 10 nearest clips."""
    levels = np.full(CLIP_SEGMENTS, -20, np.float32)
    with store.reading() as reading:
        return find_hits(reading, store.settings, clip, levels, 10, "pooled")


def in_process(real: np.ndarray, sizes: list[int]) -> None:
    """Print one row per size."""
    print(
        f"{'segments':>9}  {'search ms':>9}  {'recall@10':>9}  {'said':>6}  {'cells':>12}  "
        f"{'candidates':>10}  {'query ms':>8}"
    )
    queries = unit(mixed(real, QUERIES, 1))
    clips = mixed(real, 100 * CLIP_SEGMENTS, 2).reshape(100, CLIP_SEGMENTS, -1)
    for size in sizes:
        vectors = mixed(real, size, 0)
        with tempfile.TemporaryDirectory() as folder:
            store = make_store(Path(folder) / "l", vectors)
            scores = np.concatenate([search(store, query) for query in queries])
            recall = (scores >= tenth_best(vectors, queries)[:, None] - 1e-5).mean()
            search_ms = median_ms([partial(search, store, query) for query in queries])
            query_ms = median_ms([partial(answer, store, clip) for clip in clips])
            tuning = store.tuning()
            store.close()
        said, cells, candidates = "exact", "", ""
        if tuning is not None:
            said, candidates = f"{tuning.recall:.4f}", f"{tuning.candidates}"
            cells = f"{tuning.cells} of {tuning.all_cells}"
        print(
            f"{size:9}  {search_ms:9.3f}  {recall:9.4f}  {said:>6}  {cells:>12}  "
            f"{candidates:>10}  {query_ms:8.2f}",
            flush=True,
        )


def make_library(folder: Path) -> None:
    """Make a library `l` of 2 000 short clips."""
    for number in range(2000):
        kind = sorted(demo_sounds.KINDS)[number % len(demo_sounds.KINDS)]
        if number < 200:
            sound = demo_sounds.make(kind, number)
        # A different level makes different content, quickly.
        soundfile.write(
            folder / f"{number}.wav", sound * (1 - number / 4000), demo_sounds.SAMPLE_RATE
        )
    with soundsearch.open(folder / "l") as lib:
        lib.ingest([folder])


def in_threads(folder: Path, rounds: int = 5) -> None:
    """Print how many questions a second one thread and eight threads ask, alternately."""
    paths = [folder / f"{number}.wav" for number in range(0, 2000, 12)]
    print(f"\n{'a second':>9}  {'1 thread':>9}  {'8 threads':>9}  {'gain':>5}")
    with soundsearch.open(folder / "l") as lib:
        for name, ask in (("similar", lib.similar), ("query", lib.query)):
            ask(paths[0])
            rates: dict[int, list[float]] = {1: [], 8: []}
            for _ in range(rounds):
                for threads, measured in rates.items():
                    with ThreadPoolExecutor(threads) as pool:
                        began = time.perf_counter()
                        list(pool.map(ask, paths))
                        measured.append(len(paths) / (time.perf_counter() - began))
            one, eight = (statistics.median(measured) for measured in rates.values())
            print(f"{name:>9}  {one:9.1f}  {eight:9.1f}  {eight / one:5.2f}", flush=True)


def whole_process(folder: Path, rounds: int = 15) -> None:
    """Print the times of whole processes, measured alternately."""
    python = [sys.executable, "-c"]
    main = "from soundsearch.cli.main import main; main()"
    commands = {
        "imports": [*python, "import numpy, onnxruntime, faiss"],
        "query": [*python, main, "query", f"{folder}/7.wav", "--library", f"{folder}/l"],
        "help": [*python, main, "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    # Byte code is cached, as for any installed package.
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    }
    for _ in range(rounds):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=environment)
            times[name].append(time.perf_counter() - began)
    median = {name: statistics.median(values) for name, values in times.items()}
    print(f"\nimport numpy, onnxruntime, faiss: {median['imports']:.3f} s")
    print(
        f"soundsearch query, 2 000 clips:   {median['query']:.3f} s"
        f" ({median['query'] / median['imports']:.2f} of the imports)"
    )
    print(f"soundsearch --help:               {median['help']:.3f} s")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    add_vector_options(parser)
    options = parser.parse_args()
    in_process(chosen_embeddings(options), options.sizes)
    with tempfile.TemporaryDirectory() as folder:
        make_library(Path(folder))
        in_threads(Path(folder))
        whole_process(Path(folder))


if __name__ == "__main__":
    main()
