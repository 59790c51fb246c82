"""The trail: everything that matters is in it, with who did it, and without a secret."""

import asyncio
import itertools
import json
from functools import partial
from urllib.parse import quote
from uuid import uuid4

import pytest

from mesh_server.audit import export, service
from mesh_server.audit.export import events
from mesh_server.audit.service import Filter
from mesh_server.errors import StorageReadOnly
from mesh_server.ids import beginning_of, moment, now_us

KEY = "/api/v1/keys/a"
DAY = 86_400_000_000


def text_of(at):
    return quote(moment(at).isoformat())


async def trail(call, query=""):
    return (await call("GET", f"/api/v1/audit{query}")).json["events"]


async def actions(call, query=""):
    return [event["action"] for event in await trail(call, query)]


async def test_every_change_and_read_of_a_key_is_told_newest_first(mesh):
    await mesh.call("PUT", KEY, {"value": "one"})
    await mesh.call("PUT", KEY, {"value": "two"})
    await mesh.call("GET", KEY)
    await mesh.call("POST", f"{KEY}/rollback", {"version": 1})
    await mesh.call("DELETE", f"{KEY}/versions/1")
    await mesh.call("DELETE", KEY)
    await mesh.call("POST", f"{KEY}/restore")
    assert await actions(mesh.call, "?object=a") == [
        *("key.restored", "key.deleted", "version.destroyed", "key.rolled-back", "key.read"),
        *("key.stored", "key.stored"),
    ]


async def test_many_who_write_at_once_are_all_answered_and_told(mesh):
    """Each moves the head of the same chain: they must wait for each other, not lose against each other."""
    for _ in range(3):
        asked = [mesh.call("PUT", f"/api/v1/keys/k{n}", {"value": "x"}) for n in range(64)]
        assert {answer.status for answer in await asyncio.gather(*asked)} <= {200, 201}
    assert len(await actions(mesh.call, "?action=key.stored&limit=200")) == 192


async def test_an_event_says_who_did_it_in_which_request_and_no_value(mesh):
    stored = await mesh.call("PUT", KEY, {"value": "a-very-secret-value", "note": "private"})
    event = (await trail(mesh.call, "?action=key.stored"))[0]
    me = (await mesh.call("GET", "/api/v1/auth/profile")).json["id"]
    assert (event["actor"], event["account"], event["object"]) == (me, me, "a")
    assert event["request_id"] == stored.headers["x-request-id"]
    assert event["details"].keys() == {"id", "rev", "version"}
    whole = json.dumps(await trail(mesh.call))
    assert "a-very-secret" not in whole
    assert mesh.token not in whole


async def test_tokens_and_grants_are_told(mesh):
    bob = await mesh.user("bob")
    bobs = (await bob("GET", "/api/v1/auth/profile")).json["id"]
    made = (await mesh.call("POST", "/api/v1/tokens", {"scopes": ["chat"]})).json
    await mesh.call("DELETE", f"/api/v1/tokens/{made['id']}")
    grant = {"pattern": "a", "grantee": bobs, "actions": ["read"]}
    given = (await mesh.call("POST", "/api/v1/grants", grant)).json
    await mesh.call("POST", "/api/v1/grants", grant)
    assert (await mesh.call("DELETE", f"/api/v1/grants/{given['id']}")).code == "grant_not_found"  # it was replaced
    given = (await mesh.call("GET", "/api/v1/grants")).json["grants"][0]
    await mesh.call("DELETE", f"/api/v1/grants/{given['id']}")
    assert (await actions(mesh.call))[:6] == [
        *("grant.revoked", "grant.given", "grant.replaced", "grant.given", "token.revoked", "token.created"),
    ]


async def test_what_a_grantee_does_is_in_both_trails(mesh):
    bob = await mesh.user("bob")
    bobs, anns = [(await call("GET", "/api/v1/auth/profile")).json["id"] for call in (bob, mesh.call)]
    await mesh.call("PUT", KEY, {"value": "x"})
    await mesh.call("POST", "/api/v1/grants", {"pattern": "a", "grantee": bobs, "actions": ["read"]})
    await bob("GET", f"{KEY}?owner={anns}")
    for call in (bob, mesh.call):
        event = (await trail(call, "?action=key.read"))[0]
        assert (event["actor"], event["account"]) == (bobs, anns)


