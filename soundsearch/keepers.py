"""Where is kept what was heard of long files that are not stored yet."""

from __future__ import annotations

from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import blake3
from soundsearch_ingest.encoders import Encoder
from soundsearch_ingest.keeping import Keeper

from .stores.base import Store

__all__ = ["OnLong", "keeper_of", "not_told"]

# Told of a long file, by its uri, how many seconds of it were decoded, and of how many.
OnLong = Callable[[str, float, float], None]


def not_told(_uri: str, _heard: float, _all: float) -> None:
    """Ignore how much of a long file was decoded."""


def keeper_of(store: Store, encoder: Encoder) -> Keeper:
    """What keeps the sound that an encoder hears for a store that is locked for writing.

    It is in the library's folder; for a database in the user's cache.
    """
    folder = Path(store.address)
    if not folder.is_dir():
        from platformdirs import user_cache_path

        name = blake3.blake3(store.address.encode()).hexdigest(16)
        folder = user_cache_path("soundsearch", appauthor=False) / name
    # The version stands for that of an encoder that runs beside this one.
    identity = f"{metadata.version('soundsearch')} {encoder.space} {store.settings.hop}"
    return Keeper(folder / "heard", identity, encoder.dimension)
