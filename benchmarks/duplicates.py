"""Duplicates made of ESC-50's clips: how many are found, and how many findings are wrong.

    python -m benchmarks.duplicates DATA [--fold 3] [--clips 120]
    python -m benchmarks.duplicates --scale 100000

DATA holds ``esc50/labels.csv`` and ``esc50/audio/``. For each kind of change, a library of clips of
one fold, evenly drawn, and of each clip changed: MP3 at 64 kbit/s, Opus at 32, 12 dB louder
(clipped at full scale) and softer, 8 kHz, 2 % longer and shorter, half a semitone up and down, 2 %
faster with its pitch, cut at odd places (2 to 3 s that hold at least a tenth of the clip's energy),
with white noise 20 dB below, and within a minute of clips of another fold. A clip and its changed
one are to be found; any other pair is wrong, unless both are of one source recording, which counts
neither way; two minutes may share a clip, and do not count. Found are pairs in one group, and those
apart as ``overlap`` or ``excerpt``; "grouped" those in one group.

Beside it, on the same pairs: thresholds on the cosine of pooled embeddings, and chromaprint
(Debian's fpcalc, if it is there) by the share of equal bits at the best offset. Both thresholds
are set with hindsight, so that .99 of what they find over all kinds is right.

Beside it, too, what ``ingest --report-duplicates`` would say of each changed clip.

``--scale`` times the search for pairs over so many made sounds and the comparing of their sketches,
and a library whose clips all are links to one file; nothing is decoded but that file.
"""

from __future__ import annotations

import argparse
import csv
import io
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from soundsearch_ingest.decode import SAMPLE_RATE, read
from soundsearch_ingest.discover import AudioFile
from soundsearch_ingest.pipeline import available_cores

import soundsearch
from benchmarks.vectors import bundled_settings
from soundsearch.duplicates.comparing import compare
from soundsearch.duplicates.hearing import Voice, Voices
from soundsearch.duplicates.incoming import Incoming
from soundsearch.duplicates.pictures import BANDS, PRINT
from soundsearch.duplicates.proposing import alike_prints
from soundsearch.duplicates.sketches import Sketch, Sketches
from soundsearch.labels.head import silence
from soundsearch.stores.opening import create_store, open_store, place_of
from soundsearch.stores.records import CLIP_LABELS, SEGMENT, ClipRecord, NewClip

Floats = NDArray[np.float32]
Pair = tuple[int, int]

RIGHT = 0.99
MINUTE = "in a minute"
# Recordings that ESC-50 has under two source numbers: their whitened waves correlate by .3 or more
# in one peak, or, as 68734 is 68670 with an echo, in two; those of other clips do by .03 at most.
AGAIN = {
    "197408": "140199",
    "23222": "24524",
    "133889": "134915",
    "68734": "68670",
    "30322": "28314",
}
COSINES = np.linspace(0.5, 1, 251)


