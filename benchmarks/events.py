"""Events in recordings that are composed of ESC-50's clips, whose truth is known.

    python -m benchmarks.events DATA [--recordings 30] [--choose]
    python -m benchmarks.events DATA --hours 6

DATA has ``esc50/``. A recording lasts a minute. Its background, at -45 to -30 dBFS, is a clip of
one of eight categories, repeated with crossfades, which is an event of its own from beginning to
end; or, in half of them, white or pink noise at -70 to -50 dBFS, which is none. Over it lie five to
nine clips of other categories at any time, their loudest twentieth of a second 10 to 30 dB above
the background. A clip sounds where it is at most 30 dB below that, pauses of less than a second
included. All of a recording is from one fold; the seed is the fold and a number.

A category stands for the AudioSet class that `benchmarks.labels` names. An event counts for the
category whose class is its label, or the nearest above it; or for the one below it, where there is
one only. Labels above several categories (Animal) count for nothing; all others are wrong.

Compared, for several hops: segments whose score reaches a threshold, 0.5 or the one that is best on
folds 1 and 2, joined where they follow each other; events as soundsearch tells them; the same of
averaged scores (over 3 segments, or 5 where the hop is 0.12 s); and with a threshold a class: the
logit less 0.3 of the head's bias of the class, as far as that is from the mean. F1 over all events
of all recordings: by onset, within 200 and 500 ms and 1 s, by onset and offset, and by segments of
1 s; the share of true events that one of their category meets at any time; and wrong events a
minute.

With ``--choose``, the mean of three of these (onset, 500 ms; onset and offset, 1 s; segments) on
folds 1 and 2, by thresholds and gap. With ``--hours``, the time and the memory of ``soundsearch
label --events`` for a recording so long.
"""

from __future__ import annotations

import argparse
import csv
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from soundsearch_ingest.decode import Decoder

from benchmarks.event_measures import Counts, Event, event_based, segment_based
from benchmarks.labels import label_of
from soundsearch import Sound
from soundsearch.hearing import Listener
from soundsearch.labels.ontology import ontology
from soundsearch.labels.timeline import GAP, OFF, ON, Tracker
from soundsearch.timelines import segment_scores

RATE, LENGTH = 16_000, 60.0
FRAME = 0.05
BACKGROUNDS = (
    *("rain", "wind", "sea_waves", "train", "engine", "crickets", "airplane"),
    "vacuum_cleaner",
)
HOPS = (0.96, 0.48, 0.12)
THRESHOLDS = (0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6)
CHOSEN_ON, REPORTED = ("1", "2"), ("3",)
COLLARS = (0.2, 0.5, 1.0)

Clips = dict[str, list[tuple[np.ndarray, list[tuple[float, float]]]]]
# Scores of segments and the hop -> labels in time.
Rule = Callable[[np.ndarray, float], Iterator[tuple[int, float, float]]]


@dataclass(frozen=True)
class Recording:
    """A recording's fold, its true events and, by the hop, the scores of its segments."""

    fold: str
    truth: list[Event]
    scores: dict[float, np.ndarray]


