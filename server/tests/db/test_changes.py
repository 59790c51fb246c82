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
