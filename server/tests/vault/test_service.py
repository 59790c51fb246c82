"""What the vault promises: nobody reaches another's keys, nothing is half written, a deletion can be taken back."""

import asyncio

import pytest
from sqlalchemy import update

from mesh_server.accounts.models import EVERYDAY_SCOPES
from mesh_server.errors import (
    InvalidRequest,
    KeyExists,
    KeyNotDeleted,
    KeyNotFound,
    KeyTooLarge,
    RevisionConflict,
    ScopeMissing,
    VaultDamaged,
)
from mesh_server.ids import now_us
from mesh_server.vault import checks, models, service, store
from mesh_server.vault.checks import Precondition
from mesh_server.vault.models import RESTORE_WINDOW_US, VERSIONS_KEPT, NewValue

from ..conftest import everything_stored
from .values import names, text


async def at(parts, monkeypatch, microseconds):
    """Move the vault's clock."""
    now = now_us() + microseconds
    for module in (service, store):
        monkeypatch.setattr(module, "now_us", lambda: now)


async def test_a_value_comes_back_as_it_was(parts):
    ann = await parts.principal()
    for name, value, is_text in (("a", "ä\n\0€".encode(), True), ("b", bytes(range(256)), False)):
        await parts.vault.put(ann, name, NewValue(value=value, is_text=is_text))
        opened = await parts.vault.get(ann, name)
        assert (opened.value, opened.is_text) == (value, is_text)
        assert "value" not in repr(opened)


@pytest.mark.parametrize(
    "name", ["a/b", "...", "a/..", " ", "ключ", "%", "_", "a" * 256, "\u00e9", "e\u0301", "😀" * 64]
)
async def test_any_name_is_a_name(parts, name):
    ann = await parts.principal()
    await parts.vault.put(ann, name, text())
    assert await names(parts, ann) == [name]
    assert (await parts.vault.get(ann, name)).record.name == name


@pytest.mark.parametrize("name", ["", ".", "..", "a" * 257, "😀" * 65, "a\0b", "\ud800"])
async def test_what_can_be_no_name_is_refused(parts, name):
    ann = await parts.principal()
    for call in (
        parts.vault.put(ann, name, text()),
        parts.vault.get(ann, name),
        parts.vault.delete(ann, name),
        parts.vault.restore(ann, name),
    ):
        with pytest.raises(InvalidRequest):
            await call


# --- isolation ---


async def test_anothers_key_is_not_there(parts):
    ann, bob = await parts.principal("ann"), await parts.principal("bob")
    await parts.vault.put(ann, "shared-name", text("ann's"))
    for call in (
        parts.vault.get(bob, "shared-name"),
        parts.vault.delete(bob, "shared-name"),
        parts.vault.restore(bob, "shared-name"),
    ):
        with pytest.raises(KeyNotFound):
            await call
    assert await names(parts, bob) == []
    assert await parts.vault.open_for_chat(bob, ["shared-name"]) is None
    await parts.vault.put(bob, "shared-name", text("bob's"))
    assert (await parts.vault.get(ann, "shared-name")).value == b"ann's"


async def test_a_namespace_is_part_of_a_keys_identity(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("plain"))
    await parts.vault.put(ann, "a", text("in x"), namespace="x")
    assert (await parts.vault.get(ann, "a")).value == b"plain"
    assert (await parts.vault.get(ann, "a", namespace="x")).value == b"in x"
    assert await names(parts, ann, namespace="x") == ["a"]
    await parts.vault.delete(ann, "a", namespace="x")
    assert await names(parts, ann) == ["a"]


async def test_a_namespace_never_reaches_another_account(parts):
    ann, bob = await parts.principal("ann"), await parts.principal("bob")
    await parts.vault.put(ann, "a", text())
    with pytest.raises(KeyNotFound):
        await parts.vault.get(bob, "a", namespace=ann.account_id)


async def test_a_row_moved_to_another_account_does_not_open(parts):
    ann, bob = await parts.principal("ann"), await parts.principal("bob")
    await parts.vault.put(ann, "a", text())

    async def move(tx):
        await tx.execute(update(models.keys).values(owner_id=bob.account_id))

    await parts.database.write(move, ann)
    with pytest.raises(VaultDamaged):
        await parts.vault.get(bob, "a")


