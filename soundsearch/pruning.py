"""Clips whose files are gone: told from those that cannot be reached, and let go with care.

A disk that is not mounted leaves an empty folder, in which every file seems to be gone. So clips go
only where few do; to let go of many, the caller has to say that these are meant.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from soundsearch_ingest.discover import Absence, AudioFile

from .errors import LibraryError
from .stores.base import Store

__all__ = ["Gone", "Sightings", "check_plausible", "find_gone", "is_below"]

# Up to this many clips may go unasked, or this share of what the target has.
_FEW = 10
_SMALL_SHARE = 0.1


class Sightings:
    """The files that one run has seen: 8 bytes each, so that any number may be remembered."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._sorted: np.ndarray | None = None

    def watch(self, files: Iterable[AudioFile]) -> Iterator[AudioFile]:
        """Pass files on and remember them."""
        for file in files:
            self._hashes.append(hash(file.uri))
            yield file

    def has(self, uri: str) -> bool:
        """Whether a file with this uri came by, or one with the same 64 bits of hash."""
        if self._sorted is None or len(self._sorted) != len(self._hashes):
            self._sorted = np.sort(np.array(self._hashes, np.int64))
        wanted = hash(uri)
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and int(self._sorted[place]) == wanted


@dataclass(slots=True)
class Gone:
    """What one target of an ingest has lost: ids and uris, of so many clips."""

    target: str
    clips: int = 0
    ids: list[int] = field(default_factory=list)
    uris: list[str] = field(default_factory=list)


def find_gone(store: Store, targets: Sequence[str], seen: Sightings) -> list[Gone]:
    """The clips of each target whose files are certainly gone; none that the run has seen."""
    absence = Absence()
    found = [Gone(target) for target in targets]
    for clip in store.clips():
        for gone in found:
            if is_below(clip.uri, gone.target):
                gone.clips += 1
                if absence.is_certain(clip.uri) and not seen.has(clip.uri):
                    gone.ids.append(clip.id)
                    gone.uris.append(clip.uri)
                break
    return found


def check_plausible(place: str, lost: Sequence[str], clips: int) -> None:
    """Refuse to let go of so many of the clips of a target or library that a fault is likelier.

    Raises
    ------
    LibraryError
        All are lost, or more than ten and more than a tenth.
    """
    if lost and (len(lost) == clips or len(lost) > max(_FEW, _SMALL_SHARE * clips)):
        raise LibraryError(
            f"{place}: {len(lost):,} of its {clips:,} clips would be removed, because their files "
            f"are gone (the first: {lost[0]}). Is the disk mounted and complete? Nothing was "
            "removed; if these clips are meant to go, run the same command with --prune-all"
        )


def is_below(uri: str, target: str) -> bool:
    """Whether a file is a target or lies in it."""
    return uri == target or uri.startswith(os.path.join(target, ""))
