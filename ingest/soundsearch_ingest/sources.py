"""What a run needs of a file, wherever that is: its state, its bytes, whether it is gone.

Paths of this disk are read where they are; everything else is copied for as long as it is read.
"""

from __future__ import annotations

import io
import re
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import BinaryIO, TypeVar

from . import members, remote
from .copies import copied
from .errors import AudioError, SoundsearchError
from .files import AudioFile, stat_file
from .patterns import expression
from .urls import archive_kind, is_remote, is_url, plain, split

__all__ = [
    "ahead",
    "begun",
    "fetched",
    "found",
    "is_gone",
    "is_unchanged",
    "opened",
    "stat",
    "stated",
    "walk",
]

_Item = TypeVar("_Item")
_Value = TypeVar("_Value")

# Questions to servers that wait for an answer at once.
_AT_ONCE = 16
# What fits into memory is fetched by one request.
_SMALL = 16 << 20
# Folders within folders: a server may have links that loop.
_DEEPEST = 40


def stat(uri: str) -> AudioFile:
    """The state of a file now; `uri` may hold what is secret.

    Raises
    ------
    OSError
        There is none, or it cannot be reached.
    AudioError
        It is a folder, or in what is no archive; or no such URL can be.
    MissingExtra
    """
    if not is_url(uri):
        return stat_file(uri)
    if split(uri) is not None:
        return members.state(uri)
    known = remote.info(uri)
    if remote.is_folder(uri, known):
        raise AudioError(plain(uri), "is a folder")
    return remote.state(uri, known)


def is_unchanged(file: AudioFile) -> bool:
    """Whether a file on disk is as it was; what is a copy cannot change."""
    if is_url(file.uri):
        return True
    try:
        return stat_file(file.uri) == file
    except OSError:
        return False


@contextmanager
def opened(file: AudioFile, copy: Future[BinaryIO] | None = None) -> Iterator[str | BinaryIO]:
    """A file's path, or a copy of it that is gone at the end; raises as `fetched`.

    `copy` is one that `begun` gave.
    """
    if copy is None and not is_url(file.uri):
        yield file.uri
        return
    with _fetched(file) if copy is None else copy.result() as found:
        yield found


def _fetched(file: AudioFile) -> BinaryIO:
    return fetched(file.access or file.uri, file.size)


