"""Audio formats, all written by the tests themselves."""

from __future__ import annotations

import av
import numpy as np
import pytest
import soundfile
from soundsearch_ingest.decode import Decoder, read, to_mono_16k
from soundsearch_ingest.errors import AudioError
from support.sounds import RATE, decode, encode, noise, pitch, tone, write


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
def test_codings_that_are_not_seekable(tmp_path, container, subtype):
    path = tmp_path / "sound"
    soundfile.write(path, tone(440, 4), RATE // 2, format=container, subtype=subtype)
    sound, decoder = decode(path)
    check_tone_of(220, sound, 8)
    assert decoder.warning is None
    part, _ = decode(path, start=2.0, end=3.0)
    assert len(part) == pytest.approx(RATE, abs=2)
    np.testing.assert_allclose(part[100:-100], sound[2 * RATE : 3 * RATE][100:-100], atol=0.01)


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
def test_sound_of_videos(tmp_path, container):
    encode(tmp_path / "film.bin", "aac", container, tone(440, 2), video=True)
    check_tone(decode(tmp_path / "film.bin")[0])


def test_a_video_without_sound_is_refused(tmp_path):
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
