"""Tags, filters and help on the command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
import soundfile
from click.testing import CliRunner
from support import commands
from support.sounds import noise

import soundsearch
from soundsearch.asking.ranking import DEFAULT_RANKING, RANKINGS, RELATED
from soundsearch.cli import main as cli
from soundsearch.cli import options


@pytest.fixture
def library(sounds, tmp_path):
    path = tmp_path / "cli.lib"
    with soundsearch.open(path) as lib:
        lib.ingest([sounds])
    return path


def run(*arguments, library=None, code=0):
    """What a command prints to standard output and to standard error."""
    done = commands.run(*arguments, library=library)
    assert done.returncode == code, done.stderr
    return done.stdout, done.stderr


def rows(*arguments, library):
    return [json.loads(line) for line in run(*arguments, "--json", library=library)[0].splitlines()]


@pytest.fixture
def tagged(library, sounds):
    (sounds / "tags.csv").write_text(
        "path,mic,take,good\nlow.wav,AKG,3,true\ndeeper/hiss.wav,Neumann,,\n"
    )
    out, err = run("tag", sounds / "tags.csv", library=library)
    assert (out, err) == ("2 clips tagged\n", "")
    return library


def test_tags_are_shown(tagged, sounds):
    [found] = rows("clips", "--where", "tag['mic'] == 'AKG'", library=tagged)
    assert found["uri"] == str(sounds / "low.wav")
    assert found["tags"] == {"mic": "AKG", "take": 3.0, "good": True}
    hits = rows("query", sounds / "low.wav", library=tagged)
    assert hits[0]["tags"] == found["tags"]
    assert "tags" not in next(hit for hit in hits if hit["uri"].endswith("rumble.WAV"))
    for command in (["clips"], ["query", sounds / "low.wav"]):
        shown, _ = run(*command, library=tagged)
        assert "low.wav  [mic=AKG, take=3, good=true]\n" in shown
        assert "rumble.WAV\n" in shown


def test_long_tags_and_control_characters_in_tags(library, sounds):
    (sounds / "tags.jsonl").write_text(
        json.dumps({"path": "low.wav", "a": "\x1b[31m", "b": "x" * 500})
    )
    run("tag", sounds / "tags.jsonl", library=library)
    [line] = [line for line in run("clips", library=library)[0].splitlines() if "low.wav" in line]
    assert "a=\\x1b[31m" in line and line.endswith("...]") and len(line) < 300


def test_rows_that_cannot_be_used_are_reported(library, sounds):
    table = sounds / "tags.csv"
    table.write_text("path,mic\nlow.wav,AKG\nnowhere.wav,AKG\nmiddle.flac\nlow.wav,other\n")
    out, err = run("tag", table, library=library, code=3)
    assert out == "1 clip tagged\n"
    assert [line.partition(": ")[0] for line in err.splitlines()] == [
        f"  {table}, line {line}" for line in (3, 4, 5)
    ]
    assert str(sounds / "nowhere.wav") in err
    table.write_text("file,mic\n")
    _, err = run("tag", table, library=library, code=2)
    assert err.startswith(f"Error: {table}, line 1: ") and len(err.splitlines()) == 1


def test_ingest_with_tags(sounds, tmp_path):
    table = sounds / "tags.csv"
    table.write_text("path,mic\nlow.wav,AKG\nnowhere.wav,AKG\n")
    library = tmp_path / "new.lib"
    out, err = run("ingest", sounds, "--tags", table, library=library, code=3)
    assert "6 added" in out and "1 clip tagged" in out
    assert f"{table}, line 3: " in err
    assert [row["uri"] for row in rows("clips", "--where", "tag['mic'] == 'AKG'", library=library)]
    # An unusable file stops the run before anything is created.
    for wrong in (tmp_path / "none.csv", sounds / "low.wav"):
        run("ingest", sounds, "--tags", wrong, library=tmp_path / "other.lib", code=2)
    assert not (tmp_path / "other.lib").exists()
    _, err = run("ingest", "--reembed", "--tags", table, library=library, code=2)
    assert "soundsearch tag" in err


def test_where(library, sounds):
    low = sounds / "low.wav"
    deeper = f"uri like '{sounds}/deeper/%'"
    found = [row["uri"] for row in rows("query", low, "--where", deeper, library=library)]
    assert sorted(found) == [str(sounds / "deeper" / name) for name in ("high.ogg", "hiss.wav")]
    assert [row["uri"] for row in rows("similar", low, "--where", deeper, library=library)] == found
    both = rows("clips", "--where", f"{deeper} and uri like '%.ogg'", library=library)
    assert [row["uri"] for row in both] == [str(sounds / "deeper" / "high.ogg")]
    nobody = run("clips", "--human-label", "Dog", "--where", deeper, library=library)
    assert nobody == ("", "")


@pytest.mark.parametrize(
    "wrong", ["colour == 'red'", "duration < 'long'", "duration <", "label['Dgo'] > 1", ""]
)
def test_an_invalid_filter_is_a_usage_error(library, sounds, wrong):
    for command in (["clips"], ["query", sounds / "low.wav"], ["similar", sounds / "low.wav"]):
        out, err = run(*command, "--where", wrong, library=library, code=2)
        assert out == "" and len(err.splitlines()) == 1
        assert err.startswith("Error: filter")


def test_no_hits_are_explained(library, sounds, tmp_path):
    low = sounds / "low.wav"
    for command in ("query", "similar"):
        out, _ = run(command, low, "--where", "duration > 1000", library=library)
        assert "matches the filter" in out and "empty" not in out
    run("ingest", low, library=tmp_path / "one.lib")
    out, _ = run("similar", low, library=tmp_path / "one.lib")
    assert "no other clip" in out and "empty" not in out
    run("remove", low, library=tmp_path / "one.lib")
    out, _ = run("query", low, library=tmp_path / "one.lib")
    assert "empty" in out


def test_similar_by_id(library, sounds):
    [clip] = [row for row in rows("clips", library=library) if row["uri"].endswith("low.wav")]
    by_id = rows("similar", clip["id"], library=library)
    assert by_id == rows("similar", sounds / "low.wav", library=library)
    _, err = run("similar", 999, library=library, code=1)
    assert "999" in err


# Help


def test_rankings_are_those_of_the_library():
    assert (*RANKINGS, RELATED) == options.RANKINGS and options.RANKINGS[0] == DEFAULT_RANKING
    shown = CliRunner().invoke(cli.main, ["query", "--help"]).output
    assert all(name in shown for name in RANKINGS)


def test_help_lists_every_command_and_loads_none():
    script = (
        "import sys; from click.testing import CliRunner; from soundsearch.cli.main import main\n"
        "print(CliRunner().invoke(main, ['--help']).output)\n"
        "loaded = [name for name in sys.modules if name.startswith('soundsearch')]\n"
        "print(*sorted(loaded), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    width = max(map(len, cli._COMMANDS))
    for name, (_, text) in cli._COMMANDS.items():
        assert f"  {name:{width}}  {text}\n" in done.stdout
    assert done.stderr.split() == [
        "soundsearch",
        "soundsearch.cli",
        "soundsearch.cli.layout",
        "soundsearch.cli.main",
        "soundsearch.cli.options",
        "soundsearch.cli.printing",
        "soundsearch.errors",
        "soundsearch.hints",
        "soundsearch.times",
        "soundsearch_ingest",
        "soundsearch_ingest.errors",
    ]


@pytest.mark.parametrize("name", cli._COMMANDS)
def test_every_command_has_help(name):
    done = CliRunner().invoke(cli.main, [name, "--help"])
    assert done.exit_code == 0 and f"{name} [OPTIONS]" in done.output


@pytest.mark.parametrize("group", ["models", "audioset"])
def test_groups_list_their_commands(group):
    done = CliRunner().invoke(cli.main, [group, "--help"])
    assert "Commands:" in done.output
    assert CliRunner().invoke(cli.main, [group, "nothing"]).exit_code == 2


def test_an_unknown_command():
    done = CliRunner().invoke(cli.main, ["qurey"])
    assert done.exit_code == 2 and "qurey" in done.output


# Reports


def test_ingest_as_json(sounds, tmp_path):
    (sounds / "bad.wav").write_text("text")
    (sounds / "tags.csv").write_text("path,mic\nlow.wav,AKG\nnowhere.wav,AKG\n")
    command = ["ingest", sounds, "--json", "--tags", sounds / "tags.csv"]
    [line] = run(*command, library=tmp_path / "l", code=3)[0].splitlines()
    report = json.loads(line)
    assert report["action"] == "ingest"
    assert (report["added"], report["clips"], report["failed_before"]) == (6, 6, 0)
    assert [failure["uri"] for failure in report["failed"]] == [str(sounds / "bad.wav")]
    unknown = [str(sounds / "nowhere.wav")]
    assert report["tags"] == {"tagged": 1, "unknown": unknown, "refused": {}}
    [line] = run("ingest", "--reembed", "--json", library=tmp_path / "l")[0].splitlines()
    assert json.loads(line)["action"] == "reembed"


def test_damaged_clips_are_named(library, sounds):
    assert run("clips", "--damaged", library=library) == ("", "")
    os.truncate(sounds / "low.wav", 40_000)
    _, err = run("ingest", sounds, library=library)
    assert "soundsearch clips --damaged" in err
    out, _ = run("clips", "--damaged", library=library)
    assert len(out.splitlines()) == 2 and "low.wav" in out and "promises" in out
    [row] = rows("clips", "--damaged", library=library)
    assert row["uri"] == str(sounds / "low.wav") and "promises" in row["warning"]
    assert rows("clips", "--damaged", "--where", "duration > 1000", library=library) == []
    labelled = json.loads(run("label", sounds / "low.wav", "--json")[0])
    assert "promises" in labelled["warning"]


def test_what_is_too_high_to_be_heard_is_said_once(tmp_path):
    folder, library = tmp_path / "s", tmp_path / "l"
    folder.mkdir()
    for name, rate in (("bat", 250_000), ("shrew", 192_000), ("bird", 96_000)):
        soundfile.write(folder / f"{name}.wav", noise(rate, 6), rate)
    out, err = run("ingest", folder, library=library)
    assert "3 added" in out and err.count("heard") == 1
    assert "  2 files were recorded at up to 250 kHz; what is above 8 kHz is not heard\n" in err
    assert "heard" not in run("ingest", folder, library=library)[1]
    report = json.loads(run("ingest", folder, "--again", "--json", library=library)[0])
    assert (report["ultrasonic"], report["highest_rate"]) == (2, 250_000)
