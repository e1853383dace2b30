"""Stores of every kind, clips for them, and random filters with awkward values."""

from __future__ import annotations

import random
import secrets
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from soundsearch_ingest.discover import AudioFile

from soundsearch.labels.head import silence
from soundsearch.stores.filters import (
    And,
    Comparison,
    Filter,
    HumanLabel,
    Label,
    Missing,
    Named,
    Not,
    OneOf,
    Or,
    Plain,
    Tag,
)
from soundsearch.stores.local.index import SegmentIndex
from soundsearch.stores.local.live import Live
from soundsearch.stores.local.shards import Shards
from soundsearch.stores.opening import create_store, place_of
from soundsearch.stores.records import (
    CLIP_LABELS,
    LABEL,
    NO_LABEL,
    SEGMENT,
    ClipRecord,
    NewClip,
    Settings,
)


def index_over(vectors, live, path, tuning=None):
    """The search over the live rows of vectors, by the shard at a path, or shards at several."""
    mask = np.isin(np.arange(len(vectors)), live)
    paths = path if isinstance(path, list) else [path]
    shards = None if path is None else Shards(paths, vectors.shape[1])
    return SegmentIndex(vectors, Live(len(vectors), mask), shards, tuning)


SETTINGS = Settings("mini", "mini-1", 16, 0.96, 0.96)


@pytest.fixture(params=["local", "lite", pytest.param("server", marks=pytest.mark.server)])
def place(request, tmp_path):
    """The place of a new store, for each kind."""
    if request.param == "server":
        address = request.getfixturevalue("milvus_server").address
        return place_of(f"milvus://{address}/t{secrets.token_hex(8)}")
    if request.param == "lite":
        pytest.importorskip("milvus_lite")
        return place_of(f"milvus-lite:{tmp_path / 'library.db'}")
    return place_of(tmp_path / "library")


@pytest.fixture
def store(place):
    """A new store of each kind."""
    with_store = create_store(place, SETTINGS)
    yield with_store
    with_store.close()


def new_clip(uri: str, count: int, seed: int, dimension: int = 16, **fields) -> NewClip:
    """A clip of random segments; `fields` set fields of its record."""
    rng = np.random.default_rng(seed)
    segments = np.zeros(count, SEGMENT)
    segments["level"] = rng.uniform(-80, 20, count)
    segments["labels"]["class_index"] = rng.integers(0, 527, (count, 5))
    known = {
        "file": AudioFile(uri, count * 1000, seed),
        "digest": seed.to_bytes(32, "big"),
        "duration": count * 0.96,
        "padded": count == 1,
        "labels": silence(CLIP_LABELS),
    }
    return NewClip(
        record=ClipRecord(**{**known, **fields}),
        embeddings=rng.normal(0, 2, (count, dimension)).astype(np.float32),
        segments=segments,
    )


CLIPS = [new_clip(f"/sounds/{n}.wav", count, n) for n, count in enumerate((3, 1, 40, 7), 1)]


def filled(store, clips: Sequence[NewClip]) -> list[int]:
    """Store clips; return their ids."""
    with store.writing():
        store.add(clips)
    return [store.clip_at(clip.record.uri).id for clip in clips]


def amend(store, clip_id: int, **fields) -> None:
    """Change some fields of a clip."""
    with store.reading() as reading:
        [clip] = reading.clips_by_id([clip_id]).values()
    with store.writing():
        store.amend({clip_id: replace(clip.record, **fields)})


def rows(store, clip_id: int, first: int = 0, last: int | None = None):
    """The stored rows of one clip."""
    with store.reading() as reading:
        [count] = reading.lengths(np.array([clip_id]))
        return reading.rows([(clip_id, first, int(count) if last is None else last)])


def search(store, queries, k: int, filter: Filter | None = None):
    """Search in a new reading."""
    with store.reading() as reading:
        return reading.search(queries, k, filter)


