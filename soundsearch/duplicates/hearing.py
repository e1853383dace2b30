"""The sound of clips, read again from where they are, as much of it as fits a bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray
from soundsearch_ingest import pipeline
from soundsearch_ingest.decode import SAMPLE_RATE, Decoder, read
from soundsearch_ingest.files import AudioFile
from soundsearch_ingest.sources import fetched, stat
from soundsearch_ingest.urls import is_url, split

from ..errors import SoundsearchError
from .pictures import FRAME, PRINT, magnitudes, picture, prints, sketch
from .sketches import Sketch, Sketches

__all__ = ["ALIKE", "Unheard", "Voice", "Voices", "check"]

Floats = NDArray[np.float32]

# Prints that are no nearer than this, by their cosine, are those of different sounds.
ALIKE = 0.4
# What is kept of sounds at a time, bytes, and how long one may be to be kept whole, seconds.
_KEPT = 256 << 20
_LONG = 120
# A long sound is printed in parts, which lie over each other by more than a print is long.
_PART = 60 * SAMPLE_RATE
_OVER = round(3.2 * SAMPLE_RATE)
# Rows of the sketch of such a part, and how many seconds one lasts.
_ROW = 2 * FRAME
_ROWS = round(60 / _ROW)
# Of a long clip, so many seconds before and after a moment are looked at.
_AROUND = 20.0
# How many prints of a short sound, in seconds, are looked for; and how often one of a long sound.
_SHORT, _STRONGEST = 30.0, 4
_EVERY = 10.0
# Prints are kept as whole numbers: the largest number in one is about this.
_LARGEST = 0.42
_SCALE = np.float32((_LARGEST / 127) ** 2)


class Unheard(Exception):
    """Why a clip's sound cannot be read, a phrase that follows its name."""


