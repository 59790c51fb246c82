"""Keys kept ready for calls: for as long as nobody changes anything, and never for longer than the truth."""

import time

import pytest

from mesh_server.db.changes import Changes
from mesh_server.errors import DatabaseUnavailable, VaultDamaged
from mesh_server.vault import crypto, warm
from mesh_server.vault.grants import NewGrant

from ..conftest import open_parts
from .values import text


async def opened(parts, principal, names, **more):
    """Return name and value of what is opened; None where nothing is."""
    found = await parts.vault.open_for_chat(principal, names, **more)
    return None if found is None else (found.name, found.value)


@pytest.fixture
async def other(tmp_path, parts, database_url):
    """Another process on the same database."""
    made = await open_parts(tmp_path, database_url)
    yield made
    await made.database.close()


@pytest.fixture
async def watched(parts):
    """This process's watch over what others change, looked at by hand."""
    changes = Changes(parts.database)
    changes.on_change(parts.vault.forget)
    changes.on_sign(parts.audit.elsewhere, moved=parts.vault.forget, still=parts.vault.confirm)
    await changes.poll()
    return changes


@pytest.fixture
def reads(parts, monkeypatch):
    """What was read from the database."""
    seen, read = [], parts.database.read

    async def noting(work, on_behalf_of):
        seen.append(work)
        return await read(work, on_behalf_of)

    monkeypatch.setattr(parts.database, "read", noting)
    return seen


@pytest.fixture
def later(monkeypatch):
    """Move the clock that the kept keys are judged by."""
    ahead = [0.0]
    monotonic = time.monotonic

    class Clock:
        @staticmethod
        def monotonic():
            return monotonic() + ahead[0]

    monkeypatch.setattr(warm, "time", Clock)

    def move(seconds):
        ahead[0] += seconds
        return Clock.monotonic()

    return move


async def test_a_key_is_kept_while_nobody_changes_anything(parts, watched, reads, later):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("one"))
    for _ in range(5):
        assert await opened(parts, ann, ["a"]) == ("a", "one")
        parts.vault.confirm(later(1.5))
    assert len([work for work in reads if "look" in work.__name__]) == 1


async def test_without_a_confirmation_it_is_read_again_after_a_second(parts, reads, later):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("one"))
    for _ in range(3):
        await parts.vault.open_for_chat(ann, ["a"])
        later(warm.KEEP_S + 0.1)
    assert len([work for work in reads if "look" in work.__name__]) == 3


@pytest.mark.parametrize("how", ["put", "delete", "roll back"])
async def test_what_another_process_changes_is_noticed_by_the_next_look(parts, other, watched, how):
    ann = await parts.principal()
    for value in ("one", "two"):
        await parts.vault.put(ann, "a", text(value))
    await watched.poll()
    assert await opened(parts, ann, ["a"]) == ("a", "two")
    await watched.poll()
    if how == "put":
        await other.vault.put(ann, "a", text("three"))
    elif how == "delete":
        await other.vault.delete(ann, "a")
    else:
        await other.vault.history.roll_back(ann, "a", 1)
    await watched.poll()
    expected = {"put": ("a", "three"), "delete": None, "roll back": ("a", "one")}
    assert await opened(parts, ann, ["a"]) == expected[how]


async def test_a_change_of_this_process_counts_at_once(parts, watched):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("one"))
    assert await opened(parts, ann, ["a"]) == ("a", "one")
    await parts.vault.put(ann, "a", text("two"))
    assert await opened(parts, ann, ["a"]) == ("a", "two")


async def test_a_better_name_that_another_process_stores_is_found(parts, other, watched):
    ann = await parts.principal()
    await parts.vault.put(ann, "second", text("2"))
    assert await opened(parts, ann, ["first", "second"]) == ("second", "2")
    await other.vault.put(ann, "first", text("1"))
    await watched.poll()
    assert await opened(parts, ann, ["first", "second"]) == ("first", "1")


async def test_a_shared_key_is_not_kept_beyond_its_second(parts, watched, reads, later):
    ann, bob = await parts.principal("ann"), await parts.principal("bob")
    await parts.vault.put(ann, "a", text("one"))
    await parts.vault.grants.give(ann, NewGrant(pattern="a", grantee=bob.account_id, actions=frozenset({"chat"})))
    for _ in range(3):
        assert await opened(parts, bob, ["a"], owner=ann.account_id) == ("a", "one")
        parts.vault.confirm(later(warm.KEEP_S + 0.1))
    assert len([work for work in reads if "look" in work.__name__]) == 3


async def test_a_grant_that_another_process_takes_away_ends_the_use(parts, other, watched):
    ann, bob = await parts.principal("ann"), await parts.principal("bob")
    await parts.vault.put(ann, "a", text("one"))
    grant = NewGrant(pattern="a", grantee=bob.account_id, actions=frozenset({"chat"}))
    given = await parts.vault.grants.give(ann, grant)
    assert await opened(parts, bob, ["a"], owner=ann.account_id) == ("a", "one")
    await other.vault.grants.revoke(ann, given.id)
    await watched.poll()
    assert await parts.vault.open_for_chat(bob, ["a"], owner=ann.account_id) is None


async def test_an_expiry_counts_also_where_the_key_is_kept(parts, watched, monkeypatch):
    from mesh_server.ids import now_us

    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("one", expires_at=now_us() + 60_000_000))
    assert await opened(parts, ann, ["a"]) == ("a", "one")
    for module in ("warm", "service", "store"):
        monkeypatch.setattr(f"mesh_server.vault.{module}.now_us", lambda: now_us() + 61_000_000)
    assert await parts.vault.open_for_chat(ann, ["a"]) is None


async def test_while_the_database_can_not_be_read_nothing_is_confirmed(parts, watched, monkeypatch):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("one"))
    await parts.vault.open_for_chat(ann, ["a"])

    async def unavailable(_work, _on_behalf_of):
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(parts.database, "read", unavailable)
    await watched.poll()
    with pytest.raises(DatabaseUnavailable):
        await parts.vault.open_for_chat(ann, ["a"])


async def test_what_is_not_used_is_dropped(parts, watched, later):
    ann = await parts.principal()
    await parts.vault.put(ann, "a", text("one"))
    await parts.vault.open_for_chat(ann, ["a"])
    parts.vault.confirm(later(warm.UNUSED_S - 5))
    assert len(parts.vault._warm._kept) == 1
    parts.vault.confirm(later(10))
    assert not parts.vault._warm._kept


PLACE = crypto.Place(tenant="t", owner="o", object_id="k", version=1, purpose="value")


def test_a_blob_that_is_ready_opens_again_and_again_and_shows_nothing():
    ready = crypto.make_ready(bytes(32), crypto.seal(bytes(32), bytes(16), b"a secret", PLACE), PLACE)
    assert [ready.open(), ready.open()] == [b"a secret"] * 2
    assert "secret" not in repr(ready)
    assert not hasattr(ready, "__dict__")


def test_a_blob_of_another_key_is_never_ready():
    with pytest.raises(VaultDamaged):
        crypto.make_ready(b"x" * 32, crypto.seal(bytes(32), bytes(16), b"a secret", PLACE), PLACE)


def test_a_blob_that_was_changed_or_moved_does_not_open():
    blob = crypto.seal(bytes(32), bytes(16), b"a secret", PLACE)
    moved = crypto.Place(tenant="t", owner="eve", object_id="k", version=1, purpose="value")
    for ready in (crypto.make_ready(bytes(32), blob[:-1] + b"x", PLACE), crypto.make_ready(bytes(32), blob, moved)):
        with pytest.raises(VaultDamaged):
            ready.open()
