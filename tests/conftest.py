"""Fixtures that many tests share."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from support.milvus_places import lite, milvus, milvus_store
from support.milvus_server import MilvusServer, why_not
from support.page import browser, page, window
from support.sounds import RATE, noise, tone, write
from support.stores import place, store

import soundsearch

# Fixtures.
__all__ = [
    "browser",
    "lite",
    "milvus",
    "milvus_store",
    "page",
    "place",
    "store",
    "window",
]

# The tests do not see encoders that are installed on this machine.
os.environ["SOUNDSEARCH_MODELS"] = os.path.join(os.path.dirname(__file__), "no models")

# Hundreds of processes would compile every module anew where nothing may be kept of that: a third
# of what each costs.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# A shell that runs pytest in the background ignores Ctrl-C, and so would what is tested.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def memory_path(tmp_path):
    """A folder in memory where there is such a file system, for hundreds of kills.

    What a killed process wrote is there whether or not it reached the disk.
    """
    memory = Path("/dev/shm")
    if not os.access(memory, os.W_OK) or shutil.disk_usage(memory).free < 1 << 28:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture
def sounds(tmp_path) -> Path:
    """A folder of six clips: three tones, two noises, and silence around a chirp."""
    folder = tmp_path / "sounds"
    write(folder / "low.wav", tone(220, 3))
    write(folder / "middle.flac", tone(880, 4))
    write(folder / "deeper" / "high.ogg", tone(3520, 5))
    write(folder / "deeper" / "hiss.wav", noise(1, 5))
    write(folder / "rumble.WAV", np.cumsum(noise(2, 4, 0.003)).astype(np.float32) * 0.1)
    phase = 2 * np.pi * np.cumsum(np.linspace(400, 4000, 2 * RATE)) / RATE
    chirp = (0.3 * np.sin(phase)).astype(np.float32)
    quiet = np.zeros(4 * RATE, np.float32)
    write(folder / "chirp.flac", np.concatenate([quiet, chirp, quiet]))
    return folder


@pytest.fixture
def tones_and_noises(tmp_path):
    """A library of six tones, six noises, and six of both."""
    for number in range(6):
        low, hiss = tone(300 + 10 * number, 2), noise(number, 2)
        write(tmp_path / "s" / f"tone{number}.wav", low)
        write(tmp_path / "s" / f"noise{number}.wav", hiss)
        write(tmp_path / "s" / f"both{number}.wav", 0.5 * low + 0.3 * hiss)
    with soundsearch.open(tmp_path / "l") as library:
        library.ingest([tmp_path / "s"])
        yield library


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory):
    """A real Milvus server, for tests marked `server`."""
    if reason := why_not():
        pytest.skip(reason)
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    yield server
    server.close()


@pytest.fixture(scope="module")
def without_sentences():
    """Words are read without the extra `text`, which takes seconds to load."""
    from soundsearch.asking import by_words
    from soundsearch.labels import wording

    with pytest.MonkeyPatch.context() as patched:
        for module in (by_words, wording):
            patched.setattr(module, "has_sentences", lambda: False)
        yield
