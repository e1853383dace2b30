"""The HTTP server under load, and the same questions in one process.

    python -m benchmarks.serving [--clips 100000] [--clients 16] [--seconds 60] [--uploads 0.02]

Makes a library of clips of five segments, mixed of embeddings as in `benchmarks.query`, and asks it
for the ten clips nearest to one of it, with and without a filter: in this process, from one thread
and from as many as the server has; then through `soundsearch serve`, in a process of its own, from
so many clients at once, each with a connection that it keeps. A share of the requests uploads five
seconds of WAV instead. Printed are requests a second, median and 99th percentile in milliseconds,
errors, the time that a question took of cores (all kinds together; a server's with its workers,
without the clients), and the server's memory after the first tenth and at the end.
"""

from __future__ import annotations

import argparse
import http.client
import io
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

import soundsearch
from benchmarks.query import make_store
from benchmarks.vectors import CLIP_SEGMENTS, add_vector_options, chosen_embeddings, mixed
from soundsearch import demo_sounds
from soundsearch.web.limits import Limits

FILTER = "duration < 1000"
BOUNDARY = "b" * 32


class Times:
    """Milliseconds of questions, from several threads."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}
        self.errors: list[str] = []
        self._lock = threading.Lock()

    def add(self, kind: str, milliseconds: float, error: str | None = None) -> None:
        with self._lock:
            self.taken.setdefault(kind, []).append(milliseconds)
            if error is not None:
                self.errors.append(error)

    def print(self, title: str, seconds: float, processor: float) -> None:
        """Print a row for each kind; `processor` is what all took of cores, seconds."""
        each = 1000 * processor / sum(map(len, self.taken.values()))
        for kind, values in sorted(self.taken.items()):
            middle, high = np.percentile(values, [50, 99])
            rate = len(values) / seconds
            row = f"{title:28}  {kind:8}  {rate:9.1f}  {middle:8.2f}  {high:8.2f}  {each:8.2f}"
            print(row, flush=True)
        if self.errors:
            print(f"{title}: {len(self.errors)} errors, such as {self.errors[0]}", flush=True)


def during(seconds: float, threads: int, ask: Callable[[random.Random, Times], None]) -> Times:
    """Let so many threads ask for some seconds."""
    times = Times()
    end = time.monotonic() + seconds

    def run(number: int) -> None:
        chance = random.Random(number)
        while time.monotonic() < end:
            ask(chance, times)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return times


def in_process(folder: Path, clips: int, seconds: float, threads: int) -> None:
    """Ask the library itself."""
    with soundsearch.open(folder) as lib:
        some = lib.where(FILTER)

        def ask(chance: random.Random, times: Times) -> None:
            kind = chance.choice(("all", "filtered"))
            began = time.perf_counter()
            (lib if kind == "all" else some).similar(chance.randint(1, clips))
            times.add(kind, 1000 * (time.perf_counter() - began))

        during(1, 1, ask)
        before = time.process_time()
        times = during(seconds, threads, ask)
        took = time.process_time() - before
        title = f"in the process, {threads} thread{'' if threads == 1 else 's'}"
        times.print(title, seconds, took)


class Clients:
    """Ask a server; each thread has a connection."""

    def __init__(self, port: int, clips: int, uploads: float) -> None:
        self._port, self._clips, self._uploads = port, clips, uploads
        self._own = threading.local()
        sound = io.BytesIO()
        made = demo_sounds.make("rain", 1)[: 5 * demo_sounds.SAMPLE_RATE]
        soundfile.write(sound, made, demo_sounds.SAMPLE_RATE, format="WAV")
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="sound"; filename="a.wav"'
        self._form = f"{head}\r\n\r\n".encode() + sound.getvalue() + f"\r\n--{BOUNDARY}--".encode()

    def ask(self, chance: random.Random, times: Times) -> None:
        """Ask once."""
        if not hasattr(self._own, "connection"):
            self._own.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection: http.client.HTTPConnection = self._own.connection
        kind = "upload" if chance.random() < self._uploads else chance.choice(("all", "filtered"))
        began = time.perf_counter()
        try:
            if kind == "upload":
                headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
                connection.request("POST", "/api/v1/query", self._form, headers)
            else:
                where = f"&where={FILTER.replace(' ', '%20')}" if kind == "filtered" else ""
                clip = chance.randint(1, self._clips)
                connection.request("GET", f"/api/v1/similar?clip={clip}{where}")
            response = connection.getresponse()
            content = response.read()
            is_right = response.status == 200 and len(json.loads(content)["hits"]) == 10
            error = None if is_right else f"{response.status}: {content[:200]!r}"
        except (OSError, http.client.HTTPException) as failure:
            connection.close()
            error = repr(failure)
        times.add(kind, 1000 * (time.perf_counter() - began), error)


def tree(pid: int) -> list[int]:
    """A process and its children, whichever of its threads started them."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [pid, *(int(child) for task in tasks for child in task.read_text().split())]


def processor_seconds(pid: int) -> float:
    """What a process and its children have taken of cores, seconds."""
    total = 0
    for each in tree(pid):
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += sum(map(int, fields[11:15]))  # of itself, and of children that have ended
    return total / os.sysconf("SC_CLK_TCK")


def resident(pid: int) -> float:
    """Memory of a process and its children, MB (proportional set size)."""
    total = 0
    for each in tree(pid):
        rollup = Path(f"/proc/{each}/smaps_rollup").read_text()
        found = re.search(r"^Pss: +(\d+)", rollup, re.M)
        total += int(found[1]) if found else 0
    return total / 1024


def through_server(folder: Path, options: argparse.Namespace) -> int:
    """Ask `soundsearch serve`; how many errors there were."""
    command = [sys.executable, "-m", "soundsearch", "serve", "--library", str(folder)]
    server = subprocess.Popen([*command, "--port", "0"], stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        line = server.stderr.readline()
        port = int(line.split()[3].rstrip("/").rpartition(":")[2])
        clients = Clients(port, options.clips, options.uploads)
        warm = during(options.seconds / 10, options.clients, clients.ask)
        early, before = resident(server.pid), processor_seconds(server.pid)
        times = during(options.seconds, options.clients, clients.ask)
        late, took = resident(server.pid), processor_seconds(server.pid) - before
    finally:
        server.terminate()
        server.wait()
    times.print(f"the server, {options.clients} clients", options.seconds, took)
    errors = warm.errors + times.errors
    print(f"errors: {len(errors)}; memory: {early:.0f} MB, at the end {late:.0f} MB")
    return len(errors)


def main() -> None:
    """Print the table; exit with 1 if there were errors."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--uploads", type=float, default=0.02, help="share of the requests")
    add_vector_options(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "l"
        vectors = mixed(chosen_embeddings(options), options.clips * CLIP_SEGMENTS, 0)
        make_store(folder, vectors).close()
        del vectors
        heads = ("a second", 9), ("p50 ms", 8), ("p99 ms", 8), ("core ms", 8)
        print(f"{'':28}  {'question':8}", *(f" {head:>{width}}" for head, width in heads))
        for threads in (1, Limits().questions):
            in_process(folder, options.clips, options.seconds / 6, threads)
        errors = through_server(folder, options)
    sys.exit(1 if errors else 0)


if __name__ == "__main__":
    main()
