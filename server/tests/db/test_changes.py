"""What is kept warm is forgotten when another process takes something away."""

from mesh_server.db.changes import Changes, bump
from mesh_server.db.scope import ServerWork


async def test_a_change_of_another_process_is_noticed(parts):
    calls = []
    changes = Changes(parts.database)
    changes.on_change(lambda: calls.append(1))
    await changes.poll()
    await changes.poll()
    seen = len(calls)
    await parts.database.write(bump, ServerWork.CHANGES)
    await changes.poll()
    assert len(calls) == seen + 1


async def test_while_the_counter_can_not_be_read_nothing_is_kept(parts, monkeypatch):
    from mesh_server.errors import DatabaseUnavailable

    calls = []
    changes = Changes(parts.database)
    changes.on_change(lambda: calls.append(1))

    async def unavailable(_work, _on_behalf_of):
        raise DatabaseUnavailable("gone")

    await changes.poll()
    monkeypatch.setattr(parts.database, "read", unavailable)
    before = len(calls)
    await changes.poll()
    await changes.poll()
    assert len(calls) == before + 2


async def test_a_revoked_token_is_refused_by_a_process_that_kept_it_warm(tmp_path, parts, database_url):
    from ..conftest import open_parts

    other = await open_parts(tmp_path, database_url)
    try:
        changes = Changes(other.database)
        changes.on_change(other.accounts.forget)
        await changes.poll()
        token = await parts.token()
        credential = f"Bearer {token}".encode()
        principal = await other.accounts.authenticate(credential, None)
        await parts.accounts.revoke_token(principal, principal.token_id)
        await changes.poll()
        import pytest

        from mesh_server.errors import TokenRevoked

        with pytest.raises(TokenRevoked):
            await other.accounts.authenticate(credential, None)
    finally:
        await other.database.close()


def signed(parts):
    """Return a watch over a sign, and what it was told."""
    told = []
    changes = Changes(parts.database)
    changes.on_sign(parts.audit.elsewhere, moved=lambda: told.append("moved"), still=told.append)
    return changes, told


async def event(parts):
    from mesh_server.audit.models import Operator

    async def work(tx):
        await parts.audit.record(tx, Operator("default", "x"), "key.stored", "a")

    await parts.database.write(work, ServerWork.AUDIT)


async def test_a_sign_tells_of_what_other_processes_did_and_of_nothing_else(tmp_path, parts, database_url):
    import time

    from ..conftest import open_parts

    other = await open_parts(tmp_path, database_url)
    try:
        changes, told = signed(parts)
        before = time.monotonic()
        await changes.poll()
        await changes.poll()
        await event(parts)
        await changes.poll()
        assert [told[0], *(before <= asked_at <= time.monotonic() for asked_at in told[1:])] == ["moved", True, True]
        await event(other)
        await changes.poll()
        assert told[-1] == "moved"
        await changes.poll()
        assert told[-1] != "moved"
    finally:
        await other.database.close()


async def test_a_sign_that_can_not_be_read_counts_as_moved(parts, monkeypatch):
    from mesh_server.errors import DatabaseUnavailable

    changes, told = signed(parts)
    await changes.poll()
    await changes.poll()
    with monkeypatch.context() as broken:

        async def unavailable(_work, _on_behalf_of):
            raise DatabaseUnavailable("gone")

        broken.setattr(parts.database, "read", unavailable)
        await changes.poll()
        assert told[-1] == "moved"
    await changes.poll()
    assert told[-1] == "moved"  # nothing is known of the time between
    await changes.poll()
    assert told[-1] != "moved"