def loudness(sound: np.ndarray) -> np.ndarray:
    """The level of each twentieth of a second, dBFS."""
    size = round(FRAME * RATE)
    frames = sound[: len(sound) // size * size].reshape(-1, size).astype(np.float64)
    levels: np.ndarray = 10 * np.log10((frames**2).mean(axis=1) + 1e-12)
    return levels


def sounding(sound: np.ndarray) -> list[tuple[float, float]]:
    """From when to when a clip sounds, seconds."""
    levels = loudness(sound)
    on = levels >= max(levels.max() - 30, -65)
    found: list[tuple[float, float]] = []
    for begin, end in np.flatnonzero(np.diff(np.pad(on.astype(int), 1))).reshape(-1, 2) * FRAME:
        if found and begin - found[-1][1] < 1:
            found[-1] = (found[-1][0], float(end))
        else:
            found.append((float(begin), float(end)))
    return [span for span in found if span[1] - span[0] >= 0.1]


def clips_of(data: Path) -> dict[str, Clips]:
    """The clips of each fold by their category, those that AudioSet has a class for."""
    folds: dict[str, Clips] = {}
    with open(data / "labels.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if not label_of(row["category"]):
                continue
            with Decoder(data / "audio" / row["filename"]) as decoder:
                sound = np.concatenate(list(decoder))
            if spans := sounding(sound):
                clips = folds.setdefault(row["fold"], {})
                clips.setdefault(row["category"], []).append((sound, spans))
    return folds


def composed(
    rng: np.random.Generator, clips: Clips, backgrounds: Sequence[str] = BACKGROUNDS
) -> tuple[np.ndarray, list[Event]]:
    """A recording and its true events, by category."""
    length = round(LENGTH * RATE)
    truth: list[Event] = []
    if rng.integers(2):
        category = str(rng.choice(backgrounds))
        steady = [sound for sound, spans in clips[category] if spans[0][1] - spans[0][0] > 4.4]
        sound = repeated(steady[rng.integers(len(steady))], length)
        level = rng.uniform(-45, -30)
        truth.append((category, 0.0, LENGTH))
    else:
        sound, level = rng.normal(0, 1, length), rng.uniform(-70, -50)
        if rng.integers(2):
            spectrum = np.fft.rfft(sound)
            sound = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 30)))
    sound = sound * 10 ** (level / 20) / np.sqrt((sound**2).mean())
    others = [category for category in clips if (category, 0.0, LENGTH) not in truth]
    for category in rng.permutation(others)[: rng.integers(5, 10)].tolist():
        clip, spans = clips[category][rng.integers(len(clips[category]))]
        at = rng.uniform(0, LENGTH - len(clip) / RATE)
        wanted = min(max(level + rng.uniform(10, 30), -45), -12)
        begin = int(at * RATE)
        sound[begin : begin + len(clip)] += clip * 10 ** ((wanted - loudness(clip).max()) / 20)
        truth += [(category, at + onset, at + offset) for onset, offset in spans]
    return np.clip(sound, -1, 1).astype(np.float32), truth


def repeated(clip: np.ndarray, length: int) -> np.ndarray:
    fade = np.linspace(0, 1, RATE // 2)
    sound = clip.astype(np.float64)
    while len(sound) < length:
        joint = np.sqrt(1 - fade) * sound[-len(fade) :] + np.sqrt(fade) * clip[: len(fade)]
        sound = np.concatenate([sound[: -len(fade)], joint, clip[len(fade) :]])
    return sound[:length]


def heard(listener: Listener, sound: np.ndarray, hop: float) -> np.ndarray:
    """The scores of a sound's segments."""
    parts = listener.stream(Sound(sound, sample_rate=RATE), hop)
    return np.concatenate([segment_scores(listener.head, part) for part in parts])


class Mapping:
    """What a label counts for."""

    def __init__(self, categories: list[str]) -> None:
        classes, above = ontology().classes, ontology().above
        by_name = {node.name.lower(): index for index, node in enumerate(classes)}
        of = {by_name[label_of(category).lower()]: category for category in categories}
        self.category: dict[int, str] = {}
        self.vague = set()
        for index in range(len(classes)):
            over = [each for each in np.flatnonzero(above[:, index]).tolist() if each in of]
            under = [each for each in np.flatnonzero(above[index]).tolist() if each in of]
            if index in of:
                self.category[index] = of[index]
            elif over:
                self.category[index] = of[max(over, key=lambda each: above[:, each].sum())]
            elif len(under) == 1:
                self.category[index] = of[under[0]]
            elif under:
                self.vague.add(index)

    def __call__(self, told: Iterator[tuple[int, float, float]]) -> list[Event]:
        """Events by category; those of one category that overlap are one."""
        spans: dict[str, list[list[float]]] = {}
        for index, onset, offset in sorted(told, key=lambda event: event[1]):
            if index in self.vague:
                continue
            found = spans.setdefault(self.category.get(index, f"wrong {index}"), [])
            if found and onset <= found[-1][1]:
                found[-1][1] = max(found[-1][1], offset)
            else:
                found.append([onset, offset])
        return [(name, begin, end) for name, found in spans.items() for begin, end in found]


def by_threshold(threshold: float) -> Rule:
    """The baseline: runs of segments whose score reaches a threshold."""

    def told(scores: np.ndarray, hop: float) -> Iterator[tuple[int, float, float]]:
        on = scores >= threshold
        for index in np.flatnonzero(on.any(axis=0)).tolist():
            edges = np.flatnonzero(np.diff(np.pad(on[:, index].astype(int), 1))).reshape(-1, 2)
            for begin, end in edges.tolist():
                middle = 0.48 - hop / 2
                onset = begin * hop + middle if begin else 0.0
                yield index, onset, end * hop + middle if end < len(on) else LENGTH

    return told


def by_events(
    listener: Listener,
    change: Callable[[np.ndarray, float], np.ndarray] | None = None,
    on: float = ON,
    off: float = OFF,
    gap: float = GAP,
) -> Rule:
    """What soundsearch tells, of scores that were changed before."""

    def told(scores: np.ndarray, hop: float) -> Iterator[tuple[int, float, float]]:
        tracker = Tracker(listener.head.vocabulary, hop, 0.96, on=on, off=off, gap=gap)
        scores = scores if change is None else change(scores, hop)
        for event in [*tracker.push(scores), *tracker.finish(LENGTH)]:
            yield listener.head.vocabulary.index("", event.label.mid), event.onset, event.offset

    return told


def averaged(scores: np.ndarray, hop: float) -> np.ndarray:
    """Scores averaged over 3 segments, or 5 where they are close."""
    reach = 1 if hop > 0.15 else 2
    padded = np.pad(scores, ((reach, reach), (0, 0)), mode="edge")
    found: np.ndarray = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1, 0).mean(-1)
    return found.astype(np.float32)


