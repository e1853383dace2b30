"""The care of a library: what people say of its clips, and ingests."""

from __future__ import annotations

import asyncio
from typing import Any

from ..correctionfiles import HEARD
from ..library import Library
from .problems import Problem
from .service import Call
from .surveying import events_of

__all__ = ["correct", "ingest", "start_ingest", "stop_ingest"]


async def correct(call: Call) -> dict[str, Any]:
    """Keep what someone says of a label; gives the clip's events as they are now."""
    values, service = call.values, call.service
    if service.ingests.is_running:  # which may take hours, while the library has one writer
        raise Problem(
            409,
            "Ingesting",
            "an ingest is under way, which writes to the library; correct labels when it has "
            "ended, or stop it",
        )

    def write(library: Library) -> dict[str, Any]:
        heard = HEARD[values["heard"]]
        library.correct(values["id"], values["label"], at=values["at"], heard=heard)
        return events_of(library, values["id"])

    found = await call.ask(write)
    service.forget_summaries()
    return found


async def ingest(call: Call) -> dict[str, Any]:
    """How far the ingest is."""
    return call.service.ingests.state(await _folders(call))


async def start_ingest(call: Call) -> dict[str, Any]:
    """Start an ingest."""
    values, ingests = call.values, call.service.ingests
    folders = await _folders(call)
    await asyncio.to_thread(ingests.start, values["folder"], values["retry_failed"], folders)
    return ingests.state(folders)


async def stop_ingest(call: Call) -> dict[str, Any]:
    """Stop the ingest."""
    await asyncio.to_thread(call.service.ingests.stop)
    return await ingest(call)


async def _folders(call: Call) -> list[str]:
    """The folders that may be ingested."""
    known = call.service.ingests.known
    return await call.ask(call.service.ingests.look_up) if known is None else known
