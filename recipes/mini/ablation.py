"""What context, gates, each term of the loss and whitening are worth, on a trained body.

The body of a trained student stays as it is; all that is above it (context, projection, head) is
trained anew in each variant, on the same mixes, whose columns are made once. So the variants are
compared where the encoder is, not after a few minutes of a small one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as func
from numpy.typing import NDArray
from soundsearch_ingest.logmel import LOG_OFFSET, PATCH_FRAMES, levels, log_mel, patches
from torch import Tensor

from benchmarks import encoder

from .mixing import PIECES, ROW, Mixer, heard
from .model import Shape, Student, load_student
from .teacher import COLUMNS, WIDTH, Projection, Teacher
from .train import (
    Batch,
    Plan,
    batch_of,
    blend,
    descend,
    file_classes,
    listened,
    optimiser_of,
    prepare,
)
from .waves import open_store
from .whiten import whiten

Floats = NDArray[np.float32]

SHAPE = Shape()
PLAN = Plan(segments=240_000, rows=24, rate=2e-3)
VARIANTS = {
    "5 s of context (what ships)": (PLAN, SHAPE),
    "the same, seed 2": (replace(PLAN, seed=2), SHAPE),
    "no context": (PLAN, replace(SHAPE, dilations=(), around=0)),
    "2 s": (PLAN, replace(SHAPE, dilations=(1, 2), around=11)),
    "10 s": (PLAN, replace(SHAPE, dilations=(1, 2, 4, 8), around=61)),
    "5 s, four blocks": (PLAN, replace(SHAPE, dilations=(1, 1, 2, 4))),
    "5 s and gates": (PLAN, replace(SHAPE, gates=31)),
    "targets whitened by a quarter": (replace(PLAN, power=0.25), SHAPE),
    "targets not whitened": (replace(PLAN, power=0.0), SHAPE),
    **{
        f"no {term}": (replace(PLAN, without=(term,)), SHAPE)
        for term in ("value", "cosine", "relations", "scores")
    },
}
# Power, and whether it is the variance within a file that is whitened.
WHITENINGS = {
    "as it is": (0.0, True),
    "by a quarter, within a file": (0.25, True),
    "by a half, within a file": (0.5, True),
    "by a half, all variance": (0.5, False),
}
# Mixes to learn from, and others to measure on.
LEARNED, MEASURED = 6000, 600
# Seconds.
SEGMENT = 0.96


@dataclass
class Mixes:
    """Mixes as the body and the teacher hear them.

    Attributes
    ----------
    columns : float16 [n, top, 30, 1]
    slices : float16 [n, 10, 384]
        The teacher's.
    piece : int64 [n]
        Segments in each piece of a row.
    """

    columns: Tensor
    slices: NDArray[np.float16]
    piece: Tensor


def ablate(work: Path, data: Path, mn04: Path, trained: Path) -> None:
    """Train the variants (each once, kept) and print their figures.

    Parameters
    ----------
    work : Path
        Scratch folder with the wave store; runs/ablation/ is written.
    data : Path
        Folder with esc50/ and audioset/.
    mn04 : Path
        The teacher's ONNX file.
    trained : Path
        The folder of the run whose body is taken.
    """
    torch.set_num_threads(1)
    body = load_student(trained / "student.pt")
    run = work / "runs" / "ablation"
    projection = prepare(work, run, mn04, PLAN.seed)
    teacher = Teacher(mn04)
    store, classes = open_store(work), file_classes(work, mn04)
    mixes = [
        hear(body, teacher, Mixer(store, seed, classes=classes), run / name, count, seed)
        for name, count, seed in (("learned.pt", LEARNED, 1), ("measured.pt", MEASURED, 2))
    ]
    clips = encoder.read_clips(data / "esc50")
    names = encoder.class_names(data)
    for variant, (plan, shape) in VARIANTS.items():
        path = run / f"{variant.replace(' ', '-')}.pt"
        torch.manual_seed(plan.seed)
        student = Student(shape)
        student.body = body.body
        if path.exists():
            student.load_state_dict(torch.load(path, weights_only=True))
        else:
            student = fit(student, mixes[0], teacher, projection, plan)
            torch.save(student.state_dict(), path)
        student.eval().requires_grad_(False)
        ways = list(WHITENINGS.items())
        for way, (power, within) in ways if plan is PLAN and shape is SHAPE else ways[:1]:
            white = student
            if power:
                white = whiten(student, work, count=1024, power=power, within=within)
            embeddings, scores = encoder.pool(encode_with(white), clips.sounds)
            hits = float(np.mean(list(encoder.label_hits(scores, clips, names).values())))
            measures = encoder.retrieval(embeddings, clips) | {"L5": hits}
            if white is student:
                measures |= likeness(student, mixes[1], teacher, projection, plan.power)
            text = "  ".join(f"{name} {value:.3f}" for name, value in measures.items())
            print(f"{variant:30} {way:28} {text}", flush=True)


@torch.no_grad()
def hear(body: Student, teacher: Teacher, mixer: Mixer, path: Path, count: int, seed: int) -> Mixes:
    """Return so many mixes; they are kept in a file."""
    if path.exists():
        held = torch.load(path, weights_only=True)
        return Mixes(held["columns"], held["slices"].numpy(), held["piece"])
    random = torch.Generator().manual_seed(seed)
    columns = torch.zeros(count, body.shape.top, COLUMNS * ROW, 1, dtype=torch.float16)
    slices = torch.zeros(count, ROW, WIDTH, dtype=torch.float16)
    piece = torch.zeros(count, dtype=torch.int64)
    for row in range(count):
        mix = mixer.row()
        mel = torch.from_numpy(mix.mel).float().reshape(-1, mix.piece * PATCH_FRAMES, 64)
        found = body.columns(torch.log(heard(mel, random) + LOG_OFFSET))
        columns[row] = found.transpose(0, 1).reshape(body.shape.top, -1, 1)
        slices[row] = torch.from_numpy(listened(teacher, mix))
        piece[row] = mix.piece
    torch.save({"columns": columns, "slices": slices, "piece": piece}, path)
    return Mixes(columns, slices.numpy(), piece)


def fit(
    student: Student, mixes: Mixes, teacher: Teacher, projection: Projection, plan: Plan
) -> Student:
    """Train what is above the body; return the average."""
    random = torch.Generator().manual_seed(plan.seed)
    optimiser = optimiser_of((p for n, p in student.named_parameters() if "body" not in n), plan)
    average = copy.deepcopy(student)
    steps = plan.segments // (plan.rows * ROW)
    for step in range(steps):
        for group in optimiser.param_groups:
            warm = min(1.0, (step + 1) / 200)
            group["lr"] = plan.rate * warm * min(1.0, (1 - step / steps) / plan.fall + 0.005)
        first = int(torch.randint(len(mixes.piece), (1,), generator=random))
        same = torch.nonzero(mixes.piece == mixes.piece[first])[:, 0]
        rows = same[torch.randint(len(same), (plan.rows,), generator=random)]
        batch = drawn(mixes, rows, teacher, projection, plan.power)
        with torch.autocast("cpu", torch.bfloat16):
            features = student.among(batch.mel)
        descend(student.projection(features), student, batch, optimiser, plan)
        blend(average, student, min(plan.keep, (1 + step) / (10 + step)))
    return average


def drawn(
    mixes: Mixes, rows: Tensor, teacher: Teacher, projection: Projection, power: float
) -> Batch:
    """Return rows of one length of piece; in place of log-mel their columns."""
    piece = int(mixes.piece[rows[0]])
    found = mixes.columns[rows].float().unflatten(2, (-1, piece * COLUMNS))
    columns = found.transpose(1, 2).flatten(0, 1)
    return batch_of(columns, mixes.slices[rows.numpy()], piece, teacher, projection, power)


@torch.no_grad()
def likeness(
    student: Student, mixes: Mixes, teacher: Teacher, projection: Projection, power: float
) -> dict[str, float]:
    """Return the mean cosine to the teacher's slices, a figure for each length of piece."""
    found = {}
    for piece in PIECES:
        rows = torch.nonzero(mixes.piece == piece)[:, 0]
        batch = drawn(mixes, rows, teacher, projection, power)
        out = student.projection(student.among(batch.mel))
        cosine = func.cosine_similarity(out, batch.target, dim=2).mean()
        found[f"{piece * SEGMENT:.1f} s"] = cosine.item()
    return found


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
