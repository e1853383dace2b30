"""A look at what is to be ingested, before there is a library."""

from __future__ import annotations

from collections import Counter

from soundsearch_ingest.decode import Decoder
from soundsearch_ingest.discover import AUDIO_SUFFIXES, RECORDS_SUFFIX, discover
from soundsearch_ingest.urls import suffix

from .errors import AudioError
from .results import Failure, IngestReport

__all__ = ["without_sound"]


def without_sound(roots: list[str]) -> IngestReport | None:
    """The report of an ingest that has nothing to store; None where something may be audio.

    A damaged file is, by its name: that it failed is worth a library to keep it in.
    """
    skipped: Counter[str] = Counter()
    report = IngestReport()
    for file in discover(roots, skipped):
        if suffix(file.uri) in {*AUDIO_SUFFIXES, RECORDS_SUFFIX}:
            return None
        try:
            Decoder(file.access or file.uri).close()
        except AudioError as error:
            report.failed.append(Failure(file.uri, error.reason))
        else:
            return None
    report.skipped = dict(skipped)
    return report
