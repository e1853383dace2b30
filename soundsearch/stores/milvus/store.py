"""The store for more than one machine: collections of a Milvus server, or of Milvus Lite."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ...errors import LibraryError, LibraryNotFound
from ..base import OnStep, Store
from ..filters import Filter, matches
from ..records import ClipRecord, Counts, FailureRecord, NewClip, Settings, StoredClip
from .client import MilvusClient, Row
from .collections import (
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
    settings_row,
    state_collection,
    state_of,
    state_schema,
)
from .expressions import compile_filter
from .lease import Lease
from .reader import MilvusReading, newest
from .rows import CLIP_FIELDS, clip_of, failure_id, failure_of, packed_uri, state_row
from .tables import LIMIT, Tables
from .upgrades import drop_leftovers, upgraded
from .uri import MilvusUri
from .writer import Counters, Writer

__all__ = ["MilvusStore"]

# Clips that are read at a time, of all and with a filter.
_PAGE = 1024
_FILTERED_PAGE = 4096


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
        No server answers, it does not accept the token, or the name is somebody else's.
    """

    def __init__(self, uri: MilvusUri | str, *, _parent: MilvusStore | None = None) -> None:
        self._uri = MilvusUri.parse(uri) if isinstance(uri, str) else uri
        self.address = str(self._uri)
        self._parent = _parent
        self._writer: Writer | None = None
        if self._uri.lite and not Path(self._uri.address).exists():
            raise self._not_found()
        self._client = MilvusClient(self._uri)
        try:
            self._tables = Tables(self._client, self._uri, self._settings_row())
        except BaseException:
            self._client.close()
            raise
        self.settings = self._tables.settings

    @classmethod
    def create(cls, uri: MilvusUri | str, settings: Settings) -> MilvusStore:
        """Make a library where there is none; one that is there is opened."""
        where = MilvusUri.parse(uri) if isinstance(uri, str) else uri
        choose_index(where, 0)  # raises where there is no such index
        if where.lite:
            try:
                Path(where.address).parent.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise LibraryError(f"{where}: cannot make a library here: {error}") from error
        client = MilvusClient(where)
        try:
            state = state_collection(where)
            schemas = clips_schema(where.lite), segments_schema(8)
            for name, schema in zip(collections_of(where, 1), schemas, strict=True):
                if client.has_collection(name):
                    check_ours(client, where, name, [field.name for field in schema.fields])
            make_collection(client, where, state, state_schema(), "FLAT")
            lease = Lease(client, where)
            lease.take()
            try:
                if state_of(client, state, SETTINGS) is None:
                    make_generation(client, where, settings, 1)
                    first = {"id": 1, "edition": 1, "from": 1}
                    client.upsert(state, [state_row(NUMBERS, first)])
                    client.upsert(state, [state_row(SETTINGS, settings_row(settings, 1))])
            finally:
                lease.release()
            return cls(where)
        finally:
            client.close()

    def _settings_row(self) -> Row:
        """What the library's state says of this store, brought up to date."""
        client, state = self._client, state_collection(self._uri)
        row = None
        if client.has_collection(state):
            check_ours(client, self._uri, state, [field.name for field in state_schema().fields])
            client.load_collection(state)
            row = state_of(client, state, SETTINGS if self._parent is None else SUCCESSOR)
        elif self._uri.database:
            client.collections()  # raises where there is no such database
        if row is None:
            raise self._not_found()
        return upgraded(client, self._uri, row)

    def _not_found(self) -> LibraryNotFound:
        return LibraryNotFound(
            f"{self.address}: there is no library here; make one with: soundsearch ingest FOLDER"
        )

    # Reading

    @contextmanager
    def reading(self) -> Iterator[MilvusReading]:
        """Take a view of what is stored now; see `Store.reading`."""
        yield MilvusReading(self._tables)

    def counts(self) -> Counts:
        """What is stored now."""
        return MilvusReading(self._tables).counts()

    def clips(self, filter: Filter | None = None) -> Iterator[StoredClip]:
        """Every clip that a filter lets through, in the order of ids; see `Store.clips`."""
        if filter is None:
            pages = self._tables.clip_pages(CLIP_FIELDS, _PAGE)
            return (clip_of(row) for rows in pages for row in rows)
        compiled = compile_filter(filter, self._uri.lite)
        if compiled.text is None:
            return iter(())
        pages = self._tables.clip_pages(CLIP_FIELDS, _FILTERED_PAGE, compiled.text)
        found = (clip_of(row) for rows in pages for row in rows)
        return found if compiled.exact else (clip for clip in found if matches(filter, clip))

    def clip_at(self, uri: str) -> StoredClip | None:
        """The clip at this uri."""
        row = self._row_at(packed_uri(uri))
        return None if row is None else clip_of(row)

    def _row_at(self, uri: str) -> Row | None:
        if self._writer is not None:
            return self._writer.clips.at(uri)
        return newest(self._find(f'id > 0 and uri == "{uri}"'))

    def clips_with(self, digest: bytes) -> list[StoredClip]:
        """The clips with this content."""
        if self._writer is not None:
            rows = self._writer.clips.having(digest.hex())
        else:
            rows = self._find(f'id > 0 and digest == "{digest.hex()}"')
        return [clip_of(row) for row in sorted(rows, key=lambda row: int(row["id"]))]

    def failures(self) -> Iterator[FailureRecord]:
        """Every failure, in the order of uris."""
        rows = [row for rows in self._tables.failure_pages(CLIP_FIELDS) for row in rows]
        return map(failure_of, sorted(rows, key=lambda row: str(row["uri"])))

    def failure_at(self, uri: str) -> FailureRecord | None:
        """What failed at this uri."""
        if self._writer is not None:
            row = self._writer.failures.at(packed_uri(uri))
            return None if row is None else failure_of(row)
        rows = self._find(f"id == {failure_id(uri)}")
        return failure_of(rows[0]) if rows else None

    def failure_with(self, digest: bytes) -> FailureRecord | None:
        """A failure of this content."""
        if self._writer is not None:
            rows = self._writer.failures.having(digest.hex())
        else:
            rows = self._find(f'id < 0 and digest == "{digest.hex()}"')
        return failure_of(rows[0]) if rows else None

    def _find(self, expression: str) -> list[Row]:
        return self._tables.ask(self._tables.clips, expression, CLIP_FIELDS, limit=LIMIT)

    # Writing

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the library for writing; raises LibraryBusy when another process does."""
        if self._parent is not None:
            parent = self._parent
            with self._written_by(parent._held.lease, parent._held.counters):
                yield
            return
        lease = Lease(self._client, self._uri)
        lease.take()
        try:
            counters = Counters(self._client, self._uri)
            with self._written_by(lease, counters):
                drop_leftovers(self._client, self._uri, self._tables.generation)
                yield
            with suppress(LibraryError):  # the next writer then looks for leftovers
                counters.give_back()
        finally:
            lease.release()

    @contextmanager
    def _written_by(self, lease: Lease, counters: Counters) -> Iterator[None]:
        self._tables.level = "Session"
        self._writer = self._new_writer(lease, counters)
        try:
            yield
        finally:
            self._writer = None

    def _new_writer(self, lease: Lease, counters: Counters) -> Writer:
        parent = self._parent
        if parent is None:
            return Writer(self._tables, lease, counters)

        def id_of(uri: str) -> int | None:  # a clip that is embedded again keeps its id
            row = parent._row_at(uri)
            return None if row is None else int(row["id"])

        return Writer(self._tables, lease, counters, id_of)

    @property
    def _held(self) -> Writer:
        if self._writer is None:
            raise RuntimeError("writing to a store needs `with store.writing():` around it")
        return self._writer

    def add(self, clips: Sequence[NewClip]) -> None:
        """Store clips, all or none; durable when it returns. See `Store.add`."""
        self._held.add(clips)

    def amend(self, records: Mapping[int, ClipRecord]) -> None:
        """Give clips other records; see `Store.amend`.

        All or none for up to 4096 clips, which one message takes; of more, each 4096.
        """
        self._held.amend(records)

    def fail(self, failures: Sequence[FailureRecord]) -> None:
        """Remember files that failed."""
        self._held.fail(failures)

    def remove(self, clip_ids: Sequence[int]) -> None:
        """Take clips out."""
        self._held.remove(clip_ids)

    def forget_failures(self, uris: Sequence[str]) -> None:
        """Forget what failed at these uris."""
        self._held.forget_failures(uris)

    def optimise(self, on_step: OnStep = lambda _text: None) -> None:
        """Have what was added written out and indexed; see `Writer.optimise`."""
        self._held.optimise(on_step)

    def rebuild(self, on_step: OnStep = lambda _text: None) -> int:
        """Delete segments without a clip and clips that lack some, and let Milvus compact."""
        return self._held.rebuild(on_step)

    def successor(self, settings: Settings) -> MilvusStore:
        """The library's next generation, in collections of its own; see `Store.successor`."""
        client, state = self._client, state_collection(self._uri)
        generation = self._tables.generation + 1
        row = settings_row(settings, generation)
        if state_of(client, state, SUCCESSOR) != row:
            for name in collections_of(self._uri, generation):
                if client.has_collection(name):
                    client.drop_collection(name)
            make_generation(client, self._uri, settings, generation)
            client.upsert(state, [state_row(SUCCESSOR, row)])
        return MilvusStore(self._uri, _parent=self)

    def adopt(self, successor: Store) -> None:
        """Take over a successor: one row says which generation counts. See `Store.adopt`."""
        assert isinstance(successor, MilvusStore)
        writer = self._held
        state = state_collection(self._uri)
        row = settings_row(successor.settings, successor._tables.generation)
        with successor.writing():
            successor.fail(
                [
                    failure
                    for failure in self.failures()
                    if successor.clip_at(failure.file.uri) is None
                    and successor.failure_at(failure.file.uri) is None
                ]
            )
        writer.lease.check()
        self._client.upsert(state, [state_row(SETTINGS, row)])
        self._client.delete(state, [SUCCESSOR])
        self._tables = Tables(self._client, self._uri, row)
        self.settings = self._tables.settings
        self._tables.level = "Session"
        self._tables.is_written_out = False
        self._writer = Writer(self._tables, writer.lease, writer.counters)
        drop_leftovers(self._client, self._uri, self._tables.generation)

    def close(self) -> None:
        """Close the connection; the store cannot be used any more."""
        self._client.close()