def moved(listener: Listener) -> Callable[[np.ndarray, float], np.ndarray]:
    """Scores whose logits are less by 0.3 of the class's bias, as far as that is from the mean."""
    head = listener.head
    biases = np.array([head.directions([n])[1].sum() for n in range(len(head.vocabulary))])
    shift = 0.3 * (biases - biases[biases != 0].mean()) * (biases != 0)

    def change(scores: np.ndarray, _hop: float) -> np.ndarray:
        sure = np.clip(scores, 1e-7, 1 - 1e-7)
        found: np.ndarray = 1 / (1 + np.exp(shift - np.log(sure / (1 - sure))))
        return found.astype(np.float32)

    return change


def measured(
    recordings: list[Recording], folds: tuple[str, ...], hop: float, rule: Rule, mapping: Mapping
) -> dict[str, float]:
    """F1 by each measure, the share of true events that are met, and wrong events a minute."""
    sums: dict[str, Counts] = {}
    wrong = count = met = true = 0
    for recording in recordings:
        if recording.fold not in folds:
            continue
        told = mapping(rule(recording.scores[hop], hop))
        found = {"segments": segment_based(recording.truth, told, LENGTH)}
        for collar in COLLARS:
            for name, offsets in (("onset", False), ("both", True)):
                found[f"{name} {collar:g}"] = event_based(
                    recording.truth, told, collar, offsets=offsets
                )
        for name, counts in found.items():
            sums[name] = sums.get(name, Counts(0, 0, 0)) + counts
        wrong += sum(name.startswith("wrong") for name, _, _ in told)
        true += len(recording.truth)
        met += sum(
            any(name == category and begin < offset and end > onset for name, begin, end in told)
            for category, onset, offset in recording.truth
        )
        count += 1
    f1 = {name: counts.f1 for name, counts in sums.items()}
    return f1 | {"met": met / true, "wrong": wrong / count}


def overall(found: dict[str, float]) -> float:
    return (found["onset 0.5"] + found["both 1"] + found["segments"]) / 3


def choose(recordings: list[Recording], listener: Listener, mapping: Mapping) -> None:
    """Print what thresholds and gaps are worth on the folds to choose on."""

    def worth(hop: float, on: float, off: float, gap: float) -> float:
        rule = by_events(listener, on=on, off=off, gap=gap)
        return overall(measured(recordings, CHOSEN_ON, hop, rule, mapping))

    print("on    off   gap   " + "  ".join(f"hop {hop:g}" for hop in HOPS))
    tries = [(on, off, 1.0) for on in (0.2, 0.3, 0.4, 0.5) for off in sorted({0.05, 0.1, 0.2, on})]
    for on, off, gap in [*tries, *((ON, OFF, gap) for gap in (0.0, 0.5, 2.0))]:
        cells = (f"{worth(hop, on, off, gap):8.3f}" for hop in HOPS)
        print(f"{on:<4}  {off:<4}  {gap:<4}{''.join(cells)}", flush=True)


