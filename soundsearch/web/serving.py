"""Running the server until it is told to stop."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from ..stores.opening import Place
from .app import make_app
from .limits import Limits

__all__ = ["make_server", "serve"]

# Connections at once; more are refused. Many systems let a process open 1024 files.
_CONNECTIONS = 500


def make_server(
    place: Place,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    limits: Limits | None = None,
    ingest: Sequence[str] | None = None,
) -> uvicorn.Server:
    """A server that is still to be run; see `make_app`."""
    bounds = limits or Limits()
    # It warns of what clients are told.
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)
    protocol = type("Protocol", (_Protocol,), {"header_seconds": bounds.header_seconds})
    config = uvicorn.Config(
        make_app(place, host=host, token=token, limits=bounds, ingest=ingest),
        host=host,
        port=port,
        http=protocol,
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,  # addresses may hold what people ask
        server_header=False,
        proxy_headers=False,
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=int(bounds.stop_seconds),
    )
    return uvicorn.Server(config)


def serve(server: uvicorn.Server, on_ready: Callable[[str, int], None]) -> bool:
    """Run a server until SIGTERM or SIGINT; requests that are under way are answered.

    Parameters
    ----------
    server : uvicorn.Server
    on_ready : callable
        Told host and port once requests are taken.

    Returns
    -------
    bool
        Whether it could be started.
    """
    kept = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            # uvicorn raises them once more when it has stopped.
            kept[number] = signal.signal(number, lambda *_: None)
    try:
        asyncio.run(_serve(server, on_ready))
    except SystemExit:  # the address cannot be used, which uvicorn has logged
        return False
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
    return server.started


async def _serve(server: uvicorn.Server, on_ready: Callable[[str, int], None]) -> None:
    async def tell() -> None:
        while not server.started:
            await asyncio.sleep(0.02)
        host, port = server.servers[0].sockets[0].getsockname()[:2]
        on_ready(host, port)

    telling = asyncio.ensure_future(tell())
    try:
        await server.serve()
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


class _Protocol(H11Protocol):
    """HTTP/1.1 that waits only so long for the headers of a request."""

    header_seconds = 20.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._waiting: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait(False)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        is_idle = self.cycle is None or self.cycle.response_complete
        if self.cycle is not before or not is_idle:
            self._wait(False)
        elif self._waiting is None:
            self._wait()

    def handle_events(self) -> None:
        super().handle_events()
        if self.scope is not None:  # the app's task begins after this
            self.scope["soundsearch.abort"] = self.transport.abort  # type: ignore[typeddict-unknown-key]

    def _wait(self, begins: bool = True) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None
        if begins:
            self._waiting = self.loop.call_later(self.header_seconds, self.transport.abort)
