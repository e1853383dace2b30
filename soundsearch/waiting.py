"""Waiting for another process that is writing to a library."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from .errors import ArgumentError, LibraryBusy
from .stores.base import OnStep, Store
from .stores.parts import Part

__all__ = ["Patience"]

_PAUSE = 0.2

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for another writer, seconds, and who is told of it."""

    seconds: float
    on_wait: OnStep

    @classmethod
    def of(cls, wait: Any, on_wait: OnStep) -> Patience:
        """From what a caller gives: seconds, True for ever, False not at all."""
        if isinstance(wait, bool):
            return cls(math.inf if wait else 0.0, on_wait)
        if not isinstance(wait, (int, float)) or not wait >= 0:
            raise ArgumentError(f"wait: expected seconds, at least 0, or True, got {wait!r}")
        return cls(float(wait), on_wait)

    def until(self, attempt: Callable[[], _Result]) -> _Result:
        """Try until the library is not busy; raises LibraryBusy when the time is over."""
        end = time.monotonic() + self.seconds
        is_told = False
        while True:
            try:
                return attempt()
            except LibraryBusy as error:
                left = end - time.monotonic()
                if left <= 0:
                    raise
                if not is_told:
                    self.on_wait(f"waiting, as {error}")
                is_told = True
            time.sleep(min(_PAUSE, left))

    @contextmanager
    def writing(self, store: Store, part: Part | None = None) -> Iterator[None]:
        """`Store.writing`, waited for."""
        with ExitStack() as held:
            self.until(lambda: held.enter_context(store.writing(part)))
            yield
