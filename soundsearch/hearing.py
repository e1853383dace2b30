"""A sound from anywhere -> its embeddings and its labels; no library needed."""

from __future__ import annotations

import os
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from soundsearch_ingest import decode, encoders, pipeline
from soundsearch_ingest.encoders import Encoder
from soundsearch_ingest.logmel import SILENT

from .errors import AudioError
from .labels.head import named
from .labels.predict import predict
from .listener import Listener
from .results import LabelledClip, Segment
from .stores.base import CLIP_LABELS, SEGMENT_LABELS

__all__ = ["Source", "embed_source", "label"]

Source = str | os.PathLike[str] | BinaryIO | ArrayLike


def label(
    source: Source,
    *,
    at: tuple[float, float | None] | None = None,
    sample_rate: int | None = None,
    encoder: str = encoders.BUNDLED,
) -> LabelledClip:
    """Predict the labels of a sound and of each of its segments.

    Parameters
    ----------
    source : path, binary file or array
        See `Library.query`.
    at : (start, end), optional
        Part of the sound, seconds.
    sample_rate : int, optional
        Of an array, Hz.
    encoder : str
        Whose labels are wanted: ``soundsearch models list``.

    Returns
    -------
    LabelledClip
        Times count from the start of the source.

    Raises
    ------
    AudioError
        The source gives no sound.
    """
    listener = Listener.open(encoder, pipeline.available_cores())
    hop, length = listener.encoder.hop_seconds, listener.encoder.segment_seconds
    embeddings, levels, warning = embed_source(source, at, sample_rate, listener.encoder, hop)
    [(segments, clip)] = predict(
        listener.head, [(listener.for_head(embeddings), levels)], SEGMENT_LABELS, CLIP_LABELS
    )
    begin = at[0] if at else 0.0
    uri = os.path.abspath(source) if isinstance(source, (str, os.PathLike)) else ""
    return LabelledClip(
        uri,
        named(clip),
        tuple(
            Segment(begin + number * hop, begin + number * hop + length, bool(quiet), named(row))
            for number, (quiet, row) in enumerate(zip(levels < SILENT, segments, strict=True))
        ),
        warning,
    )


def embed_source(
    source: Source,
    at: tuple[float, float | None] | None,
    sample_rate: int | None,
    encoder: Encoder,
    hop: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32], str | None]:
    start, end = at or (0.0, None)
    if isinstance(source, (str, os.PathLike)) or hasattr(source, "read"):
        with decode.Decoder(cast(Any, source), start=start, end=end) as decoder:
            embeddings, levels, _ = pipeline.embed_sound(decoder, encoder, hop)
            return embeddings, levels, decoder.warning
    if sample_rate is None:
        raise AudioError("array", "expected sample_rate beside an array, got none")
    sound = decode.to_mono_16k(np.asarray(source), sample_rate)
    first = round(start * decode.SAMPLE_RATE)
    sound = sound[first : None if end is None else round(end * decode.SAMPLE_RATE)]
    if len(sound) == 0:
        raise AudioError("array", f"holds no sound from {start} s on")
    embeddings, levels, _ = pipeline.embed_sound([sound], encoder, hop)
    return embeddings, levels, None