def encoded(sound: Floats, codec: str, container: str, rate: int, bits: int) -> Floats:
    """A sound after an encoder."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate, layout="mono")
        stream.bit_rate = bits
        whole = (np.clip(sound, -1, 1) * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        if not stream.codec_context.is_open:
            stream.codec_context.open()
        convert = av.AudioResampler(
            format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size or 1024
        )
        for part in [*convert.resample(frame), *convert.resample(None)]:
            for packet in stream.encode(part):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
    buffer.seek(0)
    return read(buffer)


def changed(sound: Floats, minute: Floats, rng: np.random.Generator) -> dict[str, Floats]:
    """A sound after each kind of change; `minute` is 55 s of other sound."""
    from librosa.effects import pitch_shift, time_stretch

    energy = np.concatenate(([0.0], np.cumsum(np.square(sound, dtype=np.float64))))
    for _ in range(1000):
        begin, length = int(rng.integers(300, 32_000)), int(rng.integers(32_000, 48_001))
        if energy[begin + length] - energy[begin] >= 0.1 * energy[-1]:
            break
    at = int(rng.integers(0, len(minute)))
    level = np.sqrt(np.mean(np.square(sound)))
    low = soxr.resample(sound, SAMPLE_RATE, 8000)
    found = {
        "MP3 64 kbit/s": encoded(sound, "mp3", "mp3", 44_100, 64_000),
        "Opus 32 kbit/s": encoded(sound, "libopus", "ogg", 48_000, 32_000),
        "+12 dB, clipped": np.clip(sound * 10 ** (12 / 20), -1, 1),
        "-12 dB": sound * 10 ** (-12 / 20),
        "8 kHz": soxr.resample(low, 8000, SAMPLE_RATE),
        "2 % shorter": time_stretch(sound, rate=1.02),
        "2 % longer": time_stretch(sound, rate=0.98),
        "+0.5 semitones": pitch_shift(sound, sr=SAMPLE_RATE, n_steps=0.5),
        "-0.5 semitones": pitch_shift(sound, sr=SAMPLE_RATE, n_steps=-0.5),
        "2 % faster": soxr.resample(sound, SAMPLE_RATE, 0.98 * SAMPLE_RATE),
        "cut": sound[begin : begin + length],
        "noise at 20 dB": sound + rng.normal(0, 0.1 * level, len(sound)),
        MINUTE: np.concatenate((minute[:at], sound, minute[at:])),
    }
    return {kind: np.asarray(each, np.float32) for kind, each in found.items()}


def rows_of(data: Path, fold: int, count: int) -> list[dict[str, str]]:
    """Clips of a fold, evenly drawn; none that is silent."""
    with open(data / "esc50" / "labels.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["fold"]) == fold]
    return rows[:: max(1, len(rows) // count)][:count]


def measure(data: Path, fold: int, count: int) -> None:
    """Print the table."""
    rng = np.random.default_rng(fold)
    audio = data / "esc50" / "audio"
    rows = rows_of(data, fold, count)
    sounds = [read(str(audio / row["filename"])) for row in rows]
    others = [read(str(audio / row["filename"])) for row in rows_of(data, fold % 3 + 1, 60)]
    sources = [AGAIN.get(row["source"], row["source"]) for row in rows]
    made = []
    for sound in sounds:
        minute = np.concatenate([others[pick] for pick in rng.choice(len(others), 11, False)])
        made.append(changed(sound, minute, rng))
    tables: dict[str, dict[str, list[tuple[Pair, float]]]] = {}
    fpcalc = shutil.which("fpcalc")
    print(
        f"fold {fold}, {len(rows)} clips\n\n"
        "kind | recall | grouped | precision | wrong pairs | as they come in: recall | wrong pairs"
    )
    total = np.zeros(6, int)
    wrongly: set[tuple[str, ...]] = set()
    seconds = seconds_in = pairs = 0.0
    for kind in made[0]:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary) / "sounds"
            folder.mkdir()
            for number, sound in enumerate(sounds):
                for name, each in (("a", sound), ("b", made[number][kind])):
                    path = folder / f"{name}{number}.wav"
                    soundfile.write(path, each, SAMPLE_RATE, subtype="FLOAT")
            with soundsearch.open(Path(temporary) / "l") as lib:
                lib.ingest([folder])
                began = time.process_time()
                found = lib.duplicates(similar=0.5, on_step=lambda _text: None)
                seconds += time.process_time() - began
                tables.setdefault("cosine", {})[kind] = list(near(lib))
            told, spent = come_in(Path(temporary) / "l", sorted(folder.glob("b*")))
            if fpcalc is not None:
                tables.setdefault("chromaprint", {})[kind] = list(alike_bits(folder, len(rows)))
        inside = {pair for group in found.groups for pair in together(group)}
        beside = set(numbers(found.apart))
        if kind == MINUTE:  # two of these may hold the same clip of another fold
            both = {pair for pair in inside | beside | told if pair[0] % 2 and pair[1] % 2}
            inside, beside, told = inside - both, beside - both, told - both
        right, wrong = judged(inside | beside, sources)
        wrongly |= {tuple(rows[number // 2]["filename"] for number in pair) for pair in wrong}
        grouped, _ = judged(inside, sources)
        met, met_wrongly = judged(told, sources)
        total += (len(right), len(grouped), len(wrong), len(rows), len(met), len(met_wrongly))
        seconds_in += spent
        pairs += len(rows)
        share = len(right) / max(1, len(right) + len(wrong))
        print(
            f"{kind} | {len(right) / len(rows):.3f} | {len(grouped) / len(rows):.3f} | "
            f"{share:.3f} | {len(wrong)} | {len(met) / len(rows):.3f} | {len(met_wrongly)}",
            flush=True,
        )
    print(
        f"all | {total[0] / total[3]:.3f} | {total[1] / total[3]:.3f} | "
        f"{total[0] / (total[0] + total[2]):.3f} | {total[2]} | {total[4] / total[3]:.3f} | "
        f"{total[5]}\n{1000 * seconds / (2 * pairs):.1f} ms of processor time a clip, for "
        f"everything; {1000 * seconds_in / pairs:.1f} ms as one comes in\n"
    )
    for name, table in tables.items():
        compare_with(name, table, sources)
    for names in sorted(wrongly):
        print(f"wrong: {names}")


def come_in(library: Path, paths: list[Path]) -> tuple[set[Pair], float]:
    """What ``ingest --report-duplicates`` says of some clips, and its seconds of processor time.

    All clips are in the library before, so that none is easier to find than the last.
    """
    told: list[soundsearch.DuplicatePair] = []
    store = open_store(place_of(library))
    look = Incoming(store, told.append).watching(lambda _uri, _outcome: None)
    began = time.process_time()
    for path in paths:
        look(str(path), "added")
    seconds = time.process_time() - began
    store.close()
    return set(numbers(told)), seconds


def numbers(pairs: Iterable[soundsearch.DuplicatePair]) -> Iterator[Pair]:
    """The pairs that were found to be the same."""
    for pair in pairs:
        if pair.reason not in ("similar", "unconfirmed"):
            yield number_of(pair.uri), number_of(pair.other)


def number_of(uri: str) -> int:
    """Twice the number of a clip, and one more for the changed one."""
    name = Path(uri).stem
    return 2 * int(name[1:]) + (name[0] == "b")


def together(group: soundsearch.DuplicateGroup) -> Iterator[Pair]:
    """All pairs within a group."""
    names = [number_of(group.uri), *(number_of(pair.uri) for pair in group.pairs)]
    for place, one in enumerate(names):
        yield from ((one, other) for other in names[place + 1 :])


def judged(pairs: set[Pair], sources: list[str]) -> tuple[set[int], set[Pair]]:
    """The clips whose changed one was found, and the pairs that are wrong."""
    right = {one // 2 for one, other in pairs if one // 2 == other // 2}
    wrong = {
        (min(one, other), max(one, other))
        for one, other in pairs
        if one // 2 != other // 2 and sources[one // 2] != sources[other // 2]
    }
    return right, wrong


def near(lib: soundsearch.Library) -> Iterator[tuple[Pair, float]]:
    """Pairs by the cosine of their pooled embeddings."""
    uris = {clip.id: number_of(clip.uri) for clip in lib}
    for block in lib.neighbours(20):
        for id, others, scores in zip(
            block.clips.tolist(), block.ids.tolist(), block.scores.tolist(), strict=True
        ):
            for other, score in zip(others, scores, strict=True):
                if other >= 0:
                    yield (uris[id], uris[other]), score


def alike_bits(folder: Path, count: int) -> Iterator[tuple[Pair, float]]:
    """Pairs of a clip and a changed one by the share of equal bits of their fingerprints."""
    prints = {}
    for path in sorted(folder.iterdir()):
        done = subprocess.run(
            ["fpcalc", "-raw", "-length", "120", path], capture_output=True, text=True
        )
        text = done.stdout.partition("FINGERPRINT=")[2].strip()
        numbers = np.array([int(x) & 0xFFFFFFFF for x in text.split(",") if x], np.uint32)
        prints[number_of(str(path))] = np.unpackbits(numbers.view(np.uint8)).reshape(-1, 32)
    for one in range(0, 2 * count, 2):
        for other in range(1, 2 * count, 2):
            short, long = sorted((prints[one], prints[other]), key=len)
            if len(short) < 4:
                continue
            windows = np.lib.stride_tricks.sliding_window_view(
                np.pad(long, ((2, 2), (0, 0))), len(short), axis=0
            )
            equal = np.equal(windows, short.T[None]).mean(axis=(1, 2))
            yield (one, other), float(equal.max())


def compare_with(name: str, table: dict[str, list[tuple[Pair, float]]], sources: list[str]) -> None:
    """Print the recall of a threshold that is right in .99 of all kinds' findings."""
    for threshold in COSINES:
        results = {
            kind: judged({pair for pair, score in scored if score >= threshold}, sources)
            for kind, scored in table.items()
        }
        right = sum(len(found) for found, _ in results.values())
        wrong = sum(len(pairs) for _, pairs in results.values())
        if right and right / (right + wrong) >= RIGHT:
            break
    print(f"{name} from {threshold:.3f} on, precision {right / max(1, right + wrong):.3f}")
    for kind, (found, _) in results.items():
        print(f"  {kind} | {len(found) / len(sources):.3f}")
    print(f"  all | {right / len(sources) / len(results):.3f}", flush=True)


