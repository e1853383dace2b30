"""Names of sounds that are not paths: URLs, and members of archives as fsspec writes them.

``zip://bells/a.wav::/data/sounds.zip`` is the member ``bells/a.wav`` of an archive, which may be on
a server itself.
"""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from .errors import ArgumentError

__all__ = [
    "Member",
    "Secrets",
    "absolute",
    "archive_kind",
    "basename",
    "chained",
    "folder",
    "is_remote",
    "is_url",
    "plain",
    "redacted",
    "split",
    "suffix",
]

Member = tuple[str, str, str]

_NAME = r"[A-Za-z][A-Za-z0-9+.-]+"
_SCHEME = re.compile(rf"(?:{_NAME}::)*{_NAME}://")
_LINK = re.compile(rf"::(?={_NAME}:(?::|//))")
_ARCHIVES = {
    "zip": (".zip",),
    "tar": (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz"),
}
# Parameters that give access, by their names in small letters: signatures of Amazon, Google and
# others, and the usual names of tokens.
_SECRET_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-cos-")
_SECRETS = frozenset(
    "signature sig expires policy key-pair-id awsaccesskeyid googleaccessid ossaccesskeyid token"
    " access_token auth_token auth apikey api_key api-key key secret password passwd pwd".split()
)
# What stands beside `sig` in Azure's: it changes with each signature.
_AZURE = frozenset(
    "sv ss srt sp se st spr sip sr si skoid sktid skt ske sks skv saoid suoid scid".split()
)


def is_url(text: str) -> bool:
    """Whether a text is a URL, or names a member of an archive; else it is a path."""
    return _SCHEME.match(text) is not None


def chained(url: str) -> list[str]:
    """The addresses in a chain of them, ``simplecache::s3://bucket/a.wav``; else the URL alone."""
    return _LINK.split(url)


def split(uri: str) -> Member | None:
    """What a member's name is made of: kind of archive, member, archive; None for others."""
    kind, scheme, rest = uri.partition("://")
    if not scheme or kind not in _ARCHIVES or "::" not in rest:
        return None
    member, _, archive = rest.partition("::")
    return kind, member, archive


def is_remote(uri: str) -> bool:
    """Whether something is not on this disk, in an archive or by itself."""
    parts = split(uri)
    return is_url(uri) if parts is None else is_url(parts[2])


def archive_kind(uri: str) -> str | None:
    """``zip`` or ``tar`` where the name of a file is an archive's; else None."""
    if split(uri) is not None:
        return None
    name = _path(uri).lower()
    return next((kind for kind, ends in _ARCHIVES.items() if name.endswith(ends)), None)


def absolute(text: str, beside: str = "") -> str:
    """A name that means the same everywhere.

    Parameters
    ----------
    text : str
        A path, which may begin with ``~``; a URL; or a member's name.
    beside : str
        The folder that paths are relative to; by default the working folder.
    """
    if (parts := split(text)) is not None:
        kind, member, archive = parts
        return f"{kind}://{member}::{absolute(archive, beside)}"
    if text.startswith("file://"):
        return os.path.abspath(url2pathname(urlsplit(text).path))
    if is_url(text):
        return text
    return os.path.abspath(os.path.join(beside, os.path.expanduser(text)))


def suffix(uri: str) -> str:
    """The end of a name from its last dot on, in small letters."""
    return os.path.splitext(_path(uri))[1].lower()


def basename(uri: str) -> str:
    """The name of a file without its folder."""
    return os.path.basename(_path(uri))


def folder(uri: str) -> str:
    """What a file is in: a folder, or one in an archive; empty where it is in none."""
    if (parts := split(uri)) is not None:
        kind, member, archive = parts
        return f"{kind}://{os.path.dirname(member)}::{archive}"
    return os.path.dirname(uri)


def _path(uri: str) -> str:
    """The part of a name that says which file it is, and not where from or with what access."""
    if (parts := split(uri)) is not None:
        return parts[1]
    return urlsplit(uri).path if _is_web(uri) else uri


def _is_web(uri: str) -> bool:
    return uri.lower().startswith(("http://", "https://"))


def plain(uri: str) -> str:
    """A name without what is secret in it: the login of a web address, passwords, signatures.

    A signed address names the same file when it is signed again.
    """
    if (parts := split(uri)) is not None:
        kind, member, archive = parts
        return f"{kind}://{member}::{plain(archive)}"
    if not is_url(uri):
        return uri
    if len(links := chained(uri)) > 1:
        return "::".join(map(plain, links))
    scheme, _, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    login, at, host = host.rpartition("@")
    if _is_web(uri):
        login, at = "", ""
    kept = f"{scheme}://{login.partition(':')[0]}{at}{host}{slash}{path}"
    if not _is_web(uri) or "?" not in kept:
        return kept
    pieces = urlsplit(kept)
    names = {name.lower() for name, _ in parse_qsl(pieces.query, keep_blank_values=True)}
    query = "&".join(
        part for part in pieces.query.split("&") if not _is_secret(part, "sig" in names)
    )
    return urlunsplit(pieces._replace(query=query)) if query != pieces.query else kept


class Secrets:
    """Tells which URLs differ in nothing but what is secret in them: they would be one clip."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[int, str]] = {}

    def check(self, uri: str, place: str) -> None:
        """Raise ArgumentError where another such URL came before; `place` is where this one is."""
        shown = plain(uri)
        if shown == uri:
            return
        whole, before = self._seen.setdefault(hash(shown), (hash(uri), place))
        if whole != hash(uri):
            raise ArgumentError(
                f"{place}: differs from {before} only in what is taken for a secret, and so is the "
                f"same clip, {shown}; name each file once, or save the files and ingest these"
            )


def _is_secret(parameter: str, is_azure: bool) -> bool:
    name = unquote(parameter.partition("=")[0]).lower()
    return name in _SECRETS or name.startswith(_SECRET_PREFIXES) or (is_azure and name in _AZURE)


def redacted(text: str, url: str) -> str:
    """A message about a URL without what is secret in that."""
    shown = plain(url)
    if shown == url:
        return text
    text = text.replace(url, shown)
    rest = url.partition("://")[2]
    login = rest.partition("/")[0].rpartition("@")[0]
    query = urlsplit(url).query
    kept = set(urlsplit(shown).query.split("&"))
    values = [part.partition("=")[2] for part in query.split("&") if part not in kept]
    for secret in [login, login.partition(":")[2], *values]:
        if len(secret) > 2:
            text = text.replace(secret, "...").replace(unquote(secret), "...")
    return text
