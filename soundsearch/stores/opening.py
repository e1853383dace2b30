"""From the address of a library to its store."""

from __future__ import annotations

import os
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

from soundsearch_ingest.files import expanded

from .base import Store
from .milvus.uri import SCHEMES, MilvusUri
from .records import Settings

__all__ = ["Place", "create_store", "libraries_near", "made", "open_store", "place_of"]

Place = Path | MilvusUri


def place_of(library: str | os.PathLike[str] | MilvusUri) -> Place:
    """Parse an address: a folder, ``milvus://host:19530/name`` or ``milvus-lite:x.db``."""
    if isinstance(library, MilvusUri):
        return library
    text = os.fspath(library)
    if text.partition(":")[0] in SCHEMES and not isinstance(library, Path):
        return MilvusUri.parse(text)
    return expanded(text)


def open_store(place: Place) -> Store:
    """Open the store at a place; raises what `LocalStore` and `MilvusStore` raise."""
    if isinstance(place, MilvusUri):
        from .milvus.store import MilvusStore

        return MilvusStore(place)
    from .local.store import LocalStore

    return LocalStore(place)


def create_store(place: Place, settings: Settings) -> Store:
    """Create a library at a place and open it."""
    if isinstance(place, MilvusUri):
        from .milvus.store import MilvusStore

        return MilvusStore.create(place, settings)
    from .local.store import LocalStore

    return LocalStore.create(place, settings)


def made(place: Place, settings: Settings) -> str:
    """What to say of a library that was created."""
    return f"{place}: made a new library with the encoder {settings.encoder}"


def libraries_near(place: Path) -> list[str]:
    """The names of the libraries beside a folder that is none, the likeliest to be meant first."""
    from .local.schema import CATALOG

    found = []
    with suppress(OSError):
        found = [entry.parent.name for entry in place.absolute().parent.glob(f"*/{CATALOG}")]
    alike = get_close_matches(place.name, found, n=len(found) or 1, cutoff=0.0)
    return alike or sorted(found)
