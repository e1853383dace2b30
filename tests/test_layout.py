"""Tables fit the terminal, and times are printed as they are typed."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from soundsearch.cli import layout, printing
from soundsearch.cli.options import _Moments
from soundsearch.results import Answer, Clip, Hit, Label, LabelledClip, Segment


@pytest.mark.parametrize(
    ("times", "shown"),
    [
        ([0, 0.96, 59.999], ["0:00.00", "0:00.96", "1:00.00"]),
        ([599.04, 600], ["9:59.04", "10:00.00"]),
        ([3599.994, 3936, 36_000], ["0:59:59.99", "1:05:36.00", "10:00:00.00"]),
        ([3599.996], ["1:00:00.00"]),
    ],
)
def test_clocks(times, shown):
    assert layout.clocks(times) == shown


def test_moments_align_and_can_be_typed():
    spans = [(0, 0.96), (59.52, 60.48), (3599.04, 3600), (36_000, 36_000.96)]
    shown = layout.moments(spans)
    assert len({len(text) for text in shown}) == 1
    for text, (start, end) in zip(shown, spans, strict=True):
        assert _Moments().convert(text.strip(), None, None) == pytest.approx((start, end))
    assert layout.moments([]) == []


def test_names_are_left_out_before_they_are_cut():
    names = [("Bell", " 0.91"), ("Church bell", " 0.80")]
    assert layout.fitted(names, None) == "Bell 0.91, Church bell 0.80"
    assert layout.fitted(names, 26) == "Bell 0.91"
    assert layout.fitted([("A very long name", " 0.91")], 15) == "A very ... 0.91"


def test_cut_counts_columns():
    assert layout.cut("abcdef", 6) == "abcdef"
    assert layout.cut("abcdefg", 6) == "abc..."
    assert layout.cut("abcdefg", 6, keep_end=True) == "...efg"
    assert layout.columns("音") == 2 and layout.columns("e\u0301") == 1
    assert layout.columns(layout.cut("音" * 20, 10)) <= 10
    assert layout.padded("音", 4) == "音  "


LONG = tuple(
    Label(
        f"A class with quite a name {n}", "/m/0", 0.9, ("Sounds of things", "Engine", f"Class {n}")
    )
    for n in range(3)
)


def hit(rank, uri, start, **fields):
    return Hit(rank, 0.5, uri, start, start + 0.96, LONG, rank, **fields)


HITS = (
    hit(1, "/short.wav", 3.0),
    hit(2, "/a/very/long/path/" + "folder/" * 20 + "the name.wav", 3936.0),
    hit(3, "/b.wav", 36_000.0, tags={"mic": "AKG", "note": "x" * 80}),
    hit(4, "/" + "音" * 60 + ".wav", 1.0, tags={"mic": "AKG"}),
    hit(5, "/c/" + "n" * 200 + ".wav", 1.0, tags={"k" * 90: 1.0}),
    hit(6, "/d\x1b" * 40 + ".wav", 1.0),
)
CLIPS = [
    Clip(h.rank, h.uri, h.start, 3, False, "ends after 1.00 s", h.labels, tags=h.tags) for h in HITS
]


def lines(capsys, width):
    printed = capsys.readouterr().out.splitlines()
    assert max(map(layout.columns, printed)) <= width, printed
    return printed


@pytest.mark.parametrize("width", [80, 132])
def test_tables_fit(width, capsys, monkeypatch):
    monkeypatch.setattr(printing, "room", lambda _full: width)
    printing.print_answer(Answer(HITS, LONG), "nothing")
    shown = lines(capsys, width)
    rows = shown[-len(HITS) :]
    assert rows[0].endswith("  /short.wav") and rows[1].endswith("the name.wav")
    assert all(" 0.90" in row for row in rows)  # no score is cut
    assert rows[0][12:].startswith("  0:00:03.00-0:00:03.96  ")
    assert "[mic=AKG" in rows[2]
    for clip in CLIPS:
        printing.print_clip(clip, warning=True)
    assert any("the name.wav" in line for line in lines(capsys, width))
    segments = tuple(Segment(n * 900.0, n * 900.0 + 0.96, False, LONG) for n in range(6))
    printing.print_labelled(LabelledClip("/x.wav", LONG, segments))
    assert lines(capsys, width)[-5].startswith("0:15:00.00-0:15:00.96  A class")


def test_nothing_is_cut_elsewhere(capsys):
    """Where no terminal is written to, everything is there."""
    printing.print_answer(Answer(HITS[:2], LONG), "nothing")
    printed = capsys.readouterr().out
    assert HITS[1].uri in printed and "A class with quite a name 2 0.90" in printed


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_the_width_is_the_terminals(sounds, tmp_path):
    import soundsearch

    place = tmp_path / ("a long name of a folder " * 5)
    place.mkdir()
    os.link(sounds / "low.wav", place / "low.wav")
    library = tmp_path / "l"
    with soundsearch.open(library) as lib:
        lib.ingest(place)

    def printed(*options, columns):
        import pty

        ours, theirs = pty.openpty()
        subprocess.run(
            [sys.executable, "-m", "soundsearch", "clips", "--library", library, *options],
            stdout=theirs,
            stderr=subprocess.PIPE,
            check=True,
            env={**os.environ, "COLUMNS": str(columns)},
        )
        os.close(theirs)
        text = os.read(ours, 4096).decode().strip()
        os.close(ours)
        return text

    assert len(printed(columns=80)) <= 80
    assert 80 < len(printed(columns=100)) <= 100
    assert str(place) in printed("--full", columns=80)
