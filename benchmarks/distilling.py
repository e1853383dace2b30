"""A head for a library in any space from a teacher's labels: YAMNet's space, taught by mini.

    soundsearch models import yamnet DATA/yamnet/yamnet_classification_int8.tflite
    python -m benchmarks.distilling DATA

DATA holds ``esc50/labels.csv`` and ``esc50/audio/``: folds 1 to 3 of ESC-50. The head learns from
the unlabelled sound of two folds what the bundled encoder and head say of it, as ``soundsearch
train --teacher mini`` does with a penalty that it chooses, and is tested on the third, three times.

- best in five: how often the clip's best label by the teacher is among the five best by the head;
  of five: how many both share.
- L5: as in `benchmarks.encoder`, of labels of clips: a right class of AudioSet is among the five
  best. Beside it are the teacher's, and that of the head that comes with YAMNet.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.decode import read
from soundsearch_ingest.logmel import SILENT

from benchmarks.encoder import RIGHT
from soundsearch.labels.head import Head, HeadSpec, bundled_head, head_of, write_head
from soundsearch.labels.vocabulary import AUDIOSET
from soundsearch.learn.distilling import Moments, logits_of
from soundsearch.vectors import loudness_weights

Floats = NDArray[np.float32]

STRENGTHS = (0.003, 0.03, 0.3)
FOLDS = (1, 2, 3)
TOP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    with TemporaryDirectory() as temporary:
        compare(parser.parse_args().data / "esc50", Path(temporary))


def compare(folder: Path, temporary: Path) -> None:
    """Print how well heads agree with their teacher."""
    with open(folder / "labels.csv", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    pupil, teacher = encoders.load("yamnet"), encoders.load()
    both = encoders.SideBySide(pupil, teacher)
    heard = []
    for row in rows:
        sound = read(folder / "audio" / row["filename"])
        vectors, levels, _ = pipeline.embed_sound([sound], both, teacher.hop_seconds)
        kept = levels >= SILENT if (levels >= SILENT).any() else levels < SILENT
        heard.append((vectors[kept], loudness_weights(levels[kept])))
    folds = np.array([int(row["fold"]) for row in rows])
    own, width = head_of("yamnet", pupil.space), pupil.dimension
    if own is None:
        raise SystemExit("yamnet: expected a head beside it; import it again")
    head = bundled_head()
    inputs = [vectors[:, :width] for vectors, _ in heard]
    outputs = [vectors[:, width:] for vectors, _ in heard]
    shares = [weights for _, weights in heard]
    print(f"teacher L5 {right(rows, scored(head, outputs, shares)):.3f}, ", end="")
    print(f"YAMNet's own L5 {right(rows, scored(own, inputs, shares)):.3f}")
    wanted = scored(head, outputs, shares)
    for strength in STRENGTHS:
        found = np.zeros_like(wanted)
        for fold in FOLDS:
            moments = Moments(width, len(head.vocabulary))
            for clip in np.flatnonzero(folds != fold):
                logits = logits_of(head.scores(outputs[clip]))
                moments.add(inputs[clip].astype(np.float64), logits)
            weight, bias = (part.astype(np.float32) for part in moments.solved(strength))
            spec = HeadSpec(pupil.space, ((weight, bias),), AUDIOSET.names)
            path = temporary / "my.head"
            write_head(path, spec)
            tested = np.flatnonzero(folds == fold)
            parts = ([each[clip] for clip in tested] for each in (inputs, shares))
            found[tested] = scored(Head(path), *parts)
        best, shared = agreement(found, wanted)
        print(
            f"penalty {strength:<6} best in five {best:.3f}, of five {shared:.3f}, "
            f"L5 {right(rows, found):.3f}",
            flush=True,
        )


def scored(head: Head, vectors: list[Floats], shares: list[Floats]) -> Floats:
    """What a head makes of clips."""
    lengths = np.array([len(each) for each in vectors])
    starts = np.cumsum(lengths) - lengths
    return head.clip_scores(np.concatenate(vectors), np.concatenate(shares), starts)


def best_of(scores: Floats) -> NDArray[np.int64]:
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def agreement(found: Floats, wanted: Floats) -> tuple[float, float]:
    shared = (best_of(found)[:, None, :] == best_of(wanted)[:, :, None]).any(2)
    return float(shared[:, 0].mean()), float(shared.mean())


def right(rows: list[dict[str, str]], scores: Floats) -> float:
    """How often a right class is among the best, mean over the categories that have any."""
    found: dict[str, list[bool]] = {}
    for row, best in zip(rows, best_of(scores), strict=True):
        if row["category"] in RIGHT:
            names = {AUDIOSET.names[index] for index in best}
            kinds = set(RIGHT[row["category"]].split("|"))
            found.setdefault(row["category"], []).append(bool(names & kinds))
    return float(np.mean([np.mean(each) for each in found.values()]))


if __name__ == "__main__":
    main()
