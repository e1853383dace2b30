"""Long recordings: asking with them, and what thinning a long question costs.

    python -m benchmarks.long [DATA] [--hours 12] [--no-similar] [--no-file] [--no-ingest]

First, `similar` in a library of 300 five-second clips, four of 90 minutes and five of `--hours`,
with a clip of each kind: seconds, processor time, and the most private memory of its process beyond
what that had before (mapped files are not counted). Then a `query` with an MP3 of 90 minutes, in a
process of its own, beside decoding alone and the encoder alone; and the ingest of a WAV of three
hours, 44.1 kHz stereo, undisturbed, and killed half-way and run again. With DATA, a folder with
``esc50/labels.csv`` and ``esc50/audio/``: recordings composed of ESC-50, each of a place, which is
six categories. Questions of an hour, of fold 1, are asked in a library of recordings and clips of
folds 2 and 3, with all segments compared one by one and with those that the library compares. Last,
questions of many sounds, drawn from all clips of five seconds: how many of the ten best of all
clips, each scored exactly, are among the ten of the answer.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from soundsearch_ingest import decode, encoders, pipeline
from soundsearch_ingest.decode import Decoder

import soundsearch
from benchmarks.ingest import RATE, decoding_alone, encoder_alone, make_wav, stereo
from benchmarks.vectors import bundled_settings, clips_of, mixed, overlaid_embeddings
from soundsearch.asking import ranking
from soundsearch.asking.searching import find_hits
from soundsearch.stores.base import Store
from soundsearch.stores.opening import create_store, place_of

SEGMENT = 0.96
RANKINGS = (*ranking.RANKINGS, ranking.RELATED)
PLACES, OF_A_PLACE, CATEGORIES = 12, 3, 6
DEPTH = 50
MIXED_SECONDS = (5, 60, 150, 600)
MIXED = 12

Sound = tuple[np.ndarray, np.ndarray]


def private_mb() -> int:
    """Memory of this process that is no mapped file, in MB; Linux only."""
    with open("/proc/self/status", encoding="ascii") as status:
        [line] = [line for line in status if line.startswith("RssAnon")]
    return int(line.split()[1]) // 1024


def similar_once(library: str, clip: str, name: str) -> None:
    """Ask once, and print figures as JSON: the child's part of `similar`."""
    with soundsearch.open(library) as lib:
        lib.similar(1, 3)
        before = private_mb()
        is_over = threading.Event()
        peak = before

        def watch() -> None:
            nonlocal peak
            while not is_over.wait(0.005):
                peak = max(peak, private_mb())

        watcher = threading.Thread(target=watch)
        watcher.start()
        clock, cpu = time.perf_counter(), time.process_time()
        lib.similar(int(clip), 10, ranking=name)
        seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
        is_over.set()
        watcher.join()
    print(json.dumps([seconds, cpu, peak - before]))


def similar(folder: Path, hours: float) -> None:
    """Print a row for each length of the clip that is asked with, and each ranking."""
    real = overlaid_embeddings()
    store = create_store(place_of(folder / "similar"), bundled_settings())
    lengths = [5] * 300 + [round(5400 / SEGMENT)] * 4 + [round(hours * 3600 / SEGMENT)] * 5
    with store.writing():
        for number, length in enumerate(lengths):
            store.add(clips_of(mixed(real, length, number), 10**6 * number, length))
        store.optimise()
    store.close()
    print(f"{'asked with':>12}  {'ranking':>10}  {'s':>6}  {'cpu s':>6}  {'MB':>5}")
    for clip in (1, 301, 305):
        for name in RANKINGS:
            child = [sys.executable, "-m", "benchmarks.long", "--child"]
            done = subprocess.run(
                [*child, str(folder / "similar"), str(clip), name], check=True, capture_output=True
            )
            seconds, cpu, memory = json.loads(done.stdout)
            asked_with = lengths[clip - 1] * SEGMENT
            print(
                f"{asked_with:10.0f} s  {name:>10}  {seconds:6.2f}  {cpu:6.2f}  {memory:5}",
                flush=True,
            )


