"""A real web server for tests: a folder, and what can go wrong with some of its files."""

from __future__ import annotations

import base64
import functools
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


class Web:
    """Serves a folder on loopback.

    Attributes
    ----------
    cut : set of str
        Names of files of which half is sent before the connection is closed.
    login : str or None
        ``user:password`` that every request must have.
    answers : dict
        Status codes in place of files, by their names.
    requests : list of str
        Methods and paths of what was asked, such as ``GET /a.wav``.
    """

    def __init__(self, folder: Path) -> None:
        self.cut: set[str] = set()
        self.login: str | None = None
        self.answers: dict[str, int] = {}
        self.requests: list[str] = []
        handler = functools.partial(_Handler, self, directory=str(folder))
        self._server = _Server(("127.0.0.1", 0), handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.host = f"127.0.0.1:{self._server.server_port}"
        self.url = f"http://{self.host}"

    def fetched(self) -> list[str]:
        """The names of the files that were sent since this was last asked."""
        found = [path for method, path in map(str.split, self.requests) if method == "GET"]
        self.requests.clear()
        return [path.rpartition("/")[2] for path in found if not path.endswith("/")]

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64  # as several files are asked for at once


class _Handler(SimpleHTTPRequestHandler):
    def __init__(self, web: Web, *args, **options) -> None:
        self._web = web
        super().__init__(*args, **options)

    def do_HEAD(self) -> None:
        if self._is_allowed():
            super().do_HEAD()

    def do_GET(self) -> None:
        if not self._is_allowed():
            return
        name = self.path.rpartition("/")[2]
        if name in self._web.cut:
            content = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        super().do_GET()

    def _is_allowed(self) -> bool:
        self.path = self.path.partition("?")[0]
        self._web.requests.append(f"{self.command} {self.path}")
        status = self._web.answers.get(self.path.rpartition("/")[2])
        if self._web.login is not None:
            wanted = base64.b64encode(self._web.login.encode()).decode()
            if self.headers.get("Authorization") != f"Basic {wanted}":
                status = 401
        if status is not None:
            self.send_error(status)
        return status is None

    def log_message(self, *_args) -> None:
        pass
