"""Clips by their keys: what every store says where a key is none, or that of several clips."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..errors import ArgumentError, LibraryError
from ..hints import command
from .records import Key, StoredClip

__all__ = ["by_key", "declared"]


def declared(tag: str | None, address: str) -> str:
    """The tag that is the key; raises ArgumentError where a library has none."""
    if tag is None:
        raise ArgumentError(
            f"{address}: no tag is declared as the key of its clips; declare one with: "
            f"{command('tag --key TAG', address)}"
        )
    return tag


def by_key(
    clips: Iterable[StoredClip], tag: str, keys: Collection[Key], address: str
) -> dict[Key, StoredClip]:
    """The clips that have these keys.

    Raises
    ------
    LibraryError
        Two have the same.
    """
    wanted = set(keys)
    found: dict[Key, StoredClip] = {}
    for clip in clips:
        key = Key.of(clip.record.tags.get(tag))
        if key is None or key not in wanted:
            continue
        if (other := found.setdefault(key, clip)).id != clip.id:
            raise LibraryError(
                f"{address}: both {other.uri} and {clip.uri} have the key {key}, the tag {tag!r}; "
                "give one of them another"
            )
    return found
