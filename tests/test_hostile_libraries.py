"""Libraries that somebody else made to harm: refused or read rightly, nothing run, no hang."""

from __future__ import annotations

import json
import os
import select
import shutil
import sqlite3
import struct
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import replace

import numpy as np
import pytest
from support.sounds import noise, write
from support.stores import filled, new_clip

from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import SEGMENT, FailureRecord, Settings

SECONDS = 20

# Opens each folder that it is told of, does each thing with it, and says how that ended.
WORKER = """
import json, sys
from dataclasses import replace
import numpy as np
import soundsearch

sound = np.random.default_rng(0).normal(0, 0.1, 16000).astype(np.float32)
actions = {
    "info": lambda lib: lib.info(),
    "clips": lambda lib: [str(clip) for clip in lib],
    "failures": lambda lib: lib.failures(),
    "query": lambda lib: [str(hit) for hit in lib.query(sound, sample_rate=16000)],
    "similar": lambda lib: [str(hit) for clip in lib for hit in lib.similar(clip.uri)],
    "label": lambda lib: len(lib.where("label['Dog'] > 0.1 or duration < 0")),
    "tag": lambda lib: len(lib.where("tag['mic'] == 'AKG' and uri like '%a%'")),
    "ingest": lambda lib: lib.ingest(sys.argv[1]).to_dict(),
    "tagging": lambda lib: lib.tag({sys.argv[1]: {"mic": "AKG"}}),
    "rebuild": lambda lib: lib.rebuild(),
    "remove": lambda lib: lib.remove([clip.uri for clip in lib][:1]),
}
print("ready", flush=True)
for line in sys.stdin:
    said = {}
    for name, action in actions.items():
        try:
            with soundsearch.open(line.rstrip()) as lib:
                action(lib)
            said[name] = "done"
        except soundsearch.SoundsearchError as error:
            said[name] = str(error)
        except BaseException as error:
            said[name] = f"INTERNAL {type(error).__name__}: {error}"
    print(json.dumps(said), flush=True)
"""


class Worker:
    def __init__(self, sound):
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(sound)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout.readline() == "ready\n"

    def try_all(self, folder):
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        there, _, _ = select.select([self._process.stdout], [], [], SECONDS)
        if not there:
            self._process.kill()
            pytest.fail(f"no answer within {SECONDS} s")
        return json.loads(self._process.stdout.readline())

    def close(self):
        self._process.communicate(timeout=60)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    process = Worker(write(tmp_path_factory.mktemp("sound") / "a.wav", noise(0, 2)))
    yield process
    process.close()


@pytest.fixture(scope="module")
def sound_library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good") / "library"
    settings = Settings("mini", "mini-6", 128, 0.96, 0.96)
    rng = np.random.default_rng(0)
    with closing(LocalStore.create(folder, settings)) as store:
        from soundsearch_ingest import encoders

        settings = replace(settings, space=encoders.load().space)
    shutil.rmtree(folder)
    with closing(LocalStore.create(folder, settings)) as store:
        clips = [new_clip(f"/{n}.wav", 3, n, tags={"mic": "AKG"}) for n in range(1, 6)]
        vectors = rng.normal(0, 1, (5, 3, 128)).astype(np.float32)
        filled(
            store,
            [
                replace(clip, embeddings=part, segments=np.zeros(3, SEGMENT))
                for clip, part in zip(clips, vectors, strict=True)
            ],
        )
        with store.writing():
            failed = replace(clips[0].record.file, uri="/failed.wav")
            store.fail([FailureRecord(failed, None, "no sound")])
    return folder


def test_a_sound_library_is_none_of_these(worker, sound_library, tmp_path):
    folder = shutil.copytree(sound_library, tmp_path / "library")
    assert set(worker.try_all(folder).values()) == {"done"}


RECURSIVE = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)"
DEEP = "[" * 100_000 + "]" * 100_000


# What is done to the catalogue, and whether all is refused for it.
def index_of(name, size, sums=None):
    """A statement that speaks of an index of one file."""
    shard = {"name": name, "size": size, "rows": 15, "sums": sums, "cell_sums": None}
    value = json.dumps({"trained": 15, "shards": [shard]})
    return f"INSERT INTO settings VALUES ('index', '{value}')"


