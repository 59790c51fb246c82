"""Kills processes in the middle of writing, again and again, and looks what is left.

Run as a program it is the victim: it stores one key after the other and says what became of each.
"""

import asyncio
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from mesh_server.accounts.models import SCOPES, Principal
from mesh_server.accounts.service import Accounts
from mesh_server.audit.verify import Problem
from mesh_server.cli._parts import Stored, examine
from mesh_server.db.engine import Database
from mesh_server.errors import DatabaseUnavailable, KeyNotFound, OutcomeUnknown, StorageReadOnly
from mesh_server.vault.crypto import create_master_key
from mesh_server.vault.keyring import Keyring
from mesh_server.vault.models import NewValue
from mesh_server.vault.service import Vault
from mesh_server.vault.trail import head_file, open_audit

ANN = Principal("default", "01234567-89ab-7def-8123-456789abcdef", None, SCOPES)
AT_ONCE = 16
#: What the victim says of each key: acknowledged, refused (nothing was changed), or told as unknown.
DONE, REFUSED, UNKNOWN = "done", "refused", "unknown"


async def open_vault(url: str, folder: Path) -> tuple[Database, Vault]:
    database = await Database.open(url)
    keyring = Keyring.load(None, folder / "master.key")
    await keyring.check(database)
    return database, Vault(database, keyring, open_audit(database, keyring, None))


async def audited(url: str, folder: Path) -> list[Problem]:
    """Return what is not as the server left it: rows that do not open, breaks in the audit trail."""
    database = await Database.open(url)
    try:
        keyring = Keyring.load(None, folder / "master.key")
        await keyring.check(database)
        audit, head = open_audit(database, keyring, None), head_file(keyring, folder / "no-head")
        accounts = Accounts(database, keyring.hasher("api-tokens"), audit)
        return (await examine(Stored(database, keyring, head, audit, accounts))).problems
    finally:
        await database.close()


async def write_until_killed(url: str, folder: Path, start: int) -> None:
    """Store keys for ever; each name once."""
    _, vault = await open_vault(url, folder)
    numbers = iter(range(start, sys.maxsize))

    async def one_after_the_other() -> None:
        for number in numbers:
            try:
                await vault.put(ANN, f"key-{number}", NewValue(value=_value(number), is_text=True, tags={"n": "1"}))
                said = DONE
            except OutcomeUnknown:
                said = UNKNOWN
            except (DatabaseUnavailable, StorageReadOnly):
                said = REFUSED
            sys.stdout.write(f"{said} {number}\n")
            sys.stdout.flush()
            if said != DONE:
                await asyncio.sleep(0.02)

    await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))


def _value(number: int) -> bytes:
    return f"value of {number} ".encode() * (1 + number % 40)


@dataclass
class Story:
    """What was said over all cycles, to be compared with what is there."""

    url: str
    folder: Path
    said: dict[int, str] = field(default_factory=dict)
    verified: set[int] = field(default_factory=set)
    next_number: int = 0

    def __post_init__(self) -> None:
        if not (self.folder / "master.key").exists():
            create_master_key(self.folder / "master.key")

    def start(self) -> "Victim":
        return Victim(self)

    def note(self, line: str) -> None:
        said, _, number = line.strip().partition(" ")
        if line.endswith("\n") and number.isdigit():
            self.said[int(number)] = said
            self.next_number = max(self.next_number, int(number) + 1)

    async def verify(self, *, everything: bool = False) -> Counter[str]:
        """Compare what was said since the last time, or all of it; raise AssertionError where a promise was broken."""
        database, vault = await open_vault(self.url, self.folder)
        try:
            for number, said in self.said.items():
                if number in self.verified and not everything:
                    continue
                self.verified.add(number)
                try:
                    opened = await vault.get(ANN, f"key-{number}")
                except KeyNotFound:
                    assert said != DONE, f"key-{number} was acknowledged and is lost"
                    continue
                assert said != REFUSED, f"key-{number} was refused and is there"
                assert opened.value == _value(number)
                assert opened.record.version == 1, f"key-{number} was stored twice"
                assert opened.record.tags == {"n": "1"}, f"key-{number} is half there"
        finally:
            await database.close()
        if everything:
            assert await audited(self.url, self.folder) == []
        return Counter(self.said.values())


class Victim:
    """A process that writes until it is killed."""

    def __init__(self, story: Story) -> None:
        self._story = story
        story.next_number += AT_ONCE + 1  # those that were under way and never told of keep their names
        command = [sys.executable, __file__, story.url, str(story.folder), str(story.next_number)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])

    def hear(self, lines: int) -> None:
        """Wait until it has said so many things."""
        for _ in range(lines):
            line = self.process.stdout.readline()
            assert line, "the writing process ended by itself"
            self._story.note(line)

    def hear_done(self, lines: int, seconds: float = 30) -> None:
        """Wait until so many more were acknowledged."""
        end = time.monotonic() + seconds
        wanted = lines + Counter(self._story.said.values())[DONE]
        while Counter(self._story.said.values())[DONE] < wanted:
            assert time.monotonic() < end, "nothing is acknowledged any more"
            self.hear(1)

    def kill(self) -> None:
        """Kill it and hear what it had said until then."""
        self.process.send_signal(signal.SIGKILL)
        for line in self.process.stdout:
            self._story.note(line)
        self.process.wait()
        self.process.stdout.close()


async def kill_writers(story: Story, cycles: int) -> Counter[str]:
    """Kill the writing process in each cycle; verify after each."""
    for _ in range(cycles):
        victim = story.start()
        try:
            await asyncio.to_thread(victim.hear, random.randrange(1, 150))
        finally:
            await asyncio.to_thread(victim.kill)
        await story.verify()
    return await story.verify(everything=True)


async def kill_postgres(story: Story, cluster, cycles: int) -> Counter[str]:
    """Kill PostgreSQL itself in each cycle, while one and the same process writes on; verify after each."""
    victim = story.start()
    try:
        for _ in range(cycles):
            await asyncio.to_thread(victim.hear, random.randrange(20, 150))
            await asyncio.to_thread(cluster.kill)
            await asyncio.to_thread(cluster.start)
            await asyncio.to_thread(victim.hear_done, 20)
            await story.verify()
    finally:
        await asyncio.to_thread(victim.kill)
    return await story.verify(everything=True)


if __name__ == "__main__":
    asyncio.run(write_until_killed(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])))
