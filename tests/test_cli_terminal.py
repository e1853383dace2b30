"""What reaches a terminal: nothing that came from outside may act on it."""

from __future__ import annotations

import ast
import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.sounds import tone, write

import soundsearch
from soundsearch.cli import main as cli

# Escape sequences of both kinds, a new line, a bell, text that turns around, a lone surrogate.
NASTY = "a\x1b[31m\nb\x07\x9b2Jc\u202egnp.\u2028\x7f\udcff"


def run(*arguments, code=0):
    """What a command prints, which no terminal acts on: standard output, and all of it."""
    done = CliRunner().invoke(cli.main, list(map(str, arguments)))
    printed = getattr(done, "output_bytes", done.stdout_bytes).decode("utf-8")
    assert done.exit_code == code, printed
    assert all(char.isprintable() or char == "\n" for char in printed), ascii(printed)
    assert "internal" not in printed and "bug in" not in printed
    return done.stdout_bytes.decode("utf-8"), printed


@pytest.fixture
def place(tmp_path):
    """A folder whose name and whose files' names are hostile."""
    folder = tmp_path / NASTY
    folder.mkdir()
    for number, start in enumerate(["", "two ", "cut "]):
        plain = write(tmp_path / f"{number}.wav", tone(300 * (number + 1), 3))
        shutil.move(plain, folder / f"{start}{NASTY}.wav")
    (folder / f"bad {NASTY}.wav").write_text("no sound")
    os.truncate(folder / f"cut {NASTY}.wav", 60_000)
    return folder


def test_no_command_lets_a_terminal_act(place, tmp_path):
    clip = place / f"{NASTY}.wav"
    library = ["--library", tmp_path / f"library {NASTY}"]
    rows = [{"path": str(clip), NASTY: NASTY}, {"path": NASTY, NASTY: 1}, {"path": 1, NASTY: {}}]
    tags = place / f"tags {NASTY}.jsonl"
    tags.write_text("\n".join(map(json.dumps, rows)))
    wrong = ["--where", f"tag['{NASTY}'] == {NASTY}"]

    shown, _ = run("ingest", place, *library, "--tags", tags, "-v", code=3)
    assert "3 added" in shown and "1 failed" in shown
    for command in (["query", clip], ["similar", clip], ["clips"], ["failures"], ["info"]):
        plain, _ = run(*command, *library)
        assert "a\\x1b[31m\\nb\\x07\\x9b2Jc\\u202egnp.\\u2028\\x7f\\udcff" in plain
        for line in run(*command, *library, "--json")[0].splitlines():
            json.loads(line)
        run(*command, *library, f"--{NASTY}", code=2)
        if "--where" in run(command[0], "--help")[0]:
            run(*command, *library, *wrong, code=2)
            run(*command, *library, "--where", f"tag[{json.dumps(NASTY)}] is missing")
    run("label", clip)
    run("describe", clip, place / f"two {NASTY}.wav")
    run("label", place / f"bad {NASTY}.wav", code=1)
    run("label", NASTY, code=1)
    run("label", clip, "--at", NASTY, code=2)
    run("query", clip, *library, "-k", NASTY, code=2)
    run("query", clip, *library, "--ranking", NASTY, code=2)
    run("similar", NASTY, *library, code=1)
    run("clips", *library, "--human-label", NASTY, code=2)
    run("tag", tags, *library, code=3)
    run("tag", NASTY, *library, code=2)
    run("copy", *library, "--to", tmp_path / f"copy {NASTY}")
    run("copy", *library, "--to", library[1], code=1)
    run("copy", *library, "--to", f"milvus://{NASTY}", code=1)
    with open(library[1] / "vectors-1.f32", "r+b") as vectors:
        vectors.write(b"\xff\xff\xff")
    run("check", *library, code=1)
    run("check", *library, "--json", code=1)
    run("rebuild", *library)
    run("remove", NASTY, *library, code=1)
    clip.unlink()
    run("ingest", place, *library)
    run("ingest", place, *library, "--hop", "0.5", code=2)
    run("ingest", NASTY, *library, code=1)
    run("remove", place, *library)
    run("info", "--library", NASTY, code=1)
    run("ingest", place, "--library", tmp_path / "other", "--encoder", NASTY, code=1)
    run(NASTY, code=2)
    run(f"--{NASTY}", code=2)
    run("models", f"--{NASTY}", code=2)


def test_help_keeps_its_lines():
    for group in ([], ["models"]):
        assert len(CliRunner().invoke(cli.main, group).output.splitlines()) > 5


def test_debugging_lets_no_terminal_act(place):
    _, printed = run("--debug", "label", place / f"bad {NASTY}.wav", code=1)
    assert "Traceback" in printed and "AudioError" in printed


def test_audioset_files_let_no_terminal_act(place):
    lists = place / f"list {NASTY}.csv"
    lists.write_text(
        'abc, 0.000, 10.000, "/m/05tny_,/m/\x1b[2J\x9b\u202e"\n', "utf-8", errors="replace"
    )
    run("audioset", "stats", lists)
    run("audioset", "stats", lists, "--json")
    lists.write_text("\x1b[2J, \x9b\n")
    run("audioset", "stats", lists, code=1)
    run("audioset", "stats", place / f"none {NASTY}.tfrecord", code=1)


def test_models_let_no_terminal_act(place, monkeypatch):
    monkeypatch.setenv("SOUNDSEARCH_MODELS", str(place))
    run("models", "import", NASTY, place, code=1)
    run("models", "import", "vggish", place / f"{NASTY}.wav", code=1)
    run("models", "import", "yamnet", place / f"bad {NASTY}.tflite", code=1)
    (place / "vggish").mkdir()
    (place / "vggish" / "origin.json").write_text("\x1b[2J")
    run("models", "list", code=1)
    shutil.rmtree(place / "vggish")
    run("models", "list")


def test_one_function_prints():
    """Whatever the command line prints goes through `printing.say`."""
    for path in Path(soundsearch.__file__).parent.rglob("*.py"):
        printers = {
            node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
            for node in ast.walk(ast.parse(path.read_text("utf-8")))
        } & {"echo", "secho", "print", "style"}
        assert not printers or path.name == "printing.py", f"{path}: use printing.say"
