"""Measure an exported encoder and its teacher on ESC-50, which no training step reads."""

from __future__ import annotations

import csv
import itertools
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import soundfile
import torch
from numpy.typing import NDArray

from .frontend import RATE, STUDENT_OFFSET, load, magnitudes, patches
from .teacher import Teacher, load_whitening

Floats = NDArray[np.float32]
Encode = Callable[[Floats], tuple[Floats, Floats]]

RIGHT: dict[str, str] = {
    "airplane": "Aircraft|Fixed-wing aircraft, airplane|Aircraft engine|Jet engine|"
    "Propeller, airscrew",
    "breathing": "Breathing|Wheeze|Gasp|Pant|Snort|Sniff|Sigh|Snoring",
    "brushing_teeth": "Toothbrush|Electric toothbrush",
    "car_horn": "Vehicle horn, car horn, honking|Toot|Air horn, truck horn|Car alarm",
    "cat": "Cat|Meow|Purr|Hiss|Caterwaul",
    "chainsaw": "Chainsaw",
    "chirping_birds": "Bird|Bird vocalization, bird call, bird song|Chirp, tweet|Squawk",
    "church_bells": "Church bell|Bell|Change ringing (campanology)",
    "clapping": "Clapping|Applause|Hands",
    "clock_alarm": "Alarm clock|Alarm|Beep, bleep|Buzzer|Smoke detector, smoke alarm|Telephone",
    "clock_tick": "Tick-tock|Tick|Clock",
    "coughing": "Cough|Throat clearing",
    "cow": "Cattle, bovinae|Moo|Livestock, farm animals, working animals",
    "crackling_fire": "Fire|Crackle",
    "crickets": "Cricket|Insect",
    "crow": "Crow|Caw",
    "crying_baby": "Baby cry, infant cry|Crying, sobbing|Whimper",
    "dog": "Dog|Bark|Yip|Howl|Bow-wow|Growling|Whimper (dog)",
    "door_wood_creaks": "Door|Squeak|Creak|Cupboard open or close",
    "door_wood_knock": "Knock|Door|Tap|Thump, thud",
    "engine": "Engine|Idling|Engine starting|Medium engine (mid frequency)|"
    "Light engine (high frequency)|Heavy engine (low frequency)|Accelerating, revving, vroom|"
    "Car|Motorcycle|Truck",
    "fireworks": "Fireworks|Firecracker|Explosion|Boom|Burst, pop",
    "footsteps": "Walk, footsteps|Run",
    "frog": "Frog|Croak",
    "glass_breaking": "Shatter|Glass|Breaking|Smash, crash",
    "hand_saw": "Sawing|Filing (rasp)|Tools",
    "helicopter": "Helicopter",
    "hen": "Chicken, rooster|Cluck|Fowl",
    "insects": "Insect|Mosquito|Fly, housefly|Buzz|Bee, wasp, etc.",
    "keyboard_typing": "Computer keyboard|Typing|Typewriter",
    "laughing": "Laughter|Baby laughter|Giggle|Snicker|Belly laugh|Chuckle, chortle",
    "mouse_click": "Mouse|Clicking|Click",
    "pig": "Pig|Oink",
    "pouring_water": "Pour|Fill (with liquid)|Trickle, dribble|Liquid|Water tap, faucet|Water|Gush",
    "rain": "Rain|Raindrop|Rain on surface",
    "rooster": "Chicken, rooster|Crowing, cock-a-doodle-doo|Fowl",
    "sea_waves": "Ocean|Waves, surf",
    "sheep": "Sheep|Goat|Bleat",
    "siren": "Siren|Police car (siren)|Ambulance (siren)|Fire engine, fire truck (siren)|"
    "Civil defense siren|Emergency vehicle",
    "sneezing": "Sneeze",
    "snoring": "Snoring",
    "thunderstorm": "Thunderstorm|Thunder",
    "toilet_flush": "Toilet flush",
    "train": "Train|Rail transport|Railroad car, train wagon|Train horn|Train whistle|"
    "Train wheels squealing|Subway, metro, underground",
    "vacuum_cleaner": "Vacuum cleaner",
    "water_drops": "Drip|Raindrop|Water tap, faucet",
    "wind": "Wind|Wind noise (microphone)|Rustling leaves",
}


@dataclass
class Clips:
    """ESC-50: mel magnitudes of every clip, its class and its source recording."""

    sounds: list[Floats]
    names: NDArray[np.str_]
    sources: NDArray[np.str_]


