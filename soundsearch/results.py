"""What the library answers with: plain frozen records, each with a ``to_dict`` for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = [
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
]

Tags = dict[str, str | float | bool]


@dataclass(frozen=True, slots=True, repr=False)
class Label:
    """A class of the AudioSet ontology, or a head's own, with its score.

    Attributes
    ----------
    name, mid : str
        Display name and ontology id, e.g. ``Bark`` and ``/m/05tny_``; "" for an own class.
    score : float
        Probability in [0, 1], independent of the other labels' scores; those of a head with
        softmax sum to 1.
    path : tuple of str
        Names from a root of the ontology down to this class; the name alone of an own class.
    """

    name: str
    mid: str
    score: float
    path: tuple[str, ...]

    def __str__(self) -> str:
        return f"{' > '.join(self.path)} {self.score:.2f}"

    def __repr__(self) -> str:
        return f"<Label {self.name} {self.score:.2f}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "mid": self.mid,
            "score": round(self.score, 4),
            "path": list(self.path),
        }


def _named(labels: tuple[Label, ...]) -> str:
    """The best labels on a line."""
    return ", ".join(f"{label.name} {label.score:.2f}" for label in labels[:3]) or "no labels"


def _attached(human_labels: tuple[Label, ...], tags: Tags) -> dict[str, Any]:
    """The part of a JSON object that people gave: nothing where there is none."""
    given: dict[str, Any] = {}
    if human_labels:
        given["human_labels"] = [{"name": label.name, "mid": label.mid} for label in human_labels]
    if tags:
        given["tags"] = tags
    return given


@dataclass(frozen=True, slots=True, repr=False)
class Segment:
    """A window of a clip, `start` to `end` in seconds, with its labels."""

    start: float
    end: float
    silent: bool
    labels: tuple[Label, ...]

    def __repr__(self) -> str:
        return f"<Segment {self.start:.2f}-{self.end:.2f} s: {_named(self.labels)}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "labels": [label.to_dict() for label in self.labels],
        }


@dataclass(frozen=True, slots=True, repr=False)
class Hit:
    """One result row of a query.

    Attributes
    ----------
    rank : int
        From 1.
    score : float
        Cosine in [-1, 1]; higher is nearer.
    uri : str
        The clip: an absolute path or a URL.
    start, end : float
        The clip's window that matched best, seconds.
    labels : tuple of Label
        What that window sounds like, best first.
    clip_id : int
    human_labels : tuple of Label
        Labels that people gave the clip, with score 1.
    tags : dict
        What the user attached to the clip.
    warning : str or None
        Why the clip may not hold what its file promises or holds by now.
    digest : bytes
        BLAKE3 of the file's content; empty where it is not known. Not in `to_dict`.
    """

    rank: int
    score: float
    uri: str
    start: float
    end: float
    labels: tuple[Label, ...]
    clip_id: int
    human_labels: tuple[Label, ...] = ()
    tags: Tags = field(default_factory=dict, hash=False)
    warning: str | None = None
    digest: bytes = b""

    def __repr__(self) -> str:
        moment = f"{self.start:.2f}-{self.end:.2f} s"
        return f"<Hit {self.rank}: {self.score:.3f} {self.uri} {moment}: {_named(self.labels)}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "rank": self.rank,
            "clip_id": self.clip_id,
            "score": round(self.score, 4),
            "uri": self.uri,
            "start": round(self.start, 3),
            "end": round(self.end, 3),
            "labels": [label.to_dict() for label in self.labels],
            **_attached(self.human_labels, self.tags),
            **({"warning": self.warning} if self.warning else {}),
        }


@dataclass(frozen=True, slots=True, repr=False)
class LabelledClip:
    """A sound with the labels of the whole and of each of its segments."""

    uri: str
    labels: tuple[Label, ...]
    segments: tuple[Segment, ...]
    warning: str | None = None

    def __repr__(self) -> str:
        return f"<LabelledClip {self.uri}, {len(self.segments)} segments: {_named(self.labels)}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "uri": self.uri,
            "labels": [label.to_dict() for label in self.labels],
            "segments": [segment.to_dict() for segment in self.segments],
            **({"warning": self.warning} if self.warning else {}),
        }


@dataclass(frozen=True, slots=True)
class Meaning:
    """What words became.

    Attributes
    ----------
    classes : tuple of dict
        What is to be heard, at once: of each the labels that it may be, by name, with weights
        from above 0 to 1. One with negative weights, the last, has what is not to be heard.
    read : dict
        Words that were taken for typing errors, and what they were read as.
    unknown : tuple of str
        Words that name no label. With the extra ``text``, those that were taken for what is nearest
        in meaning, as nothing near them is a name.
    """

    classes: tuple[dict[str, float], ...]
    read: dict[str, str] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        rounded = [{name: round(w, 3) for name, w in part.items()} for part in self.classes]
        return {"classes": rounded, "read": self.read, "unknown": list(self.unknown)}


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What a query found: the hits, the query's own labels, and what words in it became.

    Iterates over the hits.
    """

    hits: tuple[Hit, ...]
    labels: tuple[Label, ...]
    warning: str | None = None
    words: Meaning | None = field(default=None, hash=False)

    def __repr__(self) -> str:
        hits = "".join(f"\n  {hit!r}" for hit in self.hits)
        return f"<Answer to {_named(self.labels)}: {len(self.hits)} hits{hits}>"

    def __iter__(self) -> Iterator[Hit]:
        return iter(self.hits)

    def __len__(self) -> int:
        return len(self.hits)

    def __getitem__(self, index: int) -> Hit:
        return self.hits[index]


