"""A Milvus client that retries passing errors and raises the others as readable messages."""

from __future__ import annotations

import inspect
import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from itertools import chain, repeat
from typing import Any

from soundsearch_ingest.extras import needs

from ...deadlines import check_time
from ...errors import LibraryError, LibraryNotFound
from .columns import columns_of
from .lite import delete_rest, make_way, start_lite, stop_lite
from .uri import MilvusUri

__all__ = ["Forbidden", "MilvusClient", "Row"]

Row = dict[str, Any]

_CONNECT_SECONDS = 10
_CALL_SECONDS = 30
# Loading, indexing and flushing a large collection can take long.
_LONG_SECONDS = 3600
# A killed server took up to 57 s to restart, and minutes with 20 collections.
_PATIENCE_SECONDS = 300
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0

# Errors after which the same request may succeed later; older servers do not mark them as such.
_PASSING = re.compile(
    r"UNAVAILABLE|DEADLINE|RATE.?LIMIT|too many requests|not loaded|not fully loaded|not ready"
    r"|service not healthy|channel not available|no available|not found in.*shard|recover"
    r"|node not found|offline|connection|retry timeout|retry run out|context canceled|timed? ?out",
    re.IGNORECASE,
)
_FULL = re.compile(
    r"quota exceeded|no space left|file too large|disk full|force.?deny", re.IGNORECASE
)
_UNKNOWN_USER = re.compile(r"unauthenticated|auth check fail|invalid (user|token|password)", re.I)
_FORBIDDEN = re.compile(r"permission.?den|privilege", re.I)
_NO_DATABASE = re.compile(r"database(:\S+)? (does )?not (found|exist)", re.I)
_UNTRUSTED = re.compile(r"certificate|ssl|tls|handshake", re.I)

_log = logging.getLogger(__name__)


class Forbidden(LibraryError):
    """The server knows the user but denies permission."""


