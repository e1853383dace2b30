"""Finding clips whose files are gone, as opposed to unreachable, and guarding their removal.

An unmounted disk leaves an empty folder, in which every file seems to be gone. Clips are therefore
removed without asking only if they are few; the caller must confirm the removal of many.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from soundsearch_ingest.discover import Absence, AudioFile
from soundsearch_ingest.urls import archive_kind, is_remote, is_url, split

from .errors import LibraryError
from .stores.base import Store
from .stores.filters import Comparison, OneOf, Or, Plain
from .stores.records import StoredClip

__all__ = ["Gone", "Sightings", "Targets", "check_plausible", "find_gone"]

# Up to this many clips, or this share of the target's, are removed without asking.
_FEW = 10
_SMALL_SHARE = 0.1
# Up to so many targets, a store is asked for the clips below them only.
_FILTERED = 32


class Sightings:
    """The files that one run has seen, as hashes of 8 bytes each."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._sorted: np.ndarray | None = None

    def watch(self, files: Iterable[AudioFile]) -> Iterator[AudioFile]:
        """Pass files through and remember those that are there."""
        for file in files:
            if file.size or file.mtime_ns:
                self.add(file.uri)
            yield file

    def add(self, uri: str) -> None:
        """Remember a file."""
        self._hashes.append(hash(uri))

    def has(self, uri: str) -> bool:
        """Return whether a file with this uri, or one with the same 64-bit hash, was seen."""
        if self._sorted is None or len(self._sorted) != len(self._hashes):
            self._sorted = np.sort(np.array(self._hashes, np.int64))
        wanted = hash(uri)
        place = int(np.searchsorted(self._sorted, wanted))
        return place < len(self._sorted) and int(self._sorted[place]) == wanted


class Targets:
    """Files, folders and URLs, of which the one is found that a file is, or lies below.

    What is in an archive lies below that.

    It takes as long for thousands of them, such as the files that a pattern stands for, as for one.
    """

    def __init__(self, targets: Sequence[str]) -> None:
        self._places = {target: place for place, target in reversed(list(enumerate(targets)))}
        self._folders = {os.path.join(target, ""): self._places[target] for target in targets}

    def above(self, uri: str) -> int | None:
        """The place of the first such target; None where there is none."""
        return min(self.all_above(uri), default=None)

    def all_above(self, uri: str) -> set[int]:
        """The places of all such targets."""
        parts = split(uri)
        found = set() if parts is None else self.all_above(parts[2])
        if (place := self._places.get(uri)) is not None:
            found.add(place)
        end = uri.find(os.sep) + 1
        while end:
            if (place := self._folders.get(uri[:end])) is not None:
                found.add(place)
            end = uri.find(os.sep, end) + 1
        return found


@dataclass(slots=True)
class Gone:
    """The lost clips of one target of an ingest: ids, uris, and the number of all its clips."""

    target: str
    clips: int = 0
    ids: list[int] = field(default_factory=list)
    uris: list[str] = field(default_factory=list)


def find_gone(
    store: Store,
    targets: Sequence[str],
    seen: Sightings,
    listed: tuple[str, Sightings] | None = None,
) -> list[Gone]:
    """Find the clips of each target whose files are certainly gone and were not seen.

    `listed` is one more target: the name of a manifest, and the files that it lists.
    """
    absence = Absence()
    found = [Gone(target) for target in targets]
    places = Targets(targets)
    if listed is not None:
        found.append(Gone(listed[0]))
    for clip in store.clips() if listed is not None else _under(store, targets):
        place = places.above(clip.uri)
        if place is None and listed is not None and listed[1].has(clip.uri):
            place = len(targets)
        if place is not None:
            gone = found[place]
            gone.clips += 1
            if not seen.has(clip.uri) and not _was_added(clip) and absence.is_certain(clip.uri):
                gone.ids.append(clip.id)
                gone.uris.append(clip.uri)
    return found


def _under(store: Store, targets: Sequence[str]) -> Iterator[StoredClip]:
    """The clips that are, or lie below, these targets; perhaps with others."""
    if len(targets) > _FILTERED or any(is_url(each) or archive_kind(each) for each in targets):
        return store.clips()
    uri = Plain("uri")
    # In a pattern, `_` is any character, and nothing is a percent sign.
    below = [os.path.join(target, "").replace("%", "_") + "%" for target in targets]
    # Of the members of archives too.
    below += [f"{kind}://%::{pattern}" for pattern in below for kind in ("zip", "tar")]
    inside = tuple(Comparison(uri, "like", pattern) for pattern in below)
    return store.clips(Or((OneOf(uri, tuple(targets)), *inside)))


def _was_added(clip: StoredClip) -> bool:
    """Whether a clip may be no file, though its uri looks like the URL of one."""
    return is_remote(clip.uri) and clip.record.file.mtime_ns == 0


def check_plausible(place: str, lost: Sequence[str], clips: int) -> None:
    """Refuse to remove so many clips of a target or library that a fault is more likely.

    Raises
    ------
    LibraryError
        All are lost, or more than ten and more than a tenth.
    """
    if lost and (len(lost) == clips or len(lost) > max(_FEW, _SMALL_SHARE * clips)):
        raise LibraryError(
            f"{place}: {len(lost):,} of its {clips:,} clips would be removed, because their files "
            f"are gone (the first: {lost[0]}). Is the disk mounted and complete? Nothing was "
            "removed; to remove these clips, run the same command with --prune-all"
        )
