"""A trail that was shortened because of its age still proves itself, and still knows what the removed part knew."""

import asyncio
import sqlite3

import pytest
from sqlalchemy import func, select, update

from mesh_server.audit.export import events
from mesh_server.audit.models import audit, audit_checkpoints, audit_cuts
from mesh_server.audit.retention import STEP, Retention
from mesh_server.audit.service import EVERYTHING
from mesh_server.cli._parts import Stored, examine
from mesh_server.db.scope import ServerWork
from mesh_server.errors import StartupError
from mesh_server.ids import now_us
from mesh_server.settings import load
from mesh_server.vault.trail import head_file

from ..conftest import open_mesh
from ..victim import Victim, changed, cut, fill

DAY = 86_400_000_000
KEY = "/api/v1/keys/a"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("aged") / "data"
    folder.mkdir()
    asyncio.run(fill(folder, aged=True))
    return Victim(folder)


@pytest.fixture
def victim(made):
    made.restore()
    yield made
    made.restore()


async def verdict(services):
    """Return what `verify` says of a running server."""
    heads = services.settings.audit_head_files
    parts = Stored(
        *(services.database, services.keyring, head_file(services.keyring, *heads)),
        *(services.audit, services.accounts, None),
    )
    return [f"{one.kind} {one.where}: {one.what}" for one in (await examine(parts)).problems]


async def count(services, table):
    async def look(tx):
        return (await tx.one(select(func.count()).select_from(table)))[0]

    return await services.database.read(look, ServerWork.VERIFY)


async def retained(services, kept_us, **arguments):
    hashes = services.keyring.hasher("audit-chain"), services.keyring.hasher("audit-checkpoint")
    return await Retention(services.database, services.audit.record, *hashes).cut(kept_us, **arguments)


# --- what goes and what stays, on each database ---


async def test_what_is_old_goes_and_what_is_not_stays(mesh):
    await mesh.services.audit.start()
    for number in range(5):
        await mesh.call("PUT", KEY, {"value": str(number)})
    await mesh.services.audit.checkpoint()
    assert await retained(mesh.services, DAY) == 0
    before = await count(mesh.services, audit)
    begun = now_us()
    await mesh.call("GET", KEY)
    await mesh.services.audit.checkpoint()
    removed = await retained(mesh.services, now_us() - begun, pause_us=0)
    assert removed == before
    told = [event.action async for event in events(mesh.services.audit, None, EVERYTHING)]
    assert "key.read" in told
    assert "key.stored" not in told
    assert set(told) <= {"key.read", "audit.cut"}
    assert await verdict(mesh.services) == []
    await mesh.call("PUT", KEY, {"value": "more"})
    assert await verdict(mesh.services) == []


async def test_a_trail_that_was_cut_again_and_again_knows_what_it_knew_at_first(mesh):
    revoked = (await mesh.call("POST", "/api/v1/tokens", {"scopes": ["chat"]})).json["id"]
    await mesh.call("DELETE", f"/api/v1/tokens/{revoked}")
    await mesh.call("PUT", KEY, {"value": "x"})
    for _ in range(4):
        assert await cut(mesh.services)
        assert await verdict(mesh.services) == []
    assert await count(mesh.services, audit) <= mesh.services.database.writers
    (told, *_) = await mesh.services.audit.page(tenant_id="-", account_id=None)
    assert f'"{revoked}":true' in told.details


