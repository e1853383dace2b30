"""Tags: keys and values that users attach to clips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any, cast

from .errors import ArgumentError
from .naming import by_name, checked
from .results import TagReport
from .stores.base import Store
from .stores.filters import Missing, Not, Tag
from .stores.records import (
    LARGEST_WHOLE,
    ClipRecord,
    Key,
    StoredClip,
    TagsOf,
    TagValue,
    is_storable,
    scalar,
)

__all__ = ["Tagging", "declare_key", "inherited"]

# How many clips are tagged at a time, with one sync of the disk.
_CLIPS = 1024


class Tagging:
    """Tags for clips, checked before anything is written; see `Library.tag`."""

    def __init__(self, tags: TagsOf) -> None:
        self._tags = {
            checked(name): {
                _key(name, key): _value(name, key, value) for key, value in _items(name, own)
            }
            for name, own in _items("tags", tags)
        }

    def apply(self, store: Store) -> TagReport:
        """Apply the tags to a store that is locked for writing."""
        report = TagReport()
        tag = store.key()
        waiting = iter(self._tags.items())
        while batch := list(islice(waiting, _CLIPS)):
            records: dict[int, ClipRecord] = {}
            owners = _owners(store, tag, [own for _, own in batch])
            named = by_name(store, [name for name, _ in batch])
            for name, own in batch:
                clip = named.get(name)
                if clip is None:
                    report.unknown.append(str(name))
                    continue
                if reason := _why_not(clip, tag, own, owners):
                    report.refused[str(name)] = reason
                    continue
                report.tagged += 1
                # Two of these names may be of one clip.
                record = records.get(clip.id, clip.record)
                tags = _merged(record.tags, own)
                if tags != record.tags:
                    records[clip.id] = replace(record, tags=tags)
            if records:
                store.amend(records)
        return report


def declare_key(store: Store, tag: str | None) -> None:
    """Say which tag is the key; see `Library.use_key`."""
    if tag is not None:
        _key("the key", tag)
        seen: dict[Key, str] = {}
        for clip in store.clips(Not(Missing(Tag(tag)))):
            key = Key.of(clip.record.tags[tag])
            if key is not None and seen.setdefault(key, clip.uri) != clip.uri:
                raise ArgumentError(
                    f"{store.address}: expected a tag that is another for each clip as the key, "
                    f"but {seen[key]} and {clip.uri} both have the {tag!r} {key}"
                )
    store.use_key(tag)


def _owners(
    store: Store, tag: str | None, changes: Iterable[Mapping[str, TagValue | None]]
) -> dict[Key, StoredClip]:
    """Who has those keys now that some tags would give."""
    if tag is None:
        return {}
    keys = (Key.of(own.get(tag)) for own in changes)
    wanted = list(dict.fromkeys(key for key in keys if key is not None))
    return store.clips_keyed(wanted) if wanted else {}


def _why_not(
    clip: StoredClip,
    tag: str | None,
    own: Mapping[str, TagValue | None],
    owners: dict[Key, StoredClip],
) -> str | None:
    """Why a clip cannot have such tags; else its key is known to be its own from now on."""
    if tag is None or own.get(tag) is None:
        return None
    key = Key.of(own[tag])
    if key is None:
        return f"expected a text or a whole number as {tag!r}, the key, got {own[tag]!r}"
    owner = owners.setdefault(key, clip)
    if owner.id == clip.id:
        return None
    return f"expected a key that no other clip has as {tag!r}, got {key}, that of {owner.uri}"


def _merged(
    tags: Mapping[str, TagValue], changes: Mapping[str, TagValue | None]
) -> dict[str, TagValue]:
    return {key: value for key, value in {**tags, **changes}.items() if value is not None}


def _key(uri: object, key: Any) -> str:
    if not isinstance(key, str) or not key or not is_storable(key):
        raise ArgumentError(f"{uri}: expected a text as the key of a tag, got {key!r}")
    return key


def _items(of: object, given: Any) -> Iterable[tuple[Any, Any]]:
    """The pairs of a mapping, or of what is like one, such as a row of a pandas table."""
    if not hasattr(given, "items"):
        raise ArgumentError(f"{of}: expected a mapping, got {given!r}")
    return cast("Iterable[tuple[Any, Any]]", given.items())


def _value(uri: object, key: str, value: Any) -> TagValue | None:
    value = scalar(value)
    if value is None or isinstance(value, bool) or (isinstance(value, str) and is_storable(value)):
        return value
    if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
        raise ArgumentError(
            f"{uri}: the value of the tag {key!r} is too large to be kept exactly as a number; "
            "give it as a text"
        )
    if isinstance(value, (int, float)) and math.isfinite(value):
        return float(value)
    raise ArgumentError(
        f"{uri}: expected a text, a finite number, a truth value or None for the tag {key!r}, "
        f"got {value!r}"
    )


def inherited(old: ClipRecord | None, digest: bytes) -> dict[str, Any]:
    """The fields that a clip keeps when its file is embedded again.

    Tags belong to the clip; human labels belong to the content that people heard.
    """
    if old is None:
        return {}
    if old.digest != digest:
        return {"tags": old.tags}
    return {
        "tags": old.tags,
        "human_labels": old.human_labels,
        "human_events": old.human_events,
    }