async def test_blobs_swapped_between_versions_do_not_open(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("one"))
    await parts.vault.put(ann, "a", text("two"))

    async def roll_back(tx):
        await tx.execute(update(models.key_versions).values(version=models.key_versions.c.version + 2))
        await tx.execute(update(models.key_versions).where(models.key_versions.c.version == 3).values(version=2))

    await parts.database.write(roll_back, ann)
    with pytest.raises(VaultDamaged):
        await parts.vault.get(ann, "a")


# --- scopes ---


async def test_each_scope_lets_do_its_own_and_nothing_else(parts):
    everyone = await parts.principal()
    await parts.vault.put(everyone, "a", text())
    for scope in EVERYDAY_SCOPES:
        ann = await parts.principal(scopes=frozenset({scope}))
        calls = {
            "keys:write": [
                lambda: parts.vault.put(ann, "b", text()),
                lambda: parts.vault.delete(ann, "b"),
                lambda: parts.vault.restore(ann, "b"),
            ],
            "keys:read": [lambda: parts.vault.get(ann, "a"), lambda: parts.vault.list_keys(ann)],
            "chat": [lambda: parts.vault.open_for_chat(ann, ["a"])],
        }
        for needed, uses in calls.items():
            for use in uses:
                if needed == scope:
                    await use()
                else:
                    with pytest.raises(ScopeMissing, match=needed):
                        await use()


# --- versions and preconditions ---


async def test_each_change_has_its_own_revision(parts):
    ann = await parts.principal()
    revisions = [
        (await parts.vault.put(ann, "a", text())).rev,
        (await parts.vault.put(ann, "a", text())).rev,
        (await parts.vault.delete(ann, "a")) and (await parts.vault.restore(ann, "a")).rev,
    ]
    assert revisions == [1, 2, 4]
    assert (await parts.vault.get(ann, "a")).record.version == 2


async def test_only_one_of_many_who_expect_the_same_revision_wins(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("0"))
    expected = Precondition(revisions=frozenset({1}))
    results = await asyncio.gather(
        *(parts.vault.put(ann, "a", text(str(number)), precondition=expected) for number in range(1, 20)),
        return_exceptions=True,
    )
    assert sum(isinstance(result, RevisionConflict) for result in results) == 18
    winner = next(number for number, result in enumerate(results, 1) if not isinstance(result, Exception))
    opened = await parts.vault.get(ann, "a")
    assert (opened.value, opened.record.rev) == (str(winner).encode(), 2)


async def test_only_one_of_many_who_create_wins(parts):
    ann = await parts.principal()
    absent = Precondition(present=False)
    results = await asyncio.gather(
        *(parts.vault.put(ann, "a", text(), precondition=absent) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(result, KeyExists) for result in results) == 19


@pytest.mark.parametrize("precondition", [Precondition(revisions=frozenset({1})), Precondition(present=True)])
async def test_a_precondition_on_a_key_that_is_not_there_fails(parts, precondition):
    ann = await parts.principal()
    with pytest.raises(RevisionConflict):
        await parts.vault.put(ann, "a", text(), precondition=precondition)
    assert await names(parts, ann) == []


async def test_a_deletion_can_have_a_precondition(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text())
    with pytest.raises(RevisionConflict):
        await parts.vault.delete(ann, "a", precondition=Precondition(revisions=frozenset({7})))
    assert await names(parts, ann) == ["a"]


async def test_old_versions_are_destroyed_beyond_those_that_are_kept(parts):
    from sqlalchemy import select

    ann = await parts.principal()
    for number in range(VERSIONS_KEPT + 3):
        await parts.vault.put(ann, "a", text(str(number)))
    columns = models.key_versions.c

    async def look(tx):
        return await tx.all(select(columns.version, columns.blob, columns.wrapped_dek, columns.destroyed_at))

    rows = {row[0]: row[1:] for row in await parts.database.read(look, ann)}
    assert all(rows[version][:2] == (None, None) and rows[version][2] for version in (1, 2, 3))
    assert all(rows[version][0] and rows[version][2] is None for version in range(4, VERSIONS_KEPT + 4))


# --- deleting, restoring, expiring ---


async def test_a_deleted_key_is_gone_until_it_is_restored(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text(tags={"k": "v"}, note="n"))
    deleted = await parts.vault.delete(ann, "a")
    assert deleted.restorable_until - deleted.deleted_at == RESTORE_WINDOW_US
    for call in (parts.vault.get(ann, "a"), parts.vault.delete(ann, "a")):
        with pytest.raises(KeyNotFound):
            await call
    assert await names(parts, ann) == []
    assert await parts.vault.open_for_chat(ann, ["a"]) is None
    restored = await parts.vault.restore(ann, "a")
    assert (restored.tags, restored.note) == ({"k": "v"}, "n")
    assert (await parts.vault.get(ann, "a")).value == b"secret"


async def test_what_is_not_deleted_can_not_be_restored(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text())
    with pytest.raises(KeyNotDeleted):
        await parts.vault.restore(ann, "a")
    with pytest.raises(KeyNotFound):
        await parts.vault.restore(ann, "never")


async def test_after_its_window_a_deletion_is_final(parts, monkeypatch):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text(tags={"k": "v"}))
    await parts.vault.put(ann, "b", text())
    await parts.vault.delete(ann, "a")
    assert await parts.vault.purge() == 0
    await at(parts, monkeypatch, RESTORE_WINDOW_US)
    with pytest.raises(KeyNotFound):
        await parts.vault.restore(ann, "a")
    assert await parts.vault.purge() == 1

    async def left(tx):
        from sqlalchemy import select

        return [len(await tx.all(select(table))) for table in (models.keys, models.key_versions, models.key_tags)]

    assert await parts.database.read(left, ann) == [1, 1, 0]


