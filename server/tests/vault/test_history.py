"""Versions: what was replaced can come back, what was destroyed can't, and a retried request is done once."""

import asyncio

import pytest

from mesh_server.vault import store as store_module
from mesh_server.vault.models import Limits
from mesh_server.vault.service import Vault

from .values import text

KEY = "/api/v1/keys/a"


async def store(mesh, *values):
    for value in values:
        assert (await mesh.call("PUT", KEY, {"value": value})).status == 200


async def test_versions_are_listed_newest_first_without_values(mesh):
    await store(mesh, "one", "two")
    answer = await mesh.call("GET", f"{KEY}/versions")
    assert [(v["version"], v["current"], v["kind"]) for v in answer.json["versions"]] == [
        (2, True, "text"),
        (1, False, "text"),
    ]
    assert "one" not in answer.body.decode()


async def test_an_earlier_version_is_read_by_its_number(mesh):
    await store(mesh, "one", "two")
    read = (await mesh.call("GET", f"{KEY}?version=1")).json
    assert (read["value"], read["version"]) == ("one", 1)


async def test_rolling_back_makes_a_new_version_and_keeps_what_describes_the_key(mesh):
    await mesh.call("PUT", KEY, {"value": "one", "tags": {"k": "v"}, "expires_at": "2099-01-01T00:00:00Z"})
    await mesh.call("PUT", KEY, {"value": "two", "expires_at": "2098-01-01T00:00:00Z"})
    rolled = (await mesh.call("POST", f"{KEY}/rollback", {"version": 1})).json
    assert (rolled["version"], rolled["rev"], rolled["tags"]) == (3, 3, {"k": "v"})
    assert rolled["expires_at"].startswith("2098")
    assert (await mesh.call("GET", KEY)).json["value"] == "one"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"version": 2}, 409, "version_in_use"),
        ({"version": 3}, 404, "version_not_found"),
        ({"version": 0}, 400, "invalid_request"),
        ({"version": -1}, 400, "invalid_request"),
        ({"version": "1"}, 400, "invalid_request"),
        ({"version": 2**80}, 400, "invalid_request"),
        ({}, 400, "invalid_request"),
        ({"version": 1, "more": 1}, 400, "invalid_request"),
    ],
)
async def test_a_roll_back_that_makes_no_sense_is_refused(mesh, body, status, code):
    await store(mesh, "one", "two")
    answer = await mesh.call("POST", f"{KEY}/rollback", body)
    assert (answer.status, answer.code) == (status, code)
    assert (await mesh.call("GET", KEY)).json["rev"] == 2


async def test_a_destroyed_version_stays_known_and_opens_no_more(mesh):
    await store(mesh, "one", "two")
    destroyed = (await mesh.call("DELETE", f"{KEY}/versions/1")).json
    assert destroyed["destroyed_at"]
    assert (await mesh.call("DELETE", f"{KEY}/versions/1")).json == destroyed
    assert (await mesh.call("GET", f"{KEY}?version=1")).code == "version_destroyed"
    assert (await mesh.call("POST", f"{KEY}/rollback", {"version": 1})).code == "version_destroyed"
    assert len((await mesh.call("GET", f"{KEY}/versions")).json["versions"]) == 2


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (f"{KEY}/versions/2", 409, "version_in_use"),
        (f"{KEY}/versions/9", 404, "version_not_found"),
        (f"{KEY}/versions/x", 400, "invalid_request"),
        ("/api/v1/keys/b/versions/1", 404, "key_not_found"),
    ],
)
async def test_what_can_not_be_destroyed_is_refused(mesh, path, status, code):
    await store(mesh, "one", "two")
    answer = await mesh.call("DELETE", path)
    assert (answer.status, answer.code) == (status, code)


async def test_a_deleted_key_has_no_versions_to_look_at(mesh):
    await store(mesh, "one", "two")
    await mesh.call("DELETE", KEY)
    assert (await mesh.call("GET", f"{KEY}/versions")).code == "key_not_found"
    assert (await mesh.call("POST", f"{KEY}/rollback", {"version": 1})).code == "key_not_found"
    assert (await mesh.call("DELETE", f"{KEY}/versions/1")).code == "key_not_found"


async def test_as_many_versions_are_kept_as_the_operator_chose(parts):
    ann = await parts.principal()
    vault = Vault(parts.database, parts.keyring, parts.audit, Limits(versions_kept=2))
    for value in "123":
        await vault.put(ann, "a", text(value))
    kept = [v.version for v in await vault.history.versions(ann, "a") if v.destroyed_at is None]
    assert kept == [3, 2]