def read_clips(folder: Path) -> Clips:
    """Decode the clips of `folder` (audio/ and labels.csv)."""
    with (folder / "labels.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sounds = [load(folder / "audio" / row["filename"]) for row in rows]
    names = np.array([row["category"] for row in rows])
    return Clips(sounds, names, np.array([row["source"] for row in rows]))


def session(path: Path, threads: int = 2) -> onnxruntime.InferenceSession:
    """Open an encoder."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])


def student(model: Path, head: Path) -> Encode:
    """Return the exported encoder as a function: patches to embeddings and scores."""
    net = session(model)
    with np.load(head) as data:
        weight, bias = data["weight"].astype(np.float32), data["bias"]

    def encode(mel: Floats) -> tuple[Floats, Floats]:
        found = net.run(None, {"patches": np.log(mel + np.float32(STUDENT_OFFSET))})[0]
        return found, 1 / (1 + np.exp(-(found @ weight.T + bias)))

    return encode


def teacher(yamnet: Path, pca: Path | None) -> Encode:
    """Return YAMNet in float as such a function, whitened to 128 when a PCA is given."""
    net = Teacher(yamnet)
    white = load_whitening(pca) if pca else None

    def encode(mel: Floats) -> tuple[Floats, Floats]:
        embedding, logits = net(torch.from_numpy(mel))
        if white is None:
            return embedding.numpy(), torch.sigmoid(logits).numpy()
        short = white.apply(embedding, 1.0)
        back = short @ torch.from_numpy(np.linalg.pinv(white.matrix(1.0)).T)
        back = back + torch.from_numpy(white.mean)
        scores = torch.sigmoid(back @ net.kernels[-1].T + net.biases[-1])
        return short.numpy(), scores.numpy()

    return encode


def pooled(encode: Encode, sounds: list[Floats]) -> tuple[Floats, Floats]:
    """Return each clip's mean embedding and mean scores."""
    mels = [patches(magnitudes(x)) for x in sounds]
    edges = np.cumsum([0] + [len(m) for m in mels])
    parts = np.concatenate(mels)
    found = [encode(parts[at : at + 128]) for at in range(0, len(parts), 128)]
    embeddings = np.concatenate([f[0] for f in found])
    scores = np.concatenate([f[1] for f in found])
    spans = list(itertools.pairwise(edges))
    return (
        np.stack([embeddings[a:b].mean(0) for a, b in spans]),
        np.stack([scores[a:b].mean(0) for a, b in spans]),
    )


def unit(x: Floats) -> Floats:
    """Return rows of length one."""
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)


def retrieval(embeddings: Floats, clips: Clips) -> tuple[float, float]:
    """Return P@1 and mAP over all clips, those of the query's own source left out."""
    near = unit(embeddings) @ unit(embeddings).T
    near[clips.sources[:, None] == clips.sources[None]] = -np.inf
    firsts, means = [], []
    for i, row in enumerate(near):
        order = np.argsort(-row, kind="stable")
        order = order[np.isfinite(row[order])]
        right = clips.names[order] == clips.names[i]
        if not right.any():
            continue
        firsts.append(float(right[0]))
        ranks = np.flatnonzero(right) + 1
        means.append(float((np.arange(1, len(ranks) + 1) / ranks).mean()))
    return float(np.mean(firsts)), float(np.mean(means))


def label_hits(scores: Floats, clips: Clips, classes: list[str]) -> dict[str, float]:
    """Return, for each ESC-50 class with an obvious label, how often L5 holds."""
    found: dict[str, list[float]] = {}
    for row, name in zip(scores, clips.names, strict=True):
        if name in RIGHT:
            best = {classes[i] for i in np.argsort(-row)[:5]}
            found.setdefault(str(name), []).append(float(bool(best & set(RIGHT[name].split("|")))))
    return {name: float(np.mean(hits)) for name, hits in sorted(found.items())}


def first_labels(scores: Floats, clips: Clips, classes: list[str]) -> dict[str, list[str]]:
    """Return, for each ESC-50 class, the three commonest first labels of its clips."""
    out = {}
    for name in sorted(set(clips.names.tolist())):
        count = np.bincount(scores[clips.names == name].argmax(1), minlength=len(classes))
        best = [i for i in np.argsort(-count)[:3] if count[i]]
        out[name] = [f"{classes[i]} {count[i] / count.sum():.2f}" for i in best]
    return out


def compressed(x: Floats) -> Floats:
    """Return a sound after 64 kbit/s MP3 (by ffmpeg)."""
    with tempfile.TemporaryDirectory() as folder:
        wav, mp3 = Path(folder, "a.wav"), Path(folder, "a.mp3")
        soundfile.write(wav, x, RATE)
        command = ["ffmpeg", "-v", "quiet", "-i", str(wav), "-b:a", "64k", str(mp3)]
        subprocess.run(command, check=True)
        return load(mp3)[: len(x)]


