"""How fast AudioSet's released features are read, on one core.

    python -m benchmarks.audioset [--clips 20000]

For made-up records of 10 segments (128 bytes each, with some labels) in one TFRecord file, in
segments a second of processor time, the best of some rounds:

frames     the file cut into records, both checksums of each verified, nothing decoded
records    all of `ingest.audioset.read_records`: checksums and decoding
unchecked  the same without the time that the checksums alone take
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from google_crc32c import value as crc32c

from ingest import tfrecord
from ingest.audioset import Record, read_records, write_records

SEGMENTS = 10
ROUNDS = 5


def made_up(clips: int) -> Iterator[Record]:
    """Records of random bytes and labels."""
    rng = np.random.default_rng(0)
    for number in range(clips):
        labels = tuple(rng.integers(0, 527, rng.integers(1, 4)).tolist())
        features = rng.integers(0, 256, (SEGMENTS, 128), dtype=np.uint8)
        yield Record(f"{number:011}", 30.0, 40.0, labels, features)


def fastest(action: Callable[[], object]) -> float:
    """Seconds of processor time."""
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        action()
        times.append(time.process_time() - began)
    return min(times)


def frames(path: Path) -> list[int]:
    with open(path, "rb") as file:
        return [len(payload) for payload in tfrecord.payloads(file)]


def main() -> None:
    """Print the lines."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=20_000)
    clips: int = parser.parse_args().clips
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
        print(f"{name:9} {clips * SEGMENTS / seconds:>12,.0f} segments a second")


if __name__ == "__main__":
    main()
