"""Sounds of clips as a browser gets them: ranges, other forms, moments, pictures."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
import zlib

import av
import numpy as np
import pytest
import soundfile
from support.server import Server, problem
from support.sounds import RATE, encode, noise, pitch, tone, write

import soundsearch

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


def encode_wma(path, sound):
    """Write Windows Media Audio, which browsers do not play."""
    with av.open(str(path), "w", format="asf") as file:
        stream = file.add_stream("wmav2", rate=44_100, layout="mono")
        stream.bit_rate = 64_000
        whole = (sound * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(whole, format="s16", layout="mono")
        frame.sample_rate = RATE
        stream.codec_context.open()
        options = {"rate": 44_100, "frame_size": stream.frame_size}
        convert = av.AudioResampler(format=stream.format, layout="mono", **options)
        for part in [*convert.resample(frame), *convert.resample(None)]:
            file.mux(stream.encode(part))
        file.mux(stream.encode(None))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    top = tmp_path_factory.mktemp("web")
    sound = tone(500, 3)
    write(top / "s" / "plain.wav", sound)
    write(top / "s" / "deep.wav", np.stack([sound, sound], 1), subtype="PCM_24")
    write(top / "s" / "a.flac", sound)
    write(top / "s" / "a.ogg", sound)
    write(top / "s" / "a.aiff", sound)
    soundfile.write(top / "s" / "fast.wav", np.repeat(sound, 12), 192_000, subtype="FLOAT")
    soundfile.write(top / "s" / "many.wav", np.stack([sound] * 6, 1), RATE, format="WAVEX")
    encode(top / "s" / "a.mp3", "libmp3lame", "mp3", sound)
    encode(top / "s" / "a.m4a", "aac", "mp4", sound)
    encode(top / "s" / "lossless.m4a", "alac", "mp4", sound)
    encode_wma(top / "s" / "a.wma", sound)
    write(top / "s" / "gone.wav", noise(1, 2))
    write(top / "s" / "pipe.wav", noise(2, 2))
    write(top / "s" / "text.wav", noise(3, 2))
    with zipfile.ZipFile(top / "z.zip", "w") as archive:
        archive.write(top / "s" / "a.aiff", "in/member.aiff")
        archive.write(top / "s" / "a.ogg", "in/member.ogg")
    with soundsearch.open(top / "l") as lib:
        lib.ingest([top / "s", top / "z.zip"])
        lib.add(noise(4, 2), RATE, uri="track:1")
    (top / "s" / "gone.wav").unlink()
    (top / "s" / "pipe.wav").unlink()
    os.mkfifo(top / "s" / "pipe.wav")
    (top / "s" / "text.wav").unlink()
    (top / "s" / "text.wav").symlink_to("/etc/passwd")
    return top


@pytest.fixture(scope="module")
def server(folder):
    served = Server(folder / "l", workers=1, longest=60.0)
    yield served
    served.close()


@pytest.fixture(scope="module")
def clips(server):
    """The ids of clips by their names."""
    found = server.get("/clips").json()["clips"]
    return {clip["uri"].partition("::")[0].rpartition("/")[2]: clip["id"] for clip in found}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("plain.wav", "audio/wav"),
        ("a.flac", "audio/flac"),
        ("a.ogg", "audio/ogg"),
        ("a.mp3", "audio/mpeg"),
        ("a.m4a", "audio/mp4"),
    ],
)
def test_what_browsers_play_is_the_file(server, clips, folder, name, kind):
    response = server.get(f"/clips/{clips[name]}/audio")
    assert response.headers["content-type"] == kind
    assert response.content == (folder / "s" / name).read_bytes()


@pytest.mark.parametrize(
    ("name", "rate", "channels"),
    [
        ("deep.wav", RATE, 2),
        ("a.aiff", RATE, 1),
        ("fast.wav", 48_000, 1),
        ("many.wav", RATE, 1),
        ("lossless.m4a", 48_000, 1),
        ("a.wma", 44_100, 1),
        ("member.aiff", RATE, 1),
    ],
)
def test_what_browsers_do_not_play_is_converted(server, clips, name, rate, channels):
    response = server.get(f"/clips/{clips[name]}/audio")
    assert response.headers["content-type"] == "audio/flac"
    sound, found = soundfile.read(io.BytesIO(response.content), always_2d=True)
    assert (found, sound.shape[1]) == (rate, channels)
    assert len(sound) / rate == pytest.approx(3, abs=0.1)
    assert np.abs(sound).max() == pytest.approx(0.3, abs=0.05)
    assert pitch(sound[:, 0]) * rate / RATE == pytest.approx(500, abs=2)
    # A player asks for pieces of the same copy.
    part = server.get(f"/clips/{clips[name]}/audio", headers={"range": "bytes=100-199"})
    assert part.status_code == 206 and part.content == response.content[100:200]
    assert part.headers["etag"] == response.headers["etag"]


def test_a_member_of_an_archive_that_browsers_play(server, clips, folder):
    response = server.get(f"/clips/{clips['member.ogg']}/audio")
    assert response.headers["content-type"] == "audio/ogg"
    assert response.content == (folder / "s" / "a.ogg").read_bytes()


def test_a_moment_is_wav(server, clips, folder):
    for name in ("a.wma", "plain.wav", "member.aiff"):
        response = server.get(f"/clips/{clips[name]}/audio", params={"at": "1.25-2"})
        assert response.headers["content-type"] == "audio/wav"
        sound, rate = soundfile.read(io.BytesIO(response.content))
        assert len(sound) == round(0.75 * rate)
    whole, _ = soundfile.read(folder / "s" / "plain.wav")
    found = server.get(f"/clips/{clips['plain.wav']}/audio", params={"at": "1.25-2"})
    sound, _ = soundfile.read(io.BytesIO(found.content))
    assert np.array_equal(sound, whole[20_000:32_000])
    rest = server.get(f"/clips/{clips['plain.wav']}/audio", params={"at": "2.5-"})
    assert len(rest.content) == 44 + RATE
    beyond = server.get(f"/clips/{clips['plain.wav']}/audio", params={"at": "3-4"})
    assert "expected a start within the clip's 3.00 s" in problem(beyond, 422)
    assert not [name for name in os.listdir(server.service.folder) if name.endswith(".wav")]


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [
        ("bytes=0-0", 0, 0),
        ("bytes=10-19", 10, 19),
        ("BYTES = 10 - 19", 10, 19),
        ("bytes=90000-", 90_000, 96_043),
        ("bytes=96000-999999", 96_000, 96_043),
        ("bytes=-44", 96_000, 96_043),
        ("bytes=-999999", 0, 96_043),
    ],
)
def test_a_range(server, clips, folder, wanted, first, last):
    response = server.get(f"/clips/{clips['plain.wav']}/audio", headers={"range": wanted})
    whole = (folder / "s" / "plain.wav").read_bytes()
    assert response.status_code == 206 and response.content == whole[first : last + 1]
    assert response.headers["content-range"] == f"bytes {first}-{last}/96044"
    assert response.headers["content-length"] == str(last - first + 1)


@pytest.mark.parametrize(
    "wanted", ["bytes=0-1,5-6", "bytes=5-2", "bytes=", "bytes=a-b", "items=0-1", "bytes=--1", ""]
)
def test_a_range_that_is_none_is_the_whole(server, clips, wanted):
    response = server.get(f"/clips/{clips['plain.wav']}/audio", headers={"range": wanted})
    assert response.status_code == 200 and len(response.content) == 96_044
    assert response.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("wanted", ["bytes=96044-", "bytes=99999-100000", "bytes=-0"])
def test_a_range_that_is_not_there(server, clips, wanted):
    response = server.get(f"/clips/{clips['plain.wav']}/audio", headers={"range": wanted})
    assert "has 96,044 bytes" in problem(response, 416)
    assert response.headers["content-range"] == "bytes */96044"


def test_what_a_client_has_is_not_sent_again(server, clips):
    address = f"/clips/{clips['plain.wav']}/audio"
    known = server.get(address).headers
    again = server.get(address, headers={"if-none-match": f'"x", {known["etag"]}'})
    assert again.status_code == 304 and again.content == b""
    both = {"range": "bytes=0-9", "if-range": known["last-modified"]}
    assert server.get(address, headers=both).status_code == 206
    assert server.get(address, headers={**both, "if-range": '"other"'}).status_code == 200
    head = server.client.head(address)
    assert head.headers["content-length"] == "96044" and head.content == b""


@pytest.mark.parametrize("what", ["audio", "audio?at=0-1", "spectrogram"])
def test_sounds_that_are_not_there_are_said(server, clips, what):
    asked = {name: server.get(f"/clips/{clips[name]}/{what}") for name in ("gone.wav", "track:1")}
    assert "No such file or directory; the clip is still" in problem(asked["gone.wav"], 404)
    assert "track:1: is no file" in problem(asked["track:1"], 404)
    # Files that have become something else are not sent, nor waited for.
    assert "is no file any more" in problem(server.get(f"/clips/{clips['pipe.wav']}/{what}"), 422)
    text = problem(server.get(f"/clips/{clips['text.wav']}/{what}"), 422)
    assert "not readable audio" in text and "root:" not in text
    assert "99: no clip" in problem(server.get(f"/clips/99/{what}"), 404)


def pixels(content: bytes) -> np.ndarray:
    """The levels in a PNG that the server drew, [height, width], the highest row first."""
    image = av.open(io.BytesIO(content))
    [frame] = image.decode(video=0)
    assert frame.format.name == "pal8"
    width, height = frame.width, frame.height
    chunks, place = {}, 8
    while place < len(content):
        size = int.from_bytes(content[place : place + 4], "big")
        name, body = content[place + 4 : place + 8], content[place + 8 : place + 8 + size]
        assert zlib.crc32(name + body) == int.from_bytes(
            content[place + 8 + size : place + 12 + size], "big"
        )
        chunks[name] = body
        place += 12 + size
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    return rows[:, 1:]


def test_a_spectrogram_shows_the_tone(server, clips):
    asked = {"width": 90, "height": 64}
    response = server.get(f"/clips/{clips['plain.wav']}/spectrogram", params=asked)
    assert response.headers["content-type"] == "image/png"
    levels = pixels(response.content)
    assert levels.shape == (64, 90)
    # 500 Hz, -10.5 dB, in every column; mel (HTK) from 50 to 8000 Hz.
    low, tone_, high = 1127 * np.log1p(np.array([50, 500, 8000]) / 700)
    row = 63 - round((tone_ - low) / (high - low) * 65 - 1)
    assert (abs(levels.argmax(axis=0) - row) <= 1).all()
    assert abs(levels.max(axis=0)[2:-2].astype(int) - round((90 - 10.5) * 255 / 90)).max() <= 6
    assert levels[:40].max(axis=0)[2:-2].max() < 60


@pytest.mark.parametrize("name", ["a.wma", "member.aiff", "deep.wav"])
def test_a_spectrogram_of_a_moment(server, clips, name):
    asked = {"width": 500, "height": 1, "at": "1-1.2"}
    levels = pixels(server.get(f"/clips/{clips[name]}/spectrogram", params=asked).content)
    assert levels.shape == (1, 500) and levels.min() > 100  # to the end
    assert problem(server.get(f"/clips/{clips[name]}/spectrogram?width=0"), 422)
    assert problem(server.get(f"/clips/{clips[name]}/spectrogram?height=513"), 422)


def test_copies_are_let_go(server, clips, folder, monkeypatch):
    monkeypatch.setattr("soundsearch.web.service._KEPT", 2)
    for name in ("a.aiff", "a.wma", "lossless.m4a", "deep.wav", "a.aiff"):
        assert server.get(f"/clips/{clips[name]}/audio").status_code == 200
    names = [name for name in os.listdir(server.service.folder) if name.isdigit()]
    assert len(names) == 2 == len(server.service._played)
    shutil.rmtree(server.service.folder)  # as what is old in /tmp is
    assert server.get(f"/clips/{clips['a.aiff']}/audio").content[:4] == b"fLaC"
    assert server.hear(folder / "s" / "plain.wav").is_success
