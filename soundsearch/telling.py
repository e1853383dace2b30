"""What a library is: counts, settings, how its index is tuned."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict
from typing import Any

from soundsearch_ingest import encoders

from .errors import EncoderError
from .labels.kept import kept_head
from .stores.base import Store

__all__ = ["facts"]


def facts(store: Store) -> dict[str, Any]:
    """See `soundsearch.Library.info`."""
    counts, settings, tuning = store.counts(), store.settings, store.tuning()
    installed = None
    with suppress(EncoderError):
        installed = encoders.load(settings.encoder).space
    head = kept_head(store)
    return {
        **asdict(counts),
        "encoder": settings.encoder,
        "space": settings.space,
        "installed_space": installed,
        "dimension": settings.dimension,
        "head": None if head is None else {"digest": store.head_digest(), **head.to_dict()},
        "hop": settings.hop,
        "store": store.address,
        "key": store.key(),
        "index": None if tuning is None else asdict(tuning) | {"warning": tuning.warning},
    }
