"""What an encoder is: log-mel in, embeddings out, and the space they live in."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoder"]


class Encoder(Protocol):
    """Turns log-mel into embeddings of one space.

    Attributes
    ----------
    name : str
        What a user types: ``mini``, ``vggish``.
    space : str
        Identity of the vector space: encoder, version, front end, post-processing.
        Embeddings of two spaces are never compared.
    dimension : int
        Length of an embedding.
    segment_seconds : float
        How much sound one embedding stands for.
    hop_seconds : float
        Default distance between the starts of two segments.
    context_seconds : float
        How much sound on either side of a segment has a say in its embedding; 0 where a
        segment is heard alone.
    """

    name: str
    space: str
    dimension: int
    segment_seconds: float
    hop_seconds: float
    context_seconds: float

    def embed(self, mel: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed n stretches of k segments each; thread-safe.

        Parameters
        ----------
        mel : float32 [n, 96 k, 64]
            Log-mel; each stretch is a sound, or part of one, of which segments follow each
            other without a gap. `soundsearch_ingest.stretches` cuts sounds like this.

        Returns
        -------
        float32 [n k, dimension]
        """
        ...
