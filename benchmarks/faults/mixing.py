"""Four who read a library beside one who writes to it."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from soundsearch_ingest.discover import AudioFile

from benchmarks.faults.children import Result, in_child
from benchmarks.faults.commands import few_rows_get_an_index
from benchmarks.vectors import bundled_settings
from soundsearch.labels.head import silence
from soundsearch.library import Library
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import CLIP_LABELS, SEGMENT, ClipRecord, NewClip

__all__ = ["make_pairs", "read_on", "write_on"]

_PAIRS = 40
_SEGMENTS = 10
# Queries before a reader opens the library again.
_TURN = 100


def _clip(uri: str, vectors: np.ndarray) -> NewClip:
    record = ClipRecord(
        file=AudioFile(uri, 1, 1),
        digest=bytes(32),
        duration=0.96 * len(vectors),
        labels=silence(CLIP_LABELS),
    )
    return NewClip(record=record, embeddings=vectors, segments=np.zeros(len(vectors), SEGMENT))


def _random(seed: int) -> np.ndarray:
    shape = _SEGMENTS, bundled_settings().dimension
    return np.random.default_rng(seed).normal(0, 1, shape).astype(np.float32)


def make_pairs(library: Path) -> None:
    """A library in which each clip has its like, and keeps it."""

    def make(_report: Any) -> None:
        with closing(LocalStore.create(library, bundled_settings())) as store, store.writing():
            clips = [_clip(f"/{side}/{n}", _random(n)) for n in range(_PAIRS) for side in "ab"]
            store.add(clips)

    in_child(make)


def write_on(library: Path, seconds: float) -> Result:
    """Add, replace and remove other clips, rebuild and index, for so long."""
    few_rows_get_an_index()

    def write(_report: Any) -> int:
        end, turn = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            turn += 1
            with closing(LocalStore(library)) as store, store.writing():
                others = [_clip(f"/other/{n}", _random(1000 * turn + n)) for n in range(30)]
                store.add(others)
                store.optimise()
                gone = [clip.id for clip in store.clips() if clip.uri.startswith("/other/")]
                store.remove(gone[:: 1 + turn % 2])
                if turn % 3 == 0:
                    store.rebuild()
                clip = store.clip_at("/a/0")
                assert clip is not None
                store.amend({clip.id: replace(clip.record, tags={"turn": turn})})
        return turn

    outcome = in_child(write)
    done = outcome.end == "done"
    counts = Counter({"tried": outcome.value, "ended": outcome.value} if done else {"traceback": 1})
    return counts, [] if done else [f"the writer: {outcome.end}: {outcome.value}"]


def read_on(library: Path, seconds: float, seed: int) -> Result:
    """Ask for the like of clips, for so long; it must be the first that is found."""

    def read(_report: Any) -> Result:
        counts: Counter[str] = Counter()
        said: list[str] = []
        rng = np.random.default_rng(seed)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with closing(Library(library)) as lib:
                for _ in range(_TURN):
                    n = int(rng.integers(_PAIRS))
                    hits = list(lib.similar(f"/a/{n}", k=5))
                    right = bool(hits) and hits[0].uri == f"/b/{n}" and hits[0].score > 0.999
                    right &= all(0 <= hit.start < hit.end <= 0.97 * _SEGMENTS for hit in hits)
                    counts["ended" if right else "wrong"] += 1
                    if not right:
                        said.append(f"/a/{n}: {hits[:2]}")
                    if time.monotonic() >= end:
                        break
        return counts, said

    outcome = in_child(read)
    if outcome.end != "done":
        return Counter({"traceback": 1}), [f"a reader: {outcome.end}: {outcome.value}"]
    counts, said = outcome.value
    return counts, said