@dataclass(frozen=True, slots=True, eq=False)
class Voice:
    """What is known of the sound of a clip.

    Attributes
    ----------
    digest : bytes
        BLAKE3 of its samples as they are decoded, mono at 16 kHz.
    samples : int
    prints : int8 [n, PRINT]
        See `soundsearch.duplicates.pictures.prints`; none of what is silent or steady.
    seconds : float32 [n]
        Where each begins.
    strengths : float32 [n]
    is_silent : bool
    sketch : Sketch, optional
        None where none was kept.
    """

    digest: bytes
    samples: int
    prints: NDArray[np.int8]
    seconds: Floats
    strengths: Floats
    is_silent: bool
    sketch: Sketch | None = None

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / SAMPLE_RATE

    def likeness(self, rows: NDArray[np.int64], other: Voice) -> Floats:
        """The cosines of some prints to those of another sound, float32 [rows, others]."""
        cosines: Floats = self.prints[rows].astype(np.float32) @ other.prints.T.astype(np.float32)
        return cosines * _SCALE

    def paired(self, rows: NDArray[np.int64], other: Voice, others: NDArray[np.int64]) -> Floats:
        """The cosines of some prints to those of another sound, one to one: float32 [rows]."""
        own, there = self.prints[rows].astype(np.float32), other.prints[others].astype(np.float32)
        cosines: Floats = np.einsum("rp,rp->r", own, there) * _SCALE
        return cosines

    def telling(self) -> NDArray[np.int64]:
        """The prints that show most; of a long sound one in every ten seconds: int64 [n]."""
        if self.duration <= _SHORT:
            return np.argsort(-self.strengths, kind="stable")[:_STRONGEST]
        parts = (self.seconds // _EVERY).astype(np.int64)
        order = np.lexsort((-self.strengths, parts))
        first = np.ones(len(order), np.bool_)
        first[1:] = parts[order][1:] != parts[order][:-1]
        return order[first]


class Voices:
    """Reads the sounds of clips; safe in threads.

    Parameters
    ----------
    sketches : Sketches, optional
        Where the sketch of each sound is kept.
    """

    def __init__(self, sketches: Sketches | None = None) -> None:
        self._sketches = sketches
        self._kept: OrderedDict[str, Floats] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def hear(self, file: AudioFile, digest: bytes) -> Voice:
        """What is known of a clip's sound; raises Unheard.

        `digest` is that of the content which was ingested.
        """
        check(file, digest)
        try:
            with Decoder(file.uri) as decoder:
                return self._heard(file.uri, decoder)
        except (SoundsearchError, OSError) as error:
            raise Unheard(f"gives no sound: {getattr(error, 'reason', error)}") from error

    def glimpse(self, file: AudioFile, digest: bytes, duration: float, at: float) -> Voice:
        """`hear`, of no more than what is around a moment; of a long clip."""
        check(file, digest)
        start = max(0.0, at - _AROUND)
        shown = picture(magnitudes(self._read(file.uri, start, at + _AROUND)))
        rows, seconds, strengths = _printed(shown, 0)
        samples = round(duration * SAMPLE_RATE)
        nobody = blake3(file.uri.encode(errors="surrogateescape")).digest()
        return Voice(nobody, samples, _as_numbers(rows), seconds + start, strengths, False)

    def sketch(self, voice: Voice, start: float, end: float) -> Floats | None:
        """The sketch of a part of a sound, as far as there is one; None where none was kept."""
        if self._sketches is None or voice.sketch is None:
            return None
        return self._sketches.read(voice.sketch, round(start / _ROW), round(end / _ROW))

    def _heard(self, uri: str, decoder: Iterable[Floats]) -> Voice:
        hasher = blake3()
        found: list[tuple[Floats, Floats, Floats]] = []
        places: list[tuple[int, float] | None] = []
        begin = samples = rows = 0
        loudest = 0.0
        part = np.empty(0, np.float32)

        def note(samples: Floats, most: int | None) -> None:
            nonlocal rows
            shown = picture(magnitudes(samples))
            found.append(_printed(shown, begin))
            if self._sketches is not None:
                drawn = sketch(shown)[:most]
                places.append(self._sketches.put(drawn))
                rows += len(drawn)

        for block in decoder:
            hasher.update(block.tobytes())
            samples += len(block)
            loudest = max(loudest, float(np.abs(block).max(initial=0)))
            part = np.concatenate((part, block))
            while len(part) > _PART + _OVER:
                note(part[: _PART + _OVER], _ROWS)
                part, begin = part[_PART:], begin + _PART
        if begin == 0:
            self._keep(uri, part)
        if len(part):
            note(part, None)
        kept = [place for place in places if place is not None]
        is_kept = bool(kept) and len(kept) == len(places)
        prints = [np.empty((0, PRINT), np.float32), *(each[0] for each in found)]
        return Voice(
            hasher.digest(),
            samples,
            _as_numbers(np.concatenate(prints)),
            np.concatenate([np.empty(0, np.float32), *(each[1] for each in found)]),
            np.concatenate([np.empty(0, np.float32), *(each[2] for each in found)]),
            loudest < 1e-4,
            Sketch(tuple(kept), _ROWS, rows) if is_kept else None,
        )

    def part(self, uri: str, start: float, end: float) -> tuple[Floats, float]:
        """A part of a sound, as far as there is one, and the second at which it begins."""
        start = max(0.0, start)
        with self._lock:
            kept = self._kept.get(uri)
            if kept is not None:
                self._kept.move_to_end(uri)
        if kept is None and start == 0:
            kept = self._read(uri, 0, end)
            if len(kept) < round(end * SAMPLE_RATE):
                self._keep(uri, kept)
        elif kept is None:
            return self._read(uri, start, end), start
        first = round(start * SAMPLE_RATE)
        return kept[first : round(end * SAMPLE_RATE)], first / SAMPLE_RATE

    def _read(self, uri: str, start: float, end: float) -> Floats:
        try:
            return read(uri, start=start, end=end)
        except (SoundsearchError, OSError) as error:
            raise Unheard(f"gives no sound: {getattr(error, 'reason', error)}") from error

    def _keep(self, uri: str, samples: Floats) -> None:
        if len(samples) > _LONG * SAMPLE_RATE:
            return
        with self._lock:
            if uri in self._kept:
                return
            self._kept[uri] = samples
            self._bytes += samples.nbytes
            while self._bytes > _KEPT:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= oldest.nbytes


def check(file: AudioFile, digest: bytes) -> None:
    """Raise Unheard where a file, also in an archive, does not hold what was ingested.

    Of what is at a URL, that is not asked.
    """
    if is_url(file.uri) and split(file.uri) is None:
        return
    try:
        if stat(file.uri) == file or _holds(file.uri, digest):
            return
    except (SoundsearchError, OSError, ValueError):
        raise Unheard("is not there any more") from None
    raise Unheard("was written again since it was ingested")


def _holds(uri: str, digest: bytes) -> bool:
    """Whether a file, though written again, has the content that it had."""
    try:
        if not is_url(uri):
            return pipeline.content_digest(uri) == digest
        with fetched(uri) as copy:
            return pipeline.content_digest(copy) == digest
    except (SoundsearchError, OSError, ValueError):
        return False


def _as_numbers(rows: Floats) -> NDArray[np.int8]:
    return np.rint(rows.clip(-_LARGEST, _LARGEST) * (127 / _LARGEST)).astype(np.int8)


def _printed(shown: Floats, begin: int) -> tuple[Floats, Floats, Floats]:
    rows, starts, strengths = prints(shown)
    return rows, (begin / SAMPLE_RATE + starts * FRAME).astype(np.float32), strengths
