"""Programs that run where file systems of their own are mounted: full ones, read-only ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRELUDE = """
import errno, os, pickle, subprocess, sys
from contextlib import closing
from pathlib import Path
import numpy as np
import soundsearch
from soundsearch import errors
from soundsearch.stores.local.store import LocalStore
from soundsearch.stores.records import Counts
from support.kills import killed
from support.stores import CLIPS, SETTINGS, new_clip, rows, search

folder = Path(sys.argv[1])

ADD = '''
import os, pickle, sys
from pathlib import Path
from soundsearch.stores.local.store import LocalStore
store = LocalStore(Path(sys.argv[1]))
with store.writing():
    store.add(pickle.loads(bytes.fromhex(sys.argv[2])))
    if sys.argv[3] == "remove":
        store.remove([next(store.clips()).id])
        store.rebuild()
    if sys.argv[3] == "True":
        os._exit(0)
store.close()
'''

def add(clips, die=False):
    # In a process of its own: what SQLite knows of a file is shared within one.
    clips = pickle.dumps(clips).hex()
    subprocess.run([sys.executable, "-c", ADD, folder, clips, str(die)], check=True)

def check(store, clips):
    assert store.counts().clips == len(clips)
    assert [clip.uri for clip in store.clips()] == [clip.record.uri for clip in clips]
    for clip in clips:
        clip_id = store.clip_at(clip.record.uri).id
        assert (rows(store, clip_id)[0] == clip.embeddings).all()
        assert search(store, clip.embeddings[:1], 1)[0] == [[clip_id]]

def fill():
    with open(folder.parent / "ballast", "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError as error:
            assert error.errno == errno.ENOSPC
"""

_UNSHARE = ["unshare", "-m"] if getattr(os, "geteuid", int)() == 0 else ["unshare", "-rm"]


def in_mounts(script, folder, mount="mount -t tmpfs -o size=2m none {parent}"):
    """Run a program where file systems of its own are mounted; nobody else sees them."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    probe = [*_UNSHARE, "sh", "-c", mount.format(parent=folder.parent)]
    try:
        made = subprocess.run(probe, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"cannot mount a file system: {error}")
    if made.returncode:
        pytest.skip(f"cannot mount a file system: {made.stderr.strip()}")
    here = str(Path(__file__).parents[1])
    run = subprocess.run(
        [*_UNSHARE, "sh", "-c", f'{mount.format(parent=folder.parent)} && exec "$@"', "sh",
         sys.executable, "-c", PRELUDE + script, str(folder)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": here},
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
