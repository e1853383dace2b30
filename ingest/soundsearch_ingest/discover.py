"""Finding the audio files to ingest in folders, globs, files, URLs and archives.

Known ones are not opened.
"""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from . import members, sources
from .errors import AudioError, SoundsearchError
from .files import AudioFile, file_state, stat_file
from .urls import absolute, archive_kind, is_url, split, suffix

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

# AudioSet features: many clips in a file, already embedded.
RECORDS_SUFFIX = ".tfrecord"
_SUFFIXES = AUDIO_SUFFIXES | {RECORDS_SUFFIX}

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


class Absence:
    """Distinguishes files that are gone from files that cannot be reached.

    A file is gone if its folder can be listed and does not contain it, or if its folder is gone
    in the same way; a member, if its archive can be read and does not contain it, or is gone. An
    unreadable folder (failing disk, no permission, unreachable server, no credentials) proves
    nothing. Listings are cached: use one instance per run.
    """

    def __init__(self) -> None:
        self._listings: dict[str, frozenset[str] | None] = {}
        self._archives: dict[str, bool] = {}

    def is_certain(self, path: str) -> bool:
        """Return whether what has this absolute path or URL is certainly gone."""
        if (parts := split(path)) is not None:
            return self._is_gone_in_archive(*parts)
        if is_url(path):
            return sources.is_gone(path, self._listings)
        folder, name = os.path.split(path)
        if not name or not os.path.isabs(path) or os.path.lexists(path):
            return False
        if folder not in self._listings:
            self._listings[folder] = self._listing(folder)
        listing = self._listings[folder]
        return listing is not None and name not in listing

    def _is_gone_in_archive(self, kind: str, member: str, archive: str) -> bool:
        if archive not in self._archives:
            try:
                return not members.holds(kind, archive, member)
            except (OSError, SoundsearchError):
                self._archives[archive] = self.is_certain(archive)
        return self._archives[archive]

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
    """Return the absolute paths of existing files and folders, and URLs, with globs expanded.

    Raises
    ------
    AudioError
        A target is not a file or folder, and as a glob it matches nothing.
    MissingExtra
        A URL needs a package that is not installed.
    """
    found: dict[str, None] = {}
    for target in targets:
        # An existing path is never treated as a pattern: names may contain brackets.
        text = os.path.expanduser(os.fspath(target))
        if is_url(text):
            text = absolute(text)
            if is_url(text):
                found.update(dict.fromkeys(sources.found(text)))
                continue
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
    is_known: Callable[[str], bool] = lambda _path: False,
) -> Iterator[AudioFile]:
    """Walk files and folders in a stable order, following links, each folder once.

    A file among `roots` is always included; of an archive, what it holds. A file in a folder is
    included if it has an audio or video suffix, if it `is_known`, or if its first bytes are those
    of an audio file; in a folder on a server, or an archive, these are not read.

    Parameters
    ----------
    roots : iterable of str
        Absolute paths and URLs; see `expand`.
    skipped : Counter, optional
        Counts what was skipped: ``hidden``, ``not audio``, ``broken link``,
        ``unreadable folder``.
    is_known : callable
        Whether a path is already in the library, so that the file need not be opened.

    Yields
    ------
    AudioFile
        No path twice, even if roots overlap or links loop. A URL or archive that cannot be listed
        comes as a file of unknown state, so that reading it tells why.
    """
    skipped = Counter() if skipped is None else skipped
    here: list[str] = []
    elsewhere: list[str] = []
    for root in roots:
        (elsewhere if is_url(root) or _is_archive(root) else here).append(root)
    roots = here
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
            yield from _walk(top, yielded, seen_folders, skipped, is_known)

    def wanted(uri: str) -> bool:
        return suffix(uri) in _SUFFIXES or is_known(uri)

    seen: set[int] = set()  # what lies below several roots; one root has nothing twice
    for root in elsewhere:
        for file in sources.walk(root, wanted, skipped):
            if len(elsewhere) > 1:
                if hash(file.uri) in seen:
                    continue
                seen.add(hash(file.uri))
            yield file


def _is_archive(path: str) -> bool:
    return archive_kind(path) is not None and os.path.isfile(path)


def _walk(
    top: str,
    yielded: set[str],
    seen_folders: set[tuple[int, int]],
    skipped: Counter[str],
    is_known: Callable[[str], bool],
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
        for entry in entries:
            if entry.path in yielded:
                continue
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
            if entry.is_file() and (is_known(entry.path) or _looks_like_audio(entry.path)):
                yield file_state(entry.path, status)
            else:
                skipped["not audio"] += 1
        waiting.extend(reversed(folders))


def _looks_like_audio(path: str) -> bool:
    if suffix(path) in _SUFFIXES:
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(16)
    except OSError:
        return False
    return any(head[offset : offset + len(magic)] == magic for offset, magic in _MAGIC)