STATEMENTS = {
    "a view that never ends": (
        f"DROP TABLE failures; CREATE VIEW failures AS {RECURSIVE} SELECT x'2f' uri, 1 size, "
        "1 mtime_ns, NULL digest, 'no' reason FROM n",
        True,
    ),
    "a view of clips": (
        "ALTER TABLE clips RENAME TO hidden; CREATE VIEW clips AS SELECT * FROM hidden",
        True,
    ),
    "a view beside": (f"CREATE VIEW more AS {RECURSIVE} SELECT x FROM n", True),
    "a trigger": (
        "CREATE TRIGGER t AFTER INSERT ON clips BEGIN DELETE FROM settings; END",
        True,
    ),
    "a trigger that never ends": (
        "CREATE TRIGGER t BEFORE UPDATE ON settings BEGIN INSERT INTO failures SELECT x, 1, 1, "
        f"NULL, 'no' FROM ({RECURSIVE} SELECT x FROM n); END",
        True,
    ),
    "a virtual table": (
        "DROP TABLE failures; CREATE VIRTUAL TABLE failures USING fts5(uri, size, mtime_ns, "
        "digest, reason)",
        True,
    ),
    "a table beside": ("CREATE TABLE more (x)", True),
    "an index that reckons": ("CREATE INDEX i ON clips (abs(size))", True),
    "no settings": ("DROP TABLE settings", True),
    "no failures": ("DROP TABLE failures", True),
    "no index": ("DROP INDEX clips_digest", True),
    "a generated column": ("ALTER TABLE failures ADD COLUMN x AS (hex(zeroblob(size)))", True),
    "a column more": ("ALTER TABLE clips ADD COLUMN x", True),
    "columns of other types": (
        "DROP TABLE failures; CREATE TABLE failures (uri, size, mtime_ns, digest, reason)",
        True,
    ),
    "settings twice": (
        "CREATE TABLE s AS SELECT * FROM settings; DROP TABLE settings; ALTER TABLE s RENAME TO "
        "settings; INSERT INTO settings SELECT * FROM settings",
        True,
    ),
    "another program's": ("PRAGMA application_id = 7", True),
    "the far future": ("PRAGMA user_version = 2147483647", True),
    "before the first": ("PRAGMA user_version = -2147483648", True),
    "no version": ("PRAGMA user_version = 0", True),
    "an older version than it is": ("PRAGMA user_version = 1", True),
    "settings that are deep": (f"UPDATE settings SET value = '{DEEP}'", True),
    "settings of another kind": ("UPDATE settings SET value = '{}'", True),
    "no settings in it": ("DELETE FROM settings", True),
    "a dimension of 0": ("UPDATE settings SET value = '0' WHERE key = 'dimension'", True),
    "a dimension of 64": ("UPDATE settings SET value = '64' WHERE key = 'dimension'", False),
    "a huge dimension": ("UPDATE settings SET value = '1e300' WHERE key = 'dimension'", True),
    "a huge number": (
        f"UPDATE settings SET value = '{'9' * 10_000}' WHERE key = 'revision'",
        False,
    ),
    "a hop that is none": ("UPDATE settings SET value = 'NaN' WHERE key = 'hop'", True),
    "an encoder elsewhere": (
        "UPDATE settings SET value = '\"../../etc/passwd\"' WHERE key = 'encoder'",
        False,
    ),
    "a generation elsewhere": (
        "UPDATE settings SET value = '\"../1\"' WHERE key = 'generation'",
        False,
    ),
    "fewer rows": ("UPDATE settings SET value = '3' WHERE key = 'rows'", False),
    "no rows": ("UPDATE settings SET value = '-9' WHERE key = 'rows'", False),
    "huge rows": ("UPDATE settings SET value = '4611686018427387904' WHERE key = 'rows'", False),
    "an index elsewhere": (index_of("../victim", 6), False),
    "an index that is none": (index_of("index-1-15.faiss", 8), False),
    "sums that are none": (index_of("index-1-15.faiss", 8, sums={}), False),
    "texts for numbers": ("UPDATE clips SET size = 'x', mtime_ns = 'y', duration = 'z'", False),
    "a text for a uri": ("UPDATE clips SET uri = '/1.wav' || id", False),
    "a uri with a zero": ("UPDATE clips SET uri = x'2f0031' || id", False),
    "failures with a zero": ("UPDATE failures SET uri = x'2f0031'", False),
    "failures of other types": ("UPDATE failures SET uri = 'x', size = 'y', digest = 7", False),
    "a duration without end": ("UPDATE clips SET duration = 9e999", False),
    "negative counts": (
        "PRAGMA ignore_check_constraints = 1; UPDATE clips SET count = -count",
        False,
    ),
    "huge counts": ("UPDATE clips SET count = 9223372036854775807", False),
    "counts that are texts": (
        "PRAGMA ignore_check_constraints = 1; UPDATE clips SET count = 'x'",
        False,
    ),
    "negative rows": ("UPDATE clips SET first_row = -first_row - 1", False),
    "huge rows of clips": (
        "UPDATE clips SET first_row = 9223372036854775807 - first_row",
        False,
    ),
    "rows that are texts": ("UPDATE clips SET first_row = 'x' || first_row", False),
    "rows of others": ("UPDATE clips SET first_row = 1 WHERE id = 2", False),
    "labels cut": ("UPDATE clips SET labels = x'00'", False),
    "labels that are none": (
        "UPDATE clips SET labels = x'ff0f003c', human_labels = x'ff0f'",
        False,
    ),
    "no digest": ("UPDATE clips SET digest = x''", False),
    "tags that are deep": (f"UPDATE clips SET tags = '{{\"mic\":{DEEP}}}'", False),
    "tags that are none": ("UPDATE clips SET tags = '[\"mic\":]'", False),
    "tags of other kinds": ('UPDATE clips SET tags = \'{"mic":{"a":[1]}}\'', False),
    "checksums that are texts": ("UPDATE clips SET checksum = 'x'", False),
    "postings cut": ("UPDATE postings SET postings = x'0102'", False),
    "postings that are texts": ("UPDATE postings SET postings = 'x'", False),
    "postings of others": ("UPDATE postings SET postings = randomblob(1300)", False),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_hostile_catalogue(worker, sound_library, tmp_path, name):
    statements, refused = STATEMENTS[name]
    folder = shutil.copytree(sound_library, tmp_path / "library")
    victim = tmp_path / "victim"
    victim.write_bytes(b"victim")
    (folder / "index-1-15.faiss").write_bytes(b"IwSq\0\0\0\1")
    with closing(sqlite3.connect(folder / "catalog.sqlite", isolation_level=None)) as catalog:
        catalog.executescript(statements)
        # Whoever makes such a catalogue makes its checksums too, or leaves them out.
        with suppress(sqlite3.Error):
            catalog.execute("UPDATE clips SET record_sum = NULL")
        with suppress(sqlite3.Error):
            catalog.execute("DELETE FROM settings WHERE key = 'settings_sum'")
    ends = worker.try_all(folder)
    assert not [end for end in ends.values() if end.startswith("INTERNAL")], ends
    if refused:
        assert all(str(folder) in end for end in ends.values()), ends
    assert victim.read_bytes() == b"victim"


def loop_pages(path, table):
    """Make a tree of pages that has more leaves than can be visited, as pages are in it often."""
    with closing(sqlite3.connect(path, isolation_level=None)) as catalog:
        catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        size = catalog.execute("PRAGMA page_size").fetchone()[0]
        [root] = catalog.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
    data = bytearray(path.read_bytes())
    leaf = data[(root - 1) * size : root * size]
    pages = len(data) // size
    cells = 200

    def inner(child):
        page = bytearray(size)
        page[0] = 5
        struct.pack_into(">HHHB", page, 1, 0, cells, size - 6 * cells, 0)
        struct.pack_into(">I", page, 8, child)
        for n in range(cells):
            at = size - 6 * (n + 1)
            struct.pack_into(">H", page, 12 + 2 * n, at)
            struct.pack_into(">IBB", page, at, child, 0x81, n & 0x7F)
        return page

    data[(root - 1) * size : root * size] = inner(pages + 1)
    for depth in range(1, 7):
        data += inner(pages + depth + 1)
    data += leaf
    struct.pack_into(">I", data, 28, len(data) // size)
    path.write_bytes(data)


@pytest.mark.slow
@pytest.mark.parametrize("table", ["clips", "places"])
def test_a_catalogue_larger_than_its_file(worker, sound_library, tmp_path, table):
    folder = shutil.copytree(sound_library, tmp_path / "library")
    loop_pages(folder / "catalog.sqlite", table)
    ends = worker.try_all(folder)
    assert not [end for end in ends.values() if end.startswith("INTERNAL")], ends
    # Where clips are said to be is read from them, if need be.
    assert ends["info"] == "done"
    assert table == "places" or "longer than its size" in ends["label"]


def journal_of(victim):
    """A journal of SQLite as a kill leaves one, which says that `victim` is its superior."""
    magic = bytes.fromhex("d9d505f920a163d7")
    name = os.fsencode(victim)
    header = magic + struct.pack(">IIIII", 0, 1, 1, 512, 4096)
    return b"".join(
        (
            header.ljust(512, b"\0"),
            struct.pack(">I", (1 << 30) // 4096 + 1),
            name,
            struct.pack(">II", len(name), sum(name)),
            magic,
        )
    )


def test_a_journal_that_would_delete_another_file(worker, sound_library, tmp_path):
    folder = shutil.copytree(sound_library, tmp_path / "library")
    victim = tmp_path / "victim"
    victim.write_bytes(b"victim")
    (folder / "catalog.sqlite-journal").write_bytes(journal_of(victim))
    ends = worker.try_all(folder)
    assert all("catalog.sqlite-journal" in end for end in ends.values()), ends
    assert victim.read_bytes() == b"victim"


def be_folder(path):
    path.mkdir()


def be_pipe(path):
    os.mkfifo(path)


def be_loop(path):
    path.symlink_to(path)


def be_device(path):
    path.symlink_to("/dev/zero")


@pytest.mark.skipif(os.name == "nt", reason="makes pipes and links")
@pytest.mark.parametrize("make", [be_folder, be_pipe, be_loop, be_device])
@pytest.mark.parametrize(
    "name",
    ["catalog.sqlite", "catalog.sqlite-wal", "catalog.sqlite-shm", "vectors-1.f32",
     "segments-1.rows", "writer.lock", "writer.json", "successor"],
)  # fmt: skip
def test_what_is_no_file(worker, sound_library, tmp_path, name, make):
    folder = shutil.copytree(sound_library, tmp_path / "library")
    (folder / name).unlink(missing_ok=True)
    make(folder / name)
    ends = worker.try_all(folder)
    assert not [end for end in ends.values() if end.startswith("INTERNAL")], ends