def same_record(found: ClipRecord, expected: ClipRecord) -> bool:
    """Whether two records are equal, including the types of tags."""
    return (
        all(
            getattr(found, name) == getattr(expected, name)
            for name in ("file", "digest", "duration", "padded", "warning")
        )
        and found.human_labels == expected.human_labels
        and found.human_events == expected.human_events
        and found.labels.dtype == LABEL
        and bool((found.labels == expected.labels).all())
        and _typed(found.tags) == _typed(expected.tags)
    )


def _typed(tags) -> dict:
    kinds = {bool: "truth value", str: "text", int: "number", float: "number"}
    return {key: (kinds[type(value)], value) for key, value in tags.items()}


# Random clips and filters. Few values of each kind, so that filters let some clips through.

URIS = [
    "/field/a.wav", "/Field/a.wav", "/field/100%.wav", "/field/100_.wav", "/field/1000.wav",
    "/field/new\nline.wav", "/field/\udcff.wav", "/field/\udcc3.wav", "/field/é.wav",
    "/field/\udcff/é.wav", "/sea/\U0001f40b.wav", "/sea/'quote'.wav", '/sea/"double".wav',
    "/sea/back\\slash.wav", "/sea/*?[a].wav", "/sea/\ufffd.wav", "https://x.org/a?b=c%20d",
    "/z", "/zz", "/é", "/\udc80", "/\ue000",
]  # fmt: skip
KEYS = [
    "mic",
    "take",
    "",
    'a"b',
    "$.x",
    "$",
    "a.b",
    "a[0]",
    "é\U0001f40b",
    "it's",
    "new\nline",
    "%",
]
TEXTS = ["AKG", "akg", "", "1", "true", "100%", "a_b", "é", "\U0001f40b", "'; --", 'say "hi"', "\n"]
NUMBERS = [0.0, 1.0, -1.0, 2.5, 0.1 + 0.2, 0.3, 1e-300, 1e300, 2.0**53, -2.5]
VALUES = [*TEXTS, *NUMBERS, True, False]
WARNINGS = ["ends early", "Ends early", "100% odd", "it's é", ""]
DURATIONS = [0.1 + 0.2, 0.3, 0.96, 2.88, 10.0]
PATTERNS = [
    "%", "", "_", "/field/%", "%.wav", "%100\\%%", "%100_.wav", "%é%", "%e%", "/field/_.wav",
    "%*%", "%[a]%", "/sea/?%", "%'%", "%\n%", "%100%", "AKG", "A%", "a_b", "%y%", "E%", "_nds%",
    "/f%d/%a%", "/field/100%", "%\udcff%", "\U0001f40b",
]  # fmt: skip
CLASSES = [0, 1, 2, 75, 526]


def as_if_older(folder: Path) -> None:
    """Make a local library one of an older version of its encoder, whose space was mini-0."""
    with closing(sqlite3.connect(folder / "catalog.sqlite")) as catalog, catalog:
        catalog.execute("""UPDATE settings SET value = '"mini-0"' WHERE key = 'space'""")
        catalog.execute("DELETE FROM settings WHERE key = 'settings_sum'")


def awkward_clips(count: int, rng: random.Random) -> list[NewClip]:
    """Clips whose fields are hard to distinguish, or to write in an expression."""
    clips = []
    for seed in range(count):
        labels = np.zeros(CLIP_LABELS, LABEL)
        labels["class_index"] = NO_LABEL
        for row, index in enumerate(rng.sample(CLASSES, rng.randint(0, 3))):
            labels[row] = (index, rng.choice((0.0, 0.25, 0.1, 0.5, 0.9, 1.0)))
        record = {
            "labels": labels,
            "human_labels": tuple(rng.sample(CLASSES, rng.choice((0, 0, 1, 2)))),
            "tags": {key: rng.choice(VALUES) for key in rng.sample(KEYS, rng.randint(0, 4))},
            "warning": rng.choice((None, None, *WARNINGS)),
            "duration": rng.choice(DURATIONS),
            "padded": rng.random() < 0.5,
        }
        name = URIS[seed] if seed < len(URIS) else f"{rng.choice(URIS)}{seed}"
        clips.append(new_clip(name, rng.randint(1, 3), seed, **record))
    return clips