async def test_more_than_one_step_is_removed_in_several(mesh):
    for number in range(STEP * 2 // 50 + 1):
        await asyncio.gather(*(mesh.call("PUT", f"/api/v1/keys/k{n}", {"value": str(number)}) for n in range(50)))
    assert await retained(mesh.services, 0, pause_us=0) > STEP * 2
    assert await verdict(mesh.services) == []


async def test_a_few_old_events_wait_for_a_day_after_a_cut(mesh):
    await mesh.call("PUT", KEY, {"value": "x"})
    assert await retained(mesh.services, 0)
    await mesh.call("PUT", KEY, {"value": "y"})
    assert await retained(mesh.services, 0) == 0
    assert await retained(mesh.services, 0, pause_us=0)


async def test_events_that_say_much_make_more_steps_and_no_pause(mesh, monkeypatch):
    monkeypatch.setattr("mesh_server.audit.retention._MOST_FACTS", 3)
    for number in range(20):
        await mesh.call("PUT", f"/api/v1/keys/k{number}", {"value": "x"})
    before = await count(mesh.services, audit)
    removed = await retained(mesh.services, 0)
    assert before - 4 * mesh.services.database.writers <= removed <= before, "the last few wait for a day"
    told = [event.action async for event in events(mesh.services.audit, None, EVERYTHING)]
    assert told.count("audit.cut") >= removed // 4
    assert await verdict(mesh.services) == []


async def test_the_last_checkpoint_stays_and_a_server_begins_after_it(tmp_path, database_url):
    first = await open_mesh(tmp_path, MESH_DATABASE_URL=database_url)
    for number in range(3):
        await first.call("PUT", KEY, {"value": str(number)})
        await first.services.audit.checkpoint()
    await cut(first.services)
    assert await count(first.services, audit_checkpoints) == 1
    await first.services.close()
    second = await open_mesh(tmp_path, MESH_DATABASE_URL=database_url)
    assert (await second.call("GET", KEY, token=first.token)).json["value"] == "2"
    assert await verdict(second.services) == []
    await second.services.close()


async def test_a_machine_that_was_away_for_long_is_told_nothing_wrong(tmp_path, database_url):
    first = await open_mesh(tmp_path, MESH_DATABASE_URL=database_url)
    await first.call("PUT", KEY, {"value": "x"})
    await first.services.audit.checkpoint()
    (head, *_) = first.services.settings.audit_head_files
    away = head.read_bytes()
    for number in range(3):
        await first.call("PUT", KEY, {"value": str(number)})
        await first.services.audit.checkpoint()
    await cut(first.services)
    await first.services.close()
    head.write_bytes(away)
    second = await open_mesh(tmp_path, MESH_DATABASE_URL=database_url)
    assert await verdict(second.services) == []

    async def forge(tx):
        await tx.execute(update(audit_cuts).values(seq=audit_cuts.c.seq + 1))

    await second.services.database.write(forge, ServerWork.PURGE)
    await second.services.close()
    head.write_bytes(away)
    with pytest.raises(StartupError, match="older than audit checkpoint"):
        await open_mesh(tmp_path, MESH_DATABASE_URL=database_url)


async def test_who_looks_while_it_is_cut_finds_nothing_wrong(mesh):
    await mesh.services.audit.start()
    done = asyncio.Event()

    async def write():
        number = 0
        while not done.is_set():
            number += 1
            await asyncio.gather(*(mesh.call("PUT", f"/api/v1/keys/k{n}", {"value": str(number)}) for n in range(8)))
            made = (await mesh.call("POST", "/api/v1/tokens", {"scopes": ["chat"]})).json
            await mesh.call("DELETE", f"/api/v1/tokens/{made['id']}")
            await mesh.services.audit.checkpoint()

    async def shorten():
        while not done.is_set():
            await retained(mesh.services, 0, pause_us=0)
            await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(write()), asyncio.create_task(shorten())]
    try:
        for _ in range(8):
            assert await verdict(mesh.services) == []
    finally:
        done.set()
        await asyncio.gather(*tasks)


async def test_two_processes_that_cut_at_once_remove_everything_once(tmp_path, postgres_url):
    first = await open_mesh(tmp_path, MESH_DATABASE_URL=postgres_url)
    second = await open_mesh(tmp_path, MESH_DATABASE_URL=postgres_url)
    both = (first, second)
    for _ in range(3):
        await asyncio.gather(
            *(one.call("PUT", f"/api/v1/keys/k{n}", {"value": "x"}) for n in range(20) for one in both)
        )
        there = await count(first.services, audit)
        removed = await asyncio.gather(*(retained(one.services, 0, pause_us=0) for one in both))
        assert sum(removed) >= there
        assert await verdict(first.services) == []
    for one in both:
        await one.services.close()


async def test_nothing_of_a_damaged_chain_is_removed(mesh):
    for _ in range(5):
        await mesh.call("PUT", KEY, {"value": "x"})

    async def damage(tx):
        await tx.execute(update(audit).where(audit.c.action == "key.stored").values(outcome="denied"))

    await mesh.services.database.write(damage, ServerWork.AUDIT)
    before = await count(mesh.services, audit)
    damaged = await verdict(mesh.services)
    assert damaged
    await cut(mesh.services)
    assert [line for line in await verdict(mesh.services) if line.startswith("changed")] == damaged
    assert await count(mesh.services, audit) >= before - before // 2


def test_the_trail_is_kept_for_ever_where_nothing_is_said(tmp_path):
    def kept(**environment):
        return load({}, {"MESH_DATA_DIR": str(tmp_path), "MESH_CONFIG": "", **environment}).audit_kept_us

    assert kept() is None
    assert kept(MESH_AUDIT_DAYS="0") is None
    assert kept(MESH_AUDIT_DAYS="365") == 365 * DAY
    for value in ("-1", "1.5", "36501", "a year"):
        with pytest.raises(StartupError, match="MESH_AUDIT_DAYS"):
            kept(MESH_AUDIT_DAYS=value)


async def test_a_server_removes_what_is_older_than_the_setting_says(tmp_path, database_url, monkeypatch):
    made = await open_mesh(tmp_path, MESH_DATABASE_URL=database_url, MESH_AUDIT_DAYS="2")
    await made.call("PUT", KEY, {"value": "x"})
    assert await made.services.audit.purge() == 0
    later = now_us() + 3 * DAY
    monkeypatch.setattr("mesh_server.audit.retention.now_us", lambda: later)
    assert await made.services.audit.purge() >= 3
    await made.services.close()


# --- whoever can write to the database, but lacks the master key ---

#: What is proven by the trail, or by a mac or a signature of its own.
PROVEN = ("audit", "audit_heads", "audit_checkpoints", "audit_cuts", "keys", "api_tokens", "grants", "users")


