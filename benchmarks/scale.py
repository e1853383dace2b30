"""A local library of ever more segments: how it is built, asked and added to.

    python -m benchmarks.scale [--segments 10000 100000 1000000] [--data DATA] [--keep FOLDER]

For each size: seconds to add the clips, and to index them; peak memory of that process; the median
and the 99th of a hundred of the times that another process waited for queries meanwhile (a clip of
five segments, twice a second); then, in a new process, seconds until the library is open and has
answered once; milliseconds of a search (one vector, median over 500, one thread) and recall@10 of
these, of a query (five segments), of `info`; resident memory after that; and milliseconds to add
one clip of ten segments, and to the first answer of a reader after it.

Clips have ten segments, in AudioSet's space: 128 numbers of 8 bits. Vectors are mixed as in
`benchmarks.query`, none of the queries is a row. 21 million segments take about 40 minutes on two
cores and 8 GB of disk; with --keep, the libraries stay, and sizes that are there are only asked.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
from soundsearch_ingest.encoders import AUDIOSET_SPACE
from soundsearch_ingest.postprocess import dequantise, quantise

import soundsearch
from benchmarks.vectors import add_vector_options, chosen_embeddings, clips_of, median_ms, mixed
from soundsearch.asking.searching import find_hits
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import Settings
from soundsearch.vectors import unit

QUERIES = 500
CLIP = 10
BLOCK = 100_000
PAUSE = 0.5


def vectors_of(real: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Vectors as AudioSet has them, float32 [count, 128]."""
    found: np.ndarray = dequantise(quantise(mixed(real, count, seed)))
    return found


