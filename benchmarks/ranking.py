"""Retrieval quality of the rankings, on ESC-50 folds 1-3.

    python -m benchmarks.ranking DATA

DATA holds ``esc50/labels.csv`` and ``esc50/audio/``. Two collections are made from its clips: the
clips themselves (5 s each, queried with every clip), and one-minute recordings that concatenate
twelve clips of different classes (queried with every clip that is in none of them, for its class).
Sounds from the query's own source recording never count. P@1 and mAP are those of
`soundsearch.evaluate.retrieval`; a moment is right if the segment that matched has the query's
class. Then the company that clips keep, over the first 50: against plain cosines, and with clips
of one source recording as company for each other or not. ``--encoder`` names one of
``soundsearch models list``.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.decode import Decoder
from soundsearch_ingest.logmel import SILENT

from soundsearch.asking.ranking import RANKINGS, pool_query
from soundsearch.asking.related import HEAD, moved
from soundsearch.evaluate import retrieval
from soundsearch.vectors import loudness_weights, sounding, unit

Floats = NDArray[np.float32]
PER_RECORDING = 12
WEIGHTS: dict[str, Callable[[Floats], Floats]] = {
    "level": loudness_weights,
    "silence out": lambda level: np.where(level < SILENT, 1e-6, 1.0).astype(np.float32),
    "none": np.ones_like,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--encoder", default=encoders.BUNDLED)
    options = parser.parse_args()
    folder = options.data / "esc50"
    with open(folder / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    encoder = encoders.load(options.encoder, pipeline.available_cores())
    vectors, levels = [], []
    for row in rows:
        with Decoder(folder / "audio" / row["filename"]) as decoder:
            found = pipeline.embed_sound(decoder, encoder, encoder.hop_seconds)
        vectors.append(found[0])
        levels.append(found[1])
    queries = [sounding(*sound) for sound in zip(vectors, levels, strict=True)]
    classes = np.array([row["category"] for row in rows])
    sources = np.array([row["source"] for row in rows])

    print(f"{len(rows)} clips, encoder {encoder.name}")
    print(f"{'ranking':<12}{'weights':<14}{'P@1':>7}{'mAP':>7}{'min P@1':>10}{'moment':>8}")
    for name in RANKINGS:
        for by, weigh in WEIGHTS.items():
            if name == "best-pair" and by != "level":
                continue
            shares = [weigh(level) for level in levels]
            asked = [(query, weigh(level)) for query, level in queries]
            first, mean = as_they_are(name, asked, vectors, shares, classes, sources)
            recording, moment = as_recordings(name, asked, vectors, shares, classes, sources)
            print(
                f"{name:<12}{by:<14}{first:>7.3f}{mean:>7.3f}{recording:>10.3f}{moment:>8.3f}",
                flush=True,
            )

    pooled = [
        pool_query(*sound) for sound in zip(vectors, map(loudness_weights, levels), strict=True)
    ]
    by_company(unit(np.concatenate(pooled)), classes, sources)


def by_company(vectors: Floats, classes: NDArray[np.str_], sources: NDArray[np.str_]) -> None:
    """Print what `related` finds, clips against clips."""
    cosines = vectors @ vectors.T
    own = np.eye(len(vectors), dtype=np.bool_)
    same = sources[:, None] == sources

    def related(number: int, apart: NDArray[np.bool_]) -> Floats:
        others = np.where(apart[number], -2, cosines[number])
        near = np.argsort(-others, kind="stable")[:HEAD]
        near = np.array([number, *near[others[near] > -2]])
        among = np.ix_(near, near)
        kept = np.where(apart[among] & ~own[among], -1, cosines[among])
        company = moved(vectors[near], kept)
        scores: Floats = cosines[number] - 10
        scores[near[1:]] = company[1:] @ company[0]
        return scores

    numbers = range(len(vectors))
    rows = {
        "pooled": iter(cosines),
        "related, sources apart": (related(number, same) for number in numbers),
        "related": (related(number, own) for number in numbers),
    }
    print(f"\n{'first 50':<26}{'P@1':>7}{'P@5':>7}{'mAP':>7}")
    for name, scores in rows.items():
        found = retrieval(scores, classes, sources, depth=50).means()
        print(f"{name:<26}{found['P@1']:>7.3f}{found['P@5']:>7.3f}{found['mAP']:>7.3f}", flush=True)


def as_they_are(
    name: str,
    asked: list[tuple[Floats, Floats]],
    vectors: list[Floats],
    shares: list[Floats],
    classes: NDArray[np.str_],
    sources: NDArray[np.str_],
) -> tuple[float, float]:
    """P@1 and mAP of clips against clips."""
    lengths = np.array([len(part) for part in vectors])
    starts = np.cumsum(lengths) - lengths
    everything, every_share = np.concatenate(vectors), np.concatenate(shares)
    scores = (RANKINGS[name](*query, everything, every_share, starts)[0] for query in asked)
    found = retrieval(scores, classes, sources).means()
    return found["P@1"], found["mAP"]


def as_recordings(
    name: str,
    asked: list[tuple[Floats, Floats]],
    vectors: list[Floats],
    shares: list[Floats],
    classes: NDArray[np.str_],
    sources: NDArray[np.str_],
) -> tuple[float, float]:
    """P@1 of clips against recordings, and the share of queries whose moment is right."""
    rng = np.random.default_rng(0)
    names = np.unique(classes)
    queue = {kind: list(rng.permutation(np.flatnonzero(classes == kind))) for kind in names}
    recordings = []
    for _ in range(len(vectors) // PER_RECORDING // 2):
        # From the classes with the most clips left, so that all are used equally.
        by_left = sorted(names, key=lambda kind: (-len(queue[kind]), rng.random()))
        recordings.append([queue[kind].pop() for kind in by_left[:PER_RECORDING]])
    clips = np.concatenate(recordings)
    lengths = np.array([len(vectors[clip]) for clip in clips])
    owner = np.repeat(clips, lengths)
    starts = np.array([np.flatnonzero(owner == recording[0])[0] for recording in recordings])
    everything = np.concatenate([vectors[clip] for clip in clips])
    every_share = np.concatenate([shares[clip] for clip in clips])
    right, moments = [], []
    for i in np.setdiff1d(np.arange(len(vectors)), clips):
        query, query_shares = asked[i]
        scores, rows = RANKINGS[name](query, query_shares, everything, every_share, starts)
        allowed = [not (sources[recording] == sources[i]).any() for recording in recordings]
        best = int(np.argmax(np.where(allowed, scores, -np.inf)))
        right.append(classes[i] in classes[recordings[best]])
        moments.append(classes[owner[rows[best]]] == classes[i])
    return float(np.mean(right)), float(np.mean(moments))


if __name__ == "__main__":
    main()
