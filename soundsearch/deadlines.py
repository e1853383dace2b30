"""How long a thread may go on with a question: what takes long looks now and then.

Nothing is stopped from outside, where it could hold a lock or be half done: readings of a store
look before each step, and SQLite within its statements.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["OutOfTime", "check_time", "is_over", "within"]

_own = threading.local()


class OutOfTime(Exception):
    """The time that a thread was given is over."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Give this thread so many seconds; infinitely many are no bound."""
    _own.end = time.monotonic() + seconds
    try:
        yield
    finally:
        _own.end = math.inf


def is_over() -> bool:
    """Whether this thread's time is over; never, where it was given none."""
    end: float = getattr(_own, "end", math.inf)
    return time.monotonic() >= end


def check_time() -> None:
    """Raise OutOfTime where this thread's time is over."""
    if is_over():
        raise OutOfTime