async def test_the_newest_versions_are_listed_and_the_others_are_there(parts, monkeypatch):
    monkeypatch.setattr(store_module, "MOST_VERSIONS", 3)
    ann = await parts.principal()
    for value in "12345":
        await parts.vault.put(ann, "a", text(value))
    assert [version.version for version in await parts.vault.history.versions(ann, "a")] == [5, 4, 3]
    assert (await parts.vault.get(ann, "a", version=1)).value == b"1"


# --- once ---


async def test_the_same_request_with_the_same_key_is_done_once(mesh):
    headers = {"idempotency-key": "k-1"}
    first = await mesh.call("PUT", KEY, {"value": "one"}, headers=headers)
    again = await mesh.call("PUT", KEY, {"value": "one"}, headers=headers)
    assert (first.json, first.headers["etag"]) == (again.json, again.headers["etag"])
    assert (await mesh.call("GET", KEY)).json["rev"] == 1


async def test_every_change_of_a_key_can_be_retried(mesh):
    await store(mesh, "one", "two")
    for number, (method, path, body) in enumerate(
        [
            ("POST", f"{KEY}/rollback", {"version": 1}),
            ("DELETE", f"{KEY}/versions/1", None),
            ("DELETE", KEY, None),
            ("POST", f"{KEY}/restore", None),
        ]
    ):
        headers = {"idempotency-key": f"k{number}"}
        first = await mesh.call(method, path, body, headers=headers)
        again = await mesh.call(method, path, body, headers=headers)
        assert (first.status, first.json) == (200, again.json)


async def test_retries_that_come_at_once_make_one_version(mesh):
    answers = await asyncio.gather(
        *(mesh.call("PUT", KEY, {"value": "x"}, headers={"idempotency-key": "k"}) for _ in range(20))
    )
    assert {answer.status for answer in answers} == {200}
    assert {answer.json["version"] for answer in answers} == {1}
    assert (await mesh.call("GET", KEY)).json["version"] == 1


@pytest.mark.parametrize(
    ("method", "target", "body", "headers"),
    [
        ("PUT", KEY, {"value": "two"}, {}),
        ("PUT", "/api/v1/keys/b", {"value": "one"}, {}),
        ("PUT", f"{KEY}?user_id=x", {"value": "one"}, {}),
        ("PUT", KEY, {"value": "one"}, {"if-match": '"1"'}),
        ("DELETE", KEY, None, {}),
    ],
)
async def test_the_same_key_for_another_request_is_refused(mesh, method, target, body, headers):
    await mesh.call("PUT", KEY, {"value": "one"}, headers={"idempotency-key": "k"})
    answer = await mesh.call(method, target, body, headers={"idempotency-key": "k", **headers})
    assert (answer.status, answer.code) == (422, "idempotency_mismatch")


async def test_a_request_that_failed_is_tried_anew(mesh):
    headers = {"idempotency-key": "k", "if-match": '"1"'}
    assert (await mesh.call("PUT", KEY, {"value": "one"}, headers=headers)).code == "revision_conflict"
    await store(mesh, "zero")
    assert (await mesh.call("PUT", KEY, {"value": "one"}, headers=headers)).status == 200


async def test_a_key_belongs_to_its_account(mesh):
    bob = await mesh.user("bob")
    for call in (mesh.call, bob):
        assert (await call("PUT", KEY, {"value": "x"}, headers={"idempotency-key": "k"})).json["version"] == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a b"])
async def test_a_key_that_can_be_none_is_refused(mesh, key):
    answer = await mesh.call("PUT", KEY, {"value": "x"}, headers={"idempotency-key": key})
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_after_a_day_a_key_is_free_again(mesh, monkeypatch):
    from mesh_server.ids import now_us
    from mesh_server.vault import idempotency

    headers = {"idempotency-key": "k"}
    await mesh.call("PUT", KEY, {"value": "x"}, headers=headers)
    later = now_us() + idempotency.REMEMBERED_US + 1
    monkeypatch.setattr(idempotency, "now_us", lambda: later)
    assert (await mesh.call("PUT", KEY, {"value": "other"}, headers=headers)).json["version"] == 2
    monkeypatch.setattr(idempotency, "now_us", lambda: later + idempotency.REMEMBERED_US + 1)
    await mesh.services.vault.purge()

    async def left(tx):
        from sqlalchemy import select

        from mesh_server.vault.models import idempotency as table

        return await tx.all(select(table))

    from mesh_server.db.scope import ServerWork

    assert await mesh.services.database.read(left, ServerWork.VERIFY) == []
