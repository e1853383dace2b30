"""Blocks of sound that are read while those before them are heard.

A program that writes sound into a pipe as it records loses some when nobody reads. So a thread
reads, and what it has read waits here, up to a length: then it reads no more until some was taken.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .decode import SAMPLE_RATE

__all__ = ["Backlog"]

Floats = NDArray[np.float32]

# Seconds of sound that wait at most, two megabytes.
_MOST = 30.0
_MOMENT = 1.0


class Backlog:
    """Reads blocks in a thread of its own, from now on; it ends with them or with the process.

    Parameters
    ----------
    blocks : iterator of float32 [n]
        Mono 16 kHz sound.
    """

    def __init__(self, blocks: Iterator[Floats]) -> None:
        self._blocks = blocks
        self._waiting: deque[tuple[float, Floats]] = deque()
        self._samples = 0
        self._changed = threading.Condition()
        self._error: BaseException | None = None
        self._ended = self._closed = False
        self.lag = 0.0
        self._thread = threading.Thread(target=self._read, name="soundsearch-reader", daemon=True)
        self._thread.start()

    def _read(self) -> None:
        error: BaseException | None = None
        try:
            for block in self._blocks:
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._closed or self._samples < _MOST * SAMPLE_RATE
                    )
                    if self._closed:
                        return
                    self._waiting.append((time.monotonic(), block))
                    self._samples += len(block)
                    self._changed.notify_all()
        except BaseException as fault:  # for whoever takes the blocks
            error = fault
        with self._changed:
            self._error, self._ended = error, True
            self._changed.notify_all()

    def take(self, timeout: float) -> Floats | None:
        """All that waits, float32 [n]; where nothing does, what comes within `timeout` seconds.

        Nothing, of length 0, where nothing came; None at the end. Raises what reading raised,
        after all that was read before. `lag` is then how many seconds the first of it waited,
        where it came no faster than it sounds; else 0: nobody is late for a file.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended, timeout)
            waiting, self._samples = list(self._waiting), 0
            self._waiting.clear()
            self._changed.notify_all()
            if not waiting and self._ended:
                if self._error is not None:
                    raise self._error
                return None
        if not waiting:
            return np.empty(0, np.float32)
        (first, _), (last, _) = waiting[0], waiting[-1]
        blocks = [block for _, block in waiting]
        is_live = sum(map(len, blocks[1:])) / SAMPLE_RATE <= last - first + 1
        self.lag = time.monotonic() - first if is_live else 0.0
        return np.concatenate(blocks)

    def close(self) -> None:
        """Read no more, once the block that is being read is there; for that, wait a moment."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join(_MOMENT)
