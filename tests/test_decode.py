"""Every format and every broken file, made here."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import threading

import av
import numpy as np
import pytest
import soundfile
from conftest import RATE, noise, tone, write
from soundsearch_ingest.decode import Decoder, read, to_mono_16k
from soundsearch_ingest.errors import AudioError


def decode(path, **options):
    with Decoder(path, **options) as decoder:
        return np.concatenate(list(decoder)), decoder


def pitch(sound):
    """Frequency of the strongest bin, Hz."""
    spectrum = np.abs(np.fft.rfft(sound * np.hanning(len(sound))))
    return spectrum.argmax() * RATE / len(sound)


def check_tone(sound, seconds=2.0, level=0.3, loss=0.06):
    check_tone_of(440, sound, seconds)
    middle = sound[len(sound) // 4 : -len(sound) // 4]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(level, rel=loss)


def check_tone_of(hertz, sound, seconds):
    assert sound.dtype == np.float32 and sound.ndim == 1
    assert len(sound) == pytest.approx(seconds * RATE, abs=0.1 * RATE)
    assert pitch(sound) == pytest.approx(hertz, abs=2)


LIBSNDFILE = [
    ("WAV", "PCM_U8"), ("WAV", "PCM_16"), ("WAV", "PCM_24"), ("WAV", "PCM_32"),
    ("WAV", "FLOAT"), ("WAV", "DOUBLE"), ("WAV", "ALAW"), ("WAV", "ULAW"), ("RF64", "PCM_16"),
    ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("FLAC", "PCM_24"), ("OGG", "VORBIS"),
    ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("CAF", "PCM_16"),
]  # fmt: skip


@pytest.mark.parametrize(("container", "subtype"), LIBSNDFILE)
def test_libsndfile_formats(tmp_path, container, subtype):
    path = tmp_path / "sound.mp3"  # the name does not decide
    soundfile.write(path, tone(440, 2), RATE, format=container, subtype=subtype)
    sound, decoder = decode(path)
    check_tone(sound)
    assert (decoder.sample_rate, decoder.channels, decoder.warning) == (RATE, 1, None)


UNSEEKABLE = [
    ("WAV", "GSM610"), ("WAV", "G721_32"), ("WAV", "NMS_ADPCM_16"), ("WAV", "NMS_ADPCM_32"),
    ("AIFF", "GSM610"), ("AU", "G721_32"), ("AU", "G723_24"), ("AU", "G723_40"), ("W64", "GSM610"),
    ("AIFF", "DWVW_16"),
]  # fmt: skip


@pytest.mark.parametrize(("container", "subtype"), UNSEEKABLE)
def test_codings_that_cannot_be_sought_in(tmp_path, container, subtype):
    path = tmp_path / "sound"
    soundfile.write(path, tone(440, 4), RATE // 2, format=container, subtype=subtype)
    sound, decoder = decode(path)
    check_tone_of(220, sound, 8)
    assert decoder.warning is None
    part, _ = decode(path, start=2.0, end=3.0)
    assert len(part) == pytest.approx(RATE, abs=2)
    np.testing.assert_allclose(part[100:-100], sound[2 * RATE : 3 * RATE][100:-100], atol=0.01)


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


def encode(path, codec, container, sound, rate=48_000, video=False):
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


@pytest.mark.parametrize(
    ("codec", "container", "rate"),
    [
        ("aac", "ipod", 48_000),
        ("aac", "adts", 44_100),
        ("alac", "ipod", 44_100),
        ("wmav2", "asf", 44_100),
        ("libopus", "webm", 48_000),
        ("libopencore_amrnb", "amr", 8_000),
        ("aac", "mov", 22_050),
        ("pcm_s16le", "matroska", 16_000),
    ],
)
def test_ffmpeg_formats(tmp_path, codec, container, rate):
    path = tmp_path / "sound.wav"
    try:
        encode(path, codec, container, tone(440, 2), rate)
    except (av.error.FFmpegError, ValueError) as error:
        pytest.skip(f"this PyAV cannot write {codec}: {error}")
    sound, decoder = decode(path)
    check_tone(sound, loss=0.25 if container == "amr" else 0.06)  # a telephone's codec
    assert decoder.sample_rate == rate


@pytest.mark.parametrize("container", ["mp4", "matroska", "mov"])
def test_sound_of_films(tmp_path, container):
    encode(tmp_path / "film.bin", "aac", container, tone(440, 2), video=True)
    check_tone(decode(tmp_path / "film.bin")[0])


def test_a_silent_film_says_so(tmp_path):
    with av.open(str(tmp_path / "film.mp4"), "w") as file:
        picture = file.add_stream("mpeg4", rate=10)
        picture.width = picture.height = 64
        picture.pix_fmt = "yuv420p"
        image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
        for packet in [*picture.encode(image), *picture.encode(None)]:
            file.mux(packet)
    with pytest.raises(AudioError, match="no sound, only video"):
        read(tmp_path / "film.mp4")


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_resampling(tmp_path, rate):
    times = np.arange(2 * rate) / rate
    soundfile.write(tmp_path / "a.wav", 0.3 * np.sin(2 * np.pi * 440 * times), rate)
    sound = read(tmp_path / "a.wav")
    check_tone(sound)
    middle = slice(4_000, -4_000)
    np.testing.assert_allclose(sound[middle], tone(440, 2)[: len(sound)][middle], atol=2e-4)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_streamed_equals_whole(tmp_path, rate):
    sound = noise(0, 70 * rate / RATE)
    soundfile.write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
    with Decoder(tmp_path / "a.wav") as decoder:
        blocks = list(decoder)
    assert len(blocks) > 3
    whole = to_mono_16k(sound, rate)
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)


def test_down_mix_is_the_mean_and_level_is_kept(tmp_path):
    left, right = tone(440, 1, 0.5), noise(1, 1)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], 1), RATE, subtype="FLOAT")
    np.testing.assert_allclose(read(tmp_path / "a.wav"), (left + right) / 2, atol=1e-6)
    loud = tone(440, 1, 1.0) * 3
    soundfile.write(tmp_path / "b.wav", loud, RATE, subtype="FLOAT")
    np.testing.assert_array_equal(read(tmp_path / "b.wav"), loud)


def test_int16_is_divided_by_32768(tmp_path):
    steps = np.array([-32768, -1, 0, 1, 32767], np.int16)
    soundfile.write(tmp_path / "a.wav", steps, RATE)
    np.testing.assert_array_equal(read(tmp_path / "a.wav"), steps / np.float32(32768))
    np.testing.assert_array_equal(to_mono_16k(steps, RATE), steps / np.float32(32768))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg"])
def test_part(tmp_path, suffix):
    path = write(tmp_path / f"a.{suffix}", noise(0, 50))
    whole = read(path)
    for start, end in [(0, 0.5), (1.234, 2.0), (30.5, 30.6), (49.0, None)]:
        stop = None if end is None else round(end * RATE)
        expected = whole[round(start * RATE) : stop]
        np.testing.assert_allclose(read(path, start=start, end=end), expected, atol=1e-4)
    assert len(read(path, start=49, end=500)) == pytest.approx(RATE, abs=2000)
    with pytest.raises(AudioError, match=r"50\.\d\d s"):
        read(path, start=60)
    with pytest.raises(AudioError, match="start"):
        read(path, start=3, end=2)


def test_part_of_a_container(tmp_path):
    encode(tmp_path / "a.m4a", "alac", "ipod", noise(0, 5), RATE)
    whole = read(tmp_path / "a.m4a")
    part = read(tmp_path / "a.m4a", start=1.5, end=2.5)
    np.testing.assert_allclose(part, whole[24_000:40_000], atol=1e-6)


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "aiff"])
def test_truncated_keeps_what_decoded_and_says_so(tmp_path, suffix):
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
        (b"hello, this is text\n" * 100, "no audio"),
        (b"RIFF", "no audio"),
        (b"\0" * 10_000, "no audio"),
        (b"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\nhttp://127.0.0.1:9/a.ts\n", "no audio"),
        (b"ffconcat version 1.0\nfile /etc/passwd\n", "no audio"),
        (bytes(range(256)) * 50, "no audio"),
    ],
)
def test_what_is_no_audio(tmp_path, content, reason):
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


def test_a_rate_that_makes_days_of_a_small_file(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(300_000), 1)
    with pytest.raises(AudioError, match="1 Hz"):
        Decoder(tmp_path / "a.wav")


def test_a_rate_that_no_sound_has_and_no_length(tmp_path):
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


def test_what_is_no_file(tmp_path):
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
    """Standard input from a pipe: reads, and no more."""

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
