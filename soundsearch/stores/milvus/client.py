"""Calls to a Milvus server, or to Milvus Lite, that wait for it and fail in words."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from soundsearch_ingest.extras import needs

from ...errors import LibraryError, LibraryNotFound
from .lite import start_lite, stop_lite
from .uri import MilvusUri

__all__ = ["Forbidden", "MilvusClient", "Row"]

Row = dict[str, Any]

_CONNECT_SECONDS = 10
_CALL_SECONDS = 30
# Loading, indexing and writing out may take long on a large collection.
_LONG_SECONDS = 3600
# A killed server took up to 57 s to start again, and minutes with 20 collections.
_PATIENCE_SECONDS = 300
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0

# What a server says when the same request may succeed later; older servers do not mark it.
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
    """The server knows the user, who may not do this."""


class MilvusClient:
    """The calls of pymilvus's client that a store needs, with patience and with errors in words.

    What Milvus or gRPC call passing (a restart, a lost connection, a rate limit) is tried again
    for five minutes, at growing intervals, with a warning in the log. Every call of a store can be
    repeated safely: rows are written under ids that their writer chose. Anything that neither
    Milvus nor the connection raised is a bug, and passes through as it is.

    Raises
    ------
    LibraryError, LibraryNotFound, LibraryBusy, MissingExtra
    """

    def __init__(self, uri: MilvusUri) -> None:
        self._uri = uri
        self._closed = False
        # gRPC logs to stderr what its errors say too.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        pymilvus = needs("pymilvus", "milvus-lite" if uri.lite else "milvus")
        grpc = needs("grpc", "milvus-lite" if uri.lite else "milvus")
        # pymilvus logs a traceback for each error that it raises.
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
        """Whether there is a collection of this name."""
        return bool(self._call(self._client.has_collection, name))

    def collections(self) -> list[str]:
        """The names of all collections of the database."""
        return list(self._call(self._client.list_collections))

    def fields(self, name: str) -> list[str]:
        """The names of a collection's fields, in order."""
        return [
            field["name"] for field in self._call(self._client.describe_collection, name)["fields"]
        ]

    def create_collection(self, name: str, schema: Any, shards: int) -> None:
        """Make a collection, without an index."""
        self._call(self._client.create_collection, name, schema=schema, num_shards=shards)

    def drop_collection(self, name: str) -> None:
        """Delete a collection with all its rows."""
        self._call(self._client.drop_collection, name)

    def load_collection(self, name: str) -> None:
        """Bring a collection into memory, which searching and querying need."""
        self._call(self._client.load_collection, name, timeout=_LONG_SECONDS)

    def release_collection(self, name: str) -> None:
        """Take a collection out of memory."""
        self._call(self._client.release_collection, name)

    def flush(self, name: str) -> None:
        """Have what was added written out, so that it is indexed."""
        self._call(self._client.flush, name, timeout=_LONG_SECONDS)

    def compact(self, name: str) -> None:
        """Ask for the space of deleted rows to be freed."""
        self._call(self._client.compact, name)

    # Indexes

    def index_type(self, name: str) -> str | None:
        """The type of the index over a collection's vectors, None without one."""
        if "vector" not in self._call(self._client.list_indexes, name):
            return None
        found: str = self._call(self._client.describe_index, name, "vector")["index_type"]
        return found

    def create_index(self, name: str, kind: str, parameters: dict[str, int]) -> None:
        """Index a collection's vectors for cosines."""
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
        """Drop the index over a collection's vectors; it must not be in memory."""
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
        """The rows that an expression lets through, in no order."""
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
        """For each vector its nearest rows among those that an expression lets through."""
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
        """Write rows, each in the place of one with its id; durable when it returns."""
        self._call(self._client.upsert, name, list(rows))

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
        begun = time.monotonic()
        wait = _FIRST_WAIT
        while True:
            try:
                return method(*args, **options)
            except self._errors as error:
                if not (isinstance(error, self._passing_errors) and _passing(error)):
                    raise self._error(error) from error
                waited = time.monotonic() - begun
                if waited > _PATIENCE_SECONDS:
                    raise LibraryError(
                        f"{self._uri}: Milvus has not answered for {waited:.0f} s "
                        f"({_words(error)}); what was reported as done is stored. Run the same "
                        "command again when it is back"
                    ) from error
                _log.warning("%s: waiting for Milvus: %s", self._uri, _words(error))
            time.sleep(wait)
            wait = min(2 * wait, _LONGEST_WAIT)

    def _error(self, error: Exception) -> LibraryError:
        """A call's error, in words."""
        words = _words(error)
        if _FULL.search(words):
            return LibraryError(
                f"{self._uri}: Milvus has no room left ({words}); what was reported as done is "
                "stored. Free some space, then run the same command again"
            )
        if _UNKNOWN_USER.search(words):
            return LibraryError(
                f"{self._uri}: the Milvus server does not accept the "
                f"{'token' if self._uri.token else 'missing token'} ({words}); give user:password "
                "or a token before the host, milvus://TOKEN@HOST..., or in MILVUS_TOKEN"
            )
        if _FORBIDDEN.search(words):
            return Forbidden(
                f"{self._uri}: the Milvus server knows the user but does not let it do this "
                f"({words}); ask its administrator to grant it, or use another token"
            )
        if _NO_DATABASE.search(words):
            return LibraryError(
                f"{self._uri}: the Milvus server has no database {self._uri.database} ({words}); "
                "name one that exists, or none, or create it with Milvus's own tools"
            )
        if "collection" in words and "not" in words:
            return LibraryNotFound(
                f"{self._uri}: a collection of this library is gone ({words}); it was removed or "
                "embedded again or upgraded by another process: open it again"
            )
        return LibraryError(f"{self._uri}: Milvus answers with an error: {words}")

    def _refused(self, error: Exception) -> LibraryError:
        """An error while connecting, in words."""
        words = _words(error)
        if self._uri.lite:
            return LibraryError(f"{self._uri}: cannot be opened: {words}")
        if any(said.search(words) for said in (_UNKNOWN_USER, _FORBIDDEN, _NO_DATABASE)):
            return self._error(error)
        hint = "is the address right, and is the server running?"
        if self._uri.address.startswith("https") and _UNTRUSTED.search(words):
            hint = (
                "is it a server with TLS, and is its certificate one that this machine trusts? "
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH can name a file with your own authority's"
            )
        return LibraryError(
            f"{self._uri}: no Milvus server answers at {self._uri.address} ({words}); {hint}"
        )


def _words(error: BaseException) -> str:
    """What went wrong, on one line; gRPC keeps it away from str(), pymilvus wraps it."""
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
    words = _words(error)
    if _FULL.search(words):
        return False
    return bool(getattr(error, "retriable", False) or _PASSING.search(words))
