"""Starting and stopping Milvus Lite: a small Milvus inside this process, over one file."""

from __future__ import annotations

import logging
import threading
from collections import Counter

from soundsearch_ingest.extras import needs

from ...errors import LibraryBusy, LibraryError
from .uri import MilvusUri

__all__ = ["start_lite", "stop_lite"]

_lock = threading.Lock()
_clients: Counter[str] = Counter()


class _LastError(logging.Handler):
    """Keeps the last error that was logged."""

    error: BaseException | None = None

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.error = record.exc_info[1]


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
