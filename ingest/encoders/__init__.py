"""The encoders that can be had, by name."""

from __future__ import annotations

from pathlib import Path

from ..errors import EncoderError
from .base import Encoder
from .onnx import OnnxEncoder

__all__ = ["BUNDLED", "Encoder", "OnnxEncoder", "available", "load"]

BUNDLED = "mini"


def available() -> dict[str, Path]:
    """Name and model file of every encoder on this machine."""
    return {BUNDLED: Path(__file__).with_name("mini.onnx")}


def load(name: str = BUNDLED, threads: int = 1) -> Encoder:
    """Open an encoder by name.

    Parameters
    ----------
    name : str
        One of `available`.
    threads : int
        Threads that one call of ``embed`` may use.

    Raises
    ------
    EncoderError
        There is no encoder of that name, or its model is damaged.
    """
    known = available()
    if name not in known:
        raise EncoderError(
            f"no encoder is called {name!r}; there is {', '.join(sorted(known))} "
            "(see: soundsearch models list)"
        )
    return OnnxEncoder(known[name], threads)
