"""Commands in messages name the library that they are about."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import pytest

import soundsearch
from soundsearch import errors, hints
from soundsearch.stores.milvus.uri import MilvusUri

PACKAGE = Path(soundsearch.__file__).parent
# Commands that work on a library.
_COMMAND = re.compile(
    r"soundsearch (check|clips|copy|failures|info|ingest|query|rebuild|remove|similar|tag)\b"
)


def test_the_default_library_is_not_named(tmp_path, monkeypatch):
    monkeypatch.delenv("SOUNDSEARCH_LIBRARY", raising=False)
    assert hints.command("rebuild", hints.default_library()) == "soundsearch rebuild"
    other = tmp_path / "it's mine"
    words = shlex.split(hints.command("rebuild", other))
    assert words == ["soundsearch", "rebuild", "--library", str(other)]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SOUNDSEARCH_LIBRARY", str(other))
    assert hints.command("rebuild", "it's mine") == "soundsearch rebuild"
    address = "milvus://user:secret@host:19530/name"
    monkeypatch.setenv("SOUNDSEARCH_LIBRARY", address)
    assert hints.command("rebuild", MilvusUri.parse(address)) == "soundsearch rebuild"
    lite = MilvusUri.parse("milvus-lite:x.db#second")
    assert hints.command("info", lite) == "soundsearch info --library 'milvus-lite:x.db#second'"


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.stem)
def test_no_message_writes_such_a_command_itself(path):
    tree = ast.parse(path.read_text("utf-8"))
    if path.stem == "tour":  # speaks of libraries to come
        return
    documented = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            assert node in documented or not _COMMAND.search(node.value), (
                f"{path}:{node.lineno}: use soundsearch.hints.command"
            )


def test_messages_name_the_library(sounds, tmp_path):
    with soundsearch.open(tmp_path / "l") as lib:
        lib.ingest(sounds)
        (tmp_path / "l" / "segments-1.rows").unlink()
    with soundsearch.open(tmp_path / "l") as lib, pytest.raises(errors.LibraryDamaged) as caught:
        lib.query(sounds / "low.wav")
    assert f"soundsearch rebuild --library {tmp_path / 'l'}," in str(caught.value)
