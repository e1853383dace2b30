"""Upgrades of older Milvus schemas, one version a step.

A step runs under the writer's lease and changes nothing that the older version reads until it is
complete; then one row, the settings, gets the new version. After a kill, the next process that
opens the library runs the step again and overwrites what was left. Vectors are not moved.

Version 4 keeps what people said of stretches of clips in a clip's data, from which older versions
would take it away. Version 3 added the stretches of clips, in a collection of their own. Version 2
added fields to filter clips by, in a new collection, ``NAME_clips_v2``; version 1 used
``NAME_clips``.
"""

from __future__ import annotations

import json
import logging
import os
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from urllib.parse import unquote_to_bytes

import numpy as np
from soundsearch_ingest.discover import AudioFile

from ...errors import LibraryBusy, LibraryError, LibraryVersion
from ...hints import command
from ..records import LABEL, ClipRecord, FailureRecord
from .client import Forbidden, MilvusClient, Row
from .collections import (
    NUMBERS,
    SETTINGS,
    SUCCESSOR,
    VERSION,
    clips_schema,
    collections_of,
    make_collection,
    make_stretches,
    settings_of,
    state_collection,
    state_of,
)
from .heads import drop_head
from .lease import Lease
from .rows import SEEN_FIELDS, clip_row, failure_row, state_row
from .stretches import write_stretches
from .tables import Tables
from .uri import MilvusUri

__all__ = ["drop_leftovers", "upgraded"]

# How long to wait for another process that is upgrading or writing.
_PATIENCE_SECONDS = 60.0
_POLL_SECONDS = 1.0
_PAGE = 1024
_LIMIT = 16_384

_log = logging.getLogger(__name__)

_V1_FIELDS = ("id", "uri", "digest", "take", "count", "data")


def upgraded(client: MilvusClient, uri: MilvusUri, row: Row) -> Row:
    """Upgrade a library's schema to the current version if necessary.

    Parameters
    ----------
    client : MilvusClient
    uri : MilvusUri
    row : dict
        The library's settings row, of any schema version.

    Returns
    -------
    dict
        The current settings row.

    Raises
    ------
    LibraryVersion
        The library is newer than this soundsearch, or older and cannot be upgraded now.
    """
    started = time.monotonic()
    while (version := row.get("schema")) != VERSION:
        if not isinstance(version, int) or version > VERSION:
            raise LibraryVersion(
                f"{uri}: a newer soundsearch made it: its schema version is {version}, and this "
                f"soundsearch reads versions up to {VERSION}; upgrade with: "
                "pip install --upgrade soundsearch"
            )
        if version not in _STEPS:
            raise LibraryVersion(f"{uri}: its schema version is {version}, which never existed")
        try:
            _take_steps(client, uri)
        except LibraryBusy as error:
            if time.monotonic() - started > _PATIENCE_SECONDS:
                raise _not_now(uri, version, f"another process is using it ({error})") from error
            time.sleep(_POLL_SECONDS)
        except Forbidden as error:
            raise _not_now(uri, version, f"this user may not upgrade it ({error})") from error
        row = state_of(client, state_collection(uri), SETTINGS) or {}
    return row


def _not_now(uri: MilvusUri, version: int, reason: str) -> LibraryVersion:
    return LibraryVersion(
        f"{uri}: an older soundsearch made it: its schema version is {version}, this soundsearch "
        f"reads {VERSION}, and {reason}. It is upgraded when a user who may write to it opens it "
        f"while nobody else is writing: {command('info', uri)}"
    )


def _take_steps(client: MilvusClient, uri: MilvusUri) -> None:
    lease = Lease(client, uri)
    lease.take()
    try:
        while True:
            row = state_of(client, state_collection(uri), SETTINGS)
            step = _STEPS.get(row["schema"]) if row is not None else None
            if row is None or step is None:
                return
            _log.warning("%s: upgrading its schema from version %s", uri, row["schema"])
            step(client, uri, lease, row)
    finally:
        lease.release()


# From 1 to 2


def _v1_clips(uri: MilvusUri, generation: int) -> str:
    return f"{uri.name}_clips" + ("" if generation == 1 else f"_{generation}")


def _from_1_to_2(client: MilvusClient, uri: MilvusUri, lease: Lease, row: Row) -> None:
    state = state_collection(uri)
    numbers = state_of(client, state, NUMBERS)
    if numbers is None:
        raise LibraryError(f"{uri}: the collection {state} lacks the row with the counters")
    # Version 1 reads `take`, and keeps working if the upgrade does not finish.
    edition = numbers["take"]
    client.upsert(state, [state_row(NUMBERS, {**numbers, "edition": edition})])
    successor = state_of(client, state, SUCCESSOR)
    if successor is not None and successor["schema"] == 1:
        _copy_clips(client, uri, lease, successor["generation"], numbers["id"])
        client.upsert(state, [state_row(SUCCESSOR, {**successor, "schema": 2})])
    _copy_clips(client, uri, lease, row["generation"], numbers["id"])
    lease.check()
    client.upsert(state, [state_row(SETTINGS, {**row, "schema": 2})])
    drop_leftovers(client, uri, row["generation"])


