"""How providers of Anthropic's format are called: Anthropic itself, and servers like it."""

import re
from typing import Any

from mesh_server.chat.formats.common import MESSAGES, ChatRequest
from mesh_server.chat.models import Target

#: Takes no temperature, top_p and top_k; the key is a bearer token.
NEWEST = "2026-10-21"
#: What every server of this format knows; takes them, with the models that do.
OLDEST = "2023-06-01"

_VERSION = re.compile(r"\d{4}-\d{2}-\d{2}")
_BETAS = re.compile(r"[A-Za-z0-9-]+(\s*,\s*[A-Za-z0-9-]+)*")
_SAMPLING = ("temperature", "top_p", "top_k")


def path(target: Target, *, counting: bool = False) -> str:
    """Return the address of messages, or of their count of tokens."""
    return f"{root(target)}/v1/messages{'/count_tokens' if counting else ''}"


def models_path(target: Target) -> str:
    """Return the address of the list of models."""
    return f"{root(target)}/v1/models?limit=1000"


def root(target: Target) -> str:
    """Return the base address without the version that some write behind it."""
    return target.base_url.removesuffix("/v1")


def headers(key: str | None, version: str, betas: str | None = None) -> dict[str, str]:
    """Return the headers that a call carries beside those of every call.

    The newest version wants the key as a bearer token; servers that know only the oldest know only `x-api-key`.
    """
    found = {"anthropic-version": version}
    if key is not None:
        found |= {"authorization": f"Bearer {key}"} if version >= NEWEST else {"x-api-key": key}
    if betas:
        found["anthropic-beta"] = betas
    return found


def version_for(request: ChatRequest, target: Target, body: dict[str, Any]) -> str:
    """Return the version to call with: the client's own, or the newest that takes what the request holds."""
    asked = request.headers.get("anthropic-version", "")
    if request.format == MESSAGES:
        return asked if _VERSION.fullmatch(asked) else OLDEST
    if not target.official or any(name in body for name in _SAMPLING):
        return OLDEST
    return NEWEST


def betas_for(request: ChatRequest) -> str | None:
    """Return the betas that the client asks for: they go on as they are, to providers of its own format only."""
    betas = request.headers.get("anthropic-beta", "")
    return betas if request.format == MESSAGES and _BETAS.fullmatch(betas) else None
