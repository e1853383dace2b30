"""A real server in a thread of the test's own process."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import httpx

from soundsearch.stores.opening import place_of
from soundsearch.web.limits import Limits
from soundsearch.web.serving import make_server

API = "/api/v1"


class Server:
    """Serves a library on a free port of loopback until it is closed.

    Attributes
    ----------
    url : str
    port : int
    client : httpx.Client
        Asks it; paths begin after ``/api/v1``.
    """

    def __init__(
        self,
        library: Path | str,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        ingest: list[str] | None = None,
        **limits,
    ) -> None:
        # Where others need the processor, a question may take longer than a person waits.
        place, bounds = place_of(library), Limits(**{"question_seconds": 100.0, **limits})
        self._server = make_server(
            place, host=host, port=port, token=token, limits=bounds, ingest=ingest
        )
        self._thread = threading.Thread(target=asyncio.run, args=(self._server.serve(),))
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            self._thread.join(0.01)
        self.port = self._server.servers[0].sockets[0].getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"
        self.client = httpx.Client(base_url=f"{self.url}{API}", timeout=120, trust_env=False)

    @property
    def service(self):
        """What all its requests share."""
        return self._server.config.loaded_app._app.state.service

    def get(self, path: str, **options) -> httpx.Response:
        return self.client.get(path, **options)

    def query(self, **options) -> httpx.Response:
        return self.client.post("/query", **options)

    def hear(self, path: Path, **values) -> httpx.Response:
        """Ask with a file."""
        with open(path, "rb") as file:
            return self.query(files={"sound": (path.name, file)}, data=values)

    def stop(self) -> None:
        """Tell it to stop, as a signal does."""
        self._server.should_exit = True

    def close(self) -> None:
        self.client.close()
        self.stop()
        self._thread.join(60)
        assert not self._thread.is_alive()


def problem(response: httpx.Response, status: int) -> str:
    """The message of an error, which must be of the one shape that there is."""
    found = response.json()
    assert response.status_code == status, found
    assert response.headers["content-type"] == "application/json"
    assert found.keys() == {"status", "error", "message"} and found["status"] == status
    return found["message"]
