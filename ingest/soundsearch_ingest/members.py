"""Members of zip and tar archives, on this disk or not.

The last few archives stay open, since finding a member means reading the list of all. A compressed
tar archive is unpacked once, to a file without a name, where members can be found.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import threading
import time
import weakref
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, BinaryIO
from zlib import error as zlib_error

from . import remote
from .copies import copied
from .errors import AudioError
from .files import AudioFile, stat_file
from .urls import is_url, plain, split

__all__ = ["fetch", "holds", "names", "state"]

_KEPT_OPEN = 4
# Seconds for which an archive on a server is taken to be as it was.
_TRUSTED = 10.0
_UNPACKERS: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}
_DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib_error,
    lzma.LZMAError,
    gzip.BadGzipFile,
    EOFError,
    KeyError,
    NotImplementedError,
    RuntimeError,
    UnicodeDecodeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class _Entry:
    size: int
    mtime_ns: int
    member: zipfile.ZipInfo | tarfile.TarInfo


class _Archive:
    """An open archive; `lock` guards its one place in the file."""

    def __init__(self, kind: str, path: str, seen: AudioFile) -> None:
        self.seen = seen
        self.asked = time.monotonic()
        self.lock = threading.Lock()
        self.entries: dict[str, _Entry] = {}
        file = _reader(path)
        try:
            if kind == "zip":
                self._archive: Any = zipfile.ZipFile(file)
                for member in self._archive.infolist():
                    if not member.is_dir():
                        self.entries[member.filename] = _zip_entry(member)
            else:
                file = _unpacked(file)
                self._archive = tarfile.TarFile(fileobj=file)
                for member in self._archive:
                    self._add(member)
        except BaseException:
            file.close()
            raise
        # Others may still read what is not kept any longer.
        weakref.finalize(self, file.close)

    def _add(self, member: tarfile.TarInfo) -> None:
        same = self.entries.get(member.linkname) if member.islnk() else None
        if member.isfile() or same is not None:
            size = member.size if same is None else same.size
            self.entries[member.name] = _Entry(size, 1_000_000_000 * int(member.mtime), member)

    def open(self, entry: _Entry) -> Any:
        if isinstance(entry.member, zipfile.ZipInfo):
            return self._archive.open(entry.member)
        return self._archive.extractfile(entry.member)


def _reader(path: str) -> BinaryIO:
    if not is_url(path):
        return open(path, "rb")
    if (file := remote.parts_reader(path)) is not None:
        return file
    with remote.reader(path) as stream:
        return copied(stream.read, 0, limit=None)


def _zip_entry(member: zipfile.ZipInfo) -> _Entry:
    try:
        # Zip knows no time zones, and no odd seconds; the checksum tells more.
        seconds = int(datetime(*member.date_time, tzinfo=timezone.utc).timestamp())
    except ValueError:
        seconds = 0
    mark = member.CRC % 1_000_000_000
    return _Entry(member.file_size, 1_000_000_000 * seconds + mark, member)


def _unpacked(file: BinaryIO) -> BinaryIO:
    head = file.read(8)
    file.seek(0)
    unpack = next((way for magic, way in _UNPACKERS.items() if head.startswith(magic)), None)
    if unpack is None:
        return file
    with file, unpack(file) as stream:
        return copied(stream.read, 0, limit=None)


_kept: OrderedDict[tuple[str, str], _Archive] = OrderedDict()
_keeping = threading.Lock()


@contextmanager
def _faults(uri: str, archive: str, what: str) -> Iterator[None]:
    """Tell damage, which lasts, from what a server does, which passes."""
    with remote.told(archive) if is_url(archive) else nullcontext():
        try:
            yield
        except AudioError:
            raise
        except _DAMAGE as error:
            if is_url(archive):
                raise
            raise AudioError(uri, f"{what} ({error or type(error).__name__})") from error


def _opened(kind: str, path: str) -> _Archive:
    """The archive at a path or URL, as it is now."""
    key = kind, path
    with _keeping:
        found = _kept.pop(key, None)
        if found is None or not _is_current(found, path):
            name = f"{kind}://::{plain(path)}"
            with _faults(name, path, f"cannot be opened as a {kind} archive"):
                found = _Archive(kind, path, _state_of(path))
        _kept[key] = found
        while len(_kept) > _KEPT_OPEN:
            _kept.popitem(last=False)
        return found


def _is_current(archive: _Archive, path: str) -> bool:
    if is_url(path) and time.monotonic() - archive.asked < _TRUSTED:
        return True
    if _state_of(path) != archive.seen:
        return False
    archive.asked = time.monotonic()
    return True


def _state_of(path: str) -> AudioFile:
    return remote.state(path, remote.info(path)) if is_url(path) else stat_file(path)


def names(kind: str, archive: str) -> list[str]:
    """The names of an archive's files, in its order; raises OSError or AudioError."""
    return list(_opened(kind, archive).entries)


def holds(kind: str, archive: str, member: str) -> bool:
    """Whether an archive has a file of this name; raises OSError or AudioError."""
    return member in _opened(kind, archive).entries


def state(uri: str) -> AudioFile:
    """The state of a member; raises OSError or AudioError."""
    kind, member, archive = _parts(uri)
    entry = _opened(kind, archive).entries.get(member)
    if entry is None:
        raise FileNotFoundError(f"is not in the archive {plain(archive)}")
    shown = plain(uri)
    return AudioFile(shown, entry.size, entry.mtime_ns, access="" if shown == uri else uri)


def fetch(uri: str) -> BinaryIO:
    """A copy of a member, in a file without a name; raises OSError or AudioError."""
    kind, member, path = _parts(uri)
    archive = _opened(kind, path)
    entry = archive.entries.get(member)
    if entry is None:
        raise FileNotFoundError(f"is not in the archive {plain(path)}")
    if isinstance(entry.member, zipfile.ZipInfo) and entry.member.flag_bits & 1:
        raise AudioError(plain(uri), "is encrypted; unpack its archive, and ingest the folder")
    with _faults(plain(uri), path, "is damaged in its archive"):
        with archive.lock:
            stream = archive.open(entry)

        def read(size: int) -> bytes:
            with archive.lock:
                block: bytes = stream.read(size)
                return block

        try:
            return copied(read, entry.size)
        finally:
            with archive.lock:
                stream.close()


def _parts(uri: str) -> tuple[str, str, str]:
    parts = split(uri)
    assert parts is not None
    return parts