def changed(sounds: list[Floats], seed: int = 5) -> dict[str, list[Floats]]:
    """Return the clips as they sound after each change."""
    random = np.random.default_rng(seed)

    def noisy(x: Floats) -> Floats:
        power = np.sqrt(np.mean(x**2)) * 10 ** (-20 / 20)
        return (x + power * random.normal(size=len(x))).astype(np.float32)

    return {
        "-12 dB": [x * np.float32(10 ** (-12 / 20)) for x in sounds],
        "+6 dB": [x * np.float32(10 ** (6 / 20)) for x in sounds],
        "mp3 64k": [compressed(x) for x in sounds],
        "noise 20 dB": [noisy(x) for x in sounds],
        "shift 0.3 s": [np.concatenate((x[4800:], x[:4800])) for x in sounds],
    }


def signals() -> dict[str, Floats]:
    """Return sounds whose label is known."""
    random = np.random.default_rng(3)
    t = np.arange(3 * RATE) / RATE
    white = random.normal(size=len(t))
    spectrum = np.fft.rfft(random.normal(size=len(t)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 60)), len(t))
    return {
        "silence": np.zeros(len(t), np.float32),
        "sine 440 Hz": (0.3 * np.sin(2 * np.pi * 440 * t)).astype(np.float32),
        "sine 1 kHz": (0.3 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32),
        "white noise": (0.1 * white).astype(np.float32),
        "pink noise": (0.1 * pink / pink.std()).astype(np.float32),
    }


def speed(model: Path) -> tuple[float, float, float]:
    """Return milliseconds to open the encoder, patches a second in batches of 64, and MB."""
    opening, passes = [], []
    for _ in range(5):
        start = time.perf_counter()
        net = session(model)
        opening.append(time.perf_counter() - start)
    batch = np.random.default_rng(0).normal(-2, 2, (64, 96, 64)).astype(np.float32)
    for _ in range(60):
        start = time.perf_counter()
        net.run(None, {"patches": batch})
        passes.append(time.perf_counter() - start)
    return min(opening) * 1e3, 64 / float(np.median(passes)), model.stat().st_size / 1e6


def evaluate(
    model: Path, head: Path, esc50: Path, class_map: Path, yamnet: Path, pca: Path, few: int = 0
) -> dict[str, object]:
    """Return every figure of the model card.

    Parameters
    ----------
    model, head : Path
        The exported encoder and its linear head.
    esc50, class_map, yamnet : Path
        The evaluation clips, YAMNet's class map and its TFLite file.
    pca : Path
        The teacher's PCA, fitted on the training corpus.
    few : int
        Measure robustness on every so-many-th clip; 0 leaves it out.

    Returns
    -------
    dict
    """
    with class_map.open(encoding="utf-8", newline="") as file:
        classes = [row["display_name"] for row in csv.DictReader(file)]
    clips = read_clips(esc50)
    encoders = {
        "student": student(model, head),
        "teacher": teacher(yamnet, pca),
        "teacher as it is": teacher(yamnet, None),
    }
    out: dict[str, object] = {"clips": len(clips.names)}
    kept = {}
    for name, encode in encoders.items():
        embeddings, scores = pooled(encode, clips.sounds)
        hits = label_hits(scores, clips, classes)
        first, mean = retrieval(embeddings, clips)
        out[name] = {"P@1": first, "mAP": mean, "L5": float(np.mean(list(hits.values())))}
        kept[name] = (embeddings, scores, hits)
    out["L5 per class"] = {
        name: [kept[encoder][2][name] for encoder in ("student", "teacher")]
        for name in kept["student"][2]
    }
    out["first labels"] = first_labels(kept["student"][1], clips, classes)
    if few:
        chosen = np.arange(0, len(clips.sounds), few)
        changes = changed([clips.sounds[i] for i in chosen])
        for name in ("student", "teacher"):
            embeddings, scores, _ = kept[name]
            table = {}
            for change, sounds in changes.items():
                other, other_scores = pooled(encoders[name], sounds)
                near = unit(other) @ unit(embeddings).T
                same = other_scores.argmax(1) == scores[chosen].argmax(1)
                table[change] = {
                    "cosine": float(near[np.arange(len(chosen)), chosen].mean()),
                    "nearest kept": float((near.argmax(1) == chosen).mean()),
                    "first label kept": float(same.mean()),
                }
            out[f"robustness of the {name}"] = table
    for name in ("student", "teacher as it is"):
        rows = {}
        for signal, sound in signals().items():
            embedding, scores = pooled(encoders[name], [sound])
            best = np.argsort(-scores[0])[:3]
            rows[signal] = [f"{classes[i]} {scores[0][i]:.2f}" for i in best]
            if not (np.isfinite(embedding).all() and np.isfinite(scores).all()):
                rows[signal].append("NOT FINITE")
        out[f"labels by the {name}"] = rows
    opening, pace, size = speed(model)
    out["speed"] = {"open ms": opening, "patches/s": pace, "MB": size}
    return out
