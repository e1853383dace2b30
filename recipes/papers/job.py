"""A run of a system: where its results are kept, so that it goes on after an interruption."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from soundsearch.errors import SoundsearchError

__all__ = ["Job", "interval", "table"]

_Result = TypeVar("_Result")


class Job:
    """What the command line asks for, and the results that are there already.

    Parameters
    ----------
    name : str
        The system.
    data, out : Path
        `out` is made, or holds what the same command left there.
    quick : bool
        A miniature is wanted: one seed, little data, few epochs.
    seed : int
        The first seed.

    Raises
    ------
    SoundsearchError
        `data` is no folder, or `out` has the results of another command.
    """

    def __init__(self, name: str, data: Path, out: Path, quick: bool = False, seed: int = 1):
        self.name, self.data, self.out, self.quick, self.seed = name, data, out, quick, seed
        if not data.is_dir():
            raise SoundsearchError(f"{data}: expected a folder of data, got none")
        out.mkdir(parents=True, exist_ok=True)
        settings = {"system": name, "data": str(data.resolve()), "quick": quick, "seed": seed}
        path = out / "settings.json"
        if not path.exists():
            _write(path, settings)
        elif (found := _read(path)) != settings:
            raise SoundsearchError(
                f"{path}: expected the results of {settings}, got those of {found}; "
                "give another folder as --out, or remove this one"
            )

    def seeds(self, count: int) -> list[int]:
        """The seeds to run: `count` of them, one in a miniature."""
        return [self.seed + number for number in range(1 if self.quick else count)]

    def trial(self, key: str, make: Callable[[Path], _Result]) -> _Result:
        """The result of a trial: as it was kept, or made now and kept.

        Parameters
        ----------
        key : str
            The trial's settings, unique in this job.
        make : callable
            Given a folder for checkpoints, which is removed with success; returns what JSON can
            hold.
        """
        name = re.sub(r"[^\w.]+", "-", key).strip("-")
        path, folder = (self.out / "trials" / f"{name}{end}" for end in (".json", ".part"))
        if not path.exists():
            folder.mkdir(parents=True, exist_ok=True)
            began = time.monotonic()
            _write(path, make(folder))
            shutil.rmtree(folder)
            print(f"{self.name}: {key}, {time.monotonic() - began:.1f} s", file=sys.stderr)
        return _read(path)


def interval(values: Iterable[float], digits: int = 3) -> str:
    """A mean with its 95 % interval over seeds (Student's t), such as ``0.812 ± 0.010``."""
    found = np.asarray(list(values), np.float64)
    mean = f"{found.mean():.{digits}f}"
    if len(found) < 2:
        return mean
    from scipy.stats import t

    half = t.ppf(0.975, len(found) - 1) * found.std(ddof=1) / np.sqrt(len(found))
    return f"{mean} ± {half:.{digits}f}"


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table, with a line end."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise SoundsearchError(f"{path}: expected JSON ({error}); remove the file") from error


def _write(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_text(json.dumps(value, indent=1) + "\n", "utf-8")
    os.replace(temporary, path)
