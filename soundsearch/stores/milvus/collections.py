"""The collections of a library in Milvus, their rows, and the index over the vectors.

===============  ============================================================================
NAME_state       three rows: settings with the schema's version, counters, the writer's lease
NAME_clips       a row a clip, and a row a failure
NAME_segments    a row a segment
===============  ============================================================================

A library that was embedded anew has ``NAME_clips_2`` and ``NAME_segments_2``, and so on; the
settings say which. A clip's segments belong to a *take*: one writing of the clip, with a number
that never comes again. A segment's id is its take and its number in the clip, so that all
segments of a take can be named without asking. Bytes are base64 in VARCHAR fields; uris are
percent-encoded, because a file name need not be UTF-8. Every collection has a vector field because
Milvus before 2.6 insists on one.
"""

from __future__ import annotations

import json
import os
from base64 import b64decode, b64encode
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote_from_bytes, unquote_to_bytes

import blake3
import numpy as np
from numpy.typing import NDArray
from soundsearch_ingest.discover import AudioFile
from soundsearch_ingest.extras import needs

from ...errors import LibraryError
from ...labels.head import LABEL
from ..base import SEGMENT, SEGMENT_LABELS, NewClip, StoredClip, StoredFailure
from .client import MilvusClient, MilvusUri

__all__ = [
    "CLIP_FIELDS",
    "SEGMENTS_PER_TAKE",
    "SEGMENT_FIELDS",
    "STATE_FIELDS",
    "Row",
    "check_ours",
    "choose_index",
    "clip_of",
    "clip_row",
    "clips_schema",
    "ensure_index",
    "failure_id",
    "failure_of",
    "failure_row",
    "index_type",
    "is_lossy",
    "make_collection",
    "packed_uri",
    "search_parameters",
    "segment_ids",
    "segment_rows",
    "segments_of",
    "segments_schema",
    "short_hash",
    "state_row",
    "state_schema",
]

Row = dict[str, Any]

_OURS = "soundsearch"
SEGMENTS_PER_TAKE = 1 << 24  # 46 h in steps of 10 ms

_LONGEST = 65_535
_LONGEST_URI = 16_384
_NO_VECTOR = [0.0, 1.0]

STATE_FIELDS = ["id", "data", "vector"]
CLIP_FIELDS = ["id", "uri", "digest", "take", "count", "data"]
SEGMENT_FIELDS = ["id", "level", "labels", "vector"]

# The index of a new library, and from how many segments on which one is used.
_INDEXES = ((0, "FLAT"), (100_000, "HNSW"), (20_000_000, "IVF_SQ8"))
# Milvus Lite accepts every type; those that it does not have it answers by looking at all rows.
_IN_LITE = ("FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8")
# Others need parameters that depend on the vectors.
_IN_SERVERS = (*_IN_LITE, "AUTOINDEX", "DISKANN", "GPU_BRUTE_FORCE", "GPU_CAGRA", "GPU_IVF_FLAT")
_INDEX_SECONDS = 3600


def _schema(description: str) -> Any:
    pymilvus = needs("pymilvus", "milvus")
    schema = pymilvus.MilvusClient.create_schema(
        auto_id=False, enable_dynamic_field=False, description=f"{_OURS} {description}"
    )
    schema.add_field("id", pymilvus.DataType.INT64, is_primary=True)
    return schema


def state_schema() -> Any:
    types = needs("pymilvus", "milvus").DataType
    schema = _schema("state")
    schema.add_field("data", types.VARCHAR, max_length=_LONGEST)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=len(_NO_VECTOR))
    return schema


def clips_schema() -> Any:
    types = needs("pymilvus", "milvus").DataType
    schema = _schema("clips")
    schema.add_field("uri", types.VARCHAR, max_length=_LONGEST_URI)
    schema.add_field("digest", types.VARCHAR, max_length=128)
    schema.add_field("take", types.INT64)
    schema.add_field("count", types.INT64)
    schema.add_field("data", types.VARCHAR, max_length=_LONGEST)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=len(_NO_VECTOR))
    return schema


