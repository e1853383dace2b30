"""A stream of sound -> what begins in it, what ends, and what of a library is heard, at once."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import encoders, pipeline
from soundsearch_ingest.backlog import Backlog
from soundsearch_ingest.incoming import RawFormat, incoming, incoming_arrays
from soundsearch_ingest.logmel import FRAME_SECONDS
from soundsearch_ingest.newest import NewestSegments

from .errors import ArgumentError, SpaceMismatch
from .hearing import Listener
from .labels.kept import head_file
from .labels.moments import HOP, Began, Ended, Teller
from .timelines import segment_scores
from .watching import MIN_SCORE, Matched, Watch

if TYPE_CHECKING:
    from .clips import Clips

__all__ = ["Moment", "listen"]

Moment = Began | Ended | Matched
Floats = NDArray[np.float32]
OnWarning = Callable[[str], None]

# How long the end of waiting may take that `stop` asks for, seconds.
_TURN = 0.2
# Sound that waited for so long to be heard is late, seconds.
_LATE = 2.0


def listen(
    source: BinaryIO | Iterable[NDArray[Any]],
    *,
    sample_rate: int | None = None,
    format: str | None = None,
    encoder: str | None = None,
    head: str | os.PathLike[str] | None = None,
    hop: float = HOP,
    watch: Clips | None = None,
    min_score: float = MIN_SCORE,
    on_warning: OnWarning = lambda _text: None,
    stop: threading.Event | None = None,
) -> Iterator[Moment]:
    """Tell what begins and ends in a stream of sound while it is heard.

    A binary stream is read by a thread, as it comes; nothing waits for its end, and what is kept
    does not grow. Sound that comes faster than it lasts is heard as fast as it can be. Where
    hearing falls behind a live stream, the sound waits, up to half a minute of it, and is heard
    in larger parts: times are those of the sound, and none of it is left out.

    Parameters
    ----------
    source : binary stream, or iterable of arrays
        Arrays follow each other without a gap, [n] or [n, channels], floats in [-1, 1] or
        integers at full scale, and need `sample_rate`. They are taken in the calling thread.
    sample_rate : int, optional
        Of arrays, Hz.
    format : str, optional
        How a stream of raw samples is written: ``s16le:16000:1`` has the coding, Hz and channels;
        see `soundsearch_ingest.incoming.RawFormat`. By default the stream's header says it: WAV,
        whatever that says of its length, FLAC, Ogg, MP3, AAC, Matroska, WebM, MPEG-TS.
    encoder : str, optional
        Whose labels are wanted; by default the bundled one, or that of the library to `watch`.
    head : path, optional
        The file of a head whose labels are wanted; it reads the encoder's space.
    hop : float
        How often the newest segment is heard, seconds, 0.01 to 0.96.
    watch : Library or Clips, optional
        Tell when something like one of these clips is heard.
    min_score : float
        From which cosine on something is like a clip; see `Matched`.
    on_warning : callable
        Told once of each thing that is odd: samples that are not finite, damage, an early end, and
        hearing that falls behind a live stream. Of a stream, the thread that reads may tell it.
    stop : threading.Event, optional
        Once it is set, the sound ends there: what is on is told to end.

    Yields
    ------
    Began, Ended or Matched
        By the time at which they are known. What began ends later, at last with the sound.

    Raises
    ------
    ArgumentError
    AudioError
        The stream gives no sound, or cannot be read; while iterating.
    EncoderError
        The head's file cannot be read.
    SpaceMismatch
        The head or the library to `watch` has another space than the encoder's.
    """
    frames = pipeline.hop_frames(hop)
    is_stream = hasattr(source, "read") and not isinstance(source, io.TextIOBase)
    if is_stream == (sample_rate is not None):
        raise ArgumentError(
            "expected a binary stream, or arrays and their sample_rate, got "
            f"{type(source).__name__} and sample_rate {sample_rate}"
        )
    if format is not None and not is_stream:
        raise ArgumentError("format: expected none beside arrays")
    raw = None if format is None else RawFormat.parse(format)
    own = None if head is None else head_file(head).head
    if watch is not None:
        encoder = encoder or watch._session.store.settings.encoder
    listener = Listener.open(encoder or encoders.BUNDLED, 1, own)
    watcher = None
    if watch is not None:
        settings, model = watch._session.store.settings, listener.encoder
        if model.space != settings.space:
            raise SpaceMismatch(watch._session.store.address, settings.space, model.space)
        watcher = Watch(watch, model.space, hop, model.segment_seconds, min_score)
    ear = _Ear(listener, frames, watcher)
    if is_stream:
        closed = threading.Event()
        blocks = incoming(cast(BinaryIO, source), raw, on_warning, closed)
        read = _read(blocks, closed, stop or threading.Event(), on_warning)
        return _moments(ear, read)
    arrays = cast(Iterable[NDArray[Any]], source)
    return _moments(ear, _until(incoming_arrays(arrays, cast(int, sample_rate), on_warning), stop))


class _Ear:
    """Blocks in, moments out."""

    def __init__(self, listener: Listener, hop_frames: int, watch: Watch | None) -> None:
        encoder = listener.encoder
        self._listener = listener
        self._watch = watch
        self._newest = NewestSegments(encoder, hop_frames)
        hop = hop_frames * FRAME_SECONDS
        self._teller = Teller(listener.head.vocabulary, hop, encoder.segment_seconds)

    def push(self, block: Floats) -> Iterator[Moment]:
        return self._heard(*self._newest.push(block))

    def finish(self) -> Iterator[Moment]:
        seconds = self._newest.seconds
        for moment in self._heard(*self._newest.finish()):
            yield replace(moment, heard=seconds)  # of a segment that is longer than the sound
        yield from self.end()

    def end(self) -> Iterator[Ended]:
        return self._teller.finish(self._newest.seconds)

    def _heard(self, embeddings: Floats, levels: Floats) -> Iterator[Moment]:
        if not len(levels):
            return
        heard = self._listener.heard(embeddings, levels, self._newest.seconds)
        scores = segment_scores(self._listener.head, heard)
        for number in range(len(levels)):
            yield from self._teller.push(scores[number : number + 1])
            if self._watch is not None:
                yield from self._watch.push(heard.vectors[number], float(levels[number]))


def _moments(ear: _Ear, blocks: Iterator[Floats]) -> Iterator[Moment]:
    with closing(blocks):  # type: ignore[type-var]
        try:
            for block in blocks:
                yield from ear.push(block)
            yield from ear.finish()
        except Exception:
            yield from ear.end()  # what is on ends with what can be heard
            raise


def _until(blocks: Iterator[Floats], stop: threading.Event | None) -> Iterator[Floats]:
    for block in blocks:
        yield block
        if stop is not None and stop.is_set():
            return


def _read(
    blocks: Iterator[Floats],
    closed: threading.Event,
    stop: threading.Event,
    on_warning: OnWarning,
) -> Iterator[Floats]:
    """Blocks that a thread reads, until there are no more or it is told to stop."""
    backlog, is_late = Backlog(blocks), False
    try:
        while not stop.is_set() and (block := backlog.take(_TURN)) is not None:
            if backlog.lag > _LATE and not is_late:
                is_late = True
                on_warning(
                    f"hearing is {backlog.lag:.1f} s behind the sound and catches up; what is told "
                    "comes late, with the right times"
                )
            if len(block):
                yield block
    finally:
        closed.set()
        backlog.close()
