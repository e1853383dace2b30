"""Fit the map from texts to the encoder's space, on what the corpus calls its sounds.

A sound's text is the name of its file and of the folder around it, or the kind of a formula's
sound, without numbers and without words such as "sfx"; speech that is only said to be about
something, and sounds without a text, take no part. Sounds of one text count together, by the root
of their number.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import soundsearch
from soundsearch.labels import sentences
from soundsearch.labels.head import bundled_head
from soundsearch.labels.ontology import ontology
from soundsearch.vectors import loudness_weights, unit

RIDGE = 3e-4
LONGEST = 154_000
SPEECH = 0.5
NO_WORDS = re.compile(
    r"\b(sounds?|snd|sfx|audio|carved|rcc|data|fx|wav|ogg|desc|zip|cat|pk|pak|ck|misc|effects?)\b"
)

Floats = NDArray[np.float32]


def text_of(what: str, package: str) -> str:
    """What a sound is called; "" where that says nothing of it.

    Parameters
    ----------
    what : str
        Its path in the package, or the kind of a formula's sound.
    package : str
    """
    if "/" not in what:
        return "" if what.startswith("GM ") or package == "synth-speech" else what
    name = re.sub(r"\.\w+$", "", " ".join(what.split("/")[-2:]))
    name = re.sub(r"([a-z])([A-Z])", r"\1 \2", name)
    name = NO_WORDS.sub(" ", re.sub(r"[\d_\-.()+]+", " ", name).lower())
    return " ".join(name.split())


def sounds(waves: Path) -> tuple[list[str], Floats]:
    """The texts of the sounds in the wave store, and their pooled embeddings [n, 128]."""
    head, speech = bundled_head(), sorted(ontology().classes_below("Speech"))
    texts, pooled = [], []
    for listing in sorted(waves.glob("*.json")):
        samples = np.load(listing.with_suffix(".npy"), mmap_mode="r")
        at = 0
        for sound in json.loads(listing.read_text("utf-8")):
            wave = np.array(samples[at : at + min(sound["samples"], LONGEST)])
            at += sound["samples"]
            text = text_of(sound["what"], listing.stem)
            if not text:
                continue
            found = soundsearch.embed(wave, sample_rate=16_000)
            shares = loudness_weights(found.levels)
            mean = shares[None] @ found.vectors / shares.sum()
            if head.scores(mean)[0, speech].max() <= SPEECH or listing.stem == "synth-people":
                texts.append(text)
                pooled.append(mean[0])
    return texts, np.array(pooled, np.float32)


def fitted(texts: list[str], pooled: Floats) -> tuple[Floats, Floats]:
    """The weights [512, 128] of the ridge, and the middle of the texts [512]."""
    names, of_text = np.unique(texts, return_inverse=True)
    counts = np.bincount(of_text)
    goals = np.zeros((len(names), pooled.shape[1]))
    np.add.at(goals, of_text, unit(pooled))
    goals = unit((goals / counts[:, None]).astype(np.float32)).astype(np.float64)
    shares = np.sqrt(counts) / np.sqrt(counts).sum()
    vectors = sentences.embedded(names.tolist()).mean(axis=0).astype(np.float64)
    middle = shares @ vectors
    vectors -= middle
    goals -= shares @ goals
    weighted = vectors * shares[:, None]
    weights = np.linalg.solve(
        weighted.T @ vectors + RIDGE * np.eye(vectors.shape[1]), weighted.T @ goals
    )
    print(f"{len(texts)} sounds of {len(names)} texts")
    return weights.astype(np.float32), middle.astype(np.float32)


def main() -> None:
    """Write the map; the wave store is made by ``python -m recipes.mini``."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="the recipe's scratch folder")
    parser.add_argument("--out", type=Path, default=Path("soundsearch/labels/words.npz"))
    options = parser.parse_args()
    weights, middle = fitted(*sounds(options.work / "waves"))
    sentences.write_map(options.out, bundled_head().space, weights, middle)


if __name__ == "__main__":
    main()
