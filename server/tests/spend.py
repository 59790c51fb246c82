"""Clients spend against one limit through real servers that are killed at random; then every side's books are compared.

The provider bills each request that it has read, whether or not anybody reads its answer.
"""

import asyncio
import json
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import func, select

from mesh_server.billing.budgets import Budgets, new_budget
from mesh_server.billing.models import DOLLAR, leases, reservations, usage_events
from mesh_server.chat.catalog.prices import Prices, cost
from mesh_server.chat.formats.common import Usage
from mesh_server.db.engine import Database
from mesh_server.db.scope import ServerWork

from .chat.upstream import Upstream, chunk, completion
from .serving import Server

MODEL = "bench-1"
PRICES = Prices(input=150_000_000, output=600_000_000)
MOST_TOKENS = 1000
CONFIG = """
prices_file = "{prices}"
[[providers]]
name = "acme"
base_url = "{url}"
models = ["bench-1"]
api_key = "sk-acme-shared-1234"
"""
OWN_PRICES = """
revision = "test"
[prices]
"bench-1" = { input = 0.15, output = 0.6 }
"""
#: Seconds within which others settle what a dead process left: it counts as dead after 10, and they look every 2.
REAPED_S = 16.0


@dataclass
class Provider:
    """Counts and bills every call, with random usage within what the request allows."""

    billed: int = 0
    calls: int = 0
    most_s: float = 0.05

    async def answer(self, exchange) -> None:
        asked = exchange.json
        read = random.randrange(1, len(exchange.body))
        written = random.randrange(1, asked["max_tokens"] + 1)
        self.calls += 1
        self.billed += cost(PRICES, Usage(input=read, output=written))
        usage = {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}
        if not asked.get("stream"):
            await asyncio.sleep(random.random() * self.most_s)
            await exchange.answer(200, completion(model=MODEL, usage=usage))
            return
        await exchange.head(200, content_type="text/event-stream", connection="close")
        for n in range(4):
            await exchange.event(chunk(f"piece {n} "))
            await asyncio.sleep(random.random() * self.most_s / 4)
        await exchange.event(chunk(finish="stop"))
        await exchange.event({**chunk(), "choices": [], "usage": usage})
        await exchange.send(b"data: [DONE]\n\n")


@dataclass
class Got:
    """An answer; `complete` if its end came."""

    status: int
    headers: dict[str, str]
    body: bytes
    complete: bool


async def ask(port: int, token: str, body: dict, **headers: str) -> Got | None:
    """Send one call of chat; return None where no server answered."""
    content = json.dumps(body).encode()
    lines = {"host": "127.0.0.1", "authorization": f"Bearer {token}", "content-length": str(len(content)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return None
    try:
        writer.write(f"POST /v1/chat/completions HTTP/1.1\r\nconnection: close\r\n{head}\r\n".encode() + content)
        answered = await reader.read(-1)
    except OSError:
        return None
    finally:
        writer.close()
    start, found, rest = answered.partition(b"\r\n\r\n")
    if not found:
        return None
    first, *more = start.decode().split("\r\n")
    told = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in more)}
    complete = len(rest) == int(told["content-length"]) if "content-length" in told else rest.endswith(b"0\r\n\r\n")
    return Got(int(first.split(" ")[1]), told, rest, complete)


