"""How long a query takes, and whether the approximate index finds what an exact search does.

    python -m benchmarks.query [--sizes 10000 100000 1000000] [--vectors FILE.npy]

For libraries of several sizes, all in one run: milliseconds to find the 10 nearest segments of
one vector (median over 500, one after the other), recall@10 against an exact search, and the
whole query of a five-second clip given its embeddings (search, exact scores, ranking, labels).
Then whole processes: `soundsearch query` on 2 000 clips next to `python -c "import numpy,
onnxruntime, faiss"`, and `soundsearch --help`.

Vectors are mixtures of embeddings of the demo's sounds (neighbours as real sounds have them),
or of those in FILE.npy, float32 [n, 128].
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from soundsearch_ingest import decode, encoders, pipeline
from soundsearch_ingest.discover import AudioFile

from soundsearch import demo_sounds
from soundsearch.asking.searching import find_hits
from soundsearch.labels.head import silence
from soundsearch.library import Library
from soundsearch.stores.base import CLIP_LABELS, SEGMENT, NewClip, Settings
from soundsearch.stores.local.index import unit
from soundsearch.stores.local.store import LocalStore

CLIP = 5
QUERIES = 500


def demo_embeddings() -> np.ndarray:
    """Embeddings of many variations of the demo's sounds: float32 [n, 128]."""
    encoder = encoders.load(threads=2)
    parts = []
    for kind in demo_sounds.KINDS:
        for variation in range(40):
            sound = decode.to_mono_16k(demo_sounds.make(kind, variation), demo_sounds.SAMPLE_RATE)
            parts.append(pipeline.embed_sound([sound], encoder, 0.24)[0])
    return np.concatenate(parts)


def mixed(real: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Vectors between pairs of real ones, with a little noise: float32 [count, d]."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.5, 1, (count, 1)).astype(np.float32)
    first, second = (real[rng.integers(0, len(real), count)] for _ in range(2))
    noise = rng.normal(0, 0.15 * real.std(), first.shape).astype(np.float32)
    vectors: np.ndarray = share * first + (1 - share) * second + noise
    return vectors


def clips_of(vectors: np.ndarray, first: int) -> list[NewClip]:
    """Clips of five segments that hold these vectors, numbered from `first` on."""
    return [
        NewClip(
            AudioFile(f"/{first + row:08}.wav", 0, 0),
            (first + row).to_bytes(32, "big"),
            CLIP * 0.96,
            False,
            None,
            vectors[row : row + CLIP],
            np.zeros(len(vectors[row : row + CLIP]), SEGMENT),
            silence(CLIP_LABELS),
        )
        for row in range(0, len(vectors), CLIP)
    ]


def make_library(folder: Path, vectors: np.ndarray) -> Library:
    """A library of five-segment clips that hold these vectors."""
    encoder = encoders.load()
    settings = Settings(encoder.name, encoder.space, encoder.dimension, 0.96, 0.96)
    store = LocalStore.create(folder, settings)
    with store.writing():
        for begin in range(0, len(vectors), 100_000):
            store.add(clips_of(vectors[begin : begin + 100_000], begin))
        store.optimise()
    store.close()
    return Library(folder)


def exact(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The tenth best cosine of each query, by brute force."""
    best = np.full((len(queries), 10), -np.inf, np.float32)
    for begin in range(0, len(vectors), 100_000):
        scores = queries @ unit(vectors[begin : begin + 100_000]).T
        best = -np.sort(-np.hstack((best, -np.partition(-scores, 9, axis=1)[:, :10])), axis=1)
        best = best[:, :10]
    return best[:, -1]


def median_ms(actions: list[Callable[[], object]]) -> float:
    """Median time of the actions, milliseconds."""
    times = []
    for action in actions:
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)


def in_process(real: np.ndarray, sizes: list[int]) -> None:
    """Print a row for each size."""
    print(f"{'segments':>9}  {'search ms':>9}  {'recall@10':>9}  {'query ms':>8}")
    queries = unit(mixed(real, QUERIES, 1))
    clips = mixed(real, 100 * CLIP, 2).reshape(100, CLIP, -1)
    for size in sizes:
        vectors = mixed(real, size, 0)
        with tempfile.TemporaryDirectory() as folder:
            library = make_library(Path(folder) / "l", vectors)
            find = partial(library._store.search, k=10)
            rank = partial(
                find_hits,
                library._store,
                query_levels=np.full(CLIP, -20, np.float32),
                k=10,
                ranking="pooled",
            )
            scores = np.concatenate([find(query[None])[2] for query in queries])
            recall = (scores >= exact(vectors, queries)[:, None] - 1e-5).mean()
            search = median_ms([partial(find, query[None]) for query in queries])
            query = median_ms([partial(rank, clip) for clip in clips])
            library.close()
        print(f"{size:9}  {search:9.3f}  {recall:9.4f}  {query:8.2f}", flush=True)


def whole_process(rounds: int = 15) -> None:
    """Print the times of whole processes, measured in turn."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for number in range(2000):
            kind = sorted(demo_sounds.KINDS)[number % len(demo_sounds.KINDS)]
            if number < 200:
                sound = demo_sounds.make(kind, number)
            # Sounds that differ in level only differ in content: quick to make.
            soundfile.write(
                folder / f"{number}.wav", sound * (1 - number / 4000), demo_sounds.SAMPLE_RATE
            )
        Library(folder / "l").ingest([folder])
        python = [sys.executable, "-c"]
        main = "from soundsearch.cli.main import main; main()"
        commands = {
            "imports": [*python, "import numpy, onnxruntime, faiss"],
            "query": [*python, main, "query", f"{folder}/7.wav", "--library", f"{folder}/l"],
            "help": [*python, main, "--help"],
        }
        times: dict[str, list[float]] = {name: [] for name in commands}
        # Byte code is kept, as in any installed package.
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
    parser.add_argument("--vectors", type=Path)
    options = parser.parse_args()
    real = np.load(options.vectors) if options.vectors else demo_embeddings()
    in_process(real.astype(np.float32), options.sizes)
    whole_process()


if __name__ == "__main__":
    main()
