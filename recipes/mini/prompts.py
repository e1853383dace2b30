"""Whether a spoken prompt is told from hundreds of others by the same voice, after a change.

    python -m recipes.mini.prompts --work SCRATCH [--model FILE ...]

The prompts are Asterisk's English ones, which are in the corpus: this is about near-identical
sounds, not about new ones. 120 of those of a second and more are changed; each is asked for
among all.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.decode import SAMPLE_RATE

from benchmarks.duplicates import encoded
from benchmarks.encoder import HEAD, MODEL, pool, student
from soundsearch.vectors import unit

from .waves import open_store

Floats = NDArray[np.float32]

PACKAGE = "asterisk-core-sounds-en-g722"
CHANGED = 120


def opus(sound: Floats) -> Floats:
    """Opus at 24 kbit/s."""
    return encoded(sound, "libopus", "ogg", 48_000, 24_000)


def cut(sound: Floats) -> Floats:
    """Half a second less at the front."""
    return sound[SAMPLE_RATE // 2 :]


def higher(sound: Floats) -> Floats:
    """5 % more pitch, at the same speed."""
    from librosa.effects import pitch_shift

    shifted: Floats = pitch_shift(sound, sr=SAMPLE_RATE, n_steps=12 * np.log2(1.05))
    return shifted.astype(np.float32)


CHANGES: tuple[Callable[[Floats], Floats], ...] = (opus, cut, higher)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="scratch folder of the recipe")
    parser.add_argument("--model", type=Path, nargs="*", default=[MODEL])
    options = parser.parse_args()
    store = open_store(options.work)
    [prompts] = np.nonzero(store.groups == store.names.index(PACKAGE))
    sounds = [store.read(int(prompt)) for prompt in prompts]
    long = [at for at, sound in enumerate(sounds) if len(sound) >= SAMPLE_RATE]
    chosen = np.random.default_rng(0).choice(long, CHANGED, replace=False)
    for model in options.model:
        encode = student(model, HEAD)
        known = unit(pool(encode, sounds)[0])
        for change in CHANGES:
            asked = unit(pool(encode, [change(sounds[at]) for at in chosen])[0])
            first = int(((asked @ known.T).argmax(1) == chosen).sum())
            print(f"{model}: {change.__doc__} {first} of {CHANGED} come first", flush=True)


if __name__ == "__main__":
    main()
