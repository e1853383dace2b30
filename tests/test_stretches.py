"""Sound in blocks against the same sound in one piece, with and without context."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import write
from soundsearch_ingest import decode, pipeline
from soundsearch_ingest.discover import discover
from soundsearch_ingest.logmel import FRAME_SECONDS, log_mel, patches
from soundsearch_ingest.stretches import SegmentStream, embed

RATE = 16_000


def sound(seconds, seed=1):
    return np.random.default_rng(seed).normal(0, 0.1, int(seconds * RATE)).astype(np.float32)


class Around:
    """An encoder whose embedding is a segment's mean spectrum and that of what is around it."""

    dimension = 128
    segment_seconds = hop_seconds = 0.96

    def __init__(self, context_frames):
        self.frames = context_frames
        self.context_seconds = context_frames * FRAME_SECONDS
        self.passes = []

    def embed(self, mel):
        self.passes.append(mel.shape[:2])
        out = []
        for frames in mel:
            for begin in range(0, len(frames), 96):
                around = frames[max(0, begin - self.frames) : begin + 96 + self.frames]
                out.append(np.concatenate((frames[begin : begin + 96].mean(0), around.mean(0))))
        return np.array(out, np.float32)


def streamed(x, encoder, hop_frames, block):
    """Embeddings of a sound that comes in blocks, and how many segments each stretch had."""
    stream = SegmentStream(hop_frames, round(encoder.context_seconds / FRAME_SECONDS))
    found = [stream.push(x[i : i + block]) for i in range(0, len(x), block)]
    stretches = [s for s in (*found, stream.finish()) if s is not None]
    parts = embed(stretches, encoder, hop_frames)
    assert [len(levels) for _, levels in parts] == [s.count for s in stretches]
    return np.concatenate([embeddings for embeddings, _ in parts]), stretches


@pytest.mark.parametrize("hop_frames", [96, 48, 1])
@pytest.mark.parametrize("block", [1, 399, 16_000, 70_000])
def test_without_context_a_segment_comes_when_it_is_complete(hop_frames, block):
    x = sound(1.25 if block == 1 else 4.4)
    whole = patches(log_mel(x), hop_frames).mean(1)
    found, stretches = streamed(x, Around(0), hop_frames, block)
    np.testing.assert_allclose(found[:, :64], whole, atol=1e-5)
    assert not any(stretch.padded for stretch in stretches)
    assert all(len(s.samples) <= block + 2 * RATE for s in stretches)


@pytest.mark.parametrize("hop_frames", [96, 48, 20])
@pytest.mark.parametrize("seconds", [3.0, 60.0, 300.0])
def test_context_is_the_same_wherever_stretches_end(hop_frames, seconds):
    x, encoder = sound(seconds), Around(150)
    frames = log_mel(x)
    count = len(patches(frames, hop_frames))
    found, stretches = streamed(x, encoder, hop_frames, 50_000)
    assert len(found) == count
    for number in range(count):
        begin = number * hop_frames
        own, around = found[number, :64], found[number, 64:]
        np.testing.assert_allclose(own, frames[begin : begin + 96].mean(0), atol=1e-4)
        # Where a pass begins within the first 0.96 s, or ends within the last, it hears less.
        if 246 <= begin <= len(frames) - 342:
            expected = frames[begin - 150 : begin + 246].mean(0)
            np.testing.assert_allclose(around, expected, atol=1e-4)
    assert len(stretches) == (3 if seconds == 300 else 1)
    assert max(len(s.samples) for s in stretches) < 140 * RATE


def test_sounds_of_one_length_are_heard_together():
    encoder = Around(150)
    stretches = []
    for seconds in (5, 10, 5, 10, 5):
        stream = SegmentStream(96, 150)
        assert stream.push(sound(seconds, seconds)) is None
        stretches.append(stream.finish())
    parts = embed(stretches, encoder, 96)
    assert sorted(encoder.passes) == [(2, 960), (3, 480)]
    np.testing.assert_array_equal(parts[0][0], parts[4][0])
    assert [len(levels) for _, levels in parts] == [5, 10, 5, 10, 5]


@pytest.mark.parametrize("length", [1, 399, 400, 15_599])
@pytest.mark.parametrize("context_frames", [0, 150])
def test_short_sound_is_padded_to_one_segment(length, context_frames):
    x = np.full(length, 0.5, np.float32)
    stream = SegmentStream(96, context_frames)
    assert stream.push(x) is None
    last = stream.finish()
    padded = np.zeros(15_600, np.float32)
    padded[:length] = x
    np.testing.assert_array_equal(last.samples, padded)
    assert (last.count, last.padded) == (1, True)


def test_an_array_is_embedded_like_blocks():
    x, encoder = sound(200), Around(150)
    whole = pipeline.embed_sound([x], encoder, 0.48)
    blocks = pipeline.embed_sound(np.array_split(x, 37), encoder, 0.48)
    for one, other in zip(whole, blocks, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


@pytest.mark.parametrize("workers", [1, 3])
def test_the_pipeline_hears_context_too(tmp_path, workers):
    for number, seconds in enumerate((0.3, 5, 5, 12, 250)):
        write(tmp_path / f"{number}.wav", sound(seconds, number))
    encoder = Around(150)
    results = list(pipeline.run(discover([str(tmp_path)]), encoder, 0.96, workers=workers))
    assert len(results) == 5
    for result in results:
        with decode.Decoder(result.file.uri) as decoder:
            embeddings, levels, duration = pipeline.embed_sound(decoder, encoder, 0.96)
        np.testing.assert_allclose(result.embeddings, embeddings, atol=1e-4)
        np.testing.assert_allclose(result.levels, levels, atol=0.01)
        assert (result.duration, result.padded) == (duration, duration < 0.9)
