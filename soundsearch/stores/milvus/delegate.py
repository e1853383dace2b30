"""Writing clips on behalf of the process that holds the lease, under numbers that it drew.

Several processes, on any machines, may do so at the same time. What one has written is visible at
once; the holder's `Writer.settle` finishes it. A process that was given up, and comes back after
its clips were given to another, writes the same rows again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from ...errors import LibraryBusy
from ..records import NewClip
from .client import Row
from .inserting import Numbers, insert
from .lease import Lease, Permit
from .lookups import rows_with
from .rows import clip_of
from .tables import Tables

__all__ = ["Delegate"]

# How long the lease is not looked at again.
_TRUSTED_SECONDS = 15.0


class Delegate:
    """Reads and writes for the holder of a lease, of a library or a part. Thread-safe.

    Parameters
    ----------
    tables : Tables
    permit : Permit
        Of the lease; nothing is written any more once it is another's, or nobody's.
    """

    def __init__(self, tables: Tables, permit: Permit) -> None:
        self._tables = tables
        self._token = permit.token
        self._lease = Lease(tables.client, tables.uri, permit.row)
        self._looked = -_TRUSTED_SECONDS
        self._lock = threading.Lock()

    def known(self, digests: Sequence[bytes], clips: bool, failures: bool) -> set[bytes]:
        """Which of these contents clips have, unless their file has become none, or failures.

        What was written in the last seconds may be missed: it is then heard again, no more.
        """
        found = set()
        for row in rows_with(self._tables, "digest", [digest.hex() for digest in digests]):
            is_failure = row["id"] < 0
            if failures if is_failure else clips and not clip_of(row).record.is_stale:
                found.add(bytes.fromhex(row["digest"]))
        return found

    def add(self, clips: Sequence[tuple[NewClip, Numbers]]) -> list[Row]:
        """Store clips; returns their rows, for `Writer.settle`.

        Raises
        ------
        LibraryBusy
            The lease is not held any more.
        """
        return insert(self._tables, clips, self._check)

    def _check(self) -> None:
        with self._lock:
            if time.monotonic() - self._looked < _TRUSTED_SECONDS:
                return
            holder = self._lease.holder()
            if holder is None or holder["token"] != self._token:
                raise LibraryBusy(
                    f"{self._tables.uri}: the process that this one writes for does not hold the "
                    "library any more; run its command again"
                )
            self._looked = time.monotonic()
