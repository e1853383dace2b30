"""Which engine an ingest uses, by its name; nothing of Ray is imported for another."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from soundsearch_ingest.extras import needs

from ..engines import Engine
from ..errors import ArgumentError
from ..hints import command
from ..keepers import OnLong
from ..stores.base import OnStep, Store
from ..stores.milvus.uri import MilvusUri
from ..stores.opening import Place

__all__ = ["check_engine", "engine_of"]

_NAMES = ("local", "ray")


def check_engine(name: str, address: str | None, place: Place) -> None:
    """Check that an engine can be used for a library.

    Raises
    ------
    ArgumentError
        There is no such engine, or it cannot write there, or takes no address.
    MissingExtra
    """
    if name not in _NAMES:
        raise ArgumentError(f"engine: expected one of {', '.join(_NAMES)}, got {name!r}")
    if name == "local":
        if address is not None:
            raise ArgumentError(
                f"address: expected none with the engine local, got {address!r}; the engine ray "
                "takes one"
            )
        return
    if not isinstance(place, MilvusUri) or place.lite:
        copy = command("copy --to milvus://HOST:19530/NAME", place)
        raise ArgumentError(
            f"{place}: expected a library on a Milvus server with the engine ray, such as "
            "milvus://HOST:19530/NAME, as workers on other machines cannot write to this one; "
            f"bring it there with: {copy}"
        )
    needs("ray", "ray")


def engine_of(
    name: str,
    address: str | None,
    store: Store,
    on_sound: Callable[[float], None],
    on_long: OnLong,
    on_step: OnStep,
) -> Engine | None:
    """The engine of this name, which `check_engine` let through; None for the local one."""
    if name == "local":
        return None
    from ..stores.milvus.store import MilvusStore
    from .driver import RayEngine

    return RayEngine(cast(MilvusStore, store), address, on_sound, on_long, on_step)
