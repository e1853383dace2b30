"""The HTTP API takes words, completes what is typed, gives examples, and hears parts of clips."""

from __future__ import annotations

import json
import os
import sys
import unicodedata

import numpy as np
import pytest
from support.server import Server, problem
from support.sounds import noise, tone, write

import soundsearch
from soundsearch import Sound, Words
from soundsearch.deadlines import OutOfTime, within

pytestmark = pytest.mark.usefixtures("without_sentences")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
if sys.platform == "win32":
    pytest.skip("workers are bounded on POSIX only", allow_module_level=True)

HOSTILE = "Kick_01 <b> %.wav"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sounds, and a library `l` of them."""
    top = tmp_path_factory.mktemp("web")
    sounds = top / "s"
    write(sounds / "Drums" / HOSTILE, tone(300, 2))
    write(sounds / "Drums" / "my kick.wav", tone(500, 2))
    write(sounds / "hiss.flac", noise(1, 5))
    both = np.concatenate([tone(440, 4), noise(2, 4), np.zeros(8000, np.float32)])
    write(sounds / "both.wav", both)
    os.rename(sounds / "hiss.flac", os.fsencode(sounds) + b"/hiss\xff.flac")
    with soundsearch.open(top / "l") as lib:
        lib.ingest(sounds)
        lib.add(noise(2, 3), 16_000, uri="track:1")
    return top


@pytest.fixture(scope="module")
def library(folder):
    with soundsearch.open(folder / "l") as lib:
        yield lib


@pytest.fixture(scope="module")
def server(folder):
    served = Server(folder / "l", workers=1)
    yield served
    served.close()


def hits(answer) -> list[dict]:
    return [hit.to_dict() for hit in answer]


def number(library, end) -> int:
    [found] = [clip.id for clip in library if clip.uri.endswith(end)]
    return found


def test_words_are_asked_and_edited(server, library):
    said = "white noise or a sine wave but no dogs"
    found = server.query(json={"text": said, "k": 3}).json()
    answer = library.query(Words(said), 3)
    assert found["hits"] == hits(answer) and found["words"] == answer.words.to_dict()
    classes = found["words"]["classes"]
    assert classes == [{"White noise": 1.0, "Sine wave": 1.0}, {"Dog": -1.0}]
    # What was edited takes the place of what the words became; alike in JSON and in a form.
    edited = [{"Sine wave": 0.5}, {"White noise": -1}]
    found = server.query(json={"text": said, "classes": edited, "names": True, "k": 2}).json()
    assert found["hits"] == hits(library.query(Words(said, edited, names=True), 2))
    assert found["words"]["classes"] == edited
    form = [("text", said), ("names", "true"), ("k", "2")]
    form += [("classes", json.dumps(each)) for each in edited]
    sent = server.query(files=[(name, (None, value)) for name, value in form]).json()
    assert sent == found
    assert server.query(json={"clip": 1}).json()["words"] is None


def test_words_beside_a_sound_a_clip_or_examples(server, library, folder):
    path = folder / "s" / "both.wav"
    found = server.hear(path, text="sine wave", label_weight="0.3", k="2", at="0.5-3").json()
    expected = library.query(Words("sine wave", like=Sound(path, (0.5, 3)), weight=0.3), 2)
    assert [hit["clip_id"] for hit in found["hits"]] == [hit.clip_id for hit in expected]
    assert found["words"]["classes"] == [{"Sine wave": 1.0}] and found["labels"]
    found = server.query(json={"text": "noise", "clip": 1, "unlike": [2], "k": 2}).json()
    assert found["hits"] and found["clip"]["id"] == 1


def test_without_the_extra_what_is_unknown_is_said(server):
    message = problem(server.query(json={"text": "zorgblat"}), 422)
    assert "no word of 'zorgblat' is known as a sound; the nearest labels are: " in message
    assert "pip install 'soundsearch[text]'" in message
    assert server.query(json={"text": "hunde"}).json()["words"]["read"] == {}
    assert server.query(json={"text": "barkign"}).json()["words"]["read"] == {"barkign": "barking"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"text": "dog", "label": ["Dog"]}, "expected label or text, what is to be heard, got"),
        ({"classes": [{"Dog": 1}], "clip": 1}, "classes: expected text beside it"),
        ({"names": True, "clip": 1}, "names: expected text beside it"),
        ({"text": " "}, "text: expected words"),
        ({"text": "dog " * 201}, "text: expected at most 200 words"),
        ({"text": "no dogs"}, "which says only what is not"),
        ({"text": "dog", "ranking": "related"}, "ranking: expected another than related"),
        ({"text": "dog", "classes": [{"Dog": 2}]}, "classes: weight: expected a number from -1 to"),
        ({"text": "dog", "classes": [{"Dog": 0}]}, "classes: expected labels by name with weights"),
        ({"text": "dog", "classes": [{"Dog": True}]}, "classes: weight: expected a number"),
        ({"text": "dog", "classes": [{}]}, "classes: expected an object of names and weights"),
        ({"text": "dog", "classes": {"Dog": 1}}, "classes: expected a list"),
        ({"text": "dog", "classes": [{"Dog": -1}]}, "classes: expected 1 to 3 sounds at once"),
        ({"text": "dog", "classes": [{"Dogg": 1}]}, "similar: Dog"),
        ({"text": "dog", "classes": [{"\ud800": 1}]}, "classes: expected a text"),
        ({"text": "dog", "classes": [{"Dog": 1}] * 5}, "classes: expected at most 4 of them"),
    ],
)  # fmt: skip
def test_words_that_cannot_be_asked(server, asked, said):
    content = json.dumps(asked).encode()
    headers = {"content-type": "application/json"}
    assert said in problem(server.query(content=content, headers=headers), 422)
    form = {"text": (None, "dog"), "classes": (None, "[" * 3000)}
    assert "classes: expected an object of JSON" in problem(server.query(files=form), 422)


def test_what_is_typed_is_completed(server, library):
    def complete(text, **options):
        found = server.get("/complete", params={"text": text, **options}).json()
        return [each["name"] for each in found["labels"]], [clip["uri"] for clip in found["clips"]]

    labels = server.get("/complete", params={"text": "barki"}).json()["labels"]
    assert labels[0]["name"] == "Bark" and labels[0]["path"][-2:] == ["Dog", "Bark"]
    assert labels[0]["mid"].startswith("/m/")
    assert complete("doorb", k=1)[0] == ["Doorbell"]
    kicks = [uri.rpartition("/")[2] for uri in complete("kick")[1]]
    assert kicks == [HOSTILE, "my kick.wav"]
    # Signs of patterns are no wildcards, a folder's name counts, and words may be apart.
    assert len(complete("kick_01")[1]) == 1 and complete("k%k")[1] == complete("%_*")[1] == []
    assert (
        len(complete("drums MY wav")[1]) == 1 and complete("KICK_01")[1] == complete("kick_01")[1]
    )
    assert complete("hiss")[1][0].endswith("hiss\udcff.flac")
    # Accents as Macs write them, and scripts in which one character is a word.
    name = unicodedata.normalize("NFD", "Café 鐘.wav")
    library.add(noise(1, 2), 16_000, uri=name)
    assert [complete(each)[1] for each in ("café", "CAFÉ", "鐘", "é")] == 4 * [[name]]
    library.remove(name)
    assert complete("zzzqq") == ([], []) and complete("k")[1] == []
    # A whole path is that clip; one that is not in the library is not looked for on the disk.
    uri = library.clip(number(library, "my kick.wav")).uri
    assert complete(uri)[1] == [uri] and complete("/etc/passwd")[1] == []
    assert "text: expected it, got none" in problem(server.get("/complete"), 422)


def test_examples_are_what_is_heard_surely(server, library):
    found = server.get("/examples").json()
    assert 1 <= len(found["labels"]) <= 8 and 1 <= len(found["clips"]) <= 4
    for label in found["labels"]:
        surely = library.where("label[:name] >= 0.5", name=label["name"])
        assert 1 <= label["clips"] <= len(surely)
    first = found["clips"][0]
    assert first == library.clip(first["id"]).to_dict()
    assert first["labels"][0]["name"] == found["labels"][0]["name"]
    assert "Silence" not in [label["name"] for label in found["labels"]]


def test_a_part_of_a_clip_is_asked_with(server, library):
    both = number(library, "both.wav")

    def first(at):
        answer = server.query(json={"clip": both, "at": at, "k": 1}).json()
        assert answer["clip"]["id"] == both and answer["heard"] is None
        return answer["hits"][0]["uri"]

    assert "hiss" in first("4.5-7.5") or "track" in first("4.5-7.5")
    assert "kick" in first("0-3.5").lower()
    part = soundsearch.Stored(both, (4.5, 7.5))
    asked = library.query(part, 3)
    assert [hit.clip_id for hit in asked] == [
        hit.clip_id for hit in library.query(vectors=library.vectors(both)[4:8], k=4)
        if hit.clip_id != both
    ][:3]  # fmt: skip
    for at in ("0-0.01", "7.99-", "8.4-", "-0.5"):  # less than a segment is one
        assert server.query(json={"clip": both, "at": at}).status_code == 200, at
    assert "within the clip's" in problem(server.query(json={"clip": both, "at": "9-"}), 422)


def test_what_is_heard_in_an_upload_has_its_times(server, folder):
    path = folder / "s" / "both.wav"
    heard = server.hear(path).json()["heard"]
    expected = soundsearch.events(path)
    assert heard["duration"] == pytest.approx(8.5) and len(expected) >= 2
    assert heard["events"] == [event.to_dict() for event in expected]
    assert heard["wave"] is None
    later = server.hear(path, at="4-8", peaks="85").json()["heard"]
    assert min(event["onset"] for event in later["events"]) >= 4
    wave = later["wave"]  # of all of it
    assert wave["duration"] == 8.5 and len(wave["peaks"]) == 85
    assert max(wave["peaks"][81:]) < 0.02 < min(wave["peaks"][:79])


def test_peaks_of_a_wave(server, library):
    both = number(library, "both.wav")

    def peaks(**asked):
        return server.get(f"/clips/{both}/peaks", params=asked).json()

    found = peaks(width=85)
    assert found["duration"] == 8.5 and len(found["peaks"]) == 85
    assert max(found["peaks"][81:]) < 0.02 < min(found["peaks"][:79]) <= max(found["peaks"]) <= 1
    part = peaks(at="8-8.5", width=4000)  # finer than it is heard
    assert len(part["peaks"]) == 4000 and max(part["peaks"][1000:]) < 0.02
    assert peaks(width=1)["peaks"] == [max(found["peaks"])]
    outside = server.get(f"/clips/{both}/peaks", params={"at": "9-"})
    assert "within the clip's" in problem(outside, 422)
    gone = server.get(f"/clips/{number(library, 'track:1')}/peaks")
    assert "is no file" in problem(gone, 404)


# Questions that take too long


def test_a_question_that_takes_too_long_frees_its_place(folder):
    served = Server(folder / "l", workers=1, question_seconds=0.0)
    try:
        asked = {"text": "noise"}
        for response in (
            served.query(json=asked),
            served.get("/similar", params={"clip": 1}),
            served.get("/clips", params={"where": "uri like '%k_ck%'"}),
            served.get("/complete", params=asked),
            served.get("/map", params={"where": "uri like '%k_ck%'"}),
        ):
            assert "given up after 0 s; ask for fewer clips" in problem(response, 504)
        assert served.service.questions.running == 0
        assert served.get("/tags").status_code == 200  # what is kept for all has no limit
    finally:
        served.close()


def test_a_statement_that_takes_too_long_is_stopped(folder):
    endless = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT max(x) FROM n"
    with soundsearch.open(folder / "l") as lib:
        with lib._session.store.reading() as reading, within(0.05), pytest.raises(OutOfTime):
            reading._catalog._query(endless)
        assert len(lib.similar(1, 2)) == 2  # with the same connection


def test_milvus_answers_alike(lite, folder):
    with soundsearch.open(lite) as lib:
        lib.ingest(folder / "s")
        both = lib.clip(str(folder / "s" / "both.wav")).id
        with within(0), pytest.raises(OutOfTime):
            lib.similar(both)
        assert len(lib.similar(both)) == 3
    served = Server(lite, workers=1)
    try:
        found = served.get("/complete", params={"text": "KICK_01"}).json()["clips"]
        assert [clip["uri"].rpartition("/")[2] for clip in found] == [HOSTILE]
        part = {"clip": both, "at": "4.5-7.5", "k": 1}
        assert "hiss" in served.query(json=part).json()["hits"][0]["uri"]
        assert served.query(json={"text": "a sine wave", "k": 1}).json()["words"]
        assert served.get("/examples").json()["clips"]
    finally:
        served.close()
