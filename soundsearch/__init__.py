"""Audio similarity search: point it at folders of sound, ask with a sound.

>>> import soundsearch
>>> lib = soundsearch.open("sounds.lib")  # doctest: +SKIP
>>> lib.ingest(["~/Sounds"])  # doctest: +SKIP
>>> for hit in lib.query("clip.wav", k=10):  # doctest: +SKIP
...     print(hit.score, hit.uri, hit.start, hit.end, hit.labels)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import (
    ArgumentError,
    AudioError,
    ClipNotFound,
    ClusterError,
    EncoderError,
    LibraryBusy,
    LibraryDamaged,
    LibraryError,
    LibraryNotFound,
    LibraryVersion,
    MissingExtra,
    SoundsearchError,
    SpaceMismatch,
)

if TYPE_CHECKING:
    from .asking.labelled import Labelled
    from .asking.questions import Embeddings, Examples, Sound, Stored
    from .asking.words import Words
    from .captions.records import Caption, Description, Scene, Sentence, Share
    from .clips import Clips
    from .correcting import Correction
    from .describing import describe
    from .duplicates.found import DuplicateGroup, DuplicatePair, Duplicates
    from .hearing import embed, label
    from .labels.head import Head
    from .labels.moments import Began, Ended
    from .labels.timeline import Event, Timeline
    from .learn.teaching import Teaching
    from .learn.training import Training, train
    from .library import Library
    from .library import Library as open  # noqa: N813
    from .listening import listen
    from .mapping.maps import Map
    from .neighbours import Neighbours
    from .results import (
        Answer,
        Clip,
        CopyReport,
        Failure,
        Finding,
        Hit,
        IngestReport,
        Label,
        LabelledClip,
        Meaning,
        Segment,
        TagReport,
    )
    from .stores.records import Key
    from .timelines import events
    from .watching import Matched

__all__ = [
    "Answer",
    "ArgumentError",
    "AudioError",
    "Began",
    "Caption",
    "Clip",
    "ClipNotFound",
    "Clips",
    "ClusterError",
    "CopyReport",
    "Correction",
    "Description",
    "DuplicateGroup",
    "DuplicatePair",
    "Duplicates",
    "Embeddings",
    "EncoderError",
    "Ended",
    "Event",
    "Examples",
    "Failure",
    "Finding",
    "Head",
    "Hit",
    "IngestReport",
    "Key",
    "Label",
    "Labelled",
    "LabelledClip",
    "Library",
    "LibraryBusy",
    "LibraryDamaged",
    "LibraryError",
    "LibraryNotFound",
    "LibraryVersion",
    "Map",
    "Matched",
    "Meaning",
    "MissingExtra",
    "Neighbours",
    "Scene",
    "Segment",
    "Sentence",
    "Share",
    "Sound",
    "SoundsearchError",
    "SpaceMismatch",
    "Stored",
    "TagReport",
    "Teaching",
    "Timeline",
    "Training",
    "Words",
    "__version__",
    "describe",
    "embed",
    "events",
    "label",
    "listen",
    "open",
    "train",
]

__version__ = "0.2.0.dev0"

# Loaded when first used: `soundsearch --help` needs none of it.
_LAZY = {
    "Clips": "clips",
    "Correction": "correcting",
    "Labelled": "asking.labelled",
    **dict.fromkeys(("DuplicateGroup", "DuplicatePair", "Duplicates"), "duplicates.found"),
    "Words": "asking.words",
    **dict.fromkeys(("Caption", "Description", "Scene", "Sentence", "Share"), "captions.records"),
    "describe": "describing",
    **dict.fromkeys(("embed", "label"), "hearing"),
    **dict.fromkeys(("Embeddings", "Examples", "Sound", "Stored"), "asking.questions"),
    **dict.fromkeys(("Event", "Timeline"), "labels.timeline"),
    "Head": "labels.head",
    "Key": "stores.records",
    **dict.fromkeys(("Library", "open"), "library"),
    **dict.fromkeys(("Began", "Ended"), "labels.moments"),
    "listen": "listening",
    "Matched": "watching",
    "Map": "mapping.maps",
    "Neighbours": "neighbours",
    "events": "timelines",
    "Teaching": "learn.teaching",
    **dict.fromkeys(("Training", "train"), "learn.training"),
    **dict.fromkeys(
        (
            "Answer",
            "Clip",
            "CopyReport",
            "Failure",
            "Finding",
            "Hit",
            "IngestReport",
            "Label",
            "LabelledClip",
            "Meaning",
            "Segment",
            "TagReport",
        ),
        "results",
    ),
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        module = import_module(f".{_LAZY[name]}", __name__)
        return getattr(module, "Library" if name == "open" else name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
