"""What the seed, each term of the loss and the whitening are worth, on small students."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from soundsearch_ingest.logmel import PATCH_FRAMES, levels, log_mel, patches

from benchmarks import encoder

from .model import Shape, Student
from .train import Plan, load_student, train
from .whiten import whiten

Floats = NDArray[np.float32]

SHAPE = Shape(16, (32, 64, 96, 128), 256, 128)
PLAN = Plan(segments=150_000)
VARIANTS = {
    "all": (PLAN, SHAPE),
    "seed 2": (replace(PLAN, seed=2), SHAPE),
    "no context": (PLAN, replace(SHAPE, dilations=(), around=0)),
    "2 s of context": (PLAN, replace(SHAPE, dilations=(1, 2), around=11)),
    "10 s of context": (PLAN, replace(SHAPE, dilations=(1, 2, 4, 8), around=61)),
    "gates": (PLAN, replace(SHAPE, gates=15)),
    "targets whitened by a quarter": (replace(PLAN, power=0.25), SHAPE),
    "targets half-whitened": (replace(PLAN, power=0.5), SHAPE),
    **{
        f"no {term}": (replace(PLAN, without=(term,)), SHAPE)
        for term in ("value", "cosine", "relations", "scores")
    },
}
# Power, and whether it is the variance within a file that is whitened.
WHITENINGS = {
    "none": (0.0, True),
    "half, all variance": (0.5, False),
    "all variance": (1.0, False),
    "half, within a file": (0.5, True),
    "within a file": (1.0, True),
}


def ablate(work: Path, data: Path, mn04: Path) -> None:
    """Train the variants (each goes on where it was cut) and print their figures on ESC-50.

    Parameters
    ----------
    work : Path
        Scratch folder with the wave store; runs/ablation-* are written.
    data : Path
        Folder with esc50/ and audioset/.
    mn04 : Path
        The teacher's ONNX file.
    """
    clips = encoder.read_clips(data / "esc50")
    classes = encoder.class_names(data)
    for variant, (plan, shape) in VARIANTS.items():
        run = work / "runs" / f"ablation-{variant.replace(' ', '-')}"
        student = load_student(train(work, run, mn04, plan, shape))
        ways = WHITENINGS if variant == "all" else {"none": WHITENINGS["none"]}
        for way, (power, within) in ways.items():
            white = whiten(student, work, power=power, within=within)
            embeddings, scores = encoder.pool(encode_with(white), clips.sounds)
            hits = float(np.mean(list(encoder.label_hits(scores, clips, classes).values())))
            measures = encoder.retrieval(embeddings, clips) | {"L5": hits}
            text = "  ".join(f"{name} {value:.3f}" for name, value in measures.items())
            print(f"{variant:30} {way:20} {text}", flush=True)


def encode_with(student: Student) -> encoder.Encode:
    """Return the student, in float, as the benchmark takes encoders."""

    @torch.no_grad()
    def encode(sound: Floats) -> tuple[Floats, Floats, Floats]:
        mel = log_mel(sound)
        segments = patches(mel)
        whole = torch.from_numpy(mel[None, : len(segments) * PATCH_FRAMES])
        embeddings = student(whole)[0]
        scores = torch.sigmoid(student.head(embeddings))
        return embeddings.numpy(), scores.numpy(), levels(segments)

    return encode