def drop_leftovers(client: MilvusClient, uri: MilvusUri, generation: int) -> None:
    """Drop what a killed upgrade or adoption left; `generation` is the current one."""
    there = client.collections()
    for name in (_v1_clips(uri, each) for each in (generation - 1, generation, generation + 1)):
        if name in there and client.fields(name) == [*_V1_FIELDS, "vector"]:
            client.drop_collection(name)
    for name in collections_of(uri, generation - 1) if generation > 1 else ():
        client.drop_collection(name)
    if generation > 1:
        drop_head(client, uri, generation - 1)


def _copy_clips(
    client: MilvusClient, uri: MilvusUri, lease: Lease, generation: int, end: int
) -> None:
    """Copy a generation's clips and failures to a collection of version 2."""
    old, new = _v1_clips(uri, generation), collections_of(uri, generation)[0]
    client.load_collection(old)
    lease.check()
    client.drop_collection(new)  # left by a killed upgrade; others may have written since
    make_collection(client, uri, new, clips_schema(uri.lite), "FLAT")
    for rows in _v1_pages(client, old, end):
        lease.check()
        client.upsert(new, [_v2_row(row, uri.lite) for row in rows])
    client.flush(new)


def _v1_pages(client: MilvusClient, old: str, end: int) -> Iterator[list[Row]]:
    for first in range(1, end, _PAGE):
        window = f"id >= {first} and id < {first + _PAGE}"
        if rows := client.query(old, window, _V1_FIELDS, "Strong", _PAGE):
            yield rows
    # Ids of failures are hashes below 0.
    yield from _v1_failures(client, old, 0, 1 << 62)


def _v1_failures(client: MilvusClient, old: str, first: int, last: int) -> Iterator[list[Row]]:
    window = f"id <= {-1 - first} and id > {-1 - last}"
    rows = client.query(old, window, _V1_FIELDS, "Strong", _LIMIT)
    if len(rows) < _LIMIT // 2:
        for begin in range(0, len(rows), _PAGE):
            yield rows[begin : begin + _PAGE]
    else:
        middle = (first + last) // 2
        yield from _v1_failures(client, old, first, middle)
        yield from _v1_failures(client, old, middle, last)


def _v2_row(row: Row, lite: bool) -> Row:
    data = json.loads(row["data"])
    uri = os.fsdecode(unquote_to_bytes(row["uri"]))
    file = AudioFile(uri, data["size"], data["mtime_ns"])
    digest = bytes.fromhex(row["digest"])
    if row["id"] < 0:
        return failure_row(FailureRecord(file, digest or None, data["reason"]), lite)
    record = ClipRecord(
        file=file,
        digest=digest,
        duration=data["duration"],
        padded=data["padded"],
        warning=data["warning"],
        labels=np.frombuffer(b64decode(data["labels"]), LABEL),
        human_labels=tuple(data["human"]),
    )
    return clip_row(row["id"], record, row["count"], row["take"], data["revision"], lite)


# From 2 to 3


def _from_2_to_3(client: MilvusClient, uri: MilvusUri, lease: Lease, row: Row) -> None:
    state = state_collection(uri)
    successor = state_of(client, state, SUCCESSOR)
    if successor is not None and successor["schema"] == 2:
        _fill_stretches(client, uri, lease, successor)
        client.upsert(state, [state_row(SUCCESSOR, {**successor, "schema": 3})])
    _fill_stretches(client, uri, lease, row)
    lease.check()
    client.upsert(state, [state_row(SETTINGS, {**row, "schema": 3})])


def _fill_stretches(client: MilvusClient, uri: MilvusUri, lease: Lease, row: Row) -> None:
    """Pool the stretches of a generation's clips."""
    name = collections_of(uri, row["generation"])[2]
    lease.check()
    client.drop_collection(name)  # left by a killed upgrade; others may have written since
    make_stretches(client, uri, settings_of(row), name)
    tables = Tables(client, uri, row)
    tables.level = "Strong"
    for clips in tables.clip_pages(SEEN_FIELDS):
        write_stretches(tables, clips, lease.check)
    client.flush(name)


# From 3 to 4


def _from_3_to_4(client: MilvusClient, uri: MilvusUri, lease: Lease, row: Row) -> None:
    state = state_collection(uri)
    successor = state_of(client, state, SUCCESSOR)
    if successor is not None and successor["schema"] == 3:
        client.upsert(state, [state_row(SUCCESSOR, {**successor, "schema": 4})])
    lease.check()
    client.upsert(state, [state_row(SETTINGS, {**row, "schema": 4})])


_STEPS: dict[int, Callable[[MilvusClient, MilvusUri, Lease, Row], None]] = {
    1: _from_1_to_2,
    2: _from_2_to_3,
    3: _from_3_to_4,
}
