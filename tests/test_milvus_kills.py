"""Milvus Lite killed while it makes or drops a collection: the file opens again."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.stores import CLIPS, SETTINGS, filled, new_clip, rows

from soundsearch import errors
from soundsearch.stores.milvus.store import MilvusStore
from soundsearch.stores.milvus.uri import MilvusUri
from soundsearch.stores.records import Counts

pytest.importorskip("milvus_lite")

NEWER = replace(SETTINGS, space="mini-2", dimension=8)

# Makes a library and is killed once a collection's folder, or the file in it, is there.
MAKE = """
import os, sys
from soundsearch.stores.milvus.store import MilvusStore
from support.stores import SETTINGS

address, call, end = sys.argv[1:]
real = getattr(os, call)

def killed(*arguments, **options):
    if call == "replace" and arguments[1].endswith(end):
        os._exit(9)
    real(*arguments, **options)
    if arguments[0].endswith(end):
        os._exit(9)

setattr(os, call, killed)
MilvusStore.create(address, SETTINGS)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("call", "end"),
    [("makedirs", "sounds_state"), ("makedirs", "sounds_clips_v2"),
     ("makedirs", "sounds_segments"), ("replace", "sounds_segments/schema.json")],
)  # fmt: skip
def test_a_library_is_made_where_making_it_was_killed(lite, call, end):
    done = subprocess.run(
        [sys.executable, "-c", MAKE, lite, call, end],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        timeout=60,
    )
    assert done.returncode == 9
    with pytest.raises(errors.LibraryNotFound):
        MilvusStore(lite)
    with closing(MilvusStore.create(lite, SETTINGS)) as store:
        ids = filled(store, CLIPS)
        assert store.counts() == Counts(4, 51, 0)
        np.testing.assert_array_equal(rows(store, ids[0])[0], CLIPS[0].embeddings)


def folder_of(lite, name):
    return Path(MilvusUri.parse(lite).address) / "collections" / name


@pytest.mark.slow
def test_embedding_again_goes_on_where_dropping_was_killed(lite):
    clip = replace(new_clip("/sounds/1.wav", 2, 1), embeddings=np.ones((2, 8), np.float32))
    with closing(MilvusStore.create(lite, SETTINGS)) as store:
        ids = filled(store, CLIPS)
        with store.writing():
            begun = store.successor(replace(NEWER, space="mini-1.5"))
            with begun.writing():
                begun.add([clip])
            begun.close()
    # What a kill leaves of a collection that was being dropped: its files go in any order.
    for name in ("sounds_clips_v2_2", "sounds_segments_2"):
        (folder_of(lite, name) / "schema.json").unlink()
    with closing(MilvusStore(lite)) as store:
        with store.writing(), closing(store.successor(NEWER)) as successor:
            with successor.writing():
                successor.add([clip])
            store.adopt(successor)
        assert store.counts() == Counts(1, 2, 0)
        assert store.clip_at("/sounds/1.wav").id == ids[0]


def test_rows_without_a_schema_are_not_deleted(lite):
    with closing(MilvusStore.create(lite, SETTINGS)) as store:
        filled(store, CLIPS)
    schema = folder_of(lite, "sounds_state") / "schema.json"
    kept = schema.read_bytes()
    schema.unlink()
    with pytest.raises(errors.LibraryError, match=r"sounds_state lacks its schema\.json.*copy"):
        MilvusStore.create(lite, SETTINGS)
    schema.write_bytes(kept)
    with closing(MilvusStore(lite)) as store:
        assert store.counts() == Counts(4, 51, 0)
