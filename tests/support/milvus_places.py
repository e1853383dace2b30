"""Libraries in Milvus for tests: where one may be made, and what only tests look at."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from contextlib import closing

import pytest

from soundsearch.stores.milvus.store import MilvusStore

from .stores import SETTINGS

KINDS = ["lite", pytest.param("server", marks=pytest.mark.server)]

# A process that ingests a folder and says what is done.
INGEST = """
import sys, soundsearch
lib = soundsearch.open(sys.argv[1])
lib.ingest(sys.argv[2], on_file=lambda uri, outcome: print(outcome, uri, flush=True))
"""


def run(*arguments, library, **environment):
    """The command line, in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "soundsearch", *map(str, arguments), "--library", str(library)],
        capture_output=True,
        env={**os.environ, "PYTHONWARNINGS": "", **environment},
        timeout=60,
    )


class Killed(BaseException):
    """Stands in for the end of a process."""


def die(*_arguments, **_options):
    raise Killed


@pytest.fixture
def lite(tmp_path):
    """The address of a library in Milvus Lite that is not there yet."""
    pytest.importorskip("milvus_lite")
    return f"milvus-lite:{tmp_path / 'sounds.db'}"


@pytest.fixture(params=KINDS)
def milvus(request):
    """The address of a library in Milvus of each kind that is not there yet."""
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
    """The rows of all segments, of clips or not."""
    return store._client.query(store._tables.segments, "id > 0", ["id"], "Strong", 16_384)
