"""One writer at a time: a lease is a row that its holder renews and others respect."""

from __future__ import annotations

import json
import os
import secrets
import socket
import threading
import time
from contextlib import suppress
from typing import Any

from ...errors import LibraryBusy, LibraryError
from .client import MilvusClient
from .rows import state_row
from .uri import MilvusUri

__all__ = ["Lease"]

_ROW = 2
_SECONDS = 60.0
_RENEW_SECONDS = 15.0
# Milvus has no compare-and-set. A writer that takes the lease waits a moment: any other writer
# that saw it free at the same time has then written too, and the last to write holds it.
_SETTLE_SECONDS = 1.0

_taking_lite = threading.Lock()


class Lease:
    """The right to write to a library.

    It expires a minute after its last renewal, or at once if its holder was a process of this
    machine that has ended. The clocks of machines that write to one library must agree to within
    a minute.
    """

    def __init__(self, client: MilvusClient, uri: MilvusUri) -> None:
        self._client = client
        self._uri = uri
        self._collection = f"{uri.name}_state"
        self._mine = {
            "token": secrets.token_hex(8),
            "pid": os.getpid(),
            "host": _machine(),
        }
        self._renewed = 0.0
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def take(self) -> None:
        """Take the lease, or raise LibraryBusy if another process holds it."""
        if self._uri.lite:  # it serves this process alone
            with _taking_lite:
                self._refuse_other(self._holder())
                self._write()
        else:
            self._refuse_other(self._holder())
            self._write()
            time.sleep(_SETTLE_SECONDS)
            self._refuse_other(self._holder())
        self._stop.clear()
        self._thread = threading.Thread(target=self._keep_renewing, daemon=True, name="lease")
        self._thread.start()

    def check(self) -> None:
        """Raise LibraryBusy if the lease was lost; call before each write that others will see."""
        with self._lock:
            if time.monotonic() - self._renewed > 2 * _RENEW_SECONDS:
                self._refuse_other(self._holder())
                self._write()

    def release(self) -> None:
        """Give the lease back."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with suppress(LibraryError):  # the lease then expires
            holder = self._holder()
            if holder is not None and holder["token"] == self._mine["token"]:
                self._client.delete(self._collection, [_ROW])

    def _holder(self) -> dict[str, Any] | None:
        rows = self._client.query(self._collection, f"id == {_ROW}", ["data"], "Strong")
        return json.loads(rows[0]["data"]) if rows else None

    def _write(self) -> None:
        row = state_row(_ROW, {**self._mine, "time": time.time()})
        self._client.upsert(self._collection, [row])
        self._renewed = time.monotonic()

    def _keep_renewing(self) -> None:
        while not self._stop.wait(_RENEW_SECONDS):
            with self._lock, suppress(LibraryError):  # `check` will raise it
                holder = self._holder()
                if holder is None or holder["token"] == self._mine["token"]:
                    self._write()
                else:
                    self._renewed = 0.0
                    return

    def _refuse_other(self, holder: dict[str, Any] | None) -> None:
        if holder is None or holder["token"] == self._mine["token"]:
            return
        left = holder["time"] + _SECONDS - time.time()
        if left < 0 or _is_gone(holder):
            return
        raise LibraryBusy(
            f"{self._uri}: process {holder['pid']} on {holder['host'].partition('/')[0]} is "
            "writing to the library; wait until it ends (if it was killed, wait "
            f"{min(left, _SECONDS):.0f} s)"
        )


def _machine() -> str:
    """The name of this machine and, on Linux, its namespace of process ids."""
    space = ""
    with suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")
    return f"{socket.gethostname()}/{space}"


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
