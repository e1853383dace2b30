"""The OpenAPI document is valid, and true of the server."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from support.server import Server
from support.sounds import noise, tone, write

import soundsearch

schemathesis = pytest.importorskip("schemathesis")
from schemathesis import GenerationMode, checks  # noqa: E402
from schemathesis.specs.openapi import checks as of_openapi  # noqa: E402

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    top = tmp_path_factory.mktemp("web")
    write(top / "s" / "a.wav", tone(300, 2))
    write(top / "s" / "b.wav", noise(1, 2))
    with soundsearch.open(top / "l") as lib:
        lib.ingest(top / "s")
    served = Server(top / "l", workers=1)
    yield served
    served.close()


@pytest.fixture(scope="module")
def document(server):
    return server.get("/openapi.json").json()


def test_the_document_is_openapi(document):
    from openapi_spec_validator import OpenAPIV31SpecValidator

    assert document["openapi"].startswith("3.1.")
    OpenAPIV31SpecValidator(document).validate()
    names = [each["operationId"] for path in document["paths"].values() for each in path.values()]
    assert len(names) == len(set(names)) >= 15


# What of the document is held against the answers. Not that all that fits it is accepted: a filter
# or a label is a text to it, and few texts are one.
CHECKS = (
    checks.not_a_server_error,
    of_openapi.status_code_conformance,
    of_openapi.content_type_conformance,
    of_openapi.response_headers_conformance,
    of_openapi.response_schema_conformance,
    of_openapi.negative_data_rejection,
    of_openapi.unsupported_method,
)


def test_the_server_is_as_it_says(server, document):
    schema = schemathesis.openapi.from_dict(document)
    asked: dict[str, int] = {}

    @settings(
        max_examples=1,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(data=st.data())
    def check(operation, mode, data):
        case = data.draw(operation.as_strategy(generation_mode=mode))
        response = case.call(base_url=server.url)
        case.validate_response(response, checks=CHECKS)
        asked[operation.label] = asked.get(operation.label, 0) + 1

    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in GenerationMode:
            if mode == GenerationMode.POSITIVE or operation.query or operation.body:
                check(operation, mode)
    assert len(asked) == sum(map(len, document["paths"].values()))
