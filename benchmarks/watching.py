"""Clips of a library that are heard in a stream: found, and false alarms, by the least score.

    python -m benchmarks.watching DATA [--recordings 30]

DATA has ``esc50/``. Clips of a fold of ESC-50 are looked for in the recordings of
`benchmarks.events` that are made of them, each of which lies there 10 to 30 dB above noise or
another sound, and in those of the other folds, where none is. Found are those that are told while
they sound, or 1.5 s later. What is told of another fold's recording is false, or of the clip's kind
where a clip of the same category sounds. Once with all clips of the fold, once with 40 of them; the
stream and the rule are those of ``label --live --watch``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from soundsearch_ingest import encoders
from soundsearch_ingest.encoders import Encoder
from soundsearch_ingest.pipeline import embed_sound

from benchmarks.events import LENGTH, Clips, clips_of, composed
from benchmarks.live import PROMISED, SEGMENT, newest
from soundsearch import Answer, Embeddings, Hit
from soundsearch.hearing import Heard
from soundsearch.labels.moments import HOP
from soundsearch.watching import Watch

MIN_SCORES = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
FEW = 40
# More than are asked for.
DEPTH = 10


def watched(folds: dict[str, Clips], encoder: Encoder, count: int) -> None:
    """Print how many clips are found again in a stream, and false alarms, by the least score."""
    libraries = {
        fold: [
            (category, number, embed_sound(iter([clip]), encoder, SEGMENT)[0])
            for category, members in clips.items()
            for number, (clip, _) in enumerate(members)
        ]
        for fold, clips in folds.items()
    }
    streams = []
    for fold, clips in sorted(folds.items()):
        for number in range(count):
            noted = {category: Noted(members) for category, members in clips.items()}
            sound, truth = composed(np.random.default_rng((int(fold), number)), noted)  # type: ignore[arg-type]
            places = {
                (category, each.chosen): (
                    min(onset for name, onset, _ in truth if name == category),
                    max(offset for name, _, offset in truth if name == category),
                )
                for category, each in noted.items()
                if each.chosen is not None
            }
            streams.append((fold, truth, places, newest(encoder, sound, HOP)))
    rng = np.random.default_rng(0)
    few = {
        fold: [library[n] for n in rng.permutation(len(library))[:FEW]]
        for fold, library in libraries.items()
    }
    print("| clips | least score | found | delay | false an hour | of its kind an hour |")
    print("|---|---|---|---|---|---|")
    for chosen in (libraries, few):
        found: dict[float, list[float]] = {least: [] for least in MIN_SCORES}
        false, kind = dict.fromkeys(MIN_SCORES, 0), dict.fromkeys(MIN_SCORES, 0)
        planted, hours = 0, 0.0
        for fold, truth, places, stream in streams:
            for other, library in chosen.items():
                nearest = Nearest(library, stream.vectors)
                mine = {(category, number) for category, number, _ in library} & places.keys()
                planted += len(mine) if other == fold else 0
                hours += LENGTH / 3600 if other != fold else 0.0
                for least in MIN_SCORES:
                    told_of = alarms(library, nearest, stream, least)
                    if other == fold:
                        found[least] += delays_of(mine, places, told_of)
                        continue
                    for at, (category, _) in told_of:
                        right = any(
                            name == category and onset <= at and at - SEGMENT <= offset
                            for name, onset, offset in truth
                        )
                        kind[least] += right
                        false[least] += not right
        size = len(next(iter(chosen.values())))
        for least in MIN_SCORES:
            delay = f"{np.median(found[least]):.1f}" if found[least] else ""
            print(
                f"| {size} | {least} | {len(found[least]) / planted:.2f} | {delay} | "
                f"{false[least] / hours:.1f} | {kind[least] / hours:.1f} |",
                flush=True,
            )


def delays_of(
    wanted: set[tuple[str, int]],
    places: dict[tuple[str, int], tuple[float, float]],
    told_of: list[tuple[float, tuple[str, int]]],
) -> list[float]:
    """How long after its onset each clip is told that is told while it sounds."""
    found = []
    for clip in wanted:
        onset, offset = places[clip]
        times = [at for at, told in told_of if told == clip and onset <= at <= offset + PROMISED]
        found += [times[0] - onset] if times else []
    return found


class Noted(list[Any]):
    """A list that notes which member was taken last."""

    chosen: int | None = None

    def __getitem__(self, index: Any) -> Any:
        self.chosen = int(index)
        return super().__getitem__(index)


class Nearest:
    """The nearest segments of clips to each segment of a stream, as `Watch` asks for them."""

    def __init__(self, library: list[tuple[str, int, np.ndarray]], stream: np.ndarray) -> None:
        owners = np.repeat(np.arange(len(library)), [len(each) for _, _, each in library])
        scores = unit(stream) @ unit(np.concatenate([each for _, _, each in library])).T
        self._best = {
            vector.tobytes(): (row[best], owners[best])
            for vector, row in zip(stream, scores, strict=True)
            for best in [np.argsort(-row)[:DEPTH]]
        }

    def query(self, question: Embeddings, k: int, *, segments: bool, min_score: float) -> Answer:
        """The nearest segments to one of the stream."""
        scores, owners = self._best[question.vectors[0].tobytes()]
        hits = enumerate(zip(scores[:k].tolist(), owners[:k].tolist(), strict=True), 1)
        return Answer(
            tuple(
                Hit(rank, score, "", 0.0, 0.0, (), owner)
                for rank, (score, owner) in hits
                if score >= min_score
            ),
            (),
        )


def unit(vectors: np.ndarray) -> np.ndarray:
    found: np.ndarray = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return found


def alarms(
    library: list[tuple[str, int, np.ndarray]], nearest: Nearest, stream: Heard, least: float
) -> list[tuple[float, tuple[str, int]]]:
    """When it is told which clip is heard."""
    watch = Watch(nearest, "", HOP, SEGMENT, least)  # type: ignore[arg-type]
    rows = zip(stream.vectors, stream.levels.tolist(), strict=True)
    return [
        (matched.heard, library[matched.hit.clip_id][:2])
        for vector, level in rows
        for matched in watch.push(vector, level)
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--recordings", type=int, default=30, help="of each fold")
    options = parser.parse_args()
    folds = clips_of(options.data / "esc50")
    watched(folds, encoders.load(threads=1), options.recordings)


if __name__ == "__main__":
    main()
