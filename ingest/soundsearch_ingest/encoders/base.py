"""What an encoder is: log-mel patches in, embeddings out, and the space they live in."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Encoder"]


class Encoder(Protocol):
    """Turns patches into embeddings of one space.

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
    """

    name: str
    space: str
    dimension: int
    segment_seconds: float
    hop_seconds: float

    def embed(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Embed float32 [n, 96, 64] log-mel patches as float32 [n, dimension].

        Thread-safe: several threads may call it at once.
        """
        ...
