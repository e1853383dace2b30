"""Ingesting with VGGish, compared with the bare network and the loop in its documentation.

    pip install -e '.[openvino,vggish]' librosa
    python -m benchmarks.vggish [--files 400]

For five-second FLACs (44.1 kHz stereo), with random weights of VGGish's shapes, in seconds of
sound per second, on all cores that this process may use:

network    the network on precomputed patches, fp32, bf16 and int8
decoding   files to mono 16 kHz, nothing else
labels     the bundled encoder and head alone, which run beside VGGish
allowed    the rate of network, decoding and labels together if everything else took no time
ingest     the whole path into a library, including opening the network, and its share of the
           network's rate and of `allowed`
loop       librosa.load, then the SavedModel called through tensorflow_hub, file by file

and how near the loop's embeddings are to ours (cosine, mean and worst).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from soundsearch_ingest import encoders, pipeline

import soundsearch
from benchmarks.ingest import decoding_alone, make_flacs
from benchmarks.standins import random_weights, save_module
from soundsearch import models
from soundsearch.labels.head import bundled_head
from soundsearch.labels.predict import predict

PATCH_SECONDS = 0.96
ROUNDS = 3


def seconds_for(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def network(name: str, patches: np.ndarray) -> float:
    """The rate of the bare network, all cores in one call."""
    encoder = encoders.load(name, pipeline.available_cores())
    batches = np.array_split(patches, len(patches) // 32)
    encoder.embed(batches[0])
    taken = seconds_for(lambda: [encoder.embed(batch) for batch in batches])
    return len(patches) * PATCH_SECONDS / taken


def loop(folder: Path, module: Path) -> dict[str, np.ndarray]:
    """Embed every file as in the module's documentation."""
    import librosa
    import tensorflow_hub as hub

    model = hub.load(str(module))
    return {
        str(path): model(librosa.load(path, sr=16_000)[0]).numpy()
        for path in sorted(folder.iterdir())
    }


def labelling(patches: np.ndarray) -> float:
    """The rate of labelling, which runs beside VGGish."""
    encoder = encoders.load(threads=pipeline.available_cores())
    levels = np.zeros(len(patches), np.float32)
    taken = seconds_for(lambda: predict(bundled_head(), [(encoder.embed(patches), levels)], 5, 10))
    return len(patches) * PATCH_SECONDS / taken


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=400)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        os.environ["SOUNDSEARCH_MODELS"] = str(root / "models")
        (root / "sound").mkdir()
        seconds = make_flacs(root / "sound", options.files / 2000)
        save_module(random_weights(0), root / "module")
        patches = np.random.default_rng(0).normal(-2, 2, (256, 96, 64)).astype(np.float32)
        print(f"{pipeline.available_cores()} cores, {seconds:.0f} s of sound")
        decoding = seconds / seconds_for(lambda: decoding_alone(root / "sound"))
        labels = labelling(patches)
        print(f"decoding {decoding:.0f}, labels {labels:.0f}")
        stored: dict[str, np.ndarray] = {}
        for precision in models.PRECISIONS:
            audio = [root / "sound"] if precision == "int8" else []
            facts = models.import_model("vggish", root / "module", precision=precision, audio=audio)
            rates: list[tuple[float, float]] = []
            for number in range(ROUNDS):
                with soundsearch.open(root / f"{precision}-{number}", encoder="vggish") as lib:
                    taken = seconds_for(partial(lib.ingest, [root / "sound"]))
                    stored = stored or {clip.uri: lib.vectors(clip.uri) for clip in lib}
                rates.append((network("vggish", patches), seconds / taken))
            bare, whole = np.median(rates, axis=0)
            allowed = 1 / (1 / bare + 1 / decoding + 1 / labels)
            print(
                f"{precision}: network {bare:.0f}, allowed {allowed:.0f}, ingest {whole:.0f}"
                f" ({whole / bare:.2f} of the network, {whole / allowed:.2f} of allowed)"
                + (
                    f", cosine to fp32 {facts['cosine_mean']:.5f}" if "cosine_mean" in facts else ""
                ),
                flush=True,
            )
        found: dict[str, np.ndarray] = {}
        taken = seconds_for(lambda: found.update(loop(root / "sound", root / "module")))
        print(f"loop: {seconds / taken:.0f}, including loading the module")
        cosines = np.concatenate([cosine(found[uri], ours) for uri, ours in stored.items()])
        print(f"cosine of its embeddings to ours: {cosines.mean():.5f}, worst {cosines.min():.5f}")


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(other, axis=1)
    cosines: np.ndarray = np.sum(one * other, axis=1) / norms
    return cosines


if __name__ == "__main__":
    main()
