"""The connection to a Ray cluster, or to a local one that is started and ends with the ingest."""

from __future__ import annotations

import logging
import os
import socket
from contextlib import suppress
from typing import Any

from soundsearch_ingest.extras import needs
from soundsearch_ingest.pipeline import available_cores

from ..errors import ClusterError

__all__ = ["connect"]

_CONNECT_SECONDS = 10.0
# Nothing but paths and reports goes through the object store: the least that Ray takes.
_STORE_BYTES = 80 << 20


def connect(address: str | None) -> tuple[Any, bool]:
    """Connect to Ray, silently.

    Parameters
    ----------
    address : str, optional
        ``auto``, ``HOST:PORT`` or ``ray://HOST:PORT``. By default ``RAY_ADDRESS`` from the
        environment, else Ray is started on this machine.

    Returns
    -------
    ray : module
    ours : bool
        Whether this call made the connection, so that it is to be shut down; a program that is
        connected stays so.

    Raises
    ------
    MissingExtra, ClusterError
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ray = needs("ray", "ray")
    if ray.is_initialized():
        return ray, False
    where = address or os.environ.get("RAY_ADDRESS") or "local"
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if where == "local":
        options["include_dashboard"] = False
        options["num_cpus"] = available_cores()
        options["object_store_memory"] = _STORE_BYTES
    try:
        _reach(where)
        ray.init(address=where, **options)
    except Exception as error:  # Ray raises many kinds
        raise ClusterError(
            f"{where}: cannot be used as a Ray cluster ({_first_line(error)}); expected auto, "
            "HOST:PORT or ray://HOST:PORT of one that runs; without an address one is started "
            "on this machine"
        ) from error
    with suppress(AttributeError):
        # It prints what happens to nodes on standard output, which is ours.
        ray._private.worker._worker_logs_enabled = False
    return ray, True


def _reach(where: str) -> None:
    """Connect to an address, and no more: Ray tries one for minutes where nothing listens."""
    host, _, port = where.rpartition("://")[2].rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), _CONNECT_SECONDS).close()


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
