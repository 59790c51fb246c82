"""The catalog that comes with this version: made from the server's own by `./dev docs`."""

from datetime import UTC, date, datetime
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One model.

    Attributes:
        id: the provider's name of it.
        provider: who serves it.
        quality: Mesh's order of ability; 100 is the most able, 0 is unknown.
        speed: `fastest`, `fast`, `moderate` or `slow`; None is unknown.
        input_usd: US dollars for a million tokens of the prompt; None is unknown.
        output_usd: US dollars for a million tokens of an answer; None is unknown.
        context: most tokens of the prompt.
        thinks: whether it can be told to think first.
        chats: whether it answers chats at all.
        retired: the day from which its provider refuses it; may lie ahead.
        successor: who answers then.
        also: further names of it.
    """

    id: str
    provider: str
    quality: int = 0
    speed: str | None = None
    input_usd: float | None = None
    output_usd: float | None = None
    context: int | None = None
    thinks: bool = False
    chats: bool = True
    retired: date | None = None
    successor: str | None = None
    also: tuple[str, ...] = ()

    def in_service(self, today: date) -> bool:
        """Return whether its provider serves it on a day."""
        return self.retired is None or self.retired > today


@cache
def bundled() -> tuple[Model, ...]:
    """Return the catalog of this version."""
    content = files("mesh.models").joinpath("catalog.json").read_bytes()
    return msgspec.json.decode(content, type=tuple[Model, ...])


@cache
def _by_name() -> dict[str, Model]:
    return {name: model for model in bundled() for name in (*model.also, model.id)}


def find(name: str) -> Model | None:
    """Return what is known of a model; None where it is unknown here, most likely newer than this version."""
    return _by_name().get(name)


def today() -> date:
    """Return the day, in UTC."""
    return datetime.now(UTC).date()


def usable(answer: dict[str, Any]) -> tuple[Model, ...]:
    """Return the models of an answer of `GET /api/v1/models`, and what is known here where it is silent."""
    found: dict[tuple[str, str], Model] = {}
    by_provider = answer.get("models")
    for provider, names in by_provider.items() if isinstance(by_provider, dict) else ():
        for name in names if isinstance(names, list) else ():
            if isinstance(name, str):
                found[provider, name] = _known(provider, name)
    data = answer.get("data")
    for entry in data if isinstance(data, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            provider = str(entry.get("provider") or entry.get("owned_by") or "")
            model = found.get((provider, entry["id"])) or _known(provider, entry["id"])
            found[provider, entry["id"]] = _told(model, entry)
    return tuple(found.values())


def _known(provider: str, name: str) -> Model:
    known = find(name)
    if known is not None and known.provider == provider:
        return msgspec.structs.replace(known, id=name)
    return Model(id=name, provider=provider)


def _told(model: Model, entry: dict[str, Any]) -> Model:
    prices = entry.get("prices") or entry.get("price")
    prices = prices if isinstance(prices, dict) else {}
    abilities = entry.get("abilities")
    told = {
        "quality": entry.get("quality"),
        "speed": entry.get("speed"),
        "context": entry.get("context"),
        "successor": entry.get("successor"),
        "input_usd": prices.get("input"),
        "output_usd": prices.get("output"),
    }
    if isinstance(abilities, list):
        told |= {"thinks": "thinking" in abilities, "chats": "chat" in abilities}
    if isinstance(entry.get("retired"), str):
        told["retired"] = entry["retired"]
    told = {name: value for name, value in told.items() if value is not None}
    try:
        return msgspec.convert(msgspec.to_builtins(model) | told, Model)
    except msgspec.ValidationError:  # a newer server may say it in another way: what is bundled is still true
        return model
