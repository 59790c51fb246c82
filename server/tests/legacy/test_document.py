"""What /openapi.json says of the published clients' paths."""

import pytest

from ..legacy_routes import legacy_routes

ROUTES = legacy_routes({})


@pytest.fixture
async def document(mesh):
    return (await mesh.call("GET", "/openapi.json")).json


async def test_all_of_them_are_deprecated_and_nothing_else_is(document):
    served = {
        (method.upper(), path): said for path, found in document["paths"].items() for method, said in found.items()
    }
    assert {place for place, said in served.items() if said.get("deprecated")} == ROUTES.keys()


async def test_it_says_which_status_a_known_caller_is_told(document):
    for (method, path), route in ROUTES.items():
        answers = document["paths"][path][method.lower()]["responses"]
        if route.moved:
            assert "scope_missing" in answers["400"]["description"]
            assert not answers.keys() & {"403", "404"}
        assert "200" in answers
        assert not answers.keys() & {"201", "204"}


async def test_it_says_which_answers_may_be_streams(document):
    streaming = {
        path
        for path, found in document["paths"].items()
        for said in found.values()
        if any("text/event-stream" in answer.get("content", {}) for answer in said["responses"].values())
    }
    chat = {"/api/v1/chat/completions", "/v1/chat/completions", "/v1/responses", "/v1/messages"}
    assert chat <= streaming
    assert streaming - chat <= {path for _, path in ROUTES}
    for path in chat:
        assert document["paths"][path]["post"]["responses"]["200"]["content"].keys() == {
            "application/json",
            "text/event-stream",
        }
