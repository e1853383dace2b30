"""Filter expressions: their meaning, and the messages of invalid ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile

from soundsearch.asking.expressions import parse_filter
from soundsearch.errors import ArgumentError
from soundsearch.stores.filters import (
    ALIKE,
    And,
    Comparison,
    Missing,
    Named,
    Not,
    OneOf,
    Or,
    Plain,
    Tag,
    is_named,
    matches,
    said_in,
)
from soundsearch.stores.records import CLIP_LABELS, LABEL, NO_LABEL, ClipRecord, StoredClip

BARK, CAT, MUSIC = 75, 81, 137


def clip(uri="/field/a.wav", duration=5.0, labels=(), **fields):
    stored = np.zeros(CLIP_LABELS, LABEL)
    stored["class_index"] = NO_LABEL
    for place, (index, score) in enumerate(labels):
        stored[place] = (index, score)
    file = AudioFile(uri, 1, 2)
    record = ClipRecord(file=file, digest=bytes(32), duration=duration, labels=stored, **fields)
    return StoredClip(id=1, count=5, record=record)


def lets(text, found, **parameters):
    return matches(parse_filter(text, parameters), found)


def test_expressions_become_data():
    duration = Comparison(Plain("duration"), "<", 10.0)
    mic = Comparison(Tag("mic"), "==", "AKG")
    padded = Comparison(Plain("padded"), "==", True)
    assert parse_filter("duration < 10") == duration
    assert parse_filter("duration<10 and tag['mic']=='AKG' or padded") == Or(
        (And((duration, mic)), padded)
    )
    assert parse_filter("duration < 10 and (tag[\"mic\"] == 'AKG' or padded)") == And(
        (duration, Or((mic, padded)))
    )
    assert parse_filter("NOT not padded") == Not(Not(padded))
    assert parse_filter("tag['a'] not in (1, 'x', true)") == Not(OneOf(Tag("a"), (1.0, "x", True)))
    assert parse_filter("warning is not missing") == Not(Missing(Plain("warning")))
    assert parse_filter(r"uri == 'it\'s \\ here'") == Comparison(Plain("uri"), "==", r"it's \ here")


def test_names_of_files_folders_and_tags():
    named = clip(
        "/Field/100% Rain/Snare_01.wav", tags={"kind": "Rim Shot", "take": 3.0, "new": True}
    )
    for pattern in (
        "snare*", "SNARE_0?.WAV", "100% rain", "field", "*rain*", "rim shot", "*shot", "r?m*",
        "field/100*", "*rain/snare*", "/field", "*",
    ):  # fmt: skip
        assert matches(Named(pattern), named), pattern
        assert lets("name match :p", named, p=pattern)
        assert not lets("name not match :p", named, p=pattern)
    for pattern in ("snare", "kind", "3", "true", "rim", "field*snare*", "rain/snare_01.wav", "_"):
        assert not matches(Named(pattern), named), pattern
    composed, apart = "/Caf\u00e9.wav", "/cafe\u0301.wav"
    for uri in (composed, apart):
        assert is_named("CAF\u00c9*", uri, ()) and is_named("cafe\u0301*", uri, ())
        assert not is_named("cafe*", uri, ())
    assert is_named("\u03a3\u0391\u03a3*", "/\u03c3\u03b1\u03c3\u03b1", ())  # sigmas, not final
    assert not is_named("*a" * 40 + "b", "/" + "a" * 5000, ())  # in no time
    assert parse_filter("name match 'a' or not name match 'b'") == Or((Named("a"), Not(Named("b"))))


def test_what_is_said_in_a_pattern_is_in_every_name_that_matches():
    assert said_in("*Snare ?0*.wav") == "snare "
    texts = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    others = {text for text in texts if not text.isascii() and said_in(text)}
    assert others == set(ALIKE)


def test_parameters_are_values_and_never_text():
    evil = "' or uri like '%"
    assert parse_filter("name match :u", {"u": evil}) == Named(evil)
    assert parse_filter("uri == :u", {"u": evil}) == Comparison(Plain("uri"), "==", evil)
    assert parse_filter("tag[:k] in :values", {"k": "it's", "values": [1, np.float32(2)]}) == OneOf(
        Tag("it's"), (1.0, 2.0)
    )
    assert parse_filter("uri in :none", {"none": []}) == OneOf(Plain("uri"), ())


def test_what_filters_mean():
    dog = clip(labels=[(BARK, 0.75), (MUSIC, 0.25)], tags={"mic": "AKG", "take": 2.0, "ok": True})
    assert lets("label['Dog'] > 0.7 and label['Animal'] == 0.75", dog)
    assert not lets("label['Cat'] > 0", dog)
    assert lets("label['Cat'] == 0 and label['Music'] < 0.5", dog)
    assert lets("label['Cat'] == 1 and human_label['Animal']", clip(human_labels=(CAT,)))
    assert not lets("human_label['Dog']", dog)
    assert lets("uri like '/field/%' and uri like '%/_.wav' and duration <= 5", dog)
    assert not lets("uri like '/FIELD/%' or uri like '/field'", dog)
    assert lets("tag['mic'] == 'AKG' and tag['take'] != 1 and tag['ok']", dog)
    # Of another type, or missing: no comparison holds, only `is missing` does.
    for unknown in ("tag['take'] == '2'", "tag['mic'] != 1", "tag['ok'] == 1", "tag['no'] != 1"):
        assert not lets(unknown, dog), unknown
        assert lets(f"not {unknown}", dog), unknown
    assert lets("tag['no'] is missing and tag['ok'] is not missing", dog)
    assert lets("segments in (4, 5) and warning is missing", dog)
    assert lets("warning like '%early%'", clip(warning="ends early"))
    assert lets("warning like 'e%d__ly'", clip(warning="ends early")) is False
    assert lets("warning like 'e%s%_rly'", clip(warning="ends early"))
    assert lets("warning like '%%e%%s%%'", clip(warning="ends early"))
    # Many parts, and none of them too often.
    many = clip(warning="a" * 500)
    assert lets(f"warning like '{'%a' * 499}%'", many)
    assert not lets(f"warning like '{'%a' * 40}%b'", many)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "character 1: expected a field"),
        ("foo == 1", "expected a field .* got foo"),
        ("duration == 'x'", "character 13: expected a number for duration, got 'x'"),
        ("duration == true", "expected a number for duration"),
        ("padded == 1", "expected true or false for padded"),
        ("padded < true", "expected == or != before true and false"),
        ("label['Dgo'] > 1", "character 7: .*'Dgo'; similar: Dog"),
        ("tag[1] == 2", "expected a text in quotes"),
        ("tag['a'] ==", "got the end"),
        ("tag['a'] like 3", "expected a text after like"),
        ("duration < 10 extra", "character 15: expected and, or, or the end, got extra"),
        ("(duration < 1", "expected )"),
        ("duration is missing", "expected a tag, warning or modified"),
        ("uri", "expected ==, .* after uri"),
        ("modified", "expected ==, .* after modified"),
        ("modified > 3", "character 12: expected a date for modified, as in '2024-05-31' or"),
        ("modified > '2024-02-30'", "expected a date for modified"),
        ("modified > '0000'", "expected a date for modified"),
        ("modified > true", "expected a date for modified"),
        ("modified like '2024%'", "expected ==, .* after modified, got like"),
        ("modified in ('2024')", "expected a field or tag before in"),
        ("label['Dog'] in (1, 2)", "expected a field or tag before in"),
        ("duration < :x", "expected a value for :x"),
        ("duration < 1e999", "finite"),
        ("uri == 'open", "character 8"),
        ("a; drop table clips", "expected a field"),
        ("not " * 1000 + "padded", "at most 50 levels"),
        ("(" * 1000, "at most 50 levels"),
    ],
)
def test_errors_name_their_place(text, expected):
    with pytest.raises(ArgumentError, match=expected.replace("(", r"\(").replace(")", r"\)")):
        parse_filter(text)


def test_dates_are_moments_of_utc():
    def at(seconds):
        file = AudioFile("/a.wav", 1, int(seconds * 1e9))
        return StoredClip(id=1, count=1, record=replace(clip().record, file=file))

    new_year = 1_704_067_200  # of 2024
    for text in ("2024", "2024-01", "2024-01-01", "2024-01-01T00:00", "2024-01-01 00:00:00Z"):
        assert lets(f"modified == '{text}'", at(new_year))
        assert lets("modified < :then", at(new_year - 0.5), then=text)
        assert not lets(f"modified < '{text}'", at(new_year))
    assert lets("modified >= '2023-12-31T23:59:59' and modified < '2024'", at(new_year - 1))
    assert lets("modified < '1970'", at(-1)) and lets("modified is not missing", at(-1))
    # What was never a file, or is at a URL that does not tell.
    assert lets("modified is missing and not modified < '2024' and not modified > '1960'", at(0))


def test_bad_parameters():
    for value in (float("nan"), None, [1], object(), 10**400, np.ones(2)):
        with pytest.raises(ArgumentError, match="finite"):
            parse_filter("tag['a'] == :v", {"v": value})
    with pytest.raises(ArgumentError, match="a list for :v"):
        parse_filter("uri in :v", {"v": "abc"})
    with pytest.raises(ArgumentError, match="no :other"):
        parse_filter("padded", {"other": 1})
    with pytest.raises(ArgumentError, match="expected a text"):
        parse_filter(3)  # type: ignore[arg-type]
