"""Times as text."""

from __future__ import annotations

__all__ = ["clock"]


def clock(seconds: float, digits: int = 0, hours: bool = False) -> str:
    """A time as people write it, such as ``0:05``, ``1:02:05`` or, with two digits, ``0:05.25``.

    Parameters
    ----------
    seconds : float
        0 or more.
    digits : int
        Of the fraction of a second, to which it is rounded.
    hours : bool
        Whether hours are there even if they are 0.
    """
    whole, fraction = divmod(round(seconds * 10**digits), 10**digits)
    minutes, rest = divmod(whole, 60)
    over, part = divmod(minutes, 60)
    start = f"{over}:{part:02}" if over or hours else f"{part}"
    return f"{start}:{rest:02}" + (f".{fraction:0{digits}}" if digits else "")
