"""A library compared with what else searches vectors: the same vectors, queries and filters.

    pip install -e . lancedb usearch
    python -m benchmarks.comparison [--size 1000000] [--data DATA | --vectors FILE.npy]

Of each, in processes of their own and one after the other: seconds of processor time to build,
megabytes on disk; then, opened again, milliseconds of a query for the 10 nearest segments (median
of 300 new vectors, one at a time; and the mean of processor time), recall@10 against an exact
search, and the megabytes that are resident at the end. The same with filters that let through 50 %,
1 % and 0.01 % of the clips, drawn at random;
each has been asked before, and for a library the first time is shown too.

A library tunes itself. The others are given, for each filter, the least effort of a row of doubling
ones that finds .99 of the ten nearest of 100 other queries, or the most there is. FAISS is
``IVF4096,Flat`` with a bitmap, and ``HNSW32`` with one; usearch holds 16-bit floats (from Python it
takes no filter); LanceDB has IVF_PQ over the vectors and a BTREE over the filtered column. NumPy is
an exact scan of the rows let through.

Vectors as in `benchmarks.query`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

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
from soundsearch.stores.filters import Comparison, Tag
from soundsearch.stores.opening import create_store, open_store, place_of
from soundsearch.vectors import unit

SHARES = (None, 0.5, 0.01, 0.0001)
TARGET = 0.99
# One that searches: given a query and an effort, the rows of the ten nearest.
Search = Callable[[np.ndarray, int], np.ndarray]


class Data:
    """What every contestant gets: vectors, a number of each row that filters compare, queries."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vectors: np.ndarray = np.load(folder / "vectors.npy", mmap_mode="r")
        self.bucket: np.ndarray = np.load(folder / "bucket.npy")
        self.queries: np.ndarray = np.load(folder / "queries.npy")
        self.trial: np.ndarray = np.load(folder / "trial.npy")

    def tenth(self, share: float | None) -> dict[str, np.ndarray]:
        """The tenth-best cosine of the queries and of those for tuning."""
        with np.load(self.folder / f"tenth-{share}.npz") as known:
            return {"queries": known["queries"], "trial": known["trial"]}

    def allowed(self, share: float | None) -> np.ndarray:
        """The rows that a filter lets through."""
        return np.flatnonzero(self.bucket < (2 if share is None else share))

    def recall(self, found: list[np.ndarray], share: float | None, which: str) -> float:
        """Recall@10 of the rows that were found."""
        queries, tenth = getattr(self, which), self.tenth(share)[which]
        hits = 0
        for query, rows, least in zip(queries, found, tenth, strict=True):
            rows = rows[rows >= 0][:10]
            hits += int((unit(self.vectors[np.sort(rows)]) @ query >= least - 1e-5).sum())
        return hits / (10 * len(queries))


# Of each: how it is built, and how it is searched, for each filter.


def build_library(data: Data, path: Path) -> None:
    store = create_store(place_of(path), bundled_settings())
    buckets = data.bucket[::CLIP_SEGMENTS].tolist()
    with store.writing():
        for first in range(0, len(data.vectors), 100_000):
            clips = clips_of(np.array(data.vectors[first : first + 100_000]), first)
            begin = first // CLIP_SEGMENTS
            numbers = buckets[begin : begin + len(clips)]
            store.add(
                [
                    replace(clip, record=replace(clip.record, tags={"bucket": number}))
                    for clip, number in zip(clips, numbers, strict=True)
                ]
            )
        store.optimise()
    store.close()


def ask_library(data: Data, path: Path) -> Iterator[tuple[float | None, Search, list[int]]]:
    store = open_store(place_of(path))
    for share in SHARES:
        filter = None if share is None else Comparison(Tag("bucket"), "<", share)

        def search(query: np.ndarray, _effort: int, filter: Any = filter) -> np.ndarray:
            with store.reading() as reading:
                ids, numbers, _ = reading.search(query[None], 10, filter)
            # Ids begin at 1, in the order in which the clips came.
            found: np.ndarray = (ids[0] - 1) * CLIP_SEGMENTS + numbers[0]
            return found

        yield share, search, [0]


