"""The bundled encoder on ESC-50 folds 1-3, which no training step used.

    pip install -e . librosa
    python -m benchmarks.encoder DATA

DATA holds ``esc50/labels.csv``, ``esc50/audio/`` and ``audioset/class_labels_indices.csv``. MFCC
is the mean and deviation of 64 coefficients, and Google's speech_embedding (96-d, 1.3 MB; it comes
with ``pip install --no-deps openwakeword==0.4.0`` and is left out without) the mean of its windows,
both standardised on the clips themselves. ``python -m recipes.mini evaluate`` prints the same with
the encoder's teacher beside it.

A clip's embedding is the mean over its segments, weighted by level as in a library; cosine; clips
of the query's source recording do not count. P@1: how often the nearest clip is of the query's
class. mAP@50: mean over all clips, over the first 50 found; mAP: over all. L5: a right AudioSet
class is among the five with the highest mean score, mean over the 47 classes for which there is
an obvious one. Labels: the same of the labels that a user sees, and of their paths.
"""

from __future__ import annotations

import argparse
import csv
import importlib.util
import io
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.decode import SAMPLE_RATE, read

from soundsearch import evaluate
from soundsearch.labels.head import Head
from soundsearch.labels.ontology import CLASSES, ontology
from soundsearch.labels.predict import predict
from soundsearch.labels.vocabulary import AUDIOSET
from soundsearch.vectors import loudness_weights, unit

Floats = NDArray[np.float32]
# A sound to the embeddings, scores and levels of its segments.
Encode = Callable[[Floats], tuple[Floats, Floats, Floats]]

