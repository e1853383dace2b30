"""Things done in a child process, which may be killed or given errors at its system calls."""

from __future__ import annotations

import json
import os
import pickle
import select
import shutil
import signal
import subprocess
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from soundsearch.errors import SoundsearchError

__all__ = ["CALLS", "Fault", "Outcome", "Report", "Result", "calls_of", "can_trace", "in_child"]

# By how a file changes. SQLite writes with the second, Python's files with the first.
CALLS = (
    "write", "pwrite64", "fsync", "fdatasync", "rename", "mkdir", "unlink", "rmdir", "link",
    "ftruncate",
)  # fmt: skip
_TRACE = ["strace", "-f", "-qq", "-e", f"trace={','.join(CALLS)}", "-e", "signal=none"]
_SECONDS = 60.0

Report = Callable[[str], None]
# Counts of columns of the table, and what is to be said of the bad ones.
Result = tuple[Counter[str], list[str]]


@dataclass(frozen=True)
class Fault:
    """What happens to a process.

    Attributes
    ----------
    call : str
        Of `CALLS`; "" for a kill at a moment.
    number : int
        The how many-th call, from 1 on.
    what : str
        ``signal=KILL``, ``error=EIO`` or ``error=ENOSPC``.
    lasts : bool
        Also all later calls.
    after : float
        Seconds until a kill at a moment.
    """

    call: str
    number: int
    what: str = "signal=KILL"
    lasts: bool = False
    after: float = 0.0

    def options(self) -> list[str]:
        """How `strace` does it."""
        when = f"{self.number}{'+' if self.lasts else ''}"
        return ["-e", f"inject={self.call}:{self.what}:when={when}"]


@dataclass
class Outcome:
    """How a child ended.

    Attributes
    ----------
    end : str
        ``done``, ``refused`` (an error of soundsearch), ``internal`` (any other error),
        ``killed``, ``crashed`` or ``hung``.
    value : Any
        What the action returned, or the text of the error.
    reported : list of str
    """

    end: str = "killed"
    value: Any = None
    reported: list[str] = field(default_factory=list)


def can_trace() -> bool:
    """Whether calls can be counted and made to fail here."""
    if shutil.which("strace") is None:
        return False
    return subprocess.run([*_TRACE, "-o", os.devnull, "true"], capture_output=True).returncode == 0


def in_child(
    action: Callable[[Report], Any], fault: Fault | None = None, log: Path | None = None
) -> Outcome:
    """Do something in a child, which has what this process has imported.

    Parameters
    ----------
    action : callable
        Given a function that reports a line as soon as it is called.
    fault : Fault, optional
    log : Path, optional
        Where to list the calls.
    """
    reading, writing = os.pipe()
    traced = log is not None or (fault is not None and bool(fault.call))
    child = os.fork()
    if child == 0:
        os.close(reading)
        _act(action, writing, traced)
    os.close(writing)
    tracer = None
    if traced:
        os.waitpid(child, os.WUNTRACED)
        options = fault.options() if fault is not None else []
        place = str(log or os.devnull)
        tracer = subprocess.Popen([*_TRACE, *options, "-o", place, "-p", str(child)])
        while _tracer_of(child) == 0 and tracer.poll() is None:
            time.sleep(0.001)
        os.kill(child, signal.SIGCONT)
    at_a_moment = fault is not None and not fault.call
    text, hung = _read(reading, fault.after if fault and at_a_moment else None)
    if hung:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        text += _read(reading)[0]
    os.close(reading)
    _, status = os.waitpid(child, 0)
    if tracer is not None:
        tracer.wait()
    return _outcome(text, status, hung and not at_a_moment)


def _act(action: Callable[[Report], Any], writing: int, stops: bool) -> None:
    """What the child does; does not return."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(nowhere, stream)

    def report(line: str) -> None:
        os.writev(writing, [f"{json.dumps(line)}\n".encode()])  # which no fault is for

    if stops:
        os.kill(os.getpid(), signal.SIGSTOP)
    try:
        end, value = "done", action(report)
    except SoundsearchError as error:
        end, value = "refused", str(error)
    except BaseException:
        end, value = "internal", traceback.format_exc()
    sent = pickle.dumps((end, value))
    os.writev(writing, [b"\0"])
    while sent:
        sent = sent[os.writev(writing, [sent]) :]
    os._exit(0)


def _tracer_of(process: int) -> int:
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("TracerPid:"):
            return int(line.split()[1])
    return 0


def _read(descriptor: int, seconds: float | None = None) -> tuple[bytes, bool]:
    """What comes until its end, and whether that did not come in time.

    `seconds` are those for all of it; by default, it may take as long as it goes on coming.
    """
    parts: list[bytes] = []
    end = time.monotonic() + (_SECONDS if seconds is None else seconds)
    while (left := end - time.monotonic()) > 0:
        if select.select([descriptor], [], [], left)[0]:
            part = os.read(descriptor, 1 << 16)
            if not part:
                return b"".join(parts), False
            parts.append(part)
            if seconds is None:
                end = time.monotonic() + _SECONDS
    return b"".join(parts), True


def _outcome(text: bytes, status: int, hung: bool) -> Outcome:
    lines, _, sent = text.partition(b"\0")
    reported = [json.loads(line) for line in lines.split(b"\n")[:-1]]
    if hung:
        return Outcome("hung", None, reported)
    if os.WIFSIGNALED(status):
        killed = os.WTERMSIG(status) == signal.SIGKILL
        return Outcome("killed" if killed else "crashed", os.WTERMSIG(status), reported)
    end, value = pickle.loads(sent)
    return Outcome(end, value, reported)


def calls_of(action: Callable[[Report], Any], log: Path) -> dict[str, int]:
    """How often an action makes each call, in the thread that makes it most often."""
    in_child(action, log=log)
    counted: Counter[tuple[str, str]] = Counter()
    for line in log.read_text(errors="replace").splitlines():
        thread, _, rest = line.partition(" ")
        call = rest.strip().partition("(")[0]
        if call in CALLS:
            counted[thread, call] += 1
    most: dict[str, int] = {}
    for (_, call), count in counted.items():
        most[call] = max(count, most.get(call, 0))
    return most