async def test_acting_for_another_is_told_with_both(mesh):
    bob = await mesh.user("bob", scopes=frozenset({"keys:read"}))
    bobs, anns = [(await call("GET", "/api/v1/auth/profile")).json["id"] for call in (bob, mesh.call)]
    headers = {"mesh-act-as": bobs}
    assert (await mesh.call("PUT", KEY, {"value": "for bob"}, headers=headers)).status == 200
    assert (await bob("GET", KEY)).json["value"] == "for bob"
    assert (await mesh.call("GET", KEY)).status == 404
    event = (await trail(bob, "?action=key.stored"))[0]
    assert (event["actor"], event["account"]) == (anns, bobs)
    assert (await mesh.call("POST", "/api/v1/tokens", {"scopes": ["chat"]}, headers=headers)).code == "scope_missing"
    assert (await mesh.call("GET", "/api/v1/auth/profile", headers=headers)).json["id"] == bobs


async def test_a_trail_is_ones_own_and_an_administrator_sees_the_tenants(mesh):
    bob = await mesh.user("bob", scopes=frozenset({"keys:write", "keys:read"}))
    await bob("PUT", "/api/v1/keys/bobs", {"value": "x"})
    await mesh.call("PUT", KEY, {"value": "x"})
    assert "a" not in {event["object"] for event in await trail(bob)}
    assert (await bob("GET", "/api/v1/audit?all=true")).code == "scope_missing"
    everything = {event["object"] for event in await trail(mesh.call, "?all=true")}
    assert {"a", "bobs"} <= everything
    stranger = await mesh.services.accounts.ensure_user("elsewhere", "eve")
    token = await mesh.services.accounts.create_token(stranger, name="x")
    events = (await mesh.call("GET", "/api/v1/audit?all=true", token=token)).json["events"]
    assert {event["account"] for event in events} == {stranger.account_id}


async def test_a_trail_goes_on_by_its_cursor(mesh):
    for number in range(5):
        await mesh.call("PUT", f"/api/v1/keys/k{number}", {"value": "x"})
    seen, cursor = [], ""
    while cursor is not None:
        page = (await mesh.call("GET", f"/api/v1/audit?action=key.stored&limit=2{cursor and f'&cursor={cursor}'}")).json
        seen += [event["object"] for event in page["events"]]
        cursor = page["next_cursor"]
    assert sorted(seen) == [f"k{number}" for number in range(5)]


async def test_a_trail_is_cut_by_time(mesh):
    await mesh.call("PUT", KEY, {"value": "x"})
    at = (await trail(mesh.call, "?action=key.stored"))[0]["at"]
    assert len(await trail(mesh.call, f"?action=key.stored&since={at}")) == 1
    assert await trail(mesh.call, f"?action=key.stored&until={at}") == []


async def test_a_trail_of_many_days_is_cut_at_each_of_them(mesh, monkeypatch):
    days = [now_us() - days * DAY for days in (9, 5, 5, 1)]
    for number, day in enumerate(days):
        # A millisecond apart, each way: the id is made before the event's time is taken, and a clock may be set.
        made = beginning_of(day + (-1) ** number * 1000) + str(uuid4())[13:]
        monkeypatch.setattr(service, "uuid7", lambda made=made: made)
        monkeypatch.setattr(service, "now_us", lambda day=day: day)
        await mesh.call("PUT", f"/api/v1/keys/k{number}", {"value": "x"})
    for since, until in itertools.combinations([0, *(day + more for day in days for more in (-1, 0, 1)), now_us()], 2):
        query = f"?action=key.stored&since={text_of(since)}&until={text_of(until)}"
        inside = [f"k{number}" for number, day in enumerate(days) if since <= day < until]
        for who in ("", "&all=true"):
            assert sorted([event["object"] for event in await trail(mesh.call, query + who)]) == inside
        (page, more) = [
            [event.object async for event in events(mesh.services.audit, tenant, Filter(since=since, until=until))]
            for tenant in ("default", None)
        ]
        assert sorted({*page} & {f"k{number}" for number in range(4)}) == inside
        assert {*page} <= {*more}


async def test_the_whole_servers_trail_is_merged_from_its_tenants(mesh, monkeypatch):
    monkeypatch.setattr(export, "_HELD", 1)
    monkeypatch.setattr(export, "_LEAST", 1)
    callers = [mesh.call]
    for tenant in ("elsewhere", "-x", "Z"):
        account = await mesh.services.accounts.ensure_user(tenant, "eve")
        token = await mesh.services.accounts.create_token(account, name="x")
        callers.append(partial(mesh.call, token=token))
    for number in range(12):
        await callers[number % 4]("PUT", f"/api/v1/keys/k{number:02}", {"value": "x"})
    stored = [event async for event in events(mesh.services.audit, None, Filter(action="key.stored"))]
    assert [event.object for event in stored] == [f"k{number:02}" for number in range(12)]
    assert {event.tenant_id for event in stored} == {"default", "elsewhere", "-x", "Z"}
    everything = [event.id async for event in events(mesh.services.audit, None, Filter())]
    assert everything == sorted(set(everything))
    assert await mesh.services.audit.tenants() == ["-x", "Z", "default", "elsewhere"]


