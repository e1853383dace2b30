"""Conversion of clips, failures and segments to rows of Milvus and back.

``data`` of a clip row is the whole record; ``duration``, ``padded``, ``warning``, labels and tags
are copied out of it, in forms that an expression can compare:

* Texts are stored unchanged, but a warning is prefixed with ``=``: no warning is an empty text.
* A kept label is a class in ``label_N`` and its score in ``score_N``: typed fields are compared
  ten times faster than paths into JSON, and a node of the ontology stands for up to 200 classes.
* Human labels are an ARRAY on a server and a text such as ``;3;500;`` in Milvus Lite, which
  searches arrays row by row in Python but texts in Arrow.
* Tags are one JSON object. A key is percent-encoded and prefixed with the type of its value,
  ``s:`` text, ``n:`` number, ``b:`` truth value, so that different types are never compared.

Bytes are base64 or hexadecimal digits in VARCHAR fields; uris are percent-encoded, because a file
name need not be UTF-8.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, quote_from_bytes, unquote, unquote_to_bytes

import blake3
import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.discover import AudioFile

from ..records import (
    CLIP_LABELS,
    LABEL,
    NO_LABEL,
    SEGMENT,
    SEGMENT_LABELS,
    ClipRecord,
    FailureRecord,
    HumanEvent,
    NewClip,
    StoredClip,
)
from .client import Row

__all__ = [
    "CLIP_FIELDS",
    "LONGEST",
    "NAMED_FIELDS",
    "NO_VECTOR",
    "SEEN_FIELDS",
    "SEGMENTS_PER_EDITION",
    "SEGMENT_FIELDS",
    "clip_of",
    "clip_row",
    "failure_id",
    "failure_of",
    "failure_row",
    "named_clip",
    "packed_uri",
    "segment_ids",
    "segment_rows",
    "segments_of",
    "short_hash",
    "state_row",
    "tag_key",
    "unpacked_uri",
]

SEGMENTS_PER_EDITION = 1 << 24  # 46 h in steps of 10 ms

NO_VECTOR = [0.0, 1.0]
# The longest text in Milvus, in bytes.
LONGEST = 65_535
# Longer warnings and reasons are cut off, in characters.
_LONGEST_TEXT = 10_000

_NO_LABELS = np.empty(0, LABEL)

SEEN_FIELDS = ("id", "edition", "revision", "segments")
# Those that `named_clip` reads.
NAMED_FIELDS = (*SEEN_FIELDS, "uri", "tags")
CLIP_FIELDS = ("id", "uri", "digest", "edition", "revision", "segments", "data")
SEGMENT_FIELDS = ("id", "level", "labels", "vector")


def state_row(id: int, data: Row) -> Row:
    """A state row."""
    return {"id": id, "data": json.dumps(data), "vector": NO_VECTOR}


def packed_uri(uri: str) -> str:
    """A uri as it is stored: ASCII."""
    return quote_from_bytes(os.fsencode(uri))


def unpacked_uri(packed: str) -> str:
    """A uri from how it is stored."""
    return os.fsdecode(unquote_to_bytes(packed))


def short_hash(content: str | bytes) -> int:
    """A 62-bit hash that identifies a uri or content."""
    raw = content.encode() if isinstance(content, str) else content
    return int.from_bytes(blake3.blake3(raw).digest(8), "big") >> 2


def failure_id(uri: str) -> int:
    """The id of the failure at a uri: below 0, and fixed, so a new failure replaces an old one."""
    return -1 - short_hash(packed_uri(uri))


def tag_key(kind: type, key: str) -> str:
    """The stored key of a tag whose value has this type (str, float or bool)."""
    packed = quote(key, safe="", errors="surrogatepass").replace("~", "%7E")
    return f"{kind.__name__[0].replace('f', 'n')}:{packed}"


def _packed_tags(tags: Any) -> Row:
    packed: Row = {}
    for key, value in tags.items():
        if isinstance(value, bool | str):
            packed[tag_key(type(value), key)] = value
        else:
            packed[tag_key(float, key)] = float(value)
    if packed:
        json.dumps(
            packed, ensure_ascii=False
        ).encode()  # raises ValueError if it is not valid Unicode
    return packed


def clip_row(
    id: int, record: ClipRecord, segments: int, edition: int, revision: int, lite: bool
) -> Row:
    """A clip's row. Of two clips with one uri, the one with the higher revision is valid."""
    warning = None if record.warning is None else record.warning[:_LONGEST_TEXT]
    data: Row = {
        "size": int(record.file.size),
        "mtime_ns": int(record.file.mtime_ns),
        "duration": float(record.duration),
        "padded": bool(record.padded),
        "warning": warning,
        "labels": b64encode(record.labels.tobytes()).decode(),
        "human_labels": list(map(int, record.human_labels)),
        "tags": dict(record.tags),
    }
    if record.human_events:
        data["human_events"] = [event.packed() for event in record.human_events]
    row = {
        **_row(id, record.file.uri, record.digest, edition, revision, segments, data),
        "duration": data["duration"],
        "padded": data["padded"],
        "warning": "" if warning is None else f"={warning}",
        "human_labels": data["human_labels"],
        "tags": _packed_tags(record.tags),
    }
    if lite:
        row["human_labels"] = "".join(f";{label}" for label in data["human_labels"]) + ";"
    for n, (label, score) in enumerate(record.labels.tolist()[:CLIP_LABELS]):
        row[f"label_{n}"], row[f"score_{n}"] = label, score
    return row


