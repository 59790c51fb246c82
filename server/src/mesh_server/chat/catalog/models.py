"""The catalog of providers' models: what they can, when they end, and who takes their place. Data is in models.toml."""

from datetime import date
from functools import cache
from importlib.resources import files

import msgspec

from mesh_server.chat.formats.common import Abilities


class Model(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One model; models.toml says what each member means."""

    id: str
    provider: str
    title: str
    context: int
    output: int | None = None
    thinking: str = "none"
    always_thinks: bool = False
    sampling: bool = False
    text_only: bool = False
    no_chat_tools: bool = False
    embeddings: bool = False
    quality: int = 0
    speed: str | None = None
    retired: date | None = None
    successor: str | None = None
    also: list[str] = []

    def is_retired(self, today: date) -> bool:
        """Return whether its provider refuses it."""
        return self.retired is not None and self.retired <= today

    @property
    def abilities(self) -> list[str]:
        """What it can, in the words that `GET /api/v1/models` answers with."""
        if self.embeddings:
            return ["embeddings"]
        found = ["chat", "tools", "json_schema"]
        if not self.text_only:
            found.append("images")
        if self.thinking != "none":
            found.append("thinking")
        return found


class _Data(msgspec.Struct, forbid_unknown_fields=True):
    models: list[Model]
    aliases: dict[str, str]


class Catalog:
    """The models, by every name that they have.

    Args:
        models: all of them.
        aliases: short names, and the models that they mean.
    """

    def __init__(self, models: list[Model], aliases: dict[str, str]) -> None:
        self.models = models
        self.aliases = aliases
        self._by_name = {name: model for model in models for name in (*model.also, model.id)}

    def exact(self, name: str) -> Model | None:
        """Return a model by a name that its provider gives it; None where it is unknown here."""
        return self._by_name.get(name)

    def find(self, name: str) -> Model | None:
        """Return a model by its name, another name of it, or an alias; None where it is unknown here."""
        found = self._by_name.get(name)
        if found is not None:
            return found
        lower = name.strip().lower()
        for spelled in (lower.replace(" ", ""), "-".join(lower.split())):
            spelled = self.aliases.get(spelled, spelled)  # noqa: PLW2901 - the name that the alias means
            if spelled in self._by_name:
                return self._by_name[spelled]
        return None

    def in_service(self, model: Model, today: date) -> Model:
        """Return who answers for a model: itself, or where it is retired the last of its successors."""
        while model.is_retired(today) and model.successor is not None:
            model = self._by_name[model.successor]
        return model

    def current(self, provider: str, today: date) -> list[str]:
        """Return the names of a provider's models that are in service, the most able first."""
        found = [model for model in self.models if model.provider == provider and not model.is_retired(today)]
        return [model.id for model in sorted(found, key=lambda model: -model.quality)]

    def abilities(self, kind: str, model: str, *, known: bool, official: bool) -> Abilities:
        """Return what a request to a model has to mind.

        Args:
            kind: of the provider: openai, anthropic.
            model: the provider's name of the model.
            known: the provider's names of models are those of this catalog.
            official: the provider understands the newest fields of its format.
        """
        found = self._by_name.get(model) if known else None
        if found is None or found.provider != kind:
            return _UNKNOWN.get((kind, official), Abilities())
        return Abilities(
            max_output=found.output,
            sampling=found.sampling,
            thinking=found.thinking,
            thinking_off=not found.always_thinks,
            images=not found.text_only,
            tools_in_chat=not found.no_chat_tools,
            official=official,
        )


#: A name that is not in the catalog is most likely newer than the catalog.
_UNKNOWN = {
    ("openai", True): Abilities(thinking="effort", official=True),
    ("anthropic", True): Abilities(thinking="adaptive", official=True),
    ("anthropic", False): Abilities(thinking="budget"),
}


@cache
def catalog() -> Catalog:
    """Return the catalog of this version."""
    content = files("mesh_server.chat.catalog").joinpath("models.toml").read_bytes()
    data = msgspec.toml.decode(content, type=_Data)
    return Catalog(data.models, data.aliases)
