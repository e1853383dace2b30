"""A pool of `soundsearch.web.worker` processes; each job has one to itself."""

from __future__ import annotations

import asyncio
import errno
import queue
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, BinaryIO, cast

from anyio import CancelScope

from ..errors import AudioError, EncoderError, MissingExtra, SoundsearchError, SpaceMismatch
from .limits import Gate, Limits
from .messages import receive, send
from .problems import Problem, fault
from .processes import spawn

__all__ = ["Workers", "how_it_ended"]

# Errors of a worker that are raised here as they were there.
_KNOWN = {kind.__name__: kind for kind in (EncoderError, MissingExtra, SoundsearchError)}

# How long a process may take to start.
_START_SECONDS = 60.0


class _Worker:
    """One process; used by one thread at a time. Raises Problem where it does not start."""

    def __init__(self, limits: Limits) -> None:
        self.process = spawn("worker", limits.job_bytes, limits.job_bytes)
        self._given = cast(BinaryIO, self.process.stdin)
        self._told = cast(BinaryIO, self.process.stdout)
        # A job's time begins when there is one to do it.
        if self._until(_START_SECONDS) is None:
            self.close()
            raise Problem(
                503,
                "NoWorker",
                "the process that decodes sounds does not start "
                f"({how_it_ended(self.process.returncode)}); the server's log may say why",
                retry_after=5,
            )

    def ask(self, job: dict[str, Any], seconds: float) -> tuple[dict[str, Any], bytes] | None:
        """What comes of a job; None where the process ended in it."""
        with suppress(OSError):
            # It ends by itself a little later, should this process not be there to end it.
            send(self._given, {**job, "seconds": seconds + 5})
            return self._until(seconds)
        return None

    def _until(self, seconds: float) -> tuple[dict[str, Any], bytes] | None:
        """The next message; the process is ended where it does not come in time."""
        timer = threading.Timer(seconds, self.process.kill)
        timer.start()
        try:
            return receive(self._told)
        finally:
            timer.cancel()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        with suppress(OSError):
            self._given.close()
        self._told.close()


def how_it_ended(code: int) -> str:
    """How a process ended."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit code {code}"


class Workers:
    """Processes that are started when they are needed, and again after one has ended.

    Attributes
    ----------
    gate : Gate
    lost : int
        How many ended in a job.
    """

    def __init__(self, limits: Limits) -> None:
        self.gate = Gate(limits.workers, limits.waiting_jobs, "sounds")
        self.lost = 0
        self._limits = limits
        self._idle: queue.LifoQueue[_Worker | None] = queue.LifoQueue()
        self._threads = ThreadPoolExecutor(limits.workers, "soundsearch-worker")
        self._all: set[_Worker] = set()
        for _ in range(limits.workers):
            self._idle.put(None)

    async def ask(self, name: str, job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Do a job; `name` is what messages call the sound.

        Raises
        ------
        AudioError
            The sound cannot be used, or is too much for a worker.
        Problem
            Too many jobs wait.
        """
        async with self.gate.turn():
            loop = asyncio.get_running_loop()
            with CancelScope(shield=True):  # who asked may go; the job goes on, and what it writes
                found = await loop.run_in_executor(self._threads, self._ask, name, job)
            return found

    def _ask(self, name: str, job: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        worker = self._idle.get()
        try:
            if worker is None or worker.process.poll() is not None:
                self._forget(worker)
                worker = None
                worker = _Worker(self._limits)
                self._all.add(worker)
            found = worker.ask(job, self._limits.job_seconds)
            if found is None:
                worker.process.wait()
                code = worker.process.returncode
                self._forget(worker)
                worker = None
                self.lost += 1
                raise AudioError(name, self._why(code))
            answer, content = found
            if answer.get("error") in ("MemoryError", "Exception"):
                self._forget(worker)  # what is left of it may be in pieces
                worker = None
        finally:
            self._idle.put(worker)
        if "error" in answer:
            raise self._error(name, answer)
        return answer, content

    def _why(self, code: int) -> str:
        """Why a sound was given up whose worker ended with this code."""
        if code in (-signal.SIGKILL, -signal.SIGALRM):
            return (
                f"takes more than {self._limits.job_seconds:g} s to decode, or too much memory; "
                "give less of it"
            )
        return f"the decoder crashed on it ({how_it_ended(code)}); is it damaged?"

    def _error(self, name: str, answer: dict[str, Any]) -> Exception:
        kind, message = answer["error"], answer["message"]
        if kind == "MemoryError":
            return AudioError(name, "takes too much memory to decode; give less of it")
        if kind == "AudioError":
            return AudioError(name, answer["reason"])
        if kind == "OSError":
            is_full = answer["errno"] in (errno.ENOSPC, errno.EDQUOT)
            return OSError(answer["errno"], message) if is_full else AudioError(name, message)
        if kind == "Exception":
            return fault(message)
        if kind == SpaceMismatch.__name__:
            return Problem(409, kind, message)
        return _KNOWN.get(kind, SoundsearchError)(message)

    def _forget(self, worker: _Worker | None) -> None:
        if worker is not None:
            self._all.discard(worker)
            worker.close()

    def close(self) -> None:
        """End all processes, and what they do."""
        for worker in list(self._all):
            worker.process.kill()
        self._threads.shutdown()
        for worker in list(self._all):
            self._forget(worker)
