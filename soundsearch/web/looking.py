"""The state of the server and its library, and the cookie that stands for a token."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import suppress
from pathlib import Path
from typing import Any

from starlette.responses import Response

from .. import __version__
from ..errors import SoundsearchError
from ..hints import command
from ..stores.milvus.uri import MilvusUri
from ..stores.opening import Place
from .guard import cookie_of, is_token
from .problems import JSON, Problem
from .service import Call

__all__ = ["health", "info", "log_in", "log_out", "metrics", "ready"]

_OK = {"status": "ok"}
# What of the limits a client can heed.
_TOLD = (
    "upload_bytes",
    "upload_seconds",
    "export_bytes",
    "longest",
    "questions",
    "waiting_questions",
)


async def health(_call: Call) -> dict[str, Any]:
    """The server runs."""
    return _OK


async def ready(call: Call) -> dict[str, Any]:
    """The library answers; whoever asks needs no token, and is told nothing of it."""
    try:
        await call.ask(lambda library: library._session.store.counts())
    except SoundsearchError as error:
        raise Problem(
            503,
            type(error).__name__,
            "the library cannot be asked; /api/v1/info says why",
            retry_after=5,
        ) from None
    return _OK


async def info(call: Call) -> dict[str, Any]:
    """The facts of the library."""
    facts = await call.ask(lambda library: library.info())
    limits = dataclasses.asdict(call.service.limits)
    return {
        "version": __version__,
        **facts,
        "bytes": await asyncio.to_thread(_bytes, call.service.holding.place),
        "ingest": command("ingest FOLDER", call.service.holding.place),
        "limits": {name: limits[name] for name in _TOLD},
    }


def _bytes(place: Place) -> int | None:
    """What a library takes on this disk; None for one on a server."""
    if isinstance(place, MilvusUri):
        if not place.lite:
            return None
        place = Path(place.address)
    found = [place] if place.is_file() else place.rglob("*")
    total = 0
    for path in found:
        with suppress(OSError):  # it was taken away meanwhile
            total += path.lstat().st_size
    return total


async def metrics(call: Call) -> Response:
    """Counts, in Prometheus's text format."""
    service = call.service
    questions, jobs = service.questions, service.workers.gate
    now = {
        "questions_running": ("Questions that are under way.", questions.running),
        "questions_waiting": ("Questions that wait for their turn.", questions.waiting),
        "jobs_running": ("Sounds that are being decoded.", jobs.running),
        "jobs_waiting": ("Sounds that wait to be decoded.", jobs.waiting),
        "uploads_running": ("Uploads that are being received.", service.uploads.running),
        "uploads_bytes": ("Of uploads that are on disk.", service.room.taken),
        "workers_lost_total": ("Workers that ended in a job.", service.workers.lost),
    }
    return Response(
        service.metrics.text(now), media_type="text/plain; version=0.0.4; charset=utf-8"
    )


async def log_in(call: Call) -> Response:
    """Set the cookie; raises Problem where the token is another."""
    token = call.service.token
    if token is None:
        return JSON(_OK)
    if not is_token(call.values["token"], token):
        raise Problem(401, "Unauthorized", "this is not the server's token")
    answer = JSON(_OK)
    is_encrypted = call.request.url.scheme == "https"
    answer.set_cookie(*cookie_of(token), httponly=True, samesite="strict", secure=is_encrypted)
    return answer


async def log_out(call: Call) -> Response:
    """Take the cookie away."""
    answer = JSON(_OK)
    if call.service.token is not None:
        name, _ = cookie_of(call.service.token)
        answer.delete_cookie(name, httponly=True, samesite="strict")
    return answer
