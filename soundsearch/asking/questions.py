"""What is asked: a sound, or a clip of the library."""

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
    """A sound that the library need not hold.

    Parameters
    ----------
    source : path, binary file or array
        An array is float in [-1, 1] or integer at full scale, [n] or [n, channels], and
        needs `sample_rate`.
    at : (start, end), optional
        Part of the sound, seconds; end None means to the end.
    sample_rate : int, optional
        Of an array, Hz.

    Raises
    ------
    ArgumentError
        `at` or `sample_rate` cannot be.
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
        """Whether it is a path or a binary file, not an array."""
        return isinstance(self.source, (str, os.PathLike)) or hasattr(self.source, "read")


@dataclass(frozen=True, slots=True)
class Stored:
    """A clip of the library; its encoder is not needed.

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


# Above any converter's: more is a mistake, and resampling from it would take for ever.
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
            f"at: expected (start, end) in seconds, 0 <= start < end, end None for the rest, "
            f"got {at!r}"
        )


def check_k(k: Any) -> int:
    """How many clips are wanted; raises ArgumentError where that is no number of clips."""
    try:
        wanted = operator.index(k)
    except TypeError:
        wanted = 0
    if wanted < 1 or isinstance(k, bool):
        raise ArgumentError(f"k: expected a whole number of at least 1, got {k!r}")
    return wanted


def check_ranking(ranking: Any) -> str:
    """The name of a ranking; raises ArgumentError where there is none of that name."""
    if ranking not in RANKINGS:
        raise ArgumentError(f"ranking: expected one of {', '.join(RANKINGS)}, got {ranking!r}")
    return str(ranking)
