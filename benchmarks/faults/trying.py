"""What a worker process does with a command."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from benchmarks.faults.children import Fault, Result
from benchmarks.faults.commands import COMMANDS, Case, faults_of

__all__ = ["BAD", "ERRORS", "KILLS", "Kind", "import_all", "try_command"]

BAD = {"lost", "traceback", "wrong"}

# How a fault is called, what `strace` does, and whether it lasts.
Kind = tuple[str, str, bool]
KILLS: Kind = ("killed", "signal=KILL", False)
ERRORS: tuple[Kind, ...] = (("EIO once", "error=EIO", False), ("ENOSPC from", "error=ENOSPC", True))


def import_all() -> None:
    """Import what commands need, so that children have it."""
    import faiss  # noqa: F401
    import onnxruntime  # noqa: F401
    import soxr  # noqa: F401

    import soundsearch.copying
    import soundsearch.ingesting
    import soundsearch.naming
    import soundsearch.tags  # noqa: F401


def try_command(name: str, kinds: list[tuple[Kind, int]], part: int, parts: int) -> list[Result]:
    """A worker's part of the faults of a command; a result for each kind."""
    results = []
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        case = Case(COMMANDS[name], Path(folder))
        for (_, what, lasts), tries in kinds:
            if what == "at a moment":
                rng = np.random.default_rng(part)
                faults: Iterable[Fault] = (
                    Fault("", 0, after=rng.uniform(0, 1.0)) for _ in range(tries)
                )
            else:
                faults = faults_of(case, tries, what, lasts)
            counts: Counter[str] = Counter()
            said = []
            for number, fault in enumerate(faults):
                if number % parts != part:
                    continue
                column, text = case.try_out(fault)
                counts[column] += 1
                if column in BAD:
                    said.append(f"{name}, {fault.call} {fault.number} {fault.what}: {text}")
            results.append((counts, said))
    return results
