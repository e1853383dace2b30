"""What hears sound: an encoder, and a head that finds labels in the same patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders
from soundsearch_ingest.encoders import Encoder, SideBySide

from .labels.head import Head, bundled_head

__all__ = ["Listener"]

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Listener:
    """An encoder and the head that labels its patches.

    Where no head knows the encoder's space, the bundled encoder runs beside it and the bundled
    head labels from that one's embeddings.

    Attributes
    ----------
    encoder : Encoder
        Its embeddings begin with those of the wanted space and end with those of the head's;
        where the two are the same space, so are they.
    head : Head
    dimension : int
        Of the wanted space.
    """

    encoder: Encoder
    head: Head
    dimension: int

    @classmethod
    def open(cls, name: str = encoders.BUNDLED, threads: int = 1) -> Listener:
        """Open an encoder by name, and its head; see `soundsearch_ingest.encoders.load`."""
        encoder = encoders.load(name, threads)
        if encoder.space == bundled_head().space:
            return cls(encoder, bundled_head(), encoder.dimension)
        if (path := encoders.head_file(name)) is not None:
            head = Head(path)
            if head.space == encoder.space:
                return cls(encoder, head, encoder.dimension)
        beside = SideBySide(encoder, encoders.load(threads=threads))
        return cls(beside, bundled_head(), encoder.dimension)

    def wanted(self, embeddings: Floats) -> Floats:
        """The wanted space's part of what the encoder gave, float32 [n, dimension]."""
        return embeddings[:, : self.dimension]

    def for_head(self, embeddings: Floats) -> Floats:
        """The part that the head reads, float32 [n, head.dimension]."""
        return embeddings[:, -self.head.dimension :]
