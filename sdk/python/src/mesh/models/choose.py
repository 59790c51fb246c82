"""Which model is best, fastest or cheapest: computed from catalog data, never a list of favourites."""

import re
from collections.abc import Callable, Iterable
from typing import Literal

from mesh.models.catalog import Model, bundled, today

Aim = Literal["best", "fastest", "cheapest"]

_SPEEDS = ("fastest", "fast", "moderate", "slow")
_INFINITE = float("inf")
_CLAUDE = re.compile(r"claude-([a-z]+)-(\d+)(?:-(\d{1,2}))?")

#: The versions that have always had a name of their own.
_CLAUDE_VERSIONS = {
    "3": "claude-3-opus-20240229",
    "3.5": "claude-3-5-sonnet-20241022",
    "3.7": "claude-3-7-sonnet-20250219",
}


def choose(aim: Aim, models: Iterable[Model], provider: str | None = None, *, thinks: bool = False) -> Model | None:
    """Return the model that fits an aim best; None where there is none.

    Best is the highest quality; of the fastest class the best is the fastest; cheapest is the lowest price, of a
    million tokens in and a million out. What is unknown of a model comes last, and ties go to quality, price, name.

    Args:
        aim: `best`, `fastest` or `cheapest`.
        models: to choose from; what is retired is left out.
        provider: only this one's.
        thinks: only those that can think first.
    """
    day = today()
    fit = [
        model
        for model in models
        if model.chats
        and model.in_service(day)
        and (provider is None or model.provider == provider)
        and (model.thinks or not thinks)
    ]
    return min(fit, key=_ORDERS[aim], default=None)


def _price(model: Model) -> float:
    if model.input_usd is None or model.output_usd is None:
        return _INFINITE
    return model.input_usd + model.output_usd


def _speed(model: Model) -> int:
    return _SPEEDS.index(model.speed) if model.speed in _SPEEDS else len(_SPEEDS)


_ORDERS: dict[Aim, Callable[[Model], tuple[float, float, float, str]]] = {
    "best": lambda model: (-model.quality, _price(model), _speed(model), model.id),
    "fastest": lambda model: (_speed(model), -model.quality, _price(model), model.id),
    "cheapest": lambda model: (_price(model), -model.quality, _speed(model), model.id),
}


def thinking_models(provider: str | None = None) -> list[str]:
    """Return the names of the models in service that can think, the most able first."""
    day = today()
    fit = [
        model
        for model in bundled()
        if model.thinks and model.in_service(day) and (provider is None or model.provider == provider)
    ]
    return [model.id for model in sorted(fit, key=_ORDERS["best"])]


def claude(version: str) -> str:
    """Return the Claude model of a version.

    Args:
        version: "3", "3.5", "3.7"; a number such as "4.6" (its Sonnet where there is one, else its most able); a line
            such as "opus" (its newest); or both, as "opus-4.6". Case, spaces, and a leading "claude" do not matter.

    Raises:
        TypeError: if it is no text.
        ValueError: if there is no such version; the message lists them.
    """
    if not isinstance(version, str):
        raise TypeError(f"version must be a str such as '3.7', not {type(version).__name__}")
    versions = claude_versions()
    asked = re.sub(r"[\s_]+", "-", version.strip().lower()).removeprefix("claude").strip("-")
    found = versions.get(asked)
    if found is None:
        raise ValueError(f"there is no Claude {version!r}; there are {', '.join(versions)}")
    return found


def claude_versions() -> dict[str, str]:
    """Return every version that `chat_with_claude` takes, and its model."""
    day = today()
    lines: list[tuple[str, tuple[int, int], Model]] = []
    for model in bundled():
        matched = _CLAUDE.fullmatch(model.id)
        if matched is not None and model.in_service(day):
            lines.append((matched[1], (int(matched[2]), int(matched[3] or 0)), model))
    lines.sort(key=lambda line: (line[1], line[2].quality), reverse=True)
    found = dict(_CLAUDE_VERSIONS)
    for name, number, model in lines:  # of two Claudes with one number the Sonnet has it
        if name == "sonnet":
            found.setdefault(_number(number), model.id)
    for _, number, model in lines:
        found.setdefault(_number(number), model.id)
    for name, _, model in lines:
        found.setdefault(name, model.id)
    for name, number, model in lines:
        found.setdefault(f"{name}-{_number(number)}", model.id)
    return found


def _number(number: tuple[int, int]) -> str:
    major, minor = number
    return f"{major}.{minor}" if minor else str(major)