def segments_schema(dimension: int) -> Any:
    types = needs("pymilvus", "milvus").DataType
    schema = _schema("segments")
    schema.add_field("clip", types.INT64)
    schema.add_field("level", types.FLOAT)
    schema.add_field("labels", types.VARCHAR, max_length=64)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=dimension)
    return schema


def make_collection(
    client: MilvusClient, uri: MilvusUri, name: str, schema: Any, index: str, shards: int = 1
) -> None:
    """Make a collection with its index, or finish one that was begun, and load it."""
    if client.has_collection(name):
        check_ours(client, uri, name, [field.name for field in schema.fields])
    else:
        client.create_collection(name, schema=schema, num_shards=shards)
    ensure_index(client, uri, name, index, 0)
    client.load_collection(name, timeout=_INDEX_SECONDS)


def check_ours(client: MilvusClient, uri: MilvusUri, name: str, fields: list[str]) -> None:
    """Raise LibraryError where a collection has other fields: it is somebody else's."""
    if [field["name"] for field in client.describe_collection(name)["fields"]] != fields:
        raise LibraryError(
            f"{uri}: the collection {name} is there and is not soundsearch's; choose another name "
            "for the library"
        )


def choose_index(uri: MilvusUri, segments: int) -> str:
    """The type of index for so many segments, unless the address insists on one."""
    if uri.index:
        whose, types = ("Milvus Lite has", _IN_LITE) if uri.lite else ("there is", _IN_SERVERS)
        if uri.index not in types:
            raise LibraryError(f"{uri}: {whose} no index {uri.index}; take {', '.join(types)}")
        return uri.index
    return [name for least, name in _INDEXES if segments >= least][-1]


def ensure_index(
    client: MilvusClient, uri: MilvusUri, name: str, wanted: str, segments: int
) -> bool:
    """Give a collection's vectors an index of a type; returns whether it had to be made.

    A change takes the collection out of memory until the new index is built: searches wait.
    Raises LibraryError where the server made another one than was asked for.
    """
    if index_type(client, name) == wanted:
        return False
    if index_type(client, name) is not None:
        client.release_collection(name)
        client.drop_index(name, "vector")
    parameters = needs("pymilvus", "milvus").MilvusClient.prepare_index_params()
    parameters.add_index(
        "vector",
        index_type=wanted,
        index_name="vector",
        metric_type="COSINE",
        params=_index_parameters(wanted, segments),
    )
    client.create_index(name, parameters, timeout=_INDEX_SECONDS)
    if (got := index_type(client, name)) != wanted:
        raise LibraryError(f"{uri}: asked for an index {wanted} over {name}, Milvus made {got}")
    client.load_collection(name, timeout=_INDEX_SECONDS)
    return True


def index_type(client: MilvusClient, name: str) -> str | None:
    """The type of the index over a collection's vectors, None without one."""
    if "vector" not in client.list_indexes(name):
        return None
    found: str = client.describe_index(name, "vector")["index_type"]
    return found


def is_lossy(index: str) -> bool:
    """Whether an index orders what it finds by less than the whole vectors."""
    return index not in ("FLAT", "HNSW", "IVF_FLAT", "GPU_IVF_FLAT", "GPU_BRUTE_FORCE")


def _index_parameters(index: str, segments: int) -> dict[str, int]:
    if index.startswith(("IVF", "GPU_IVF")):
        return {"nlist": min(65_536, max(64, int(4 * segments**0.5)))}
    if index == "HNSW":
        return {"M": 16, "efConstruction": 200}
    return {}


def search_parameters(index: str, limit: int) -> Row:
    """How thoroughly to search: at least as many candidates as wanted, and some."""
    candidates = min(32_768, max(128, 4 * limit))
    parameters: dict[str, dict[str, int]] = {
        "HNSW": {"ef": candidates},
        "DISKANN": {"search_list": min(65_535, candidates)},
        "GPU_CAGRA": {"itopk_size": min(1024, candidates)},
    }
    if index.startswith(("IVF", "GPU_IVF")):
        return {"metric_type": "COSINE", "params": {"nprobe": 64}}
    return {"metric_type": "COSINE", "params": parameters.get(index, {})}


