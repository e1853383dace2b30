"""The stores compared: local, Milvus Lite, and a Milvus server.

    pip install -e '.[milvus-lite]'
    python -m benchmarks.stores [--sizes 100000 1000000] [--server HOST:PORT]

For libraries of several sizes, each in its own process, all in one run: segments stored per second
in batches of 8 000, without and with the time to build the index; milliseconds to find the 10
nearest segments of one vector, and to answer a query of five segments, given as embeddings (medians
over 100, one after the other); recall@10 against an exact search; the peak memory of the process,
and of the server if it runs on this machine. Lite is left out above ``--largest-lite``, and the
server without ``--server`` (``pip install milvus==2.3.5 && milvus-server`` starts one on port
19530). Vectors are mixtures of embeddings of the demo sounds, which are easy to search.
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from benchmarks.query import answer, search
from benchmarks.vectors import (
    CLIP_SEGMENTS,
    bundled_settings,
    clips_of,
    demo_embeddings,
    median_ms,
    mixed,
    tenth_best,
)
from soundsearch.stores.opening import create_store, place_of
from soundsearch.vectors import unit

BATCH = 8_000
QUERIES = 100
SEED = 0


def measure(address: str, embeddings: np.ndarray, size: int) -> tuple[float, ...]:
    """Segments/s without and with the index, ms per search and per query, recall, bytes."""
    vectors, queries = mixed(embeddings, size, SEED), unit(mixed(embeddings, QUERIES, SEED + 1))
    tenth = tenth_best(vectors, queries)
    store = create_store(place_of(address), bundled_settings())
    began = time.perf_counter()
    with store.writing():
        for first in range(0, size, BATCH):
            store.add(clips_of(vectors[first : first + BATCH], first))
        stored = time.perf_counter() - began
        store.optimise()
    indexed = time.perf_counter() - began
    scores = np.concatenate([search(store, query) for query in queries])
    recall = float((scores >= tenth[:, None] - 1e-5).mean())
    search_ms = median_ms([partial(search, store, query) for query in queries])
    clips = mixed(embeddings, QUERIES * CLIP_SEGMENTS, SEED + 2)
    asked = clips.reshape(QUERIES, CLIP_SEGMENTS, -1)
    query_ms = median_ms([partial(answer, store, clip) for clip in asked])
    store.close()
    return size / stored, size / indexed, search_ms, query_ms, recall, peak_memory("self")


def peak_memory(process: str) -> float:
    """Peak memory in bytes, of this process ("self") or of all with this command."""
    if process == "self":
        pids = ["self"]
    else:
        pids = [
            path.name
            for path in Path("/proc").glob("[0-9]*")
            if process in (path / "cmdline").read_text(errors="replace").replace("\0", " ")
        ]
    found = [re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()) for pid in pids]
    return sum(1024.0 * int(match[1]) for match in found if match)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--stores", nargs="*", default=["local", "lite", "server"])
    parser.add_argument("--largest-lite", type=int, default=100_000)
    parser.add_argument("--server", metavar="HOST:PORT", help="a running Milvus server")
    options = parser.parse_args()
    kinds = [kind for kind in options.stores if kind != "server" or options.server]
    embeddings = demo_embeddings()
    print(f"{'segments':>9}  {'store':7}{'stored/s':>10}{'indexed/s':>11}{'search ms':>11}", end="")
    print(f"{'query ms':>10}{'recall@10':>11}{'MB':>7}  MB of the server")
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            for kind in kinds:
                if kind == "lite" and size > options.largest_lite:
                    continue
                address = {
                    "local": f"{folder}/{size}",
                    "lite": f"milvus-lite:{folder}/{size}.db",
                    "server": f"milvus://{options.server}/benchmark_{os.getpid()}_{size}",
                }[kind]
                # In its own process, to measure its memory.
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    row = pool.submit(measure, address, embeddings, size).result()
                print(
                    f"{size:>9}  {kind:7}{row[0]:10,.0f}{row[1]:11,.0f}{row[2]:11.2f}"
                    f"{row[3]:10.2f}{row[4]:11.4f}{row[5] / 1e6:7.0f}"
                    + (f"{peak_memory('milvus run') / 1e6:9.0f}" if kind == "server" else ""),
                    flush=True,
                )


if __name__ == "__main__":
    main()
