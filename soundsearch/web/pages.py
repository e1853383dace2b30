"""The page: its files as they are in the package, and the views that it has addresses for."""

from __future__ import annotations

import gzip
import hashlib
import secrets
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from .guard import POLICY
from .packing import takes_gzip
from .problems import Problem, answered

__all__ = ["PAGE_ROUTES", "lost"]

# One page shows them all, by its address.
_VIEWS = ("/", "/clip/{id:int}", "/library", "/map", "/tray")
_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
# What the page shares with others of the package.
_SHARED = tuple(("soundsearch.mapping", "assets", name) for name in ("columns.js", "scatter.js"))


@dataclass(frozen=True, slots=True)
class _File:
    media_type: str
    content: bytes
    packed: bytes
    etag: str


def _made(name: str, content: bytes) -> _File:
    digest = hashlib.sha256(content).hexdigest()[:20]
    packed = gzip.compress(content, 9, mtime=0)
    return _File(_TYPES[name.rpartition(".")[2]], content, packed, f'W/"{digest}"')


@cache
def _files() -> dict[str, _File]:
    """All that can be asked for, by its name: no name is ever looked up in a folder."""
    found = [each for each in files("soundsearch.web").joinpath("page").iterdir() if each.is_file()]
    found += [files(package).joinpath(*path) for package, *path in _SHARED]
    names = [each.name for each in found]
    return {
        name: _made(name, each.read_bytes())
        for name, each in zip(names, found, strict=True)
        if name.rpartition(".")[2] in _TYPES
    }


@cache
def _markup() -> str:
    return files("soundsearch.web").joinpath("page", "index.html").read_text("utf-8")


def _page(status: int = 200) -> Response:
    # Only what puts its own style into the page, as the waveforms do, needs the nonce.
    nonce = secrets.token_urlsafe(16)
    policy = POLICY.replace("style-src 'self'", f"style-src 'self' 'nonce-{nonce}'")
    headers = {"Content-Security-Policy": policy}
    return Response(_markup().replace("{nonce}", nonce), status, headers, "text/html")


async def _view(_request: Request) -> Response:
    return _page()


async def _file(request: Request) -> Response:
    name = request.path_params["name"]
    found = _files().get(name)
    if found is None:
        return answered(Problem(404, "NotFound", f"the page has no file {name[:100]!r}"))
    headers = {"Cache-Control": "no-cache", "ETag": found.etag, "Vary": "Accept-Encoding"}
    known = request.headers.get("if-none-match", "")
    if found.etag in (each.strip() for each in known.split(",")):
        return Response(None, 304, headers)
    content = found.content
    if takes_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"], content = "gzip", found.packed
    return Response(content, 200, headers, found.media_type)


def lost(request: Request) -> Response | None:
    """What a person is shown where nothing is; None for programs."""
    return _page(404) if "text/html" in request.headers.get("accept", "") else None


PAGE_ROUTES = [*(Route(path, _view) for path in _VIEWS), Route("/page/{name}", _file)]
