"""No record shows a secret, or what somebody said, where it is printed."""

import dataclasses
import importlib
import inspect
import pkgutil

import msgspec

import mesh_server

#: Members that hold a secret or somebody's words, whatever the record is.
SECRET = {
    *(
        "api_key",
        "client_secret",
        "code_verifier",
        "key_value",
        "nullifier",
        "proof",
        "refresh_token",
        "token",
        "value",
    ),
    *("arguments", "body", "content", "fields", "headers", "messages", "prompt", "reasoning_content"),
}
#: Records whose member of such a name is something else, each with what it is.
OTHER = {
    "Endpoint": "body: the type of one",
    "Text": "value: none",
    "TrailEvent": "token: its id",
    "OpenAIErrorAnswer": "types of the document alone, never made",
}


def records():
    """Return every record of the server that can hold one of them."""
    found = set()
    for module in pkgutil.walk_packages(mesh_server.__path__, "mesh_server."):
        if module.name.endswith(("__main__", "local_worker")) or ".versions" in module.name:
            continue
        for record in vars(importlib.import_module(module.name)).values():
            if inspect.isclass(record) and record.__module__.startswith("mesh_server"):
                found.add(record)
    return found


def shown(record):
    """Return the members that `repr` shows."""
    if issubclass(record, msgspec.Struct):
        return set(record.__struct_fields__) if record.__repr__ is msgspec.Struct.__repr__ else set()
    if dataclasses.is_dataclass(record) and hasattr(record.__repr__, "__wrapped__"):  # the one that the library made
        return {field.name for field in dataclasses.fields(record) if field.repr}
    return set()


def test_no_repr_shows_a_secret():
    document = "mesh_server.chat.documents"  # shapes of the OpenAPI document, of which no request is ever made
    bad = {
        f"{record.__module__}.{record.__name__}": sorted(shown(record) & SECRET)
        for record in records()
        if shown(record) & SECRET and record.__name__ not in OTHER and record.__module__ != document
    }
    assert not bad


def test_it_would_be_noticed():
    class Told(msgspec.Struct):
        token: str

    @dataclasses.dataclass
    class Said:
        messages: list[str]
        kept: str = dataclasses.field(default="", repr=False)

    assert shown(Told) == {"token"}
    assert shown(Said) == {"messages"}
