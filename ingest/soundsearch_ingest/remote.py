"""Files on servers and in buckets, through fsspec: what is there, its state, its bytes.

Whatever a file system raises becomes a `Fault` that says what is wrong, as such faults pass: `Gone`
only where the server said that there is no such file.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, BinaryIO
from zlib import crc32

from .copies import Fault
from .errors import AudioError, MissingExtra, SoundsearchError
from .extras import needs
from .files import AudioFile
from .patterns import has_wildcards
from .urls import chained, plain, redacted

__all__ = [
    "Gone",
    "info",
    "is_folder",
    "is_pattern",
    "listing",
    "matching",
    "parts_reader",
    "reader",
    "state",
    "told",
    "whole",
]

Info = dict[str, Any]

# Bytes of a file that are asked for at once.
_BLOCK = 5 << 20
# Seconds without an answer, or without more of it.
_PATIENCE = 60
_EXTRA = frozenset({"aiohttp", "fsspec", "requests"})
_DATES = (
    "LastModified last_modified Last-Modified mtime updated modified timeModified created"
).split()
_VERSIONS = "ETag etag md5Hash Content-MD5 Digest generation sha checksum".split()
_LOGINS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public bucket, "
    """FSSPEC_S3='{"anon": true}'""",
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS; for a public bucket, "
    """FSSPEC_GS='{"token": "anon"}'""",
    "https": "a login may be in ~/.netrc",
}


def _is_web(url: str) -> bool:
    return url.lower().startswith(("http://", "https://"))


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def _file_system(url: str) -> tuple[Any, str]:
    """The file system of a URL, and what it calls that."""
    fsspec = needs("fsspec", "remote")
    if len(chained(url)) > 1:
        raise AudioError(
            plain(url), "is a chain of addresses; expected one, or zip:// or tar:// before one"
        )
    scheme = _scheme(url)
    if scheme not in fsspec.available_protocols():
        raise AudioError(plain(url), f"expected a URL that fsspec knows, got {scheme}://")
    try:
        # Not `url_to_fs`, which takes any "::" for a chain: it would read another file.
        system = fsspec.get_filesystem_class(scheme)
        _silence(system.__module__)
        options = {**system._get_kwargs_from_urls(url), **_options(url)}
        return fsspec.filesystem(scheme, **options), system._strip_protocol(url)
    except ImportError as error:
        name = getattr(error.__cause__, "name", None) or getattr(error, "name", None) or scheme
        package = name.partition(".")[0]
        wanted = "'soundsearch[remote]'" if package in _EXTRA else package
        raise MissingExtra(
            f"{scheme}:// needs the package {package} ({error}); install it with: "
            f"pip install {wanted}"
        ) from error


def _silence(module: str) -> None:
    """Keep what a file system logs from standard error, unless the program wants it there.

    Faults are told once, as errors, and without secrets.
    """
    logger = logging.getLogger(module.partition(".")[0])
    if not logger.handlers:
        logger.addHandler(logging.NullHandler())


def _options(url: str) -> Info:
    if not _is_web(url):
        return {}
    aiohttp = needs("aiohttp", "remote")
    # A large file may take hours, as long as more of it comes; proxies and ~/.netrc are heeded.
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=_PATIENCE, sock_read=_PATIENCE)
    return {"client_kwargs": {"timeout": timeout, "trust_env": True}}


class Gone(Fault, FileNotFoundError):
    """A server says that there is no such file."""


@contextmanager
def told(url: str) -> Iterator[None]:
    """Turn what a file system raises into a Fault that says what is wrong with a URL."""
    try:
        yield
    except (Fault, MemoryError, SoundsearchError):
        raise
    except Exception as error:  # each file system has errors of its own
        raise _fault(url, error) from error


def _fault(url: str, error: Exception) -> Fault:
    if _is_web(url) and isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        cause = error.__cause__  # fsspec takes any fault for this one
        error = cause if isinstance(cause, Exception) else error
    status = getattr(error, "status" if hasattr(error, "status") else "code", None)
    text = redacted(getattr(error, "strerror", None) or str(error) or type(error).__name__, url)
    if status in (404, 410):
        return Gone(f"is not there (the server answers {status})")
    if isinstance(status, int):
        text = f"the server answers {status}"
    elif isinstance(error, FileNotFoundError):
        return Gone("is not there")
    is_refused = isinstance(error, PermissionError) or "Credential" in type(error).__name__
    if is_refused or status in (401, 403):
        scheme = {"http": "https", "gcs": "gs", "s3a": "s3"}.get(_scheme(url), _scheme(url))
        hint = f"; {_LOGINS[scheme]}" if scheme in _LOGINS else ""
        return Fault(f"cannot be read without the right login ({text}){hint}")
    return Fault(f"cannot be read now: {text}")


def info(url: str) -> Info:
    """What is known of a file or folder; raises Fault, AudioError or MissingExtra."""
    with told(url):
        system, path = _file_system(url)
        system.invalidate_cache()  # it may have changed since an earlier run of this process
        return dict(system.info(path))


def is_folder(url: str, known: Info) -> bool:
    """Whether something is a folder; of a web server, by the slash at the end of its URL."""
    return known.get("type") == "directory" or (_is_web(url) and url.endswith("/"))


def listing(url: str) -> list[tuple[str, Info]]:
    """The URLs of what is in a folder, and what is known of each, in the order of their names."""
    with told(url):
        system, path = _file_system(url)
        system.invalidate_cache()
        found = system.ls(path, detail=True)
        system.invalidate_cache()  # which would grow with every folder
    own = path.rstrip("/")
    return sorted(
        (
            (_url_of(each["name"], url, path), each)
            for each in found
            if each["name"].rstrip("/") != own
        ),
        key=lambda each: each[0],
    )


def is_pattern(url: str) -> bool:
    """Whether a URL may be a pattern; of a web address, only ``*`` is one."""
    return "*" in url.partition("?")[0] if _is_web(url) else has_wildcards(url)


def matching(pattern: str) -> list[str]:
    """The URLs of files that a pattern fits, in order."""
    with told(pattern):
        system, path = _file_system(pattern)
        system.invalidate_cache()
        found = system.glob(path, detail=True)
    parts = pattern.split("/")
    first = next(number for number, part in enumerate(parts) if is_pattern(part))
    base = "/".join(parts[:first]) if first > 2 else f"{parts[0]}//"
    names = [name for name, known in found.items() if known.get("type") != "directory"]
    return sorted(_url_of(name, base, system._strip_protocol(base)) for name in names)


def _url_of(name: str, url: str, path: str) -> str:
    """The URL of what a file system lists by a name below a URL, which it calls a path.

    Not all file systems can tell: the name of a file on a server may lack the server's.
    """
    below = name[len(path.rstrip("/")) :].lstrip("/")
    return f"{url}{below}" if url.endswith("/") else f"{url}/{below}"


def state(url: str, known: Info) -> AudioFile:
    """A file's state, from what is known of it."""
    seconds = next((s for key in _DATES if (s := _seconds(known.get(key))) is not None), 0)
    version = next((str(known[key]) for key in _VERSIONS if known.get(key)), "")
    uri = plain(url)
    return AudioFile(
        uri,
        max(0, int(known.get("size") or 0)),
        1_000_000_000 * seconds + crc32(version.encode()) % 1_000_000_000,
        access="" if uri == url else url,
    )


