"""The speed of reading, on one core, and ingesting AudioSet's released features.

    python -m benchmarks.audioset [--clips 20000] [--segments 2000000]

For random records of 10 segments (128 bytes each, with some labels) in one TFRecord file, in
segments per second of processor time, the best of several rounds:

frames     splitting the file into records and verifying both checksums of each, without decoding
records    all of `soundsearch_ingest.audioset.read_records`: checksums and decoding
unchecked  the same without the time of the checksums alone

Then random records with ``--segments`` segments in total become a library: segments per second of
elapsed time, until they are stored and until the search index is built too; bytes per segment of
each file on disk; the peak memory of the process.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from google_crc32c import value as crc32c
from soundsearch_ingest import tfrecord
from soundsearch_ingest.audioset import Record, read_records, write_records

import soundsearch

SEGMENTS = 10
CLIPS_PER_FILE = 10_000
ROUNDS = 5


def made_up(clips: int, seed: int = 0) -> Iterator[Record]:
    """Records of random bytes and labels."""
    rng = np.random.default_rng(seed)
    for number in range(clips):
        labels = tuple(rng.integers(0, 527, rng.integers(1, 4)).tolist())
        features = rng.integers(0, 256, (SEGMENTS, 128), dtype=np.uint8)
        yield Record(f"{seed:04}-{number:06}", 30.0, 40.0, labels, features)


def fastest(action: Callable[[], object]) -> float:
    """The processor time of an action in seconds, the best of `ROUNDS`."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return min(times)


def frames(path: Path) -> list[int]:
    with open(path, "rb") as file:
        return [len(payload) for payload in tfrecord.payloads(file)]


def ingest(segments: int) -> None:
    """Ingest random records and print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(-(-segments // SEGMENTS // CLIPS_PER_FILE)):
            write_records(Path(folder) / f"{seed:04}.tfrecord", made_up(CLIPS_PER_FILE, seed))
        library = Path(folder) / "library"
        # In its own process, to measure its memory.
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            stored, indexed, memory = pool.submit(filled, folder, library).result()
        count = soundsearch.open(library).info()["segments"]
        print(f"stored    {count / stored:>12,.0f} segments a second ({count:,} segments)")
        print(f"indexed   {count / indexed:>12,.0f} segments a second")
        print(f"memory    {memory / 1e6:>12,.0f} MB")
        for path in sorted(library.iterdir()):
            if (share := path.stat().st_size / count) >= 0.05:
                print(f"{path.name:30} {share:6.1f} bytes a segment")


def filled(folder: str, library: Path) -> tuple[float, float, float]:
    """Ingest the records; return seconds until stored and until indexed, and peak bytes."""
    import resource

    began = time.perf_counter()
    steps = [began]
    with soundsearch.open(library) as lib:
        lib.ingest(
            [f"{folder}/*.tfrecord"],
            on_file=lambda _uri, _outcome: steps.__setitem__(0, time.perf_counter()),
        )
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return steps[0] - began, time.perf_counter() - began, memory


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--segments", type=int, default=2_000_000)
    options = parser.parse_args()
    clips: int = options.clips
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made-up.tfrecord"
        write_records(path, made_up(clips))
        cutting = fastest(lambda: frames(path))
        reading = fastest(lambda: sum(1 for _ in read_records(path)))
        contents = [bytes(length) for length in frames(path)]
        checking = fastest(lambda: [(crc32c(b"12345678"), crc32c(data)) for data in contents])
    for name, seconds in [
        ("frames", cutting),
        ("records", reading),
        ("unchecked", reading - checking),
    ]:
        print(f"{name:9} {clips * SEGMENTS / seconds:>12,.0f} segments a second", flush=True)
    ingest(options.segments)


if __name__ == "__main__":
    main()