def table(recordings: list[Recording], listener: Listener, mapping: Mapping) -> None:
    """Print the measures of each rule, on the fold that nothing was chosen on, and on all."""
    names = [f"{name} {collar:g}" for name in ("onset", "both") for collar in COLLARS]
    names += ["segments", "met", "wrong"]
    for folds in (REPORTED, CHOSEN_ON + REPORTED):
        print(f"\nfolds {', '.join(folds)}\n| hop | rule | {' | '.join(names)} |")
        print("|---|---|" + "---|" * len(names))
        for hop in HOPS:

            def worth(threshold: float, hop: float = hop) -> float:
                rule = by_threshold(threshold)
                return overall(measured(recordings, CHOSEN_ON, hop, rule, mapping))

            best = max(THRESHOLDS, key=worth)
            rules = {
                "score of 0.5": by_threshold(0.5),
                f"score of {best:g}": by_threshold(best),
                "events": by_events(listener),
                "events, averaged": by_events(listener, averaged),
                "events, by class": by_events(listener, moved(listener)),
            }
            for title, rule in rules.items():
                found = measured(recordings, folds, hop, rule, mapping)
                cells = (
                    f"{found[name]:.1f}" if name == "wrong" else f"{found[name]:.3f}"
                    for name in names
                )
                print(f"| {hop:g} | {title} | {' | '.join(cells)} |", flush=True)


def long(folds: dict[str, Clips], hours: float, commands: dict[str, list[str]]) -> None:
    """Print how long commands take for a long recording, their memory, and the lines they print."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "long.wav"
        with soundfile.SoundFile(path, "w", RATE, 1, "PCM_16") as file:
            minutes = [composed(np.random.default_rng((1, n)), folds["1"])[0] for n in range(30)]
            for number in range(round(hours * 60)):
                file.write(minutes[number % len(minutes)])
        for title, arguments in commands.items():
            command = [sys.executable, "-m", "soundsearch", *arguments, str(path)]
            began, peak = time.perf_counter(), 0
            with open(Path(folder) / "told", "w+b") as told:
                child = subprocess.Popen(command, stdout=told, stderr=subprocess.DEVNULL)
                while child.poll() is None:
                    time.sleep(0.1)
                    peak = max(peak, resident_mb(child.pid))
                print(
                    f"{title}: {time.perf_counter() - began:.0f} s, at most {peak} MB, "
                    f"{Path(told.name).read_bytes().count(bytes([10]))} lines",
                    flush=True,
                )


def resident_mb(process: int) -> int:
    """The most memory that a process has held so far; 0 once it has ended. Linux only."""
    status = Path(f"/proc/{process}/status").read_text()
    return int((re.findall(r"VmHWM:\s+(\d+)", status) or [0])[0]) // 1024


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--recordings", type=int, default=30, help="of each fold")
    parser.add_argument("--choose", action="store_true", help="thresholds and gaps")
    parser.add_argument("--hours", type=float, help="time and memory of a long recording")
    options = parser.parse_args()
    folds = clips_of(options.data / "esc50")
    if options.hours:
        command = ["label", "--events", "--format", "csv", "--hop"]
        hops = (HOPS[0], HOPS[-1])
        long(folds, options.hours, {f"hop {hop:g}": [*command, str(hop)] for hop in hops})
        return
    listener = Listener.open()
    recordings = []
    for fold, clips in sorted(folds.items()):
        for number in range(options.recordings):
            sound, truth = composed(np.random.default_rng((int(fold), number)), clips)
            scores = {hop: heard(listener, sound, hop) for hop in HOPS}
            recordings.append(Recording(fold, truth, scores))
    categories = sorted({category for clips in folds.values() for category in clips})
    mapping = Mapping(categories)
    events = sum(len(recording.truth) for recording in recordings)
    print(f"{len(recordings)} recordings, {events} events of {len(categories)} categories")
    (choose if options.choose else table)(recordings, listener, mapping)


if __name__ == "__main__":
    main()
