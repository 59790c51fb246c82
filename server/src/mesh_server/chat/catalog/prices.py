"""What a call costs: tokens by kind times prices, in whole nano-dollars (10⁻⁹ US dollars).

The table is made from the data of `genai-prices` (docs/prices.py); an operator's own file comes before it.
"""

import re
from datetime import date
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgspec

from mesh_server.chat.formats.common import Usage
from mesh_server.errors import StartupError

#: A price: nano-dollars for a million tokens; or that, then pairs of a prompt's length and the price beyond it.
Price = int | list[int]

_MILLION = 1_000_000


class Prices(msgspec.Struct, omit_defaults=True):
    """Prices by kind of token, from a day on, for a tier of service. A kind without a price costs as `input` does."""

    input: Price = 0
    output: Price = 0
    cached: Price | None = None
    cache_write: Price | None = None
    cache_write_long: Price | None = None
    since: date | None = None
    tier: str | None = None


class _Model(msgspec.Struct):
    id: str
    match: list[Any]
    prices: list[Prices]


class _Provider(msgspec.Struct):
    id: str
    address: str
    models: msgspec.Raw


class _Table(msgspec.Struct):
    revision: str
    providers: list[_Provider]
    source: str = ""


class _Own(msgspec.Struct, forbid_unknown_fields=True):
    """A model's prices in an operator's file, in US dollars for a million tokens."""

    input: float = 0.0
    output: float = 0.0
    cached: float | None = None
    cache_write: float | None = None
    cache_write_long: float | None = None


class _OwnFile(msgspec.Struct, forbid_unknown_fields=True):
    revision: str
    prices: dict[str, _Own]


class PriceList:
    """Prices of every provider.

    Args:
        own: an operator's file, whose prices come before the table's; None without.

    Raises:
        StartupError: if that file can't be read.
    """

    def __init__(self, own: Path | None = None) -> None:
        content = files("mesh_server.chat.catalog").joinpath("prices.json").read_bytes()
        table = msgspec.json.decode(content, type=_Table)
        self._own = _read_own(own) if own is not None else None
        self.revision = f"{table.revision}, {self._own.revision}" if self._own is not None else table.revision
        self._providers = table.providers
        self._decoded: dict[str, list[_Model]] = {}
        self._find = lru_cache(4096)(self._look)
        self._newest = lru_cache(4096)(self._look_newest)

    def of(self, address: str, name: str, model: str, *, today: date, tier: str | None = None) -> Prices | None:
        """Return a model's prices; None where none are known.

        Args:
            address: the provider's base URL.
            name: the provider's name, for an operator's own prices.
            model: the provider's own name of the model.
            today: in UTC.
            tier: of service, as the answer named it.
        """
        every = self._find(address, name, model)
        if not every:
            return None
        found = [p for p in every if p.since is None or p.since <= today]
        return next((p for p in reversed(found) if p.tier == tier), None) or next(
            (p for p in reversed(found) if p.tier is None), None
        )

    def all_of(self, address: str, name: str, model: str, *, today: date) -> tuple[Prices, ...]:
        """Return a model's prices for every tier of service; the arguments are those of `of`."""
        return self._newest(address, name, model, today)

    def _look_newest(self, address: str, name: str, model: str, today: date) -> tuple[Prices, ...]:
        newest: dict[str | None, Prices] = {}
        for prices in self._find(address, name, model):
            if prices.since is None or prices.since <= today:
                newest[prices.tier] = prices
        return tuple(newest.values())

    def _look(self, address: str, name: str, model: str) -> tuple[Prices, ...]:
        own = self._own.prices.get(f"{name}/{model}") or self._own.prices.get(model) if self._own is not None else None
        if own is not None:
            return (_from_dollars(own),)
        for provider in self._providers:
            if re.match(provider.address, address):
                for known in self._models(provider):
                    if _matches(known.match, model.lower()):
                        return tuple(known.prices)
        return ()

    def _models(self, provider: _Provider) -> list[_Model]:
        if provider.id not in self._decoded:
            self._decoded[provider.id] = msgspec.json.decode(provider.models, type=list[_Model])
        return self._decoded[provider.id]


def cost(prices: Prices, usage: Usage) -> int:
    """Return what a call costs, in nano-dollars, rounded to the nearest.

    `usage.input` includes what was read from and written to the cache, which have prices of their own; the price of
    output holds for thinking, too.
    """
    plain = max(usage.input - usage.cached - usage.cache_write, 0)
    short = max(usage.cache_write - usage.cache_write_long, 0)
    write = prices.input if prices.cache_write is None else prices.cache_write
    total = (
        plain * _at(prices.input, usage.input)
        + usage.cached * _at(prices.input if prices.cached is None else prices.cached, usage.input)
        + short * _at(write, usage.input)
        + usage.cache_write_long
        * _at(write if prices.cache_write_long is None else prices.cache_write_long, usage.input)
        + usage.output * _at(prices.output, usage.input)
    )
    return (total + _MILLION // 2) // _MILLION


def ceiling(prices: Prices, read: int, written: int) -> int:
    """Return the most that a call can cost, in nano-dollars: every token at the dearest of its prices.

    Args:
        prices: of the model.
        read: tokens of the input, at the most.
        written: tokens of the output, at the most.
    """
    kinds = (prices.input, prices.cached, prices.cache_write, prices.cache_write_long)
    dearest = max(_at(price, read) for price in kinds if price is not None)
    return -(-(read * dearest + written * _at(prices.output, read)) // _MILLION)


def _at(price: Price, prompt: int) -> int:
    """Return the price for a prompt of a length: beyond a step, the whole call has the higher one."""
    if isinstance(price, int):
        return price
    found = price[0]
    for start, beyond in zip(price[1::2], price[2::2], strict=True):
        if prompt > start:
            found = beyond
    return found


def _matches(clause: list[Any], name: str) -> bool:
    kind, *inner = clause
    if kind == "or":
        return any(_matches(part, name) for part in inner)
    if kind == "and":
        return all(_matches(part, name) for part in inner)
    text: str = inner[0]
    if kind == "regex":
        return re.search(text, name) is not None
    text = text.lower()
    tests = {"equals": name == text, "starts_with": name.startswith(text), "ends_with": name.endswith(text)}
    return tests.get(kind, text in name)


def _from_dollars(own: _Own) -> Prices:
    found = {name: round(value * 1e9) for name in own.__struct_fields__ if (value := getattr(own, name)) is not None}
    return Prices(**found)


def _read_own(path: Path) -> _OwnFile:
    try:
        return msgspec.toml.decode(path.read_bytes(), type=_OwnFile)
    except OSError as problem:
        raise StartupError(f"MESH_PRICES_FILE: can't read {path}: {problem.strerror}.") from problem
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise StartupError(f"MESH_PRICES_FILE: {path} is not right: {problem}.") from problem
