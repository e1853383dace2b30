"""The pipeline's results against a plain loop, under every kind of interruption."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from soundsearch_ingest import decode, encoders, logmel, pipeline
from soundsearch_ingest.discover import discover, stat_file
from soundsearch_ingest.errors import ArgumentError
from soundsearch_ingest.logmel import SILENT
from support.sounds import assert_same_embeddings, noise, tone, write


def by_hand(path, encoder, hop_frames=96):
    """Embed one file after the other, each in one piece."""
    frames = logmel.log_mel(decode.read(path))
    count = len(logmel.patches(frames, hop_frames))
    if not encoder.context_seconds:
        return encoder.embed(logmel.patches(frames, hop_frames))
    passes = []
    for begin in range(0, 96, hop_frames):
        length = (len(frames) - begin) // 96 * 96
        passes.append(encoder.embed(frames[None, begin : begin + length]))
    return np.array([passes[i % len(passes)][i // len(passes)] for i in range(count)])


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("hop", [0.96, 0.48])
def test_equals_a_plain_loop(sounds, workers, hop):
    write(sounds / "long.wav", noise(5, 200))
    encoder = encoders.load()
    results = list(pipeline.run(discover([str(sounds)]), encoder, hop, workers=workers))
    assert len(results) == 7
    for result in results:
        expected = by_hand(result.file.uri, encoder, round(hop * 100))
        assert result.embeddings.shape == (len(expected), 128)
        assert_same_embeddings(result.embeddings, expected)
        assert result.digest == pipeline.content_digest(result.file.uri)
        assert not result.padded
        assert result.warning is None
    chirp = next(result for result in results if "chirp" in result.file.uri)
    assert chirp.duration == 10
    silent = chirp.levels < SILENT
    assert silent[0] and silent[-1] and not silent.all()


def test_same_as_in_the_calling_thread(sounds):
    encoder = encoders.load()
    for result in pipeline.run(discover([str(sounds)]), encoder, 0.96):
        with decode.Decoder(result.file.uri) as decoder:
            embeddings, loudness, duration = pipeline.embed_sound(decoder, encoder, 0.96)
        assert_same_embeddings(result.embeddings, embeddings)
        np.testing.assert_allclose(result.levels, loudness, atol=0.01)
        assert duration == result.duration


def test_short_clips_are_padded(tmp_path):
    write(tmp_path / "short.wav", tone(440, 0.3))
    write(tmp_path / "one.wav", np.array([0.5], np.float32))
    results = list(pipeline.run(discover([str(tmp_path)]), encoders.load(), 0.96))
    assert [len(result.embeddings) for result in results] == [1, 1]
    assert all(result.padded and np.isfinite(result.embeddings).all() for result in results)


def test_bad_files_do_not_stop_the_others(sounds):
    (sounds / "empty.wav").touch()
    (sounds / "text.wav").write_text("hello")
    ghost = stat_file(str(sounds / "low.wav"))
    ghost = type(ghost)(str(sounds / "vanished.wav"), ghost.size, ghost.mtime_ns)
    files = [ghost, *discover([str(sounds)])]
    results = list(pipeline.run(files, encoders.load(), 0.96))
    failed = {r.file.uri.rpartition("/")[2]: r for r in results if isinstance(r, pipeline.Failed)}
    assert failed.keys() == {"empty.wav", "text.wav", "vanished.wav"}
    assert "No such file" in failed["vanished.wav"].reason
    assert failed["vanished.wav"].digest is None
    assert failed["empty.wav"].digest is not None
    assert len(results) == 9


def test_a_file_that_grows_while_it_is_read_fails(tmp_path):
    path = write(tmp_path / "growing.wav", noise(0, 100))
    grown = threading.Event()

    def grow(_seconds):
        if not grown.is_set():
            grown.set()
            with path.open("ab") as file:
                file.write(b"x" * 1000)

    results = pipeline.run(discover([str(path)]), encoders.load(), 0.96, on_sound=grow)
    [result] = list(results)
    assert isinstance(result, pipeline.Failed)
    assert "changed while it was read" in result.reason


def test_known_content_is_not_decoded(sounds):
    digest = pipeline.content_digest(str(sounds / "low.wav"))
    heard = []
    results = list(
        pipeline.run(
            discover([str(sounds / "low.wav")]),
            encoders.load(),
            0.96,
            is_known=lambda d: d == digest,
            on_sound=heard.append,
        )
    )
    assert isinstance(results[0], pipeline.Known)
    assert not heard


def test_closing_early_stops_the_workers(tmp_path):
    for n in range(40):
        write(tmp_path / f"{n}.wav", noise(n, 2))
    before = threading.active_count()
    results = pipeline.run(discover([str(tmp_path)]), encoders.load(), 0.96, workers=3)
    next(results)
    results.close()
    assert threading.active_count() == before


def test_a_fault_of_the_encoder_reaches_the_caller(sounds):
    class Broken:
        dimension = 128
        context_seconds = 0.0

        def embed(self, mel):
            raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        list(pipeline.run(discover([str(sounds)]), Broken(), 0.96))


def test_hops():
    assert pipeline.hop_frames(0.96) == 96
    assert pipeline.hop_frames(0.01) == 1
    for wrong in (0.0, 0.97, -1.0, 0.123, float("nan")):
        with pytest.raises(ArgumentError, match="hop"):
            pipeline.hop_frames(wrong)
