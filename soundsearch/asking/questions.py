"""The questions that a query takes: sounds, clips of the library, examples for and against."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray
from soundsearch_ingest.urls import absolute, plain

from ..errors import ArgumentError
from ..stores.records import ClipName, Key
from .ranking import RANKINGS, RELATED

__all__ = [
    "MAX_DURATION",
    "Embeddings",
    "Example",
    "Examples",
    "Moments",
    "Question",
    "Sound",
    "Source",
    "Stored",
    "as_sound",
    "check_k",
    "check_match",
    "check_offset",
    "check_ranking",
    "check_score",
    "check_whole",
    "is_number",
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
        object.__setattr__(self, "at", _moments(self.at))

    @property
    def longest(self) -> float | None:
        """`max_duration` where it counts; None for what cannot go on for ever."""
        return self.max_duration if hasattr(self.source, "read") else None

    @property
    def is_file(self) -> bool:
        """Whether the source is a path or a binary file rather than an array."""
        return isinstance(self.source, (str, os.PathLike)) or hasattr(self.source, "read")

    @property
    def uri(self) -> str:
        """The absolute path, or the URL without what is secret; "" for what is neither."""
        if not isinstance(self.source, (str, os.PathLike)):
            return ""
        return plain(absolute(os.fspath(self.source)))


@dataclass(frozen=True, slots=True)
class Stored:
    """A clip of the library; needs no encoder.

    Parameters
    ----------
    clip : path, URL, int or Key
        Its uri, its id, or its key.
    at : (start, end), optional
        Part of it, seconds; `end` may be None for the rest. The segments that reach into it count.
    """

    clip: ClipName
    at: Moments | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", _moments(self.at))


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


Example = Sound | Stored | Embeddings | ClipName


@dataclass(frozen=True, slots=True, eq=False)
class Examples:
    """Examples of what is wanted, and of what is not.

    Each is a `Sound`, a `Stored`, `Embeddings`, the id or `Key` of a clip, or a path: the clip of
    the library with this uri, or else the sound file.

    Parameters
    ----------
    like, unlike : sequence of examples
        One alone stands for a sequence of one. None may be in both.
    weights : sequence of float, optional
        How much each of `like` counts, such as how often it was played; at least 0, and not all 0.

    Raises
    ------
    ArgumentError
        There is none to be like, one is for and against, or a weight cannot be.
    """

    like: Any
    unlike: Any = ()
    weights: Any = None

    def __post_init__(self) -> None:
        like, unlike = _examples(self.like, "like"), _examples(self.unlike, "unlike")
        if not like:
            raise ArgumentError("like: expected at least one example, got none")
        both = _names(like) & _names(unlike)
        if both:
            raise ArgumentError(f"expected no example for and against at once, got {min(both)}")
        weights = np.ones(len(like), np.float32)
        if self.weights is not None:
            weights = _numbers(self.weights, "weights", "[examples]")
        if weights.shape != (len(like),):
            raise ArgumentError(
                f"weights: expected {len(like)}, one for each example, got {weights.shape}"
            )
        if (weights < 0).any() or not weights.any():
            raise ArgumentError("weights: expected numbers of at least 0, not all 0")
        object.__setattr__(self, "like", like)
        object.__setattr__(self, "unlike", unlike)
        object.__setattr__(self, "weights", weights)


_EXAMPLE = (str, os.PathLike, int, np.integer, Key, Sound, Stored, Embeddings)


def _examples(given: Any, what: str) -> tuple[Example, ...]:
    if isinstance(given, _EXAMPLE):
        given = (given,)
    try:
        examples = tuple(given)
    except TypeError:
        examples = (given,)
    for example in examples:
        right = isinstance(example, _EXAMPLE)
        if not right or isinstance(example, bool):
            raise ArgumentError(
                f"{what}: expected paths, ids, Key, Sound, Stored or Embeddings, got "
                f"{type(example).__name__}"
            )
    return tuple(int(each) if isinstance(each, np.integer) else each for each in examples)


def _names(examples: Iterable[Example]) -> set[str]:
    """What tells those examples from others that are clips or files."""
    clips = [each.clip if isinstance(each, Stored) else each for each in examples]
    paths = {os.fspath(clip) for clip in clips if isinstance(clip, (str, os.PathLike))}
    ids = {f"clip {clip}" for clip in clips if isinstance(clip, int)}
    return paths | ids | {f"the key {clip}" for clip in clips if isinstance(clip, Key)}


Question = Sound | Stored | Embeddings | Examples


def as_sound(source: Sound | Source, at: Moments | None, sample_rate: int | None) -> Sound:
    """A sound, or what one is made of, as a sound."""
    if isinstance(source, Sound):
        check_whole(source, at, sample_rate)
        return source
    return Sound(source, at, sample_rate)


def check_whole(question: Any, at: Any, sample_rate: Any) -> None:
    """Raise ArgumentError where something is given beside a question that says it itself."""
    given = {"at": at, "sample_rate": sample_rate}
    for name in (name for name, value in given.items() if value is not None):
        raise ArgumentError(
            f"{name}: expected it only beside a path, a file or an array, got it beside "
            f"{type(question).__name__}; Sound and Stored take what belongs to them themselves, "
            "as in Stored(clip, at=(3.0, 6.5))"
        )


def _numbers(values: Any, what: str, shape: str) -> NDArray[np.float32]:
    try:
        numbers = np.asarray(values)
    except (ValueError, RuntimeError) as error:  # rows of several lengths, or not of NumPy
        raise ArgumentError(f"{what}: expected numbers {shape}, got others ({error})") from error
    if numbers.dtype.kind not in "fiu":
        raise ArgumentError(f"{what}: expected numbers {shape}, got {numbers.dtype}")
    with np.errstate(over="ignore"):
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
    if not _may_sound(source, sample_rate):
        hint = "a clip of a library is asked with as Stored(clip)"
        if isinstance(source, _BYTES):
            hint = "the bytes of a file are one as io.BytesIO(...)"
        raise ArgumentError(
            f"expected a path, a binary file or an array of samples, got {type(source).__name__}; "
            f"{hint}"
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


# As values these would be samples of 8 bits, and are more likely a file.
_BYTES = (bytes, bytearray, memoryview)


def _may_sound(source: Any, sample_rate: Any) -> bool:
    if isinstance(source, (str, os.PathLike)) or hasattr(source, "read"):
        return True
    if source is None or isinstance(source, (*_BYTES, bool, int, float)):
        return False
    # Without a rate no array can be heard; this tells what is none.
    return sample_rate is not None or np.asarray(source).dtype.kind in "fiu"


# Above the rate of any converter; a higher one is a mistake and would take for ever to resample.
_HIGHEST_RATE = 10_000_000


def _moments(at: Any) -> Moments | None:
    if at is None:
        return None
    try:
        start, end = at
        start, end = float(start), math.inf if end is None else float(end)
        right = 0 <= start < end and math.isfinite(start) and not isinstance(at, str)
    except (TypeError, ValueError):
        right = False
    if not right:
        raise ArgumentError(
            f"at: expected (start, end) in seconds, 0 <= start < end, or end None for the rest, "
            f"got {at!r}"
        )
    return start, None if end == math.inf else end


def check_k(k: Any) -> int:
    """Return `k` as an int; raise ArgumentError unless it is a whole number of at least 1."""
    try:
        wanted = operator.index(k)
    except TypeError:
        wanted = 0
    if wanted < 1 or isinstance(k, bool):
        raise ArgumentError(f"k: expected a whole number of at least 1, got {k!r}")
    return wanted


def check_match(pattern: Any) -> str:
    """Return a pattern for names; raise ArgumentError unless it is a text that says something."""
    if not isinstance(pattern, str) or not pattern.strip():
        raise ArgumentError(f"match: expected a name with * and ?, as in snare*, got {pattern!r}")
    return pattern


def check_offset(offset: Any) -> int:
    """Return `offset` as an int; raise ArgumentError unless it is a whole number of at least 0."""
    try:
        skipped = operator.index(offset)
    except TypeError:
        skipped = -1
    if skipped < 0 or isinstance(offset, bool):
        raise ArgumentError(f"offset: expected a whole number of at least 0, got {offset!r}")
    return skipped


def is_number(value: Any) -> bool:
    """Whether something is a finite number, of Python or NumPy, and no truth value."""
    is_real = isinstance(value, (int, float, np.integer, np.floating))
    return is_real and not isinstance(value, bool) and -math.inf < value < math.inf


def check_score(score: Any) -> float:
    """Return a least score as a float; raise ArgumentError unless it is a number, not NaN."""
    if isinstance(score, bool) or not isinstance(score, (int, float, np.number)) or score != score:
        raise ArgumentError(f"min_score: expected a number, got {score!r}")
    return float(score)


def check_ranking(ranking: Any) -> str:
    """Return the name of a ranking; raise ArgumentError if there is no such ranking."""
    names = (*RANKINGS, RELATED)
    if ranking not in names:
        raise ArgumentError(f"ranking: expected one of {', '.join(names)}, got {ranking!r}")
    return str(ranking)
