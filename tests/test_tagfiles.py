"""Tags files as people and spreadsheets write them."""

from __future__ import annotations

import json

import pytest

from soundsearch import errors
from soundsearch.tagfiles import read_tags


def table(folder, text, name="tags.csv", encoding="utf-8"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return read_tags(path)


def lines(folder, *rows):
    text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
    return table(folder, text, "tags.jsonl")


def problems(file):
    return {problem.line: problem.reason for problem in file.problems}


def test_a_table(tmp_path):
    file = table(tmp_path, "path,mic,take,good\na.wav,AKG,3,true\nsub/b.wav,,2.5,FALSE\n")
    assert file.tags == {
        str(tmp_path / "a.wav"): {"mic": "AKG", "take": 3.0, "good": True},
        str(tmp_path / "sub" / "b.wav"): {"take": 2.5, "good": False},
    }
    assert list(file.lines.values()) == [2, 3]
    assert file.problems == []


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("3", 3.0),
        ("-2.50", -2.5),
        ("+.5", 0.5),
        ("1e3", 1000.0),
        ("0", 0.0),
        ("9007199254740992", 2.0**53),
        ("True", True),
        # Texts, although they begin like numbers.
        ("007", "007"),
        ("9007199254740993", "9007199254740993"),
        ("1e999", "1e999"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("1_000", "1_000"),
        ("1,5", "1,5"),
        ("0x10", "0x10"),
        ("e5", "e5"),
        ("+", "+"),
        ("\u0663", "\u0663"),
        ("yes", "yes"),
        ("2024-05-01", "2024-05-01"),
    ],
)
def test_values_of_a_table(tmp_path, cell, value):
    file = table(tmp_path, f'path;tag\na.wav;" {cell} "\n')
    [tags] = file.tags.values()
    assert tags == {"tag": value} and type(tags["tag"]) is type(value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_spreadsheets_write_the_same_in_many_ways(tmp_path, encoding, end, delimiter):
    rows = [["uri", "ort"], ["é.wav", "Köln"], [], ["b.wav", "天"]]
    text = end.join(delimiter.join(row) for row in rows)
    file = table(tmp_path, text, encoding=encoding)
    assert list(file.tags.values()) == [{"ort": "Köln"}, {"ort": "天"}]
    assert list(file.lines) == [str(tmp_path / "é.wav"), str(tmp_path / "b.wav")]
    assert list(file.lines.values()) == [2, 4]


def test_cells_with_quotes_newlines_and_commas(tmp_path):
    file = table(tmp_path, 'path,note\n"a, b.wav","said ""hm""\nand left"\nc.wav,x\n')
    assert file.tags[str(tmp_path / "a, b.wav")] == {"note": 'said "hm"\nand left'}
    assert file.lines[str(tmp_path / "c.wav")] == 4


def test_bad_rows_are_reported_by_line_and_the_others_kept(tmp_path):
    file = table(
        tmp_path,
        "path,mic,take\n"
        "a.wav,AKG,1\n"
        "b.wav,AKG\n"
        "c.wav,AKG,1,2\n"
        ",AKG,1\n"
        "a.wav,Neumann,2\n"
        './a.wav,"x"y,2\n'
        "d.wav,AKG,4\n",
    )
    assert [path.rpartition("/")[2] for path in file.tags] == ["a.wav", "d.wav"]
    assert file.tags[str(tmp_path / "a.wav")]["mic"] == "AKG"
    found = problems(file)
    assert found.keys() == {3, 4, 5, 6, 7}
    assert "expected 3 columns" in found[3] and "got 2" in found[3]
    assert "got 4" in found[4]
    assert "path of a clip" in found[5]
    assert "line 2" in found[6]


def test_a_quote_that_never_closes(tmp_path):
    file = table(tmp_path, 'path,mic\na.wav,AKG\nb.wav,"AKG\nc.wav,AKG\n')
    assert list(file.lines.values()) == [2]
    assert "never closed" in problems(file)[3]


def test_a_column_without_a_name(tmp_path):
    file = table(tmp_path, "path,mic,\na.wav,AKG,\nb.wav,AKG,lost\n")
    assert list(file.tags.values()) == [{"mic": "AKG"}, {"mic": "AKG"}]
    assert "column 3" in problems(file)[1]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"file,mic\na.wav,AKG\n", "line 1: .*path or uri.*file, mic"),
        (b"path,uri,mic\n", "both path and uri"),
        (b"path,mic,mic\n", "mic twice"),
        ("path,ort\na.wav,K\xf6ln\n".encode("latin-1"), "line 2: .*UTF-8.*0xf6"),
        ("path,mic\na.wav,AKG\n".encode("utf-16"), "UTF-16"),
        (bytes(range(128, 256)), "UTF-8"),
    ],
)
def test_unusable_tables(tmp_path, text, said):
    with pytest.raises(errors.ArgumentError, match=rf"tags\.csv.*{said}"):
        table(tmp_path, text)


