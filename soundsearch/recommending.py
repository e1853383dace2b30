"""Recommending from a library: clips by their names, and pages of what is recommended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .asking.per import Per, page
from .asking.recommending import Likes, find_recommended
from .naming import not_found
from .neighbours import Graph
from .results import Answer, Hit
from .stores.base import Reading, Store
from .stores.filters import Filter

__all__ = ["recommended"]


def recommended(
    reading: Reading,
    store: Store,
    graph: Graph,
    filter: Filter | None,
    likes: Likes,
    k: int,
    offset: int,
    min_score: float,
    per: tuple[Per, ...],
) -> Answer:
    """A page of recommendations; see `Clips.recommend`."""

    def ids_of(clips: Sequence[Any]) -> list[int]:
        ids, unknown = graph.ids(reading, clips)
        if unknown:
            raise not_found(store, unknown)
        found: list[int] = ids.tolist()
        return found

    liked, disliked = ids_of(likes.liked), ids_of(likes.disliked)
    exclude, _ = graph.ids(reading, likes.exclude)

    def best(k: int, offset: int = 0) -> list[Hit]:
        return find_recommended(
            reading,
            store.settings,
            likes,
            liked,
            disliked,
            k,
            filter,
            exclude=exclude.tolist(),
            offset=offset,
            min_score=min_score,
        )

    hits, short = page(best, k, offset, per)
    return Answer(tuple(hits), (), short)
