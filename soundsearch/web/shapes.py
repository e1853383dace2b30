"""JSON Schemas of the answers: what `to_dict` of the results gives, and lists of these."""

from __future__ import annotations

from typing import Any

__all__ = ["SHAPES", "shape"]

Schema = dict[str, Any]

_TEXT: Schema = {"type": "string"}
_NUMBER: Schema = {"type": "number"}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_FLAG: Schema = {"type": "boolean"}
_WARNING: Schema = {"type": ["string", "null"]}
_ANY: Schema = {"type": "object"}
_TIME: Schema = {"type": ["number", "null"]}


def shape(name: str) -> Schema:
    """A reference to one of `SHAPES`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _object(optional: dict[str, Schema] | None = None, /, **fields: Schema) -> Schema:
    return {
        "type": "object",
        "properties": {**fields, **(optional or {})},
        "required": list(fields),
        "additionalProperties": False,
    }


def _packed(what: str) -> Schema:
    """Numbers, little-endian, in a row."""
    return {"type": "string", "contentEncoding": "base64", "description": what}


def _among(what: str, each: Schema) -> Schema:
    """What some of many have."""
    return {"type": "object", "additionalProperties": each, "description": what}


_LABELS = _list(shape("Label"))
_GIVEN = _list(_object(name=_TEXT, mid=_TEXT))
_TAGS: Schema = {
    "type": "object",
    "additionalProperties": {"type": ["string", "number", "boolean"]},
}
_ATTACHED = {"human_labels": _GIVEN, "tags": _TAGS, "warning": _TEXT}

SHAPES: dict[str, Schema] = {
    "Error": _object(status=_COUNT, error=_TEXT, message=_TEXT),
    "Label": _object(name=_TEXT, mid=_TEXT, score=_NUMBER, path=_list(_TEXT)),
    "Hit": _object(
        _ATTACHED,
        rank=_COUNT,
        clip_id=_COUNT,
        score=_NUMBER,
        uri=_TEXT,
        start=_NUMBER,
        end=_NUMBER,
        labels=_LABELS,
    ),
    "Clip": _object(
        {**_ATTACHED, "human_events": _list(shape("Stretch"))},
        id=_COUNT,
        uri=_TEXT,
        duration=_NUMBER,
        segments=_COUNT,
        labels=_LABELS,
    ),
    "Answer": _object(
        hits=_list(shape("Hit")),
        labels=_LABELS,
        warning=_WARNING,
        words={"anyOf": [shape("Words"), {"type": "null"}]},
        clip={"anyOf": [shape("Clip"), {"type": "null"}]},
        heard={"anyOf": [shape("Heard"), {"type": "null"}]},
    ),
    "Words": _object(
        classes=_list({"type": "object", "additionalProperties": _NUMBER}),
        read={"type": "object", "additionalProperties": _TEXT},
        unknown=_list(_TEXT),
    ),
    "Heard": _object(
        duration=_NUMBER,
        events=_list(shape("Event")),
        wave={"anyOf": [shape("Peaks"), {"type": "null"}]},
    ),
    "Completion": _object(
        labels=_list(_object(name=_TEXT, mid=_TEXT, path=_list(_TEXT))),
        clips=_list(_object(id=_COUNT, uri=_TEXT, duration=_NUMBER)),
    ),
    "Examples": _object(
        labels=_list(_object(name=_TEXT, mid=_TEXT, path=_list(_TEXT), clips=_COUNT)),
        clips=_list(shape("Clip")),
    ),
    "Peaks": _object(duration=_NUMBER, peaks=_list(_NUMBER)),
    "Clips": _object(
        clips=_list(shape("Clip")), total=_COUNT, next={"type": ["integer", "null"], "minimum": 0}
    ),
    "Event": _object(onset=_NUMBER, offset=_NUMBER, label=shape("Label")),
    "ClipEvent": _object(
        onset=_NUMBER,
        offset=_NUMBER,
        label=shape("Label"),
        by={"type": "string", "enum": ["head", "people"]},
    ),
    "Stretch": _object(label=_TEXT, onset=_TIME, offset=_TIME, heard=_FLAG),
    "Said": _object(label=shape("Label"), onset=_TIME, offset=_TIME, heard=_FLAG),
    "Events": _object(
        uri=_TEXT,
        duration=_NUMBER,
        events=_list(shape("ClipEvent")),
        said=_list(shape("Said")),
        warning=_WARNING,
    ),
    "Making": _object(
        step={"type": "string", "enum": ["waiting", "reading", "placing"]},
        share={"type": "number", "minimum": 0, "maximum": 1},
    ),
    "Map": _object(
        count=_COUNT,
        total=_COUNT,
        method=_TEXT,
        warning=_WARNING,
        placed=_COUNT,
        separator=_TEXT,
        colours=_object(light=_list(_TEXT), dark=_list(_TEXT)),
        ids=_packed("float64 of each clip"),
        places=_packed("x and y of each clip, float32, from -1 to 1"),
        names=_list(_TEXT),
        folders=_list(_TEXT),
        folder=_packed("the number of each clip's folder, uint32"),
        uris=_among("Of clips, by number, whose uri is not folder, separator and name.", _TEXT),
        classes=_list(_TEXT),
        labels=_packed("the classes of three labels of each clip, uint16; 65535 for none"),
        scores=_packed("their scores in percent, uint8"),
        given=_among("What people gave clips, by number: classes.", _list(_COUNT)),
        categories=_list(_TEXT),
        category=_packed("the category of each clip's first label, uint16; 65535 for none"),
        durations=_packed("seconds of each clip, float32"),
        tags=_list(
            _object(
                key=_TEXT,
                values=_list(_TEXT),
                clips=_packed("the numbers of the clips that have it, uint32"),
                of=_packed("the value that each of these has, uint32"),
            )
        ),
    ),
    "Failures": _object(failures=_list(_object(uri=_TEXT, reason=_TEXT)), total=_COUNT),
    "Labels": _object(
        labels=_list(_object(name=_TEXT, mid=_TEXT, path=_list(_TEXT), clips=_COUNT)),
        total=_COUNT,
    ),
    "Facets": _object(
        total=_COUNT,
        labels=_list(_object(name=_TEXT, path=_list(_TEXT), clips=_COUNT)),
        folders=_list(_object(folder=_TEXT, pattern=_TEXT, clips=_COUNT)),
        durations=_list(_object(least=_NUMBER, below={"type": ["number", "null"]}, clips=_COUNT)),
        months=_list(_object(month=_TEXT, clips=_COUNT)),
        undated=_COUNT,
    ),
    "Tags": _object(
        tags=_list(
            _object(
                name=_TEXT,
                clips=_COUNT,
                values=_list(
                    _object(value={"type": ["string", "number", "boolean"]}, clips=_COUNT)
                ),
                more=_COUNT,
                is_complete=_FLAG,
            )
        )
    ),
    "Info": {
        "type": "object",
        "properties": {
            "version": _TEXT,
            "clips": _COUNT,
            "segments": _COUNT,
            "failures": _COUNT,
            "encoder": _TEXT,
            "space": _TEXT,
            "dimension": _COUNT,
            "hop": _NUMBER,
            "store": _TEXT,
            "ingest": _TEXT,
            "bytes": {"type": ["integer", "null"]},
            "limits": _ANY,
        },
        "required": [
            *("version", "clips", "segments", "failures", "encoder", "space", "ingest", "limits")
        ],
    },
    "State": _object(status={"type": "string", "enum": ["ok"]}),
    "Ingest": _object(
        is_allowed=_FLAG,
        folders=_list(_TEXT),
        command=_TEXT,
        state={"type": "string", "enum": ["none", "running", "done", "stopped", "failed"]},
        folder=_WARNING,
        files=_COUNT,
        total={"type": ["integer", "null"], "minimum": 0},
        outcomes={"type": "object", "additionalProperties": _COUNT},
        sound=_NUMBER,
        seconds=_NUMBER,
        rate=_NUMBER,
        left=_TIME,
        step=_WARNING,
        long={
            **_object(uri=_TEXT, heard=_NUMBER, all=_NUMBER),
            "type": ["object", "null"],
        },
        message=_WARNING,
    ),
}
