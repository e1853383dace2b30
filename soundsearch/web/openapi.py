"""The OpenAPI 3.1 document, made of what the server is made of."""

from __future__ import annotations

from typing import Any

from .. import __version__
from .fields import schema_of
from .operations import ID, OPERATIONS, PREFIX, Operation
from .shapes import SHAPES, shape

__all__ = ["document"]

# What may go wrong, by status.
_ERRORS = {
    "400": "The request is damaged.",
    "401": "The token is missing or another.",
    "403": "A page of another site asks.",
    "404": "There is no such clip, or its file is gone.",
    "405": "The address does not take such requests.",
    "408": "The request comes too slowly.",
    "409": "The library waits to be brought up to date with the encoder.",
    "413": "The request is too large.",
    "415": "The body is neither JSON nor a form.",
    "416": "The sound has no such bytes.",
    "421": "The request is for another host.",
    "422": "A value cannot be, or the sound cannot be used.",
    "500": "The library is damaged, or the server has a fault.",
    "503": "The server or the library is busy, or there is no library; ask again.",
    "504": "The question takes too long: ask for less.",
}
_READ = ("401", "403", "405", "409", "421", "422", "500", "503")
_WRITTEN = (*_READ, "400", "408", "413", "415")


def document() -> dict[str, Any]:
    """The document, as JSON."""
    paths: dict[str, Any] = {}
    for each in OPERATIONS:
        paths.setdefault(f"{PREFIX}{each.path}", {})[each.method.lower()] = _operation(each)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "soundsearch",
            "version": __version__,
            "description": "Search sounds by sound. Scores are cosines; times are seconds.",
        },
        "paths": paths,
        "components": {
            "schemas": SHAPES,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
        "security": [{"token": []}, {}],
    }


def _operation(operation: Operation) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": _responses(operation),
    }
    parameters = []
    if "{id}" in operation.path:
        path = {"name": "id", "in": "path", "required": True, "description": ID.help}
        parameters.append({**path, "schema": ID.schema()})
    if operation.method == "GET":
        for field in operation.fields:
            place = {"name": field.name, "in": "query", "required": field.required}
            parameters.append({**place, "description": field.help, "schema": field.schema()})
    elif operation.fields:
        found["requestBody"] = _body(operation)
    if parameters:
        found["parameters"] = parameters
    if operation.is_open:
        found["security"] = []
    return found


def _body(operation: Operation) -> dict[str, Any]:
    schema = schema_of(operation.fields)
    content = {"application/json": {"schema": schema}}
    if operation.upload is not None:
        sound = {"type": "string", "format": "binary", "description": "A sound file."}
        properties = {**schema["properties"], operation.upload: sound}
        content["multipart/form-data"] = {"schema": {**schema, "properties": properties}}
    return {"required": True, "content": content}


def _responses(operation: Operation) -> dict[str, Any]:
    timing = {
        "Server-Timing": {
            "description": "Milliseconds: wait, decode, search and total.",
            "schema": {"type": "string"},
        }
    }
    is_json = "/" not in operation.answer
    media = "application/json" if is_json else operation.answer
    content = {media: {"schema": shape(operation.answer)} if is_json else {}}
    found: dict[str, Any] = {
        "200": {"description": "The answer.", "headers": timing, "content": content}
    }
    if operation.ranges:
        found["206"] = {"description": "The range that was asked for.", "content": content}
        found["304"] = {"description": "It is what the client has."}
    if operation.meanwhile is not None:
        made = {"application/json": {"schema": shape(operation.meanwhile)}}
        found["202"] = {"description": "It is being made; ask again.", "content": made}
        found["304"] = {"description": "It is what the client has."}
    errors = _READ if operation.method == "GET" else _WRITTEN
    names = {field.name for field in operation.fields}
    needs = {
        "404": "clip" in operation.path or operation.fields,
        "416": operation.ranges,
        "504": names & {"where", "text"},
    }
    for status in sorted({*errors, *(each for each, is_needed in needs.items() if is_needed)}):
        found[status] = {
            "description": _ERRORS[status],
            "content": {"application/json": {"schema": shape("Error")}},
        }
    return found