def scale(count: int) -> None:
    """Print the times of many clips."""
    rng = np.random.default_rng(0)
    middles = rng.normal(0, 0.05, (2000, PRINT))
    with Sketches() as sketches:
        voices: list[Voice] = []
        for number in range(count):
            # Of each hundred clips one has a copy.
            if number % 100 == 1:
                own = voices[-1].prints + rng.normal(0, 6, (5, PRINT))
            else:
                kinds = middles[rng.integers(0, 2000, 5)]
                own = (kinds + rng.normal(0, 0.045, kinds.shape)) * (127 / 0.42)
            rows = np.clip(np.rint(own), -127, 127).astype(np.int8)
            at = 0.6 * np.arange(5, dtype=np.float32)
            place = sketches.put(rng.standard_normal((63, BANDS), np.float32))
            assert place is not None, "the disk of temporary files is full"
            sketch = Sketch((place,), 63, 63)
            more = np.ones(5, np.float32), False, sketch
            voices.append(Voice(b"%d" % number, 80_000, rows, at, *more))
        began, processor = time.perf_counter(), time.process_time()
        pairs = alike_prints(voices)
        copies = sum((place - 1, place) in pairs for place in range(1, count, 100))
        print(
            f"{count} clips, {5 * count} prints: {len(pairs)} pairs in "
            f"{time.perf_counter() - began:.0f} s, {time.process_time() - processor:.0f} s of "
            f"processor time; {copies / (count / 100):.3f} of the copies among them",
            flush=True,
        )
        began, processor = time.perf_counter(), time.process_time()
        reader = Voices(sketches)
        with ThreadPoolExecutor(available_cores()) as pool:
            found = pool.map(
                lambda pair: compare(reader, ("", voices[pair[0]]), ("", voices[pair[1]])),
                sorted(pairs),
            )
            assert not any(found), "sketches that have nothing in common"
        print(
            f"their sketches, none alike, compared in {time.perf_counter() - began:.0f} s, "
            f"{time.process_time() - processor:.0f} s of processor time",
            flush=True,
        )
    with tempfile.TemporaryDirectory() as temporary:
        copied(Path(temporary), count)


