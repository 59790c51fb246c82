"""Uses that type checkers accept; read by tests/typing/test_typing.py, never run."""

from dataclasses import dataclass
from typing import assert_type

from pydantic import BaseModel
from typing_extensions import TypedDict

import mesh
from mesh.testing import FakeMesh


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


async def asynchronous(client: mesh.AsyncMeshClient) -> None:
    assert_type(await client.chat("Hello"), mesh.ChatResult)
    assert_type((await client.chat("Hello", response_format=City)).parsed, City)
    async for piece in await client.chat("Hello", stream=True):
        assert_type(piece.text, str)
    assert_type(await client.get_key("a"), str | bytes | None)


def functions() -> None:
    assert_type(mesh.chat("Hello"), mesh.ChatResult)
    assert_type(mesh.list_keys(), list[str])
    try:
        mesh.chat("Hello")
    except mesh.RateLimited as problem:
        assert_type(problem.code, str)


def tested() -> None:
    fake = FakeMesh()
    fake.answer("Hello", tool_calls=[("weather", {"city": "Paris"})])
    assert_type(fake.client(), mesh.MeshClient)