@pytest.mark.parametrize(
    "query",
    [
        *("limit=0", "limit=201", "limit=x", "cursor=x", "since=yesterday", "since=2026-01-01T00:00:00", "until=1"),
        *("all=yes", "unknown=1", "action=%00", "object=" + "x" * 513),
    ],
)
async def test_a_question_that_makes_no_sense_is_refused(mesh, query):
    answer = await mesh.call("GET", f"/api/v1/audit?{query}")
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_the_use_of_a_key_for_chat_is_told_once_a_minute(parts, monkeypatch):
    from mesh_server.vault import trail as vault_trail

    from ..vault.values import text

    ann = await parts.principal()
    await parts.vault.put(ann, "openai_key", text("sk-x"))
    for _ in range(3):
        assert await parts.vault.open_for_chat(ann, ["openai_key"]) == (*("openai_key", "sk-x", ann.account_id, 1),)

    async def used():
        events = await parts.audit.page(tenant_id="default", account_id=ann.account_id)
        return [event.action for event in events].count("key.used")

    assert await used() == 1
    monkeypatch.setattr(vault_trail, "ONCE_S", 0.0)
    await parts.vault.open_for_chat(ann, ["openai_key"])
    assert await used() == 2
    assert await parts.vault.has_for_chat(ann, ["openai_key"])
    assert await used() == 2


async def test_trying_more_than_was_granted_is_told_once_a_minute(mesh):
    bob = await mesh.user("bob")
    bobs, anns = [(await call("GET", "/api/v1/auth/profile")).json["id"] for call in (bob, mesh.call)]
    await mesh.call("PUT", KEY, {"value": "x"})
    await mesh.call("POST", "/api/v1/grants", {"pattern": "a", "grantee": bobs, "actions": ["chat"]})
    for _ in range(3):
        for method, path in (("GET", KEY), ("GET", f"{KEY}/versions"), ("DELETE", KEY)):
            assert (await bob(method, f"{path}?owner={anns}")).code == "grant_insufficient"
    events = await trail(mesh.call, "?action=key.refused")
    assert [(event["actor"], event["outcome"], event["details"]) for event in events] == [
        (bobs, "denied", {"action": "write"}),
        (bobs, "denied", {"action": "read"}),
    ]


async def test_an_event_that_was_changed_is_not_shown(mesh):
    from sqlalchemy import update

    from mesh_server.audit.models import audit
    from mesh_server.db.scope import ServerWork

    async def change(tx):
        await tx.execute(update(audit).values(details="nonsense"))

    await mesh.call("PUT", KEY, {"value": "x"})
    await mesh.services.database.write(change, ServerWork.VERIFY)
    assert (await mesh.call("GET", "/api/v1/audit")).code == "vault_damaged"


# --- where it can't be written ---


def full(monkeypatch, parts):
    """Make the trail unwritable, as on a full disk."""

    async def no(*_arguments, **_more):
        raise StorageReadOnly("The database can't be written: its disk is full or read-only.", retry_after=30)

    monkeypatch.setattr(parts.audit, "record", no)
    monkeypatch.setattr(parts.audit, "check", no)


async def test_a_read_that_can_not_be_audited_gives_no_value_and_recovers(mesh, monkeypatch):
    await mesh.call("PUT", KEY, {"value": "one"})
    with monkeypatch.context() as broken:
        full(broken, mesh.services)
        for method, body in (("GET", None), ("PUT", {"value": "two"}), ("DELETE", None)):
            answer = await mesh.call(method, KEY, body)
            assert (answer.status, answer.code) == (503, "storage_read_only")
            assert int(answer.headers["retry-after"]) > 0
            assert b"one" not in answer.body
        assert (await mesh.call("GET", "/readyz")).status == 503
        assert (await mesh.call("GET", "/healthz")).status == 200
    assert (await mesh.call("GET", KEY)).json["value"] == "one"
    assert (await mesh.call("GET", "/readyz")).status == 200


async def test_a_key_that_can_not_be_audited_is_not_used_for_chat(parts, monkeypatch):
    from ..vault.values import text

    ann = await parts.principal()
    await parts.vault.put(ann, "openai_key", text("sk-x"))
    full(monkeypatch, parts)
    with pytest.raises(StorageReadOnly):
        await parts.vault.open_for_chat(ann, ["openai_key"])


async def test_readiness_writes_for_a_full_disk_shows_itself_by_nothing_less(tmp_path):
    from ..conftest import open_parts

    parts = await open_parts(tmp_path)
    await parts.audit.check()
    before = (tmp_path / "mesh.db-wal").stat().st_size
    await parts.audit.check()
    assert (tmp_path / "mesh.db-wal").stat().st_size > before
    await parts.database.close()