def _seconds(date: Any) -> int | None:
    """Whole seconds since 1970, as listings and answers differ in what is behind them."""
    try:
        if isinstance(date, str):
            text = date.replace("Z", "+00:00")
            is_iso = date[:1].isdigit()
            date = datetime.fromisoformat(text) if is_iso else parsedate_to_datetime(date)
        if isinstance(date, datetime):
            aware = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
            return int(aware.timestamp())
        return None if date is None else int(date)
    except (OverflowError, TypeError, ValueError):
        return None


def whole(url: str) -> bytes:
    """All bytes of a small file."""
    with told(url):
        system, path = _file_system(url)
        return bytes(system.cat_file(path, start=0))  # s3fs would ask for the size first


def reader(url: str) -> BinaryIO:
    """A file to read from its beginning; what it raises is the file system's, see `told`."""
    with told(url):
        system, path = _file_system(url)
        # Of a web server, a stream: not all of them send parts.
        file: BinaryIO = system.open(path, "rb", block_size=0 if _is_web(url) else _BLOCK)
        return file


def parts_reader(url: str) -> BinaryIO | None:
    """A file to read parts of, as `reader`; None where its server sends only the whole."""
    with told(url):
        system, path = _file_system(url)
        file: BinaryIO = system.open(path, "rb", block_size=_BLOCK)
        try:
            file.seek(-1, 2)
            file.read(1)
            file.seek(0)
        except (OSError, ValueError):
            file.close()
            if not _is_web(url):
                raise
            return None
        return file
