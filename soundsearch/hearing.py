"""A sound -> embeddings, levels and labels: the one place where a sound is heard."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest import decode, encoders, pipeline
from soundsearch_ingest.discover import stat_file
from soundsearch_ingest.encoders import Encoder, SideBySide
from soundsearch_ingest.logmel import SILENT
from soundsearch_ingest.stretches import embed_stream
from soundsearch_ingest.urls import is_url

from .asking.questions import Embeddings, Moments, Sound, Source, as_sound
from .errors import AudioError, SpaceMismatch
from .labels.head import Head, bundled_head, head_of
from .labels.kept import head_file
from .labels.predict import predict
from .results import LabelledClip, Segment
from .stores.records import CLIP_LABELS, SEGMENT_LABELS

__all__ = ["Heard", "Listener", "check_space", "embed", "label", "threads_for"]

Floats = NDArray[np.float32]
OnSound = Callable[[float], None]


# What is heard on all cores by several at once, seconds; less is over before these have begun.
_SHARED = 120.0
# Samples of an array that are heard at a time.
_BLOCK = 1 << 18


def _ignore(_seconds: float) -> None:
    pass


def threads_for(sound: Sound) -> int:
    """How many threads an encoder is to use for a sound: one where several hear parts of it."""
    return 1 if _is_shared(sound) else pipeline.available_cores()


def _is_shared(sound: Sound) -> bool:
    """Whether a sound is a long file; raises AudioError where it cannot be read."""
    if sound.at is not None or not isinstance(sound.source, (str, os.PathLike)):
        return False
    if is_url(os.fspath(sound.source)):
        return False  # a look at it would fetch it twice
    with decode.Decoder(sound.source) as decoder:
        return (decoder.promised or 0.0) >= _SHARED


def check_space(head: Head, space: str, dimension: int, what: str) -> None:
    """Raise SpaceMismatch where a head does not read the embeddings of something."""
    if head.space != space:
        raise SpaceMismatch(
            what,
            space,
            head.space,
            f"{what}: its space is {space!r}, but the head reads {head.space!r}; use a head that "
            f"was trained on embeddings of {space!r}",
        )
    if head.dimension != dimension:
        raise SpaceMismatch(
            what,
            space,
            head.space,
            f"{what}: its embeddings have {dimension} numbers, but the head reads "
            f"{head.dimension}, though both name the space {space!r}; train the head again",
        )


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """What a `Listener` heard.

    Attributes
    ----------
    vectors : float32 [segments, dimension]
        Embeddings in the wanted space.
    levels : float32 [segments]
        How loud each segment is, dB; see `soundsearch_ingest.logmel.levels`.
    head_vectors : float32 [segments, head.dimension]
        What the head reads.
    duration : float
        Seconds.
    warning : str or None
        Why there may be less sound than promised.
    """

    vectors: Floats
    levels: Floats
    head_vectors: Floats
    duration: float
    warning: str | None

    def part(self, rows: slice) -> Heard:
        """Some of the segments."""
        return replace(
            self,
            vectors=self.vectors[rows],
            levels=self.levels[rows],
            head_vectors=self.head_vectors[rows],
        )


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
    def open(
        cls, name: str = encoders.BUNDLED, threads: int = 1, head: Head | None = None
    ) -> Listener:
        """Open an encoder by name, and a head that reads its space, by default its own.

        Raises
        ------
        EncoderError
        SpaceMismatch
            The head reads another space.
        """
        encoder = encoders.load(name, threads)
        if head is not None:
            check_space(head, encoder.space, encoder.dimension, f"the encoder {name}")
            return cls(encoder, head, encoder.dimension)
        if (head := head_of(name, encoder.space)) is not None:
            return cls(encoder, head, encoder.dimension)
        beside = SideBySide(encoder, encoders.load(threads=threads))
        return cls(beside, bundled_head(), encoder.dimension)

    def hear(self, sound: Sound, hop: float, on_sound: OnSound = _ignore) -> Heard:
        """Hear a sound.

        Parameters
        ----------
        sound : Sound
        hop : float
            Seconds from one segment's start to the next one's.
        on_sound : callable
            Called with the seconds of a file that were heard since the last call; of a long file
            from other threads.

        Raises
        ------
        AudioError
            The source gives no sound.
        """
        return self.heard(*_heard(sound, self.encoder, hop, on_sound))

    def stream(self, sound: Sound, hop: float, on_sound: OnSound = _ignore) -> Iterator[Heard]:
        """Hear a sound a stretch at a time: what is held does not grow with it.

        Parameters
        ----------
        sound, hop, on_sound
            As of `hear`.

        Yields
        ------
        Heard
            The segments that follow those before; its duration is that of all until then. The
            last one is without segments, and has the warning.

        Raises
        ------
        AudioError
            The source gives no sound.
        """
        duration = 0.0

        def on_block(seconds: float) -> None:
            nonlocal duration
            duration += seconds
            on_sound(seconds)

        with _blocks(sound) as (blocks, warning):
            frames = pipeline.hop_frames(hop)
            for part in embed_stream(_told(blocks, on_block), self.encoder, frames):
                yield self.heard(*part, duration)
            nothing = np.empty((0, self.encoder.dimension), np.float32), np.empty(0, np.float32)
            yield self.heard(*nothing, duration, warning())

    def heard(
        self, embeddings: Floats, levels: Floats, duration: float, warning: str | None = None
    ) -> Heard:
        """What the encoder's embeddings and the levels of a sound say."""
        return Heard(
            embeddings[:, : self.dimension],
            levels,
            embeddings[:, -self.head.dimension :],
            duration,
            warning,
        )

    def labels(
        self, sounds: Sequence[Heard], per_segment: int, per_clip: int
    ) -> list[tuple[NDArray[np.void], NDArray[np.void]]]:
        """Predict the labels of several sounds at once; see `soundsearch.labels.predict`."""
        return predict(
            self.head,
            [(heard.head_vectors, heard.levels) for heard in sounds],
            per_segment,
            per_clip,
        )

    def label(self, sound: Sound, on_sound: OnSound = _ignore) -> LabelledClip:
        """Predict the labels of a sound and of each of its segments."""
        hop, length = self.encoder.hop_seconds, self.encoder.segment_seconds
        heard = self.hear(sound, hop, on_sound)
        [(segments, clip)] = self.labels([heard], SEGMENT_LABELS, CLIP_LABELS)
        starts = (sound.at[0] if sound.at else 0.0) + hop * np.arange(len(segments))
        return LabelledClip(
            sound.uri,
            self.head.vocabulary.named(clip),
            tuple(
                Segment(start, start + length, bool(silent), self.head.vocabulary.named(row))
                for start, silent, row in zip(
                    starts.tolist(), heard.levels < SILENT, segments, strict=True
                )
            ),
            heard.warning,
        )


