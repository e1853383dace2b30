"""Take sound files out of the containers that games keep them in."""

from __future__ import annotations

import io
import struct
import tarfile
import wave
import zipfile
from collections.abc import Iterator

AUDIO = {
    ".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".aif", ".aiff", ".au", ".wv", ".g722",
    ".gsm", ".m4a", ".xm", ".mod", ".it", ".s3m", ".mid", ".midi", ".voc", ".spx",
}  # fmt: skip
ZIPS = {".zip", ".pk3", ".pk4", ".wz", ".love", ".jar", ".ftw", ".kvtml"}
CARVED = {".rcc", ".cat", ".pak", ".dat", ".bin", ".grp", ".dta", ".data"}
MAX_CONTAINER = 4_000_000_000


def suffix(name: str) -> str:
    """Return the lower-case suffix of a file name, with its dot."""
    base = name.rsplit("/", 1)[-1].lower()
    return "." + base.rsplit(".", 1)[1] if "." in base else ""


def carve_ogg(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the Ogg streams that lie in `data`, following their pages."""
    at = data.find(b"OggS")
    number = 0
    while at >= 0:
        if at + 27 > len(data) or not data[at + 5] & 2:
            at = data.find(b"OggS", at + 4)
            continue
        end, last = at, False
        while data[end : end + 4] == b"OggS" and not last:
            last = bool(data[end + 5] & 4)
            segments = data[end + 26]
            end += 27 + segments + sum(data[end + 27 : end + 27 + segments])
        yield f"carved{number:05d}.ogg", data[at:end]
        number += 1
        at = data.find(b"OggS", max(end, at + 4))


def carve_riff(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the RIFF WAVE files that lie in `data`."""
    at = data.find(b"RIFF")
    number = 0
    while at >= 0:
        size = struct.unpack_from("<I", data, at + 4)[0] + 8 if at + 12 <= len(data) else 0
        if data[at + 8 : at + 12] == b"WAVE" and 44 < size <= len(data) - at:
            yield f"carved{number:05d}.wav", data[at : at + size]
            number += 1
            at += size - 4
        at = data.find(b"RIFF", at + 4)


def wad_lumps(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the DMX effects (as WAV) and MIDI songs of a Doom WAD."""
    _, count, table = struct.unpack_from("<4sII", data, 0)
    for i in range(count):
        at, size, raw = struct.unpack_from("<II8s", data, table + 16 * i)
        name = raw.rstrip(b"\0").decode("ascii", "replace").lower()
        lump = data[at : at + size]
        if name.startswith("ds") and len(lump) > 8 and lump[:2] == b"\3\0":
            rate, samples = struct.unpack_from("<HI", lump, 2)
            out = io.BytesIO()
            with wave.open(out, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(1)
                file.setframerate(rate)
                file.writeframes(lump[24 : 8 + samples - 16])
            yield name + ".wav", out.getvalue()
        elif lump[:4] == b"MThd":
            yield name + ".mid", lump


def sounds(name: str, data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield every sound in one file of a package, itself or what it contains.

    Parameters
    ----------
    name : str
        The file's path in the package.
    data : bytes
        Its content.

    Yields
    ------
    tuple of str and bytes
        A relative name with an audio suffix, and the sound file's bytes.
    """
    kind = suffix(name)
    if kind in AUDIO:
        yield name, data
        return
    try:
        if kind in ZIPS or data[:4] == b"PK\3\4":
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                for item in archive.namelist():
                    if suffix(item) in AUDIO:
                        yield f"{name}/{item}", archive.read(item)
        elif kind == ".h2drumkit":
            with tarfile.open(fileobj=io.BytesIO(data)) as kit:
                for member in kit:
                    file = kit.extractfile(member) if suffix(member.name) in AUDIO else None
                    if file:
                        yield f"{name}/{member.name}", file.read()
        elif kind == ".wad":
            for item, sound in wad_lumps(data):
                yield f"{name}/{item}", sound
        elif kind in CARVED:
            for carve in (carve_ogg, carve_riff):
                for item, sound in carve(data):
                    yield f"{name}/{item}", sound
    except (zipfile.BadZipFile, tarfile.TarError, struct.error, RuntimeError, ValueError):
        return
