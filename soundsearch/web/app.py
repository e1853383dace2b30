"""The ASGI app: routes made of the operations, and what all answers have in common."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from ..errors import ArgumentError
from ..stores.opening import Place
from .fields import from_json, from_texts
from .guard import Guard
from .limits import Limits
from .openapi import document
from .operations import ID, OPERATIONS, PREFIX, Operation
from .pages import PAGE_ROUTES, lost
from .problems import JSON, Problem, answered
from .service import Call, Service
from .uploads import form, json_body, media_type

__all__ = ["make_app"]


def make_app(
    place: Place,
    *,
    host: str = "127.0.0.1",
    token: str | None = None,
    limits: Limits | None = None,
    ingest: Sequence[str] | None = None,
) -> ASGIApp:
    """The app that serves a library.

    Parameters
    ----------
    place : Path or MilvusUri
        There need be no library yet.
    host : str
        What the server listens on.
    token : str, optional
        What every request but those for its state must have.
    limits : Limits, optional
    ingest : sequence of str, optional
        Folders, what is in which may be ingested; with none in it those that hold clips already.
        By default, none may.
    """
    bounds = limits or Limits()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        app.state.service = Service(place, bounds, token, ingest)
        try:
            yield
        finally:
            app.state.service.close()

    described = document()

    async def openapi(_request: Request) -> Response:
        return JSON(described)

    routes = [*PAGE_ROUTES, Route(f"{PREFIX}/openapi.json", openapi)]
    by_path: dict[str, list[Operation]] = {}
    for each in OPERATIONS:
        by_path.setdefault(each.path, []).append(each)
    routes += [_route(path, each) for path, each in by_path.items()]
    handlers: Any = {Exception: _failed, 404: _failed, 405: _failed}
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.router.redirect_slashes = False
    needless = {f"{PREFIX}{each.path}" for each in OPERATIONS if each.is_open}
    public = {f"{PREFIX}/openapi.json", *needless}

    def is_public(path: str) -> bool:
        """Whether it needs no token: the page, which asks for one, holds nothing of the library."""
        return path in public or not path.startswith("/api/")

    def refused(status: int) -> None:
        app.state.service.metrics.count("refused", status, 0.0)

    return Guard(app, host, token, is_public, bounds.send_seconds, refused)


async def _failed(request: Request, error: Exception) -> Response:
    is_page = getattr(error, "status_code", 500) == 404 and not request.url.path.startswith("/api/")
    return (lost(request) if is_page else None) or answered(error)


def _route(path: str, operations: list[Operation]) -> Route:
    """One route for all methods of a path, so that others are refused with what there is."""
    by_method = {each.method: each for each in operations}

    async def endpoint(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await _answer(by_method[method], request)

    return Route(f"{PREFIX}{path}", endpoint, methods=list(by_method))


async def _answer(operation: Operation, request: Request) -> Response:
    began = time.perf_counter()
    service: Service = request.app.state.service
    call = Call(request, service, {})
    try:
        async with AsyncExitStack() as held:
            await _read(operation, call, held)
            found = await operation.handle(call)
        response = found if isinstance(found, Response) else JSON(found)
    except Exception as error:
        response = answered(error)
    took = time.perf_counter() - began
    times = {**call.times, "total": 1000 * took}
    parts = (f"{name};dur={value:.2f}" for name, value in times.items())
    response.headers["Server-Timing"] = ", ".join(parts)
    service.metrics.count(operation.name, response.status_code, took)
    return response


async def _read(operation: Operation, call: Call, held: AsyncExitStack) -> None:
    """Check what a request holds; its file is there as long as `held` is."""
    request, limits = call.request, call.service.limits
    known = request.query_params
    texts = {name: known.getlist(name) for name in known}
    if operation.method == "GET":
        call.values = from_texts(operation.fields, texts)
    else:
        from_texts((), texts)  # there are none
    if "{id}" in operation.path:
        call.values["id"] = ID.read_texts([request.path_params["id"]])
    if operation.method == "GET" or not operation.fields:
        return
    kind = media_type(request)
    if kind == "application/json":
        call.values |= from_json(operation.fields, await json_body(request, limits))
        return
    if kind != "multipart/form-data" or operation.upload is None:
        forms = " or multipart/form-data" if operation.upload else ""
        raise Problem(
            415, "UnsupportedMediaType", f"expected application/json{forms}, got {kind[:100]!r}"
        )
    async with call.service.uploads.turn():
        found = await held.enter_async_context(
            form(request, limits, call.service.folder, call.service.room)
        )
    call.values |= from_texts(operation.fields, found.texts)
    call.upload = found.upload
    if found.upload is not None and found.upload.field != operation.upload:
        raise ArgumentError(
            f"expected the file as {operation.upload!r}, got one as {found.upload.field[:100]!r}"
        )
