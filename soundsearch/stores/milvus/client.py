"""Where a Milvus library is, and calls to its server that wait for it and fail in words."""

from __future__ import annotations

import logging
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from soundsearch_ingest.extras import needs

from ...errors import LibraryBusy, LibraryError, LibraryNotFound

__all__ = ["SCHEMES", "MilvusClient", "MilvusUri"]

_LITE = "milvus-lite"
SCHEMES = ("milvus", "milvuss", "https", _LITE)
_OPTIONS = ("index", "shards")
_EXPECTED = (
    "expected milvus://[token@]host[:port]/[database/]name, with ?index= and &shards= if need "
    "be, or milvus-lite:FILE.db#name; a name is of letters, digits and _"
)
_HOST = re.compile(r"([^:\[\]/]+|\[[0-9A-Fa-f:.]+\])(?::(\d{1,5}))?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,200}")

_CONNECT_SECONDS = 10
_CALL_SECONDS = 30
# A killed server was seen to need 57 s to start again, and minutes with 20 collections.
_PATIENCE_SECONDS = 300
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0

# What a server says when the same request may succeed later; older ones do not mark it.
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

_lite_lock = threading.Lock()
_lite_clients: Counter[str] = Counter()

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class MilvusUri:
    """The address of a library in Milvus; as text it has no credentials.

    Attributes
    ----------
    address : str
        What pymilvus calls uri: ``http://host:port``, or the path of a Milvus Lite file.
    name : str
        What its collections' names begin with.
    token, database : str
        Empty for none.
    index : str
        A type of index to insist on; empty to choose by size.
    shards : int
        Of a new library's segments.
    """

    text: str
    address: str
    name: str
    token: str = field(default="", repr=False)
    database: str = ""
    index: str = ""
    shards: int = 1

    def __str__(self) -> str:
        return self.text

    @property
    def lite(self) -> bool:
        return "://" not in self.address

    @classmethod
    def parse(cls, text: str) -> MilvusUri:
        """Read ``milvus://[token@]host[:port]/[database/]name[?index=...&shards=...]``.

        ``milvuss`` and ``https`` are encrypted; a token is ``user:password`` or a key, and the
        environment's ``MILVUS_TOKEN`` when left out. Or ``milvus-lite:path.db[#name]``.
        """
        try:
            parts = urlsplit(text)
        except ValueError as error:
            raise LibraryError(f"{text.partition(':')[0]}: {error}; {_EXPECTED}") from None
        options = dict(parse_qsl(parts.query))
        if parts.scheme == _LITE:
            file = unquote(parts.netloc + parts.path)
            names = [parts.fragment or "sounds"]
            shown = f"{_LITE}:{file}"
            # Without a folder before it pymilvus reads a name as a host's.
            found = {"address": str(Path(file).expanduser().absolute())}
            usable = file.endswith(".db")
        else:
            names = parts.path.strip("/").split("/")
            login, _, host_port = parts.netloc.rpartition("@")
            host = _HOST.fullmatch(host_port)
            if host is not None and host[2] is None:
                host_port += ":443" if parts.scheme == "https" else ":19530"
            shown = f"{parts.scheme}://{host_port}/{'/'.join(names)}"
            found = {
                "address": f"{'http' if parts.scheme == 'milvus' else 'https'}://{host_port}",
                "token": unquote(login) or os.environ.get("MILVUS_TOKEN", ""),
                "database": names[0] if len(names) == 2 else "",
            }
            usable = host is not None and int(host[2] or 0) < 65_536 and len(names) <= 2
        known = set(options) <= set(_OPTIONS) and options.get("shards", "1").isdecimal()
        if not (usable and known and _NAME.fullmatch(names[-1])):
            raise LibraryError(f"{shown}: {_EXPECTED}")
        shards = int(options.get("shards", 1))
        index = options.get("index", "").upper()
        return cls(shown, name=names[-1], index=index, shards=shards, **found)