def label(
    source: Sound | Source,
    *,
    at: Moments | None = None,
    sample_rate: int | None = None,
    encoder: str = encoders.BUNDLED,
    head: str | os.PathLike[str] | None = None,
    on_sound: OnSound = _ignore,
) -> LabelledClip:
    """Predict the labels of a sound and of each of its segments; no library is needed.

    Parameters
    ----------
    source, at, sample_rate
        A `Sound`, or what one is made of.
    encoder : str
        Whose labels are wanted: ``soundsearch models list``.
    head : path, optional
        The file of a head whose labels are wanted; it reads the encoder's space.
    on_sound : callable
        Called with the seconds of a file that were heard since the last call; of a long file
        from other threads.

    Returns
    -------
    LabelledClip
        Times count from the start of the source.

    Raises
    ------
    ArgumentError
    AudioError
        The source gives no sound.
    EncoderError
        The head's file cannot be read.
    SpaceMismatch
        The head reads another space than the encoder's.
    """
    sound = as_sound(source, at, sample_rate)
    own = None if head is None else head_file(head).head
    return Listener.open(encoder, threads_for(sound), own).label(sound, on_sound)


def embed(
    source: Sound | Source,
    *,
    at: Moments | None = None,
    sample_rate: int | None = None,
    encoder: str = encoders.BUNDLED,
    hop: float | None = None,
    on_sound: OnSound = _ignore,
) -> Embeddings:
    """Embed a sound; no library is needed.

    Parameters
    ----------
    source, at, sample_rate
        A `Sound`, or what one is made of.
    encoder : str
        Whose embeddings are wanted: ``soundsearch models list``.
    hop : float, optional
        Seconds from one segment's start to the next one's; by default as the encoder has it.
    on_sound : callable
        Called with the seconds of a file that were heard since the last call; of a long file
        from other threads.

    Returns
    -------
    Embeddings
        As the encoder gives them, not normalised; a question for a library of their space. Times
        count from the start of the source.

    Raises
    ------
    ArgumentError
    AudioError
        The source gives no sound.
    """
    sound = as_sound(source, at, sample_rate)
    model = encoders.load(encoder, threads_for(sound))
    hop = model.hop_seconds if hop is None else hop
    vectors, levels, _, _ = _heard(sound, model, hop, on_sound)
    starts = (sound.at[0] if sound.at else 0.0) + hop * np.arange(len(levels))
    times = np.stack([starts, starts + model.segment_seconds], axis=1)
    return Embeddings(vectors, levels, times, model.space)