def begun(
    files: Iterable[AudioFile],
) -> Generator[tuple[AudioFile, Future[BinaryIO] | None], None, None]:
    """Files in their order; small ones on servers are fetched ahead, some at once.

    What makes these slow is the time until an answer comes. Closing the generator closes the
    copies that nobody took.
    """
    waiting: deque[tuple[AudioFile, Future[BinaryIO]]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            for file in files:
                if 0 < file.size <= _SMALL and is_remote(file.uri):
                    waiting.append((file, pool.submit(_fetched, file)))
                    if len(waiting) >= _AT_ONCE:
                        yield waiting.popleft()
                    continue
                while waiting:
                    yield waiting.popleft()
                yield file, None
            while waiting:
                yield waiting.popleft()
        finally:
            for _, copy in waiting:
                if not copy.cancel():
                    with suppress(Exception):
                        copy.result().close()


def fetched(uri: str, size: int = 0) -> BinaryIO:
    """A copy of what is not a file on disk, without a name; to be closed.

    Parameters
    ----------
    uri : str
    size : int
        Bytes, as far as is known.

    Raises
    ------
    OSError
        It is not there, cannot be reached, or ends early; or there is no room for it.
    AudioError
        It is encrypted or damaged in its archive; or no such URL can be.
    MissingExtra
    """
    if split(uri) is not None:
        return members.fetch(uri)
    if 0 < size <= _SMALL:
        return copied(io.BytesIO(remote.whole(uri)).read, size)
    with remote.told(uri), remote.reader(uri) as stream:
        return copied(stream.read, size)


def found(target: str) -> list[str]:
    """The URLs that a URL or pattern of URLs stands for; raises AudioError if there are none."""
    try:
        if (parts := split(target)) is not None:
            matches = _in_archive(target, *parts)
        else:
            matches = _on_server(target)
    except OSError as error:
        raise AudioError(plain(target), error.strerror or str(error)) from error
    if not matches:
        raise AudioError(plain(target), "as a pattern it matches nothing")
    return matches


def _on_server(target: str) -> list[str]:
    try:
        remote.info(target)
    except remote.Gone:
        if not remote.is_pattern(target):
            raise
        return remote.matching(target)
    return [target]  # what is there is never read as a pattern


def _in_archive(target: str, kind: str, member: str, archive: str) -> list[str]:
    names = members.names(kind, archive)
    if not member or member in names or any(name.startswith(_folder(member)) for name in names):
        return [target]
    try:
        fits = re.compile(expression(member), re.DOTALL)
    except re.error as error:
        raise AudioError(plain(target), f"is no pattern ({error})") from error
    return [f"{kind}://{name}::{archive}" for name in names if fits.fullmatch(name)]


def _folder(member: str) -> str:
    return f"{member.rstrip('/')}/"


def walk(target: str, wanted: Callable[[str], bool], skipped: Counter[str]) -> Iterator[AudioFile]:
    """The files at a URL or in an archive: one, or those below that are `wanted` by their names.

    What cannot be listed comes as a file of unknown state, so that reading it tells why.

    Parameters
    ----------
    target : str
        A URL, a member or folder of an archive, or the path or URL of an archive.
    wanted : callable
    skipped : Counter
        Counts what was skipped, as in `soundsearch_ingest.discover.discover`.
    """
    if (kind := archive_kind(target)) is not None:
        target = f"{kind}://::{target}"
    try:
        if (parts := split(target)) is not None:
            yield from _members(*parts, wanted, skipped)
            return
        known = remote.info(target)
        if not remote.is_folder(target, known):
            yield remote.state(target, known)
            return
    except (AudioError, OSError):
        yield _unknown(target)
        return
    yield from ahead(_stated, _listed(target, wanted, skipped), _is_untold)


def _unknown(uri: str) -> AudioFile:
    shown = plain(uri)
    return AudioFile(shown, 0, 0, access="" if shown == uri else uri)


def _members(
    kind: str, member: str, archive: str, wanted: Callable[[str], bool], skipped: Counter[str]
) -> Iterator[AudioFile]:
    names = members.names(kind, archive)
    inside = [member] if member in names else names
    folder = _folder(member) if member else ""
    for name in inside:
        uri = f"{kind}://{name}::{archive}"
        if inside is names:
            if not name.startswith(folder):
                continue
            parts = name[len(folder) :].split("/")
            if any(part.startswith(".") and part != "." for part in parts):
                skipped["hidden"] += 1
                continue
            if split(uri) != (kind, name, archive) or not wanted(plain(uri)):
                skipped["not audio"] += 1
                continue
        yield members.state(uri)


def _listed(
    top: str, wanted: Callable[[str], bool], skipped: Counter[str]
) -> Iterator[tuple[str, remote.Info]]:
    """The wanted files below a folder on a server, and what its list says of each."""
    waiting = [(top, 0)]
    while waiting:
        url, depth = waiting.pop()
        try:
            entries = remote.listing(url)
        except OSError:
            if url == top:
                yield url, {}
            skipped["unreadable folder"] += 1
            continue
        folders = []
        for each, known in entries:
            name = each.rstrip("/").rpartition("/")[2]
            if name.startswith("."):
                skipped["hidden"] += 1
            elif remote.is_folder(each, known):
                folders.append((each, depth + 1))
            elif wanted(plain(each)):
                yield each, known
            else:
                skipped["not audio"] += 1
        if depth == _DEEPEST and folders:
            skipped["unreadable folder"] += len(folders)
            folders = []
        waiting.extend(reversed(folders))


def _is_untold(entry: tuple[str, remote.Info]) -> bool:
    return entry[1].get("size") is None


def _stated(entry: tuple[str, remote.Info]) -> AudioFile:
    """The state of a file that a folder lists; asked for where the list does not tell."""
    url, known = entry
    return stated(url) if _is_untold(entry) else remote.state(url, known)


def stated(uri: str) -> AudioFile:
    """The state of a file now, or where that cannot be known one of unknown state."""
    try:
        return stat(uri)
    except (AudioError, OSError, ValueError):
        return _unknown(uri)


def ahead(
    function: Callable[[_Item], _Value], items: Iterable[_Item], is_slow: Callable[[_Item], bool]
) -> Iterator[_Value]:
    """Map items in their order; several that are slow are under way at once."""
    waiting: deque[Future[_Value]] = deque()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for item in items:
            if is_slow(item):
                waiting.append(pool.submit(function, item))
                if len(waiting) >= _AT_ONCE:
                    yield waiting.popleft().result()
                continue
            while waiting:
                yield waiting.popleft().result()
            yield function(item)
        while waiting:
            yield waiting.popleft().result()


def is_gone(uri: str, listings: dict[str, frozenset[str] | None]) -> bool:
    """Whether the file or folder at a URL is certainly gone.

    Its folder must be listed, and not contain it. A web server's folders need not list what they
    hold: there a file is gone where the server says so.

    Parameters
    ----------
    uri : str
    listings : dict
        Keeps what was learnt of folders; None for one that cannot be known.
    """
    folder, _, name = uri.rstrip("/").rpartition("/")
    if not name or folder.endswith("/") or "://" not in folder:
        return False
    if uri.lower().startswith(("http://", "https://")):
        return listings.get(folder, frozenset()) is not None and _is_denied(uri, folder, listings)
    if folder not in listings:
        listings[folder] = _names_in(folder, listings)
    listed = listings[folder]
    return listed is not None and uri.rstrip("/") not in listed


def _is_denied(uri: str, folder: str, listings: dict[str, frozenset[str] | None]) -> bool:
    try:
        remote.info(uri)
    except remote.Gone:
        return True
    except (OSError, SoundsearchError):
        listings[folder] = None  # nor need it be asked for the others, each in vain
    return False


def _names_in(folder: str, listings: dict[str, frozenset[str] | None]) -> frozenset[str] | None:
    """The URLs in a folder: none if it is gone, None if that cannot be known."""
    try:
        return frozenset(url.rstrip("/") for url, _ in remote.listing(folder))
    except remote.Gone:
        return frozenset() if is_gone(folder, listings) else None
    except (OSError, SoundsearchError):
        return None
