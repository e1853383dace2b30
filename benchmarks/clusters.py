"""An ingest by Ray workers, compared with the plain path into the same Milvus server.

    pip install -e '.[ray]'
    python -m benchmarks.clusters SERVER [--files 600] [--long 4] [--rounds 3]

SERVER is HOST:PORT of a Milvus server. For a folder of five-second FLACs and a few recordings of
ten minutes, in seconds of sound a second by the clock, from the first batch that is stored to the
last, without the start of processes and without the index:

plain N   this process on N cores
ray N     N workers of a Ray cluster that is started here

Also in seconds of sound a second of processor time of all its processes, the driver and Ray's own
among them, which other programs disturb less; the server's is not counted. Each is measured several
times, alternately, each time into a new library, and the median is printed, with all values. Also
printed: the seconds from the start of an ingest to its first batch; how much processor time the
driver needs a file; and how many segments a second one and two processes insert that do nothing
else.
"""

from __future__ import annotations

import argparse
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile

from benchmarks.ingest import RATE, make_flacs, stereo
from benchmarks.vectors import bundled_settings, clips_of
from soundsearch.stores.milvus.inserting import Numbers
from soundsearch.stores.milvus.lease import Permit
from soundsearch.stores.milvus.store import MilvusStore

# What the columns of a measurement divide the sound by.
KINDS = {1: "by the clock", 3: "by processor time"}
_CLIPS = 32
_SEGMENTS = 20_000

# An ingest in a process of its own: prints the sound that was stored after the first batch, the
# seconds that it took, those before, the processor time of all its processes, and that of the
# driver a file.
_INGEST = """
import os, sys, time
import soundsearch

began = time.perf_counter()
address, folder, engine, cores, files = sys.argv[1:]
os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(cores)])
seen = []
used = []

def family():
    parents, times = {}, {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat") as file:
                words = file.read().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(pid)] = int(words[1])
        times[int(pid)] = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    mine = {os.getpid()}
    for _ in range(5):
        mine |= {pid for pid, parent in parents.items() if parent in mine}
    return {pid: times[pid] for pid in mine}

def on_file(uri, _outcome):
    seen.append((time.perf_counter(), 600.0 if "long" in uri else 5.0))
    if not used or len(seen) == int(files):
        used.append(family())

with soundsearch.open(address) as lib:
    report = lib.ingest(folder, engine=engine, on_file=on_file)
assert not report.failed and report.added == len(seen), report
first = next(at for at, _ in seen if at - seen[0][0] < 0.1)
sound = sum(seconds for at, seconds in seen if at - first >= 0.1)
cpu = {pid: seconds - used[0].get(pid, 0.0) for pid, seconds in used[1].items()}
driver = cpu[os.getpid()] / len(seen)
print(sound, seen[-1][0] - first, first - began, sum(cpu.values()), driver)
"""


def make_long(folder: Path, count: int) -> None:
    """Write recordings of ten minutes."""
    sound = stereo(120, 5)
    for number in range(count):
        with soundfile.SoundFile(folder / f"long{number}.flac", "w", RATE, 2) as file:
            for part in range(5):
                file.write(np.roll(sound, 1000 * (number + 1) * (part + 1), axis=0))


def measure(server: str, folder: Path, engine: str, cores: int) -> tuple[float, ...]:
    """Sound after the first batch, its seconds, those before, processor time, the driver's."""
    address = f"milvus://{server}/benchmark_{secrets.token_hex(6)}"
    MilvusStore.create(address, bundled_settings()).close()
    files = len(list(folder.iterdir()))
    command = [sys.executable, "-c", _INGEST, address, str(folder), engine, str(cores), str(files)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return tuple(map(float, done.stdout.split()))


def insert(address: str, permit: Permit, first: int, numbers: Sequence[Numbers]) -> float:
    """Insert clips that were given numbers before; return the seconds that it took."""
    store = MilvusStore(address)
    delegate = store.delegate(permit)
    vectors = np.random.default_rng(first).normal(size=(_SEGMENTS, 128)).astype(np.float32)
    clips = clips_of(vectors, first)
    began = time.perf_counter()
    for begin in range(0, len(clips), _CLIPS):
        batch = zip(clips[begin : begin + _CLIPS], numbers[begin : begin + _CLIPS], strict=True)
        delegate.add(list(batch))
    took = time.perf_counter() - began
    store.close()
    return took


def insert_rate(server: str, processes: int) -> float:
    """Segments that so many processes insert a second, in clips of five, 32 clips at a time."""
    address = f"milvus://{server}/benchmark_{secrets.token_hex(6)}"
    store = MilvusStore.create(address, bundled_settings())
    with store.writing(), ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        vectors = np.zeros((_SEGMENTS, 128), np.float32)
        jobs = []
        for number in range(processes):
            uris = [clip.record.uri for clip in clips_of(vectors, number * _SEGMENTS)]
            numbers = store.writer.draw(uris)
            permit = store.writer.lease.permit
            jobs.append(pool.submit(insert, address, permit, number * _SEGMENTS, numbers))
        slowest = max(job.result() for job in jobs)
    store.close()
    return processes * _SEGMENTS / slowest


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("server", metavar="SERVER", help="HOST:PORT of a Milvus server")
    parser.add_argument("--files", type=int, default=600, help="five-second FLACs")
    parser.add_argument("--long", type=int, default=4, help="recordings of ten minutes")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    kinds = [(engine, cores) for cores in (1, 2) for engine in ("local", "ray")]
    found: dict[tuple[str, int], list[tuple[float, ...]]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_flacs(folder, options.files / 2000)
        make_long(folder, options.long)
        for _ in range(options.rounds):
            for kind in kinds:
                found[kind].append(measure(options.server, folder, *kind))
    rates: dict[tuple[str, int, str], float] = {}
    for (engine, cores), rows in found.items():
        start = statistics.median(row[2] for row in rows)
        print(f"{engine:5} {cores}: start {start:.1f} s")
        for column, by in KINDS.items():
            each = [row[0] / row[column] for row in rows]
            rates[engine, cores, by] = statistics.median(each)
            shown = " ".join(f"{rate:,.0f}" for rate in each)
            print(f"    {rates[engine, cores, by]:7,.0f} s/s {by} ({shown})")
    for cores in (1, 2):
        for by in KINDS.values():
            share = rates["ray", cores, by] / rates["local", cores, by]
            print(f"ray of plain on {cores} {by}: {share:.2f}")
    driver = statistics.median(row[4] for row in found["ray", 2])
    print(f"processor time of the driver: {1000 * driver:.2f} ms a file")
    for processes in (1, 2):
        rate = insert_rate(options.server, processes)
        print(f"{processes} inserting: {rate:,.0f} segments/s")


if __name__ == "__main__":
    main()
