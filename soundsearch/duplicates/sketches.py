"""Sketches of sounds, in a temporary file: enough to tell that two are different.

To read the sounds themselves again for each pair that is proposed would take most of the time.
"""

from __future__ import annotations

import tempfile
import threading
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from .pictures import BANDS

__all__ = ["Sketch", "Sketches"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Sketch:
    """Where the sketch of a sound is: parts that follow each other.

    Attributes
    ----------
    places : tuple of (int, float)
        The first row of each part in the file, and what its whole numbers are multiples of.
    each : int
        How many rows a part has, but for the last.
    rows : int
        How many all have.
    """

    places: tuple[tuple[int, float], ...]
    each: int
    rows: int


class Sketches:
    """A temporary file of sketches, 12 kB for each five seconds; safe in threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows = 0
        self._is_full = False
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115

    def __enter__(self) -> Sketches:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def put(self, rows: Floats) -> tuple[int, float] | None:
        """Keep a part of a sketch: see `Sketch.places`; None where the disk is full.

        Parameters
        ----------
        rows : float32 [n, BANDS]
            See `soundsearch.duplicates.pictures.sketch`.
        """
        step = float(np.abs(rows).max(initial=1e-6)) / 127
        data = np.rint(rows / np.float32(step)).astype(np.int8).tobytes()
        with self._lock:
            if self._is_full:
                return None
            try:
                self._file.seek(self._rows * BANDS)
                self._is_full = self._file.write(data) < len(data)
            except OSError:
                self._is_full = True
            if self._is_full:
                return None
            place = self._rows
            self._rows += len(rows)
            return place, step

    def read(self, sketch: Sketch, first: int, last: int) -> Floats:
        """Some rows of a sketch, as far as there are such: float32 [n, BANDS]."""
        first, last = max(0, first), min(last, sketch.rows)
        found = [np.empty((0, BANDS), np.float32)]
        while first < last:
            part = min(first // sketch.each, len(sketch.places) - 1)
            is_last = part == len(sketch.places) - 1
            end = last if is_last else min(last, (part + 1) * sketch.each)
            place, step = sketch.places[part]
            with self._lock:
                self._file.seek((place + first - part * sketch.each) * BANDS)
                data = self._file.read((end - first) * BANDS)
            numbers = np.frombuffer(data, np.int8).reshape(-1, BANDS)
            found.append(numbers * np.float32(step))
            first = end
        return np.concatenate(found)
