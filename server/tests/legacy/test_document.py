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
