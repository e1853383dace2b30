"""The exceptions of the ground floor, and the base class of all.

The base class is here because imports only point down; ``soundsearch.errors`` draws the whole tree
and adds the exceptions of the upper floor.
"""

from __future__ import annotations

__all__ = ["ArgumentError", "AudioError", "EncoderError", "MissingExtra", "SoundsearchError"]


class SoundsearchError(Exception):
    """Base class of all errors that soundsearch raises deliberately.

    The message is written for the user: it names the file, says what was expected and what was
    found, and what to do.
    """


class ArgumentError(SoundsearchError, ValueError):
    """An invalid argument; the message says what was expected."""


class AudioError(SoundsearchError):
    """A file or array that holds no usable audio.

    Parameters
    ----------
    source : str
        Path or description of the input, as shown to the user.
    reason : str
        What is wrong with it, without the source.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(f"{source}: {reason}")
        self.source = source
        self.reason = reason


class EncoderError(SoundsearchError):
    """An encoder's model is missing, damaged or not what it claims to be."""


class MissingExtra(SoundsearchError):
    """An optional package is not installed; the message says how to install it."""