class MilvusClient:
    """The part of pymilvus's client that a store needs, with retries and readable errors.

    Transient errors of Milvus or gRPC (a restart, a lost connection, a rate limit) are retried for
    five minutes, at growing intervals, with a warning in the log. Every call can safely be
    repeated: a writer chooses the ids of its rows. An exception that neither Milvus nor the
    connection raised is a bug and is not caught.

    Raises
    ------
    LibraryError, LibraryNotFound, LibraryBusy, MissingExtra
    """

    def __init__(self, uri: MilvusUri) -> None:
        self._uri = uri
        self._closed = False
        self._known_fields: dict[str, list[Row]] = {}
        # gRPC also prints to stderr what its exceptions say.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        pymilvus = needs("pymilvus", "milvus-lite" if uri.lite else "milvus")
        grpc = needs("grpc", "milvus-lite" if uri.lite else "milvus")
        # pymilvus logs a traceback for every exception that it raises.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        self._passing_errors = (pymilvus.MilvusException, grpc.RpcError, OSError)
        # gRPC raises ValueError on a closed channel.
        self._errors = (*self._passing_errors, grpc.FutureTimeoutError, ValueError)
        if uri.lite:
            start_lite(uri)
        try:
            self._client = pymilvus.MilvusClient(
                uri=uri.address,
                token=uri.token,
                db_name=uri.database or "default",
                timeout=_CONNECT_SECONDS,
            )
        except BaseException as error:
            if uri.lite:
                stop_lite(uri)
            if not isinstance(error, Exception):
                raise
            raise self._refused(error) from error

    # Collections

    def has_collection(self, name: str) -> bool:
        """Return whether a collection of this name exists."""
        return bool(self._call(self._client.has_collection, name))

    def collections(self) -> list[str]:
        """The names of all collections in the database."""
        return list(self._call(self._client.list_collections))

    def fields(self, name: str) -> list[str]:
        """The names of a collection's fields, in order."""
        return [
            field["name"] for field in self._call(self._client.describe_collection, name)["fields"]
        ]

    def create_collection(self, name: str, schema: Any, shards: int) -> None:
        """Create a collection without an index."""
        if self._uri.lite:
            make_way(self._uri, name)
        self._call(self._client.create_collection, name, schema=schema, num_shards=shards)

    def drop_collection(self, name: str) -> None:
        """Delete a collection with all its rows, if there is one, also what is left of one."""
        self._known_fields.pop(name, None)
        if self.has_collection(name):
            self._call(self._client.drop_collection, name)
        if self._uri.lite:
            delete_rest(self._uri, name)

    def load_collection(self, name: str) -> None:
        """Load a collection into memory, as searches and queries require."""
        self._call(self._client.load_collection, name, timeout=_LONG_SECONDS)

    def release_collection(self, name: str) -> None:
        """Release a collection from memory."""
        self._call(self._client.release_collection, name)

    def flush(self, name: str) -> None:
        """Flush added rows to storage, so that they are indexed."""
        self._call(self._client.flush, name, timeout=_LONG_SECONDS)

    def compact(self, name: str) -> None:
        """Ask Milvus to free the space of deleted rows."""
        self._call(self._client.compact, name)

    def count(self, name: str) -> int:
        """How many rows a collection has, about: a server counts deleted ones for a while."""
        return int(self._call(self._client.get_collection_stats, name)["row_count"])

    # Indexes

    def index_type(self, name: str) -> str | None:
        """The type of a collection's vector index; None without one."""
        if "vector" not in self._call(self._client.list_indexes, name):
            return None
        found: str = self._call(self._client.describe_index, name, "vector")["index_type"]
        return found

    def create_index(self, name: str, kind: str, parameters: dict[str, int]) -> None:
        """Create a cosine index over a collection's vectors."""
        index = self._client.prepare_index_params()
        index.add_index(
            "vector",
            index_type=kind,
            index_name="vector",
            metric_type="COSINE",
            params=parameters,
        )
        self._call(self._client.create_index, name, index, timeout=_LONG_SECONDS)

    def drop_index(self, name: str) -> None:
        """Drop a collection's vector index; the collection must not be loaded."""
        self._call(self._client.drop_index, name, "vector")

    # Rows

    def query(
        self,
        name: str,
        expression: str,
        fields: Iterable[str],
        level: str,
        limit: int | None = None,
    ) -> list[Row]:
        """The rows that match an expression, in no particular order."""
        check_time()
        options = {} if limit is None else {"limit": limit}
        return list(
            self._call(
                self._client.query,
                name,
                filter=expression,
                output_fields=list(fields),
                consistency_level=level,
                **options,
            )
        )

    def search(
        self,
        name: str,
        vectors: Sequence[Any],
        limit: int,
        parameters: Row,
        fields: Iterable[str],
        level: str,
        expression: str = "",
    ) -> list[list[Row]]:
        """For each vector, the nearest of the rows that match an expression."""
        check_time()
        found: list[list[Row]] = self._call(
            self._client.search,
            name,
            data=list(vectors),
            anns_field="vector",
            limit=limit,
            filter=expression,
            output_fields=list(fields),
            search_params=parameters,
            consistency_level=level,
        )
        return found

    def upsert(self, name: str, rows: Sequence[Row]) -> None:
        """Write rows, replacing those with the same ids; durable on return."""
        if rows:
            columns = columns_of(rows, self._fields_of(name))
            self._call(self._write, "upsert", name, columns)

    def insert(self, name: str, rows: Sequence[Row]) -> None:
        """Write rows with ids that no row has had, in half the time of `upsert`; durable on return.

        An attempt that failed may have written them, so the next one is an upsert.
        """
        if not rows:
            return
        columns = columns_of(rows, self._fields_of(name))
        attempts = chain(["batch_insert"], repeat("upsert"))
        self._call(lambda **options: self._write(next(attempts), name, columns, **options))

    def _write(self, method: str, name: str, columns: list[Row], **options: Any) -> None:
        """Write columns, which pymilvus packs five times faster than rows, in one attempt."""
        handler = self._client._get_connection()
        if hasattr(self._client, "_generate_call_context"):  # since pymilvus 2.6
            options["context"] = self._client._generate_call_context()
        attempt = inspect.unwrap(getattr(type(handler), method))  # without pymilvus's own retries
        attempt(handler, name, columns, schema={"fields": self._fields_of(name)}, **options)

    def _fields_of(self, name: str) -> list[Row]:
        """What a collection's fields are; asked once, as those of a name never change."""
        if name not in self._known_fields:
            described = self._call(self._client.describe_collection, name)
            self._known_fields[name] = described["fields"]
        return self._known_fields[name]

    def delete(self, name: str, ids: Sequence[int]) -> None:
        """Delete rows by their ids."""
        self._call(self._client.delete, name, ids=list(ids))

    def close(self) -> None:
        """Close the connection."""
        if not self._closed:
            self._closed = True
            self._client.close()
            if self._uri.lite:
                stop_lite(self._uri)

    def _call(self, method: Callable[..., Any], *args: Any, **options: Any) -> Any:
        options.setdefault("timeout", _CALL_SECONDS)
        started = time.monotonic()
        wait = _FIRST_WAIT
        while True:
            try:
                return method(*args, **options)
            except self._errors as error:
                if not (isinstance(error, self._passing_errors) and _passing(error)):
                    raise self._error(error) from error
                waited = time.monotonic() - started
                if waited > _PATIENCE_SECONDS:
                    raise LibraryError(
                        f"{self._uri}: Milvus has not answered for {waited:.0f} s "
                        f"({_message(error)}); what was reported as done is stored. Run the same "
                        "command again when the server is back"
                    ) from error
                _log.warning("%s: waiting for Milvus: %s", self._uri, _message(error))
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _error(self, error: Exception) -> LibraryError:
        """Turn the error of a call into a readable one."""
        message = _message(error)
        if _FULL.search(message):
            return LibraryError(
                f"{self._uri}: Milvus has no room left ({message}); what was reported as done is "
                "stored. Free some space, then run the same command again"
            )
        if _UNKNOWN_USER.search(message):
            return LibraryError(
                f"{self._uri}: the Milvus server does not accept the "
                f"{'token' if self._uri.token else 'missing token'} ({message}); give "
                "user:password or a token before the host, milvus://TOKEN@HOST..., or in "
                "MILVUS_TOKEN"
            )
        if _FORBIDDEN.search(message):
            return Forbidden(
                f"{self._uri}: the Milvus server knows the user but does not let it do this "
                f"({message}); ask its administrator to grant it, or use another token"
            )
        if _NO_DATABASE.search(message):
            return LibraryError(
                f"{self._uri}: the Milvus server has no database {self._uri.database} ({message}); "
                "name one that exists, or none, or create it with Milvus's own tools"
            )
        if "collection" in message and "not" in message:
            return LibraryNotFound(
                f"{self._uri}: a collection of this library is gone ({message}); another process "
                "removed, re-embedded or upgraded the library: open it again"
            )
        return LibraryError(f"{self._uri}: Milvus reports an error: {message}")

    def _refused(self, error: Exception) -> LibraryError:
        """Turn an error while connecting into a readable one."""
        message = _message(error)
        if self._uri.lite:
            return LibraryError(f"{self._uri}: Milvus Lite cannot open it: {message}")
        if any(pattern.search(message) for pattern in (_UNKNOWN_USER, _FORBIDDEN, _NO_DATABASE)):
            return self._error(error)
        hint = "is the address right, and is the server running?"
        if self._uri.address.startswith("https") and _UNTRUSTED.search(message):
            hint = (
                "does the server speak TLS, and does this machine trust its certificate? "
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH can name the file of your own authority"
            )
        return LibraryError(
            f"{self._uri}: no Milvus server answers at {self._uri.address} ({message}); {hint}"
        )


def _message(error: BaseException) -> str:
    """The message of an error on one line; gRPC leaves it out of str(), pymilvus wraps it."""
    grpc_error = _grpc_error(error)
    if grpc_error is not None:
        text = f"{grpc_error.code().name}: {grpc_error.details()}"
    else:
        text = str(getattr(error, "message", None) or error)
    return " ".join(text.split())[:300]


def _grpc_error(error: BaseException) -> Any:
    for each in (error, error.__cause__):
        if callable(getattr(each, "details", None)) and callable(getattr(each, "code", None)):
            return each
    return None


def _passing(error: BaseException) -> bool:
    message = _message(error)
    if _FULL.search(message):
        return False
    return bool(getattr(error, "retriable", False) or _PASSING.search(message))
