"""The mel store: magnitudes of all corpus sound, computed once, float16 [frames, 64]."""

from __future__ import annotations

import concurrent.futures
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from soundsearch_ingest.logmel import BANDS, mel_magnitudes

from .containers import suffix
from .sounds import load

MIN_FRAMES = 8
SKIPPED = {".mid", ".midi", ".json"}
SLOW = {".g722", ".gsm", ".wv"}
MAX_SLOW = 250


def store_one(work: Path, name: str) -> int:
    """Compute the mel frames of one folder of `work`/audio; return how many files it holds.

    Parameters
    ----------
    work : Path
        The scratch folder.
    name : str
        A folder of `work`/audio: a package or a synthetic source.

    Returns
    -------
    int
        Sound files stored in `work`/mels/<name>.npz.
    """
    target = work / "mels" / f"{name}.npz"
    if target.exists():
        with np.load(target) as done:
            return len(done["lengths"])
    target.parent.mkdir(parents=True, exist_ok=True)
    mels, names, slow = [], [], 0
    for path in sorted((work / "audio" / name).iterdir()):
        slow += suffix(path.name) in SLOW
        if suffix(path.name) in SKIPPED or (suffix(path.name) in SLOW and slow > MAX_SLOW):
            continue
        samples = load(path)
        if not np.isfinite(samples).all():
            continue
        mel = mel_magnitudes(np.clip(samples, -1.0, 1.0), scipy.fft.rfft)
        if len(mel) >= MIN_FRAMES and mel.max() > 1e-3:
            mels.append(np.minimum(mel, 60000.0).astype(np.float16))
            names.append(path.name)
    frames = np.concatenate(mels) if mels else np.zeros((0, BANDS), np.float16)
    lengths = np.array([len(mel) for mel in mels], np.int64)
    temporary = target.with_suffix(".tmp.npz")
    np.savez(temporary, frames=frames, lengths=lengths, names=np.array(names, "U40"))
    os.replace(temporary, target)
    return len(lengths)


def build(work: Path, jobs: int = 2) -> None:
    """Compute the mel store of every complete folder of `work`/audio."""
    names = sorted(path.parent.name for path in (work / "audio").glob("*/package.json"))
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(store_one, work, name): name for name in names}
        for future in concurrent.futures.as_completed(futures):
            print("mels", futures[future], future.result(), flush=True)


@dataclass
class Store:
    """All mel frames in one array, and where each file lies in it.

    Attributes
    ----------
    frames : float16 [n, 64]
    starts, lengths : int64 [files]
    groups : int64 [files]
        Index into `names`.
    names : list of str
        Packages and synthetic sources.
    """

    frames: NDArray[np.float16]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    groups: NDArray[np.int64]
    names: list[str]

    def hours(self) -> NDArray[np.float64]:
        """Return the hours of sound of each package."""
        return np.bincount(self.groups, self.lengths, len(self.names)) / 360000.0

    def weights(self) -> NDArray[np.float64]:
        """Return the drawing weight of each package: sqrt(hours x sqrt(files))."""
        files = np.bincount(self.groups, minlength=len(self.names))
        weight = np.sqrt(self.hours() * np.sqrt(files))
        return weight / weight.sum()


def open_store(work: Path) -> Store:
    """Read every part of the mel store into memory."""
    frames, lengths, groups = [], [], []
    names: list[str] = []
    for path in sorted((work / "mels").glob("*.npz")):
        if path.name.endswith(".tmp.npz"):
            continue
        with np.load(path) as part:
            if not len(part["lengths"]):
                continue
            groups.append(np.full(len(part["lengths"]), len(names)))
            frames.append(part["frames"])
            lengths.append(part["lengths"])
            names.append(path.stem)
    length = np.concatenate(lengths)
    starts = np.concatenate(([0], np.cumsum(length)[:-1]))
    return Store(np.concatenate(frames), starts, length, np.concatenate(groups), names)
