"""The one that directs the workers of a Ray cluster: it alone holds the library's lease.

It draws the numbers under which a file's clip is stored before a worker hears the file. Whoever
hears it, and however often, writes the same rows; so a file that a worker left is given to another.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from soundsearch_ingest.errors import AudioError, MissingExtra
from soundsearch_ingest.files import AudioFile
from soundsearch_ingest.outcomes import Failed
from soundsearch_ingest.pipeline import content_digest
from soundsearch_ingest.sources import opened

from .. import __version__
from ..engines import Outcome, Reuse, StoredFile
from ..errors import ClusterError, LibraryBusy
from ..keepers import OnLong
from ..stores.base import OnStep
from ..stores.milvus.store import MilvusStore
from .connecting import connect
from .messages import Done, Inserted, Progress, Ready, Refused, Wanted
from .worker import Worker

__all__ = ["RayEngine"]

# Files that a worker is given at a time, and their bytes; towards the end it is given fewer.
_FILES = 32
_FEWEST = 4
_BYTES = 64 << 20
# Batches that a worker has: it hears one while it stores the other.
_BATCHES = 2
# Deaths of workers that had nothing but this file make it a failure; so does being lost so often
# for other reasons, such as with a node.
_DEATHS = 2
_LOSSES = 4
_STILLBORN = 3
# Seconds between looks at how long files proceed, and at how large the cluster is.
_LOOK = 1.0
_MEASURE = 5.0
_PATIENCE = 60.0


@dataclass(slots=True, eq=False)
class _Batch:
    """Files that were given to a worker together; `asked` is when."""

    wanted: list[Wanted]
    is_suspect: bool
    asked: float = field(default_factory=time.monotonic)


@dataclass(slots=True, eq=False)
class _Member:
    """A worker and what it was asked, by the references of its answers."""

    actor: Any
    node: str | None = None
    batches: dict[Any, _Batch] = field(default_factory=dict)
    looks: set[Any] = field(default_factory=set)
    opening: Any = None
    looked: float = 0.0

    @property
    def references(self) -> list[Any]:
        opening = [] if self.opening is None else [self.opening]
        return [*opening, *self.batches, *self.looks]


class RayEngine:
    """Hears files by the workers of a Ray cluster; see `Engine`.

    Parameters
    ----------
    store : MilvusStore
        Locked for writing while it runs.
    address : str, optional
        Of the cluster; see `connect`.
    on_sound, on_long, on_step : callable
        See `soundsearch.Library.ingest`.

    Raises
    ------
    MissingExtra
    """

    def __init__(
        self,
        store: MilvusStore,
        address: str | None,
        on_sound: Callable[[float], None],
        on_long: OnLong,
        on_step: OnStep,
    ) -> None:
        self._store = store
        self._address = address
        self._on_sound = on_sound
        self._on_long = on_long
        self._on_step = on_step
        self._ray: Any = None
        self._ours = False
        self._members: list[_Member] = []
        self._cores = 1
        self._measured = 0.0
        self._stillborn = 0
        self._waited = 0.0
        self._is_told = False
        self._ahead: deque[AudioFile] = deque()
        # What workers left: to be heard by itself, as it may be why one died; or as before.
        self._suspects: deque[Wanted] = deque()
        self._left: deque[Wanted] = deque()
        self._deaths: dict[str, int] = {}
        self._losses: dict[str, int] = {}

    def run(self, files: Iterator[AudioFile], reuse: Reuse) -> Generator[Outcome, None, None]:
        """Hear files; see `Engine.run`.

        Raises
        ------
        ClusterError
            There is no such cluster, or a worker cannot do what it must.
        LibraryBusy
            The lease was lost.
        """
        try:
            while self._fill(files):
                self._connect()
                self._grow()
                self._assign(reuse)
                yield from self._next_outcomes()
        except BaseException:
            self.close()
            raise

    def forget(self, digest: bytes | None) -> None:
        """Nothing: workers keep nothing of sounds to go on with."""

    def close(self) -> None:
        """End the workers, and the connection if it was made here."""
        for member in self._members:
            self._ray.kill(member.actor)
        self._members.clear()
        if self._ours:
            self._ray.shutdown()
            self._ours = False

    # Workers

    def _connect(self) -> None:
        if self._ray is None or not self._ray.is_initialized():
            self._ray, self._ours = connect(self._address)
            self._waited = time.monotonic()

    def _grow(self) -> None:
        """Start as many workers as there is work and there are cores, as the cluster grows."""
        if time.monotonic() - self._measured >= _MEASURE or not self._members:
            self._cores = max(1, int(self._ray.cluster_resources().get("CPU", 1)))
            self._measured = time.monotonic()
        waiting = len(self._suspects) + math.ceil((len(self._left) + len(self._ahead)) / _FEWEST)
        busy = sum(1 for member in self._members if member.batches)
        # One more than there is room for waits for more room: a cluster that can grow then does.
        for _ in range(min(self._cores + 1, busy + waiting) - len(self._members)):
            options = {"num_cpus": 1, "max_restarts": 0, "max_task_retries": 0}
            kind = self._ray.remote(max_concurrency=_BATCHES + 1, **options)(Worker)
            actor = kind.remote(self._store.uri, self._store.writer.lease.permit, __version__)
            self._members.append(_Member(actor, opening=actor.ready.remote()))
        if any(member.node is not None for member in self._members):
            self._waited = time.monotonic()
        elif time.monotonic() - self._waited > _PATIENCE and not self._is_told:
            self._is_told = True
            self._on_step("waiting for a free CPU in the Ray cluster")

    # Work

    def _fill(self, files: Iterator[AudioFile]) -> bool:
        """Look ahead as far as all workers can be given something; whether any work is left."""
        while len(self._ahead) < self._cores * _FILES:
            file = next(files, None)
            if file is None:
                break
            self._ahead.append(file)
        waiting = self._ahead or self._suspects or self._left
        return bool(waiting) or any(member.batches for member in self._members)

    def _assign(self, reuse: Reuse) -> None:
        for _ in range(_BATCHES):
            for member in self._members:
                if member.node is None or len(member.batches) >= _BATCHES:
                    continue
                is_suspect = bool(self._suspects)
                if is_suspect:
                    wanted = [] if member.batches else [self._suspects.popleft()]
                elif any(batch.is_suspect for batch in member.batches.values()):
                    wanted = []
                else:
                    wanted = self._next_batch()
                if wanted:
                    answer = member.actor.hear.remote(wanted, reuse)
                    member.batches[answer] = _Batch(wanted, is_suspect)

    def _next_batch(self) -> list[Wanted]:
        count = math.ceil((len(self._left) + len(self._ahead)) / self._cores / _BATCHES)
        count = max(_FEWEST, min(_FILES, count))
        wanted: list[Wanted] = []
        while self._left and len(wanted) < count:
            wanted.append(self._left.popleft())
        files: list[AudioFile] = []
        size = 0
        while self._ahead and len(wanted) + len(files) < count and size < _BYTES:
            files.append(self._ahead.popleft())
            size += files[-1].size
        numbers = self._store.writer.draw([file.uri for file in files]) if files else []
        there = self._store.clips_at([file.uri for file in files])
        wanted += [
            Wanted(file, own, there.get(file.uri)) for file, own in zip(files, numbers, strict=True)
        ]
        return wanted

    # Answers

    def _next_outcomes(self) -> Iterator[Outcome]:
        """Wait a moment for answers, and give the outcomes that they bring."""
        owners = {reference: member for member in self._members for reference in member.references}
        references = list(owners)
        answered, _ = self._ray.wait(references, num_returns=1, timeout=_LOOK)
        if answered:  # whatever else is there, too
            answered, _ = self._ray.wait(references, num_returns=len(references), timeout=0)
        for reference in answered:
            member = owners[reference]
            if member not in self._members:  # it was lost with an answer before
                continue
            try:
                answer = self._ray.get(reference)
            except self._ray.exceptions.RayActorError as error:
                yield from self._lost(member, error)
                continue
            yield from self._answered(member, reference, answer)
        self._look()

    def _answered(self, member: _Member, reference: Any, answer: Any) -> Iterator[Outcome]:
        if isinstance(answer, Refused):
            raise (LibraryBusy if answer.busy else ClusterError)(answer.message)
        if isinstance(answer, Ready):
            member.opening, member.node = None, answer.node
            self._stillborn = 0
        elif isinstance(answer, Progress):
            member.looks.discard(reference)
            self._tell(answer)
        elif isinstance(answer, Done):
            batch = member.batches.pop(reference)
            self._tell(answer.progress)
            yield from self._done(batch, answer)

    def _done(self, batch: _Batch, answer: Done) -> Iterator[Outcome]:
        inserted = [each for each in answer.outcomes if isinstance(each, Inserted)]
        writer = self._store.writer
        writer.settle([each.row for each in inserted], by_others=True)
        wanted = {each.file.uri: each for each in batch.wanted}
        for outcome in answer.outcomes:
            mine = wanted[outcome.file.uri]
            self._deaths.pop(outcome.file.uri, None)
            self._losses.pop(outcome.file.uri, None)
            if isinstance(outcome, Inserted):
                yield StoredFile(
                    outcome.file,
                    outcome.digest,
                    outcome.duration,
                    outcome.warning,
                    outcome.sample_rate,
                    mine.before is not None,
                )
            else:
                writer.give_up([mine.numbers])
                yield outcome

    def _look(self) -> None:
        """Ask workers how far they are that have been busy with a batch for a while."""
        now = time.monotonic()
        for member in self._members:
            is_long = any(now - batch.asked > 2 * _LOOK for batch in member.batches.values())
            if is_long and not member.looks and now - member.looked > _LOOK:
                member.looked = now
                member.looks.add(member.actor.decoded.remote())

    def _tell(self, progress: Progress) -> None:
        if progress.seconds:
            self._on_sound(progress.seconds)
        for uri, (heard, promised) in progress.long.items():
            self._on_long(uri, heard, promised)

    # Losses

    def _lost(self, member: _Member, error: Exception) -> Iterator[Failed]:
        """Give to others what a lost worker had, but for what is at fault for it."""
        self._members.remove(member)
        self._ray.kill(member.actor)  # it may be that only the way to it was lost
        if member.node is None:
            self._stillborn += 1
            if self._stillborn >= _STILLBORN:
                raise ClusterError(
                    f"workers of the Ray cluster end before they are ready: {_shown(error)}"
                ) from error
        died = isinstance(error, self._ray.exceptions.ActorDiedError)
        died = died and "node has died" not in str(error)
        left = [each for batch in member.batches.values() for each in batch.wanted]
        for each in left:
            uri = each.file.uri
            counts = self._deaths if died else self._losses
            # Of several files it cannot be told which one it was.
            counts[uri] = counts.get(uri, 0) + (len(left) == 1 or not died)
            # The numbers of a failure stay drawn: what is stored under them, the next writer
            # takes away.
            if died and counts[uri] >= _DEATHS:
                reason = f"its worker died twice on it: {_shown(error)}"
                yield Failed(each.file, _digest(each.file), reason)
            elif not died and counts[uri] >= _LOSSES:
                reason = f"its worker was lost {_LOSSES} times: {_shown(error)}"
                yield Failed(each.file, None, reason)
            elif died:
                self._suspects.append(each)
            else:
                self._left.append(each)


def _digest(file: AudioFile) -> bytes | None:
    try:
        with opened(file) as source:
            return content_digest(source)
    except (AudioError, MissingExtra, OSError):
        return None


def _shown(error: Exception) -> str:
    """What Ray says of a loss, without the lines that name its own parts."""
    lines: Iterable[str] = (line.strip() for line in str(error).splitlines())
    telling = [line for line in lines if line and ": " not in line[:20]]
    return " ".join(telling)[:300] or type(error).__name__
