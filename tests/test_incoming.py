"""Sound as it comes: raw samples, headers that lie, containers in pipes, arrays."""

from __future__ import annotations

import io
import os
import struct
import threading
import time

import av
import numpy as np
import pytest
import soundfile
from soundsearch_ingest import logmel
from soundsearch_ingest.backlog import Backlog
from soundsearch_ingest.encoders import load
from soundsearch_ingest.errors import ArgumentError, AudioError
from soundsearch_ingest.incoming import RawFormat, incoming, incoming_arrays
from soundsearch_ingest.newest import NewestSegments
from support.sounds import RATE, assert_same_embeddings, encode, noise, pitch, tone
from support.waiting import until

SOUND = tone(440, 2)


class Trickle(io.RawIOBase):
    """A pipe in which pieces of odd sizes arrive; reading on after its end is an error."""

    def __init__(self, data, size=4099):
        self._file, self._size, self._ended = io.BytesIO(data), size, False

    def readable(self):
        return True

    def read(self, size=-1):
        assert size > 0 and not self._ended
        data = self._file.read(min(size, self._size))
        self._ended = not data
        return data


def heard(data, format=None, size=4099):
    """The sound of a stream, and the warnings."""
    warnings = []
    raw = None if format is None else RawFormat.parse(format)
    blocks = [*incoming(Trickle(data, size), raw, warnings.append)]
    return np.concatenate(blocks), warnings


def wav(size, body, kind=1, channels=1, bits=16, rate=RATE, extra=b""):
    frame = channels * bits // 8
    fmt = struct.pack("<HHIIHH", kind, channels, rate, rate * frame, frame, bits) + extra
    return b"".join(
        [
            *(b"RIFF", struct.pack("<I", min(size + 36, 2**32 - 1)), b"WAVE"),
            *(b"LIST\3\0\0\0abc\0", b"fmt ", struct.pack("<I", len(fmt)), fmt),
            *(b"data", struct.pack("<I", size), body),
        ]
    )


def s16(sound=SOUND):
    return (sound * 32767).astype("<i2").tobytes()


@pytest.mark.parametrize(
    ("coding", "kind", "scale"),
    [
        ("s16le", "<i2", 2**15 - 1),
        ("S16_BE", ">i2", 2**15 - 1),
        ("s32le", "<i4", 2**31 - 2**8),
        ("s32be", ">i4", 2**31 - 2**8),
        ("f32le", "<f4", 1),
        ("f64be", ">f8", 1),
        ("s8", "i1", 127),
    ],
)
def test_raw_samples(coding, kind, scale):
    sound, warnings = heard((SOUND * scale).astype(kind).tobytes(), f"{coding}:16000:1")
    np.testing.assert_allclose(sound, SOUND, atol=0.011 if coding == "s8" else 5e-5)
    assert warnings == []


def test_raw_samples_of_three_bytes_and_unsigned_ones():
    whole = (SOUND * (2**23 - 1)).astype("<i4")
    little = whole.view(np.uint8).reshape(-1, 4)[:, :3]
    for coding, parts in (("s24le", little), ("s24be", little[:, ::-1])):
        sound, _ = heard(parts.tobytes(), f"{coding}:16000:1")
        np.testing.assert_allclose(sound, SOUND, atol=1e-6)
    sound, _ = heard((SOUND * 127 + 128).round().astype(np.uint8).tobytes(), "u8:16000:1")
    np.testing.assert_allclose(sound, SOUND, atol=0.008)


def test_channels_are_averaged_and_rates_converted():
    both = np.stack([tone(440, 2), np.zeros(2 * RATE, np.float32)], axis=1)
    sound, _ = heard(both.astype("<f4").tobytes(), "f32le:32000:2")
    assert len(sound) == RATE and pitch(sound) == pytest.approx(880, abs=2)
    assert np.abs(sound).max() == pytest.approx(0.15, abs=0.02)


@pytest.mark.parametrize(
    "text",
    [
        *("", "s16le", "s16le:16000", "s16le:0:1", "s16le:16000:0", "s16le:16000:65"),
        *("mp3:16000:1", "s16le:16000:1:1", "s16le:-1:1", "s16le:9999999:1", "s24:16000:1"),
        "s16le:16000:1\n",
    ],
)
def test_formats_that_cannot_be_are_refused(text):
    with pytest.raises(ArgumentError, match="format: expected"):
        RawFormat.parse(text)


def test_an_odd_end_of_raw_samples_is_left_out_and_said():
    sound, [warning] = heard(s16() + b"x", "s16le:16000:1")
    assert len(sound) == len(SOUND) and "within a sample" in warning
    sound, [warning] = heard(s16() + b"abc", "s16le:16000:4")
    assert len(sound) == len(SOUND) // 4 and "4 channels" in warning