class MilvusClient:
    """pymilvus's client: every method of it, called with patience and with errors in words.

    What Milvus or gRPC call passing (a restart, a lost connection, a limit of the rate) is tried
    again for five minutes, at growing intervals, with a warning in the log. All calls of a store
    can be repeated safely: rows are written under ids that their writer chose.

    Raises
    ------
    LibraryError, LibraryNotFound, LibraryBusy, MissingExtra
    """

    def __init__(self, uri: MilvusUri) -> None:
        self._uri = uri
        self._closed = False
        # It logs to stderr what its errors say too.
        os.environ.setdefault("GRPC_VERBOSITY", "NONE")
        pymilvus = needs("pymilvus", "milvus-lite" if uri.lite else "milvus")
        # It logs a traceback for each error that it raises.
        logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
        if uri.lite:
            _start_lite(uri)
        try:
            self._client = pymilvus.MilvusClient(
                uri=uri.address,
                token=uri.token,
                db_name=uri.database or "default",
                timeout=_CONNECT_SECONDS,
            )
        except Exception as error:
            _stop_lite(uri)
            raise self._refused(error) from error

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return partial(self._call, method)

    def _call(self, method: str, *args: Any, **options: Any) -> Any:
        options.setdefault("timeout", _CALL_SECONDS)
        begun = time.monotonic()
        wait = _FIRST_WAIT
        while True:
            try:
                return getattr(self._client, method)(*args, **options)
            except Exception as error:
                if not _passing(error):
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

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._client.close()
            _stop_lite(self._uri)

    def _error(self, error: Exception) -> LibraryError:
        """What a call's error means."""
        words = _words(error)
        if _FULL.search(words):
            return LibraryError(
                f"{self._uri}: Milvus has no room left ({words}); what was reported as done is "
                "stored. Free some, then run the same command again"
            )
        if _UNKNOWN_USER.search(words):
            return LibraryError(
                f"{self._uri}: the Milvus server does not accept the "
                f"{'token' if self._uri.token else 'missing token'} ({words}); give user:password "
                "or a token before the host, milvus://TOKEN@HOST..., or in MILVUS_TOKEN"
            )
        if _FORBIDDEN.search(words):
            return LibraryError(
                f"{self._uri}: the Milvus server knows the user but does not let it do this "
                f"({words}); let its administrator grant that, or use another's token"
            )
        if _NO_DATABASE.search(words):
            return LibraryError(
                f"{self._uri}: the Milvus server has no database {self._uri.database} ({words}); "
                "name one that is there, or none, or make it with Milvus's own tools"
            )
        if "collection" in words and "not" in words:
            return LibraryNotFound(
                f"{self._uri}: a collection of this library is gone ({words}); it was removed or "
                "embedded anew by another process: open it again"
            )
        return LibraryError(f"{self._uri}: Milvus answers with an error: {words}")

    def _refused(self, error: Exception) -> LibraryError:
        """What an error while connecting means."""
        words = _words(error)
        if self._uri.lite:
            return LibraryError(f"{self._uri}: cannot be opened: {words}")
        if any(said.search(words) for said in (_UNKNOWN_USER, _FORBIDDEN, _NO_DATABASE)):
            return self._error(error)
        hint = "is the address right, and is the server running?"
        if self._uri.address.startswith("https") and _UNTRUSTED.search(words):
            hint = (
                "is it a server with TLS, and is its certificate one that this machine trusts? "
                "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH may name a file of your own authority's"
            )
        return LibraryError(
            f"{self._uri}: no Milvus server answers at {self._uri.address} ({words}); {hint}"
        )


class _LastError(logging.Handler):
    """Keeps the error that was logged last."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.error = record.exc_info[1]


def _start_lite(uri: MilvusUri) -> None:
    """Start Milvus Lite for a file; it serves all clients of this process.

    Started here because pymilvus would only say that it failed: the reason goes to a log.
    """
    manager = needs("milvus_lite.server_manager", "milvus-lite").server_manager_instance
    # Its server logs what pymilvus asks for and it does not have, and errors that we raise.
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL)
    log = logging.getLogger("milvus_lite")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    reason = _LastError(logging.ERROR)
    log.addHandler(reason)
    with _lite_lock:
        try:
            started = manager.start_and_get_uri(uri.address)
        finally:
            log.removeHandler(reason)
        if started is None:
            if type(reason.error).__name__ == "DataDirLockedError":
                raise LibraryBusy(
                    f"{uri}: another process has it open, and Milvus Lite serves one at a time; "
                    "wait for it to end, or use a Milvus server"
                ) from reason.error
            raise LibraryError(
                f"{uri}: Milvus Lite cannot open it: {_words(reason.error or Exception('?'))}"
            ) from reason.error
        _lite_clients[uri.address] += 1


def _stop_lite(uri: MilvusUri) -> None:
    """Stop it after its last client here, so that another process can have the file."""
    if uri.lite:
        with _lite_lock:
            _lite_clients[uri.address] -= 1
            if not _lite_clients[uri.address]:
                manager = needs("milvus_lite.server_manager", "milvus-lite")
                manager.server_manager_instance.release_server(uri.address)


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
