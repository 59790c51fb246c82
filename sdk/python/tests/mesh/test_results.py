"""Results are mappings and objects, errors carry the same fields, and both survive what people do with them."""

import copy
import json
import pickle

import pytest

import mesh
from mesh.errors import error_class, local_error
from mesh_protocol.codes import CODES

GOOD = mesh.ChatResult(success=True, content="hi", model="m")


def test_a_result_is_a_mapping_and_an_object():
    assert GOOD["content"] == GOOD.content == str(GOOD) == "hi"
    assert GOOD.get("success", True) is True
    assert dict(GOOD) == json.loads(json.dumps(GOOD)) == {"success": True, "content": "hi", "model": "m"}
    assert isinstance(GOOD, dict)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda r: pickle.loads(pickle.dumps(r))])
def test_a_result_survives_being_copied(again):
    assert again(GOOD) == GOOD
    assert type(again(GOOD)) is mesh.ChatResult
    assert again(GOOD).content == "hi"


def test_what_is_not_there_is_told_as_for_every_mapping_and_object():
    with pytest.raises(KeyError, match="nothing"):
        GOOD["nothing"]
    with pytest.raises(AttributeError, match="nothing"):
        GOOD.nothing  # noqa: B018 - the attribute is what is tested
    assert not hasattr(GOOD, "__array__")


def test_a_failing_result_without_text_still_prints():
    assert str(mesh.StoredKey.failed(local_error("timeout", "Too late."))).startswith("Error: Too late.\n  - ")
    assert "name" in str(mesh.StoredKey(success=True, name="a"))


@pytest.mark.parametrize("code", CODES)
def test_every_code_makes_an_error_that_survives_being_handed_on(code):
    error = local_error(code, "What happened.", {"a": 1})
    assert type(error) is error_class(code) is not mesh.MeshError
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert again.to_dict() == error.to_dict()
    assert str(error) == "What happened."
    assert error.troubleshooting == list(CODES[code].advice)


def test_an_unknown_code_is_still_an_error_of_its_family():
    assert error_class("new_code", "authentication_error") is mesh.AuthenticationError
    assert error_class("new_code", "new_type") is mesh.MeshError
