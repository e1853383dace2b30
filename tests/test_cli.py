"""The command line as a new user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support.commands import run, run_apart
from support.sounds import noise, tone, write
from support.stores import CLIPS, SETTINGS, filled

import soundsearch
from soundsearch.stores.opening import create_store, place_of


@pytest.fixture
def library(sounds, tmp_path):
    path = tmp_path / "cli.lib"
    done = run("ingest", sounds, library=path)
    assert done.returncode == 0, done.stderr
    assert "6 added" in done.stdout
    return path


def test_query_for_people_and_for_programs(library, sounds):
    table = run_apart("query", sounds / "low.wav", "-k", 3, library=library)
    assert table.returncode == 0
    assert "sounds like:" in table.stdout and "low.wav" in table.stdout
    rows = [
        json.loads(line)
        for line in run("query", sounds / "low.wav", "--json", library=library).stdout.splitlines()
    ]
    assert [row["rank"] for row in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[0].keys() == {"rank", "clip_id", "score", "uri", "start", "end", "labels"}
    assert rows[0]["uri"] == str(sounds / "low.wav")
    for found in rows[0]["labels"]:
        assert found.keys() == {"name", "mid", "score", "path"}
        assert found["path"][-1] == found["name"]
    piped = run("query", "-", "--json", library=library, given=(sounds / "low.wav").read_bytes())
    assert [json.loads(line)["uri"] for line in piped.stdout.splitlines()] == [
        row["uri"] for row in rows
    ]


def test_at(library, sounds):
    part = run("query", sounds / "chirp.flac", "--at", "4.0-6", "--json", library=library)
    assert part.returncode == 0
    again = run(
        "query", sounds / "chirp.flac", "--at", "0:04.00-0:00:06", "--json", library=library
    )
    assert again.stdout == part.stdout
    for wrong in ("5", "6-4", "a-b", "1:60-3:00", "0:99:00-", "nan-5", "-"):
        refused = run("query", sounds / "chirp.flac", "--at", wrong, library=library)
        assert refused.returncode == (0 if wrong == "-" else 2), wrong
    beyond = run("query", sounds / "chirp.flac", "--at", "60-70", library=library)
    assert beyond.returncode == 1


def test_label(sounds):
    [row] = run("label", sounds / "chirp.flac", "--json").stdout.splitlines()
    labelled = json.loads(row)
    assert labelled.keys() == {"uri", "labels", "segments"}
    assert [segment["start"] for segment in labelled["segments"][:3]] == [0.0, 0.96, 1.92]
    assert labelled["segments"][0]["labels"][0]["name"] == "Silence"
    people = run("label", sounds / "chirp.flac")
    assert "0:00.00-0:00.96  Silence 1.00" in people.stdout


def test_info_failures_remove_rebuild(library, sounds):
    (sounds / "bad.wav").write_text("text")
    again = run("ingest", sounds, library=library)
    assert again.returncode == 3
    assert "1 failed" in again.stdout and "bad.wav" in again.stderr
    facts = json.loads(run("info", "--json", library=library).stdout)
    assert facts["clips"] == 6 and facts["failures"] == 1 and facts["segments"] > 20
    assert facts.keys() >= {"encoder", "space", "store"}
    [failure] = run("failures", "--json", library=library).stdout.splitlines()
    assert json.loads(failure)["uri"] == str(sounds / "bad.wav")
    assert "bad.wav" in run("failures", library=library).stdout
    assert run("remove", sounds / "deeper", library=library).stdout == "2 clips removed\n"
    assert run("remove", sounds / "deeper", library=library).returncode == 1
    assert run("rebuild", library=library).returncode == 0
    assert json.loads(run("info", "--json", library=library).stdout)["clips"] == 4


def test_errors_are_one_line_without_a_traceback(library, sounds, tmp_path):
    (tmp_path / "empty.wav").touch()
    for arguments, named in [
        (("query", tmp_path / "nowhere.wav"), "nowhere.wav"),
        (("query", tmp_path / "empty.wav"), "empty.wav"),
        (("ingest", tmp_path / "nowhere"), "nowhere"),
        (("label", tmp_path), str(tmp_path)),
    ]:
        options = {} if arguments[0] == "label" else {"library": library}
        done = run(*arguments, **options)
        assert done.returncode == 1
        assert done.stdout == ""
        assert len(done.stderr.splitlines()) == 1
        assert done.stderr.startswith("Error: ") and named in done.stderr
    assert "Traceback" in run_apart("--debug", "label", tmp_path / "empty.wav").stderr
    assert run_apart("query", sounds / "low.wav", "-k", 0, library=library).returncode == 2
    assert run("query", sounds / "low.wav", "--ranking", "x", library=library).returncode == 2


def test_a_library_that_is_not_there(library, sounds, tmp_path):
    """No command is named that would make another one; those beside it are."""
    for name, beside in (("cil.lib", "cli.lib"), ("x", "cli.lib")):
        for command in (["info"], ["query", sounds / "low.wav"], ["tag", sounds / "tags.csv"]):
            (sounds / "tags.csv").write_text("path,mic\nlow.wav,AKG\n")
            missing = run(*command, library=tmp_path / name)
            assert missing.returncode == 1 and beside in missing.stderr
            assert "no library" in missing.stderr and "ingest" not in missing.stderr
        assert not (tmp_path / name).exists()
    alone = run("info", library=tmp_path / "none" / "x.lib")
    assert alone.stderr.endswith("x.lib: there is no library here; is its name right?\n")
    assert "ingest" not in run("info", SOUNDSEARCH_LIBRARY=str(tmp_path / "y")).stderr
    (tmp_path / "home").mkdir()
    home = {"HOME": str(tmp_path / "home"), "XDG_DATA_HOME": str(tmp_path / "home")}
    assert "soundsearch ingest" in run("info", **home).stderr


def test_a_mistaken_ingest_makes_no_library(sounds, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("no sound")
    (tmp_path / "empty").mkdir()
    place = tmp_path / "new.lib"
    mistaken = run("ingest", notes, library=place)
    assert mistaken.returncode == 3 and not place.exists()
    assert mistaken.stdout == "1 failed; no library was made\n"
    assert "notes.txt: its content is not readable audio" in mistaken.stderr
    empty = run("ingest", tmp_path / "empty", "--json", library=place)
    assert empty.returncode == 0 and json.loads(empty.stdout)["clips"] == 0
    assert not place.exists()
    # A damaged file is audio by its name: the library remembers that it failed.
    (tmp_path / "bad.wav").write_text("no sound")
    assert run("ingest", tmp_path / "bad.wav", library=place).returncode == 3
    assert "bad.wav" in run("failures", library=place).stdout


def test_default_library_and_version(sounds, tmp_path):
    place = {"SOUNDSEARCH_LIBRARY": str(tmp_path / "default.lib")}
    assert run_apart("ingest", sounds, **place).returncode == 0
    assert json.loads(run("info", "--json", **place).stdout)["store"] == str(
        tmp_path / "default.lib"
    )
    version = run_apart("--version").stdout.strip()
    assert version == f"soundsearch {soundsearch.__version__}"


def test_control_characters_in_names_are_escaped(tmp_path):
    folder = tmp_path / "s"
    write(folder / "a\x1b[31m\nred.wav", tone(300, 2))
    os.link(folder / "a\x1b[31m\nred.wav", os.fsencode(folder) + b"/\xff.wav")
    assert run("ingest", folder, library=tmp_path / "l").returncode == 0
    shown = run("query", folder / "a\x1b[31m\nred.wav", library=tmp_path / "l").stdout
    assert "\x1b" not in shown and "\\x1b[31m\\nred.wav" in shown and "\\udcff.wav" in shown


def test_models_list():
    [row] = run("models", "list", "--json").stdout.splitlines()
    assert json.loads(row)["name"] == "mini"
    assert json.loads(row)["dimension"] == 128


def test_a_second_ingest_is_told_which_process_is_writing(library, sounds):
    with soundsearch.open(library) as lib, lib._session.store.writing():
        refused = run_apart("ingest", sounds, library=library)
        assert refused.returncode == 1
        assert f"process {os.getpid()}" in refused.stderr
        assert run("query", sounds / "low.wav", library=library).returncode == 0


def test_help_imports_nothing_heavy():
    heavy = "numpy", "onnxruntime", "faiss", "scipy", "soundfile", "av"
    script = (
        "import sys; from click.testing import CliRunner; from soundsearch.cli.main import main;"
        "assert CliRunner().invoke(main, ['ingest', '--help']).exit_code == 0;"
        f"assert not set({heavy}) & set(sys.modules), set({heavy}) & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_query_imports_no_more_than_it_needs(library, sounds):
    script = (
        "import sys; from click.testing import CliRunner; from soundsearch.cli.main import main;"
        f"done = CliRunner().invoke(main, ['query', {str(sounds / 'low.wav')!r}, '--library',"
        f" {str(library)!r}]); assert done.exit_code == 0, done.output;"
        "assert not {'faiss', 'scipy', 'av', 'librosa', 'tqdm', 'numpy.ma'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_public_names():
    assert soundsearch.__all__ == sorted(soundsearch.__all__)
    for name in soundsearch.__all__:
        assert getattr(soundsearch, name) is not None
    with pytest.raises(AttributeError):
        soundsearch.nothing  # noqa: B018


def test_ingest_on_a_full_output_pipe_is_quiet(library, sounds):
    write(sounds / "more.wav", noise(3, 2))
    done = subprocess.run(
        f"{sys.executable} -m soundsearch query {sounds}/low.wav --library {library} | head -n 0",
        shell=True,
        capture_output=True,
    )
    assert b"Traceback" not in done.stderr and b"Error" not in done.stderr


def test_errors_of_files_are_one_line_each(tmp_path, sounds):
    """Whatever file it is: a demo's, an archive that is cut off, a full disk."""
    import io
    import zipfile

    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("weight.npy", bytes(5000))
    file = tmp_path / "file"
    file.write_bytes(b"x")
    for ending in ("zip", "npz", "wav", "csv", "tfrecord"):
        (tmp_path / f"broken.{ending}").write_bytes(archive.getvalue()[:-40])
    for arguments, said in (
        (["demo", "--folder", file], "Not a directory"),
        (["demo", "--folder", "/dev/null/x"], "Not a directory"),
        (["ingest", tmp_path / "broken.wav"], "not readable audio"),
        (["query", tmp_path / "broken.zip"], "not readable audio"),
        (["label", tmp_path / "broken.npz"], "not readable audio"),
        (["tag", tmp_path / "broken.csv"], "UTF-8"),
        (["audioset", "stats", tmp_path / "broken.tfrecord"], "TFRecord"),
        (["models", "import", "vggish", tmp_path / "broken.npz"], "weights"),
        (["models", "import", "yamnet", tmp_path / "broken.zip"], "SavedModel"),
    ):
        done = run(*arguments, SOUNDSEARCH_LIBRARY=str(tmp_path / "lib"))
        text = done.stdout + done.stderr
        assert done.returncode in (1, 2, 3), text
        assert said in text and "bug" not in text and "Traceback" not in text, text
    if not os.path.exists("/dev/full"):
        return
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "soundsearch", "models", "list"],
            stdout=full, stderr=subprocess.PIPE, timeout=60,
        )  # fmt: skip
    assert b"No space left" in done.stderr and b"bug" not in done.stderr, done.stderr


