"""Names of files that every system takes, whatever a clip is called."""

from __future__ import annotations

import os
import re
import unicodedata

__all__ = ["FileNames"]

# What Windows, which is the strictest, does not take in names, and what it keeps for itself.
_BAD = re.compile(r'[<>:"/\\|?*]')
_DEVICES = re.compile(
    r"(?:con(?:(?:in|out)\$)?|prn|aux|nul|(?:com|lpt)[0-9\u00b9\u00b2\u00b3])(?:\.|$)", re.I
)
# Characters that are not seen, or turn the text around them: controls, formats, lone surrogates,
# what nobody has assigned, separators of lines.
_UNSEEN = ("Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp")
# Bytes of a name, with room for a number; file systems take 255.
_LONGEST = 180


class FileNames:
    """Gives each file of a folder a name of its own.

    Parameters
    ----------
    *taken : str
        Names that are not given.
    """

    def __init__(self, *taken: str) -> None:
        self._taken = {_key(name) for name in taken}
        self._numbers: dict[str, int] = {}

    def new(self, wanted: str) -> str:
        """A name like `wanted` that no other file has, on systems that ignore case, too."""
        name = _safe(wanted)
        key = _key(name)
        stem, suffix = os.path.splitext(name)
        while _key(name) in self._taken:
            number = self._numbers[key] = self._numbers.get(key, 1) + 1
            name = f"{stem} ({number}){suffix}"
        self._taken.add(_key(name))
        return name


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name.casefold())


def _safe(wanted: str) -> str:
    text = unicodedata.normalize("NFC", wanted)
    text = "".join("_" if unicodedata.category(each) in _UNSEEN else each for each in text)
    stem, suffix = os.path.splitext(_BAD.sub("_", text).strip(" ."))
    if len(suffix) > 12:
        stem, suffix = stem + suffix, ""
    room = _LONGEST - len(suffix.encode())
    stem = stem.encode()[:room].decode(errors="ignore").rstrip(" .") or "sound"
    name = stem + suffix
    return f"_{name}" if _DEVICES.match(name) else name