@pytest.mark.parametrize("size", [0, 0x7FFFF024, 0x80000000, 0xFFFFFFFF])
def test_wav_headers_that_do_not_know_the_length(size):
    sound, warnings = heard(wav(size, s16()))
    np.testing.assert_allclose(sound, SOUND, atol=5e-5)
    assert warnings == []


def test_wav_headers_that_do_are_believed():
    body = s16()
    sound, warnings = heard(wav(len(body), body + b"LIST\4\0\0\0junk"))
    assert len(sound) == len(SOUND) and warnings == []
    sound, [warning] = heard(wav(len(body) + 10, body))
    assert len(sound) == len(SOUND) and "10 bytes before" in warning


@pytest.mark.parametrize(("subtype", "form"), [("PCM_24", "WAV"), ("FLOAT", "WAV")])
def test_wav_files_of_other_kinds(subtype, form):
    for kind in (form, "WAVEX"):
        file = io.BytesIO()
        soundfile.write(file, SOUND, RATE, format=kind, subtype=subtype)
        np.testing.assert_allclose(heard(file.getvalue())[0], SOUND, atol=1e-6)
    for coded in ("ULAW", "MS_ADPCM"):
        file = io.BytesIO()
        soundfile.write(file, SOUND, RATE, format="WAV", subtype=coded)
        sound, _ = heard(file.getvalue())
        assert len(sound) == pytest.approx(len(SOUND), abs=1100)
        assert pitch(sound) == pytest.approx(440, abs=1)


@pytest.mark.parametrize(
    ("codec", "container"),
    [
        ("flac", "flac"),
        ("libvorbis", "ogg"),
        ("libopus", "webm"),
        ("libmp3lame", "mp3"),
        ("aac", "adts"),
        ("pcm_s16le", "matroska"),
        ("mp2", "mpegts"),
    ],
)
def test_containers_are_heard_as_they_come(tmp_path, codec, container):
    path = tmp_path / "sound"
    try:
        encode(path, codec, container, tone(440, 10), rate=48_000)
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV cannot write {codec}: {error}")
    data, taken = path.read_bytes(), 0

    class Counted(Trickle):
        def read(self, size=-1):
            nonlocal taken
            block = super().read(size)
            taken += len(block)
            return block

    blocks = incoming(Counted(data))
    next(blocks)
    assert taken < max(len(data) / 3, 1 << 16)
    rest = np.concatenate([*blocks])
    assert len(rest) / RATE == pytest.approx(10, abs=0.4)
    assert pitch(rest) == pytest.approx(440, abs=1)
    assert rest.std() == pytest.approx(0.212, abs=0.02)


@pytest.mark.parametrize(("codec", "form"), [("libmp3lame", "mp3"), ("mp2", "mpegts")])
def test_damage_in_a_container_is_passed_over_and_said_once(tmp_path, codec, form):
    encode(tmp_path / "a", codec, form, tone(440, 10), rate=48_000)
    data = (tmp_path / "a").read_bytes()
    third, odd = len(data) // 3, np.random.default_rng(0).bytes(20_000)
    data = data[:third] + odd + data[third:-third] + bytes(20_000) + data[-third:]
    sound, warnings = heard(data)
    assert 8 < len(sound) / RATE < 14 and pitch(sound[-RATE:]) == pytest.approx(440, abs=1)
    assert len(warnings) <= 1


def test_what_must_be_there_whole_is_refused(tmp_path):
    encode(tmp_path / "a", "aac", "mp4", tone(440, 2), rate=48_000)
    with pytest.raises(AudioError, match="without --live"):
        heard((tmp_path / "a").read_bytes())


def test_samples_that_are_no_numbers_are_silence_and_said_once():
    odd = SOUND.copy()
    odd[100:200], odd[5000:5100], odd[20_000] = np.nan, np.inf, 1e30
    sound, [warning] = heard(odd.astype("<f4").tobytes(), "f32le:16000:1")
    assert "not finite" in warning
    assert np.isfinite(sound).all() and not sound[100:200].any() and not sound[5000:5100].any()


@pytest.mark.parametrize("data", [b"", b"x", b"y\n" * 500_000, bytes(100_000), b"RIFF\0\0\0\0WAVE"])
def test_what_is_no_sound_is_refused(data):
    with pytest.raises(AudioError, match=r"^stream: "):
        heard(data)
    with pytest.raises(AudioError, match="no samples"):
        heard(b"", "s16le:16000:1")


@pytest.mark.parametrize(("rate", "channels"), [(1, 1), (16_000, 200)])
def test_rates_and_channels_that_cannot_be_are_refused(rate, channels):
    with pytest.raises(AudioError, match=r"^stream: "):
        heard(wav(0, bytes(40_000), rate=rate, channels=channels))


