"""Command line of the recipe: each step by itself, all of them, or a miniature."""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks import encoder

from . import (
    ablation,
    calibrate,
    card,
    corpus,
    export,
    gpu,
    packing,
    reference,
    synth,
    train,
    waves,
    whiten,
)
from .model import Shape, load_student
from .teacher import load_projection

STEPS = (
    "fetch",
    "unpack",
    "synth",
    "waves",
    "train",
    "whiten",
    "calibrate",
    "export",
    "evaluate",
    "card",
)
OTHERS = ("all", "miniature", "ablate", "pack", "receive")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    top = argparse.ArgumentParser(prog="python -m recipes.mini", description=__doc__)
    top.add_argument("step", choices=(*STEPS, *OTHERS))
    top.add_argument("--work", type=Path, required=True, help="scratch folder (30 GB for all)")
    top.add_argument(
        "--data", type=Path, required=True, help="folder with mn04/, audioset/ and esc50/"
    )
    top.add_argument("--run", default="main", help="name of the training run")
    top.add_argument("--segments", type=int, default=6_000_000, help="segments to train on")
    top.add_argument("--rate", type=float, default=2e-3, help="peak learning rate")
    top.add_argument("--workers", type=int, default=2, help="training processes")
    top.add_argument("--reuse", type=int, default=4, help="times that a mix is used")
    top.add_argument("--seed", type=int, default=1)
    top.add_argument("--start", type=Path, help="ONNX file of an earlier mini to begin with")
    top.add_argument("--device", default="", help="cuda: train there, for --seconds")
    top.add_argument("--seconds", type=float, default=600.0, help="time to train on a device")
    top.add_argument("--rounded", action="store_true", help="the same, activations in 8 bits")
    top.add_argument("--power", type=float, default=whiten.POWER, help="1 whitens fully")
    top.add_argument(
        "--model", type=Path, default=Path("ingest/soundsearch_ingest/encoders/mini.onnx")
    )
    top.add_argument("--head", type=Path, default=Path("soundsearch/labels/mini.npz"))
    top.add_argument(
        "--card", type=Path, default=Path("ingest/soundsearch_ingest/encoders/mini.md")
    )
    top.add_argument("--every", type=int, default=1, help="robustness on every so-many-th clip")
    return top


class Recipe:
    """The steps, with what the command line says."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.o = options
        self.mn04 = options.data / "mn04" / "mn04.onnx"
        self.class_map = options.data / "audioset" / "class_labels_indices.csv"
        self.run = options.work / "runs" / options.run
        self.plan = train.Plan(
            segments=options.segments,
            rate=options.rate,
            workers=options.workers,
            reuse=options.reuse,
            seed=options.seed,
        )
        self.shape, self.rows, self.share = Shape(), 3000, 1.0

    def fetch(self) -> None:
        """Download the corpus packages."""
        failed = corpus.fetch(self.o.work, corpus.packages())
        print("not downloaded:", " ".join(failed) or "none")

    def unpack(self) -> None:
        """Take the sounds out of the packages."""
        corpus.unpack(self.o.work, corpus.packages())

    def synth(self, engines: bool = True) -> None:
        """Write the synthetic sounds."""
        synth.synthesise(self.o.work, self.o.seed, self.share, engines)

    def waves(self) -> None:
        """Decode the corpus."""
        waves.build(self.o.work)

    def train(self) -> None:
        """Train, or go on with a run that was cut."""
        if self.o.device:
            # These fill a large GPU that 15 processes mix for.
            plan = replace(self.plan, rows=192, pool=60_000, fall=0.6, keep=0.999)
            device = torch.device(self.o.device)
            gpu.train(
                self.o.work, self.run, self.mn04, plan, self.shape, self.o.seconds, device,
                self.o.rounded,
            )  # fmt: skip
            return
        train.train(self.o.work, self.run, self.mn04, self.plan, self.shape, self.o.start)

    def pack(self) -> None:
        """Code a part of the wave store, small enough to be sent to another machine."""
        packing.pack(self.o.work, self.mn04)

    def receive(self) -> None:
        """Decode what was packed elsewhere."""
        packing.receive(self.o.work)

    def whiten(self) -> None:
        """Whiten the newest checkpoint's embedding."""
        checkpoint = self.run / "student.pt"
        student = load_student(checkpoint)
        white = whiten.whiten(student, self.o.work, count=self.rows, power=self.o.power)
        whiten.save(white, self.run / "white.pt", checkpoint)

    def calibrate(self) -> None:
        """Fit the head's scores to the teacher's."""
        student = whiten.load(self.run / "white.pt")
        classes = encoder.class_names(self.o.data)
        projection = load_projection(self.run / "teacher.npz")
        calibrated = calibrate.calibrate(
            student, self.o.work, self.mn04, projection, classes, rows=self.rows
        )
        whiten.save(calibrated, self.run / "calibrated.pt", self.run / "white.pt")

    def export(self) -> None:
        """Write the ONNX file and the head."""
        student = whiten.load(self.run / "calibrated.pt")
        space = export.space_of(student, self.run / "space.json")
        for path in (self.o.model, self.o.head):
            path.parent.mkdir(parents=True, exist_ok=True)
        export.to_onnx(student, self.o.model, space, export.calibration(self.o.work))
        export.to_head(student, self.o.head, space, self.class_map)
        print(f"{self.o.model}: space {space}")

    def evaluate(self) -> None:
        """Measure the exported files; needs ESC-50."""
        beside = reference.teachers(self.mn04, self.run / "teacher.npz")
        figures = encoder.measure(self.o.data, self.o.model, self.o.head, self.o.every, beside)
        (self.run / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
        encoder.show(figures)

    def card(self) -> None:
        """Write the model card from the run's records."""
        self.o.card.write_text(card.card(self.o.work, self.run), "utf-8")

    def all(self) -> None:
        """Do every step."""
        for step in STEPS:
            start = time.monotonic()
            getattr(self, step)()
            print(f"{step}: {time.monotonic() - start:.0f} s", flush=True)

    def ablate(self) -> None:
        """Measure what context, gates, the terms of the loss and the whitening are worth."""
        ablation.ablate(self.o.work, self.o.data, self.mn04, self.run)

    def miniature(self) -> None:
        """Do the steps on a few formula sounds with a tiny student, in under five minutes."""
        self.shape = Shape(8, (16, 24, 32, 48), 64, 32, (1,), 5)
        self.rows, self.share = 208, 0.04
        self.plan = train.Plan(9_600, 12, 120, 2, workers=1)
        self.run = self.o.work / "runs" / "miniature"
        out = self.o.work / "miniature"
        self.o.model, self.o.head = out / "mini.onnx", out / "mini.npz"
        self.synth(engines=False)
        for step in ("waves", "train", "whiten", "calibrate", "export"):
            getattr(self, step)()
        encode = encoder.student(self.o.model, self.o.head)
        for name, sound in encoder.signals().items():
            embedding, scores = encoder.pool(encode, [sound])
            if not (np.isfinite(embedding).all() and np.isfinite(scores).all()):
                raise SystemExit(f"{name}: the embedding or the scores are not finite")
        print(encoder.speed(self.o.model))


def main() -> None:
    """Run the step named on the command line."""
    recipe = Recipe(parser().parse_args())
    getattr(recipe, recipe.o.step)()


if __name__ == "__main__":
    main()
