"""Libraries in Milvus for tests: their addresses, and data that only tests inspect."""

from __future__ import annotations

import secrets
import threading
from contextlib import closing

import pytest

from soundsearch.stores.milvus.client import MilvusClient
from soundsearch.stores.milvus.store import MilvusStore

from .stores import SETTINGS

KINDS = ["lite", pytest.param("server", marks=pytest.mark.server)]

# A process that ingests a folder and prints each file once it is stored.
INGEST = """
import sys, soundsearch
lib = soundsearch.open(sys.argv[1])
lib.ingest(sys.argv[2], on_file=lambda uri, outcome: print(outcome, uri, flush=True))
"""


class Killed(BaseException):
    """Raised in place of killing the process."""


def die(*_arguments, **_options):
    raise Killed


@pytest.fixture
def lite(tmp_path):
    """The address of a library in Milvus Lite that does not exist yet."""
    pytest.importorskip("milvus_lite")
    return f"milvus-lite:{tmp_path / 'sounds.db'}"


@pytest.fixture(params=KINDS)
def milvus(request):
    """The address, in each kind of Milvus, of a library that does not exist yet."""
    if request.param == "lite":
        return request.getfixturevalue("lite")
    address = request.getfixturevalue("milvus_server").address
    return f"milvus://{address}/t{secrets.token_hex(8)}"


@pytest.fixture
def milvus_store(milvus):
    """A new store of each kind of Milvus."""
    with closing(MilvusStore.create(milvus, SETTINGS)) as store:
        yield store


def all_segments(store) -> list[dict]:
    """The rows of all segments, including those without a clip."""
    return store._client.query(store._tables.segments, "id > 0", ["id"], "Strong", 16_384)


def is_lease() -> bool:
    """Whether this is the thread that renews a lease."""
    return threading.current_thread().name == "lease"


class Counted:
    """Counts the requests for rows that a real client sends, and the rows that come.

    `waits` are requests of the thread that made this, one after the other. How often a lease is
    renewed depends on how long things take: its requests do not count.
    """

    def __init__(self, monkeypatch) -> None:
        self.requests = self.waits = self.rows = 0
        self._thread = threading.get_ident()
        for name in ("query", "search"):
            monkeypatch.setattr(MilvusClient, name, self._counting(getattr(MilvusClient, name)))

    def _counting(self, method):
        def counted(*arguments, **options):
            found = method(*arguments, **options)
            if is_lease():
                return found
            self.requests += 1
            self.waits += threading.get_ident() == self._thread
            self.rows += len(found)
            return found

        return counted
