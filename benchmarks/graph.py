"""Many clips at once: `similar` against calls one at a time, and the graph of all clips.

    python -m benchmarks.graph [--clips 100000 1000000] [--data DATA | --vectors FILE.npy]

For libraries of so many clips, made anew: seconds to pool and index their stretches; seconds of
1 000 clips in one call of `similar` and in calls one at a time, in turns (of the first size only,
whose clips have five segments; those of the others have one); seconds of the whole graph of ten
neighbours, and the recall of 500 of its rows against an exact search; the highest resident memory.

Vectors as in `benchmarks.query`; the segments of a clip have much in common.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from soundsearch_ingest.discover import AudioFile

import soundsearch
from benchmarks.vectors import (
    CLIP_SEGMENTS,
    add_vector_options,
    bundled_settings,
    chosen_embeddings,
    mixed,
    tenth_best,
)
from soundsearch.labels.head import silence
from soundsearch.stores.opening import create_store, place_of
from soundsearch.stores.records import CLIP_LABELS, SEGMENT, ClipRecord, NewClip

ASKED = 1000
CHECKED = 500
TOGETHER = 20_000


def clips_of(real: np.ndarray, count: int, first: int, segments: int) -> list[NewClip]:
    """Clips of so many segments, which have much in common, numbered from `first`."""
    main = mixed(real, count, first)
    beside = mixed(real, count * segments, first + 1).reshape(count, segments, -1)
    share = 0.3 if segments > 1 else 0
    vectors = (1 - share) * main[:, None] + share * beside
    return [
        NewClip(
            record=ClipRecord(
                file=AudioFile(f"/{number:08}.wav", 0, 0),
                digest=number.to_bytes(32, "big"),
                duration=segments * 0.96,
                labels=silence(CLIP_LABELS),
            ),
            embeddings=part,
            segments=np.zeros(segments, SEGMENT),
        )
        for number, part in enumerate(vectors, first)
    ]


def make(folder: Path, real: np.ndarray, count: int, segments: int) -> float:
    """Make a library; return the seconds that pooling and indexing took."""
    store = create_store(place_of(folder), bundled_settings())
    steps: list[tuple[str, float]] = []
    with store.writing():
        for first in range(0, count, TOGETHER):
            store.add(clips_of(real, min(TOGETHER, count - first), first, segments))
        store.optimise(lambda text: steps.append((text, time.perf_counter())))
    ended = time.perf_counter()
    store.close()
    return ended - next((at for text, at in steps if text.startswith("pooling")), ended)


def one_at_a_time(lib: soundsearch.Library, ids: np.ndarray) -> None:
    """Ask for each of some clips."""
    for clip in ids.tolist():
        lib.similar(clip)


def timed(action: Callable[[], object]) -> tuple[float, float]:
    """The seconds that an action takes, by the clock and of processor time."""
    began, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - began, time.process_time() - cpu


def measure(folder: Path, compare: bool) -> None:
    """Print one row."""
    with soundsearch.open(folder) as lib:
        ids = np.array([clip.id for clip, _ in zip(lib, range(ASKED), strict=False)])
        if compare:
            lib.similar(ids[:10])
            lib.similar(int(ids[0]))
            at_once, calls = [], []
            for part in np.split(ids, 5):  # in turns, so that other load meets both
                at_once.append(timed(partial(lib.similar, ids)))
                calls.append(timed(partial(one_at_a_time, lib, part)))
            fast, slow = np.median(at_once, axis=0), np.sum(calls, axis=0)
            print(
                f"  similar of {ASKED}: {fast[0]:.3f} s at once, {slow[0]:.1f} s one at a time, "
                f"{slow[0] / fast[0]:.0f} times as long; processor time {fast[1]:.3f} s and "
                f"{slow[1]:.2f} s, {slow[1] / fast[1]:.0f} times",
                flush=True,
            )
        began, cpu = time.perf_counter(), time.process_time()
        last = began
        done = 0
        graph = []
        for block in lib.neighbours(10):
            graph.append((block.clips, block.ids, block.scores))
            done += len(block)
            if time.perf_counter() - last > 60:
                last = time.perf_counter()
                print(f"  {done} clips after {last - began:.0f} s", flush=True)
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        clips, _, scores = (np.concatenate(column) for column in zip(*graph, strict=True))
        chosen = np.random.default_rng(0).choice(len(clips), CHECKED, replace=False)
        with lib._session.store.reading() as reading:
            _, vectors = reading.pooled(clips)
        # The clip itself is among the eleven nearest.
        enough = tenth_best(vectors, vectors[chosen], 11)
        recall = (scores[chosen] >= enough[:, None] - 1e-5).mean()
        print(
            f"  graph of {done}: {seconds:.1f} s, {cpu:.1f} s of processor time, recall@10 "
            f"{recall:.4f}, {memory:.0f} MB resident",
            flush=True,
        )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, nargs="*", default=[100_000, 1_000_000])
    add_vector_options(parser)
    options = parser.parse_args()
    real = chosen_embeddings(options)
    for place, count in enumerate(options.clips):
        with tempfile.TemporaryDirectory() as folder:
            segments = 1 if place else CLIP_SEGMENTS
            seconds = make(Path(folder) / "l", real, count, segments)
            print(f"{count} clips of {segments} segments, pooled and indexed in {seconds:.1f} s")
            measure(Path(folder) / "l", not place)


if __name__ == "__main__":
    main()