def test_a_wav_header_that_promises_a_huge_chunk_is_refused():
    with pytest.raises(AudioError, match="without samples"):
        heard(b"RIFF\0\0\0\0WAVE" + bytes(2_000_000), size=1 << 16)
    with pytest.raises(AudioError, match="without samples"):
        heard(b"RIFF\0\0\0\0WAVEjunk\xff\xff\xff\x7f" + bytes(1000))


def test_arrays():
    blocks = np.split(tone(440, 2), 8)
    whole = np.concatenate([*incoming_arrays(blocks, RATE)])
    np.testing.assert_array_equal(whole, tone(440, 2))
    whole = np.concatenate([*incoming_arrays((s.astype(np.float64) for s in blocks), 32_000)])
    assert len(whole) == RATE and pitch(whole) == pytest.approx(880, abs=2)
    stereo = np.stack([SOUND, SOUND], axis=1)
    ints = [*np.array_split((stereo * 32767).astype(np.int16), 3), np.empty((0, 2), np.int16)]
    np.testing.assert_allclose(np.concatenate([*incoming_arrays(ints, RATE)]), SOUND, atol=5e-5)
    last = [np.zeros((160, 8)), np.zeros((2, 8))]
    assert sum(map(len, incoming_arrays(last, RATE))) == 162
    for wrong in (
        [],
        [np.empty(0)],
        [np.zeros((1, 100))],
        [np.zeros((2, 100))],
        [np.zeros((1, 2, 3))],
        [np.array("x")],
    ):
        with pytest.raises(AudioError):
            [*incoming_arrays(wrong, RATE)]
    with pytest.raises(AudioError, match="sample rate"):
        [*incoming_arrays(blocks, 10)]
    with pytest.raises(AudioError, match="sample rate"):
        [*incoming_arrays(blocks, "16000")]


# The newest segments


@pytest.mark.parametrize("name", ["mini"])
def test_segments_come_as_soon_as_they_are_complete_in_any_blocks(name):
    encoder, hop = load(name), 24
    sound = np.concatenate([noise(1, 6), tone(700, 7), noise(2, 5)])
    parts = []
    rng, stream, place = np.random.default_rng(0), NewestSegments(encoder, hop), 0
    while place < len(sound):
        size = int(rng.integers(1, 20_000))
        parts.append(stream.push(sound[place : place + size]))
        place = min(place + size, len(sound))
        due = logmel.segments_in(place, hop)
        assert sum(len(levels) for _, levels in parts) == due
    assert stream.seconds == 18 and not len(stream.finish()[1])
    embeddings = np.concatenate([each for each, _ in parts])
    # Each as if the sound ended with it.
    for number in (0, 3, 8, 40, len(embeddings) - 1):
        end = (number * hop + 95) * 160 + 400
        last = max(0, number * hop + 96 - 8 * 96) // 1
        mel = logmel.log_mel(sound[:end])[(number * hop) % 96 if number * hop < 672 else last :]
        expected = encoder.embed(mel[None, -(len(mel) // 96 * 96) :])[-1:]
        assert_same_embeddings(embeddings[number : number + 1], expected)


def test_a_sound_shorter_than_a_segment_is_one():
    for samples, count in ((0, 0), (100, 1), (12_000, 1)):
        stream = NewestSegments(load(), 24)
        assert len(stream.push(tone(440, 1)[:samples])[1]) == 0
        embeddings, levels = stream.finish()
        assert embeddings.shape == (count, 128) and len(levels) == count


# Read while others are heard


def test_a_backlog_is_bounded_and_loses_nothing():
    taken = []

    def blocks():
        for number in range(200):
            taken.append(number)
            yield np.full(RATE, number, np.float32)

    backlog = Backlog(blocks())
    until(lambda: len(taken) >= 30)
    time.sleep(0.1)  # more would come
    assert len(taken) < 35
    found = []
    while (block := backlog.take(1)) is not None:
        assert len(block) <= 32 * RATE and backlog.lag < 1  # faster than it sounds
        found.append(block[::RATE])
    np.testing.assert_array_equal(np.concatenate(found), np.arange(200))


def test_an_error_comes_after_what_was_read_before_it():
    def blocks():
        yield np.ones(10, np.float32)
        raise AudioError("stream", "is broken")

    backlog = Backlog(blocks())
    assert len(backlog.take(5)) == 10
    with pytest.raises(AudioError, match="broken"):
        backlog.take(5)


def test_a_pipe_that_gives_nothing_is_waited_for_and_left():
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as file, open(writing, "wb", buffering=0) as pipe:
        closed = threading.Event()
        raw = RawFormat("s16le", RATE, 1)
        backlog = Backlog(incoming(file, raw, closed=closed))
        assert len(backlog.take(0.05)) == 0
        pipe.write(s16()[:1000])
        assert len(backlog.take(5)) == 500
        closed.set()
        backlog.close()
        assert not any(each.name == "soundsearch-reader" for each in threading.enumerate())
