"""Audio similarity search: point it at folders of sound, ask with a sound.

>>> import soundsearch
>>> lib = soundsearch.open("sounds.lib")  # doctest: +SKIP
>>> lib.ingest(["~/Sounds"])  # doctest: +SKIP
>>> for hit in lib.query("clip.wav", k=10):  # doctest: +SKIP
...     print(hit.score, hit.uri, hit.start, hit.end, hit.labels)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import (
    AudioError,
    ClipNotFound,
    EncoderError,
    LibraryBusy,
    LibraryDamaged,
    LibraryError,
    LibraryNotFound,
    LibraryVersion,
    SoundsearchError,
    SpaceMismatch,
)
from .results import (
    Answer,
    Clip,
    Failure,
    Hit,
    IngestReport,
    Label,
    LabelledClip,
    Segment,
)

if TYPE_CHECKING:
    from .library import Library, label
    from .library import Library as open  # noqa: N813

__all__ = [
    "Answer",
    "AudioError",
    "Clip",
    "ClipNotFound",
    "EncoderError",
    "Failure",
    "Hit",
    "IngestReport",
    "Label",
    "LabelledClip",
    "Library",
    "LibraryBusy",
    "LibraryDamaged",
    "LibraryError",
    "LibraryNotFound",
    "LibraryVersion",
    "Segment",
    "SoundsearchError",
    "SpaceMismatch",
    "__version__",
    "label",
    "open",
]

__version__ = "0.1.0"

# Loaded when first used: they need NumPy, and `soundsearch --help` does not.
_LAZY = {"Library": "Library", "label": "label", "open": "Library"}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        from . import library

        return getattr(library, _LAZY[name])
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
