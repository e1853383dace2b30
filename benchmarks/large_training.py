"""Training at AudioSet's size: made-up clips of all 527 classes, through the command."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from soundsearch_ingest.audioset import Record, write_records

from soundsearch.learn.bags import Bags
from soundsearch.learn.linear import objective

__all__ = ["measure", "passes"]

CLASSES, SEGMENTS, DIMENSION = 527, 10, 128
CLIPS_PER_FILE = 5_000


def made_up(clips: int) -> Iterator[Record]:
    """Records of ten seconds with one to three labels, of which some of the seconds tell.

    Classes are as unevenly common as in AudioSet; the rarest has about sixty clips of 20,000.
    """
    random = np.random.default_rng(0)
    centres = random.normal(0, 45, (CLASSES, DIMENSION))
    common = 1 / np.arange(1, CLASSES + 1) ** 0.6
    common /= common.sum()
    for number in range(clips):
        labels = random.choice(CLASSES, random.integers(1, 4), replace=False, p=common)
        heard = random.random((SEGMENTS, len(labels))) < 0.5
        rows = 128 + heard @ centres[labels] + random.normal(0, 30, (SEGMENTS, DIMENSION))
        features = np.clip(rows, 0, 255).astype(np.uint8)
        yield Record(f"made-{number:06}", 0.0, 10.0, tuple(labels.tolist()), features)


def measure(clips: int) -> None:
    """Print how long `soundsearch train` takes for such a library, and what it needs."""
    print(f"\n{clips:,} clips of {SEGMENTS} segments: seconds, peak memory, mAP", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        library, records = Path(folder, "l"), made_up(clips)
        files = [Path(folder, f"{at:06}.tfrecord") for at in range(0, clips, CLIPS_PER_FILE)]
        for file in files:
            write_records(file, islice(records, CLIPS_PER_FILE))
        _timed("ingest", *map(str, files), "--library", str(library))
        for pooling in ("mean", "attention", "max"):
            page = Path(folder, "page.html")
            options = ["--human", "--out", f"{folder}/h", "--report", str(page), "--folds", "3"]
            options += ["--min-clips", "10"]
            took = _timed("train", "--library", str(library), "--pooling", pooling, *options)
            print(f"{pooling:9}  {took}, page {page.stat().st_size / 1e3:.0f} kB", flush=True)


def passes(clips: int) -> None:
    """Print how long the loss and its gradient take once."""
    random = np.random.default_rng(0)
    count = clips * SEGMENTS
    bags = Bags(
        random.normal(size=(count, DIMENSION)),
        np.full(count, 1 / SEGMENTS),
        np.arange(0, count, SEGMENTS),
        (random.random((clips, CLASSES)) < 0.005).astype(np.float64),
        np.ones((clips, 1)),
    )
    for pooling in ("mean", "attention", "max"):
        value = objective(bags, "sigmoid", pooling, 0.01)
        more = DIMENSION if pooling == "attention" else 0
        parameters = random.normal(0, 0.1, CLASSES * (DIMENSION + 1) + more)
        began = time.process_time()
        value(parameters)
        print(f"{pooling:9}  {time.process_time() - began:.2f} s a pass", flush=True)


def _timed(*arguments: str) -> str:
    """Run a command of soundsearch; how long it took, what it needed and the mAP it told."""
    began = time.monotonic()
    with tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "soundsearch", *arguments]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0)
        told = [line.split()[1] for line in output if line.startswith("mAP")]
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return f"{time.monotonic() - began:.0f} s, {usage.ru_maxrss / 1e6:.2f} GB, mAP {' '.join(told)}"
