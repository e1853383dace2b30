"""Shared by the search benchmarks: realistic vectors, and measurements."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
from soundsearch_ingest import decode, encoders, pipeline
from soundsearch_ingest.discover import AudioFile

from soundsearch import demo_sounds
from soundsearch.labels.head import silence
from soundsearch.stores.records import CLIP_LABELS, SEGMENT, ClipRecord, NewClip, Settings
from soundsearch.vectors import unit

__all__ = [
    "CLIP_SEGMENTS",
    "bundled_settings",
    "clips_of",
    "demo_embeddings",
    "median_ms",
    "mixed",
    "tenth_best",
]

CLIP_SEGMENTS = 5


def bundled_settings() -> Settings:
    """The settings of a library of the bundled encoder."""
    encoder = encoders.load()
    return Settings(encoder.name, encoder.space, encoder.dimension, 0.96, 0.96)


def demo_embeddings() -> np.ndarray:
    """Embed many variations of the demo sounds: float32 [n, 128]."""
    encoder = encoders.load(threads=2)
    parts = []
    for kind in demo_sounds.KINDS:
        for variation in range(40):
            sound = decode.to_mono_16k(demo_sounds.make(kind, variation), demo_sounds.SAMPLE_RATE)
            parts.append(pipeline.embed_sound([sound], encoder, 0.24)[0])
    return np.concatenate(parts)


def mixed(real: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Mix pairs of real vectors and add a little noise: float32 [count, d]."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.5, 1, (count, 1)).astype(np.float32)
    first, second = (real[rng.integers(0, len(real), count)] for _ in range(2))
    noise = rng.normal(0, 0.15 * real.std(), first.shape).astype(np.float32)
    vectors: np.ndarray = share * first + (1 - share) * second + noise
    return vectors


def clips_of(vectors: np.ndarray, first: int) -> list[NewClip]:
    """Clips of five segments with these vectors, numbered from `first`."""
    clips = []
    for row in range(0, len(vectors), CLIP_SEGMENTS):
        part = vectors[row : row + CLIP_SEGMENTS]
        record = ClipRecord(
            file=AudioFile(f"/{first + row:08}.wav", 0, 0),
            digest=(first + row).to_bytes(32, "big"),
            duration=CLIP_SEGMENTS * 0.96,
            labels=silence(CLIP_LABELS),
        )
        segments = np.zeros(len(part), SEGMENT)
        clips.append(NewClip(record=record, embeddings=part, segments=segments))
    return clips


def tenth_best(vectors: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """The tenth-best cosine of each query, by brute force: float32 [n]."""
    best = np.full((len(queries), 10), -np.inf, np.float32)
    for begin in range(0, len(vectors), 100_000):
        scores = queries @ unit(vectors[begin : begin + 100_000]).T
        best = -np.sort(-np.hstack((best, -np.partition(-scores, 9, axis=1)[:, :10])), axis=1)
        best = best[:, :10]
    return best[:, -1]


def median_ms(actions: list[Callable[[], object]]) -> float:
    """The median time of the actions, in milliseconds."""
    times = []
    for action in actions:
        began = time.perf_counter()
        action()
        times.append(time.perf_counter() - began)
    return 1e3 * statistics.median(times)
