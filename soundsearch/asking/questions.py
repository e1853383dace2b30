"""The questions that a query takes: a sound, or a clip of the library."""

from __future__ import annotations

import math
import operator
import os
from dataclasses import dataclass
from typing import Any, BinaryIO

from numpy.typing import ArrayLike

from ..errors import ArgumentError
from .ranking import RANKINGS

__all__ = ["Moments", "Question", "Sound", "Source", "Stored", "check_k", "check_ranking"]

Source = str | os.PathLike[str] | BinaryIO | ArrayLike
Moments = tuple[float, float | None]


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

    Raises
    ------
    ArgumentError
        `source`, `at` or `sample_rate` is invalid.
    """

    source: Source
    at: Moments | None = None
    sample_rate: int | None = None

    def __post_init__(self) -> None:
        _check_source(self.source, self.sample_rate)
        if self.at is not None:
            _check_moments(self.at)

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


Question = Sound | Stored


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
