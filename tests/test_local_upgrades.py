"""Libraries made by older versions, with clips in them, are upgraded and answer alike."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import random
import shutil
import sqlite3
import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile
from support.stores import (
    CLIPS,
    SETTINGS,
    amend,
    filled,
    new_clip,
    rows,
    same_record,
)

import soundsearch
from soundsearch import errors
from soundsearch.stores.filters import Comparison, Label, Or, Plain, matches
from soundsearch.stores.local import schema
from soundsearch.stores.local.locking import FileLock
from soundsearch.stores.local.store import LocalStore

DATA = Path(__file__).parent / "data" / "library-0.1"
EXPECTED = json.loads((DATA / "expected.json").read_text())


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "library"


@pytest.fixture
def store(folder):
    with_store = LocalStore.create(folder, SETTINGS)
    yield with_store
    with_store.close()


def copy_of(kind, folder):
    shutil.copytree(DATA / kind, folder)
    return folder


def version_of(folder):
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog:
        return catalog.execute("PRAGMA user_version").fetchone()[0]


def make_first_schema(folder):
    """The catalogue in the first schema, with the same clips."""
    path = folder / "catalog.sqlite"
    path.rename(folder / "later.sqlite")
    with closing(sqlite3.connect(path)) as first, first:
        first.execute(f"PRAGMA application_id = {schema.APPLICATION_ID}")
        first.executescript(f"{schema.MIGRATIONS[0]} PRAGMA user_version = 1;")
        first.execute("ATTACH ? AS later", (str(folder / "later.sqlite"),))
        for table in ("settings", "failures", "clips"):
            names = ", ".join(row[1] for row in first.execute(f"PRAGMA main.table_info({table})"))
            first.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM later.{table}")
    (folder / "later.sqlite").unlink()


@pytest.mark.parametrize("kind", ["mini", "audioset"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_library_of_version_0_1_opens_and_answers_alike(folder, kind, version):
    copy_of(kind, folder)
    if version == 1:
        make_first_schema(folder)
    assert version_of(folder) == version
    expected = EXPECTED[kind]
    with soundsearch.open(folder) as lib:
        for clip in expected["clips"]:
            answer = [
                [
                    hit.uri,
                    round(hit.score, 4),
                    round(hit.start, 3),
                    round(hit.end, 3),
                    [[label.name, round(label.score, 3)] for label in hit.labels],
                ]
                for hit in lib.similar(clip["uri"], k=5)
            ]
            assert answer == expected["similar"][clip["uri"]]
            digest = hashlib.blake2b(lib.vectors(clip["uri"]).tobytes(), digest_size=16)
            assert digest.hexdigest() == expected["vectors"][clip["uri"]]
        info = lib.info()
        assert {key: info[key] for key in expected["info"]} == expected["info"]
    assert version_of(folder) == len(schema.MIGRATIONS)
    with closing(LocalStore(folder)) as store:
        clips = list(store.clips())
        assert [stored_as_0_1(clip) for clip in clips] == [
            {**clip, "human_labels": clip["human_labels"] if version > 1 else []}
            for clip in expected["clips"]
        ]
        assert [
            {"uri": failure.file.uri, "reason": failure.reason, "digest": failure.digest.hex()}
            for failure in store.failures()
        ] == expected["failures"]
        check_filters(store)
        amend(store, clips[0].id, tags={"mic": "AKG"})
        with store.writing():
            assert store.rebuild() == 0
        check_filters(store)
        assert store.clip_at(clips[0].uri).record.tags == {"mic": "AKG"}


def stored_as_0_1(clip):
    record = clip.record
    return {
        "id": clip.id,
        "count": clip.count,
        "uri": record.uri,
        "size": record.file.size,
        "mtime_ns": record.file.mtime_ns,
        "digest": record.digest.hex(),
        "duration": record.duration,
        "padded": record.padded,
        "warning": record.warning,
        "labels": [list(label) for label in record.labels.tolist()],
        "human_labels": list(record.human_labels),
    }


def check_filters(store):
    clips = list(store.clips())
    rng = random.Random(0)
    classes = {label[0] for clip in clips for label in clip.record.labels.tolist()}
    classes |= {index for clip in clips for index in clip.record.human_labels}
    assert classes
    with store.reading() as reading:
        for index in sorted(classes):
            label = Comparison(Label(frozenset([index])), ">", rng.choice((0.0, 0.2, 0.5)))
            filter = Or((label, Comparison(Plain("segments"), "==", 1.0)))
            for asked in (label, filter):
                expected = sum(matches(asked, clip) for clip in clips)
                assert reading.counts(asked).clips == expected


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 35), reason="drops a column")
def test_clips_without_checksums_get_them_from_a_rebuild(store, folder):
    ids = [store.clip_at(clip.record.uri).id for clip in CLIPS if filled(store, [clip])]
    store.close()
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("ALTER TABLE clips DROP COLUMN checksum")
        catalog.execute("ALTER TABLE clips DROP COLUMN record_sum")
        catalog.execute("ALTER TABLE clips DROP COLUMN human_events")
        catalog.execute("DROP TABLE keys")
        catalog.execute("DROP TABLE places")
        catalog.execute("PRAGMA user_version = 3")
    with closing(LocalStore(folder)) as upgraded:
        for clip_id, clip in zip(ids, CLIPS, strict=True):
            np.testing.assert_array_equal(rows(upgraded, clip_id)[0], clip.embeddings)
        with upgraded.writing():
            assert upgraded.rebuild() == 0
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog:
        [count] = catalog.execute("SELECT count(*) FROM clips WHERE checksum > 0").fetchone()
    assert count == 4


def test_two_processes_may_upgrade_at_once(folder):
    copy_of("mini", folder)
    start, wrong = threading.Barrier(4), []

    def open_it():
        start.wait()
        try:
            with closing(LocalStore(folder)) as store:
                assert store.counts().clips == 10
        except BaseException as error:
            wrong.append(error)
            raise

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    with closing(LocalStore(folder)) as store:
        check_filters(store)


def upgrade_and_die(folder):
    def die(_connection):
        os._exit(9)

    schema._FILL[3] = die
    LocalStore(folder)


def test_an_upgrade_that_is_killed_leaves_what_was(folder):
    copy_of("mini", folder)
    process = multiprocessing.get_context("spawn").Process(target=upgrade_and_die, args=(folder,))
    process.start()
    process.join(60)
    assert process.exitcode == 9
    assert version_of(folder) == 2
    with closing(LocalStore(folder)) as store:
        assert store.counts().clips == 10
        check_filters(store)


def test_a_newer_library_is_refused(store, folder):
    store.close()
    with sqlite3.connect(folder / "catalog.sqlite") as catalog:
        catalog.execute("PRAGMA user_version = 1000")
    catalog.close()
    with pytest.raises(errors.LibraryVersion, match=r"newer.*schema 1000.*upgrade"):
        LocalStore(folder)


def test_an_older_library_that_cannot_be_written_to(folder, monkeypatch):
    copy_of("mini", folder)
    path = (folder / "catalog.sqlite").as_uri()
    monkeypatch.setattr(
        "soundsearch.stores.local.connecting._connect",
        lambda _uri: sqlite3.connect(f"{path}?immutable=1", uri=True, isolation_level=None),
    )
    with pytest.raises(errors.LibraryVersion, match=r"older.*schema 2.*schema 8.*be written to"):
        LocalStore(folder)


def test_an_older_library_that_is_being_written_to(folder, monkeypatch):
    copy_of("mini", folder)
    monkeypatch.setattr(schema, "_PATIENCE", 0.1)
    (folder / "writer.json").write_text('{"pid": 12, "host": "there", "command": []}')
    with (
        FileLock(folder / "writer.lock"),
        pytest.raises(errors.LibraryBusy, match=r"schema 2.*process 12 on there"),
    ):
        LocalStore(folder)
    assert version_of(folder) == 2


def test_a_library_that_is_upgraded_while_it_is_open_is_not_written_to(folder):
    with closing(LocalStore.create(folder, SETTINGS)) as store:
        [clip_id] = filled(store, CLIPS[:1])
        with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
            catalog.execute("PRAGMA user_version = 99")
        assert store.clip_at(CLIPS[0].record.uri)
        with pytest.raises(errors.LibraryVersion, match=r"upgraded it \(schema 99.*start again"):
            amend(store, clip_id, tags={})
        with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
            catalog.execute("UPDATE clips SET record_sum = 0")  # of columns not known here
        with pytest.raises(errors.LibraryVersion):
            store.clip_at(CLIPS[0].record.uri)


def test_migrations_are_never_edited():
    digest = hashlib.blake2b("".join(schema.MIGRATIONS).encode(), digest_size=8).hexdigest()
    assert (len(schema.MIGRATIONS), digest) == (8, "e95f5f6d7e5c60b4")


def test_eight_bit_vectors_stay_as_they_are(folder):
    copy_of("audioset", folder)
    with closing(LocalStore(folder)) as store:
        clip = next(store.clips())
        before = rows(store, clip.id)[0]
        with store.writing():
            store.add(
                [
                    replace(
                        new_clip("/copy", 4, 1),
                        embeddings=before,
                        record=replace(clip.record, file=AudioFile("/copy", 1, 1)),
                    )
                ]
            )
            store.rebuild()
        copied = store.clip_at("/copy")
        np.testing.assert_array_equal(rows(store, copied.id)[0], before)
        assert same_record(copied.record, replace(clip.record, file=copied.record.file))
    assert os.path.getsize(folder / "vectors-2.u8") == 7 * 4 * 128
