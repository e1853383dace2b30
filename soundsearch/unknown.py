"""What to say of clips that a library does not hold: which ones, and what is near their names."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from itertools import islice

from .errors import ClipNotFound
from .stores.base import Store
from .stores.filters import Comparison, Plain

__all__ = ["unknown_clips"]

# Clips that are named, names of the same folder that are compared, and names that are offered.
_NAMED = 5
_COMPARED = 2000
_OFFERED = 3

Target = str | os.PathLike[str] | int


def unknown_clips(store: Store, clips: Sequence[Target]) -> ClipNotFound:
    """The error for clips, by their uris or ids, that are not in a library."""
    if len(clips) == 1:
        kind = "id" if isinstance(clips[0], int) else "uri"
        return ClipNotFound(
            f"{_name(clips[0])}: no clip of {store.address} has this {kind}"
            f"{_offer(store, clips[0])}"
        )
    named = [f"{_name(clip)}{_offer(store, clip)}" for clip in clips[:_NAMED]]
    more = f" and {len(clips) - _NAMED:,} more" if len(clips) > _NAMED else ""
    return ClipNotFound(f"{store.address} has no clips {', '.join(named)}{more}")


def _name(clip: Target) -> str:
    return str(clip) if isinstance(clip, int) else os.fspath(clip)


def _offer(store: Store, clip: Target) -> str:
    near = [] if isinstance(clip, int) else _near(store, os.fspath(clip))
    return f" (near it: {', '.join(near)})" if near else ""


def _near(store: Store, uri: str) -> list[str]:
    """Uris of the same folder that look like one."""
    if "://" not in uri:
        uri = os.path.abspath(os.path.expanduser(uri))
    folder = uri[: len(uri) - len(os.path.basename(uri))]
    pattern = "".join(f"\\{char}" if char in "\\%_" else char for char in folder)
    inside = store.clips(Comparison(Plain("uri"), "like", f"{pattern}%"))
    names = {clip.uri[len(folder) :]: clip.uri for clip in islice(inside, _COMPARED)}
    close = difflib.get_close_matches(uri[len(folder) :], names, _OFFERED)
    return [names[name] for name in close]
