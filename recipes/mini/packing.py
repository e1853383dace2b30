"""Send a part of the wave store to another machine, as Opus."""

from __future__ import annotations

import concurrent.futures
import json
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

from .sounds import RATE
from .train import file_classes
from .waves import Store, open_store

# The most of a sound and of a package, seconds; silence between sounds, samples.
SOUND, PACKAGE, GAP = 20, 3600, 320
BITRATE = "18k"


def pack(work: Path, mn04: Path, jobs: int = 2) -> None:
    """Write `work`/packed: for each package an Ogg Opus file and a list of what is in it.

    Sounds are taken in random order until an hour of a package is there, and at most 20 s of
    each, from a random place.

    Parameters
    ----------
    work : Path
        Scratch folder with the wave store.
    mn04 : Path
        The teacher, which gives each sound a class where that is not done yet.
    jobs : int
        Coders at once.
    """
    (work / "packed").mkdir(exist_ok=True)
    classes, store = file_classes(work, mn04), open_store(work)
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        list(pool.map(partial(_pack_one, work, store, classes), range(len(store.names))))


def _pack_one(work: Path, store: Store, classes: NDArray[np.int64], group: int) -> None:
    random = np.random.default_rng(group)
    parts, listing, left = [], [], PACKAGE * RATE
    for sound in random.permutation(np.flatnonzero(store.groups == group)):
        length = min(int(store.lengths[sound]), SOUND * RATE)
        if length > left:
            continue
        left -= length
        start = int(store.starts[sound])
        start += int(random.integers(0, int(store.lengths[sound]) - length + 1))
        parts += [store.waves[group][start : start + length], np.zeros(GAP, np.int16)]
        listing.append(
            {"file": store.files[sound], "samples": length, "class": int(classes[sound])}
        )
    path = work / "packed" / f"{store.names[group]}.opus"
    coder = "ffmpeg -loglevel error -y -f s16le -ar 16000 -ac 1 -i - -c:a libopus"
    options = ["-b:a", BITRATE, "-compression_level", "5", str(path)]
    subprocess.run([*coder.split(), *options], input=np.concatenate(parts).tobytes(), check=True)
    path.with_suffix(".json").write_text(json.dumps(listing), "utf-8")


def receive(work: Path) -> None:
    """Make a wave store, and the classes of its sounds, of `work`/packed."""
    (work / "waves").mkdir(exist_ok=True)
    paths = sorted((work / "packed").glob("*.opus"))
    with concurrent.futures.ProcessPoolExecutor() as pool:
        list(pool.map(partial(_receive_one, work), paths))
    classes = [
        [sound["class"] for sound in json.loads(path.read_text("utf-8"))]
        for path in sorted((work / "waves").glob("*.json"))
    ]
    np.savez(work / "classes.npz", classes=np.concatenate(classes).astype(np.int64))


def _receive_one(work: Path, path: Path) -> None:
    samples, rate = soundfile.read(path, dtype="int16")
    if rate != RATE:
        raise ValueError(f"{path}: expected {RATE} Hz, got {rate}")
    listing, parts, at = path.with_suffix(".json").read_text("utf-8"), [], 0
    for sound in json.loads(listing):
        part = samples[at : at + sound["samples"]]
        parts.append(np.pad(part, (0, sound["samples"] - len(part))))
        at += sound["samples"] + GAP
    np.save(work / "waves" / f"{path.stem}.npy", np.concatenate(parts))
    (work / "waves" / f"{path.stem}.json").write_text(listing, "utf-8")
