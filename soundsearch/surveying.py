"""What there is to ingest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from soundsearch_ingest.decode import Decoder
from soundsearch_ingest.discover import AUDIO_SUFFIXES, RECORDS_SUFFIX, AudioFile, discover
from soundsearch_ingest.manifests import Manifest
from soundsearch_ingest.urls import suffix

from .errors import AudioError
from .results import Failure, IngestReport
from .stores.parts import Part

__all__ = ["surveyed", "without_sound"]


def surveyed(
    roots: list[str],
    manifest: Manifest | None,
    part: Part | None,
    skipped: Counter[str],
    is_known: Callable[[str], bool],
) -> Iterator[AudioFile]:
    """The files below roots, then those that are listed, each once; or a part of them.

    Parameters
    ----------
    roots, skipped, is_known
        See `soundsearch_ingest.discover.discover`.
    manifest : Manifest, optional
    part : Part, optional
    """
    found = set()
    for file in discover(roots, skipped, is_known):
        if part is None or part.has(file.uri):
            if manifest is not None:
                found.add(hash(file.uri))
            yield file
    if manifest is not None:
        for file in manifest.files(_any if part is None else part.has):
            if hash(file.uri) not in found:
                yield file


def _any(_uri: str) -> bool:
    return True


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
