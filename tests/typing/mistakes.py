"""Mistakes that type checkers refuse, each on a line that says so; read by tests/typing/test_typing.py, never run."""

from dataclasses import dataclass

import mesh


@dataclass
class City:
    """A dataclass."""

    name: str


def sync(client: mesh.MeshClient) -> None:
    client.chat("Hello").contnt  # mistake
    client.get_usage(by=["dya"])  # mistake
    client.get_usage(by="day,model")  # mistake
    client.get_usage(since=7)  # mistake
    client.get_usage().usage[0].modle  # mistake
    client.get_usage().total.day  # mistake
    client.get_budget().left  # mistake
    client.get_budget().budgets["account"]  # mistake
    client.chat("Hello", model=5)  # mistake
    client.chat("Hello", temperature="hot")  # mistake
    client.chat("Hello", stream="yes")  # mistake
    client.chat(5)  # mistake
    client.chat("Hello", tools=[5])  # mistake
    client.chat("Hello", response_format=City).parsed.nme  # mistake
    client.chat("Hello", stream=True).content  # mistake
    client.chat_with_claude("Hello", version=3.7)  # mistake
    client.chat_with_gpt4o()  # mistake
    client.chat("Hello", images=5)  # mistake
    client.store_key("a")  # mistake
    client.store_key("a", 5)  # mistake
    client.get_key("a").upper()  # mistake
    client.list_keys().append(5)  # mistake
    mesh.MeshClient(timeout="5")  # mistake
    mesh.chta("Hello")  # mistake


async def asynchronous(client: mesh.AsyncMeshClient) -> None:
    client.chat("Hello").content  # mistake
    (await client.chat("Hello")).contnt  # mistake
    client.get_usage().total  # mistake
    for _ in await client.chat("Hello", stream=True):  # mistake
        pass
