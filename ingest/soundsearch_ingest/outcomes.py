"""What comes of each file that is heard."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .discover import AudioFile

__all__ = ["Embedded", "Failed", "Known", "Result"]


@dataclass(frozen=True, slots=True, eq=False)
class Embedded:
    """A file's sound as embeddings.

    Attributes
    ----------
    file : AudioFile
    digest : bytes
        BLAKE3 of the content.
    duration : float
        Seconds of sound that were decoded.
    embeddings : float32 [segments, dimension]
    levels : float32 [segments]
        How loud each is, dB; see `soundsearch_ingest.logmel.levels`.
    padded : bool
        The sound was shorter than one segment and zero-padded to one.
    warning : str or None
        Why there may be less sound than the file promised.
    sample_rate : int
        Of the file, Hz.
    """

    file: AudioFile
    digest: bytes
    duration: float
    embeddings: NDArray[np.float32]
    levels: NDArray[np.float32]
    padded: bool
    warning: str | None
    sample_rate: int


@dataclass(frozen=True, slots=True)
class Known:
    """A file whose content the caller has already, so that it was not decoded."""

    file: AudioFile
    digest: bytes


@dataclass(frozen=True, slots=True)
class Failed:
    """A file that gave no embeddings, and why.

    `digest` is None where that is not the content's fault, which cannot be read just now or
    changes: worth another try.
    """

    file: AudioFile
    digest: bytes | None
    reason: str


Result = Embedded | Known | Failed