MINI, SHORT, TEACHER = "mini", "mn04, PCA to 128", "mn04, 384-d"
MFCC, SPEECH = "MFCC", "speech_embedding"
MODEL = encoders.available()[encoders.BUNDLED]
HEAD = Path(__file__).parents[1] / "soundsearch" / "labels" / "mini.npz"

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
    """Mono 16 kHz sound of every clip, its class and its source recording."""

    sounds: list[Floats]
    names: NDArray[np.str_]
    sources: NDArray[np.str_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--head", type=Path, default=HEAD)
    parser.add_argument(
        "--every", type=int, default=1, help="measure robustness on every N-th clip"
    )
    parser.add_argument("--figures", type=Path, help="write the figures here as JSON")
    options = parser.parse_args()
    found = measure(options.data, options.model, options.head, options.every)
    if options.figures:
        options.figures.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    show(found)


def measure(
    data: Path, model: Path, head: Path, every: int, beside: Mapping[str, Encode] | None = None
) -> dict[str, Any]:
    """Measure all figures, also of the encoders `beside` for comparison.

    These are `SHORT`, to which `show` relates the figures, and `TEACHER`.
    """
    clips = read_clips(data / "esc50")
    classes = class_names(data)
    ways: dict[str, Encode] = {MINI: student(model, head), **(beside or {})}
    out: dict[str, Any] = {"clips": len(clips.sounds), "quality": {}, "changes": {}, "signals": {}}
    pooled = {name: pool(encode, clips.sounds) for name, encode in ways.items()}
    per_class = {}
    for name, (embeddings, scores) in pooled.items():
        per_class[name] = label_hits(scores, clips, classes)
        hits = float(np.mean(list(per_class[name].values())))
        out["quality"][name] = {**retrieval(embeddings, clips), "L5": hits}
    out["quality"][MINI]["labels"] = shown_labels(model, head, clips)
    peers: dict[str, Callable[[Floats], Floats] | None] = {SPEECH: speech_embedding(), MFCC: mfcc}
    for name, embed in peers.items():
        if embed is not None:
            found = np.stack([embed(sound) for sound in clips.sounds])
            out["quality"][name] = retrieval(found, clips, standardise=True)
    out["L5 per class"] = {
        name: {way: hits[name] for way, hits in per_class.items()} for name in per_class[MINI]
    }
    out["first labels"] = first_labels(pooled[MINI][1], clips, classes)
    chosen = np.arange(0, len(clips.sounds), every)
    out["changed"] = len(chosen)
    for change, alter in CHANGES.items():
        rng = np.random.default_rng(5)
        altered = [alter(clips.sounds[i], rng) for i in chosen]
        for name in [way for way in (MINI, SHORT) if way in ways]:
            embeddings, scores = pooled[name]
            other, other_scores = pool(ways[name], altered)
            near = unit(other) @ unit(embeddings).T
            out["changes"].setdefault(name, {})[change] = {
                "cosine": float(near[np.arange(len(chosen)), chosen].mean()),
                "nearest kept": float((near.argmax(1) == chosen).mean()),
                "first label kept": float(
                    (other_scores.argmax(1) == scores[chosen].argmax(1)).mean()
                ),
            }
    for name in [way for way in (MINI, TEACHER) if way in ways]:
        for signal, sound in signals().items():
            _, scores = pool(ways[name], [sound])
            best = [f"{classes[i]} {scores[0][i]:.2f}" for i in np.argsort(-scores[0])[:3]]
            out["signals"].setdefault(signal, {})[name] = best
    out["speed"] = speed(model)
    return out


def show(found: dict[str, Any]) -> None:
    """Print the figures as tables."""
    best = found["quality"].get(SHORT, {})
    print(f"{found['clips']} clips" + (f"; in brackets, relative to {SHORT}" if best else ""))
    for name, row in found["quality"].items():
        cells = [
            f"{measure} {value:.3f}"
            + (f" ({value / best[measure]:.3f})" if measure in best else "")
            for measure, value in row.items()
        ]
        print(f"{name:20} {'   '.join(cells)}")
    print("\nthe same clips after a change")
    for name, changes in found["changes"].items():
        for change, row in changes.items():
            cells = [f"{measure} {value:.3f}" for measure, value in row.items()]
            print(f"{name:20} {change:14} {'   '.join(cells)}")
    print("\nsounds with known labels")
    for signal, answers in found["signals"].items():
        for name, labels in answers.items():
            print(f"{signal:14} {name:16} {', '.join(labels)}")
    print("\nL5 of each class, and mini's most frequent first labels")
    for name, row in found["L5 per class"].items():
        shares = "  ".join(f"{value:.2f}" for value in row.values())
        print(f"{name:18} {shares}   {', '.join(found['first labels'][name])}")
    print("\n" + "   ".join(f"{what} {value:.2f}" for what, value in found["speed"].items()))


def class_names(data: Path) -> list[str]:
    """The names of AudioSet's classes, in its order."""
    path = data / "audioset" / "class_labels_indices.csv"
    with open(path, encoding="utf-8", newline="") as file:
        return [row["display_name"] for row in csv.DictReader(file)]


def read_clips(folder: Path) -> Clips:
    with open(folder / "labels.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    sounds = [read(folder / "audio" / row["filename"]) for row in rows]
    names = np.array([row["category"] for row in rows])
    return Clips(sounds, names, np.array([row["source"] for row in rows]))


def student(model: Path, head: Path) -> Encode:
    """The encoder as it is shipped."""
    encoder = encoders.OnnxEncoder(model, threads=2)
    with np.load(head) as data:
        weight, bias = data["weight"].astype(np.float32), data["bias"]
        known = [ontology().nodes[str(mid)] for mid in data["mids"]]
    columns = [node.class_index for node in known if node.class_index is not None]

    def encode(sound: Floats) -> tuple[Floats, Floats, Floats]:
        embeddings, loudness, _ = pipeline.embed_sound([sound], encoder, encoder.segment_seconds)
        scores = np.zeros((len(embeddings), CLASSES), np.float32)
        scores[:, columns] = sigmoid(embeddings @ weight.T + bias)
        return embeddings, scores, loudness

    return encode


def sigmoid(logits: Floats) -> Floats:
    scores = 1 / (1 + np.exp(-np.clip(logits, -60, 60)))
    return scores.astype(np.float32)


def pool(encode: Encode, sounds: list[Floats]) -> tuple[Floats, Floats]:
    """Each clip's mean embedding and mean scores, weighted as in a library."""
    pairs = []
    for sound in sounds:
        embeddings, scores, loudness = encode(sound)
        share = loudness_weights(loudness)
        share /= share.sum()
        pairs.append((share @ embeddings, share @ scores))
    embeddings, scores = (np.stack(column) for column in zip(*pairs, strict=True))
    return embeddings, scores


def shown_labels(model: Path, head: Path, clips: Clips) -> float:
    """How often a right class is among the five labels that a user sees, or on their paths."""
    encoder, labeller = encoders.OnnxEncoder(model, threads=2), Head(head)
    found: dict[str, list[bool]] = {}
    for sound, name in zip(clips.sounds, clips.names.tolist(), strict=True):
        if name in RIGHT:
            embeddings, loudness, _ = pipeline.embed_sound(
                [sound], encoder, encoder.segment_seconds
            )
            [(_, clip)] = predict(labeller, [(embeddings, loudness)], 5, 5)
            seen = {part for label in AUDIOSET.named(clip) for part in (label.name, *label.path)}
            found.setdefault(name, []).append(bool(seen & set(RIGHT[name].split("|"))))
    return float(np.mean([np.mean(hits) for hits in found.values()]))


def mfcc(sound: Floats) -> Floats:
    import librosa

    found = librosa.feature.mfcc(y=sound, sr=SAMPLE_RATE, n_mfcc=64)
    return np.concatenate((found.mean(1), found.std(1)))


def speech_embedding() -> Callable[[Floats], Floats] | None:
    """A clip embedding from the two networks in openwakeword's wheel, if installed."""
    spec = importlib.util.find_spec("openwakeword")
    if spec is None or not spec.submodule_search_locations:
        return None
    folder = Path(spec.submodule_search_locations[0]) / "resources" / "models"
    front, network = (
        onnxruntime.InferenceSession(str(folder / name), providers=["CPUExecutionProvider"])
        for name in ("melspectrogram.onnx", "embedding_model.onnx")
    )

    def embed(sound: Floats) -> Floats:
        mel = front.run(None, {"input": sound[None] * np.float32(32767)})[0].squeeze() / 10 + 2
        windows = np.lib.stride_tricks.sliding_window_view(mel, 76, axis=0)[::8].swapaxes(1, 2)
        rows = network.run(None, {"input_1": np.ascontiguousarray(windows[..., None])})[0]
        mean: Floats = rows.reshape(len(rows), -1).mean(0)
        return mean

    return embed


def retrieval(embeddings: Floats, clips: Clips, standardise: bool = False) -> dict[str, float]:
    """P@1, mAP@50 and mAP over all clips, those of the query's own source left out."""
    if standardise:
        embeddings = (embeddings - embeddings.mean(0)) / embeddings.std(0)
    near = unit(embeddings) @ unit(embeddings).T
    found = evaluate.retrieval(near, clips.names, clips.sources).means()
    first_50 = evaluate.retrieval(near, clips.names, clips.sources, depth=50).means()
    return {
        "P@1": found["P@1"],
        "mAP@50": first_50["mAP"],
        "mAP": found["mAP"],
    }


def label_hits(scores: Floats, clips: Clips, classes: list[str]) -> dict[str, float]:
    """L5 of each class that has an obvious label."""
    found: dict[str, list[bool]] = {}
    for row, name in zip(scores, clips.names.tolist(), strict=True):
        if name in RIGHT:
            best = {classes[i] for i in np.argsort(-row)[:5]}
            found.setdefault(name, []).append(bool(best & set(RIGHT[name].split("|"))))
    return {name: float(np.mean(hits)) for name, hits in sorted(found.items())}


def first_labels(scores: Floats, clips: Clips, classes: list[str]) -> dict[str, list[str]]:
    """For each class, the three most frequent first labels of its clips."""
    out = {}
    for name in np.unique(clips.names).tolist():
        counts = np.bincount(scores[clips.names == name].argmax(1), minlength=len(classes))
        best = [i for i in np.argsort(-counts)[:3] if counts[i]]
        out[name] = [f"{classes[i]} {counts[i] / counts.sum():.2f}" for i in best]
    return out


def louder(decibels: float, sound: Floats, _rng: np.random.Generator) -> Floats:
    return sound * np.float32(10 ** (decibels / 20))


def noisy(sound: Floats, rng: np.random.Generator) -> Floats:
    deviation = np.sqrt(np.mean(sound**2)) * 10 ** (-20 / 20)
    noise = rng.normal(0, deviation, len(sound)).astype(np.float32)
    return sound + noise


def shifted(sound: Floats, _rng: np.random.Generator) -> Floats:
    return np.roll(sound, -round(0.3 * SAMPLE_RATE))


def compressed(sound: Floats, _rng: np.random.Generator) -> Floats:
    """The sound after 64 kbit/s MP3."""
    import av

    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp3") as container:
        stream = container.add_stream("libmp3lame", rate=SAMPLE_RATE, bit_rate=64_000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packets in (stream.encode(frame), stream.encode(None)):
            container.mux(packets)
    buffer.seek(0)
    return read(buffer)[: len(sound)]


CHANGES: dict[str, Callable[[Floats, np.random.Generator], Floats]] = {
    "-12 dB": partial(louder, -12),
    "+6 dB": partial(louder, 6),
    "MP3 64 kbit/s": compressed,
    "noise 20 dB": noisy,
    "0.3 s later": shifted,
}


def signals() -> dict[str, Floats]:
    """Synthetic sounds with known labels."""
    rng = np.random.default_rng(3)
    t = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    spectrum = np.fft.rfft(rng.normal(size=len(t)))
    pink = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 60)), len(t))
    made = {
        "silence": np.zeros(len(t)),
        "sine 440 Hz": 0.3 * np.sin(2 * np.pi * 440 * t),
        "sine 1 kHz": 0.3 * np.sin(2 * np.pi * 1000 * t),
        "white noise": 0.1 * rng.normal(size=len(t)),
        "pink noise": 0.1 * pink / pink.std(),
    }
    return {name: sound.astype(np.float32) for name, sound in made.items()}


def speed(model: Path) -> dict[str, float]:
    """Time to open the encoder, its pace on two threads with four clips of 10 s, and its size."""
    opening, passes = [], []
    for _ in range(5):
        start = time.perf_counter()
        encoder = encoders.OnnxEncoder(model, threads=2)
        opening.append(time.perf_counter() - start)
    batch = np.random.default_rng(0).normal(-2, 2, (4, 960, 64)).astype(np.float32)
    for _ in range(100):
        start = time.perf_counter()
        encoder.embed(batch)
        passes.append(time.perf_counter() - start)
    return {
        "ms to open": min(opening) * 1e3,
        "segments/s": 40 / float(np.median(passes)),
        "MB": model.stat().st_size / 1e6,
    }


if __name__ == "__main__":
    main()
