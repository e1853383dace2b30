"""One writer at a time: a lease is a row that its holder renews and others respect."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ...errors import LibraryBusy, LibraryError
from .client import MilvusClient
from .collections import state_collection
from .rows import state_row
from .uri import MilvusUri

__all__ = ["SETTLE_SECONDS", "Lease", "Permit", "is_over"]

# The state row of the writer's lease.
_WRITER = 2
_SECONDS = 60.0
_RENEW_SECONDS = 15.0
# Milvus has no compare-and-set. A writer that takes the lease waits a moment: any other writer
# that saw it free at the same time has then written too, and the last to write holds it.
SETTLE_SECONDS = 1.0

_taking_lite = threading.Lock()


class Permit(NamedTuple):
    """The state row of a lease, and what tells its holder from others."""

    row: int
    token: str


class Lease:
    """The right to write to a library.

    It expires a minute after its last renewal, or at once if its holder was a process of this
    machine that has ended. The clocks of machines that write to one library must agree to within
    half a minute. A holder that was suspended for so long that others wrote finds that it has lost
    it, also when they have ended by then.

    Parameters
    ----------
    client : MilvusClient
    uri : MilvusUri
    row : int
        The state row that it is; by default that of the writer of the whole library.
    **more
        What else the row says: ``part`` of an ingest that it is for, ``drawing`` if it is held
        only to draw numbers.
    """

    def __init__(self, client: MilvusClient, uri: MilvusUri, row: int = _WRITER, **more: Any):
        self._client = client
        self._uri = uri
        self._collection = state_collection(uri)
        self._row = row
        self._mine: dict[str, Any] = {
            **more,
            "token": secrets.token_hex(8),
            "pid": os.getpid(),
            "host": _machine(),
        }
        self._renewed = self._renewed_at = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def permit(self) -> Permit:
        """What lets others write for its holder; see `Delegate`."""
        return Permit(self._row, self._mine["token"])

    def take(self) -> None:
        """Take the lease, or raise LibraryBusy if another process holds it."""
        if self._uri.lite:  # it serves this process alone
            with _taking_lite:
                self.refuse_other()
                self._write()
        else:
            self.refuse_other()
            self._write()
            time.sleep(SETTLE_SECONDS)
            self.refuse_other()
        self._stop.clear()
        self._thread = threading.Thread(target=self._keep_renewing, daemon=True, name="lease")
        self._thread.start()

    def check(self) -> None:
        """Raise LibraryBusy if the lease was lost; call before each write that others will see."""
        with self._lock:
            # One clock stands still while a machine sleeps, the other one can be set.
            ages = time.monotonic() - self._renewed, abs(time.time() - self._renewed_at)
            if max(ages) > 2 * _RENEW_SECONDS:
                self.confirm()
                self._write()

    def is_held(self) -> bool:
        """Whether the lease was not lost, not even a moment ago."""
        return self._is_mine(self.holder())

    def confirm(self) -> None:
        """Raise LibraryBusy if the lease was lost, even a moment ago."""
        holder = self.holder()
        if self._is_mine(holder):
            return
        if holder is not None:
            self.refuse_other(holder)
        raise LibraryBusy(
            f"{self._uri}: this process was suspended, or could not reach Milvus, for so long that "
            "another one took its place; what it reported as done is stored. Run the same command "
            "again"
        )

    def note(self, **more: Any) -> None:
        """Change what else the row says; raises LibraryBusy if the lease was lost."""
        with self._lock:
            self.confirm()
            self._mine.update(more)
            self._write()

    def release(self) -> None:
        """Give the lease back."""
        self._end()
        with suppress(LibraryError):  # the lease then expires
            if self.is_held():
                self._client.delete(self._collection, [self._row])

    def abandon(self) -> None:
        """Give the lease up, and leave its row for who takes it next."""
        self._end()
        if self.is_held():
            self._write(0.0)

    def _end(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _is_mine(self, holder: dict[str, Any] | None) -> bool:
        return holder is not None and holder["token"] == self._mine["token"]

    def holder(self) -> dict[str, Any] | None:
        """What the row says; None without one."""
        rows = self._client.query(self._collection, f"id == {self._row}", ["data"], "Strong")
        return json.loads(rows[0]["data"]) if rows else None

    def _write(self, now: float | None = None) -> None:
        # As of before a write that may take minutes, as the row says.
        renewed = time.monotonic(), time.time()
        row = state_row(self._row, {**self._mine, "time": renewed[1] if now is None else now})
        self._client.upsert(self._collection, [row])
        self._renewed, self._renewed_at = renewed

    def _keep_renewing(self) -> None:
        while not self._stop.wait(_RENEW_SECONDS):
            with self._lock, suppress(LibraryError):  # `check` will raise it
                if self.is_held():
                    self._write()
                else:
                    self._renewed = 0.0
                    return

    def refuse_other(self, holder: dict[str, Any] | None = None) -> None:
        """Raise LibraryBusy if another process holds it; `holder` is the row, where known."""
        holder = holder or self.holder()
        if holder is None or self._is_mine(holder) or is_over(holder):
            return
        what = f"part {holder['part']} of an ingest" if "part" in holder else "the library"
        left = min(_left(holder), _SECONDS)
        raise LibraryBusy(
            f"{self._uri}: process {holder['pid']} on {holder['host'].partition('/')[0]} is "
            f"writing to {what}; wait until it ends (if it was killed, wait {left:.0f} s)"
        )


def is_over(holder: dict[str, Any]) -> bool:
    """Whether nobody holds a lease any more that was held so."""
    return _left(holder) < 0 or _is_gone(holder)


def _left(holder: dict[str, Any]) -> float:
    """For how many seconds a lease is held, unless it is renewed."""
    left: float = holder["time"] + _SECONDS - time.time()
    return left


def _machine() -> str:
    """The name of this machine and, on Linux, its namespace of process ids.

    Of namespaces, the first one has the same number on every machine, and many machines have the
    same name; no two have the same identity of their boot.
    """
    boot = space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()}/{space}/{boot}"


def _is_gone(holder: dict[str, Any]) -> bool:
    if os.name != "posix" or holder["host"] != _machine():
        return False
    try:
        os.kill(holder["pid"], 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