def test_unusable_files(tmp_path):
    (tmp_path / "tags.txt").write_text("path,mic\n")
    for name, said in [("tags.txt", r"\.csv or \.jsonl"), ("none.csv", "cannot be read")]:
        with pytest.raises(errors.ArgumentError, match=said):
            read_tags(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(errors.ArgumentError, match="cannot be read"):
        read_tags(tmp_path / "folder.csv")


def test_json_lines(tmp_path):
    file = lines(
        tmp_path,
        {"path": "a.wav", "mic": "AKG", "take": 3, "good": True, "old": None},
        "",
        {"uri": "https://www.youtube.com/watch?v=x&t=30", "007": "007"},
    )
    assert file.tags == {
        str(tmp_path / "a.wav"): {"mic": "AKG", "take": 3.0, "good": True, "old": None},
        "https://www.youtube.com/watch?v=x&t=30": {"007": "007"},
    }
    assert list(file.lines.values()) == [1, 3]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('{"path": "a.wav"', "not JSON"),
        ('["a.wav"]', "object in braces"),
        ('{"mic": "AKG"}', "path and uri, got mic"),
        ('{"path": "a.wav", "uri": "a.wav"}', "both"),
        ('{"path": 3}', "text for path"),
        ('{"path": ""}', "path of a clip"),
        ('{"path": "a\\u0000.wav"}', "path of a clip"),
        ('{"path": "\\ud800.wav", "mic": "AKG"}', "path of a clip"),
        ('{"path": "a.wav", "mic": ["AKG"]}', "for mic, got"),
        ('{"path": "a.wav", "mic": {"a": 1}}', "for mic, got"),
        ('{"path": "a.wav", "level": NaN}', "NaN"),
        ('{"path": "a.wav", "level": -Infinity}', "Infinity"),
        ('{"path": "a.wav", "level": 1e999}', "finite"),
        ('{"path": "a.wav", "id": 12345678901234567890}', "quotes"),
        ('{"path": "a.wav", "mic": "a", "mic": "b"}', "'mic' twice"),
        ('{"path": "a.wav", "": "a"}', "empty"),
        ('{"path": "a.wav", "mic": "\\ud800"}', "half a character"),
        ('{"path": "a.wav", "mic": ' + "[" * 100_000, ""),
        ('{"path": "a.wav", "id": ' + "1" * 5000 + "}", ""),
    ],
)
def test_bad_json_lines(tmp_path, row, said):
    file = lines(tmp_path, row, {"path": "b.wav", "mic": "AKG"})
    assert list(file.tags) == [str(tmp_path / "b.wav")]
    assert problems(file).keys() == {1} and said in problems(file)[1]


def test_names_that_are_not_utf_8_come_back_from_json(tmp_path):
    file = lines(tmp_path, {"path": "/s/\udcff.wav", "mic": "AKG"})
    assert list(file.tags) == ["/s/\udcff.wav"]


def test_where_relative_paths_lead(tmp_path, monkeypatch):
    here, there = tmp_path / "here", tmp_path / "there"
    for path in (here / "both.wav", there / "both.wav", here / "only-here.wav"):
        path.parent.mkdir(exist_ok=True)
        path.touch()
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    rows = "both.wav only-here.wav nowhere.wav ../there/x.wav ~/home.wav /s/../abs.wav".split()
    file = table(there, "path,mic\n" + "".join(f"{row},AKG\n" for row in rows))
    assert list(file.tags) == [
        str(there / "both.wav"),
        str(here / "only-here.wav"),
        str(there / "nowhere.wav"),
        str(there / "x.wav"),
        str(tmp_path / "home.wav"),
        "/abs.wav",
    ]
    assert problems(file) == {}
    again = table(there, "path,mic\nboth.wav,AKG\n../there/both.wav,Neumann\n")
    assert problems(again).keys() == {3}
