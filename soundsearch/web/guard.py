"""Who may ask: tokens, the Host header, requests from other sites; and the headers of all answers.

Without a token the server trusts whoever reaches it. A web page on the same machine reaches it too,
through its visitor's browser: requests that a browser sends for another site are refused, and so
are names of hosts that are not this server's, which a rebound name in DNS would be.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .problems import Problem, answered

__all__ = ["POLICY", "Guard", "cookie_of", "is_loopback", "is_token"]

_SAFE = ("GET", "HEAD")
# What a browser may load and run: of this server only, and nothing that is within markup.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; worker-src 'self' blob:; font-src 'self'; "
    "manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def is_loopback(host: str) -> bool:
    """Whether a name or address of a host is this machine's own, whatever the network."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_token(given: str, token: str) -> bool:
    """Compare tokens in a time that does not tell how much of them is equal."""
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), token.encode())


def cookie_of(token: str) -> tuple[str, str]:
    """The name and value of what a browser keeps in place of the token, which neither tells.

    Each token has a name of its own: cookies of a host go to its servers on all ports.
    """
    digest = hmac.new(token.encode(), b"soundsearch session", hashlib.sha256).hexdigest()
    return f"soundsearch-{digest[:8]}", digest[8:]


class _TooSlow(Exception):
    """The client does not read its answer."""


def _nothing() -> None:
    pass


class Guard:
    """Lets requests through to an app that may be; the outermost layer.

    Parameters
    ----------
    app : ASGI app
    host : str
        What the server listens on.
    token : str or None
    is_public : callable
        Whether what is at a path needs no token.
    send_seconds : float
        How long a client may take to read the next piece of an answer.
    on_refused : callable
        Told the status of each request that is refused here.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        token: str | None,
        is_public: Callable[[str], bool],
        send_seconds: float,
        on_refused: Callable[[int], None],
    ) -> None:
        self._app, self._host, self._token = app, host, token
        self._is_public, self._send_seconds = is_public, send_seconds
        self._on_refused = on_refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            try:
                await asyncio.wait_for(send(message), self._send_seconds)
            except asyncio.TimeoutError:
                raise _TooSlow from None

        try:
            try:
                self._check(scope, Headers(scope=scope))
            except Problem as problem:
                self._on_refused(problem.status)
                await answered(problem)(scope, receive, guarded)
            else:
                await self._app(scope, receive, guarded)
        except (_TooSlow, asyncio.CancelledError):  # or the server has waited enough to stop
            # Closing would wait until the client has read what was sent already.
            scope.get("soundsearch.abort", _nothing)()
            await asyncio.sleep(0)

    def _check(self, scope: Scope, headers: Headers) -> None:
        hosts = headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""
        if (self._token is None or is_loopback(self._host)) and not self._is_own(host):
            raise Problem(
                421,
                "WrongHost",
                f"this server is not {host[:100]!r}; ask it by its address or as localhost",
            )
        is_trusted = self._is_same_site(scope, headers, host)
        if self._token is None or self._is_public(scope["path"]):
            return
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and is_token(given.strip(), self._token):
            return
        name, value = cookie_of(self._token)
        # Not the standard library's parser: it drops all where another program's cookie is odd.
        if not is_token(cookie_parser(headers.get("cookie", "")).get(name, ""), value):
            raise Problem(
                401,
                "Unauthorized",
                "expected the server's token, in the header Authorization: Bearer TOKEN",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if scope["method"] not in _SAFE and not is_trusted:
            raise Problem(
                403,
                "CrossSite",
                "a cookie is not enough for this: expected the header Origin or Sec-Fetch-Site "
                "of a page of this server, or the token in Authorization: Bearer TOKEN",
            )

    def _is_own(self, host: str) -> bool:
        """Whether a Host header is a name that nobody else can make point here."""
        try:
            name = urlsplit(f"//{host}").hostname or ""
            if name.lower() in ("localhost", self._host.lower()) and name:
                return True
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _is_same_site(self, scope: Scope, headers: Headers, host: str) -> bool:
        """Whether a browser says that this server's own page asks; raises Problem for another's."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        is_visit = scope["method"] in _SAFE and headers.get("sec-fetch-mode") == "navigate"
        is_other = site in ("cross-site", "same-site") and not is_visit
        # What the browser says itself holds: behind a proxy, the Host header may be another's.
        if origin is not None and site != "same-origin" and scope["method"] not in _SAFE:
            is_other = is_other or origin.partition("://")[2].lower() != host.lower()
        if is_other:
            raise Problem(403, "CrossSite", "a page of another site asks; only this server's may")
        return origin is not None or site == "same-origin"
