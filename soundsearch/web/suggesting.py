"""What may be asked: labels and clips for what is being typed, and examples from the library."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from functools import cache
from typing import Any

from ..asking.words import Words
from ..clips import Clips
from ..labels.head import SILENCE
from ..labels.kept import vocabulary_of
from ..labels.ontology import ontology
from ..library import Library
from ..selection import shown
from ..stores.base import Reading
from ..stores.filters import And, Comparison, Filter, Or, Plain
from ..stores.records import NO_LABEL, StoredClip
from .service import Call
from .surveying import blocks_of

__all__ = ["complete", "examples"]

# Clips that are looked at for the names that fit best.
_LOOKED_AT = 200
# One letter of ASCII is in the names of most clips, and each piece is looked for in all names.
_PIECES = 16
# Between words, and what no pattern of a filter can hold.
_BETWEEN = re.compile(r"[\s%_*?\\]+")
# Asked before anybody asks in words: what reads them takes seconds to load.
_FIRST = "something like rain"
# How surely an example is heard, and how many there are.
_SURE = 0.5
_LABELS, _CLIPS = 8, 4


async def complete(call: Call) -> dict[str, Any]:
    """Labels and clips for what is being typed."""
    typed, count = call.values["text"], call.values["k"]
    call.service.once("words", lambda library: library.query(Words(_FIRST), 1))

    def find(library: Library) -> dict[str, Any]:
        labels = [_label(name) for name in library.complete(typed, count)]
        return {"labels": labels, "clips": _clips_called(library, typed.strip(), count)}

    return await call.question(find)


def _label(name: str) -> dict[str, Any]:
    """A node of the ontology, or a class of the head's own."""
    mid = _mids().get(name, "")
    return {"name": name, "mid": mid, "path": list(ontology().path(mid)) if mid else [name]}


@cache
def _mids() -> dict[str, str]:
    return {node.name: mid for mid, node in ontology().nodes.items()}


def _clips_called(library: Clips, typed: str, count: int) -> list[dict[str, Any]]:
    """The clip that is called so, or clips with such names, those first that begin so."""

    def find(reading: Reading) -> list[StoredClip]:
        exact = reading.clip_at(typed)
        if exact is not None:
            return [exact]
        pieces = [*dict.fromkeys(filter(None, _BETWEEN.split(typed)))][:_PIECES]
        if max((len(piece.encode()) for piece in pieces), default=0) < 2:
            return []
        ids = reading.ids(_with_all(pieces))[:_LOOKED_AT].tolist()
        found = list(reading.clips_by_id(ids).values())
        found.sort(key=lambda clip: (_place(clip.uri, pieces), clip.uri))
        return found[:count]

    return [
        {"id": clip.id, "uri": clip.uri, "duration": round(clip.record.duration, 3)}
        for clip in library._read(find)
    ]


def _with_all(pieces: list[str]) -> Filter:
    """Lets clips through whose uri has all pieces, in small letters, capital ones or as typed."""
    return And(
        tuple(
            Or(tuple(Comparison(Plain("uri"), "like", f"%{form}%") for form in _forms(piece)))
            for piece in pieces
        )
    )


def _forms(piece: str) -> list[str]:
    """A piece as `like` may find it, which tells small letters from capital ones.

    And letters with accents from such that are followed by them, as in names of files of Macs.
    `Named` does not, but reads the tags of every clip, too: this is asked at each letter typed.
    """
    forms = (piece, piece.lower(), piece.capitalize(), piece.title(), piece.upper())
    both = [*forms, *(unicodedata.normalize(how, form) for how in ("NFC", "NFD") for form in forms)]
    return [form.replace("%", "_") for form in dict.fromkeys(both)]


def _place(uri: str, pieces: list[str]) -> tuple[int, int]:
    """How many pieces the name of a clip's file lacks, and whether it begins with the first."""
    name, *wanted = (_folded(text) for text in (uri.rpartition("/")[2], *pieces))
    return sum(piece not in name for piece in wanted), not name.startswith(wanted[0])


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text.casefold())


async def examples(call: Call) -> dict[str, Any]:
    """The most frequent of what is heard surely, and clips of these."""
    found: dict[str, Any] = await call.service.summary(("examples",), _examples)
    return found


def _examples(library: Library) -> dict[str, Any]:
    vocabulary = vocabulary_of(library._session.store)
    counts: Counter[int] = Counter()
    best: dict[int, tuple[float, StoredClip]] = {}
    for block in blocks_of(library):
        for clip in block:
            index, score = _heard_best(clip)
            if score >= _SURE and index < len(vocabulary):
                counts[index] += 1
                if index not in best or best[index][0] < score:
                    best[index] = score, clip
    frequent = counts.most_common(_LABELS)
    names = vocabulary.names
    labels = [_label(names[index]) | {"clips": count} for index, count in frequent]
    clips = [best[index][1] for index, _ in frequent[:_CLIPS]]
    return {"labels": labels, "clips": [shown(clip, vocabulary).to_dict() for clip in clips]}


def _heard_best(clip: StoredClip) -> tuple[int, float]:
    """The class that is heard most surely in a clip, or that people gave it; and how surely."""
    if clip.record.human_labels:
        return clip.record.human_labels[0], 1.0
    silence = ontology().nodes[SILENCE].class_index
    known = [each for each in clip.record.labels.tolist() if each[0] not in (NO_LABEL, silence)]
    index, score = max(known, key=lambda each: each[1], default=(NO_LABEL, 0.0))
    return int(index), float(score)
