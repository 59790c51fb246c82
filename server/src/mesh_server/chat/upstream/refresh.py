"""Compares the catalog with what the providers themselves list, for `mesh-server model refresh`."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from mesh_server.chat.catalog.models import Catalog
from mesh_server.chat.models import Provider
from mesh_server.chat.providers import bare_target
from mesh_server.chat.upstream.calls import Calls, Listed
from mesh_server.chat.upstream.pool import Pool

#: Beginnings of names that are no models for chat or embeddings.
_OTHERS = ("dall-e", "gpt-image", "gpt-realtime", "gpt-audio", "gpt-live", "gpt-transcribe", "omni-moderation", "sora")
_OTHERS_WITHIN = ("tts", "whisper", "realtime", "transcribe", "moderation", "-audio", "-image", "computer-use")


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference: `what` is new, gone or date; `catalog` and `listed` are days of retirement where it is a date."""

    provider: str
    model: str
    what: str
    catalog: str | None = None
    listed: str | None = None


async def refresh(provider: Provider, catalog: Catalog, today: date) -> list[Change]:
    """Ask a provider for its models, with the server's own key, and return what the catalog does not say.

    Raises:
        MeshError: if it does not answer.
    """
    pool = Pool(whole_s=30.0)
    try:
        listed = await Calls(pool).models(bare_target(provider))
    finally:
        await pool.close()
    return changes(provider.name, listed, catalog, today)


def changes(provider: str, listed: Sequence[Listed], catalog: Catalog, today: date) -> list[Change]:
    """Return the differences between a provider's list and the catalog."""
    known = {name: model for model in catalog.models if model.provider == provider for name in (model.id, *model.also)}
    there = {entry.id: entry for entry in listed if entry.lifecycle != "retired"}
    found = [
        Change(provider=provider, model=name, what="new", listed=entry.retires)
        for name, entry in there.items()
        if name not in known and not _is_other(name)
    ]
    for model in catalog.models:
        if model.provider != provider:
            continue
        names = [name for name in (model.id, *model.also) if name in there]
        ours = model.retired.isoformat() if model.retired is not None else None
        if not names and not model.is_retired(today):
            found.append(Change(provider=provider, model=model.id, what="gone", catalog=ours))
        theirs = next((there[name].retires for name in names if there[name].retires), None)
        if names and theirs != ours:
            found.append(Change(provider=provider, model=model.id, what="date", catalog=ours, listed=theirs))
    return found


def _is_other(name: str) -> bool:
    return name.startswith(_OTHERS) or any(word in name for word in _OTHERS_WITHIN)
