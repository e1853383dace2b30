"""The store for more than one machine: collections on a Milvus server or in Milvus Lite."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import blake3

from ...errors import LibraryError, LibraryNotFound
from ...hints import command
from ...results import Finding
from ..base import ClipChanged, LabelsOf, OnClips, OnStep, SaidOf, Store
from ..filters import Filter
from ..parts import Part
from ..records import (
    ClipRecord,
    Counts,
    FailureRecord,
    Key,
    NewClip,
    Settings,
    StoredClip,
    Tuning,
)
from .checking import check
from .client import MilvusClient, Row
from .collections import (
    KEY,
    NUMBERS,
    SETTINGS,
    SUCCESSOR,
    check_ours,
    choose_index,
    clips_schema,
    collections_of,
    make_collection,
    make_generation,
    segments_schema,
    settings_of,
    settings_row,
    state_collection,
    state_of,
    state_schema,
    stretches_schema,
)
from .delegate import Delegate
from .heads import write_head
from .lease import Lease, Permit
from .lite import opening
from .lookups import parted, rows_with
from .parts import drop_ended, ended_parts, part_written, seized_parts
from .reader import MilvusReading
from .relabelling import relabel
from .rows import CLIP_FIELDS, clip_of, failure_of, packed_uri, state_row
from .selecting import clips_of
from .tables import Tables
from .upgrades import drop_leftovers, upgraded
from .uri import MilvusUri
from .writer import Counters, Writer

__all__ = ["MilvusStore"]

# Seconds in which a reader may not see that another process relabelled the library.
_UNSEEN = 1.0
# How many clips are read at a time.
_PAGE = 1024


class MilvusStore:
    """A library in Milvus, made by `create`.

    Parameters
    ----------
    uri : MilvusUri or str
        See `MilvusUri.parse`.

    Raises
    ------
    LibraryNotFound, LibraryVersion, LibraryBusy, MissingExtra
    LibraryError
        No server answers, it rejects the token, or another program uses the name.
    """

    def __init__(self, uri: MilvusUri | str, *, _parent: MilvusStore | None = None) -> None:
        self.uri = MilvusUri.parse(uri) if isinstance(uri, str) else uri
        self.address = str(self.uri)
        self._parent = _parent
        self._writer: Writer | None = None
        self._looked = time.monotonic()
        if self.uri.lite and not Path(self.uri.address).exists():
            raise self._not_found()
        self._client = MilvusClient(self.uri)
        try:
            with opening(self.uri):
                self._used = Tables(self._client, self.uri, self._settings_row())
        except BaseException:
            self._client.close()
            raise
        self.settings = self._tables.settings
        self._looked = time.monotonic()

    @classmethod
    def create(cls, uri: MilvusUri | str, settings: Settings) -> MilvusStore:
        """Open a library, and make it first if there is none."""
        place = MilvusUri.parse(uri) if isinstance(uri, str) else uri
        choose_index(place, 0)  # raises if there is no such index
        if place.lite:
            try:
                Path(place.address).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LibraryError(
                    f"{place}: cannot create the folder of this library: {error}"
                ) from error
        client = MilvusClient(place)
        try:
            with opening(place):
                state = state_collection(place)
                schemas = clips_schema(place.lite), segments_schema(8), stretches_schema(8)
                for name, schema in zip(collections_of(place, 1), schemas, strict=True):
                    if client.has_collection(name):
                        check_ours(client, place, name, [field.name for field in schema.fields])
                make_collection(client, place, state, state_schema(), "FLAT")
                lease = Lease(client, place)
                lease.take()
                try:
                    if state_of(client, state, SETTINGS) is None:
                        make_generation(client, place, settings, 1)
                        first = {"id": 1, "edition": 1, "from": 1}
                        client.upsert(state, [state_row(NUMBERS, first)])
                        client.upsert(state, [state_row(SETTINGS, settings_row(settings, 1))])
                finally:
                    lease.release()
            return cls(place)
        finally:
            client.close()

    def _settings_row(self) -> Row:
        """This store's settings row, with the schema upgraded if necessary."""
        client, state = self._client, state_collection(self.uri)
        row = None
        if client.has_collection(state):
            check_ours(client, self.uri, state, [field.name for field in state_schema().fields])
            client.load_collection(state)
            row = state_of(client, state, SETTINGS if self._parent is None else SUCCESSOR)
        elif self.uri.database:
            client.collections()  # raises if there is no such database
        if row is None:
            raise self._not_found()
        return upgraded(client, self.uri, row)

    def _not_found(self) -> LibraryNotFound:
        return LibraryNotFound(
            f"{self.address}: there is no library here; make one with: "
            f"{command('ingest FOLDER', self.address)}"
        )

    # Reading

    @contextmanager
    def reading(self) -> Iterator[MilvusReading]:
        """Open a consistent view of the store; see `Store.reading`."""
        tables = self._tables
        try:
            yield MilvusReading(tables)
        except LibraryError as error:
            # Of collections that are gone, perhaps, as another process has relabelled the library.
            if self._writer is None and self._look() is not tables:
                raise ClipChanged(f"{self.address}: it was relabelled") from error
            raise

    @property
    def _tables(self) -> Tables:
        """The tables of the generation that is the current one, or was a moment ago."""
        if self._writer is None and time.monotonic() - self._looked > _UNSEEN:
            return self._look("Bounded")
        return self._used

    def _look(self, level: str = "Strong") -> Tables:
        """The tables of the generation that is the current one, as far as the level shows."""
        if self._parent is None:
            self._looked = time.monotonic()
            row = state_of(self._client, state_collection(self.uri), SETTINGS, level)
            if row is not None and row["generation"] > self._used.generation:
                if settings_of(row) != self.settings:
                    raise LibraryError(
                        f"{self.address}: another process re-embedded it in another space; open "
                        "it again"
                    )
                seen = self._used.level
                self._used = Tables(self._client, self.uri, row)
                self._used.level = seen
        return self._used

    def head_digest(self) -> str | None:
        """Which head the labels are of; see `Store.head_digest`."""
        return self._tables.head_digest

    def head(self) -> bytes:
        """The file of that head."""
        return self._tables.head()

    def counts(self) -> Counts:
        """How many clips, segments and failures are stored."""
        return MilvusReading(self._tables).counts()

    def tuning(self) -> Tuning | None:
        """None: Milvus searches its indexes as it is told, and nothing is measured."""
        return None

    def is_exact(self) -> bool:
        """Whether Milvus has an index that looks at every segment."""
        tables = self._tables
        return tables.indexes[tables.segments] in ("FLAT", "GPU_BRUTE_FORCE")

    def clips(self, filter: Filter | None = None) -> Iterator[StoredClip]:
        """Iterate over the clips that a filter lets through, ordered by id; see `Store.clips`."""
        tables = self._tables
        if filter is None:
            pages = tables.clip_pages(CLIP_FIELDS, _PAGE)
            return (clip_of(row) for rows in pages for row in rows)
        return clips_of(tables, filter)

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        return self.clips_at([uri]).get(uri)

    def clips_at(self, uris: Sequence[str]) -> dict[str, StoredClip]:
        """Those clips that are at one of these uris."""
        there = self._at(list(map(packed_uri, uris)))[0]
        packed = ((uri, there.get(packed_uri(uri))) for uri in uris)
        return {uri: clip_of(row) for uri, row in packed if row is not None}

    def _at(self, uris: Sequence[str]) -> tuple[dict[str, Row], dict[str, Row]]:
        """The rows of the clips, and of the failures, at these packed uris."""
        if self._writer is not None:
            return self._writer.lookups.at(uris)
        return parted(rows_with(self._tables, "uri", uris))

    def key(self) -> str | None:
        """The tag that is the key of clips."""
        return self._tables.key()

    def clips_keyed(self, keys: Sequence[Key]) -> dict[Key, StoredClip]:
        """The clips that have these keys; see `Store.clips_keyed`."""
        return MilvusReading(self._tables).clips_keyed(keys)

    def clips_with(self, digest: bytes, most: int | None = None) -> list[StoredClip]:
        """The clips with this content, or so many of them at most."""
        rows = [row for row in self._having(digest) if row["id"] > 0]
        return [clip_of(row) for row in sorted(rows, key=lambda row: int(row["id"]))[:most]]

    def _having(self, digest: bytes) -> list[Row]:
        """The rows of clips and failures with this content."""
        if self._writer is not None:
            return self._writer.lookups.having(digest.hex())
        return rows_with(self._tables, "digest", [digest.hex()])

    def failures(self) -> Iterator[FailureRecord]:
        """Every failure, in the order of uris."""
        rows = [row for rows in self._tables.failure_pages(CLIP_FIELDS) for row in rows]
        return map(failure_of, sorted(rows, key=lambda row: str(row["uri"])))

    def failure_at(self, uri: str) -> FailureRecord | None:
        """The failure at this uri."""
        return self.failures_at([uri]).get(uri)

    def failures_at(self, uris: Sequence[str]) -> dict[str, FailureRecord]:
        """Those failures that are at one of these uris."""
        there = self._at(list(map(packed_uri, uris)))[1]
        packed = ((uri, there.get(packed_uri(uri))) for uri in uris)
        return {uri: failure_of(row) for uri, row in packed if row is not None}

    def failure_with(self, digest: bytes) -> FailureRecord | None:
        """A failure with this content."""
        rows = [row for row in self._having(digest) if row["id"] < 0]
        return failure_of(rows[0]) if rows else None

    # Writing

    @contextmanager
    def writing(self, part: Part | None = None) -> Iterator[None]:
        """Lock the library for writing; raises LibraryBusy if another process has locked it."""
        if self._parent is not None:
            parent = self._parent
            with self._written_by(parent.writer.lease, parent.writer.counters):
                yield
            return
        if part is not None:
            with part_written(self._client, self.uri, part) as (lease, drawn):
                self._look()
                with self._written_by(lease, drawn):
                    yield
            return
        ended_parts(self._client, self.uri)  # before parts must wait for the lease
        lease = Lease(self._client, self.uri)
        lease.take()
        try:
            self._look()
            ended, blocks = seized_parts(self._client, self.uri)
            counters = Counters(self._client, self.uri, blocks)
            with self._written_by(lease, counters):
                drop_ended(self._client, self.uri, ended)
                drop_leftovers(self._client, self.uri, self._tables.generation)
                yield
            with suppress(LibraryError):  # the next writer then looks for leftovers
                lease.confirm()  # others may have drawn since
                counters.give_back()
        finally:
            lease.release()

    @contextmanager
    def _written_by(self, lease: Lease, counters: Counters) -> Iterator[None]:
        self._tables.level = "Session"
        self._writer = Writer(self._tables, lease, counters, self._kept_ids)
        try:
            yield
        finally:
            self._writer = None

    def _kept_ids(self, uris: Sequence[str]) -> dict[str, int]:
        """The ids that clips new to this store keep, as they are embedded again."""
        clips = {} if self._parent is None else self._parent._at(uris)[0]
        return {uri: int(row["id"]) for uri, row in clips.items()}

    @property
    def writer(self) -> Writer:
        """What writes, within `writing`."""
        if self._writer is None:
            raise RuntimeError("writing to a store needs a `with store.writing():` around it")
        return self._writer

    def add(self, clips: Sequence[NewClip], on_step: OnStep = lambda _text: None) -> None:
        """Store clips, all or none; durable on return. See `Store.add`."""
        self.writer.add(clips)

    def amend(self, records: Mapping[int, ClipRecord]) -> None:
        """Replace the records of clips; see `Store.amend`.

        Atomic for up to 4096 clips, which fit one message; more are written 4096 at a time.
        """
        self.writer.amend(records)

    def use_key(self, tag: str | None) -> None:
        """Say which tag is the key of clips; see `Store.use_key`."""
        self.writer.lease.check()
        state = state_collection(self.uri)
        if tag is None:
            self._client.delete(state, [KEY])
        else:
            self._client.upsert(state, [state_row(KEY, {"tag": tag})])

    def fail(self, failures: Sequence[FailureRecord]) -> None:
        """Remember files that failed."""
        self.writer.fail(failures)

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Remove clips."""
        self.writer.remove(clip_ids)

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget the failures at these uris."""
        self.writer.forget_failures(uris)

    def optimise(self, on_step: OnStep = lambda _text: None) -> None:
        """Flush and index what was added; see `Writer.optimise`."""
        self.writer.optimise(on_step)

    def rebuild(self, on_step: OnStep = lambda _text: None) -> int:
        """Delete segments without a clip and clips with missing segments, then compact."""
        return self.writer.rebuild(on_step)

    def check(
        self, on_clips: OnClips = lambda _count: None, on_step: OnStep = lambda _text: None
    ) -> list[Finding]:
        """Look for segments that are missing or not finite; see `Store.check`."""
        return check(self._tables, on_clips, on_step)

    def delegate(self, permit: Permit) -> Delegate:
        """What writes clips for the process that holds a lease."""
        return Delegate(self._tables, permit)

    def successor(self, settings: Settings) -> MilvusStore:
        """The library's next generation, in its own collections; see `Store.successor`."""
        return self._begun(settings, None)

    def _begun(self, settings: Settings, head: bytes | None) -> MilvusStore:
        """The next generation, of a head; one that was begun for the same is gone on with."""
        client, state = self._client, state_collection(self.uri)
        generation = self._tables.generation + 1
        digest = None if head is None else blake3.blake3(head).hexdigest()
        row = settings_row(settings, generation, digest)
        if state_of(client, state, SUCCESSOR) != row:
            client.delete(state, [SUCCESSOR])  # what it names is about to change
            for name in collections_of(self.uri, generation):
                client.drop_collection(name)
            make_generation(client, self.uri, settings, generation)
            if head is not None:
                write_head(client, self.uri, generation, head)
            client.upsert(state, [state_row(SUCCESSOR, row)])
        return MilvusStore(self.uri, _parent=self)

    def relabel(
        self,
        head: bytes | None,
        labels: LabelsOf,
        on_clips: OnClips = lambda _count: None,
        said: SaidOf = lambda record: record,
    ) -> None:
        """Give all clips other labels, and keep their head, in one step; see `Store.relabel`.

        Clips that a killed run labelled are not labelled again.
        """
        with closing(self._begun(self.settings, head)) as successor:
            with successor.writing():
                relabel(self, successor, labels, on_clips, said)
            self.adopt(successor)

    def adopt(self, successor: Store) -> None:
        """Switch to a successor: one row names the current generation. See `Store.adopt`."""
        assert isinstance(successor, MilvusStore)
        writer = self.writer
        state = state_collection(self.uri)
        row = successor._tables.row
        with successor.writing():
            failures = {failure.file.uri: failure for failure in self.failures()}
            there = {*successor.clips_at([*failures]), *successor.failures_at([*failures])}
            successor.fail([each for uri, each in failures.items() if uri not in there])
        writer.lease.check()
        self._client.upsert(state, [state_row(SETTINGS, row)])
        self._client.delete(state, [SUCCESSOR])
        self._used = Tables(self._client, self.uri, row)
        self.settings = self._tables.settings
        self._tables.level = "Session"
        self._tables.is_written_out = False
        self._writer = Writer(self._tables, writer.lease, writer.counters)
        drop_leftovers(self._client, self.uri, self._tables.generation)

    def close(self) -> None:
        """Close the connection; the store cannot be used afterwards."""
        self._client.close()
