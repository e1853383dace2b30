"""Ingest, query, move, change, break and query again: the library as its users see it."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.sounds import RATE, assert_same_embeddings, noise, tone, write
from support.stores import as_if_older

import soundsearch
from soundsearch import errors


@pytest.fixture
def lib(tmp_path):
    with soundsearch.open(tmp_path / "sounds.lib") as library:
        yield library


@pytest.fixture
def filled(lib, sounds):
    lib.ingest([sounds])
    return lib


def names(answer):
    return [Path(hit.uri).name for hit in answer]


def test_nothing_that_is_audio_makes_no_library(lib, tmp_path):
    (tmp_path / "notes").write_text("no sound")
    report = lib.ingest(tmp_path / "notes", tags={"x.wav": {"mic": "AKG"}})
    assert [failure.uri for failure in report.failed] == [str(tmp_path / "notes")]
    assert report.tags is not None and report.tags.unknown == ["x.wav"]
    with pytest.raises(errors.LibraryNotFound):
        lib.info()
    shutil.move(write(tmp_path / "x.wav", tone(300, 1)), tmp_path / "notes")
    assert lib.ingest(tmp_path / "notes").added == 1  # by its content


def test_a_clip_finds_itself_first(filled, sounds):
    for path in sounds.rglob("*.*"):
        answer = filled.query(path, k=3)
        assert len(answer) == 3
        assert names(answer)[0] == path.name
        assert answer[0].score == pytest.approx(1, abs=1e-3)
        scores = [hit.score for hit in answer]
        assert scores == sorted(scores, reverse=True)
        assert [hit.rank for hit in answer] == [1, 2, 3]


def test_similar_queries_with_a_clip_of_the_library(filled, sounds):
    answer = filled.similar(sounds / "low.wav", k=3)
    asked = [hit for hit in filled.query(sounds / "low.wav", k=4) if "low.wav" not in hit.uri]
    assert [(hit.uri, hit.start) for hit in answer] == [(hit.uri, hit.start) for hit in asked]
    assert [hit.rank for hit in answer] == [1, 2, 3]
    assert answer[0].score == pytest.approx(asked[0].score, abs=4e-3)  # 8-bit rounding
    with pytest.raises(errors.ClipNotFound, match=r"none\.wav"):
        filled.similar("none.wav")


def test_a_hit_names_the_moment(filled):
    phase = 2 * np.pi * np.cumsum(np.linspace(400, 4000, 2 * RATE)) / RATE
    chirp = (0.3 * np.sin(phase)).astype(np.float32)
    hit = filled.query(chirp, 1, sample_rate=RATE)[0]
    assert Path(hit.uri).name == "chirp.flac"
    assert hit.start < 6 and hit.end > 4  # the chirp sounds from 4 to 6 s
    assert hit.end - hit.start == pytest.approx(0.96, abs=0.001)


def test_every_way_to_ask_gives_the_same_answer(filled, sounds):
    path = sounds / "middle.flac"
    sound, _ = soundfile.read(path, dtype="float32")
    expected = [(hit.clip_id, round(hit.score, 3)) for hit in filled.query(path)]
    stereo = np.stack([sound, sound], axis=1)
    for source, options in [
        (str(path), {}),
        (io.BytesIO(path.read_bytes()), {}),
        (sound, {"sample_rate": RATE}),
        (stereo, {"sample_rate": RATE}),
        ((sound * 32767).round().astype(np.int16), {"sample_rate": RATE}),
        (path, {"at": (0.0, None)}),
        (np.concatenate([noise(3, 2), sound]), {"sample_rate": RATE, "at": (2.0, None)}),
    ]:
        answer = filled.query(source, **options)
        assert [(hit.clip_id, pytest.approx(hit.score, abs=2e-3)) for hit in answer] == expected


def test_part_of_a_clip(filled, sounds):
    [event] = filled.query(sounds / "chirp.flac", 1, at=(4.0, 6.0))
    assert Path(event.uri).name == "chirp.flac"
    quiet = filled.query(sounds / "chirp.flac", 1, at=(0.0, 3.0))
    assert [label.name for label in quiet.labels] == ["Silence"]
    with pytest.raises(errors.AudioError, match="10"):
        filled.query(sounds / "chirp.flac", at=(60.0, 70.0))


def test_bad_questions(filled, sounds, tmp_path):
    with pytest.raises(errors.AudioError, match="sample_rate"):
        filled.query(np.zeros(RATE))
    with pytest.raises(ValueError, match="k:"):
        filled.query(sounds / "low.wav", 0)
    with pytest.raises(ValueError, match="ranking"):
        filled.query(sounds / "low.wav", ranking="best")
    with pytest.raises(errors.AudioError, match="nowhere"):
        filled.query(tmp_path / "nowhere.wav")
    with pytest.raises(errors.LibraryNotFound):
        soundsearch.open(tmp_path / "none").query(sounds / "low.wav")


def test_one_long_clip_does_not_crowd_out_the_others(lib, tmp_path):
    # 300 near segments belong to one clip.
    write(tmp_path / "s" / "long.wav", np.tile(noise(1, 3), 100))
    for n in range(12):
        write(tmp_path / "s" / f"{n}.wav", tone(200 + 100 * n, 2))
    lib.ingest([tmp_path / "s"])
    answer = lib.query(noise(1, 3), 13, sample_rate=RATE)
    assert len(answer) == 13
    assert names(answer)[0] == "long.wav"


def test_labels_are_independent_of_the_library(filled, sounds):
    labelled = soundsearch.label(sounds / "chirp.flac")
    assert labelled.to_dict()["uri"] == str(sounds / "chirp.flac")
    assert [label.name for label in labelled.segments[0].labels] == ["Silence"]
    assert len(labelled.segments) == 10
    assert "Silence" not in [label.name for label in labelled.labels]
    assert filled.label(sounds / "chirp.flac") == labelled


def test_vectors_are_the_encoders_own(filled, sounds):
    from soundsearch_ingest import encoders, pipeline

    sound, _ = soundfile.read(sounds / "low.wav", dtype="float32")
    expected, _, _ = pipeline.embed_sound([sound], encoders.load(), 0.96)
    assert_same_embeddings(filled.vectors(sounds / "low.wav"), expected)
    with pytest.raises(errors.ClipNotFound):
        filled.vectors("nowhere.wav")


def outcome(report):
    return (report.added, report.replaced, report.renamed, report.unchanged, len(report.failed))


def test_second_run_opens_nothing(filled, sounds):
    for path in sounds.rglob("*.*"):
        status = path.stat()
        path.write_bytes(b"\0" * status.st_size)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert outcome(filled.ingest(sounds)) == (0, 0, 0, 6, 0)


def test_moved_changed_touched_copied_and_gone(filled, sounds):
    ids = {Path(clip.uri).name: clip.id for clip in filled}
    (sounds / "low.wav").rename(sounds / "renamed.bin.wav")
    write(sounds / "middle.flac", noise(7, 3))
    os.utime(sounds / "deeper" / "high.ogg")
    shutil.copy(sounds / "deeper" / "hiss.wav", sounds / "copy.wav")
    (sounds / "rumble.WAV").unlink()
    report = filled.ingest(sounds)
    assert outcome(report) == (1, 1, 1, 3, 0)
    assert [Path(uri).name for uri in report.missing] == ["rumble.WAV"]
    now = {Path(clip.uri).name: clip.id for clip in filled}
    assert now["renamed.bin.wav"] == ids["low.wav"]
    assert now["middle.flac"] == ids["middle.flac"]
    np.testing.assert_array_equal(
        filled.vectors(sounds / "copy.wav"), filled.vectors(sounds / "deeper" / "hiss.wav")
    )
    assert names(filled.query(noise(7, 3), 1, sample_rate=RATE)) == ["middle.flac"]
    report = filled.ingest(sounds, prune=True)
    assert (outcome(report), report.removed, report.missing) == ((0, 0, 0, 6, 0), 1, [])
    assert filled.info()["clips"] == 6


def test_many_copies_are_told_from_moved_files(tmp_path, sounds):
    folder = tmp_path / "copies"
    folder.mkdir()
    content = next(path for path in sorted(sounds.iterdir()) if path.suffix == ".wav").read_bytes()
    for number in range(40):
        (folder / f"{number}.wav").write_bytes(content)
    lib = soundsearch.open(tmp_path / "lib")
    assert lib.ingest(folder).added == 40
    folder = folder.rename(tmp_path / "moved")
    (folder / "39.wav").rename(folder / "last.wav")
    (folder / "38.wav").rename(folder / "39.wav")
    report = lib.ingest(folder)
    assert (report.renamed, report.added) == (40, 0)
    assert len(lib) == 40
    (folder / "more.wav").write_bytes(content)
    os.utime(folder / "1.wav")
    report = lib.ingest(folder)
    assert (report.renamed, report.added, report.unchanged) == (0, 1, 40)


def test_two_files_swap_places(filled, sounds):
    low, hiss = sounds / "low.wav", sounds / "deeper" / "hiss.wav"
    before = filled.vectors(low), filled.vectors(hiss)
    spare = sounds / "spare"
    low.rename(spare), hiss.rename(low), spare.rename(hiss)
    report = filled.ingest(sounds)
    assert not report.failed
    np.testing.assert_allclose(filled.vectors(low), before[1], atol=2e-3)
    np.testing.assert_allclose(filled.vectors(hiss), before[0], atol=2e-3)
    assert filled.info()["clips"] == 6


def test_failures_are_remembered_by_content(lib, sounds):
    (sounds / "bad.wav").write_text("this is text")
    report = lib.ingest(sounds)
    assert outcome(report) == (6, 0, 0, 0, 1)
    [failure] = lib.failures()
    assert failure.uri == str(sounds / "bad.wav")
    report = lib.ingest(sounds)
    assert (report.failed, report.failed_before) == ([], 1)
    (sounds / "bad.wav").rename(sounds / "still-bad.wav")
    report = lib.ingest(sounds)
    assert (report.failed, report.failed_before) == ([], 1)
    assert [Path(failure.uri).name for failure in lib.failures()] == ["still-bad.wav"]
    assert len(lib.ingest(sounds, retry_failed=True).failed) == 1
    write(sounds / "still-bad.wav", tone(500, 2))
    assert lib.ingest(sounds).added == 1
    assert lib.failures() == []


def test_a_clip_that_breaks_keeps_its_old_vectors(filled, sounds):
    before = filled.vectors(sounds / "low.wav")
    (sounds / "low.wav").write_text("overwritten by accident")
    assert len(filled.ingest(sounds).failed) == 1
    np.testing.assert_array_equal(filled.vectors(sounds / "low.wav"), before)
    outcomes = {}
    report = filled.ingest(sounds, on_file=lambda uri, outcome: outcomes.update({uri: outcome}))
    assert (report.failed, report.failed_before) == ([], 1)
    assert outcomes[str(sounds / "low.wav")] == "failed before"


def test_a_clip_whose_file_broke_warns_until_it_is_repaired(filled, sounds):
    path = sounds / "low.wav"
    whole, status = path.read_bytes(), path.stat()
    filled.tag({str(path): {"keep": "me"}})
    for broken in (b"overwritten by accident", b""):
        path.write_bytes(broken)
        filled.ingest(sounds)
        [stale] = filled.where("warning is not missing")
        assert (stale.uri, stale.tags) == (str(path), {"keep": "me"})
        assert "no sound any more" in stale.to_dict()["warning"]
        [hit] = [hit for hit in filled.similar(sounds / "middle.flac") if hit.uri == str(path)]
        assert hit.warning == stale.warning
    # From a backup, with the old date: the same size and time as the clip has.
    path.write_bytes(whole)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert filled.ingest(sounds).replaced == 1
    assert len(filled.where("warning is not missing")) == 0 and filled.failures() == []
    assert filled.clip(path).tags == {"keep": "me"}
    assert outcome(filled.ingest(sounds)) == (0, 0, 0, 6, 0)


def test_transient_errors_are_not_the_files_fault(lib, sounds, monkeypatch):
    from soundsearch_ingest import pipeline

    real = pipeline.content_digest

    def fails(path):
        if path.endswith("low.wav"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(pipeline, "content_digest", fails)
    for _ in range(2):  # reported each time, not remembered
        report = lib.ingest(sounds)
        assert [failure.reason for failure in report.failed] == ["Permission denied"]
        assert report.failed_before == 0
    monkeypatch.undo()
    report = lib.ingest(sounds)
    assert (report.added, report.failed, lib.failures()) == (1, [], [])


def test_awkward_names_go_through(lib, tmp_path):
    folder = tmp_path / "s"
    write(folder / "a.wav", tone(300, 2))
    for name in (b"new\nline.wav", b"quo\"te'.wav", b"\xff\xfe.wav"):
        shutil.copy(folder / "a.wav", os.path.join(os.fsencode(folder), name))
    report = lib.ingest(folder)
    assert outcome(report) == (4, 0, 0, 0, 0)
    uris = {hit.uri for hit in lib.query(folder / "a.wav")}
    assert {os.fsencode(uri) for uri in uris} == {
        os.path.join(os.fsencode(folder), name) for name in os.listdir(os.fsencode(folder))
    }
    assert all(json.loads(json.dumps({"uri": uri}))["uri"] == uri for uri in uris)
    assert outcome(lib.ingest(folder)) == (0, 0, 0, 4, 0)


def test_remove(filled, sounds, monkeypatch):
    assert filled.remove([sounds / "low.wav"]) == 1
    monkeypatch.chdir(sounds / "deeper")
    assert filled.remove("./") == 2  # no collection of letters, one of which names all there is
    with pytest.raises(errors.ClipNotFound, match="nowhere"):
        filled.remove([sounds / "middle.flac", sounds / "nowhere"])
    for nothing in ("", [""], b"/", [2.0]):  # as of a variable that is not set
        with pytest.raises(errors.ArgumentError, match="expected the"):
            filled.remove(nothing)
    assert filled.info()["clips"] == 3
    assert filled.rebuild() == 0
    assert names(filled.query(sounds / "middle.flac", 1)) == ["middle.flac"]


def test_many_names_are_looked_up_in_one_pass(filled, sounds, monkeypatch):
    store, passes = filled._session.store, []
    clips = store.clips
    monkeypatch.setattr(store, "clips", lambda *filter: passes.append(filter) or clips(*filter))
    monkeypatch.chdir(sounds)
    names = [sounds / "deeper", "deeper/", "deeper/*", sounds / "low.wav", "**/*.flac"]
    assert filled.remove(names) == 5 and len(passes) == 1
    assert filled.remove(["deeper/..", "."]) == 1


def test_options_of_a_library_stay(lib, sounds, tmp_path):
    fine = soundsearch.open(tmp_path / "fine.lib", hop=0.48)
    fine.ingest(sounds)
    assert fine.info()["hop"] == 0.48
    assert len(fine.vectors(sounds / "low.wav")) == 5
    again = soundsearch.open(tmp_path / "fine.lib")
    assert again.query(sounds / "low.wav", 1)[0].score == pytest.approx(1, abs=1e-3)
    with pytest.raises(errors.SoundsearchError, match=r"hop 0\.48"):
        soundsearch.open(tmp_path / "fine.lib", hop=0.96)
    with pytest.raises(errors.SoundsearchError, match="hop"):
        soundsearch.open(tmp_path / "x.lib", hop=5.0).ingest(sounds)
    assert not (tmp_path / "x.lib").exists()
    with pytest.raises(errors.EncoderError, match="no encoder"):
        soundsearch.open(tmp_path / "x.lib", encoder="nothing").ingest(sounds)


def aged(library):
    """The library as if made by an older version of its encoder."""
    as_if_older(library.address)
    vectors = np.memmap(library.address / "vectors-1.f32", np.float32, "r+")
    vectors[:] = vectors[::-1].copy()
    vectors.flush()
    return soundsearch.open(library.address)


def test_another_space_is_refused(filled, sounds):
    space = filled.info()["space"]
    other = aged(filled)
    assert other.info()["installed_space"] == space
    for refused in (lambda: other.query(sounds / "low.wav"), lambda: other.ingest(sounds)):
        with pytest.raises(errors.SpaceMismatch, match="--reembed") as caught:
            refused()
        assert "mini-0" in str(caught.value) and space in str(caught.value)


def test_reembedding(filled, sounds):
    asked = sounds / "deeper" / "hiss.wav"
    before = filled.query(asked).hits
    space = filled.info()["space"]
    other = aged(filled)

    def interrupt(uri, outcome):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        other.reembed(on_file=interrupt)
    assert other.info()["space"] == "mini-0"
    assert other.info()["clips"] == len(before)
    reader = soundsearch.open(filled.address)
    assert reader.info()["space"] == "mini-0"
    done = []
    report = other.reembed(on_file=lambda uri, outcome: done.append(outcome))
    assert report.removed == 0 and not report.failed
    assert done.count("unchanged") > 0  # the interrupted run did these
    assert other.query(asked).hits == before
    assert other.info()["space"] == space == other.info()["installed_space"]
    with pytest.raises(errors.LibraryError, match="open it again"):
        reader.vectors(asked)
    reopened = soundsearch.open(filled.address)
    assert reopened.query(asked).hits == before
    assert outcome(reopened.ingest(sounds)) == (0, 0, 0, len(before), 0)
    assert not (filled.address / "successor").exists()


def test_reembedding_removes_clips_whose_files_are_gone(filled, sounds):
    other = aged(filled)
    (sounds / "middle.flac").unlink()
    with pytest.raises(errors.LibraryError, match="middle"):
        other.reembed()
    assert other.info()["space"] == "mini-0" and other.info()["clips"] == 6
    assert other.reembed(prune=True).removed == 1
    assert len(other.query(sounds / "low.wav")) == other.info()["clips"] == 5


def test_a_folder_without_audio(lib, tmp_path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("hello")
    report = lib.ingest(tmp_path / "docs")
    assert outcome(report) == (0, 0, 0, 0, 0)
    assert report.skipped == {"not audio": 1}
    with pytest.raises(errors.LibraryNotFound):  # none was made
        lib.query(tone(440, 1), sample_rate=RATE)
