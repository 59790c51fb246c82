"""What the providers list, beside what the catalog says."""

from datetime import date

import pytest

from mesh_server.chat.catalog.models import catalog
from mesh_server.chat.upstream.calls import Listed
from mesh_server.chat.upstream.refresh import changes
from mesh_server.cli import run

from .upstream import Upstream

TODAY = date(2026, 11, 25)


def complete(provider):
    """Return a list that says just what the catalog does."""
    return [
        Listed(model.id, shutdown_date=model.retired.isoformat() if model.retired else None)
        for model in catalog().models
        if model.provider == provider and not model.is_retired(TODAY)
    ]


@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_an_equal_list_brings_no_news(provider):
    assert changes(provider, complete(provider), catalog(), TODAY) == []


def test_every_kind_of_news_is_told():
    listed = [entry for entry in complete("openai") if entry.id not in {"gpt-5.5", "gpt-4o"}]
    listed += [
        Listed("gpt-7"),
        Listed("gpt-4o", shutdown_date="2028-01-01"),
        Listed("gpt-image-9"),
        Listed("whisper-2"),
        Listed("gpt-6-retired", lifecycle="retired"),
    ]
    found = {(change.what, change.model) for change in changes("openai", listed, catalog(), TODAY)}
    assert found == {("new", "gpt-7"), ("gone", "gpt-5.5"), ("date", "gpt-4o")}


def test_anthropics_times_are_days():
    assert Listed("x", retires_at="2026-11-30T00:00:00Z").retires == "2026-11-30"


async def test_the_command_asks_who_it_has_a_key_for(tmp_path, monkeypatch, capsys):
    import asyncio

    async def script(exchange):
        await exchange.answer(200, {"data": [{"id": "claude-next", "lifecycle": "active"}]})

    upstream = await Upstream(script).start()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MESH_DATA_DIR", str(tmp_path))
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert await asyncio.to_thread(run, ["model", "refresh"]) == 1
    assert "ANTHROPIC_API_KEY" in capsys.readouterr().err
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-secret-1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", upstream.url)
    assert await asyncio.to_thread(run, ["model", "refresh"]) == 0
    told = capsys.readouterr()
    assert "anthropic/claude-next is new" in told.out
    assert "claude-opus-5-5 is no longer listed" in told.out
    assert "sk-ant-secret-1" not in told.out + told.err
    await upstream.stop()
    assert await asyncio.to_thread(run, ["model", "refresh", "--json"]) == 5
    assert "anthropic" in capsys.readouterr().err
