"""Uses that type checkers accept; read by tests/typing/test_typing.py, never run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict

import mesh
from mesh.testing import FakeMesh
from mesh.usage import Dimension


@dataclass
class City:
    """A dataclass."""

    name: str


class CityModel(BaseModel):
    """A pydantic model."""

    name: str


class CityDict(TypedDict):
    """A TypedDict."""

    name: str


def weather(city: str) -> str:
    """Look up the weather."""
    return city


@mesh.tool
def double(number: int) -> int:
    """Double it."""
    return number * 2


@mesh.tool(name="halve")
def half(number: int) -> int:
    """Halve it."""
    return number // 2


def sync(client: mesh.MeshClient) -> None:
    answer = client.chat("Hello", model="gpt-4o", temperature=0, top_p=0.9)
    assert_type(answer, mesh.ChatResult)
    assert_type(answer.content, str)
    assert_type(answer.usage.cost_usd, float | None)
    assert_type(client.chat("Hello", response_format=City).parsed, City)
    assert_type(client.chat("Hello", response_format=CityModel).parsed, CityModel)
    assert_type(client.chat("Hello", response_format=CityDict).parsed["name"], str)
    client.chat("Hello", tools=[weather, double, {"type": "function", "function": {"name": "f"}}])
    client.chat(messages=[{"role": "user", "content": "Hello"}], images=None)
    client.chat("Hello", images=["a.png", b"...", mesh.image("https://example.com/a.png")])
    assert_type(double(2), int)
    assert_type(half(2), int)
    with client.chat("Hello", stream=True) as stream:
        for piece in stream:
            assert_type(piece.text, str)
    assert_type(stream.response, mesh.ChatResult)
    for event in stream.events():
        if isinstance(event, mesh.TextEvent):
            assert_type(event.text, str)
    assert_type(client.chat_with_claude("Hello", version="3.7"), mesh.ChatResult)
    assert_type(client.chat_with_best_model("Hello", stream=True), mesh.Stream)
    assert_type(client.get_key("a"), str | bytes | None)
    assert_type(client.list_keys(), list[str])
    assert_type(client.store_key("a", "b").version, int)
    talk = client.conversation("Be brief.", model="gpt-4o")
    assert_type(talk.usage.total_tokens, int)
    assert_type(answer.budget_left_usd, float | None)
    report = client.get_usage(date(2026, 11, 1), datetime.now(UTC), by=["day", "model"])
    assert_type(report, mesh.UsageReport)
    assert_type(report.total.cost_usd, float)
    assert_type(report.usage[0].key, str | None)
    for row in client.get_usage("2026-11-01", by="provider").usage:
        assert_type(row, mesh.UsageRow)
        assert_type(row.total_tokens + report.total.calls, int)
    dimensions: Sequence[Dimension] = ("surface", "outcome")
    client.get_usage(by=dimensions)
    assert_type(client.get_budget().left_usd, float | None)
    for limit in client.get_budget().budgets:
        assert_type(limit, mesh.BudgetLimit)
        assert_type(limit.resets_at, str | None)


async def asynchronous(client: mesh.AsyncMeshClient) -> None:
    assert_type(await client.chat("Hello"), mesh.ChatResult)
    assert_type((await client.chat("Hello", response_format=City)).parsed, City)
    async for piece in await client.chat("Hello", stream=True):
        assert_type(piece.text, str)
    assert_type(await client.get_key("a"), str | bytes | None)
    assert_type((await client.get_usage(by=["key"])).total.calls, int)
    assert_type((await client.get_budget()).budgets, list[mesh.BudgetLimit])
    async with mesh.AsyncAutoRefreshMeshClient(refresh_margin=60) as other:
        assert_type(other, mesh.AsyncAutoRefreshMeshClient)
        assert_type(await other.chat("Hello"), mesh.ChatResult)


def functions() -> None:
    assert_type(mesh.chat("Hello"), mesh.ChatResult)
    assert_type(mesh.list_keys(), list[str])
    try:
        mesh.chat("Hello")
    except (mesh.BudgetExceeded, mesh.QuotaExceeded, mesh.RequestInProgress, mesh.OutcomeUnknown) as problem:
        assert_type(problem.troubleshooting, list[str])
    except mesh.RateLimited as problem:
        assert_type(problem.code, str)


def tested() -> None:
    fake = FakeMesh()
    fake.answer("Hello", tool_calls=[("weather", {"city": "Paris"})])
    fake.budget(5.0, used=1, unit="usd", period="month")
    fake.usage(day="2026-11-25", calls=3)
    assert_type(fake.client(), mesh.MeshClient)
