"""Copies of what is not on this disk, for as long as it is read: temporary files without a name.

Nothing is left of one when it is closed, nor when the process is killed.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO

from .readers import error_text

__all__ = ["Fault", "copied"]

_BLOCK = 1 << 20
# What does not say how long it is may be a broadcast, which has no end.
_UNSAID = 4 << 30


class Fault(OSError):
    """What is in the way of a file just now; worth another try."""


def copied(read: Callable[[int], bytes], size: int, limit: int | None = _UNSAID) -> BinaryIO:
    """Copy what `read` gives, up to so many bytes at a time, until it gives none.

    Parameters
    ----------
    read : callable
    size : int
        How many bytes there are; 0 where that is not known.
    limit : int, optional
        How many there are at most where that is not known.

    Returns
    -------
    binary file
        At its beginning; to be closed.

    Raises
    ------
    Fault
        There are more or fewer, or the temporary folder has no room for them.
    """
    folder = tempfile.gettempdir()
    if size > shutil.disk_usage(folder).free:
        raise Fault(f"has {size:,} bytes, for which there is no room in {folder}")
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - returned
    try:
        _fill(spool, read, size, limit, folder)
    except BaseException:
        with suppress(OSError):  # it may still hold what there is no room for
            spool.close()
        raise
    return spool


def _fill(
    spool: BinaryIO, read: Callable[[int], bytes], size: int, limit: int | None, folder: str
) -> None:
    got = 0
    while block := read(_BLOCK):
        got += len(block)
        if size and got > size:
            raise Fault(f"has more than the {size:,} bytes that were listed; ingest it again")
        if limit is not None and not size and got > limit:
            raise Fault(f"goes on after {limit:,} bytes; save it to a file first")
        try:
            spool.write(block)
        except OSError as error:
            raise Fault(f"cannot be copied to {folder}: {error_text(error)}") from error
    if got < size:
        raise Fault(f"ended after {got:,} of its {size:,} bytes; ingest it again")
    try:
        spool.seek(0)  # writes what is left
    except OSError as error:
        raise Fault(f"cannot be copied to {folder}: {error_text(error)}") from error
