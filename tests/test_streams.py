"""Streams need not end, and what is said of their length need not be true."""

from __future__ import annotations

import errno
import io
import itertools
import struct
import subprocess
import sys
import tempfile

import numpy as np
import pytest
import soundfile
from soundsearch_ingest import decode, spooling
from support.commands import run
from support.sounds import RATE, noise, tone, write

import soundsearch
from soundsearch import Sound, errors


class Endless(io.RawIOBase):
    """A pipe into which something is written for ever, after a beginning; counts what is read."""

    def __init__(self, beginning, forever):
        self._blocks = itertools.chain([beginning], itertools.repeat(forever))
        self.taken = 0

    def readable(self):
        return True

    def read(self, _size=-1):
        block = next(self._blocks)
        self.taken += len(block)
        assert self.taken < 200_000_000, "reads on and on"
        return block


def header(data_bytes, rate=RATE):
    """Of a WAV file with 16-bit samples."""
    return struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        *(b"RIFF", min(data_bytes + 36, 0xFFFFFFFF), b"WAVE", b"fmt ", 16, 1, 1, rate),
        *(2 * rate, 2, 16, b"data", data_bytes),
    )


SECOND = (noise(1, 1) * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize("size", [0x7FFFFFFF - 36, 0xFFFFFFFF])
def test_an_endless_recording_is_cut_with_a_notice(size):
    pipe = Endless(header(size), SECOND)
    labelled = soundsearch.label(Sound(pipe, max_duration=20))
    assert labelled.warning is not None and "20.00 s" in labelled.warning
    assert "max_duration" in labelled.warning
    assert len(labelled.segments) == 20 and pipe.taken < 3_000_000
    part = soundsearch.embed(Sound(Endless(header(size), SECOND), at=(2.0, 4.0)))
    assert len(part) == 2


@pytest.mark.parametrize("kind", [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_streams_in_other_formats_are_cut_too(kind):
    file = io.BytesIO()
    soundfile.write(file, noise(1, 60), RATE, format=kind[0], subtype=kind[1])
    pipe = Endless(file.getvalue(), file.getvalue())
    found = soundsearch.embed(Sound(pipe, max_duration=10))
    assert len(found) == 10


@pytest.mark.parametrize("forever", [b"y\n" * 65_536, bytes(65_536)])
def test_what_is_no_sound_is_refused_before_it_fills_the_disk(forever):
    pipe = Endless(b"", forever)
    pipe.read()
    with pytest.raises(errors.AudioError, match=r"stream: is no audio.* MB"):
        soundsearch.label(pipe)
    assert pipe.taken < 80_000_000


def test_a_film_that_goes_on_is_refused_at_last(monkeypatch):
    monkeypatch.setattr(spooling, "_PATIENCE", 1 << 20)
    film = b"\0\0\0\x18ftypisom" + bytes(1 << 18)
    pipe = Endless(film, film)
    with pytest.raises(errors.AudioError, match=r"goes on after.*save it"):
        soundsearch.label(Sound(pipe, max_duration=5))
    assert pipe.taken < 20_000_000


def test_on_the_command_line(tmp_path):
    done = subprocess.run(
        f"yes | {sys.executable} -m soundsearch label -",
        shell=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("Error: standard input: is no audio, as far as its first")
    path = write(tmp_path / "long.wav", tone(440, 30))
    for arguments, count in (["-"], 10), ([str(path)], 31):
        done = run("label", "--max-duration", "10", *arguments, given=path.read_bytes())
        assert done.returncode == 0
        assert len(done.stdout.split("\n\n")[1].splitlines()) == count
        assert ("only its first 10.00 s" in done.stderr) == (count == 10)


def test_a_limit_that_is_not_reached_is_not_mentioned(tmp_path):
    path = write(tmp_path / "s.wav", noise(1, 40))
    for seconds, said in ((40.0, False), (41.0, False), (None, False), (39.9, True), (20.0, True)):
        with open(path, "rb") as file, decode.Decoder(file, longest=seconds) as decoder:
            heard = sum(map(len, decoder))
        assert heard == round(min(seconds or 40, 40) * RATE)
        assert (decoder.warning is not None) == said
    for wrong in (0, -1, float("nan"), float("inf"), "long"):
        with pytest.raises(errors.ArgumentError, match="max_duration: expected"):
            Sound(io.BytesIO(), max_duration=wrong)


def test_no_room_for_a_stream(monkeypatch):
    class Full(io.BytesIO):
        def write(self, _block):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(errors.AudioError, match=r"stream: cannot be copied to .*No space left"):
        soundsearch.label(Endless(header(0xFFFFFFFF), SECOND))


def test_samples_beyond_the_declared_are_no_matter():
    file = io.BytesIO(header(0xFFFFFFFF) + SECOND * 3)
    labelled = soundsearch.label(file)
    assert len(labelled.segments) == 3
    assert np.isfinite(soundsearch.embed(file).vectors).all()
