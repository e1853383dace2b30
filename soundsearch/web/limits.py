"""What the server takes on at most, and who waits for whom."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from .problems import Problem

__all__ = ["Gate", "Limits", "Room"]


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one server.

    Attributes
    ----------
    questions, waiting_questions : int
        Answered at once by threads, and waiting for their turn; more are refused.
    question_seconds : float
        How long one question may take, from when its turn has come.
    uploads : int
        Received at once; more are refused.
    workers, waiting_jobs : int
        Processes that decode, and jobs that wait for one.
    exports : int
        ZIPs sent at once; more are refused.
    export_bytes : int
        Of one.
    upload_bytes : int
    waiting_bytes : int
        Of uploads that are on disk at once, while they are received, wait and are heard.
    upload_seconds : float
        How long one upload may take.
    longest : float
        How much of an uploaded sound is heard, and of a sound sent or drawn, seconds.
    job_seconds : float
        After this a worker is killed.
    job_bytes : int
        Memory of a worker, and the size of a file that it writes.
    map_clips : int
        On a map; of more, so many are chosen.
    map_bytes : int
        Memory of the process that lays them out.
    send_seconds, header_seconds : float
        How long a client may take to read the next piece of an answer, and to send its request's
        headers.
    stop_seconds : float
        How long requests may go on after the server was told to stop.
    """

    questions: int = max(2, min(8, os.cpu_count() or 2))
    waiting_questions: int = 64
    uploads: int = 16
    workers: int = max(1, min(4, (os.cpu_count() or 2) // 2))
    waiting_jobs: int = 32
    question_seconds: float = 20.0
    exports: int = 4
    export_bytes: int = 4 << 30
    upload_bytes: int = 200 << 20
    waiting_bytes: int = 2 << 30
    upload_seconds: float = 120.0
    longest: float = 3600.0
    job_seconds: float = 60.0
    job_bytes: int = 2 << 30
    map_clips: int = 250_000
    map_bytes: int = 4 << 30
    send_seconds: float = 60.0
    header_seconds: float = 20.0
    stop_seconds: float = 30.0


class Room:
    """Bytes on disk for uploads; safe in threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self.taken = 0

    def take(self, size: int) -> None:
        """Take some room; raises Problem (503) where there is not so much."""
        with self._lock:
            if self.taken + size > self._most:
                raise Problem(
                    503,
                    "Overloaded",
                    f"the uploads that are under way have {self._most >> 20} MB, which is all that "
                    "this server keeps at once; send it again in a moment",
                    retry_after=2,
                )
            self.taken += size

    def give_back(self, size: int) -> None:
        """Give back some of it."""
        with self._lock:
            self.taken -= size


class Gate:
    """Lets so many through at once; so many more wait, in their order, and others are refused.

    Belongs to the event loop that first uses it.
    """

    def __init__(self, at_once: int, waiting: int, what: str) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._at_once, self._most, self._what = at_once, waiting, what
        self.running = self.waiting = 0

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn and have it; raises Problem (503) where too many wait already."""
        if self.running + self.waiting >= self._at_once + self._most:
            raise Problem(
                503,
                "Overloaded",
                f"{self.running} {self._what} are under way and {self.waiting} wait, which is all "
                "that this server takes on; ask again in a moment",
                retry_after=1,
            )
        self.waiting += 1
        try:
            await self._turns.acquire()
        finally:
            self.waiting -= 1
        self.running += 1
        try:
            yield
        finally:
            self.running -= 1
            self._turns.release()