def one_file(folder: Path) -> None:
    """Print how long a query with a 90-minute MP3 takes, and its parts."""
    path = folder / "long.mp3"
    block = stereo(120, 9)
    with soundfile.SoundFile(path, "w", RATE, 2, format="MP3") as file:
        for _ in range(45):
            file.write(block)
    with soundsearch.open(folder / "l", encoder="mini") as lib:
        lib.add(np.ones(16_000, np.float32), 16_000, uri="one")
    began = time.perf_counter()
    with Decoder(path) as decoder:
        sum(map(len, decoder))
    decoded = time.perf_counter() - began
    encoder_alone(60)
    began = time.perf_counter()
    encoder_alone(5400)
    encoded = time.perf_counter() - began
    main = "from soundsearch.cli.main import main; main()"
    began = time.perf_counter()
    arguments = ["query", str(path), "--library", str(folder / "l")]
    subprocess.run([sys.executable, "-c", main, *arguments], check=True, capture_output=True)
    whole = time.perf_counter() - began
    print(
        f"\nquery with an MP3 of 90 minutes: {whole:.1f} s; decoding on one core {decoded:.1f} s, "
        f"the encoder on {pipeline.available_cores()} cores {encoded:.1f} s"
    )


def ingested(library: Path, folder: Path, kill_at: int | None = None) -> tuple[float, float]:
    """Ingest in a process of its own; seconds and processor time.

    With `kill_at`, it is killed when so many bytes of what it heard are kept.
    """
    script = (
        "import sys, soundsearch\n"
        "soundsearch.open(sys.argv[1], encoder='mini').ingest(sys.argv[2])\n"
    )
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", script, str(library), str(folder)])
    while kill_at is not None:
        kept = sum(file.stat().st_size for file in library.glob("heard/*"))
        if kept >= kill_at:
            process.kill()
            break
        time.sleep(0.01)
    process.wait()
    seconds = time.perf_counter() - began
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime


def one_ingest(folder: Path) -> None:
    """Print how long a long WAV takes, and its parts; and what a kill half-way costs."""
    sounds = folder / "wav"
    sounds.mkdir()
    length = make_wav(sounds, 0.5)
    began = time.perf_counter()
    decoding_alone(sounds)
    decoded = time.perf_counter() - began
    began = time.perf_counter()
    encoder_alone(6000)
    encoded = (time.perf_counter() - began) * length / 6000
    whole, cpu = ingested(folder / "whole", sounds)
    cores = pipeline.available_cores()
    print(
        f"\ningest of a WAV of {length / 3600:.0f} hours: {whole:.1f} s, {cpu:.1f} s of processor "
        f"time; decoding on one core {decoded:.1f} s, the encoder on {cores} cores {encoded:.1f} s"
    )
    first = ingested(folder / "killed", sounds, kill_at=round(length / SEGMENT / 2) * 129 * 4)
    second = ingested(folder / "killed", sounds)
    print(
        f"killed half-way, after {first[0]:.1f} s, {first[1]:.1f} s of processor time; run again: "
        f"{second[0]:.1f} s, {second[1]:.1f} s of processor time"
    )