def _heard(
    sound: Sound, encoder: Encoder, hop: float, on_sound: OnSound
) -> tuple[Floats, Floats, float, str | None]:
    """Embeddings, levels, duration and the warning of a sound."""
    if sound.is_file and _is_shared(sound):
        return _heard_by_all(os.fspath(cast(Any, sound.source)), encoder, hop, on_sound)
    with _blocks(sound) as (blocks, warning):
        embedded = pipeline.embed_sound(_told(blocks, on_sound), encoder, hop)
        return *embedded, warning()


@contextmanager
def _blocks(sound: Sound) -> Iterator[tuple[Iterable[Floats], Callable[[], str | None]]]:
    """The blocks of a sound and, once they were all taken, its warning."""
    if not sound.is_file:
        samples = _samples(sound)
        parts = (samples[begin : begin + _BLOCK] for begin in range(0, len(samples), _BLOCK))
        yield parts, lambda: None
        return
    source, (start, end) = cast(Any, sound.source), sound.at or (0.0, None)
    with decode.Decoder(source, start=start, end=end, longest=sound.longest) as decoder:
        yield decoder, lambda: decoder.warning


def _heard_by_all(
    path: str, encoder: Encoder, hop: float, on_sound: OnSound
) -> tuple[Floats, Floats, float, str | None]:
    """`_heard` on all cores."""
    results = pipeline.run([stat_file(path)], encoder, hop, on_sound=on_sound, identify=False)
    with closing(results):
        [result] = results
    if not isinstance(result, pipeline.Embedded):
        raise AudioError(path, getattr(result, "reason", "gives no sound"))
    return result.embeddings, result.levels, result.duration, result.warning


def _told(blocks: Iterable[Floats], on_sound: OnSound) -> Iterator[Floats]:
    for block in blocks:
        yield block
        on_sound(len(block) / decode.SAMPLE_RATE)


def _samples(sound: Sound) -> Floats:
    """The wanted part of an array, mono at 16 kHz."""
    if sound.sample_rate is None:
        raise AudioError("array", "expected sample_rate beside an array, got none")
    start, end = sound.at or (0.0, None)
    samples = decode.to_mono_16k(np.asarray(sound.source), int(sound.sample_rate))
    first = round(start * decode.SAMPLE_RATE)
    part = samples[first : None if end is None else round(end * decode.SAMPLE_RATE)]
    if len(part) == 0:
        raise AudioError("array", f"holds no sound from {start} s on")
    return part
