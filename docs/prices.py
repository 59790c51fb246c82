"""Makes the server's table of prices from the data of `genai-prices`; `docs/generate.py` writes it."""

import json
from typing import Any

#: Kinds of tokens that the server counts, by their names in that package.
_KINDS = {
    "input_mtok": "input",
    "cache_read_mtok": "cached",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_long",
    "output_mtok": "output",
}
#: Models that the package does not have yet, from developers.openai.com/api/docs/models, read on 2026-11-25.
_LATER = {
    "openai": [
        {
            "id": "gpt-6.2-sol",
            "match": ["equals", "gpt-6.2-sol"],
            "prices": [
                {
                    "input": [2_000_000_000, 272_000, 4_000_000_000],
                    "cached": [100_000_000, 272_000, 200_000_000],
                    "cache_write": [2_500_000_000, 272_000, 5_000_000_000],
                    "cache_write_long": 5_000_000_000,
                    "output": [10_000_000_000, 272_000, 15_000_000_000],
                }
            ],
        }
    ]
}
_CLAUSES = ("starts_with", "ends_with", "contains", "regex", "equals")


def prices() -> str:
    """Return the table: per provider a pattern of its addresses, and its models with their prices by kind and date.

    A price is a whole number of nano-dollars for a million tokens; where it depends on the prompt's length, a list:
    the first price, then pairs of a number of tokens and the price for everything once the prompt is longer.
    """
    import genai_prices  # noqa: PLC0415 - slow to import, and the other pages do without
    from genai_prices.data_snapshot import get_snapshot  # noqa: PLC0415

    providers = [
        {"id": provider.id, "address": provider.api_pattern, "models": _models(provider)}
        for provider in get_snapshot().providers
        if _models(provider)
    ]
    head = {"revision": f"genai-prices {genai_prices.__version__}", "source": "https://pypi.org/project/genai-prices/"}
    lines = ",\n".join(json.dumps(provider, separators=(",", ":"), ensure_ascii=False) for provider in providers)
    return f'{json.dumps(head)[:-1]}, "providers": [\n{lines}\n]}}\n'


def _models(provider: Any) -> list[dict[str, Any]]:
    found = [entry for model in provider.models if (entry := _model(model)) is not None]
    there = {entry["id"] for entry in found}
    return found + [entry for entry in _LATER.get(provider.id, ()) if entry["id"] not in there]


def _model(model: Any) -> dict[str, Any] | None:
    plain = isinstance(model.prices, list)
    dated = [(c.constraint, c.prices) for c in model.prices] if plain else [(None, model.prices)]
    entries = [_entry(constraint, found, None) for constraint, found in dated]
    for variant in model.price_variants or ():
        tier = variant.when.get("service_tier") or variant.when.get("speed")  # OpenAI's word, and Anthropic's
        if tier is not None and len(variant.when) == 1:
            entries.append(_entry(variant.constraint, variant.prices, tier))
    kept = [entry for entry in entries if entry is not None]
    return {"id": model.id, "match": _match(model.match), "prices": kept} if kept else None


def _entry(constraint: Any, found: Any, tier: str | None) -> dict[str, Any] | None:
    since = getattr(constraint, "start_date", None)
    if constraint is not None and since is None:
        return None  # by the hour of the day: the standard price is the honest upper bound
    entry = {
        ours: _price(getattr(found, theirs)) for theirs, ours in _KINDS.items() if getattr(found, theirs) is not None
    }
    if not entry:
        return None
    return {**({"since": since.isoformat()} if since else {}), **({"tier": tier} if tier else {}), **entry}


def _price(value: Any) -> int | list[int]:
    if not hasattr(value, "tiers"):
        return _nano(value)
    return [_nano(value.base), *(part for tier in value.tiers for part in (tier.start, _nano(tier.price)))]


def _nano(dollars: Any) -> int:
    return round(dollars * 10**9)  # a few prices there carry the noise of binary fractions


def _match(clause: Any) -> list[Any]:
    for name, inner in (("or", getattr(clause, "or_", None)), ("and", getattr(clause, "and_", None))):
        if inner is not None:
            return [name, *(_match(part) for part in inner)]
    name = next(name for name in _CLAUSES if hasattr(clause, name))
    return [name, getattr(clause, name)]