def copied(folder: Path, count: int) -> None:
    """Time a library of links to one file."""
    sound = folder / "a.wav"
    soundfile.write(sound, np.random.default_rng(0).normal(0, 0.1, 80_000), SAMPLE_RATE)
    state = sound.stat()
    store = create_store(place_of(folder / "l"), bundled_settings())
    with store.writing():
        for begin in range(0, count, 20_000):
            clips = []
            for number in range(begin, min(count, begin + 20_000)):
                link = folder / f"{number}.wav"
                link.symlink_to(sound)
                record = ClipRecord(
                    file=AudioFile(str(link), state.st_size, state.st_mtime_ns),
                    digest=bytes(32),
                    duration=5.0,
                    labels=silence(CLIP_LABELS),
                )
                vector = np.ones((1, store.settings.dimension), np.float32)
                segments = np.zeros(1, SEGMENT)
                clips.append(NewClip(record=record, embeddings=vector, segments=segments))
            store.add(clips)
    store.close()
    with soundsearch.open(folder / "l") as lib:
        began, processor = time.perf_counter(), time.process_time()
        [group] = lib.duplicates().groups
        print(
            f"{count} clips of the same bytes: a group of {len(group)} in "
            f"{time.perf_counter() - began:.0f} s, {time.process_time() - processor:.1f} s of "
            "processor time"
        )


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--fold", type=int, default=3)
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--scale", type=int)
    options = parser.parse_args()
    if options.scale:
        scale(options.scale)
    if options.data:
        measure(options.data, options.fold, options.clips)


if __name__ == "__main__":
    main()
