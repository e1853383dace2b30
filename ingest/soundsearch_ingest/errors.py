"""Errors of the ground floor, and the root of every error a user can meet.

The root lives here because imports only point down: ``soundsearch.errors``
draws the whole tree and adds the upper floor's branches.
"""

from __future__ import annotations

__all__ = ["ArgumentError", "AudioError", "EncoderError", "MissingExtra", "SoundsearchError"]


class SoundsearchError(Exception):
    """Root of every error that soundsearch raises on purpose.

    The message is written for the person at the keyboard: it names the file,
    what was expected, what was got, and what to do.
    """


class ArgumentError(SoundsearchError, ValueError):
    """A value that no call of this kind can take; the message says what was expected."""


class AudioError(SoundsearchError):
    """A file or array that gives no usable audio.

    Parameters
    ----------
    source : str
        Path or description of the input, as shown to the user.
    reason : str
        What is wrong with it, without the name.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class EncoderError(SoundsearchError):
    """An encoder's model is missing, damaged or not what it claims to be."""


class MissingExtra(SoundsearchError):
    """A package that only some need is not installed; the message says how to install it."""
