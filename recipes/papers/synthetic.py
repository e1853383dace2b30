"""Made-up AudioSet features, where the released ones are not at hand: their form, not their sound.

A class is a direction, near those of its ontology parents, with three variants. It sounds for a
part of the ten seconds only, briefly or all along as is its habit, over what is alike in the
whole recording and noise. Labels tell which classes sound, not when.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.audioset import Record, read_list
from soundsearch_ingest.postprocess import quantise

from soundsearch.labels.ontology import CLASSES, ontology

__all__ = ["SECONDS", "drawn_labels", "listed_labels", "records"]

SECONDS, SIZE = 10, 128
_VARIANTS = 3
_HABITS = (1, 2, 4, 10)
# Lengths of vectors whose every value would have the deviation 1 at sqrt(128).
_CLASS, _VARIANT, _RECORDING, _NOISE = 6.0, 4.0, 6.0, 9.0
_WORLD = 20_170_306


def listed_labels(path: Path) -> list[tuple[int, ...]]:
    """The class indices of the clips of a segment list, in its order."""
    nodes = ontology().nodes
    found = []
    for clip in read_list(path):
        indices = {nodes[mid].class_index for mid in clip.mids if mid in nodes}
        found.append(tuple(sorted(index for index in indices if index is not None)))
    return found


def drawn_labels(clips: int, seed: int) -> list[tuple[int, ...]]:
    """Labels without a list: one to three classes, the first ones often, the last ones rarely."""
    rng = np.random.default_rng([seed, clips])
    shares = 1 / np.arange(3, CLASSES + 3)
    shares /= shares.sum()
    return [
        tuple(sorted(rng.choice(CLASSES, rng.integers(1, 4), replace=False, p=shares).tolist()))
        for _ in range(clips)
    ]


def records(labels: Iterable[tuple[int, ...]], seed: int, name: str) -> Iterator[Record]:
    """Make a record for each clip's labels; `seed` and `name` decide all but the classes."""
    classes = _directions()
    habits = np.random.default_rng(_WORLD + 1).choice(_HABITS, CLASSES)
    rng = np.random.default_rng([seed, *name.encode()])
    scale = 1 / np.sqrt(SIZE)
    for number, indices in enumerate(labels):
        sound = rng.normal(0, _RECORDING * scale, SIZE) + rng.normal(
            0, _NOISE * scale, (SECONDS, SIZE)
        )
        for index in indices:
            length = int(np.clip(rng.poisson(habits[index]), 1, SECONDS))
            start = rng.integers(0, SECONDS - length + 1)
            level = rng.lognormal(0, 0.3)
            sound[start : start + length] += level * classes[index, rng.integers(_VARIANTS)]
        codes = quantise(sound.astype(np.float32))
        yield Record(f"{name}-{number:07}", 0.0, float(SECONDS), indices, codes)


def _directions() -> NDArray[np.float64]:
    """The same for every seed: float64 [classes, variants, 128]."""
    rng = np.random.default_rng(_WORLD)
    nodes = ontology().nodes
    own = {mid: rng.normal(0, 1, SIZE) for mid in sorted(nodes)}
    found = np.empty((CLASSES, _VARIANTS, SIZE))
    for node in ontology().classes:
        above = [own[mid] for mid in sorted(ontology().ancestors(node.mid))]
        direction = own[node.mid] + (np.mean(above, 0) if above else 0)
        variants = rng.normal(0, 1, (_VARIANTS, SIZE))
        found[node.class_index] = _CLASS * direction / np.linalg.norm(direction)
        found[node.class_index] += (
            _VARIANT * variants / np.linalg.norm(variants, axis=1, keepdims=True)
        )
    return found
