"""The wave store: all corpus sound as mono 16 kHz, 16 bits, and where each sound is from."""

from __future__ import annotations

import concurrent.futures
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from .containers import suffix
from .sounds import RATE, load

SHORTEST = 0.04
SKIPPED = {".mid", ".midi", ".json"}
SLOW = {".g722", ".gsm", ".wv"}
MAX_SLOW = 250

Floats = NDArray[np.float32]


def store_one(work: Path, name: str) -> int:
    """Decode one folder of `work`/audio; return how many sounds it holds.

    Parameters
    ----------
    work : Path
        The scratch folder.
    name : str
        A folder of `work`/audio: a package or a synthetic source.

    Returns
    -------
    int
        Sounds in `work`/waves/<name>.npy, each at full scale. The .json file beside it lists
        them: file, what it is (its path in the package, or how it was made), samples.
    """
    folder, waves = work / "audio" / name, work / "waves"
    listing = waves / f"{name}.json"
    if listing.exists():
        return len(json.loads(listing.read_text("utf-8")))
    waves.mkdir(parents=True, exist_ok=True)
    what = json.loads((folder / "package.json").read_text("utf-8"))["sounds"]
    parts, sounds, slow = [], [], 0
    for path in sorted(folder.iterdir()):
        slow += suffix(path.name) in SLOW
        if suffix(path.name) in SKIPPED or (suffix(path.name) in SLOW and slow > MAX_SLOW):
            continue
        samples = load(path)
        peak = float(np.abs(samples).max()) if len(samples) >= SHORTEST * RATE else 0.0
        if not np.isfinite(peak) or peak < 1e-3:
            continue
        parts.append(np.round(samples * (32767 / peak)).astype(np.int16))
        sounds.append({"file": path.name, "what": what[path.name], "samples": len(samples)})
    np.save(waves / f"{name}.npy", np.concatenate(parts) if parts else np.zeros(0, np.int16))
    temporary = listing.with_suffix(".tmp")
    temporary.write_text(json.dumps(sounds, indent=0) + "\n", "utf-8")
    os.replace(temporary, listing)
    return len(sounds)


def build(work: Path, jobs: int = 2) -> None:
    """Decode every complete folder of `work`/audio."""
    names = sorted(path.parent.name for path in (work / "audio").glob("*/package.json"))
    with concurrent.futures.ProcessPoolExecutor(jobs) as pool:
        futures = {pool.submit(store_one, work, name): name for name in names}
        for future in concurrent.futures.as_completed(futures):
            print("waves", futures[future], future.result(), flush=True)


@dataclass
class Store:
    """All sounds, and where each lies.

    Attributes
    ----------
    waves : list of int16 [n]
        One memory-mapped array for each package or synthetic source.
    names : list of str
        Theirs.
    groups, starts, lengths : int64 [sounds]
        Which array a sound lies in, and its samples there.
    files : list of str
        The sounds' files.
    """

    waves: list[NDArray[np.int16]]
    names: list[str]
    groups: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]
    files: list[str]

    def hours(self) -> NDArray[np.float64]:
        """Return the hours of sound of each package."""
        return np.bincount(self.groups, self.lengths, len(self.names)) / (3600.0 * RATE)

    def weights(self) -> NDArray[np.float64]:
        """Return the drawing weight of each package: sqrt(hours x sqrt(sounds))."""
        sounds = np.bincount(self.groups, minlength=len(self.names))
        weight = np.sqrt(self.hours() * np.sqrt(sounds))
        return weight / weight.sum()

    def read(self, sound: int, at: int = 0, samples: int | None = None) -> Floats:
        """Return a stretch of a sound, float32 in [-1, 1]."""
        length = int(self.lengths[sound])
        end = length if samples is None else min(length, at + samples)
        start = int(self.starts[sound])
        cut = self.waves[self.groups[sound]][start + at : start + end]
        return cut.astype(np.float32) / np.float32(32768)


def open_store(work: Path) -> Store:
    """Map every complete part of the wave store."""
    names: list[str] = []
    files: list[str] = []
    waves, groups, starts, lengths = [], [], [], []
    for listing in sorted((work / "waves").glob("*.json")):
        sounds = json.loads(listing.read_text("utf-8"))
        if not sounds:
            continue
        length = np.array([sound["samples"] for sound in sounds], np.int64)
        groups.append(np.full(len(length), len(names)))
        starts.append(np.concatenate(([0], np.cumsum(length)[:-1])))
        lengths.append(length)
        waves.append(np.load(listing.with_suffix(".npy"), mmap_mode="r"))
        names.append(listing.stem)
        files += [sound["file"] for sound in sounds]
    return Store(
        waves, names, np.concatenate(groups), np.concatenate(starts), np.concatenate(lengths), files
    )
