"""Makes the client's bundled catalog from the server's; `docs/generate.py` writes it."""

import json
import tomllib
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "server/src/mesh_server/chat/catalog/models.toml"
TARGET = ROOT / "sdk/python/src/mesh/models/catalog.json"
#: Where a provider's own prices are found in the server's table.
_ADDRESSES = {"openai": "https://api.openai.com", "anthropic": "https://api.anthropic.com"}


def catalog() -> str:
    """Return the models of the server's catalog with their prices, one a line; embeddings are no chats and stay out."""
    from mesh_server.chat.catalog.prices import PriceList  # noqa: PLC0415 - the other pages do without

    data = tomllib.loads(SOURCE.read_text("utf-8"))
    prices = PriceList()
    lines = [
        json.dumps(_entry(model, prices), separators=(",", ":"))
        for model in data["models"]
        if not model.get("embeddings")
    ]
    return "[\n" + ",\n".join(lines) + "\n]\n"


def _entry(model: dict[str, Any], prices: Any) -> dict[str, Any]:
    found = prices.of(_ADDRESSES[model["provider"]], model["provider"], model["id"], today=date.max)
    told = {
        "id": model["id"],
        "provider": model["provider"],
        "quality": model.get("quality"),
        "speed": model.get("speed"),
        "input_usd": _dollars(found.input) if found else None,
        "output_usd": _dollars(found.output) if found else None,
        "context": model.get("context"),
        "thinks": model.get("thinking", "none") != "none" or None,
        "retired": model["retired"].isoformat() if "retired" in model else None,
        "successor": model.get("successor"),
        "also": model.get("also") or None,
    }
    return {name: value for name, value in told.items() if value is not None}


def _dollars(price: int | list[int]) -> float:
    """Return US dollars for a million tokens; of a price in steps the first."""
    return (price if isinstance(price, int) else price[0]) / 1e9
