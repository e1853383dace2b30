"""Stored clips with the content of a file: it is one of them, or another copy.

A recording may be there a thousand times, as silence often is: then what is looked at for one more
copy must not grow with them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import replace

from soundsearch_ingest.discover import Absence
from soundsearch_ingest.urls import is_remote

from .stores.base import Store
from .stores.records import StoredClip

__all__ = ["Copies", "usable_copies"]

# Copies that are looked at again for each file.
_FEW = 16


def usable_copies(store: Store, digest: bytes) -> list[StoredClip]:
    """Some of the clips with this content whose file has not become something else. Thread-safe."""
    return [clip for clip in store.clips_with(digest, _FEW + 1) if not clip.record.is_stale]


class Copies:
    """The clips of a store with the same content as files, for the length of one run.

    Parameters
    ----------
    store : Store
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        # The ids of those whose file was gone when so many copies were first met.
        self._gone: dict[bytes, deque[int]] = {}
        self._said: dict[bytes, StoredClip] = {}

    def find(self, uri: str, digest: bytes) -> tuple[StoredClip | None, StoredClip | None]:
        """The clip that a file is, at its place or moved from where it is gone; and any copy."""
        copies = usable_copies(self._store, digest)
        if digest not in self._gone and len(copies) <= _FEW:
            absence = Absence()
            own = next((clip for clip in copies if clip.uri == uri), None)
            if own is None:
                own = next((clip for clip in copies if _is_gone(clip, absence)), None)
            return own, own or next(iter(copies), None)
        own = self._store.clip_at(uri)
        if own is None or own.record.digest != digest or own.record.is_stale:
            own = self._moved(digest)
        return own, own or next(iter(copies), None)

    def let_go(self, clips: Iterable[StoredClip]) -> None:
        """Note what people said of clips that are replaced: their content may be elsewhere now."""
        for clip in clips:
            if clip.record.human_labels or clip.record.human_events:
                self._said[clip.record.digest] = clip

    def before(self, there: StoredClip | None, digest: bytes) -> StoredClip | None:
        """Whose tags and human labels a file with this content takes over at its place."""
        said = self._said.get(digest)
        if said is None or (there is not None and there.record.digest == digest):
            return there
        return replace(said, record=replace(said.record, tags=there.record.tags if there else {}))

    def _moved(self, digest: bytes) -> StoredClip | None:
        """The next of many copies whose file is gone."""
        if digest not in self._gone:
            absence = Absence()
            copies = [clip for clip in self._store.clips_with(digest) if not clip.record.is_stale]
            self._gone[digest] = deque(clip.id for clip in copies if _is_gone(clip, absence))
        gone = self._gone[digest]
        while gone:
            id = gone.popleft()
            with self._store.reading() as reading:
                clip = reading.clips_by_id([id]).get(id)
            if clip is not None and clip.record.digest == digest and _is_gone(clip, Absence()):
                return clip
        return None


def _is_gone(clip: StoredClip, absence: Absence) -> bool:
    # Whether it is gone from a server may take long to tell, and a clip that was added may only
    # look like a URL.
    return not is_remote(clip.uri) and absence.is_certain(clip.uri)