@dataclass(frozen=True, slots=True, repr=False)
class Clip:
    """A clip of the library.

    Attributes
    ----------
    id : int
    uri : str
    duration : float
        Seconds.
    segments : int
    padded : bool
        Shorter than one segment, zero-padded to one.
    warning : str or None
        Why the clip may hold less than the file promised, or another sound than it does by now.
    labels : tuple of Label
        Predicted.
    human_labels : tuple of Label
        Given by people, with score 1; AudioSet's clips have them.
    human_events : tuple of dict
        What people said of stretches of it, and which labels they did not hear: ``label``, its
        name; ``onset`` and ``offset``, seconds, or None of the clip as a whole; ``heard``.
    tags : dict
        What the user attached to it.
    """

    id: int
    uri: str
    duration: float
    segments: int
    padded: bool
    warning: str | None
    labels: tuple[Label, ...]
    human_labels: tuple[Label, ...] = ()
    human_events: tuple[dict[str, Any], ...] = field(default=(), hash=False)
    tags: Tags = field(default_factory=dict, hash=False)

    def __repr__(self) -> str:
        return f"<Clip {self.id}: {self.uri}, {self.duration:.2f} s: {_named(self.labels)}>"

    def to_dict(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "uri": self.uri,
            "duration": round(self.duration, 3),
            "segments": self.segments,
            "labels": [label.to_dict() for label in self.labels],
            **_attached(self.human_labels, self.tags),
            **({"human_events": list(self.human_events)} if self.human_events else {}),
            **({"warning": self.warning} if self.warning else {}),
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """A file that could not be ingested, and why."""

    uri: str
    reason: str

    def to_dict(self) -> dict[str, Any]:
        return {"uri": self.uri, "reason": self.reason}


@dataclass(frozen=True, slots=True)
class Finding:
    """Something in a library that is damaged.

    Attributes
    ----------
    what : str
        A sentence that names the place.
    clips : tuple of str
        Uris of the clips that are concerned.
    remedy : str
        What to do.
    """

    what: str
    clips: tuple[str, ...]
    remedy: str

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, "clips": list(self.clips), "remedy": self.remedy}


@dataclass(slots=True)
class IngestReport:
    """What an ingest did, in numbers of files.

    Attributes
    ----------
    added, replaced, renamed, unchanged, removed : int
        New files; files whose content changed; moved files; files left alone; clips taken
        out because their file is gone (with ``prune``).
    failed : list of Failure
        Files that failed in this run.
    failed_before : int
        Files left alone because the same content failed before.
    missing : list of str
        Clips whose file is gone and that are still in the library.
    skipped : dict
        What discovery left out, by kind.
    warnings : int
        Clips that hold less than their file promised.
    seconds : float
        Sound that was added.
    tags : TagReport or None
        What became of the tags that were given with the files; None where none were.
    ultrasonic : int
        Files that were recorded at more than 96 kHz; encoders hear nothing above 8 kHz.
    highest_rate : int
        The highest sample rate among these, Hz.
    damage : str or None
        Which clips of the library turned out to be damaged when its index was to be made, and what
        to do; all else was done.
    """

    added: int = 0
    replaced: int = 0
    renamed: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: list[Failure] = field(default_factory=list)
    failed_before: int = 0
    missing: list[str] = field(default_factory=list)
    skipped: dict[str, int] = field(default_factory=dict)
    warnings: int = 0
    seconds: float = 0.0
    tags: TagReport | None = None
    ultrasonic: int = 0
    highest_rate: int = 0
    damage: str | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "added": self.added,
            "replaced": self.replaced,
            "renamed": self.renamed,
            "unchanged": self.unchanged,
            "removed": self.removed,
            "failed": [failure.to_dict() for failure in self.failed],
            "failed_before": self.failed_before,
            "missing": self.missing,
            "skipped": self.skipped,
            "warnings": self.warnings,
            "seconds": round(self.seconds, 3),
            **({} if self.tags is None else {"tags": self.tags.to_dict()}),
            **(
                {"ultrasonic": self.ultrasonic, "highest_rate": self.highest_rate}
                if self.ultrasonic
                else {}
            ),
            **({} if self.damage is None else {"damage": self.damage}),
        }

    def count(self, outcome: str) -> None:
        """Count one more file ``added``, ``replaced``, ``renamed`` or ``unchanged``."""
        match outcome:
            case "added":
                self.added += 1
            case "replaced":
                self.replaced += 1
            case "renamed":
                self.renamed += 1
            case "unchanged":
                self.unchanged += 1
            case _:
                raise ValueError(outcome)


@dataclass(slots=True)
class TagReport:
    """What became of tags.

    Attributes
    ----------
    tagged : int
        Clips that have the tags now.
    unknown : list of str
        Uris that no clip has.
    refused : dict of str to str
        Uris whose tags would give a clip no usable key, or that of another clip, and which; their
        tags stay as they were.
    """

    tagged: int = 0
    unknown: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {"tagged": self.tagged, "unknown": self.unknown, "refused": self.refused}


@dataclass(slots=True)
class CopyReport:
    """What a copy did.

    Attributes
    ----------
    copied, replaced, unchanged, failures : int
        Clips that were new, that were there otherwise, that were there; and files that failed.
    compared : int
        Clips whose vectors were read from both sides at the end, and were equal.
    """

    copied: int = 0
    replaced: int = 0
    unchanged: int = 0
    failures: int = 0
    compared: int = 0