@dataclass
class Story:
    """Servers, clients, a provider and one limit.

    Attributes:
        complete: by request id, what a client was told that its complete answer cost; None for a stream.
        seen: statuses of all answers.
    """

    url: str
    folder: Path
    processes: int
    limit: int = DOLLAR
    provider: Provider = field(default_factory=Provider)
    complete: dict[str, int | None] = field(default_factory=dict)
    seen: Counter = field(default_factory=Counter)
    kills: int = 0
    servers: list[Server] = field(default_factory=list)
    token: str = ""
    over: bool = False

    async def prepare(self) -> None:
        """Start the provider and the servers; set the limit."""
        self.upstream = await Upstream(self.provider.answer).start()
        await asyncio.to_thread(self._make_servers)
        database = await Database.open(self.url)
        try:
            await Budgets(database).set(new_budget("default", self.limit, "usd", "total"))
        finally:
            await database.close()
        await asyncio.gather(*(asyncio.to_thread(server.start) for server in self.servers))

    def _make_servers(self) -> None:
        prices = self.folder / "prices.toml"
        prices.write_text(OWN_PRICES)
        config = self.folder / "mesh-server.toml"
        config.write_text(CONFIG.format(url=self.upstream.url, prices=prices))
        for number in range(self.processes):
            folder = self.folder / f"server-{number}"
            folder.mkdir()
            if number:
                for name in ("master.key", "zkp.root"):
                    shutil.copy(self.folder / "server-0" / name, folder / name)
            server = Server(folder, self.url)
            server.environment["MESH_CONFIG"] = str(config)
            self.servers.append(server)
        made = self.servers[0].command("token", "create", "--user", "ann")
        assert made.returncode == 0, made.stderr
        self.token = made.stdout.strip()

    async def spend(self, clients: int, kills: int, seconds: float, *, until_used: bool = True) -> None:
        """Let clients spend, and kill a random server each time; end after that, and where the limit is used up."""
        working = [asyncio.create_task(self._client(n)) for n in range(clients * self.processes)]
        killing = asyncio.create_task(self._kill(kills, seconds))
        await killing
        end = time.monotonic() + seconds
        while until_used and self.seen[429] < clients and time.monotonic() < end:  # noqa: ASYNC110 - servers tell nobody
            await asyncio.sleep(0.1)
        self.over = True
        await asyncio.gather(*working)

    async def _client(self, number: int) -> None:
        while not self.over:
            server = self.servers[number % len(self.servers)]
            words = "word " * random.randrange(1, 100)
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": words}],
                "max_tokens": random.randrange(1, MOST_TOKENS),
                "stream": random.random() < 0.5,
            }
            got = await ask(server.port, self.token, body)
            if got is None or not got.complete:
                self.seen["broken"] += 1
                await asyncio.sleep(0.05)
                continue
            self.seen[got.status] += 1
            if got.status != 200:
                await asyncio.sleep(0.1)
            elif b'"stream": true' not in got.body and self._answered(got):
                cost_nano = got.headers.get("mesh-cost-nano")
                self.complete[got.headers["x-request-id"]] = None if cost_nano is None else int(cost_nano)

    def _answered(self, got: Got) -> bool:
        """Return whether it is an answer: a stream without its last event told of a failure."""
        if "text/event-stream" not in got.headers["content-type"]:
            return True
        if b"[DONE]" in got.body:
            return True
        self.seen["failed streams"] += 1
        return False

    async def _kill(self, kills: int, seconds: float) -> None:
        end = time.monotonic() + seconds
        while self.kills < kills and time.monotonic() < end:
            await asyncio.sleep(random.uniform(0.2, 1.0))
            server = random.choice(self.servers)
            server.process.kill()
            await asyncio.to_thread(server.process.wait)
            self.kills += 1
            server.log.write_bytes(b"")
            await asyncio.to_thread(server.start)

    async def stopped(self) -> "Books":
        """Stop all servers and return the books: nothing is held by who ends in order."""
        await asyncio.gather(*(asyncio.to_thread(server.stop) for server in self.servers))
        found = await read_books(self.url)
        assert found.held == found.reservations == found.leases == 0
        return found

    async def settled(self, keep: int = 0) -> "Books":
        """Kill all servers but one, and return the books when nothing is held any more."""
        keeper = self.servers[keep]
        for server in self.servers:
            if server is keeper:
                continue
            server.process.kill()
            await asyncio.to_thread(server.process.wait)
        end = time.monotonic() + REAPED_S
        while True:
            books = await read_books(self.url)
            if not books.held and books.leases <= 1:  # the keeper's own
                break
            assert time.monotonic() < end, f"{books.held} is still held, by {books.leases} processes"
            await asyncio.sleep(0.5)
        await asyncio.to_thread(keeper.stop)
        found = await read_books(self.url)
        assert found.reservations == found.leases == 0
        return found

    async def close(self) -> None:
        """End what is running."""
        for server in self.servers:
            if server.process is not None and server.process.poll() is None:
                server.process.kill()
                await asyncio.to_thread(server.process.wait)
        await self.upstream.stop()

    def check(self, books: "Books") -> None:
        """Compare what the provider, the clients and the server say; raise AssertionError where they differ."""
        assert self.provider.billed <= self.limit, f"the provider billed {self.provider.billed} nano-dollars"
        assert self.provider.billed <= books.used <= self.limit
        assert books.used == sum(books.costs.values()) + books.lost
        for request_id, told in self.complete.items():
            assert books.settled[request_id] == 1, (
                f"{request_id} was answered and has {books.settled[request_id]} events"
            )
            assert told is None or told == books.costs[request_id]


@dataclass
class Books:
    """What the database says."""

    used: int
    held: int
    lost: int
    costs: dict[str, int]
    settled: Counter
    reservations: int
    leases: int


async def read_books(url: str) -> Books:
    """Return what the database says."""
    database = await Database.open(url)
    try:
        (standing,) = await Budgets(database).of_tenant("default")

        async def look(tx):
            events = await tx.all(select(usage_events.c.request_id, usage_events.c.outcome, usage_events.c.cost_nano))
            held = await tx.one(select(func.count()).select_from(reservations))
            alive = await tx.one(select(func.count()).select_from(leases))
            return events, held[0], alive[0]

        events, held, alive = await database.read(look, ServerWork.BILLING)
    finally:
        await database.close()
    costs: Counter = Counter()
    for request_id, outcome, nano in events:
        if outcome != "lost":
            costs[request_id] += nano
    return Books(
        used=standing.used,
        held=standing.held,
        lost=sum(nano for _, outcome, nano in events if outcome == "lost"),
        costs=dict(costs),
        settled=Counter(request_id for request_id, outcome, _ in events if outcome == "ok"),
        reservations=held,
        leases=alive,
    )


async def race(url: str, folder: Path, processes: int, clients: int, kills: int, limit: int = DOLLAR) -> str:
    """Spend, kill, compare; return what happened in one line."""
    story = Story(url, folder, processes, limit=limit)
    began = time.monotonic()
    try:
        await story.prepare()
        await story.spend(clients, kills, 30.0 + 4.0 * kills, until_used=limit == DOLLAR)
        books = await story.settled()
    finally:
        await story.close()
    story.check(books)
    return (
        f"{story.kills} kills, {story.provider.calls} calls in {time.monotonic() - began:.0f} s: billed "
        f"${story.provider.billed / DOLLAR:.6f}, used ${books.used / DOLLAR:.6f} of ${limit / DOLLAR:.2f} "
        f"(${books.lost / DOLLAR:.6f} lost with dead processes), {len(story.complete)} complete answers each settled "
        f"once, nothing held; {dict(story.seen)}"
    )
