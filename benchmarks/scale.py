"""A local library of ever more segments: how it is built, asked and added to.

    python -m benchmarks.scale [--segments 10000 100000 1000000] [--data DATA] [--keep FOLDER]

For each size: seconds to store the clips and index them meanwhile, and to bring the index up to
date at the end, by the clock and of processor time, without what it takes to make the vectors;
peak memory of that process, mapped files included, and without these; the median and the 99th of a
hundred of the times that another process waited for queries meanwhile (a clip of five segments,
twice a second), and how many they were. Then, in a new process, seconds until the library is open
and has answered once; milliseconds of a search (one vector, median over 500, one thread), and its
processor time; recall@10 of these, none of which is a row, and of 500 that are; milliseconds of a
query (five segments), and of `info`; resident memory after that, private, and mapped by kind of
file; milliseconds to add one clip of ten segments, and to the first answer of a reader after it.

Clips have ten segments, in AudioSet's space: 128 numbers of 8 bits. They are stored as `ingest`
stores them, 8 192 segments at a time. Vectors are mixed as in `benchmarks.query`, but of segments
that are no near-silence, as a query drops that. 21 million segments take 8 GB of disk; with --keep,
the libraries stay, and sizes that are there are only asked.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
from soundsearch_ingest.encoders import AUDIOSET_SPACE
from soundsearch_ingest.logmel import SILENT
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
# As many as `ingest` stores at once.
COMMIT = 8190
PAUSE = 0.5
# What is mapped, by how the names of files begin.
KINDS = ("vectors", "segments", "index", "stretches", "catalog")


def vectors_of(real: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Vectors as AudioSet has them, float32 [count, 128]."""
    found: np.ndarray = dequantise(quantise(mixed(real, count, seed)))
    return found


def status_mb(name: str) -> float:
    """A line of what Linux says about this process's memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:")) * 1.024e-3


def mapped_mb(folder: Path) -> dict[str, int]:
    """How much of a library's files is mapped and resident, by kind."""
    found = dict.fromkeys(KINDS, 0)
    kind = ""
    for line in Path("/proc/self/smaps").read_text().splitlines():
        words = line.split()
        if "-" in words[0] and not words[0].endswith(":"):
            path = Path(words[5]) if len(words) > 5 else Path()
            kind = path.name.partition("-")[0].partition(".")[0] if folder in path.parents else ""
        elif words[0] == "Rss:" and kind in found:
            found[kind] += int(words[1])
    return {kind: round(kilobytes * 1.024e-3) for kind, kilobytes in found.items()}


class Peak:
    """The most private memory of this process, looked at ten times a second."""

    def __init__(self) -> None:
        self.mb = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while True:
            self.mb = max(self.mb, status_mb("RssAnon"))
            time.sleep(0.1)