def resident_mb() -> float:
    """Resident memory of this process, mapped files included."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


def build(folder: Path, real: np.ndarray, segments: int, out: Any) -> None:
    """Make a library, and say what that took."""
    settings = Settings("audioset", AUDIOSET_SPACE, 128, 0.96, 0.96)
    steps: dict[str, float] = {}
    with closing(LocalStore.create(folder, settings)) as store, store.writing():
        began = time.perf_counter()
        for first in range(0, segments, BLOCK):
            vectors = vectors_of(real, min(BLOCK, segments - first), first)
            store.add(clips_of(vectors, first, CLIP))
        added = last = time.perf_counter()

        def step(text: str) -> None:
            nonlocal last
            print(f"  {time.perf_counter() - began:6.0f} s  {text}", file=sys.stderr, flush=True)
            steps[text.split()[0]] = steps.get(text.split()[0], 0) + time.perf_counter() - last
            last = time.perf_counter()

        store.optimise(step)
        indexed = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    out.send({"add s": added - began, "index s": indexed - added, "peak MB": peak})


def ask_beside(folder: Path, real: np.ndarray, done: Event, out: Any) -> None:
    """Ask until the library is built, and say how long that took."""
    levels = np.full(5, -20, np.float32)
    times: list[float] = []
    while not (folder / "catalog.sqlite").exists():
        time.sleep(0.1)
    with closing(LocalStore(folder)) as store:
        while not done.is_set():
            clip = vectors_of(real, 5, len(times))
            began = time.perf_counter()
            with store.reading() as reading:
                find_hits(reading, store.settings, clip, levels, 10, "pooled")
            times.append(1e3 * (time.perf_counter() - began))
            time.sleep(PAUSE)
    out.send({"beside ms": float(np.median(times)), "beside p99": float(np.quantile(times, 0.99))})


def nearest_of(folder: Path, real: np.ndarray, segments: int) -> np.ndarray:
    """The tenth-best cosine of each query, exactly, float32 [queries, 1]; kept beside a library."""
    import faiss

    path = folder.with_suffix(f".{segments}.npy")
    if path.exists():
        known: np.ndarray = np.load(path)
        return known
    queries = unit(vectors_of(real, QUERIES, 1 << 31))
    best = np.full((QUERIES, 10), -np.inf, np.float32)
    with closing(LocalStore(folder)) as store, store.reading() as reading:
        rows = reading._snapshot.vectors.vectors
        for begin in range(0, len(rows), BLOCK):
            block = unit(rows[begin : begin + BLOCK])
            scores, _ = faiss.knn(queries, block, 10, metric=faiss.METRIC_INNER_PRODUCT)
            best = -np.sort(-np.hstack((best, scores)), axis=1)[:, :10]
    np.save(path, best[:, -1:])
    return best[:, -1:]


def ask(folder: Path, real: np.ndarray, tenth: np.ndarray, out: Any) -> None:
    """Say how a library answers."""
    import faiss

    faiss.omp_set_num_threads(1)
    queries = unit(vectors_of(real, QUERIES, 1 << 31))
    clips = vectors_of(real, 100 * 5, 7).reshape(100, 5, -1)
    levels = np.full(5, -20, np.float32)
    began = time.perf_counter()
    store = LocalStore(folder)

    def search(query: np.ndarray) -> np.ndarray:
        with store.reading() as reading:
            return reading.search(query[None], 10)[2]

    def answer(clip: np.ndarray) -> object:
        with store.reading() as reading:
            return find_hits(reading, store.settings, clip, levels, 10, "pooled")

    answer(clips[0])
    found: dict[str, Any] = {"open s": time.perf_counter() - began}
    actions: list[Callable[[], object]] = [partial(search, query) for query in queries]
    scores = np.concatenate([search(query) for query in queries])
    found["recall"] = float((scores >= tenth - 1e-5).mean())
    found["search ms"] = median_ms(actions)
    for clip in clips:
        answer(clip)
    found["query ms"] = median_ms([partial(answer, clip) for clip in clips])
    found["resident MB"] = resident_mb()
    with soundsearch.open(folder) as lib:
        lib.info()
        found["info ms"] = median_ms([lib.info] * 5)
    tuning = store.tuning()
    found["tuned"] = (
        "" if tuning is None else f"{tuning.cells}/{tuning.all_cells}, {tuning.candidates}"
    )
    adding, seeing = [], []
    with closing(LocalStore(folder)) as other:
        for number in range(7):
            vectors = vectors_of(real, CLIP, number)
            new = clips_of(vectors, (1 << 40) + number * CLIP, CLIP)
            began = time.perf_counter()
            with other.writing():
                other.add(new)
                other.optimise()
            adding.append(time.perf_counter() - began)
            began = time.perf_counter()
            search(unit(vectors[:1])[0])
            seeing.append(time.perf_counter() - began)
    found["add one ms"] = 1e3 * float(np.median(adding))
    found["see it ms"] = 1e3 * float(np.median(seeing))
    store.close()
    out.send(found)


def apart(action: Callable[..., None], *arguments: Any) -> dict[str, Any]:
    """What an action sends from a process of its own."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=action, args=(*arguments, sender))
    process.start()
    sender.close()
    found: dict[str, Any] = receiver.recv()
    process.join()
    return found


def measured(folder: Path, real: np.ndarray, segments: int) -> dict[str, Any]:
    """Everything about one size."""
    found: dict[str, Any] = {"segments": segments}
    if not folder.exists():
        context = multiprocessing.get_context("spawn")
        done = context.Event()
        receiver, sender = context.Pipe(duplex=False)
        reader = context.Process(target=ask_beside, args=(folder, real, done, sender))
        reader.start()
        found |= apart(build, folder, real, segments)
        done.set()
        found |= receiver.recv()
        reader.join()
    tenth = nearest_of(folder, real, segments)
    return found | apart(ask, folder, real, tenth)


def main() -> None:
    """Print a line of JSON for each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--segments", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the libraries here")
    add_vector_options(parser)
    options = parser.parse_args()
    real = chosen_embeddings(options)
    real = real / (1.5 * real.std())  # so that few numbers lie beyond what 8 bits hold
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for segments in options.segments:
            found = measured(folder / str(segments), real, segments)
            rounded = {
                name: round(value, 3) if isinstance(value, float) else value
                for name, value in found.items()
            }
            print(json.dumps(rounded), flush=True)


if __name__ == "__main__":
    main()
