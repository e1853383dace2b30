"""The collections of a library in Milvus, and the index over the vectors.

==================  =========================================================================
NAME_state          rows of JSON: settings with the schema version, counters, the writer's
                    lease, an unfinished successor, the tag that is the key of clips; the
                    file of a head in parts, see `heads`
NAME_clips_v2       one row per clip and one per failure
NAME_segments       one row per segment
NAME_stretches      one row per pooled vector, see `stretches`
==================  =========================================================================

A re-embedded library has ``NAME_clips_v2_2``, ``NAME_segments_2`` and so on: a *generation*, whose
number is in the settings. The segments and stretches of a clip belong to an *edition*: each time
the clip is written, it gets a new number that is never reused. The id of a segment or stretch
combines its edition and its number in the clip, so the ids of an edition need no query. A
*revision* numbers the versions of a clip's row. Every collection has a vector field because Milvus
before 2.6 requires one. `rows` describes the format of rows, `upgrades` how schemas change.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from soundsearch_ingest.extras import needs

from ...errors import LibraryDamaged, LibraryError
from ..records import CLIP_LABELS, Settings
from .client import MilvusClient, Row
from .rows import LONGEST, NO_VECTOR
from .uri import MilvusUri

__all__ = [
    "KEY",
    "NUMBERS",
    "SETTINGS",
    "SUCCESSOR",
    "VERSION",
    "check_ours",
    "choose_index",
    "clips_schema",
    "collections_of",
    "ensure_index",
    "is_lossy",
    "make_collection",
    "make_generation",
    "make_stretches",
    "numbers_of",
    "search_parameters",
    "segments_schema",
    "settings_of",
    "settings_row",
    "state_collection",
    "state_of",
    "state_schema",
    "stretches_schema",
]

# The schema version.
VERSION = 4
# Ids of state rows; 2 is the lease.
SETTINGS, NUMBERS, SUCCESSOR, KEY = 0, 1, 3, 4

_OURS = "soundsearch"
_LONGEST_URI = 16_384
_MOST_HUMAN_LABELS = 4096

# The number of segments from which each index is used.
_INDEXES = ((0, "FLAT"), (100_000, "HNSW"), (20_000_000, "IVF_SQ8"))
# Milvus Lite accepts every type, and scans all rows for those that it does not implement.
_IN_LITE = ("FLAT", "HNSW", "IVF_FLAT", "IVF_SQ8")
# Other types need parameters that depend on the vectors.
_IN_SERVERS = (*_IN_LITE, "AUTOINDEX", "DISKANN", "GPU_BRUTE_FORCE", "GPU_CAGRA", "GPU_IVF_FLAT")


def state_collection(uri: MilvusUri) -> str:
    """The name of the collection that holds a library's state."""
    return f"{uri.name}_state"


def collections_of(uri: MilvusUri, generation: int) -> tuple[str, str, str]:
    """The names of a generation's collections of clips, segments and stretches."""
    suffix = "" if generation == 1 else f"_{generation}"
    return (
        f"{uri.name}_clips_v2{suffix}",
        f"{uri.name}_segments{suffix}",
        f"{uri.name}_stretches{suffix}",
    )


def settings_row(settings: Settings, generation: int, head: str | None = None) -> Row:
    """The state's settings row for a generation whose labels are of a head, given its digest."""
    row = {"schema": VERSION, "generation": generation, **asdict(settings)}
    return row if head is None else {**row, "head": head}


def settings_of(row: Row) -> Settings:
    """The settings in a settings row."""
    return Settings(**{key: row[key] for key in Settings.__slots__})


def state_of(client: MilvusClient, state: str, id: int, level: str = "Strong") -> Row | None:
    """The data of a state row; None if there is no such row."""
    rows = client.query(state, f"id == {id}", ["data"], level)
    if not rows:
        return None
    data: Row = json.loads(rows[0]["data"])
    return data


def numbers_of(client: MilvusClient, uri: MilvusUri, level: str = "Strong") -> Row:
    """The counters of ids and editions; raises LibraryDamaged without them."""
    state = state_collection(uri)
    numbers = state_of(client, state, NUMBERS, level)
    if numbers is None:
        raise LibraryDamaged(f"{uri}: the collection {state} lacks the row with the counters")
    return numbers


def _schema(description: str) -> Any:
    pymilvus = needs("pymilvus", "milvus")
    schema = pymilvus.MilvusClient.create_schema(
        auto_id=False, enable_dynamic_field=False, description=f"{_OURS} {description}"
    )
    schema.add_field("id", pymilvus.DataType.INT64, is_primary=True)
    return schema


def state_schema() -> Any:
    """The schema of the collection that holds a library's state."""
    types = needs("pymilvus", "milvus").DataType
    schema = _schema("state")
    schema.add_field("data", types.VARCHAR, max_length=LONGEST)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=len(NO_VECTOR))
    return schema


