"""Clips that are the same sound: on the sounds themselves, from every store, and as a script."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess

import numpy as np
import pytest
import soundfile
import soxr
from click.testing import CliRunner
from soundsearch_ingest.discover import AudioFile
from soundsearch_ingest.files import stat_file
from support.sounds import RATE, encode, noise, tone, write
from support.stores import SETTINGS, filled, new_clip

import soundsearch
from soundsearch.cli.main import main
from soundsearch.duplicates.aligning import align, threshold
from soundsearch.duplicates.comparing import Match, compare
from soundsearch.duplicates.grouping import Link, grouped
from soundsearch.duplicates.hearing import Voices
from soundsearch.duplicates.pictures import BANDS, FRAME, magnitudes, picture, prints, sketch
from soundsearch.duplicates.proposing import Content
from soundsearch.duplicates.sketches import Sketch, Sketches
from soundsearch.stores.opening import create_store


def babble(seed: int, seconds: float = 5) -> np.ndarray:
    """Calls of changing pitch and loudness over noise, never twice the same."""
    rng = np.random.default_rng(seed)
    count = int(seconds * RATE)
    knots = np.linspace(0, count, max(3, int(seconds * 4)))
    hertz = np.interp(np.arange(count), knots, rng.uniform(300, 3000, len(knots)))
    level = np.interp(np.arange(count), knots, rng.uniform(0, 0.25, len(knots)))
    calls = level * np.sin(2 * np.pi * np.cumsum(hertz) / RATE)
    return (calls + rng.normal(0, 0.01, count)).astype(np.float32)


def seen(sound: np.ndarray) -> np.ndarray:
    return picture(magnitudes(sound))


def test_what_was_done_to_a_sound_is_found():
    sound = babble(1)
    here = seen(sound)
    cut = align(seen(sound[20_123:60_000] * 0.1), here)
    assert cut.score > threshold(cut) and cut.speed == pytest.approx(1, abs=0.02)
    assert cut.shift * FRAME == pytest.approx(20_123 / RATE, abs=0.05)
    faster = align(seen(soxr.resample(sound, RATE, 0.98 * RATE)), here)
    assert faster.score > threshold(faster) and faster.speed == pytest.approx(1 / 0.98, abs=4e-3)
    assert faster.pitch == pytest.approx(12 * np.log2(0.98), abs=0.2) and faster.share > 0.9
    half = align(seen(np.concatenate((sound[:40_000], babble(2, 2.5)))), here)
    assert half.share < 0.7


def test_different_sounds_are_not_the_same():
    different = [babble(seed) for seed in range(3, 7)] + [noise(1, 5), noise(2, 5)]
    steady = [tone(440, 5), tone(440, 5, 0.1), tone(1000, 5), np.zeros(5 * RATE, np.float32)]
    for sounds in (different, steady):
        shown = [seen(sound) for sound in sounds]
        for number, one in enumerate(shown):
            for other in shown[number + 1 :]:
                found = align(one, other)
                assert found is None or found.score < threshold(found)
    assert not len(prints(seen(steady[0]))[0]) and not len(prints(seen(steady[3]))[0])
    assert align(seen(np.zeros(10, np.float32)), seen(different[0])) is None


def test_short_sounds_are_told_by_their_waves(tmp_path):
    # Of one knock in silence, pictures do not tell at which speed it is the same.
    knock = babble(20, 0.3) * np.linspace(1, 0, 4800, dtype=np.float32) ** 2
    one, other = np.zeros((2, 5 * RATE), np.float32)
    one[20_000:24_800], other[60_123:64_923] = knock, 0.3 * knock
    voices = Voices()
    paths = [str(write(tmp_path / f"{n}.wav", sound)) for n, sound in enumerate((one, other))]
    first, second = ((path, voices.hear(stat_file(path), b"")) for path in paths)
    found = compare(voices, first, second)
    assert found is not None and found.speed == 1 and found.pitch == 0
    assert found.offset == pytest.approx(40_123 / RATE, abs=1e-3)


def test_a_sound_that_is_longer_is_not_told_as_unchanged_by_its_beginning(tmp_path):
    sound = babble(21)
    long = np.interp(np.arange(5 * RATE) / 1.004, np.arange(5 * RATE), sound).astype(np.float32)
    voices = Voices()
    paths = [str(write(tmp_path / f"{n}.wav", each)) for n, each in enumerate((sound, long))]
    found = compare(voices, *((path, voices.hear(stat_file(path), b"")) for path in paths))
    assert found is not None and found.is_within


def test_sketches_are_what_was_kept_until_the_disk_is_full(tmp_path):
    sounds = [babble(1, 130), babble(2, 3)]
    with Sketches() as sketches:
        voices = Voices(sketches)
        for number, sound in enumerate(sounds):
            path = str(write(tmp_path / f"{number}.wav", sound, subtype="FLOAT"))
            voice = voices.hear(stat_file(path), b"")
            whole = sketch(seen(sound))
            assert abs(voice.sketch.rows - len(whole)) <= 1
            for start, end in ((0, 1), (58, 63), (119.5, 200), (2.5, 2.5), (500, 510)):
                rows = slice(round(start / 0.08), round(end / 0.08))
                there = voices.sketch(voice, start, end)
                # At the ends of parts of a minute, what is steady is told from fewer frames.
                assert abs(len(there) - len(whole[rows])) <= 1
                if len(there) > 20:
                    both = np.vstack((there.ravel(), whole[rows][: len(there)].ravel()))
                    assert np.corrcoef(both)[0, 1] > 0.97
        rows = np.ones((1000, BANDS), np.float32)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = sketches.put(rows[:5])
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, limits[1]))
        try:
            assert sketches.put(rows) is None and sketches.put(rows[:1]) is None
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert sketches.put(rows) is None
        assert sketches.read(Sketch((before,), 5, 5), 0, 9) == pytest.approx(rows[:5])
        assert voices.hear(stat_file(path), b"").sketch is None


def test_the_beeps_of_one_clock_are_like_those_of_another(tmp_path):
    beep = np.concatenate((tone(2000, 0.1), np.zeros(1600), tone(2000, 0.1), np.zeros(11_200)))
    voices = Voices()
    heard = []
    for number in range(2):
        sound = np.tile(beep, 6)[1234 * number :][: 5 * RATE] + noise(number, 5) * 0.01
        path = str(write(tmp_path / f"{number}.wav", sound))
        heard.append((path, voices.hear(stat_file(path), b"")))
    assert compare(voices, *heard) is None


@pytest.fixture
def folder(tmp_path):
    """A sound and what became of it, and sounds that have no copy."""
    top, sound = tmp_path / "s", babble(10)
    original = write(top / "original.wav", sound)
    shutil.copy(original, top / "same bytes.wav")
    write(top / "same audio.flac", soundfile.read(original, dtype="int16")[0])
    encode(top / "quiet.mp3", "mp3", "mp3", sound * 0.5, rate=44_100)
    low = soxr.resample(soxr.resample(sound, RATE, 8000), 8000, RATE)
    write(top / "dull.wav", low.astype(np.float32))
    write(top / "excerpt.wav", sound[21_111:66_000])
    write(top / "within.ogg", np.concatenate((babble(11, 14), sound, babble(12, 12))))
    write(top / "overlap.wav", np.concatenate((sound[40_000:], babble(13, 3))))
    write(top / "spliced.wav", np.concatenate((sound[:52_000], babble(16, 1.75))))
    write(top / "other.wav", babble(14))
    for name in ("silence", "more silence"):
        write(top / f"{name}.wav", np.zeros(3 * RATE + len(name), np.float32))
    write(top / "tone.wav", tone(440, 4))
    write(top / "tone again.wav", tone(440, 4, 0.2))
    write(top / "click.wav", noise(5, 0.1))
    holes = babble(15)
    holes[30_000:50_000] = np.nan
    write(top / "holes.wav", holes, subtype="FLOAT")
    write(top / "no holes.wav", np.nan_to_num(holes), subtype="FLOAT")
    return top


@pytest.fixture
def lib(place, folder):
    if not isinstance(place, os.PathLike) and "lite" not in str(place):
        pytest.skip("a local library and Milvus Lite are enough")
    with soundsearch.open(str(place)) as library:
        library.ingest([folder])
        yield library


def name(uri):
    return os.path.basename(uri)


def reasons(found):
    return {
        frozenset((name(group.uri), *(name(pair.uri) for pair in group.pairs))): {
            name(pair.uri): pair for pair in group.pairs
        }
        for group in found.groups
    }


@pytest.mark.slow
def test_groups_and_reasons(lib, folder):
    (folder / "other.wav").unlink()
    found = lib.duplicates()
    groups = reasons(found)
    all_same = {"original.wav", "same bytes.wav", "same audio.flac", "quiet.mp3", "dull.wav"}
    both_holes = {"holes.wav", "no holes.wav"}
    assert set(groups) == {
        frozenset({*all_same, "excerpt.wav", "within.ogg"}),
        frozenset(both_holes),
    }
    [group, holes] = found.groups
    assert name(group.uri) == "within.ogg" and len(group) == 7
    assert holes.pairs[0].reason == "same audio"
    pairs = {name(pair.uri): pair for pair in group.pairs}
    assert {pair.reason for pair in pairs.values()} >= {"excerpt", "same bytes", "same audio"}
    for shown, offset in {"original.wav": 14.0, "excerpt.wav": 14 + 21_111 / RATE}.items():
        if shown in pairs and name(pairs[shown].other) == "within.ogg":
            assert pairs[shown].offset == pytest.approx(offset, abs=0.02)
    apart = {(name(pair.uri), pair.reason) for pair in found.apart}
    assert {("overlap.wav", "overlap"), ("spliced.wav", "overlap")} <= apart
    assert not any("silence" in name(pair.uri) for pair in found.apart)
    assert found.unread == 1 and found.clips == 17
    short = reasons(lib.where("duration < 6").duplicates(similar=2))
    [whole] = [pairs for names, pairs in short.items() if "original.wav" in {*names}]
    kept = {*all_same, "excerpt.wav"} - {*whole}
    assert len(kept) == 1 and len(whole) == 5
    assert whole["excerpt.wav"].reason == "excerpt"
    for shown, pair in whole.items():
        if "quiet.mp3" in (shown, name(pair.other)) and pair.reason == "altered":
            assert abs(pair.level) == pytest.approx(6, abs=0.7)
        if "dull.wav" in (shown, name(pair.other)) and pair.reason == "altered":
            assert min(pair.bandwidth) == pytest.approx(4000, rel=0.1)


def test_long_recordings_are_compared_in_parts(tmp_path):
    long = np.concatenate([babble(seed, 10) for seed in range(60, 65)])
    write(tmp_path / "s" / "long.wav", long)
    write(tmp_path / "s" / "faster.wav", soxr.resample(long, RATE, 0.99 * RATE))
    write(tmp_path / "s" / "part.wav", long[12_345 : 12_345 + 25 * RATE])
    write(tmp_path / "s" / "half.wav", np.concatenate((babble(70, 22), long[-20 * RATE :])))
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest([tmp_path / "s"])
        found = lib.duplicates(similar=2)
    [group] = found.groups
    pairs = {name(pair.uri): pair for pair in group.pairs}
    assert name(group.uri) == "long.wav" and set(pairs) == {"faster.wav", "part.wav"}
    assert pairs["faster.wav"].speed == pytest.approx(1 / 0.99, abs=1e-3)
    assert pairs["part.wav"].offset == pytest.approx(12_345 / RATE, abs=0.02)
    assert "half.wav" in {name(pair.uri) for pair in found.apart if pair.reason == "overlap"}


def test_files_that_are_gone_or_changed_confirm_nothing(lib, folder):
    shutil.copy(folder / "other.wav", folder / "same bytes.wav")
    for gone in ("quiet.mp3", "no holes.wav", "within.ogg"):
        (folder / gone).unlink()
    os.utime(folder / "same audio.flac", (1, 1))
    found = lib.duplicates()
    [names] = reasons(found)
    assert names == {"original.wav", "same audio.flac", "dull.wav", "excerpt.wav"}
    notes = {name(pair.uri): pair.note for pair in found.apart if pair.reason == "unconfirmed"}
    assert "written again since" in notes["same bytes.wav"]
    assert "holes.wav" in notes or "no holes.wav" in notes
    assert found.unread == 3
    shutil.rmtree(folder)
    found = lib.duplicates()
    assert not found.groups and {pair.reason for pair in found.apart} == {"unconfirmed"}
    assert not any("silence" in pair.uri for pair in found.apart) and found.unread == 17


def test_libraries_of_nothing_one_and_many(tmp_path):
    store = create_store(tmp_path / "l", SETTINGS)
    store.close()
    with soundsearch.open(tmp_path / "l") as lib:
        assert not lib.duplicates().groups and not lib.duplicates().apart
    store = create_store(tmp_path / "l2", SETTINGS)
    sound = write(tmp_path / "a.wav", babble(1, 2))
    state = os.stat(sound)
    clips = []
    for number in range(2000):
        link = tmp_path / f"{number}.wav"
        link.symlink_to(sound)
        file = AudioFile(str(link), state.st_size, state.st_mtime_ns)
        clips.append(new_clip(str(link), 1, 7, file=file))
    filled(store, clips)
    store.close()
    with soundsearch.open(tmp_path / "l2") as lib:
        [group] = lib.duplicates().groups
        assert len(group) == 2000 and {pair.reason for pair in group.pairs} == {"same bytes"}
        assert not lib.where("uri like '%/7.wav'").duplicates().groups


def test_new_clips_that_are_there_already_are_told(lib, folder):
    told = []
    late = folder / "late"
    sound = babble(10)
    shutil.copy(folder / "other.wav", write(late / "x.wav", sound).with_name("copy.wav"))
    write(late / "louder.wav", np.clip(1.5 * sound[10_000:], -1, 1))
    write(late / "new.wav", babble(99))
    write(late / "silent.wav", np.zeros(4 * RATE, np.float32))
    lib.ingest([late], on_duplicate=told.append)
    by_name = {}
    for pair in told:
        new = pair.uri if "/late/" in pair.uri else pair.other
        by_name.setdefault(name(new), set()).add(pair.reason)
    assert set(by_name) == {"x.wav", "copy.wav", "louder.wav"}
    assert by_name["copy.wav"] == {"same bytes"}
    assert by_name["louder.wav"] & {"excerpt", "altered"} and "same bytes" in by_name["x.wav"]
    lib.ingest([late], on_duplicate=told.append)  # nothing is new
    assert len({(pair.clip_id, pair.other_id) for pair in told}) == len(told)


NAMES = [
    "new\nline",
    "it's",
    '"$(touch hacked)"',
    "-rf",
    "tail\n",
    "back\\slash %s\t\r",
    "'\n'",
    "\udcff",
]


def test_the_script_does_nothing_until_it_is_uncommented(tmp_path):
    top = tmp_path / "s"
    original = write(top / "a.wav", babble(3, 2))
    for odd in NAMES:
        shutil.copy(original, top / f"{odd}.wav")
    write(top / "different.wav", babble(4, 2))
    link = top / "0 link.wav"  # the first one, which is kept; what it leads to must stay
    link.symlink_to(original)
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest([top])
    script = tmp_path / "review.sh"
    run = ["duplicates", "--library", str(tmp_path / "l"), "--script", str(script), "--json"]
    done = CliRunner().invoke(main, run)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == len(NAMES) + 1 and {row["reason"] for row in rows} == {"same bytes"}
    assert {row["kept"] for row in rows} == {rows[0]["kept"]}
    before = sorted(os.listdir(os.fsencode(top)))
    subprocess.run(["sh", "-eu", script], cwd=tmp_path, check=True)
    assert sorted(os.listdir(os.fsencode(top))) == before
    text = script.read_bytes()
    assert all(line.startswith(b"#") or not line for line in text.split(b"\n"))
    lines = [
        line[2:] for line in text.split(b"\n") if b"rm -- " in line[:400] and b"'# '" not in line
    ]
    assert len(lines) in (len(NAMES), len(NAMES) + 1)
    script.write_bytes(b"\n".join(lines))
    os.rename(rows[0]["kept"], tmp_path / "away")
    subprocess.run(["sh", "-eu", script], cwd=tmp_path)
    os.rename(tmp_path / "away", rows[0]["kept"])
    assert sorted(os.listdir(os.fsencode(top))) == before
    subprocess.run(["sh", "-eu", script], cwd=tmp_path, check=True)
    kept = {os.fsencode(rows[0]["kept"]), os.fsencode(str(top / "different.wav"))}
    if os.fsencode(str(link)) in kept:
        kept.add(os.fsencode(str(original)))
    assert {os.path.join(os.fsencode(top), each) for each in os.listdir(os.fsencode(top))} == kept
    assert not (tmp_path / "hacked").exists()


def test_on_the_command_line(tmp_path):
    library = ["--library", str(tmp_path / "l")]
    folder = tmp_path / "s"
    shutil.copy(write(folder / "a.wav", babble(1, 3)), folder / "b.wav")
    write(folder / "c.wav", np.concatenate((babble(1, 3)[24_000:], babble(2, 2))))

    def run(*arguments, code=0):
        done = CliRunner().invoke(main, [*map(str, arguments), *library])
        assert done.exit_code == code, done.output
        return done.stdout

    told = run("ingest", folder, "--report-duplicates", "--json")
    rows = [json.loads(line) for line in told.splitlines()]
    assert rows[-1]["action"] == "ingest" and rows[0]["action"] == "duplicate"
    shown = run("duplicates")
    assert "1. " in shown and "Apart, in no group:" in shown and "same bytes" in shown
    assert "No clip of the library matches" in run("duplicates", "--where", "duration < 0")
    assert run("duplicates", "--where", "duration < 0", "--json") == ""
    run("duplicates", "--script", tmp_path / "no" / "such.sh", code=1)
    printed = run("duplicates", "--script", "-")
    assert printed.startswith("#!/bin/sh\n") and printed.count("rm -- ") == 1
    run("duplicates", "--script", "-", "--json", code=2)


def heard(voices, path, sound):
    uri = str(write(path, np.asarray(sound / max(1, np.abs(sound).max()), np.float32)))
    return uri, voices.hear(stat_file(uri), b"")


def test_two_takes_of_one_clock_are_not_told_by_their_waves(tmp_path):
    # Each beep has the phase of the last: the waves correlate, and as well a beep further on.
    voices = Voices()
    beep = tone(2050, 0.06, 0.4) * np.exp(-np.arange(960) / 1920)
    beep[:20] *= np.linspace(0, 1, 20)
    takes = []
    for seed in (0, 1):
        rng = np.random.default_rng(seed)
        take = rng.normal(0, 0.003 * (1 + seed), 8 * RATE)
        for at in 0.2 + 0.3 * rng.random() + np.add.outer(range(7), 0.12 * np.arange(4)).ravel():
            take[int(at * RATE) :][:960] += beep
        takes.append(heard(voices, tmp_path / f"{seed}.wav", take))
    assert compare(voices, *takes) is None


def test_a_sound_with_another_one_over_it_holds_more(tmp_path):
    voices = Voices()
    sound, other = babble(22), babble(23)
    alone = heard(voices, tmp_path / "alone.wav", sound)
    echo = np.concatenate((np.zeros(12_000, np.float32), sound[:-12_000]))
    for number, over in enumerate((other, echo)):
        found = compare(voices, alone, heard(voices, tmp_path / f"{number}.wav", sound + over))
        assert found is not None and not found.is_within
    softer = compare(voices, alone, heard(voices, tmp_path / "softer.wav", sound + 0.1 * other))
    assert softer is not None and softer.is_whole


def test_groups_hold_no_clip_twice_and_nothing_more_than_what_is_kept():
    rng = random.Random(0)
    for _ in range(200):
        # Sets stand for sounds: the same where all but one are in both, which does not carry over.
        sounds = [{*rng.sample(range(7), rng.randint(2, 5))} for _ in range(rng.randint(2, 12))]
        contents = [
            Content(n, AudioFile(f"/{n}", rng.randint(1, 5), 0), bytes([n]), float(len(sound)))
            for n, sound in enumerate(sounds)
        ]

        def compared(one, other, sounds=sounds):
            whole = len(sounds[one]) == len(sounds[other])
            if len(sounds[one] - sounds[other]) > 1 or len(sounds[one]) > len(sounds[other]):
                return None
            return Link(one, other, Match(0.9, 0.0, 1.0, True, whole, 1.0, 0.0, 0.0, None))

        links = [
            link
            for one in range(len(sounds))
            for other in range(one)
            if rng.random() < 0.4 and (link := compared(one, other) or compared(other, one))
        ]
        groups = grouped(contents, links, compared)
        places = [
            place for group in groups for place in (group.kept, *(x.own for x in group.links))
        ]
        assert sorted(places) == sorted({x for link in links for x in (link.own, link.other)})
        for group in groups:
            assert all(link.other == group.kept for link in group.links)
            assert all(compared(link.own, group.kept) for link in group.links)
