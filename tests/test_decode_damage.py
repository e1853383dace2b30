"""Broken, odd or hostile files and arrays: kept as far as they decode, or refused."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile
from soundsearch_ingest.decode import Decoder, read, to_mono_16k
from soundsearch_ingest.errors import AudioError
from support.sounds import RATE, decode, encode, noise, tone, write


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "aiff"])
def test_a_truncated_file_keeps_what_decoded_and_warns(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", noise(0, 10))
    whole = read(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 6 // 10])
    sound, decoder = decode(path)
    assert 5 < len(sound) / RATE < 6.5
    np.testing.assert_allclose(sound[: 5 * RATE], whole[: 5 * RATE], atol=1e-3)
    assert "ends after" in decoder.warning and "10.0" in decoder.warning


def test_headers_that_promise_too_much(tmp_path):
    path = write(tmp_path / "a.wav", noise(0, 1))
    data = bytearray(path.read_bytes())
    data[40:44] = (0x7FFFFF00 - 2).to_bytes(4, "little")
    path.write_bytes(data)
    assert len(read(path)) == RATE
    flac = write(tmp_path / "a.flac", noise(0, 1))
    data = bytearray(flac.read_bytes())
    total = 10**12 >> 32  # the 36-bit frame count of STREAMINFO starts in the low half of byte 21
    data[21] = (data[21] & 0xF0) | (total & 0x0F)
    flac.write_bytes(data)
    sound, decoder = decode(flac)
    assert len(sound) == RATE
    assert decoder.warning is not None


def test_a_stream_of_unknown_length_is_whole(tmp_path):
    path = write(tmp_path / "a.wav", noise(0, 1))
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)
    sound, decoder = decode(path)
    assert (len(sound), decoder.warning) == (RATE, None)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"hello, this is text\n" * 100, "not readable audio"),
        (b"RIFF", "not readable audio"),
        (b"\0" * 10_000, "not readable audio"),
        (
            b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n",
            "not readable audio",
        ),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "not readable audio"),
        (bytes(range(256)) * 50, "not readable audio"),
    ],
)
def test_files_that_are_not_audio(tmp_path, content, reason):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(AudioError, match=reason) as caught:
        read(tmp_path / "a.wav")
    assert str(tmp_path / "a.wav") in str(caught.value)


def test_no_samples_and_one_sample(tmp_path):
    soundfile.write(tmp_path / "none.wav", np.empty(0, np.float32), RATE)
    with pytest.raises(AudioError, match="holds no samples"):
        read(tmp_path / "none.wav")
    soundfile.write(tmp_path / "one.wav", np.array([0.5]), RATE)
    assert len(read(tmp_path / "one.wav")) == 1


def test_a_rate_that_turns_a_small_file_into_days(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(300_000), 1)
    with pytest.raises(AudioError, match="1 Hz"):
        Decoder(tmp_path / "a.wav")


def test_an_impossible_rate_without_a_length(tmp_path):
    """68 bytes of FLAC could be 36 hours, 2.7 KB 152 days."""
    path = tmp_path / "long.flac"
    soundfile.write(path, np.zeros(130_000, np.float32), 8000)
    data = bytearray(path.read_bytes())
    # STREAMINFO: 20 bits of rate, 3 + 5 of channels and bits, 36 of samples (0: not known).
    data[18:26] = bytes([0, 0, 0x10 | data[20] & 0x0F, data[21] & 0xF0, 0, 0, 0, 0])
    path.write_bytes(data)
    assert soundfile.info(path).samplerate == 1
    with pytest.raises(AudioError, match="1 Hz"):
        decode(path)


@pytest.mark.parametrize(("rate", "seconds"), [(1, 20), (768_000, 0.5)])
def test_extreme_rates(tmp_path, rate, seconds):
    sound = np.random.default_rng(0).normal(0, 0.1, int(rate * seconds))
    soundfile.write(tmp_path / "a.wav", sound, rate)
    assert len(read(tmp_path / "a.wav")) == pytest.approx(seconds * RATE, abs=2)


def test_many_channels_in_bounded_memory(tmp_path):
    sound = np.tile(noise(0, 12)[:, None], (1, 32))
    soundfile.write(tmp_path / "a.wav", sound, 768_000)
    with Decoder(tmp_path / "a.wav") as decoder:
        blocks = list(decoder)
    assert decoder.channels == 32
    assert sum(map(len, blocks)) == pytest.approx(len(sound) / 48, abs=2)


def test_odd_samples(tmp_path):
    sound = tone(440, 1)
    sound[100], sound[200], sound[300] = np.nan, np.inf, 1e30
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    heard, decoder = decode(tmp_path / "a.wav")
    assert np.isfinite(heard).all() and np.abs(heard).max() <= 1000
    assert heard[100] == heard[200] == 0
    np.testing.assert_array_equal(heard[301:], sound[301:])
    assert "3 samples" in decoder.warning


def test_paths_that_are_not_files(tmp_path):
    with pytest.raises(AudioError, match="folder"):
        read(tmp_path)
    with pytest.raises(AudioError, match="No such file"):
        read(tmp_path / "nothing.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(AudioError, match="regular file"):
        read(tmp_path / "pipe.wav")
    with pytest.raises(AudioError):
        read("nul\0byte.wav")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root reads everything")
def test_unreadable(tmp_path):
    path = write(tmp_path / "a.wav", tone(440, 1))
    path.chmod(0)
    with pytest.raises(AudioError, match="denied"):
        read(path)


class OneWay(io.RawIOBase):
    """Standard input from a pipe: can only be read."""

    def __init__(self, data):
        self._data = io.BytesIO(data)

    def readable(self):
        return True

    def readinto(self, buffer):
        return self._data.readinto(buffer)


@pytest.mark.parametrize("suffix", ["wav", "flac", "m4a"])
def test_streams(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "m4a":
        encode(path, "alac", "ipod", noise(0, 3), RATE)
    else:
        write(path, noise(0, 3))
    expected = read(path)
    data = path.read_bytes()
    for stream in (io.BytesIO(data), OneWay(data)):
        np.testing.assert_array_equal(read(stream), expected)
    with path.open("rb") as file:
        file.read(10)
        np.testing.assert_array_equal(read(file), expected)
        assert not file.closed
    piped = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, soundsearch_ingest.decode as d; print(len(d.read(sys.stdin.buffer)))",
        ],
        input=data,
        capture_output=True,
    )
    assert int(piped.stdout) == len(expected)


def test_arrays():
    for samples in (tone(440, 1), tone(440, 1).astype(np.float64), tone(440, 1)[:, None]):
        np.testing.assert_allclose(to_mono_16k(samples, RATE), tone(440, 1), atol=1e-7)
    unsigned = np.array([0, 128, 255], np.uint8)
    np.testing.assert_allclose(to_mono_16k(unsigned, RATE), [-1, 0, 127 / 128])
    for wrong, reason in [
        (np.empty(0), "samples"),
        (np.zeros((2, 2, 2)), "samples"),
        (np.array(["a"]), "integers or floats"),
        (np.array([np.nan]), "finite"),
    ]:
        with pytest.raises(AudioError, match=reason):
            to_mono_16k(wrong, RATE)
    with pytest.raises(AudioError, match="sample rate"):
        to_mono_16k(tone(440, 1), 0)


def test_many_threads_at_once(tmp_path):
    paths = [write(tmp_path / f"{n}.flac", noise(n, 5)) for n in range(8)]
    expected = [read(path) for path in paths]
    wrong = []

    def work(n):
        for _ in range(5):
            same = np.array_equal(read(paths[n]), expected[n])
            wrong.extend([] if same else [n])

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_no_descriptor_is_left_open(tmp_path):
    path = write(tmp_path / "a.wav", noise(0, 1))
    (tmp_path / "b.wav").write_text("text")
    encode(tmp_path / "c.m4a", "aac", "ipod", noise(0, 1))
    before = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    for _ in range(20):
        read(path)
        read(tmp_path / "c.m4a")
        with pytest.raises(AudioError):
            read(tmp_path / "b.wav")
    after = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else 0
    assert after <= before + 1


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "m4a"])
def test_damaged_bytes_never_do_worse_than_an_error(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix == "m4a":
        encode(path, "aac", "ipod", noise(0, 2))
    else:
        write(path, noise(0, 2))
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(30):
        broken = bytearray(data[: rng.integers(1, len(data) + 1)])
        for place in rng.integers(0, len(broken), rng.integers(0, 20)):
            broken[place] = rng.integers(256)
        path.write_bytes(broken)
        try:
            with Decoder(path) as decoder:
                for block in decoder:
                    assert np.isfinite(block).all()
        except AudioError:
            pass


def test_a_part_of_a_damaged_flac_is_sound_or_a_clear_error(tmp_path):
    path = tmp_path / "damaged.flac"
    soundfile.write(path, noise(1, 4), RATE)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(60):
        data = bytearray(whole)
        for place in rng.integers(100, len(data), 6):
            data[place] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        try:
            sound, _ = decode(path, start=1.5, end=2.5)
        except AudioError as error:
            assert "damaged.flac" in str(error)
            outcomes.add("error")
        else:
            assert np.isfinite(sound).all() and len(sound) <= RATE + 1
            outcomes.add("sound")
    assert "sound" in outcomes
