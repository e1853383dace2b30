"""Tags: keys and values that users attach to clips."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from .errors import ArgumentError
from .results import TagReport
from .stores.base import Store
from .stores.records import ClipRecord, TagValue, is_storable

__all__ = ["Tagging", "inherited"]

# How many clips are tagged at a time, with one sync of the disk.
_CLIPS = 1024


class Tagging:
    """Tags for clips, checked before anything is written; see `Library.tag`."""

    def __init__(self, tags: Mapping[str, Mapping[str, TagValue | None]]) -> None:
        self._tags = {
            os.fspath(uri): {_key(uri, key): _value(uri, key, value) for key, value in own.items()}
            for uri, own in tags.items()
        }

    def apply(self, store: Store) -> TagReport:
        """Apply the tags to a store that is locked for writing."""
        report = TagReport()
        waiting = iter(self._tags.items())
        while batch := list(islice(waiting, _CLIPS)):
            records: dict[int, ClipRecord] = {}
            for uri, own in batch:
                text = os.path.abspath(os.path.expanduser(uri))
                clip = store.clip_at(uri) or store.clip_at(text)
                if clip is None:
                    report.unknown.append(uri)
                    continue
                report.tagged += 1
                # Two of these uris may name one clip.
                record = records.get(clip.id, clip.record)
                tags = _merged(record.tags, own)
                if tags != record.tags:
                    records[clip.id] = replace(record, tags=tags)
            if records:
                store.amend(records)
        return report


def _merged(
    tags: Mapping[str, TagValue], changes: Mapping[str, TagValue | None]
) -> dict[str, TagValue]:
    return {key: value for key, value in {**tags, **changes}.items() if value is not None}


def _key(uri: str, key: Any) -> str:
    if not isinstance(key, str) or not key or not is_storable(key):
        raise ArgumentError(f"{uri}: expected a text as the key of a tag, got {key!r}")
    return key


def _value(uri: str, key: str, value: Any) -> TagValue | None:
    if hasattr(value, "item") and not isinstance(value, str):
        value = value.item()  # a NumPy scalar
    if value is None or isinstance(value, bool) or (isinstance(value, str) and is_storable(value)):
        return value
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
    human_labels = old.human_labels if old.digest == digest else ()
    return {"tags": old.tags, "human_labels": human_labels}
