"""What a search for duplicates found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

__all__ = ["DuplicateGroup", "DuplicatePair", "Duplicates"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DuplicatePair:
    """Two clips that are the same, or nearly so, and why.

    Attributes
    ----------
    uri, other : str
        The clip, and the one that it is compared with. Where one of them holds more, it is
        `other`.
    clip_id, other_id : int
    reason : str
        ``same bytes``: the content of the files is equal. ``same audio``: the samples are, as
        they are decoded, mono at 16 kHz. ``excerpt``: all of `uri` is a part of `other`.
        ``altered``: it is the same sound, encoded, filtered, made louder, stretched or pitched.
        ``overlap``: a part of the one is a part of the other. ``similar``: no more than near to
        each other by their embeddings. ``unconfirmed``: near, but a file cannot be read; `note`
        says why.
    score : float or None
        How well the spectrograms correlate, 0 to 1; of ``similar`` and ``unconfirmed`` pairs the
        cosine of their embeddings.
    offset : float or None
        Where `uri` begins in `other`, seconds; below 0 where it begins before it.
    seconds : float or None
        How long both are the same.
    level : float or None
        How much louder `uri` is than `other`, dB.
    speed : float or None
        How many times as fast `uri` plays.
    pitch : float or None
        How many semitones `uri` is higher.
    bandwidth : (float, float) or None
        Up to which frequency `uri` and `other` have sound, Hz, where that differs.
    note : str
    """

    uri: str
    other: str
    clip_id: int
    other_id: int
    reason: str
    score: float | None = None
    offset: float | None = None
    seconds: float | None = None
    level: float | None = None
    speed: float | None = None
    pitch: float | None = None
    bandwidth: tuple[float, float] | None = None
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        found = {
            "uri": self.uri,
            "other": self.other,
            "clip_id": self.clip_id,
            "other_id": self.other_id,
            "reason": self.reason,
            "score": _rounded(self.score, 3),
            "offset": _rounded(self.offset, 3),
            "seconds": _rounded(self.seconds, 2),
            "level": _rounded(self.level, 1),
            "speed": _rounded(self.speed, 4),
            "pitch": _rounded(self.pitch, 2),
            "bandwidth": None if self.bandwidth is None else [round(x) for x in self.bandwidth],
            "note": self.note or None,
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def changes(self) -> str:
        """What was found to differ, in words; empty where that is nothing."""
        said = []
        if self.reason in ("excerpt", "overlap") and self.offset is not None:
            said.append(f"at {self.offset:.2f} s")
        elif self.offset is not None and abs(self.offset) >= 0.05:
            said.append(f"{abs(self.offset):.2f} s {'later' if self.offset > 0 else 'earlier'}")
        if self.reason == "overlap" and self.seconds is not None:
            said.append(f"{self.seconds:.1f} s of it")
        if self.level is not None and abs(self.level) >= 0.5:
            said.append(f"{self.level:+.1f} dB")
        if self.speed is not None and abs(self.speed - 1) >= 2e-3:
            said.append(f"{100 * (self.speed - 1):+.1f} % speed")
        if self.pitch is not None and abs(self.pitch) >= 0.1:
            said.append(f"{self.pitch:+.1f} semitones")
        if self.bandwidth is not None:
            said.append(
                f"up to {self.bandwidth[0] / 1000:.1f} kHz, not {self.bandwidth[1] / 1000:.1f}"
            )
        return ", ".join([*said, self.note] if self.note else said)


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """A clip, and those that hold nothing that it does not hold.

    Attributes
    ----------
    uri : str
        The clip that holds all: the longest one; of those that are as long, the one that was not
        band-limited, then the largest file.
    clip_id : int
    pairs : tuple of DuplicatePair
        Each of the others, with the clip of the group that it was compared with.
    """

    uri: str
    clip_id: int
    pairs: tuple[DuplicatePair, ...]

    def __len__(self) -> int:
        return 1 + len(self.pairs)


@dataclass(frozen=True, slots=True)
class Duplicates:
    """What `Clips.duplicates` found.

    Attributes
    ----------
    groups : tuple of DuplicateGroup
        The largest first. No clip is in two.
    apart : tuple of DuplicatePair
        Pairs that make no group: ``overlap``, ``similar`` and ``unconfirmed``, and ``excerpt`` of
        a second clip besides that of its group.
    clips : int
        How many were looked at.
    unread : int
        How many of them could not be read.
    """

    groups: tuple[DuplicateGroup, ...]
    apart: tuple[DuplicatePair, ...]
    clips: int
    unread: int

    def __repr__(self) -> str:
        return (
            f"<Duplicates among {self.clips} clips: {len(self.groups)} groups, "
            f"{len(self.apart)} pairs apart>"
        )


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits) + 0.0  # no -0.0
