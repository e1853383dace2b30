"""Sounds that the tests make themselves."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.milvus_places import lite, milvus, milvus_store
from support.milvus_server import MilvusServer, why_not
from support.stores import place, store

__all__ = ["lite", "milvus", "milvus_store", "place", "store"]  # fixtures

RATE = 16_000

# Encoders that are installed on this machine are none of the tests' business.
os.environ["SOUNDSEARCH_MODELS"] = os.path.join(os.path.dirname(__file__), "no models")


def tone(hertz: float, seconds: float, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(
        np.float32
    )


def noise(seed: int, seconds: float, level: float = 0.1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, int(seconds * RATE)).astype(np.float32)


def write(path: Path, sound: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sound, RATE, **options)
    return path


def assert_same_embeddings(found: np.ndarray, expected: np.ndarray) -> None:
    """The same but for 8-bit rounding, which the last bit of a sample may tip."""
    assert found.shape == expected.shape
    norms = np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(norms[0], norms[1], rtol=0.02)
    assert ((found * expected).sum(1) / (norms[0] * norms[1])).min() > 0.999


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


@pytest.fixture(scope="session")
def milvus_server(tmp_path_factory):
    """A real Milvus server, for tests marked `server`."""
    if reason := why_not():
        pytest.skip(reason)
    server = MilvusServer(tmp_path_factory.mktemp("milvus"))
    yield server
    server.close()
