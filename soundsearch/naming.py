"""Which clips of a store a uri, an id, a key, a folder or a pattern names."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from itertools import islice
from typing import Any

import numpy as np
from soundsearch_ingest.patterns import expression, has_wildcards
from soundsearch_ingest.urls import absolute

from .errors import ArgumentError, ClipNotFound
from .pruning import Targets
from .stores.base import Reading, Store
from .stores.filters import Comparison, Plain
from .stores.records import ClipName, Key, StoredClip, is_uri

__all__ = ["by_name", "checked", "clips_named", "find", "find_all", "listed", "not_found"]

# Clips that a message names, and those that are looked at for names alike.
_NAMED = 3
_LOOKED_AT = 2000


def listed(clips: ClipName | Iterable[ClipName]) -> tuple[list[ClipName], bool]:
    """The names that are given, and whether it is one name and no collection of them.

    Raises
    ------
    ArgumentError
        One is neither a uri, an id nor a Key.
    """
    if isinstance(clips, np.ndarray):
        clips = clips.tolist()
    # Bytes would be a collection of small ids.
    if isinstance(clips, (str, bytes, bytearray, os.PathLike, int, np.integer, Key)):
        return [checked(clips)], True
    try:
        return [checked(clip) for clip in clips], False
    except TypeError:
        return [checked(clips)], True


def checked(clip: Any) -> str | int | Key:
    """The name of a clip, a path as its text; raises ArgumentError where it is none."""
    if type(clip) in (int, str):  # there may be many
        return clip  # type: ignore[no-any-return]
    if isinstance(clip, np.integer):
        return int(clip)
    if isinstance(clip, os.PathLike):
        clip = os.fspath(clip)
    if isinstance(clip, bool) or not isinstance(clip, (str, int, Key)):
        raise ArgumentError(f"expected the uri, id or Key of a clip, got {clip!r}")
    return clip


def find(reading: Reading, clip: ClipName) -> StoredClip | None:
    """The clip of this name, if there is one.

    Raises
    ------
    LibraryError
        Several clips have the key, or the library has no tag that is the key.
    """
    if isinstance(clip, Key):
        return reading.clips_keyed([clip]).get(clip)
    if isinstance(clip, (int, np.integer)):
        return reading.clips_by_id([int(clip)]).get(int(clip))
    uri = os.fspath(clip)
    return (reading.clip_at(uri) or reading.clip_at(absolute(uri))) if is_uri(uri) else None


def find_all(reading: Reading, clips: Sequence[ClipName]) -> list[StoredClip | None]:
    """The clips of these names, in their order; those that are not there are None."""
    ids = reading.clips_by_id([clip for clip in clips if isinstance(clip, int)])
    keys = [clip for clip in clips if isinstance(clip, Key)]
    keyed = reading.clips_keyed(keys) if keys else {}
    found: list[StoredClip | None] = []
    for clip in clips:
        if isinstance(clip, int):
            found.append(ids.get(clip))
        else:
            found.append(keyed.get(clip) if isinstance(clip, Key) else find(reading, clip))
    return found


def by_name(store: Store, names: Iterable[ClipName]) -> dict[ClipName, StoredClip]:
    """Those of a store's clips that have one of many names, by it; asks the store few times."""
    names = list(names)
    keys = [name for name in names if isinstance(name, Key)]
    uris = {name: os.fspath(name) for name in names if not isinstance(name, (Key, int))}
    uris = {name: uri for name, uri in uris.items() if is_uri(uri)}
    paths = {name: absolute(uri) for name, uri in uris.items()}
    at = store.clips_at([*uris.values(), *paths.values()]) if uris else {}
    found: dict[ClipName, StoredClip] = dict(store.clips_keyed(keys).items()) if keys else {}
    for name, uri in uris.items():
        if (clip := at.get(uri) or at.get(paths[name])) is not None:
            found[name] = clip
    if ids := [name for name in names if isinstance(name, int)]:
        with store.reading() as reading:
            found.update(dict(reading.clips_by_id(ids).items()))
    return found


