"""Encoders that were put on this machine: a folder each, whole or not there."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import EncoderError

__all__ = ["ENCODER", "HEAD", "PCA", "install", "installed", "models_folder", "origin", "verify"]

ENCODER, HEAD, PCA, _ORIGIN = "encoder.onnx", "head.npz", "pca.npz", "origin.json"


def models_folder() -> Path:
    """Where encoders are installed: ``SOUNDSEARCH_MODELS``, else the user's cache."""
    if folder := os.environ.get("SOUNDSEARCH_MODELS"):
        return Path(folder)
    from platformdirs import user_cache_path

    return user_cache_path("soundsearch", appauthor=False) / "models"


def installed(name: str) -> Path | None:
    """The folder of an encoder, None when it is not installed."""
    folder = models_folder() / name
    return folder if (folder / _ORIGIN).exists() else None


def install(name: str, write: Callable[[Path], None], facts: dict[str, Any]) -> Path:
    """Put an encoder in its place, instead of one that is there.

    Parameters
    ----------
    name : str
    write : callable
        Writes the files into the folder it is given. When it raises, nothing stays.
    facts : dict
        Kept beside them with their checksums, as JSON: where they are from.

    Returns
    -------
    Path
        The encoder's folder.

    Raises
    ------
    EncoderError
        The folder cannot be written to.
    """
    folder = models_folder() / name
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
        try:
            write(temporary)
            checksums = {path.name: _checksum(path) for path in sorted(temporary.iterdir())}
            text = json.dumps({**facts, "blake3": checksums}, indent=1)
            (temporary / _ORIGIN).write_text(text, "utf-8")
            temporary.chmod(0o755)
            if folder.exists():
                old = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=folder.parent))
                os.replace(folder, old)
                os.replace(temporary, folder)
                shutil.rmtree(old)
            else:
                os.replace(temporary, folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise EncoderError(f"{folder}: cannot be written to ({error})") from error
    return folder


def origin(folder: Path) -> dict[str, Any]:
    """What `install` kept of the encoder in a folder; nothing of one that it did not install."""
    if not (folder / _ORIGIN).exists():
        return {}
    try:
        facts: dict[str, Any] = json.loads((folder / _ORIGIN).read_text("utf-8"))
        checksums = facts.get("blake3", {})
        if not all(isinstance(entry, str) for pair in checksums.items() for entry in pair):
            raise ValueError("expected checksums by file names")
        return facts
    except (AttributeError, OSError, ValueError) as error:  # no JSON, or no object
        raise EncoderError(
            f"{folder}: is damaged ({error}); install {folder.name} again"
        ) from error


def verify(folder: Path) -> None:
    """Compare an installed encoder's files with their checksums, some gigabytes a second.

    Raises
    ------
    EncoderError
        One is missing or has changed.
    """
    for file, expected in origin(folder).get("blake3", {}).items():
        path = folder / file
        if not path.exists() or _checksum(path) != expected:
            raise EncoderError(f"{path}: is missing or has changed; install {folder.name} again")


def _checksum(path: Path) -> str:
    import blake3

    return blake3.blake3().update_mmap(path).hexdigest()
