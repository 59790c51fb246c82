"""No record shows a secret, or what somebody said, where it is printed."""

import dataclasses
import importlib
import inspect
import io
import operator
import pkgutil

import msgspec
import rich.console

import mesh
import mesh_protocol.messages
import mesh_server
from mesh_server.vault.models import NewValue

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
    "Config": "token: a Secret",
    "Endpoint": "body: the type of one",
    "Reply": "headers: of an answer",
    "Text": "value: none",
    "TrailEvent": "token: its id",
    "OpenAIErrorAnswer": "types of the document alone, never made",
}


def records():
    """Return every record of both sides that can hold one of them."""
    found = set()
    for package in (mesh, mesh_protocol, mesh_server):
        name = package.__name__
        for module in pkgutil.walk_packages(package.__path__, f"{name}."):
            if module.name.endswith(("__main__", "local_worker")) or ".versions" in module.name:
                continue
            for record in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(record) and record.__module__.startswith(name):
                    found.add(record)
    return found


def shown(record):
    """Return the members that `repr` shows, or the library rich, which asks msgspec's structures for something else."""
    if issubclass(record, msgspec.Struct):
        told = (record.__repr__, record.__rich_repr__)
        theirs = (msgspec.Struct.__repr__, msgspec.Struct.__rich_repr__)
        return set(record.__struct_fields__) if any(map(operator.is_, told, theirs)) else set()
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


def test_rich_shows_no_value_where_repr_shows_none():
    told = rich.console.Console(file=io.StringIO(), width=200)
    told.print(NewValue(value=b"very-secret", is_text=True))
    told.print([mesh_protocol.messages.SubmitProof(challenge_id="a", proof="very-secret")])
    assert "very-secret" not in told.file.getvalue()


def test_it_would_be_noticed():
    class Told(msgspec.Struct):
        token: str

    class Half(msgspec.Struct):
        token: str

        def __repr__(self):
            return "<Half>"

    @dataclasses.dataclass
    class Said:
        messages: list[str]
        kept: str = dataclasses.field(default="", repr=False)

    assert shown(Told) == shown(Half) == {"token"}
    assert shown(Said) == {"messages"}
