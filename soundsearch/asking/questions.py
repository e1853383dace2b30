"""The questions that a query takes: a sound, or a clip of the library."""

from __future__ import annotations

import math
import operator
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ArgumentError
from .ranking import RANKINGS

__all__ = [
    "MAX_DURATION",
    "Embeddings",
    "Moments",
    "Question",
    "Sound",
    "Source",
    "Stored",
    "as_sound",
    "check_k",
    "check_ranking",
]

Source = str | os.PathLike[str] | BinaryIO | ArrayLike
Moments = tuple[float, float | None]


# An hour, in seconds.
MAX_DURATION = 3600.0


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A sound, in the library or not.

    Parameters
    ----------
    source : path, binary file or array
        An array holds floats in [-1, 1] or integers at full scale, [n] or [n, channels], and
        needs `sample_rate`.
    at : (start, end), optional
        Part of the sound, in seconds; an end of None means to the end.
    sample_rate : int, optional
        Sample rate of an array, in Hz.
    max_duration : float, optional
        How much of a binary file is heard at most, from its beginning, seconds: a stream need not
        end. None for all of it. Files given by a path are heard whole.

    Raises
    ------
    ArgumentError
        `source`, `at`, `sample_rate` or `max_duration` is invalid.
    """

    source: Source
    at: Moments | None = None
    sample_rate: int | None = None
    max_duration: float | None = MAX_DURATION

    def __post_init__(self) -> None:
        _check_source(self.source, self.sample_rate)
        _check_duration(self.max_duration)
        if self.at is not None:
            _check_moments(self.at)

    @property
    def longest(self) -> float | None:
        """`max_duration` where it counts; None for what cannot go on for ever."""
        return self.max_duration if hasattr(self.source, "read") else None

    @property
    def is_file(self) -> bool:
        """Whether the source is a path or a binary file rather than an array."""
        return isinstance(self.source, (str, os.PathLike)) or hasattr(self.source, "read")


@dataclass(frozen=True, slots=True)
class Stored:
    """A clip of the library; needs no encoder.

    Parameters
    ----------
    clip : path, URL or int
        Its uri, or its id.
    """

    clip: str | os.PathLike[str] | int


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Embeddings:
    """What `soundsearch.embed` gives, or embeddings from elsewhere. NumPy takes it as an array.

    Parameters
    ----------
    vectors : float32 [n, dimension]
        Of any length, but not zero. [dimension] is taken for one.
    levels : float32 [n], optional
        How loud each segment is, dB; as a question, louder ones count more. By default all count
        the same.
    times : float64 [n, 2], optional
        Where each segment starts and ends in the sound, seconds.
    space : str, optional
        The space that they are known to be of; a library of another refuses them.

    Raises
    ------
    ArgumentError
        They are of another shape or kind, not finite, or zero.
    """

    vectors: Any
    levels: Any = None
    times: Any = None
    space: str | None = None

    def __post_init__(self) -> None:
        vectors = _numbers(self.vectors, "vectors", "[n, dimension]")
        if vectors.ndim == 1:
            vectors = vectors[None]
        if vectors.ndim != 2 or 0 in vectors.shape:
            raise ArgumentError(
                f"vectors: expected [n, dimension] or [dimension], got {np.shape(self.vectors)}"
            )
        levels = np.zeros(len(vectors), np.float32)
        if self.levels is not None:
            levels = _numbers(self.levels, "levels", "[n]")
        if levels.shape != (len(vectors),):
            raise ArgumentError(f"levels: expected one for each vector, got {levels.shape}")
        object.__setattr__(self, "vectors", vectors)
        object.__setattr__(self, "levels", levels)

    def __repr__(self) -> str:
        count, dimension = self.vectors.shape
        return f"<Embeddings [{count}, {dimension}] of {self.space or 'an unknown space'}>"

    def __len__(self) -> int:
        return len(self.vectors)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.vectors, dtype, copy=copy)


Question = Sound | Stored | Embeddings


def as_sound(source: Sound | Source, at: Moments | None, sample_rate: int | None) -> Sound:
    """A sound, or what one is made of, as a sound."""
    return source if isinstance(source, Sound) else Sound(source, at, sample_rate)


def _numbers(values: Any, what: str, shape: str) -> NDArray[np.float32]:
    numbers = np.asarray(values)
    if numbers.dtype.kind not in "fiu":
        raise ArgumentError(f"{what}: expected numbers {shape}, got {numbers.dtype}")
    single: NDArray[np.float32] = numbers.astype(np.float32)
    if not (np.abs(single) < _LARGEST).all():
        raise ArgumentError(f"{what}: expected finite numbers, got others")
    return single


# The squares of larger numbers have no sum in float32.
_LARGEST = 1e15


def _check_duration(seconds: Any) -> None:
    try:
        right = seconds is None or 0 < float(seconds) < math.inf
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ArgumentError(f"max_duration: expected seconds above 0, or None, got {seconds!r}")


def _check_source(source: Any, sample_rate: Any) -> None:
    if source is None or isinstance(source, (bytes, bool, int, float)):
        raise ArgumentError(
            f"expected a path, a binary file or an array of samples, got {type(source).__name__}"
        )
    if sample_rate is None:
        return
    try:
        rate = operator.index(sample_rate)
    except TypeError:
        whole = isinstance(sample_rate, float) and sample_rate.is_integer()
        rate = int(sample_rate) if whole else 0
    if not 1 <= rate <= _HIGHEST_RATE:
        raise ArgumentError(
            f"sample_rate: expected a whole number of Hz from 1 to {_HIGHEST_RATE}, "
            f"got {sample_rate!r}"
        )


# Above the rate of any converter; a higher one is a mistake and would take for ever to resample.
_HIGHEST_RATE = 10_000_000


def _check_moments(at: Any) -> None:
    try:
        start, end = at
        start, end = float(start), math.inf if end is None else float(end)
        right = 0 <= start < end and math.isfinite(start)
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ArgumentError(
            f"at: expected (start, end) in seconds, 0 <= start < end, or end None for the rest, "
            f"got {at!r}"
        )


def check_k(k: Any) -> int:
    """Return `k` as an int; raise ArgumentError unless it is a whole number of at least 1."""
    try:
        wanted = operator.index(k)
    except TypeError:
        wanted = 0
    if wanted < 1 or isinstance(k, bool):
        raise ArgumentError(f"k: expected a whole number of at least 1, got {k!r}")
    return wanted


def check_ranking(ranking: Any) -> str:
    """Return the name of a ranking; raise ArgumentError if there is no such ranking."""
    if ranking not in RANKINGS:
        raise ArgumentError(f"ranking: expected one of {', '.join(RANKINGS)}, got {ranking!r}")
    return str(ranking)
