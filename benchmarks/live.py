"""Events told while a sound comes in: how well, how soon, at what cost.

    python -m benchmarks.live DATA [--recordings 30]
    python -m benchmarks.live DATA --minutes 60 [--format raw] [--watch LIBRARY]

Recordings, categories and measures are those of `benchmarks.events`. Compared: the events of the
whole file; and events told live, where the newest segment is heard with what came before it alone,
or one segment late, with 0.96 s of what comes after; for several hops, thresholds and gaps. A delay
is from a true onset or offset, of an event that one of its category meets, to when the first begins
to be told, or the last is told to have ended: sound that had to be heard, not the time that hearing
took. What begins or ends with its recording has none. Within 1.5 s are those at most so early or
late.

With ``--minutes``, so much is written into a pipe as fast as it sounds, and ``soundsearch label -
--events --live --json`` reads it: the same delays by the clock, how long after the sound that it
needs each line comes, memory, and processor time a second of sound.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from soundsearch_ingest.encoders import Encoder
from soundsearch_ingest.logmel import FRAME_SECONDS, PATCH_FRAMES, levels_at, log_mel

from benchmarks.event_measures import Event
from benchmarks.events import (
    CHOSEN_ON,
    LENGTH,
    RATE,
    REPORTED,
    Clips,
    Mapping,
    Recording,
    Rule,
    by_events,
    clips_of,
    composed,
    heard,
    measured,
    overall,
    resident_mb,
)
from soundsearch.hearing import Heard, Listener
from soundsearch.labels.moments import GAP, HOP, OFF, ON, Began, Ended, Teller
from soundsearch.labels.vocabulary import AUDIOSET
from soundsearch.results import Label
from soundsearch.timelines import segment_scores

SEGMENT = PATCH_FRAMES * FRAME_SECONDS
PROMISED = 1.5
# Segments that a pass of the network hears, and passes at once.
REACH, AT_ONCE = 8, 16
HOPS = (0.12, 0.24, 0.48)
# Look-ahead in segments, hop, and what makes an event.
TRIES = (
    *((look, hop, ON, OFF, GAP) for look in (0, 1) for hop in HOPS),
    *((0, HOP, on, OFF, GAP) for on in (0.4, 0.6)),
    *((0, HOP, ON, off, GAP) for off in (0.1, 0.2, 0.3)),
    *((0, HOP, ON, OFF, gap) for gap in (0.0, 0.48, 0.96)),
)
BLOCK = 0.1


def newest(encoder: Encoder, sound: np.ndarray, hop: float, look: int = 0) -> Heard:
    """Segments that end a hop after each other, each heard with `look` segments after it."""
    mel = log_mel(sound)
    ends = np.arange(PATCH_FRAMES, len(mel) + 1, round(hop / FRAME_SECONDS))
    out = np.zeros((len(ends), encoder.dimension), np.float32)
    until = np.minimum(ends + look * PATCH_FRAMES, len(mel) - (len(mel) - ends) % PATCH_FRAMES)
    lengths = np.minimum(until // PATCH_FRAMES, REACH + look)
    after = (until - ends) // PATCH_FRAMES
    for length in np.unique(lengths).tolist():
        places = np.flatnonzero(lengths == length)
        for some in np.array_split(places, -(-len(places) // AT_ONCE)):
            passes = np.stack([mel[end - length * PATCH_FRAMES : end] for end in until[some]])
            found = encoder.embed(passes).reshape(len(some), length, -1)
            out[some] = found[np.arange(len(some)), length - 1 - after[some]]
    return Heard(out, levels_at(mel, ends - PATCH_FRAMES), out, len(sound) / RATE, None)


Told = list[tuple[int, Began | Ended, float]]


def told(listener: Listener, scores: np.ndarray, hop: float, settings: Sequence[float]) -> Told:
    """What is told of a recording: the class, the moment, and how much was heard then."""
    vocabulary = listener.head.vocabulary
    on, off, gap = settings
    teller = Teller(vocabulary, hop, SEGMENT, on=on, off=off, gap=gap)
    return [
        (vocabulary.index("", moment.label.mid), moment, moment.heard)
        for moment in [*teller.push(scores), *teller.finish(LENGTH)]
    ]


def by_moments(listener: Listener, settings: Sequence[float]) -> Rule:
    """What is told live, as labels in time."""

    def events(scores: np.ndarray, hop: float) -> Iterator[tuple[int, float, float]]:
        for index, moment, _ in told(listener, scores, hop, settings):
            if isinstance(moment, Ended):
                yield index, moment.onset, moment.offset

    return events


def delays(
    truth: Iterable[Event], moments: Told, mapping: Mapping, length: float
) -> tuple[list[float], list[float]]:
    """From true onsets and offsets to when they are told, seconds."""
    began = {
        (index, round(moment.onset, 3)): at
        for index, moment, at in moments
        if isinstance(moment, Began)
    }
    ended = [
        (mapping.category.get(index), index, moment, at)
        for index, moment, at in moments
        if isinstance(moment, Ended)
    ]
    onsets, offsets = [], []
    for category, onset, offset in truth:
        mine = [
            (began[index, round(moment.onset, 3)], moment.offset, at)
            for name, index, moment, at in ended
            if name == category and moment.onset < offset and moment.offset > onset
        ]
        if mine and onset % length > 0.01:
            onsets.append(min(begun for begun, _, _ in mine) - onset)
        if mine and offset % length > 0.01:
            offsets.append(max(mine, key=lambda each: each[1])[2] - offset)
    return onsets, offsets


def described(found: list[float]) -> str:
    values = np.array(found)
    within = (np.abs(values) <= PROMISED).mean()
    late = (values > PROMISED).mean()
    return f"{np.median(values):.2f} | {np.quantile(values, 0.95):.2f} | {within:.2f} | {late:.2f}"


def table(folds: dict[str, Clips], listener: Listener, mapping: Mapping, count: int) -> None:
    """Print how well and how soon events are told."""
    truths: list[tuple[str, list[Event]]] = []
    live: dict[tuple[int, float], list[np.ndarray]] = {}
    whole: dict[float, list[np.ndarray]] = {}
    for fold, clips in sorted(folds.items()):
        for number in range(count):
            sound, truth = composed(np.random.default_rng((int(fold), number)), clips)
            truths.append((fold, truth))
            for hop in (HOP, 0.48):
                whole.setdefault(hop, []).append(heard(listener, sound, hop))
            for key in {(look, hop) for look, hop, *_ in TRIES}:
                found = newest(listener.encoder, sound, key[1], key[0])
                live.setdefault(key, []).append(segment_scores(listener.head, found))

    def recordings(hop: float, scores: list[np.ndarray]) -> list[Recording]:
        pairs = zip(truths, scores, strict=True)
        return [Recording(fold, truth, {hop: each}) for (fold, truth), each in pairs]

    names = ("onset 0.5", "onset 1", "both 1", "segments", "met", "wrong")
    delay = "median | 95 % | within | late"
    for chosen in (CHOSEN_ON, REPORTED):
        print(f"\nfolds {', '.join(chosen)}")
        columns = ("look-ahead", "hop", "on", "off", "gap", *names, "mean", delay, delay)
        print(f"| {' | '.join(columns)} |\n|{'---|' * (len(names) + 14)}")
        for hop, each in whole.items():
            worth = measured(recordings(hop, each), chosen, hop, by_events(listener), mapping)
            cells = " | ".join(f"{worth[name]:.3f}" for name in names)
            print(f"| all | {hop} | | | | {cells} | {overall(worth):.3f} |" + " |" * 8)
        for look, hop, *settings in TRIES:
            onsets: list[float] = []
            offsets: list[float] = []
            rule = by_moments(listener, settings)
            worth = measured(recordings(hop, live[look, hop]), chosen, hop, rule, mapping)
            for (fold, truth), scores in zip(truths, live[look, hop], strict=True):
                if fold in chosen:
                    moments = told(listener, scores, hop, settings)
                    late = [(index, moment, at + look * SEGMENT) for index, moment, at in moments]
                    begun, over = delays(truth, late, mapping, LENGTH)
                    onsets += begun
                    offsets += over
            on, off, gap = settings
            cells = " | ".join(f"{worth[name]:.3f}" for name in names)
            print(
                f"| {look * SEGMENT:g} | {hop} | {on} | {off} | {gap} | {cells} | "
                f"{overall(worth):.3f} | {described(onsets)} | {described(offsets)} |",
                flush=True,
            )


def header(kind: str) -> bytes:
    """What comes before the samples: of a WAV file as arecord writes it into a pipe, or nothing."""
    if kind == "raw":
        return b""
    import struct

    size = 0x80000000
    parts = (b"RIFF", size + 36, b"WAVE", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16, b"data", size)
    return struct.pack("<4sI4s4sIHHIIHH4sI", *parts)


def processor_seconds(process: int) -> float:
    """What a process has taken of all cores so far. Linux only."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_now(process: int) -> float:
    """Megabytes that a process holds. Linux only."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def at_real_time(
    folds: dict[str, Clips], mapping: Mapping, minutes: int, kind: str, watch: str | None
) -> None:
    """Print what a process does with so many minutes of sound that come as fast as they last."""
    parts, truth = [], []
    for number in range(minutes):
        fold = sorted(folds)[number % len(folds)]
        sound, events = composed(np.random.default_rng((int(fold), number)), folds[fold])
        parts.append((sound * 32767).astype("<i2"))
        truth += [(name, 60 * number + begin, 60 * number + end) for name, begin, end in events]
    samples = np.concatenate(parts)
    command = [sys.executable, "-m", "soundsearch", "label", "-", "--events", "--live", "--json"]
    command += ["--format", f"s16le:{RATE}:1"] if kind == "raw" else []
    command += ["--watch", watch] if watch else []
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None and child.stdout is not None
    lines: list[tuple[float, dict[str, Any]]] = []

    def read() -> None:
        lines.extend((time.monotonic(), json.loads(line)) for line in child.stdout or ())

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(5)  # until it listens
    child.stdin.write(header(kind))
    size = round(BLOCK * RATE)
    began, before = time.monotonic(), processor_seconds(child.pid)
    memory = []
    for count, place in enumerate(range(0, len(samples), size), 1):
        block = samples[place : place + size]
        time.sleep(max(0.0, began + (place + len(block)) / RATE - time.monotonic()))
        child.stdin.write(block.tobytes())
        child.stdin.flush()
        if count % 600 == 0:
            memory.append(resident_now(child.pid))
            if count % 6000 == 0:
                print(f"{count / 600:.0f} minutes: {memory[-1]:.0f} MB", flush=True)
    took = processor_seconds(child.pid) - before
    peak = resident_mb(child.pid)
    child.stdin.close()
    child.wait()
    reader.join()
    moments: Told = []
    for at, row in lines:
        if row["moment"] == "matched":
            continue
        mid = row["label"]["mid"]
        index, label = AUDIOSET.index("", mid), Label("", mid, 0.0, ())
        if row["moment"] == "began":
            moments.append((index, Began(row["onset"], label, row["heard"]), at - began))
        else:
            ended = Ended(row["onset"], row["offset"], label, row["heard"])
            moments.append((index, ended, at - began))
    lags = [at - moment.heard for _, moment, at in moments]
    onsets, offsets = delays(truth, moments, mapping, LENGTH)
    lag = np.array(lags[:-1])
    print(f"{minutes} minutes, exit code {child.returncode}: {len(lines)} lines")
    print(f"after one minute {memory[0]:.0f} MB, at the end {memory[-1]:.0f} MB, peak {peak} MB")
    print(f"processor time: {took / (60 * minutes):.1%} of a core")
    print(
        f"a line comes {np.median(lag):.2f} s after the sound it needs, 95 % within "
        f"{np.quantile(lag, 0.95):.2f} s, at most {lag.max():.2f} s"
    )
    print("| of | median | 95 % | within | late |\n|---|---|---|---|---|")
    print(f"| {len(onsets)} onsets | {described(onsets)} |")
    print(f"| {len(offsets)} offsets | {described(offsets)} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--recordings", type=int, default=30, help="of each fold")
    parser.add_argument("--minutes", type=int, help="of live input, at real time")
    parser.add_argument("--format", choices=("wav", "raw"), default="wav", help="of live input")
    parser.add_argument("--watch", metavar="LIBRARY", help="with live input")
    options = parser.parse_args()
    folds = clips_of(options.data / "esc50")
    mapping = Mapping(sorted({category for clips in folds.values() for category in clips}))
    if options.minutes:
        at_real_time(folds, mapping, options.minutes, options.format, options.watch)
    else:
        table(folds, Listener.open(threads=1), mapping, options.recordings)


if __name__ == "__main__":
    main()