def build_faiss(factory: str, data: Data, path: Path) -> None:
    faiss = import_module("faiss")
    index = faiss.index_factory(data.vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
    vectors = unit(np.array(data.vectors))
    sample = np.random.default_rng(0).choice(len(vectors), min(len(vectors), 200_000), False)
    index.train(vectors[sample])
    index.add(vectors)
    faiss.write_index(index, str(path))


def ask_faiss(
    parameters: str, effort: str, efforts: list[int], data: Data, path: Path
) -> Iterator[tuple[float | None, Search, list[int]]]:
    faiss = import_module("faiss")
    faiss.omp_set_num_threads(1)
    index = faiss.read_index(str(path))
    for share in SHARES:
        options: dict[str, Any] = {}
        if share is not None:
            mask = np.zeros(len(data.vectors), bool)
            mask[data.allowed(share)] = True
            bits = np.packbits(mask, bitorder="little")
            options["sel"] = faiss.IDSelectorBitmap(bits)

        def search(query: np.ndarray, level: int, options: dict[str, Any] = options) -> np.ndarray:
            chosen = getattr(faiss, parameters)(**options, **{effort: level})
            rows: np.ndarray = index.search(query[None], 10, params=chosen)[1][0]
            return rows

        yield share, search, efforts


def build_usearch(data: Data, path: Path) -> None:
    usearch = import_module("usearch.index")
    index = usearch.Index(ndim=data.vectors.shape[1], metric="cos", dtype="f16")
    index.add(np.arange(len(data.vectors)), np.array(data.vectors))
    index.save(str(path))


def ask_usearch(data: Data, path: Path) -> Iterator[tuple[float | None, Search, list[int]]]:
    index = import_module("usearch.index").Index.restore(str(path))

    def search(query: np.ndarray, level: int) -> np.ndarray:
        index.expansion_search = level
        return np.asarray(index.search(query, 10, threads=1).keys).astype(np.int64)

    yield None, search, [64, 128, 256, 512, 1024, 2048]


def build_lancedb(data: Data, path: Path) -> None:
    arrow, lancedb = import_module("pyarrow"), import_module("lancedb")
    values = arrow.array(unit(np.array(data.vectors)).ravel())
    vectors = arrow.FixedSizeListArray.from_arrays(values, data.vectors.shape[1])
    columns = {"row": np.arange(len(data.vectors)), "bucket": data.bucket, "vector": vectors}
    table = lancedb.connect(str(path)).create_table("segments", arrow.table(columns))
    table.create_index(metric="cosine", vector_column_name="vector")
    table.create_scalar_index("bucket")


def ask_lancedb(data: Data, path: Path) -> Iterator[tuple[float | None, Search, list[int]]]:
    table = import_module("lancedb").connect(str(path)).open_table("segments")
    for share in SHARES:

        def search(query: np.ndarray, level: int, share: float | None = share) -> np.ndarray:
            question = table.search(query, vector_column_name="vector").distance_type("cosine")
            question = (
                question.nprobes(level)
                .refine_factor(4 * level)
                .limit(10)
                .select(["row", "_distance"])
            )
            if share is not None:
                question = question.where(f"bucket < {share}", prefilter=True)
            rows: np.ndarray = question.to_arrow()["row"].to_numpy()
            return rows

        yield share, search, [10, 20, 40, 80, 160]


def ask_numpy(data: Data, _path: Path) -> Iterator[tuple[float | None, Search, list[int]]]:
    everything = unit(np.array(data.vectors))
    for share in SHARES:
        rows = data.allowed(share)
        vectors = everything if share is None else everything[rows]

        def search(
            query: np.ndarray, _effort: int, rows: np.ndarray = rows, vectors: np.ndarray = vectors
        ) -> np.ndarray:
            scores = vectors @ query
            best: np.ndarray = rows[np.argpartition(-scores, min(10, len(rows) - 1))[:10]]
            return best

        yield share, search, [0]


CELLS = [8, 16, 32, 64, 128, 256, 512, 1024]
WIDTHS = [32, 64, 128, 256, 512, 1024, 2048]
CONTESTANTS: dict[str, tuple[Any, Any]] = {
    "soundsearch": (build_library, ask_library),
    "FAISS IVF4096,Flat": (
        partial(build_faiss, "IVF4096,Flat"),
        partial(ask_faiss, "SearchParametersIVF", "nprobe", CELLS),
    ),
    "LanceDB IVF_PQ": (build_lancedb, ask_lancedb),
    "NumPy, exact": (None, ask_numpy),
    "usearch, f16": (build_usearch, ask_usearch),
    "FAISS HNSW32": (
        partial(build_faiss, "HNSW32,Flat"),
        partial(ask_faiss, "SearchParametersHNSW", "efSearch", WIDTHS),
    ),
}


def measured(data: Data, name: str, path: Path) -> dict[str, Any]:
    """What one contestant, built before, does with each filter."""
    found: dict[str, Any] = {"filters": []}
    for share, search, efforts in CONTESTANTS[name][1](data, path):
        began = time.perf_counter()
        search(data.queries[0], efforts[0])
        first = 1e3 * (time.perf_counter() - began)
        for effort in efforts:
            tried = [search(query, effort) for query in data.trial]
            if data.recall(tried, share, "trial") >= TARGET:
                break
        answers = [search(query, effort) for query in data.queries]
        began = time.process_time()
        ms = median_ms([partial(search, query, effort) for query in data.queries])
        cpu = 1e3 * (time.process_time() - began) / len(data.queries)
        recall = data.recall(answers, share, "queries")
        row = {"share": share, "first": first, "effort": effort, "ms": ms, "cpu": cpu}
        found["filters"].append({**row, "recall": recall})
    with open("/proc/self/status", encoding="ascii") as status:
        [line] = [line for line in status if line.startswith("VmRSS")]
    found["MB"] = int(line.split()[1]) // 1024
    return found


def in_process(step: str, name: str, folder: Path) -> dict[str, Any]:
    """Build or ask in a new process."""
    command = [sys.executable, "-m", "benchmarks.comparison", "--step", step, name, str(folder)]
    environment = {**os.environ, **({"OMP_NUM_THREADS": "1"} if step == "ask" else {})}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def step(which: str, name: str, folder: Path) -> dict[str, Any]:
    """What a process of its own does."""
    data, path = Data(folder), folder / "built"
    if which == "ask":
        return measured(data, name, path)
    began = time.process_time()
    CONTESTANTS[name][0](data, path)
    seconds = time.process_time() - began
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return {"s": seconds, "MB": sum(each.stat().st_size for each in files) // 1_000_000}


def prepare(real: np.ndarray, size: int, folder: Path) -> None:
    """Write what every contestant gets."""
    vectors = mixed(real, size, 0)
    bucket = np.repeat(np.random.default_rng(3).random(size // CLIP_SEGMENTS), CLIP_SEGMENTS)
    asked = {"queries": unit(mixed(real, 300, 1)), "trial": unit(mixed(real, 100, 2))}
    np.save(folder / "vectors.npy", vectors)
    np.save(folder / "bucket.npy", bucket)
    for name, queries in asked.items():
        np.save(folder / f"{name}.npy", queries)
    for share in SHARES:
        among = vectors if share is None else vectors[bucket < share]
        tenth = {name: tenth_best(among, queries) for name, queries in asked.items()}
        np.savez(folder / f"tenth-{share}.npz", queries=tenth["queries"], trial=tenth["trial"])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=1_000_000)
    parser.add_argument("--only", action="append", choices=list(CONTESTANTS))
    parser.add_argument("--step", nargs=3, help=argparse.SUPPRESS)
    add_vector_options(parser)
    options = parser.parse_args()
    if options.step:
        which, name, folder = options.step
        print(json.dumps(step(which, name, Path(folder))))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        prepare(chosen_embeddings(options), options.size // CLIP_SEGMENTS * CLIP_SEGMENTS, folder)
        print(f"{'':20}{'build s':>8}{'disk MB':>9}{'MB':>7}   filter: ms, cpu, recall (effort)")
        for name in options.only or CONTESTANTS:
            built = {"s": 0.0, "MB": 0}
            if CONTESTANTS[name][0] is not None:
                built = in_process("build", name, folder)
            found = in_process("ask", name, folder)
            print(f"{name:20}{built['s']:8.0f}{built['MB']:9,}{found['MB']:7,}", flush=True)
            for row in found["filters"]:
                share = "none" if row["share"] is None else f"{row['share']:.2%}"
                print(
                    f"{share:>52}: {row['ms']:7.2f} ms, {row['cpu']:7.2f} ms, {row['recall']:.4f} "
                    f"({row['effort']}), the first time {row['first']:.0f} ms",
                    flush=True,
                )
            subprocess.run(["rm", "-rf", str(folder / "built")], check=True)


if __name__ == "__main__":
    main()
