"""Streams that cannot seek, such as pipes, copied to a temporary file that stays small enough.

A stream need not end. With a limit on its seconds, what is there is measured now and then, and
no more is read than that; what is no audio is refused soon.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from typing import BinaryIO

from .errors import AudioError
from .readers import error_text

__all__ = ["spooled"]

_BLOCK = 1 << 18
# When a stream is first measured: the bytes of a second where little is known of it.
_FEW_BYTES = 8_000
# Recordings at high rates, with several channels, have fewer.
_MANY_BYTES = 768_000
# Covers and other notes may come before the sound, but not this much.
_PATIENCE = 1 << 25


def spooled(
    source: BinaryIO,
    name: str,
    longest: float | None = None,
    measure: Callable[[BinaryIO], float | None] = lambda _file: None,
) -> BinaryIO:
    """A temporary file with the content of a stream.

    Parameters
    ----------
    source : binary file
        Read to its end, or to where it holds enough.
    name : str
        For messages.
    longest : float or None
        How many seconds of sound are enough; None for all there are, unmeasured.
    measure : callable
        The seconds of sound in a file whose end may be missing; None if it is not known as audio.

    Raises
    ------
    AudioError
        It goes on without being audio; there is no room for it; or it cannot be read.
    """
    spool = tempfile.TemporaryFile()  # noqa: SIM115 - closed by the Decoder
    size, next_look = 0, 1 << 62
    if longest is not None:
        next_look = max(_BLOCK, int(longest * _FEW_BYTES))
    try:
        while block := source.read(_BLOCK):
            spool.write(block)
            size += len(block)
            if size < next_look:
                continue
            next_look = 2 * size
            assert longest is not None
            spool.flush()
            seconds = measure(spool)
            if seconds is not None and seconds > longest:
                break
            _refuse_endless(spool, name, size, longest, seconds is None)
            spool.seek(0, 2)
        spool.flush()
    except OSError as error:
        spool.close()
        raise AudioError(
            name, f"cannot be copied to {tempfile.gettempdir()}: {error_text(error)}"
        ) from error
    except BaseException:
        spool.close()
        raise
    return spool


def _refuse_endless(
    spool: BinaryIO, name: str, size: int, longest: float, is_unknown: bool
) -> None:
    megabytes = size / 1e6
    if size > max(_PATIENCE, longest * _MANY_BYTES):
        raise AudioError(
            name,
            f"goes on after {megabytes:,.0f} MB, more than {longest:,.0f} s of sound have; save "
            "it to a file first, or shorten it",
        )
    spool.seek(4)
    # The table of an MP4 or MOV file may come after its sound.
    if is_unknown and size >= _PATIENCE and spool.read(4) not in (b"ftyp", b"mdat", b"wide"):
        raise AudioError(name, f"is no audio, as far as its first {megabytes:,.0f} MB tell")
