"""Finding the audio files to ingest in folders, globs and files."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from .errors import AudioError

__all__ = [
    "AUDIO_SUFFIXES",
    "RECORDS_SUFFIX",
    "Absence",
    "AudioFile",
    "discover",
    "expand",
    "stat_file",
]

AUDIO_SUFFIXES = frozenset(
    ".wav .wave .w64 .rf64 .bwf .aif .aiff .aifc .au .snd .caf .flac .ogg .oga .opus .spx .mp1"
    " .mp2 .mp3 .mpga .m4a .m4b .aac .adts .alac .ac3 .eac3 .wma .asf .amr .awb .3gp .3g2 .ape"
    " .tta .wv .mpc .mka .mkv .webm .mp4 .m4v .mov .avi .flv .wmv .mpg .mpeg .ts .m2ts .ogv .voc"
    " .sph".split()
)

_LATEST = (1 << 63) - 1
# How many entries of a folder are looked at together.
_TOGETHER = 1024

# AudioSet features: many clips in a file, already embedded.
RECORDS_SUFFIX = ".tfrecord"

# Signatures (offset, bytes) by which files with other names are recognised as audio.
_MAGIC = (
    (0, b"fLaC"),
    (0, b"OggS"),
    (0, b"ID3"),
    (0, b"\xff\xfb"),
    (0, b"FORM"),
    (0, b"RF64"),
    (0, b"caff"),
    (0, b".snd"),
    (0, b"#!AMR"),
    (0, b"wvpk"),
    (0, b"\x1aE\xdf\xa3"),
    (0, b"0&\xb2u\x8ef\xcf\x11"),
    (8, b"WAVE"),
    (8, b"AVI "),
    (4, b"ftypM4A"),
    (4, b"ftypisom"),
    (4, b"ftypmp4"),
    (4, b"ftypqt"),
)


@dataclass(frozen=True, slots=True)
class AudioFile:
    """The state of a file on disk.

    Attributes
    ----------
    uri : str
        Absolute path; bytes that are not UTF-8 are kept as surrogate escapes.
    size : int
        Bytes.
    mtime_ns : int
        Modification time, nanoseconds since 1970, in 64 bits.
    """

    uri: str
    size: int
    mtime_ns: int


def stat_file(path: str) -> AudioFile:
    """Return the current state of a file; raises OSError."""
    return _file(path, os.stat(path))


def _file(path: str, status: os.stat_result) -> AudioFile:
    # Clamp years beyond the range of 64-bit nanoseconds (1678 to 2262).
    return AudioFile(path, status.st_size, max(-_LATEST, min(status.st_mtime_ns, _LATEST)))


class Absence:
    """Distinguishes files that are gone from files that cannot be reached.

    A file is gone if its folder can be listed and does not contain it, or if its folder is gone
    in the same way. An unreadable folder (failing disk, no permission, unreachable server) proves
    nothing. Listings are cached: use one instance per run.
    """

    def __init__(self) -> None:
        self._listings: dict[str, frozenset[str] | None] = {}

    def is_certain(self, path: str) -> bool:
        """Return whether the file or folder at this absolute path is certainly gone."""
        folder, name = os.path.split(path)
        if not name or not os.path.isabs(path) or os.path.lexists(path):
            return False
        if folder not in self._listings:
            self._listings[folder] = self._listing(folder)
        listing = self._listings[folder]
        return listing is not None and name not in listing

    def _listing(self, folder: str) -> frozenset[str] | None:
        """The names in a folder: empty if it is gone, None if that cannot be known."""
        try:
            return frozenset(os.listdir(folder))
        except NotADirectoryError:
            return frozenset()
        except FileNotFoundError:
            return frozenset() if self.is_certain(folder) else None
        except OSError:
            return None


def expand(targets: Iterable[str | os.PathLike[str]]) -> list[str]:
    """Return the absolute paths of existing files and folders, with globs expanded.

    Raises
    ------
    AudioError
        A target is not a file or folder, and as a glob it matches nothing.
    """
    found: dict[str, None] = {}
    for target in targets:
        # An existing path is never treated as a pattern: names may contain brackets.
        text = os.path.expanduser(os.fspath(target))
        matches = [text] if os.path.lexists(text) else sorted(_matches(text))
        if not matches:
            raise AudioError(text, "is not a file or folder, and as a pattern it matches nothing")
        found.update(dict.fromkeys(os.path.abspath(match) for match in matches))
    return list(found)


def _matches(pattern: str) -> Iterable[str]:
    """Return the paths that a glob matches; ``**`` does not follow links, which may loop."""
    parts = Path(pattern).parts
    if "**" not in parts:
        return glob.glob(pattern)
    first = next(n for n, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:first])
    hidden = any(part.startswith(".") for part in parts[first:])
    return [
        str(path)
        for path in base.glob(os.path.join(*parts[first:]))
        if hidden or not any(part.startswith(".") for part in path.relative_to(base).parts)
    ]


def discover(
    roots: Iterable[str],
    skipped: Counter[str] | None = None,
    known: Callable[[list[str]], Container[str]] = lambda _paths: (),
) -> Iterator[AudioFile]:
    """Walk files and folders in a stable order, following links, each folder once.

    A file among `roots` is always included. A file in a folder is included if it has an audio or
    video suffix, if its first bytes are those of an audio file, or if it is `known`.

    Parameters
    ----------
    roots : iterable of str
        Absolute paths; see `expand`.
    skipped : Counter, optional
        Counts what was skipped: ``hidden``, ``not audio``, ``broken link``,
        ``unreadable folder``.
    known : callable
        Which of some paths, that do not look like audio files, are in the library all the same.

    Yields
    ------
    AudioFile
        No path twice, even if roots overlap or links loop.
    """
    skipped = Counter() if skipped is None else skipped
    roots = list(roots)
    named = [root for root in roots if not os.path.isdir(root)]
    for path in named:
        try:
            yield stat_file(path)
        except OSError:
            skipped["broken link"] += 1
    yielded = set(named)
    seen_folders: set[tuple[int, int]] = set()
    for top in roots:
        if os.path.isdir(top):
            yield from _walk(top, yielded, seen_folders, skipped, known)


def _walk(
    top: str,
    yielded: set[str],
    seen_folders: set[tuple[int, int]],
    skipped: Counter[str],
    known: Callable[[list[str]], Container[str]],
) -> Iterator[AudioFile]:
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            status = os.stat(folder)
            if (status.st_dev, status.st_ino) in seen_folders:
                continue
            seen_folders.add((status.st_dev, status.st_ino))
            with os.scandir(folder) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError:
            skipped["unreadable folder"] += 1
            continue
        folders: list[str] = []
        waiting_entries = (entry for entry in entries if entry.path not in yielded)
        while part := list(islice(waiting_entries, _TOGETHER)):
            yield from _files_among(part, folders, skipped, known)
        waiting.extend(reversed(folders))


def _files_among(
    entries: list[os.DirEntry[str]],
    folders: list[str],
    skipped: Counter[str],
    known: Callable[[list[str]], Container[str]],
) -> Iterator[AudioFile]:
    """The files among a folder's entries that are to be included; its folders are noted."""
    files: list[AudioFile] = []
    others: list[str] = []
    for entry in entries:
        if entry.name.startswith("."):
            skipped["hidden"] += 1
            continue
        try:
            if entry.is_dir():
                folders.append(entry.path)
                continue
            status = entry.stat()
        except OSError:
            skipped["broken link"] += 1
            continue
        if not entry.is_file():
            skipped["not audio"] += 1
            continue
        files.append(_file(entry.path, status))
        if not _looks_like_audio(entry.path):
            others.append(entry.path)
    left_out = set(others)
    if others:
        there = known(others)
        left_out = {path for path in others if path not in there}
    skipped["not audio"] += len(left_out)
    yield from (file for file in files if file.uri not in left_out)


def _looks_like_audio(path: str) -> bool:
    suffix = Path(path).suffix.lower()
    if suffix in AUDIO_SUFFIXES or suffix == RECORDS_SUFFIX:
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return any(head[offset : offset + len(magic)] == magic for offset, magic in _MAGIC)
