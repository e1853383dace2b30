"""What the seed, each term of the loss and the whitening are worth, on small students."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import encoder

from .model import Shape, Student
from .train import Plan, load_student, train
from .whiten import whiten

Floats = NDArray[np.float32]

SHAPE = Shape(16, (32, 64, 96, 128), 256)
PLAN = Plan(patches=150_000, reuse=4)
VARIANTS = {
    "all": PLAN,
    "seed 2": replace(PLAN, seed=2),
    **{
        f"no {term}": replace(PLAN, without=(term,))
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


def ablate(work: Path, data: Path, yamnet: Path) -> None:
    """Train the variants (each goes on where it was cut) and print their figures on ESC-50.

    Parameters
    ----------
    work : Path
        Scratch folder with the mel store; runs/ablation-* are written.
    data : Path
        Folder with esc50/ and audioset/.
    yamnet : Path
        The teacher's TFLite file.
    """
    clips = encoder.read_clips(data / "esc50")
    classes = encoder.class_names(data)
    print(f"{'loss':20} {'whitening':20} P@1   mAP   L5")
    for variant, plan in VARIANTS.items():
        run = work / "runs" / f"ablation-{variant.replace(' ', '-')}"
        student = load_student(train(work, run, yamnet, plan, SHAPE))
        ways = WHITENINGS if variant == "all" else {"within a file": WHITENINGS["within a file"]}
        for way, (power, within) in ways.items():
            white = whiten(student, work, power=power, within=within)
            embeddings, scores = encoder.pool(encode_with(white), clips.sounds)
            first, mean = encoder.retrieval(embeddings, clips)
            hits = float(np.mean(list(encoder.label_hits(scores, clips, classes).values())))
            print(f"{variant:20} {way:20} {first:.3f} {mean:.3f} {hits:.3f}", flush=True)


def encode_with(student: Student) -> encoder.Encode:
    """Return the student, in float, as the benchmark takes encoders."""

    @torch.no_grad()
    def encode(batch: Floats) -> tuple[Floats, Floats]:
        embeddings = student(torch.from_numpy(batch))
        return embeddings.numpy(), torch.sigmoid(student.head(embeddings)).numpy()

    return encode