# Rows


def state_row(id: int, data: Row) -> Row:
    return {"id": id, "data": json.dumps(data), "vector": _NO_VECTOR}


def packed_uri(uri: str) -> str:
    return quote_from_bytes(os.fsencode(uri))


def short_hash(content: str | bytes) -> int:
    """62 bits of a hash, to know uris and contents by."""
    raw = content.encode() if isinstance(content, str) else content
    return int.from_bytes(blake3.blake3(raw).digest(8), "big") >> 2


def failure_id(uri: str) -> int:
    """Clips have ids from 1; failures those below 0, by uri, so that one replaces another."""
    return -1 - short_hash(packed_uri(uri))


def clip_row(clip: StoredClip, take: int, revision: int) -> Row:
    """A clip's row. Of two clips at one uri, the one with the higher revision counts."""
    data = {
        "size": int(clip.file.size),
        "mtime_ns": int(clip.file.mtime_ns),
        "duration": float(clip.duration),
        "padded": bool(clip.padded),
        "warning": clip.warning,
        "labels": b64encode(clip.labels.tobytes()).decode(),
        "human": list(clip.human),
        "revision": revision,
    }
    return _row(clip.id, clip.file.uri, clip.digest, take, clip.count, data)


def failure_row(failure: StoredFailure) -> Row:
    data = {
        "size": int(failure.file.size),
        "mtime_ns": int(failure.file.mtime_ns),
        "reason": failure.reason[:10_000],
    }
    return _row(failure_id(failure.file.uri), failure.file.uri, failure.digest, 0, 0, data)


def _row(id: int, uri: str, digest: bytes | None, take: int, count: int, data: Row) -> Row:
    return {
        "id": id,
        "uri": packed_uri(uri),
        "digest": (digest or b"").hex(),
        "take": take,
        "count": count,
        "data": json.dumps(data),
        "vector": _NO_VECTOR,
    }


def _file_of(row: Row, data: Row) -> AudioFile:
    return AudioFile(os.fsdecode(unquote_to_bytes(row["uri"])), data["size"], data["mtime_ns"])


def clip_of(row: Row) -> StoredClip:
    data = json.loads(row["data"])
    return StoredClip(
        row["id"],
        _file_of(row, data),
        bytes.fromhex(row["digest"]),
        data["duration"],
        data["padded"],
        data["warning"],
        row["count"],
        np.frombuffer(b64decode(data["labels"]), LABEL),
        tuple(data["human"]),
    )


def failure_of(row: Row) -> StoredFailure:
    data = json.loads(row["data"])
    return StoredFailure(_file_of(row, data), bytes.fromhex(row["digest"]) or None, data["reason"])


def segment_ids(take: int, first: int, last: int) -> NDArray[np.int64]:
    return take * SEGMENTS_PER_TAKE + np.arange(first, last)


def segment_rows(clip: NewClip, clip_id: int, take: int, first: int, last: int) -> list[Row]:
    """Rows of a clip's segments from `first` up to `last`."""
    vectors = np.ascontiguousarray(clip.embeddings[first:last], np.float32)
    ids = segment_ids(take, first, first + len(vectors)).tolist()
    return [
        {
            "id": id,
            "clip": clip_id,
            "level": float(segment["level"]),
            "labels": b64encode(segment["labels"].tobytes()).decode(),
            "vector": vector,
        }
        for id, segment, vector in zip(ids, clip.segments[first:last], vectors, strict=True)
    ]


def segments_of(rows: Sequence[Row], dimension: int) -> tuple[Any, NDArray[np.void]]:
    """Rows of segments as vectors, float32 [n, dimension], and SEGMENT [n]."""
    vectors = np.array([row["vector"] for row in rows], np.float32).reshape(-1, dimension)
    segments = np.empty(len(rows), SEGMENT)
    segments["level"] = [row["level"] for row in rows]
    labels = b"".join(b64decode(row["labels"]) for row in rows)
    segments["labels"] = np.frombuffer(labels, LABEL).reshape(-1, SEGMENT_LABELS)
    return vectors, segments
