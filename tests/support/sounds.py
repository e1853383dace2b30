"""Synthetic sounds for tests, and comparisons of vectors."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import soundfile
from soundsearch_ingest.decode import Decoder

RATE = 16_000


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
    """Equal except for 8-bit rounding, which the last bit of a sample may change.

    A log-mel that differs by 1e-6 changes mini-6's embeddings of a recording by cosines down to
    0.994, in the middle 0.9997, and by 4 % of their length.
    """
    assert found.shape == expected.shape
    norms = np.linalg.norm(found, axis=1), np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(norms[0], norms[1], rtol=0.05)
    assert ((found * expected).sum(1) / (norms[0] * norms[1])).min() > 0.99


def decode(path, **options):
    """A file's sound, and the decoder that read it."""
    with Decoder(path, **options) as decoder:
        return np.concatenate(list(decoder)), decoder


def pitch(sound):
    """The frequency of the strongest bin, in Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return spectrum.argmax() * RATE / len(sound)


def encode(path, codec, container, sound, rate=48_000, video=False):
    """Write a sound, optionally with a picture, through FFmpeg."""
    with av.open(str(path), "w", format=container) as file:
        stream = file.add_stream(codec, rate=rate)
        stream.layout = "mono"
        if video:
            picture = file.add_stream("mpeg4", rate=10)
            picture.width = picture.height = 64
            picture.pix_fmt = "yuv420p"
            for _ in range(10):
                image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
                for packet in picture.encode(image):
                    file.mux(packet)
            for packet in picture.encode(None):
                file.mux(packet)
        frame = av.AudioFrame.from_ndarray(
            (sound * 32767).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate = RATE
        if not stream.codec_context.is_open:
            stream.codec_context.open()
        convert = av.AudioResampler(
            format=stream.format, layout="mono", rate=rate, frame_size=stream.frame_size or 1024
        )
        for part in [*convert.resample(frame), *convert.resample(None)]:
            for packet in stream.encode(part):
                file.mux(packet)
        for packet in stream.encode(None):
            file.mux(packet)