def not_found(store: Store, clips: Sequence[ClipName]) -> ClipNotFound:
    """What to say of names that no clip has."""
    first = clips[0]
    if isinstance(first, Key):
        what = f"{first}: no clip of {store.address} has this key, its tag {store.key()!r}"
    elif isinstance(first, int):
        what = f"{first}: no clip of {store.address} has this id"
    else:
        what = f"{os.fspath(first)}: no clip of {store.address} has this uri"
        if near := _near(store, os.fspath(first)):
            what += f"; near it are: {', '.join(near)}"
    if len(clips) == 1:
        return ClipNotFound(what)
    more = ", ".join(map(_shown, clips[1 : 1 + _NAMED]))
    rest = ", ..." if len(clips) > 1 + _NAMED else ""
    return ClipNotFound(f"{what} ({len(clips)} are unknown, also {more}{rest})")


def _shown(clip: ClipName) -> str:
    return os.fspath(clip) if isinstance(clip, (str, os.PathLike)) else str(clip)


def _near(store: Store, uri: str) -> list[str]:
    """Uris that may be meant: those with the same name elsewhere, else alike in their folder."""
    uri = absolute(uri)
    name = os.path.basename(uri) or uri
    # A pattern cannot say % and _ themselves: what fits by other characters is left out.
    same = (clip.uri for clip in store.clips(Comparison(Plain("uri"), "like", f"%{name}")))
    if found := list(islice((each for each in same if each.endswith(name)), _NAMED)):
        return found
    folder = uri[: len(uri) - len(os.path.basename(uri))]
    inside = (clip.uri for clip in store.clips(Comparison(Plain("uri"), "like", f"{folder}%")))
    below = islice((each for each in inside if each.startswith(folder)), _LOOKED_AT)
    there = {each[len(folder) :]: each for each in below}
    return [there[each] for each in get_close_matches(name, there, _NAMED)]


def clips_named(store: Store, names: Sequence[ClipName]) -> list[int]:
    """The ids of the clips that uris, ids, keys, folders above them or patterns of uris name.

    In a pattern, ``*`` and ``?`` stand for what is within a folder, ``**`` for folders too, and
    ``[...]`` for one of several characters. What is there under a name is never read as a pattern.

    Raises
    ------
    ClipNotFound
        One names none.
    ArgumentError
        One is empty, or a range of characters in brackets is none.
    """
    if "" in names:  # as of a variable that is not set: it would name the working folder
        raise ArgumentError(
            "expected the name of a clip or a folder, got an empty text; the working folder is ./"
        )
    exact = by_name(store, names)
    found = dict.fromkeys(clip.id for clip in exact.values())
    others = [name for name in names if name not in exact]
    if unknown := [name for name in others if isinstance(name, (Key, int))]:
        raise not_found(store, unknown)
    if others:
        given = [os.fspath(name) for name in others if not isinstance(name, (Key, int))]
        for ids in _inside(store, given):
            found.update(dict.fromkeys(ids))
    return list(found)


def _inside(store: Store, given: Sequence[str]) -> Iterator[list[int]]:
    """The ids of the clips in each of these folders, or that fit these patterns."""
    uris = {clip.id: clip.uri for clip in store.clips()}
    folders = list(dict.fromkeys(map(absolute, given)))
    below: dict[str, list[int]] = {folder: [] for folder in folders}
    targets = Targets(folders)
    for clip_id, uri in uris.items():
        for place in targets.all_above(uri):
            below[folders[place]].append(clip_id)
    for name in given:
        found = below[absolute(name)]
        if not found and has_wildcards(name):
            try:
                fits = re.compile("|".join(map(expression, (name, absolute(name)))), re.DOTALL)
            except re.error as error:
                raise ArgumentError(f"{name}: is no pattern ({error})") from error
            found = [clip_id for clip_id, uri in uris.items() if fits.fullmatch(uri)]
        if not found:
            raise ClipNotFound(f"{name}: no clip of {store.address} is there")
        yield found
