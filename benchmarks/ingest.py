"""The speed of ingesting a folder, compared with its parts and with a plain loop.

    python -m benchmarks.ingest [--scale 0.1] [--folder DIR]

For 2 000 five-second FLACs, 200 three-minute MP3s and one six-hour WAV (44.1 kHz), in seconds of
sound per second, on all cores that this process may use:

encoder   the network alone on ready log-mel
decoding  files to mono 16 kHz, nothing else
allowed   the rate of these two together if everything else took no time
loop      librosa.load, log-mel and the same network, file by file, as written by hand
whole     soundsearch: the whole path into a library, and its share of `allowed`

Each row is printed by the clock, and by the processor time of all processes as if it kept all
cores busy, which other programs disturb less. With --rounds, every row is measured several times,
alternately, and the median is printed.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import soundfile
from soundsearch_ingest import decode, encoders, logmel, pipeline

import soundsearch
from soundsearch import demo_sounds

RATE = 44_100
SEGMENT = 0.96


def stereo(seconds: float, seed: int) -> np.ndarray:
    """Concatenate demo sounds and add a little noise, at 44.1 kHz: float32 [n, 2]."""
    rng = np.random.default_rng(seed)
    kinds = sorted(demo_sounds.KINDS)
    parts, length = [], 0
    while length < seconds * RATE / 2:
        parts.append(demo_sounds.make(str(rng.choice(kinds)), int(rng.integers(1 << 30))))
        length += len(parts[-1])
    mono = np.repeat(np.concatenate(parts), 2)[: int(seconds * RATE)]
    sound = np.stack([mono, 0.8 * mono], axis=1)
    return (sound + rng.normal(0, 0.003, sound.shape)).astype(np.float32)


def make_flacs(folder: Path, scale: float) -> float:
    """Write five-second FLACs; return their total length in seconds."""
    count = max(2, int(2000 * scale))
    sound = stereo(600, 0)
    for number in range(count):
        begin = number * 7919 % (len(sound) - 5 * RATE)
        soundfile.write(folder / f"{number:05}.flac", sound[begin : begin + 5 * RATE], RATE)
    return count * 5.0


def make_mp3s(folder: Path, scale: float) -> float:
    """Write three-minute MP3s, copies of a few with different titles; return their length."""
    count = max(2, int(200 * scale))
    encoded = []
    for number in range(min(count, 5)):
        path = folder / "encoded.mp3"
        soundfile.write(path, stereo(180, number), RATE)
        encoded.append(path.read_bytes())
        path.unlink()
    for number in range(count):
        tag = b"TAG" + f"{number:030}".encode() + bytes(95)
        (folder / f"{number:05}.mp3").write_bytes(encoded[number % len(encoded)] + tag)
    return count * 180.0


def make_wav(folder: Path, scale: float) -> float:
    """Write one long recording; return its length in seconds."""
    seconds = max(120, 6 * 3600 * scale)
    block = stereo(120, 9)
    with soundfile.SoundFile(folder / "long.wav", "w", RATE, 2, "PCM_16") as file:
        for _ in range(int(seconds // 120)):
            file.write(block)
    return seconds // 120 * 120


def encoder_alone(seconds: float) -> None:
    """The network on ready log-mel of clips of ten segments, each core with its own calls."""
    encoder = encoders.load()
    batch = np.random.default_rng(0).normal(-2, 2, (3, 960, 64)).astype(np.float32)
    calls = max(1, round(min(seconds, 6000) / SEGMENT / 30))
    with ThreadPoolExecutor(pipeline.available_cores()) as pool:
        list(pool.map(lambda _: encoder.embed(batch), range(calls)))


def decoding_alone(folder: Path) -> None:
    """Decode files to mono 16 kHz, one file per core; a single file on one core."""
    with ThreadPoolExecutor(pipeline.available_cores()) as pool:
        list(pool.map(lambda path: sum(map(len, decode.Decoder(path))), sorted(folder.iterdir())))


def plain_loop(folder: Path) -> None:
    """Embed files with a loop as people write it by hand."""
    import librosa

    encoder = encoders.load(threads=pipeline.available_cores())
    for path in sorted(folder.iterdir()):
        sound, _ = librosa.load(path, sr=decode.SAMPLE_RATE)
        mel = logmel.log_mel(sound)
        encoder.embed(mel[None, : len(mel) // logmel.PATCH_FRAMES * logmel.PATCH_FRAMES])


def whole_path(folder: Path) -> int:
    """Run an ingest in its own process; return its peak memory in MB."""
    script = (
        "import re, soundsearch, sys;"
        "report = soundsearch.open(sys.argv[1], encoder='mini').ingest(sys.argv[2]);"
        "assert not report.failed;"
        "status = open('/proc/self/status').read();"
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', status)[1]) // 1024)"
    )
    with tempfile.TemporaryDirectory() as library:
        done = subprocess.run(
            [sys.executable, "-c", script, f"{library}/l", folder], check=True, capture_output=True
        )
    return int(done.stdout)


def rates(action: Callable[[], object], seconds: float) -> np.ndarray:
    """Run an action; return seconds of sound per second by the clock, and by processor time."""
    began, before = time.perf_counter(), sum(os.times()[:4])
    action()
    used = (sum(os.times()[:4]) - before) / pipeline.available_cores()
    return seconds / np.maximum([time.perf_counter() - began, used], 1e-6)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the files")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="keep the files here")
    parser.add_argument("--no-loop", action="store_true", help="leave out the plain loop")
    options = parser.parse_args()
    print(f"soundsearch {soundsearch.__version__}, {pipeline.available_cores()} cores")
    print(f"{'':12}{'encoder':>9}{'decoding':>9}{'allowed':>9}{'loop':>7}{'whole':>8}", end="")
    print("  whole/allowed  whole/loop  peak MB")
    with tempfile.TemporaryDirectory() as temporary:
        for make in (make_flacs, make_mp3s, make_wav):
            folder = (options.folder or Path(temporary)) / make.__name__
            folder.mkdir(parents=True, exist_ok=True)
            if any(folder.iterdir()):
                seconds = sum(soundfile.info(path).duration for path in folder.iterdir())
            else:
                seconds = make(folder, options.scale)
            measure(folder, seconds, options.rounds, not options.no_loop)


def measure(folder: Path, seconds: float, rounds: int, with_loop: bool) -> None:
    """Measure and print one row of the table."""
    columns: dict[str, list[np.ndarray]] = {}
    memory = 0

    def whole() -> None:
        nonlocal memory
        memory = max(memory, whole_path(folder))

    for _ in range(rounds):
        for name, action, length in [
            ("encoder", lambda: encoder_alone(seconds), min(seconds, 6000)),
            ("decoding", lambda: decoding_alone(folder), seconds),
            ("loop", (lambda: plain_loop(folder)) if with_loop else (lambda: None), seconds),
            ("whole", whole, seconds),
        ]:
            columns.setdefault(name, []).append(rates(action, length))
    is_single = len(list(folder.iterdir())) == 1
    for place, by in enumerate(("clock", "cpu")):
        row = {
            name: statistics.median(each[place] for each in all) for name, all in columns.items()
        }
        # By the clock, a single file is decoded on one core, while the encoder may use the others.
        share = pipeline.available_cores() if is_single and by == "clock" else 1
        allowed = 1 / (1 / row["encoder"] + 1 / (row["decoding"] * share))
        print(
            f"{folder.name[5:]:6}{by:6}{row['encoder']:9.0f}{row['decoding']:9.0f}{allowed:9.0f}"
            f"{row['loop'] if with_loop else float('nan'):7.0f}{row['whole']:8.0f}"
            f"{row['whole'] / allowed:15.2f}{row['whole'] / row['loop']:12.2f}{memory:9}",
            flush=True,
        )


if __name__ == "__main__":
    main()