def random_filter(rng: random.Random, depth: int = 0) -> Filter:
    """A random filter of any shape."""
    if depth < 3 and rng.random() < 0.45:
        parts = tuple(random_filter(rng, depth + 1) for _ in range(rng.randint(1, 3)))
        return rng.choice([And, Or, lambda parts: Not(parts[0])])(parts)
    makers: list[Callable[[random.Random], Filter]] = [
        _on_tag, _on_tag, _on_text, _on_number, _on_padded, _on_label, _missing, _one_of,
        _named,
    ]  # fmt: skip
    return rng.choice(makers)(rng)


_ORDER = ("==", "!=", "<", "<=", ">", ">=")


def _on_tag(rng: random.Random) -> Filter:
    field, value = Tag(rng.choice(KEYS)), rng.choice(VALUES)
    if isinstance(value, bool):
        return Comparison(field, rng.choice(("==", "!=")), value)
    if isinstance(value, str) and rng.random() < 0.3:
        return Comparison(field, "like", rng.choice(PATTERNS))
    return Comparison(field, rng.choice(_ORDER), value)


def _on_text(rng: random.Random) -> Filter:
    name, values = rng.choice([("uri", URIS), ("warning", WARNINGS)])
    if rng.random() < 0.5:
        return Comparison(Plain(name), "like", rng.choice(PATTERNS))
    return Comparison(Plain(name), rng.choice(_ORDER), rng.choice(values))


def _named(rng: random.Random) -> Filter:
    return Named(rng.choice(PATTERNS).translate(str.maketrans("%_", "*?")).removeprefix("/"))


def _on_number(rng: random.Random) -> Filter:
    name, values = rng.choice(
        [
            ("duration", DURATIONS),
            ("segments", (1.0, 2.0, 2.5, 3.0)),
            ("modified", (0.0, 3e-9, 1e-8)),  # of `new_clip`, so many nanoseconds, or none
        ]
    )
    return Comparison(Plain(name), rng.choice(_ORDER), rng.choice(values))


def _on_padded(rng: random.Random) -> Filter:
    return Comparison(Plain("padded"), rng.choice(("==", "!=")), rng.random() < 0.5)


def _on_label(rng: random.Random) -> Filter:
    classes = frozenset(rng.sample(CLASSES, rng.randint(1, 3)))
    if rng.random() < 0.4:
        return Comparison(HumanLabel(classes), rng.choice(("==", "!=")), rng.random() < 0.5)
    score = rng.choice((0.0, 0.1, 0.25, 0.5, float(np.float16(0.1)), 0.9, 1.0))
    return Comparison(Label(classes), rng.choice(_ORDER), score)


def _missing(rng: random.Random) -> Filter:
    return Missing(rng.choice([Plain("warning"), Plain("modified"), Tag(rng.choice(KEYS))]))


def _one_of(rng: random.Random) -> Filter:
    field, values = rng.choice(
        [
            (Tag(rng.choice(KEYS)), VALUES),
            (Plain("uri"), URIS),
            (Plain("warning"), WARNINGS),
            (Plain("duration"), DURATIONS),
            (Plain("segments"), [1.0, 2.0, 9.0]),
        ]
    )
    return OneOf(field, tuple(rng.sample(values, rng.randint(0, 3))))


def vectors_of(count, seed=0):
    """Of sounds of 60 kinds, of different lengths: float32 [count, 16]."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(0, 1, (60, 16))
    points = centres[rng.integers(0, 60, count)] + rng.normal(0, 0.5, (count, 16))
    return (points * rng.uniform(0.5, 3, (count, 1))).astype(np.float32)
