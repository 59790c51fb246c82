"""Measures one thing of one client, in a process of its own: `worker.py CLIENT MEASURE URL`; prints a number or two."""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

import psutil

CLIENT, MEASURE, URL = sys.argv[1:]
ASK = [{"role": "user", "content": "Hello"}]


def mesh_calls(kind: str):
    import mesh

    made = (mesh.AsyncMeshClient if kind == "async" else mesh.MeshClient)(URL, "mesh_x")
    ask = {"message": "Hello", "model": "m", "provider": "p"}
    return lambda: made.chat(**ask), lambda: made.chat(**ask, stream=True)


def openai_calls(kind: str):
    import openai

    made = (openai.AsyncOpenAI if kind == "async" else openai.OpenAI)(base_url=f"{URL}/v1", api_key="x")
    create = made.chat.completions.create
    return lambda: create(model="m", messages=ASK), lambda: create(model="m", messages=ASK, stream=True)


def anthropic_calls(kind: str):
    import anthropic

    made = (anthropic.AsyncAnthropic if kind == "async" else anthropic.Anthropic)(base_url=URL, api_key="x")
    create = made.messages.create
    return (
        lambda: create(model="m", messages=ASK, max_tokens=9),
        lambda: create(model="m", messages=ASK, max_tokens=9, stream=True),
    )


CALLS = {"mesh": mesh_calls, "openai": openai_calls, "anthropic": anthropic_calls}
#: Calls in a row: enough for the slowest to be told apart from noise.
COUNT = {"mesh": 3000, "openai": 800, "anthropic": 800}[CLIENT]


def best(work: Callable[[], float], rounds: int = 5) -> float:
    """Return the least of several rounds: what others do on this machine can only add."""
    return min(work() for _ in range(rounds))


def sync_calls() -> float:
    call, _ = CALLS[CLIENT]("sync")
    return best(lambda: _timed(call, COUNT // 5))


def _timed(call: Callable[[], object], count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - started) / count * 1e6


def cpu() -> float:
    """Return the CPU of a call, which what else the machine does changes less."""
    call, _ = CALLS[CLIENT]("sync")

    def some() -> float:
        before = time.process_time()
        for _ in range(COUNT // 5):
            call()
        return (time.process_time() - before) / (COUNT // 5) * 1e6

    return best(some)


async def async_calls() -> float:
    call, _ = CALLS[CLIENT]("async")
    for _ in range(50):
        await call()
    found = []
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(COUNT // 5):
            await call()
        found.append((time.perf_counter() - started) / (COUNT // 5) * 1e6)
    return min(found)


async def concurrent() -> float:
    """Return calls a second with 200 at the same time."""
    call, _ = CALLS[CLIENT]("async")
    each = {"mesh": 100, "openai": 10, "anthropic": 10}[CLIENT]

    async def caller(count: int) -> None:
        for _ in range(count):
            await call()

    await asyncio.gather(*(caller(2) for _ in range(200)))
    found = []
    for _ in range(3):
        started = time.perf_counter()
        await asyncio.gather(*(caller(each) for _ in range(200)))
        found.append(200 * each / (time.perf_counter() - started))
    return max(found)


def stream() -> float:
    """Return microseconds per piece."""
    _, begin = CALLS[CLIENT]("sync")

    def once() -> float:
        started = time.perf_counter()
        with begin() as pieces:
            count = sum(1 for _ in pieces)
        assert count >= 5000, count
        return (time.perf_counter() - started) / count * 1e6

    once()
    return best(once)


async def async_stream() -> float:
    _, begin = CALLS[CLIENT]("async")
    found = []
    for _ in range(5):
        started = time.perf_counter()
        count = 0
        async for _ in await begin():
            count += 1
        found.append((time.perf_counter() - started) / count * 1e6)
    return min(found)


def memory() -> str:
    """Return megabytes after the import, and after 10,000 calls."""
    me = psutil.Process()
    bare = me.memory_info().rss
    call, _ = CALLS[CLIENT]("sync")
    made = me.memory_info().rss - bare
    for _ in range(10_000):
        call()
    return f"{made / 1e6} {(me.memory_info().rss - bare) / 1e6}"


def first() -> float:
    """Return milliseconds of CPU from nothing to the first answer."""
    before = time.process_time()
    call, _ = CALLS[CLIENT]("sync")
    call()
    return (time.process_time() - before) * 1000


def imported() -> float:
    """Return milliseconds of CPU of the import alone."""
    before = time.process_time()
    __import__(CLIENT)
    return (time.process_time() - before) * 1000


MEASURES: dict[str, Callable[[], float | str] | Callable[[], Awaitable[float]]] = {
    "import": imported,
    "first": first,
    "sync": sync_calls,
    "cpu": cpu,
    "async": async_calls,
    "concurrent": concurrent,
    "stream": stream,
    "async_stream": async_stream,
    "memory": memory,
}

if __name__ == "__main__":
    measure = MEASURES[MEASURE]
    print(asyncio.run(measure()) if asyncio.iscoroutinefunction(measure) else measure())
