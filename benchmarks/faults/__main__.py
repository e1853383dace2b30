"""See `benchmarks.faults`."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import benchmarks.faults
from benchmarks.faults.children import Result, can_trace
from benchmarks.faults.commands import COMMANDS
from benchmarks.faults.damage import FORMATS, break_sounds, flip_bits, library_files, written
from benchmarks.faults.mixing import make_pairs, read_on, write_on
from benchmarks.faults.trying import BAD, ERRORS, KILLS, import_all, try_command

COLUMNS = ("tried", "ended", "survived", "refused", "checked", "lost", "traceback", "wrong")
READERS = 4
SAID = 5


def added(results: Iterable[Result]) -> Result:
    """Several results as one."""
    counts: Counter[str] = Counter()
    said: list[str] = []
    for more, texts in results:
        counts += more
        said += texts
    return counts, said


class Table:
    """Prints what came of the faults, a line for each kind."""

    def __init__(self) -> None:
        self.bad = 0
        self._total: Counter[str] = Counter()
        print(f"{'':28}" + "".join(f"{name:>11}" for name in COLUMNS), flush=True)

    def line(self, name: str, result: Result) -> None:
        """Print a line, and what is to be said of it."""
        counts, said = result
        if "tried" not in counts:
            counts["tried"] = counts.total()
        self.bad += sum(counts[column] for column in BAD)
        self._total += counts
        self._print(name, counts)
        for text in said[:SAID]:
            print(f"    {text}", flush=True)

    def total(self) -> None:
        """Print the last line."""
        self._print("in all", self._total)

    def _print(self, name: str, counts: Counter[str]) -> None:
        print(f"{name:28}" + "".join(f"{counts[each]:>11}" for each in COLUMNS), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults",
        description=benchmarks.faults.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--tries", type=int, default=50, help="kills of each command")
    parser.add_argument("--errors", type=int, default=15, help="errors of each kind and command")
    parser.add_argument("--flips", type=int, default=100, help="flipped bits in each file")
    parser.add_argument("--mutants", type=int, default=150, help="broken sounds of each format")
    parser.add_argument("--seconds", type=float, default=30, help="readers beside a writer")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    for library in ("OMP", "OPENBLAS"):  # threads that wait for each other where cores are busy
        os.environ[f"{library}_NUM_THREADS"] = "1"
    table = Table()
    pool = partial(ProcessPoolExecutor, mp_context=get_context("spawn"), initializer=import_all)
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        with pool(options.jobs) as workers:
            kills_and_errors(table, workers.submit, options)
            flips(table, workers.submit, options, folder)
            sounds(table, workers.submit, options, folder)
        with pool(READERS + 1) as workers:
            mixed(table, workers.submit, options, folder)
    table.total()
    print(f"{time.monotonic() - began:.0f} s")
    sys.exit(1 if table.bad else 0)


Submit = Callable[..., Any]


def kills_and_errors(table: Table, submit: Submit, options: argparse.Namespace) -> None:
    """Every command, killed and given errors."""
    kinds = [(KILLS, options.tries), *((kind, options.errors) for kind in ERRORS)]
    if not can_trace():
        print("(no strace here: kills at random moments, no errors)")
        kinds = [(("killed", "at a moment", False), options.tries)]
    jobs = options.jobs
    waiting = {
        name: [submit(try_command, name, kinds, part, jobs) for part in range(jobs)]
        for name in COMMANDS
    }
    for name, parts in waiting.items():
        results = [part.result() for part in parts]
        for place, ((kind, _, _), _) in enumerate(kinds):
            table.line(f"{name}, {kind}", added(result[place] for result in results))


def flips(table: Table, submit: Submit, options: argparse.Namespace, folder: Path) -> None:
    """Bits of every file of a library."""
    names = submit(library_files, folder).result()
    waiting = {name: submit(flip_bits, folder, name, options.flips, options.seed) for name in names}
    for name, result in waiting.items():
        table.line(f"bits of {name}", result.result())


def sounds(table: Table, submit: Submit, options: argparse.Namespace, folder: Path) -> None:
    """Broken sounds of every format."""
    formats = [format for format in FORMATS if written(format) is not None]
    results = [
        submit(break_sounds, folder, format, options.mutants, options.seed) for format in formats
    ]
    table.line(f"sounds of {len(formats)} formats", added(result.result() for result in results))


def mixed(table: Table, submit: Submit, options: argparse.Namespace, folder: Path) -> None:
    """Readers beside a writer."""
    library = folder / "mixed"
    submit(make_pairs, library).result()
    writer = submit(write_on, library, options.seconds)
    readers = [submit(read_on, library, options.seconds, seed) for seed in range(READERS)]
    table.line("a writer's turns", writer.result())
    table.line(f"queries of {READERS} readers", added(reader.result() for reader in readers))


if __name__ == "__main__":
    main()