def test_no_command_makes_a_folder_for_a_user_who_is_not_there(sounds, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    store = create_store(place_of(tmp_path / "l"), SETTINGS)
    filled(store, CLIPS)
    store.close()
    (tmp_path / "segments.csv").write_text('a, 0, 10, "/m/06mb1"\n')
    file, library = "~nouser/x.csv", ["--library", str(tmp_path / "l")]
    for arguments in (
        ["info", "--library", "~nouser/l"],
        ["ingest", sounds / "low.wav", "--library", "~nouser/l"],
        ["info", "--library", "milvus-lite:~nouser/l.db"],
        ["tag", file, *library],
        ["correct", "--file", file, *library],
        ["export", file, *library],
        ["map", "--out", "~nouser/x.html", "--method", "pca", *library],
        ["relabel", "segments.csv", "--policy", "ol", "--out", file],
        ["train", "--labels", file, "--out", "x", *library],
        ["train", "--tag", "x", "--out", file, *library],
        ["label", sounds / "low.wav", "--head", file],
        ["head", "use", file, *library],
        ["serve", "--allow-ingest", "~nouser", *library],
        ["models", "import", "vggish", file],
    ):
        done = run(*arguments)
        assert done.returncode == 2, (arguments, done.stderr)
        assert "no user's folder is known as ~nouser; correct" in done.stderr, done.stderr
    assert {each.name for each in tmp_path.iterdir()} <= {"l", "segments.csv", sounds.name}