def test_an_aged_database_is_found_whole(victim):
    assert victim.verdict() == []


@pytest.mark.parametrize("table", PROVEN)
def test_each_column_of_an_aged_database_is_proven(made, table):
    columns, rows = made.rows(table)
    for rowid, *values in rows:
        for index, column in enumerate(columns):
            made.restore()
            try:
                made.run(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", changed(values[index], 3), rowid)
            except sqlite3.IntegrityError:
                continue  # the schema itself refuses it
            assert made.verdict(), f"{table}.{column} row {rowid}"


@pytest.mark.parametrize("table", PROVEN)
def test_each_row_that_is_deleted_from_an_aged_database_is_missed(made, table):
    for row in made.rows(table)[1]:
        made.restore()
        made.run(f"DELETE FROM {table} WHERE rowid = ?", row[0])
        assert made.verdict(), f"{table} row {row[0]}"


def then_cut(victim, *work):
    """Do something through the server, and cut the trail afterwards."""

    async def run():
        mesh = await open_mesh(victim.file.parent)
        for method, path, body in work:
            assert (await mesh.call(method, path, body)).status < 300
        await mesh.services.audit.checkpoint()
        await cut(mesh.services)
        await mesh.services.close()

    asyncio.run(run())


def put_back(victim, table, rows):
    for row in rows:
        victim.run(f"INSERT OR REPLACE INTO {table} VALUES ({', '.join('?' * (len(row) - 1))})", *row[1:])


def test_an_older_row_whose_change_is_cut_off_is_named(victim):
    old = {table: victim.rows(table)[1] for table in ("keys", "key_versions", "key_tags")}
    then_cut(victim, ("PUT", KEY, {"value": "new"}))
    assert victim.verdict() == []
    for table, rows in old.items():
        victim.run(f"DELETE FROM {table}")
        put_back(victim, table, rows)
    assert any(line.startswith("older keys") for line in victim.verdict())


def test_a_revocation_that_is_cut_off_still_counts(victim):
    then_cut(victim, ("POST", "/api/v1/tokens", {"scopes": ["chat"], "name": "short-lived"}))
    columns, rows = victim.rows("api_tokens")
    (alive,) = [row for row in rows if row[1 + columns.index("name")] == "short-lived"]
    then_cut(victim, ("DELETE", f"/api/v1/tokens/{alive[1 + columns.index('id')]}", None))
    assert victim.verdict() == []
    put_back(victim, "api_tokens", [alive])
    assert any(line.startswith("older api_tokens") for line in victim.verdict())


def test_a_grant_that_was_taken_back_before_the_cut_is_named_when_it_comes_back(victim):
    columns, rows = victim.rows("grants")
    assert len(rows) == 1
    then_cut(victim, ("DELETE", f"/api/v1/grants/{rows[0][1 + columns.index('id')]}", None))
    assert victim.verdict() == []
    put_back(victim, "grants", rows)
    assert any(line.startswith("older grants") for line in victim.verdict())


def test_an_event_that_was_removed_and_comes_back_is_named(victim):
    _, rows = victim.rows("audit")
    then_cut(victim, ("GET", KEY, None))
    assert victim.verdict() == []
    put_back(victim, "audit", rows[:1])
    assert any("removed because of its age" in line for line in victim.verdict())


def test_a_cut_that_goes_farther_than_the_servers_own_is_named(victim):
    chain, seq, hash_ = victim.run(
        "SELECT a.chain, a.seq, a.hash FROM audit a JOIN audit_cuts c ON a.chain = c.chain ORDER BY a.seq LIMIT 1"
    )[0]
    victim.run("DELETE FROM audit WHERE chain = ? AND seq <= ?", chain, seq)
    assert any(line.startswith("missing audit chain") for line in victim.verdict())
    victim.run("UPDATE audit_cuts SET seq = ?, hash = ? WHERE chain = ?", seq, hash_, chain)
    assert any(line.startswith("changed audit cut") for line in victim.verdict())


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE audit SET details = '{}' WHERE seq = (SELECT min(seq) FROM audit)",
        "UPDATE audit SET at = 'now' WHERE seq = (SELECT min(seq) FROM audit)",
        "DELETE FROM audit WHERE seq = (SELECT min(seq) FROM audit)",
        "DELETE FROM audit WHERE seq = (SELECT min(seq) + 1 FROM audit)",
        "UPDATE audit_checkpoints SET head = mac WHERE number = (SELECT min(number) FROM audit_checkpoints)",
        "UPDATE audit_checkpoints SET seq = seq + 1 WHERE number = (SELECT min(number) FROM audit_checkpoints)",
        "DELETE FROM audit_checkpoints WHERE number = (SELECT min(number) FROM audit_checkpoints)",
        "UPDATE audit_cuts SET hash = mac",
        "UPDATE audit_cuts SET seq = seq + 1",
        "DELETE FROM audit_cuts",
    ],
)
def test_a_cut_does_not_do_away_with_the_traces_of_an_attack(victim, attack):
    victim.run(attack)
    assert victim.verdict()
    then_cut(victim, ("GET", KEY, None))
    assert victim.verdict()