def esc50(data: Path) -> dict[tuple[str, bool], list[Sound]]:
    """Embeddings and levels of clips, by category and whether they are of fold 1."""
    encoder = encoders.load()

    def heard(row: dict[str, str]) -> Sound:
        sound = decode.read(data / "esc50" / "audio" / row["filename"])
        return pipeline.embed_sound([sound], encoder, SEGMENT)[:2]

    with open(data / "esc50" / "labels.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    with ThreadPoolExecutor(pipeline.available_cores()) as pool:
        sounds = list(pool.map(heard, rows))
    found: dict[tuple[str, bool], list[Sound]] = {}
    for row, sound in zip(rows, sounds, strict=True):
        found.setdefault((row["category"], row["fold"] == "1"), []).append(sound)
    return found


def composed(rng: np.random.Generator, clips: list[Sound], segments: int) -> Sound:
    """A recording of so many segments: clips in random order, one after the other."""
    count = segments // len(clips[0][0]) + 1
    chosen = [clips[place] for place in rng.integers(0, len(clips), count)]
    vectors, levels = (np.concatenate(column) for column in zip(*chosen, strict=True))
    return vectors[:segments], levels[:segments]


def stored(store: Store, sounds: list[Sound]) -> None:
    """Store sounds as clips, numbered from 1."""
    for number, (vectors, levels) in enumerate(sounds):
        [clip] = clips_of(vectors, 10**6 * number, len(vectors))
        clip.segments["level"] = levels
        store.add([clip])


def thinned(folder: Path, clips: dict[tuple[str, bool], list[Sound]]) -> None:
    """Print how well long questions find with all of their segments, and with some."""
    rng = np.random.default_rng(0)
    categories = sorted({category for category, _ in clips})
    places = [list(rng.choice(categories, CATEGORIES, replace=False)) for _ in range(PLACES)]
    sounds: list[Sound] = []
    owners: list[object] = []
    for number, place in enumerate(places):
        own = [sound for category in place for sound in clips[category, False]]
        for _ in range(OF_A_PLACE):
            sounds.append(composed(rng, own, int(rng.integers(600, 1900))))
            owners.append(number)
    for category in categories:
        sounds += clips[category, False]
        owners += [category] * len(clips[category, False])
    store = create_store(place_of(folder / "composed"), bundled_settings())
    with store.writing():
        stored(store, sounds)
        store.optimise()
    asked = [
        composed(rng, [sound for category in place for sound in clips[category, True]], 3750)
        for place in places
    ]
    used = ranking._ONE_BY_ONE
    print(f"\n{'ranking':>10}  {'segments':>8}  {'P@3':>5}  {'mAP@50':>6}  {'same ten':>8}")
    for name in ranking.RANKINGS:
        first: list[list[int]] = []
        for segments in (1 << 30, used):
            ranking._ONE_BY_ONE = segments
            precisions, averages, tens = [], [], []
            with store.reading() as reading:
                for number, sound in enumerate(asked):
                    hits = find_hits(reading, store.settings, *sound, DEPTH, name)
                    right = {number, *places[number]}
                    flags = np.array([owners[hit.clip_id - 1] in right for hit in hits])
                    total = min(DEPTH, sum(owner in right for owner in owners))
                    at = np.cumsum(flags) / np.arange(1, len(flags) + 1)
                    precisions.append(flags[:3].mean())
                    averages.append((at * flags).sum() / total)
                    tens.append([hit.clip_id for hit in hits[:10]])
            first = first or tens
            same = [len({*ten} & {*other}) for ten, other in zip(tens, first, strict=True)]
            print(
                f"{name:>10}  {min(segments, 3750):8}  {np.mean(precisions):5.3f}  "
                f"{np.mean(averages):6.3f}  {np.mean(same):8.1f}",
                flush=True,
            )
    ranking._ONE_BY_ONE = used
    store.close()


def many_sounds(folder: Path, clips: dict[tuple[str, bool], list[Sound]]) -> None:
    """Print which share of the ten best clips a question of many sounds finds."""
    sounds = [sound for each in clips.values() for sound in each]
    store = create_store(place_of(folder / "many"), bundled_settings())
    with store.writing():
        stored(store, sounds)
    print(f"\n{'asked with':>12}" + "".join(f"{name:>11}" for name in ranking.RANKINGS))
    with store.reading() as reading:
        for seconds in MIXED_SECONDS:
            row = f"{seconds:10} s"
            for name in ranking.RANKINGS:
                rng, found = np.random.default_rng(seconds), 0
                for _ in range(MIXED):
                    asked = composed(rng, sounds, round(seconds / SEGMENT))
                    first, best = (
                        find_hits(reading, store.settings, *asked, k, name)[:10]
                        for k in (10, len(sounds))
                    )
                    found += len({hit.clip_id for hit in first} & {hit.clip_id for hit in best})
                row += f"{found / MIXED / 10:11.3f}"
            print(row, flush=True)
    store.close()


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="?", help="a folder with esc50/")
    parser.add_argument("--hours", type=float, default=12.0)
    parser.add_argument("--no-similar", action="store_true")
    parser.add_argument("--no-file", action="store_true")
    parser.add_argument("--no-ingest", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        similar_once(*options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        if not options.no_similar:
            similar(Path(folder), options.hours)
        if not options.no_file:
            one_file(Path(folder))
        if not options.no_ingest:
            one_ingest(Path(folder))
        if options.data:
            clips = esc50(options.data)
            thinned(Path(folder), clips)
            many_sounds(Path(folder), clips)


if __name__ == "__main__":
    main()