def clips_schema(lite: bool) -> Any:
    """The schema of clips and failures."""
    types = needs("pymilvus", "milvus").DataType
    schema = _schema("clips")
    schema.add_field("uri", types.VARCHAR, max_length=_LONGEST_URI)
    schema.add_field("digest", types.VARCHAR, max_length=128)
    schema.add_field("edition", types.INT64)
    schema.add_field("revision", types.INT64)
    schema.add_field("segments", types.INT64)
    schema.add_field("duration", types.DOUBLE)
    schema.add_field("padded", types.BOOL)
    schema.add_field("warning", types.VARCHAR, max_length=LONGEST)
    for n in range(CLIP_LABELS):
        schema.add_field(f"label_{n}", types.INT32)
        schema.add_field(f"score_{n}", types.FLOAT)
    if lite:
        schema.add_field("human_labels", types.VARCHAR, max_length=LONGEST)
    else:
        schema.add_field(
            "human_labels",
            types.ARRAY,
            element_type=types.INT32,
            max_capacity=_MOST_HUMAN_LABELS,
        )
    schema.add_field("tags", types.JSON)
    schema.add_field("data", types.VARCHAR, max_length=LONGEST)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=len(NO_VECTOR))
    return schema


def segments_schema(dimension: int) -> Any:
    """The schema of segments."""
    types = needs("pymilvus", "milvus").DataType
    schema = _schema("segments")
    schema.add_field("clip", types.INT64)
    schema.add_field("level", types.FLOAT)
    schema.add_field("labels", types.VARCHAR, max_length=64)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=dimension)
    return schema


def stretches_schema(dimension: int) -> Any:
    """The schema of stretches."""
    types = needs("pymilvus", "milvus").DataType
    schema = _schema("stretches")
    schema.add_field("clip", types.INT64)
    schema.add_field("vector", types.FLOAT_VECTOR, dim=dimension)
    return schema


def make_collection(
    client: MilvusClient, uri: MilvusUri, name: str, schema: Any, index: str, shards: int = 1
) -> None:
    """Create a collection with its index, or finish an unfinished one, and load it."""
    if client.has_collection(name):
        check_ours(client, uri, name, [field.name for field in schema.fields])
    else:
        client.create_collection(name, schema, shards)
    ensure_index(client, uri, name, index, 0)
    client.load_collection(name)


def make_generation(
    client: MilvusClient, uri: MilvusUri, settings: Settings, generation: int
) -> None:
    """Create the collections of a generation."""
    clips, segments, stretches = collections_of(uri, generation)
    make_collection(client, uri, clips, clips_schema(uri.lite), "FLAT")
    schema = segments_schema(settings.dimension)
    make_collection(client, uri, segments, schema, choose_index(uri, 0), uri.shards)
    make_stretches(client, uri, settings, stretches)


def make_stretches(client: MilvusClient, uri: MilvusUri, settings: Settings, name: str) -> None:
    """Create the collection of a generation's stretches."""
    schema = stretches_schema(settings.dimension)
    make_collection(client, uri, name, schema, choose_index(uri, 0), uri.shards)


def check_ours(client: MilvusClient, uri: MilvusUri, name: str, fields: Sequence[str]) -> None:
    """Raise LibraryError if a collection has other fields: another program made it."""
    if client.fields(name) != list(fields):
        raise LibraryError(
            f"{uri}: the collection {name} exists and is not soundsearch's; choose another name "
            "for the library"
        )


def choose_index(uri: MilvusUri, segments: int) -> str:
    """The index type for a number of segments, unless the address names one."""
    if uri.index:
        product, types = ("Milvus Lite", _IN_LITE) if uri.lite else ("Milvus", _IN_SERVERS)
        if uri.index not in types:
            raise LibraryError(
                f"{uri}: soundsearch supports no index {uri.index} in {product}; use one of "
                f"{', '.join(types)}"
            )
        return uri.index
    return [name for least, name in _INDEXES if segments >= least][-1]


def ensure_index(
    client: MilvusClient, uri: MilvusUri, name: str, wanted: str, segments: int
) -> bool:
    """Give a collection a vector index of a type; return whether it had to be built.

    A change of type unloads the collection until the new index is built: searches wait.

    Raises
    ------
    LibraryError
        The server built an index of another type.
    """
    there = client.index_type(name)
    if there == wanted:
        return False
    if there is not None:
        client.release_collection(name)
        client.drop_index(name)
    client.create_index(name, wanted, _index_parameters(wanted, segments))
    if (got := client.index_type(name)) != wanted:
        raise LibraryError(
            f"{uri}: asked for an index {wanted} over {name}, but Milvus built {got}"
        )
    client.load_collection(name)
    return True


def is_lossy(index: str) -> bool:
    """Return whether an index ranks by compressed vectors instead of the full ones."""
    return index not in ("FLAT", "HNSW", "IVF_FLAT", "GPU_IVF_FLAT", "GPU_BRUTE_FORCE")


def _index_parameters(index: str, segments: int) -> dict[str, int]:
    if index.startswith(("IVF", "GPU_IVF")):
        return {"nlist": min(65_536, max(64, int(4 * segments**0.5)))}
    if index == "HNSW":
        return {"M": 16, "efConstruction": 200}
    return {}


def search_parameters(index: str, limit: int, spread: float = 1.0) -> Row:
    """Search parameters that ask for more candidates than `limit`.

    If a filter lets through one in `spread` segments, the nearest are spread over `spread` times
    as many cells of an IVF index.
    """
    candidates = min(32_768, max(128, 4 * limit))
    parameters: dict[str, dict[str, int]] = {
        "HNSW": {"ef": candidates},
        "DISKANN": {"search_list": min(65_535, candidates)},
        "GPU_CAGRA": {"itopk_size": min(1024, candidates)},
    }
    if index.startswith(("IVF", "GPU_IVF")):
        probed = min(65_536, int(64 * spread))
        return {"metric_type": "COSINE", "params": {"nprobe": probed}}
    return {"metric_type": "COSINE", "params": parameters.get(index, {})}