def build(folder: Path, real: np.ndarray, segments: int, out: Any) -> None:
    """Make a library, and say what that took."""
    settings = Settings("audioset", AUDIOSET_SPACE, 128, 0.96, 0.96)
    private = Peak()
    began = time.perf_counter()
    adding = np.zeros(2)

    def step(text: str) -> None:
        print(f"  {time.perf_counter() - began:6.0f} s  {text}", file=sys.stderr, flush=True)

    with closing(LocalStore.create(folder, settings)) as store, store.writing():
        for first in range(0, segments, BLOCK):
            vectors = vectors_of(real, min(BLOCK, segments - first), first)
            clips = clips_of(vectors, first, CLIP)
            adding -= clocks()
            for begin in range(0, len(clips), COMMIT // CLIP):
                store.add(clips[begin : begin + COMMIT // CLIP])
            adding += clocks()
            if first // BLOCK % 10 == 0:
                step(f"{first + len(vectors)} added")
        indexing = -clocks()
        store.optimise(step)
        indexing += clocks()
    out.send(
        {
            "add s": adding[0],
            "add cpu s": adding[1],
            "index s": indexing[0],
            "index cpu s": indexing[1],
            "peak MB": status_mb("VmHWM"),
            "peak private MB": private.mb,
        }
    )


def clocks() -> np.ndarray:
    """Seconds by the clock, and of processor time."""
    return np.array([time.perf_counter(), time.process_time()])


def ask_beside(folder: Path, real: np.ndarray, done: Event, out: Any) -> None:
    """Ask until the library is built, and say how long that took."""
    levels = np.full(5, -20, np.float32)
    times: list[np.ndarray] = []
    while not (folder / "catalog.sqlite").exists():
        time.sleep(0.1)
    with closing(LocalStore(folder)) as store:
        while not done.is_set():
            clip = vectors_of(real, 5, len(times))
            began = clocks()
            with store.reading() as reading:
                find_hits(reading, store.settings, clip, levels, 10, "pooled")
            times.append(1e3 * (clocks() - began))
            time.sleep(PAUSE)
    found: dict[str, float] = {"beside": len(times)}
    for name, column in zip(("beside", "beside cpu"), np.transpose(times), strict=True):
        found |= {f"{name} p{q}": float(np.percentile(column, q)) for q in (50, 90, 99)}
    out.send(found)


def queries_of(real: np.ndarray, segments: int) -> np.ndarray:
    """Vectors to search for, of length 1: half are no rows, half are, float32 [2 queries, d]."""
    rows = vectors_of(real, min(BLOCK, segments), 0)[: QUERIES * 7 : 7]
    return unit(np.concatenate((vectors_of(real, QUERIES, 1 << 31), rows)))


def nearest_of(folder: Path, queries: np.ndarray) -> np.ndarray:
    """The tenth-best cosine of each, exactly, float32 [n, 1]; kept beside a library.

    A row is not counted as its own.
    """
    import faiss

    path = folder.with_suffix(".nearest.npy")
    if path.exists():
        known: np.ndarray = np.load(path)
        return known
    best = np.full((len(queries), 11), -np.inf, np.float32)
    with closing(LocalStore(folder)) as store, store.reading() as reading:
        rows = reading._snapshot.vectors.vectors
        for begin in range(0, len(rows), BLOCK):
            block = unit(rows[begin : begin + BLOCK])
            scores, _ = faiss.knn(queries, block, 11, metric=faiss.METRIC_INNER_PRODUCT)
            best = -np.sort(-np.hstack((best, scores)), axis=1)[:, :11]
    tenth = np.concatenate((best[:QUERIES, 9:10], best[QUERIES:, 10:11]))
    np.save(path, tenth)
    return tenth


def ask(folder: Path, real: np.ndarray, queries: np.ndarray, tenth: np.ndarray, out: Any) -> None:
    """Say how a library answers."""
    import faiss

    faiss.omp_set_num_threads(1)
    clips = vectors_of(real, 100 * 5, 7).reshape(100, 5, -1)
    levels = np.full(5, -20, np.float32)
    began = time.perf_counter()
    store = LocalStore(folder)

    def search(query: np.ndarray) -> np.ndarray:
        with store.reading() as reading:
            return reading.search(query[None], 11)[2]

    def answer(clip: np.ndarray) -> object:
        with store.reading() as reading:
            return find_hits(reading, store.settings, clip, levels, 10, "pooled")

    answer(clips[0])
    found: dict[str, Any] = {"open s": time.perf_counter() - began}
    scores = np.concatenate([search(query) for query in queries])
    hits = (scores >= tenth - 1e-5).sum(axis=1)
    found["recall"] = float(np.minimum(hits[:QUERIES], 10).mean() / 10)
    found["recall of rows"] = float((hits[QUERIES:] - 1).clip(0, 10).mean() / 10)
    actions: list[Callable[[], object]] = [partial(search, query) for query in queries[:QUERIES]]
    found["search ms"] = median_ms(actions)
    found["search cpu ms"] = median_ms(actions, time.process_time)
    for clip in clips:
        answer(clip)
    answers: list[Callable[[], object]] = [partial(answer, clip) for clip in clips]
    found["query ms"] = median_ms(answers)
    found["query cpu ms"] = median_ms(answers, time.process_time)
    found["resident MB"] = status_mb("VmRSS")
    found["private MB"] = status_mb("RssAnon")
    found["mapped MB"] = mapped_mb(folder)
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
    queries = queries_of(real, segments)
    return found | apart(ask, folder, real, queries, nearest_of(folder, queries))


def main() -> None:
    """Print a line of JSON for each size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--segments", type=int, nargs="*", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="leave the libraries here")
    add_vector_options(parser)
    options = parser.parse_args()
    real = chosen_embeddings(options, least=SILENT)
    real = real / (1.5 * real.std())  # so that few numbers lie beyond what 8 bits hold
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).absolute()
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
