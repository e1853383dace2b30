"""What driver and workers tell each other; no sound and no embeddings are among it."""

from __future__ import annotations

from dataclasses import dataclass, field

from soundsearch_ingest.files import AudioFile
from soundsearch_ingest.outcomes import Failed, Known

from ..stores.milvus.client import Row
from ..stores.milvus.inserting import Numbers
from ..stores.records import StoredClip

__all__ = ["Done", "Inserted", "Progress", "Ready", "Refused", "Wanted"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A file to hear.

    Attributes
    ----------
    file : AudioFile
    numbers : Numbers
        What its clip is to be stored under: by every worker that hears it, so that all write the
        same rows.
    before : StoredClip or None
        The clip at the same uri, whose tags and human labels stay.
    """

    file: AudioFile
    numbers: Numbers
    before: StoredClip | None


@dataclass(frozen=True, slots=True)
class Inserted:
    """A file whose clip a worker has written, by its `row`; the rest as in `StoredFile`."""

    file: AudioFile
    digest: bytes
    duration: float
    warning: str | None
    sample_rate: int
    row: Row


@dataclass(frozen=True, slots=True)
class Progress:
    """What a worker has decoded since it was last asked.

    Attributes
    ----------
    seconds : float
        Of sound.
    long : dict
        Of long files, by uri, the seconds that are decoded, and those promised.
    """

    seconds: float = 0.0
    long: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ready:
    """A worker is ready to hear; `node` is the name of its machine."""

    node: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A worker cannot go on: `message` says where and why, `busy` that the lease was lost."""

    message: str
    busy: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """The outcome of each file of a batch, and what was decoded since the last `Progress`."""

    outcomes: list[Inserted | Known | Failed]
    progress: Progress
