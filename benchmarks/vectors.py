"""Shared by the search benchmarks: realistic vectors, and measurements."""

from __future__ import annotations

import argparse
import csv
import statistics
import time
from collections.abc import Callable, Iterable
from itertools import permutations
from pathlib import Path

import blake3
import numpy as np
from soundsearch_ingest import decode, encoders, pipeline
from soundsearch_ingest.decode import Decoder
from soundsearch_ingest.discover import AudioFile

from soundsearch import demo_sounds
from soundsearch.labels.head import silence
from soundsearch.stores.records import CLIP_LABELS, SEGMENT, ClipRecord, NewClip, Settings
from soundsearch.vectors import unit

__all__ = [
    "CLIP_SEGMENTS",
    "add_vector_options",
    "bundled_settings",
    "chosen_embeddings",
    "clips_of",
    "demo_embeddings",
    "median_ms",
    "mixed",
    "tenth_best",
]

CLIP_SEGMENTS = 5

# Of the embeddings of recordings that are silence, as in ESC-50.
_SILENT_SHARE = 0.075
_HOP = 0.24


def bundled_settings() -> Settings:
    """The settings of a library of the bundled encoder."""
    encoder = encoders.load()
    return Settings(encoder.name, encoder.space, encoder.dimension, 0.96, 0.96)


def add_vector_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which embeddings a benchmark mixes its vectors of."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--vectors", type=Path, metavar="FILE.npy", help="embeddings, float32 [n, d]"
    )
    which.add_argument("--data", type=Path, help="a folder with esc50/labels.csv and esc50/audio/")


def chosen_embeddings(options: argparse.Namespace, least: float = -np.inf) -> np.ndarray:
    """Those that the options name, or those that need no recordings: float32 [n, d].

    Embeddings of segments below the least level, in dB, are left out, unless a file gives them.
    """
    if options.vectors:
        given: np.ndarray = np.load(options.vectors).astype(np.float32)
        return given
    if options.data:
        return np.concatenate(
            (esc50_embeddings(options.data / "esc50", least), demo_embeddings(least))
        )
    return overlaid_embeddings(least)


def _embedded(sound: Iterable[np.ndarray], encoder: encoders.Encoder, least: float) -> np.ndarray:
    vectors, levels = pipeline.embed_sound(sound, encoder, _HOP)[:2]
    return vectors[levels >= least]


def demo_embeddings(least: float = -np.inf) -> np.ndarray:
    """Embed many variations of the demo sounds: float32 [n, 128]."""
    encoder = encoders.load(threads=2)
    parts = [
        _embedded([_demo_sound(kind, variation)], encoder, least)
        for kind in demo_sounds.KINDS
        for variation in range(40)
    ]
    return np.concatenate(parts)


def overlaid_embeddings(least: float = -np.inf) -> np.ndarray:
    """Embed every two kinds of demo sounds, one over the other, and silence: float32 [n, 128].

    The demo sounds alone are easy: few kinds, each of it alike, far from the others. Mixed of
    these, vectors are as hard for an index as those that are mixed of ESC-50.
    """
    encoder = encoders.load(threads=2)
    rng = np.random.default_rng(0)
    parts = []
    for kinds in permutations(sorted(demo_sounds.KINDS), 2):
        sounds = [_demo_sound(kind, int(rng.integers(1000))) for kind in kinds]
        samples = min(map(len, sounds))
        levels = 10 ** rng.uniform(-1.5, 0, 2).astype(np.float32)
        overlaid = levels[0] * sounds[0][:samples] + levels[1] * sounds[1][:samples]
        parts.append(_embedded([overlaid], encoder, least))
    sounding = np.concatenate(parts)
    silent = _embedded([np.zeros(16_000, np.float32)], encoder, least)[:1]
    if not len(silent):
        return sounding
    count = round(len(sounding) * _SILENT_SHARE / (1 - _SILENT_SHARE))
    return np.concatenate((sounding, np.repeat(silent, count, axis=0)))


def esc50_embeddings(folder: Path, least: float = -np.inf) -> np.ndarray:
    """Embed all clips of ESC-50: float32 [n, 128]."""
    encoder = encoders.load(threads=2)
    parts = []
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            with Decoder(folder / "audio" / row["filename"]) as decoder:
                parts.append(_embedded(decoder, encoder, least))
    return np.concatenate(parts)


def _demo_sound(kind: str, variation: int) -> np.ndarray:
    return decode.to_mono_16k(demo_sounds.make(kind, variation), demo_sounds.SAMPLE_RATE)


def mixed(real: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Mix pairs of real vectors and add a little noise: float32 [count, d]."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.5, 1, (count, 1)).astype(np.float32)
    first, second = (real[rng.integers(0, len(real), count)] for _ in range(2))
    noise = rng.normal(0, 0.15 * real.std(), first.shape).astype(np.float32)
    vectors: np.ndarray = share * first + (1 - share) * second + noise
    return vectors


def clips_of(vectors: np.ndarray, first: int, length: int = CLIP_SEGMENTS) -> list[NewClip]:
    """Clips of so many segments with these vectors, numbered from `first`."""
    clips = []
    for row in range(0, len(vectors), length):
        part = vectors[row : row + length]
        record = ClipRecord(
            file=AudioFile(f"/{first + row:08}.wav", 0, 0),
            digest=blake3.blake3(b"%d" % (first + row)).digest(),
            duration=length * 0.96,
            labels=silence(CLIP_LABELS),
        )
        segments = np.zeros(len(part), SEGMENT)
        clips.append(NewClip(record=record, embeddings=part, segments=segments))
    return clips


def tenth_best(vectors: np.ndarray, queries: np.ndarray, place: int = 10) -> np.ndarray:
    """The tenth-best cosine of each query, or that in another place, exactly: float32 [n]."""
    best = np.full((len(queries), place), -np.inf, np.float32)
    for begin in range(0, len(vectors), 100_000):
        scores = queries @ unit(vectors[begin : begin + 100_000]).T
        scores = -np.partition(-scores, place - 1, axis=1)[:, :place]
        best = -np.sort(-np.hstack((best, scores)), axis=1)[:, :place]
    return best[:, -1]


def median_ms(
    actions: list[Callable[[], object]], clock: Callable[[], float] = time.perf_counter
) -> float:
    """The median time of the actions, in milliseconds."""
    times = []
    for action in actions:
        began = clock()
        action()
        times.append(clock() - began)
    return 1e3 * statistics.median(times)
