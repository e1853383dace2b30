"""Events as other programs read them."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator

from .labels.timeline import Event, Timeline
from .times import clock

__all__ = ["FORMATS", "ONE_FILE", "cue_rows", "rows"]

# What is on a line, between tabs. What a terminal would act on is for who prints it to escape.
Row = tuple[str, ...]

# Formats that have no place for the name of a file.
ONE_FILE = ("audacity", "raven", "vtt")
# Encoders hear up to here: half of 16 kHz.
_HIGHEST_HZ = "8000.0"
_STREAM = "-"


def rows(name: str, timelines: Iterable[Timeline]) -> Iterator[Row]:
    """Write timelines in one of `FORMATS`: the fields of each line, which tabs are to part.

    Nothing is written, not even a header, where there are no timelines.

    Parameters
    ----------
    name : str
        ``csv``: file, onset, offset, label, mid, score. ``rttm``: NIST's Rich Transcription Time
        Marked, an event a SPEAKER. ``audacity``: a track of labels. ``raven``: a selection table.
        ``vtt``: WebVTT, an event a cue.
    timelines : iterable of Timeline
        For the formats in `ONE_FILE`, one.
    """
    header, write = FORMATS[name]
    for number, timeline in enumerate(timelines):
        if number == 0:
            yield from header
        for count, event in enumerate(timeline, 1):
            yield from write(timeline.uri or _STREAM, count, event)


def _csv(uri: str, _count: int, event: Event) -> Iterator[Row]:
    label = event.label
    line = io.StringIO()
    times = f"{event.onset:.3f}", f"{event.offset:.3f}"
    csv.writer(line, lineterminator="").writerow(
        [uri, *times, label.name, label.mid, f"{label.score:.4f}"]
    )
    yield (line.getvalue(),)


def _rttm(uri: str, _count: int, event: Event) -> Iterator[Row]:
    file, _ = os.path.splitext(os.path.basename(uri))
    length = event.offset - event.onset
    times = f"{event.onset:.3f} {length:.3f}"
    name = _joined(event.label.name)
    yield (f"SPEAKER {_joined(file)} 1 {times} <NA> <NA> {name} {event.label.score:.4f} <NA>",)


def _joined(text: str) -> str:
    """A text as one of the fields that spaces part."""
    return "_".join(text.split()) or "<NA>"


def _audacity(_uri: str, _count: int, event: Event) -> Iterator[Row]:
    yield f"{event.onset:.6f}", f"{event.offset:.6f}", event.label.name


def _raven(_uri: str, count: int, event: Event) -> Iterator[Row]:
    times = f"{event.onset:.3f}", f"{event.offset:.3f}"
    label = event.label.name, f"{event.label.score:.4f}"
    yield str(count), "Spectrogram 1", "1", *times, "0.0", _HIGHEST_HZ, *label


def _vtt(_uri: str, _count: int, event: Event) -> Iterator[Row]:
    yield from cue_rows(event.onset, event.offset, event.label.name)


def cue_rows(start: float, end: float, text: str) -> Iterator[Row]:
    """A cue of WebVTT, from so many seconds to so many: what is between it and the one before, too.

    Nothing in the text is markup.
    """
    yield ("",)
    yield (f"{_clock(start)} --> {_clock(end)}",)
    yield (text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"),)


def _clock(seconds: float) -> str:
    """A time as WebVTT has it, hours:minutes:seconds.milliseconds, two digits of hours at least."""
    return clock(seconds, 3, hours=True).zfill(len("00:00:00.000"))


_RAVEN = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)")

# The lines before the first event, and what writes an event.
FORMATS: dict[str, tuple[tuple[Row, ...], Callable[[str, int, Event], Iterator[Row]]]] = {
    "audacity": ((), _audacity),
    "csv": ((("file,onset,offset,label,mid,score",),), _csv),
    "raven": (((*_RAVEN, "Low Freq (Hz)", "High Freq (Hz)", "Label", "Score"),), _raven),
    "rttm": ((), _rttm),
    "vtt": ((("WEBVTT",),), _vtt),
}