async def test_a_new_value_under_a_deleted_name_begins_anew(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("old", tags={"k": "v"}, note="n"))
    await parts.vault.delete(ann, "a")
    made = await parts.vault.put(ann, "a", text("new"), precondition=Precondition(present=False))
    assert (made.tags, made.note, made.version) == ({}, None, 2)
    assert (await parts.vault.get(ann, "a")).value == b"new"


async def test_an_expired_key_is_not_there(parts, monkeypatch):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text(expires_at=now_us() + 1_000_000))
    assert await names(parts, ann) == ["a"]
    await at(parts, monkeypatch, 1_000_001)
    with pytest.raises(KeyNotFound):
        await parts.vault.get(ann, "a")
    assert await names(parts, ann) == []
    assert await parts.vault.open_for_chat(ann, ["a"]) is None


# --- limits ---


@pytest.mark.parametrize(
    "described",
    [
        {"tags": {"": "v"}},
        {"tags": {"a:b": "v"}},
        {"tags": {"k" * 65: "v"}},
        {"tags": {"k": "v" * 257}},
        {"tags": {"k": "\0"}},
        {"tags": {str(number): "v" for number in range(checks.MOST_TAGS + 1)}},
        {"note": "n" * (checks.MAX_NOTE_CHARS + 1)},
        {"note": "\0"},
        {"expires_at": 1},
    ],
)
async def test_what_is_beyond_a_limit_leaves_nothing(parts, described):
    ann = await parts.principal()
    with pytest.raises(InvalidRequest):
        await parts.vault.put(ann, "a", text(**described))
    assert await names(parts, ann) == []


async def test_the_largest_value_fits_and_one_byte_more_does_not(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", NewValue(value=bytes(65_536), is_text=False))
    with pytest.raises(KeyTooLarge):
        await parts.vault.put(ann, "a", NewValue(value=bytes(65_537), is_text=False))
    with pytest.raises(InvalidRequest, match="empty"):
        await parts.vault.put(ann, "a", text(""))
    assert len((await parts.vault.get(ann, "a")).value) == 65_536


# --- for chat ---


async def test_chat_gets_the_first_key_that_is_there(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "second", text("value"))
    await parts.vault.put(ann, "binary", NewValue(value=b"\xff", is_text=False))
    assert await parts.vault.open_for_chat(ann, ["first", "binary", "second"]) == (
        *("second", "value", ann.account_id, 1),
    )
    assert await parts.vault.open_for_chat(ann, []) is None


async def test_nothing_stored_is_in_the_database_in_clear(parts, tmp_path, database_url):
    ann = await parts.principal()
    needle = "needle-in-the-haystack"
    await parts.vault.put(ann, "a", text(needle))
    await parts.vault.get(ann, "a")
    await parts.database.close()
    assert needle.encode() not in await everything_stored(tmp_path, database_url)
