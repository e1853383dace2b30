"""Starting and stopping Milvus Lite: a small Milvus inside this process, over one file."""

from __future__ import annotations

import logging
import shutil
import threading
from collections import Counter, defaultdict
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from soundsearch_ingest.extras import needs

from ...errors import LibraryBusy, LibraryError
from .uri import MilvusUri

__all__ = ["delete_rest", "make_way", "opening", "start_lite", "stop_lite"]

_lock = threading.Lock()
_clients: Counter[str] = Counter()
_opening: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)


class _LastError(logging.Handler):
    """Keeps the last error that was logged."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.error = record.exc_info[1]


def opening(uri: MilvusUri) -> AbstractContextManager[object]:
    """Let one thread of this process open a library at a time, in Milvus Lite.

    It opens a collection twice if two threads ask for it first at once, and forgets one of the two:
    what was loaded is then not.
    """
    if not uri.lite:
        return nullcontext()
    with _lock:
        return _opening[uri.address]


def start_lite(uri: MilvusUri) -> None:
    """Start Milvus Lite for a file; it serves all clients of this process.

    pymilvus would start it too, but reports only that the start failed; the reason is in a log.

    Raises
    ------
    LibraryBusy
        Another process has the file open.
    LibraryError, MissingExtra
    """
    manager = needs("milvus_lite.server_manager", "milvus-lite").server_manager_instance
    # Its server logs calls that it does not implement, and errors that we raise ourselves.
    logging.getLogger("grpc._server").setLevel(logging.CRITICAL)
    log = logging.getLogger("milvus_lite")
    log.propagate = False
    if not log.handlers:
        log.addHandler(logging.NullHandler())
    reason = _LastError(logging.ERROR)
    log.addHandler(reason)
    with _lock:
        try:
            started = manager.start_and_get_uri(uri.address)
        finally:
            log.removeHandler(reason)
        if started is None:
            if type(reason.error).__name__ == "DataDirLockedError":
                raise LibraryBusy(
                    f"{uri}: another process has it open, and Milvus Lite serves one process at "
                    "a time; wait until that process ends, or use a Milvus server"
                ) from reason.error
            raise LibraryError(
                f"{uri}: Milvus Lite cannot open it: {reason.error or 'it gives no reason'}"
            ) from reason.error
        _clients[uri.address] += 1


def stop_lite(uri: MilvusUri) -> None:
    """Stop Milvus Lite after this process's last client, so that others can open the file."""
    with _lock:
        _clients[uri.address] -= 1
        if not _clients[uri.address]:
            manager = needs("milvus_lite.server_manager", "milvus-lite")
            manager.server_manager_instance.release_server(uri.address)


# Milvus Lite keeps a collection in a folder, which is one once it holds this file. It makes the
# folder first, and deletes its files in any order: what a kill leaves has the name for ever.
_SCHEMA = "schema.json"


def _rest(uri: MilvusUri, name: str) -> Path | None:
    """The folder that has the name of a collection and is none."""
    place = Path(uri.address)
    folder = place / "collections" / name
    return folder if folder.is_dir() and not (folder / _SCHEMA).exists() else None


def make_way(uri: MilvusUri, name: str) -> None:
    """Delete what a process left that was killed when it made this collection.

    Raises
    ------
    LibraryError
        There are rows in it: it was a collection once.
    """
    folder = _rest(uri, name)
    if folder is None:
        return
    files = [file for file in folder.rglob("*") if not file.is_dir()]
    if any(file.name != f"{_SCHEMA}.tmp" for file in files):
        raise LibraryError(
            f"{uri}: {folder} lacks its {_SCHEMA}, so that its rows cannot be read; restore the "
            "file from a copy, or delete that folder and ingest again"
        )
    delete_rest(uri, name)


def delete_rest(uri: MilvusUri, name: str) -> None:
    """Delete what a process left that was killed when it dropped this collection."""
    folder = _rest(uri, name)
    if folder is not None:
        try:
            shutil.rmtree(folder)
        except OSError as error:
            raise LibraryError(f"{uri}: cannot be written to ({error})") from error