def failure_row(failure: FailureRecord, lite: bool) -> Row:
    """A failure's row: the fields of a clip and an id below 0."""
    data = {
        "size": int(failure.file.size),
        "mtime_ns": int(failure.file.mtime_ns),
        "reason": failure.reason[:_LONGEST_TEXT],
    }
    uri = failure.file.uri
    row = _row(failure_id(uri), uri, failure.digest or b"", 0, 0, 0, data)
    if lite:
        row["human_labels"] = ""
    return row


def _row(
    id: int, uri: str, digest: bytes, edition: int, revision: int, segments: int, data: Row
) -> Row:
    row: Row = {
        "id": id,
        "uri": packed_uri(uri),
        "digest": digest.hex(),
        "edition": edition,
        "revision": revision,
        "segments": segments,
        "duration": 0.0,
        "padded": False,
        "warning": "",
        "human_labels": [],
        "tags": {},
        "data": json.dumps(data),
        "vector": NO_VECTOR,
    }
    if len(row["data"]) > LONGEST:
        raise ValueError(f"its tags, warning and events by people need more than {LONGEST} bytes")
    for n in range(CLIP_LABELS):
        row[f"label_{n}"], row[f"score_{n}"] = NO_LABEL, 0.0
    return row


def _file_of(row: Row, data: Row) -> AudioFile:
    return AudioFile(unpacked_uri(row["uri"]), data["size"], data["mtime_ns"])


def clip_of(row: Row) -> StoredClip:
    """The clip of a row with `CLIP_FIELDS`."""
    data = json.loads(row["data"])
    record = ClipRecord(
        file=_file_of(row, data),
        digest=bytes.fromhex(row["digest"]),
        duration=data["duration"],
        padded=data["padded"],
        warning=data["warning"],
        labels=np.frombuffer(b64decode(data["labels"]), LABEL),
        human_labels=tuple(data["human_labels"]),
        human_events=HumanEvent.of(data.get("human_events", ())),
        tags=data["tags"],
    )
    return StoredClip(id=row["id"], count=row["segments"], record=record)


def named_clip(row: Row) -> StoredClip:
    """As much of the clip of a row with `NAMED_FIELDS` as these say."""
    tags = {unquote(key[2:], errors="surrogatepass"): value for key, value in row["tags"].items()}
    record = ClipRecord(
        file=AudioFile(unpacked_uri(row["uri"]), 0, 0),
        digest=b"",
        duration=0.0,
        labels=_NO_LABELS,
        tags=tags,
    )
    return StoredClip(id=row["id"], count=row["segments"], record=record)


def failure_of(row: Row) -> FailureRecord:
    """The failure of a row with `CLIP_FIELDS`."""
    data = json.loads(row["data"])
    digest = bytes.fromhex(row["digest"]) or None
    return FailureRecord(_file_of(row, data), digest, data["reason"])


def segment_ids(edition: int, first: int, last: int) -> NDArray[np.int64]:
    """The ids of an edition's segments `first` to `last` - 1, int64 [n]."""
    return edition * SEGMENTS_PER_EDITION + np.arange(first, last)


def segment_rows(clip: NewClip, clip_id: int, edition: int, first: int, last: int) -> list[Row]:
    """The rows of a clip's segments `first` to `last` - 1."""
    vectors = np.ascontiguousarray(clip.embeddings[first:last], np.float32)
    ids = segment_ids(edition, first, first + len(vectors)).tolist()
    levels = clip.segments["level"][first:last].tolist()
    labels = np.ascontiguousarray(clip.segments["labels"][first:last]).tobytes()
    size = LABEL.itemsize * SEGMENT_LABELS
    return [
        {
            "id": id,
            "clip": clip_id,
            "level": level,
            "labels": b64encode(labels[n * size : (n + 1) * size]).decode(),
            "vector": vector,
        }
        for n, (id, level, vector) in enumerate(zip(ids, levels, vectors, strict=True))
    ]


def segments_of(
    rows: Sequence[Row], dimension: int
) -> tuple[NDArray[np.float32], NDArray[np.void]]:
    """The vectors, float32 [n, dimension], and SEGMENT [n] of segment rows."""
    vectors = np.array([row["vector"] for row in rows], np.float32).reshape(-1, dimension)
    segments = np.empty(len(rows), SEGMENT)
    segments["level"] = [row["level"] for row in rows]
    labels = b"".join(b64decode(row["labels"]) for row in rows)
    segments["labels"] = np.frombuffer(labels, LABEL).reshape(-1, SEGMENT_LABELS)
    return vectors, segments
