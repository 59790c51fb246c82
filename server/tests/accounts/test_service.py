"""Who is calling: every credential that is not good is refused with its own reason, and nobody reaches another's."""

from datetime import UTC, datetime, timedelta

import pytest

from mesh_server.accounts import service, tokens
from mesh_server.accounts.models import EVERYDAY_SCOPES, SCOPES
from mesh_server.errors import (
    InvalidRequest,
    ScopeMissing,
    TokenExpired,
    TokenInvalid,
    TokenMissing,
    TokenNotFound,
    TokenRevoked,
)
from mesh_server.ids import microseconds, now_us

from ..conftest import everything_stored


@pytest.mark.parametrize(
    ("authorization", "x_api_key", "error"),
    [
        (None, None, TokenMissing),
        (b"", None, TokenMissing),
        (b"Bearer", None, TokenMissing),
        (b"Bearer   ", b" ", TokenMissing),
        (b"Basic dXNlcjpwYXNz", None, TokenInvalid),
        (b"mesh_without_a_scheme", None, TokenInvalid),
        (b"Bearer garbage", None, TokenInvalid),
        (b"Bearer mesh_" + b"a" * 38, None, TokenInvalid),
        (b"Bearer \xff\xfe", None, TokenInvalid),
        (None, b"garbage", TokenInvalid),
        (b"Bearer " + b"x" * 30_000, None, TokenInvalid),
    ],
)
async def test_what_is_no_credential_is_refused(parts, authorization, x_api_key, error):
    with pytest.raises(error) as caught:
        await parts.accounts.authenticate(authorization, x_api_key)
    assert "garbage" not in str(caught.value)


async def test_a_token_of_the_right_form_that_was_never_issued_is_refused(parts):
    with pytest.raises(TokenInvalid):
        await parts.accounts.authenticate(f"Bearer {tokens.make()}".encode(), None)


async def test_a_token_is_accepted_in_every_header_that_takes_one(parts):
    token = (await parts.token()).encode()
    by = [
        await parts.accounts.authenticate(b"Bearer " + token, None),
        await parts.accounts.authenticate(b"bearer  " + token, None),
        await parts.accounts.authenticate(b"ApiKey " + token, None),
        await parts.accounts.authenticate(None, token),
        await parts.accounts.authenticate(b"Bearer ", token),
    ]
    assert len({principal.token_id for principal in by}) == 1


async def test_an_expired_token_is_refused_also_where_it_is_warm(parts, monkeypatch):
    credential = f"Bearer {await parts.token(expires_at=datetime.now(UTC) + timedelta(hours=1))}".encode()
    await parts.accounts.authenticate(credential, None)
    later = now_us() + 3_600_000_001
    monkeypatch.setattr(service, "now_us", lambda: later)
    with pytest.raises(TokenExpired):
        await parts.accounts.authenticate(credential, None)


async def test_a_revoked_token_is_refused_at_once(parts):
    credential = f"Bearer {await parts.token()}".encode()
    principal = await parts.accounts.authenticate(credential, None)
    await parts.accounts.revoke_token(principal, principal.token_id)
    with pytest.raises(TokenRevoked):
        await parts.accounts.authenticate(credential, None)


async def test_revoking_once_more_is_the_same(parts):
    principal = await parts.principal()
    await parts.accounts.revoke_token(principal, principal.token_id)
    await parts.accounts.revoke_token(principal, principal.token_id)


async def test_nobody_revokes_or_sees_anothers_token(parts):
    ann, bob = await parts.principal("ann"), await parts.principal("bob")
    with pytest.raises(TokenNotFound):
        await parts.accounts.revoke_token(bob, ann.token_id)
    assert [token.id for token in await parts.accounts.list_tokens(bob)] == [bob.token_id]
    assert await parts.principal("ann")


async def test_a_token_without_admin_neither_makes_nor_revokes_others(parts):
    lesser = await parts.principal(scopes=EVERYDAY_SCOPES)
    other = await parts.principal(scopes=EVERYDAY_SCOPES)
    with pytest.raises(ScopeMissing, match="admin"):
        await parts.accounts.issue_token(lesser, name="x", scopes=None, expires_at=None)
    with pytest.raises(ScopeMissing, match="admin"):
        await parts.accounts.revoke_token(lesser, other.token_id)
    await parts.accounts.revoke_token(lesser, lesser.token_id)


async def test_nobody_hands_on_more_than_he_has(parts):
    admin = await parts.principal(scopes=frozenset({"admin", "chat"}))
    with pytest.raises(ScopeMissing, match="keys:read"):
        await parts.accounts.issue_token(admin, name="x", scopes=frozenset({"keys:read"}), expires_at=None)
    _, made = await parts.accounts.issue_token(admin, name="x", scopes=None, expires_at=None)
    assert made.scopes == {"chat"}


async def test_a_token_does_not_outlive_the_one_that_made_it(parts):
    until = datetime.now(UTC) + timedelta(days=1)
    admin = await parts.principal(expires_at=until)
    _, made = await parts.accounts.issue_token(admin, name="x", scopes=None, expires_at=None)
    assert made.expires_at == microseconds(until)
    with pytest.raises(InvalidRequest, match="expires_at"):
        await parts.accounts.issue_token(admin, name="x", scopes=None, expires_at=microseconds(until) + 1)


@pytest.mark.parametrize(
    "arguments",
    [
        {"scopes": frozenset()},
        {"scopes": frozenset({"root"})},
        {"expires_at": datetime.now(UTC) - timedelta(seconds=1)},
        {"name": "x" * 257},
        {"name": "a\nb"},
    ],
)
async def test_a_token_that_makes_no_sense_is_not_made(parts, arguments):
    account = await parts.accounts.ensure_user("default", "ann")
    with pytest.raises(InvalidRequest):
        await parts.accounts.create_token(account, **{"name": "x", **arguments})
    assert not await parts.accounts.has_any_token()


@pytest.mark.parametrize("name", ["", "   ", "a\tb", "x" * 257])
async def test_a_user_without_a_proper_name_is_not_made(parts, name):
    with pytest.raises(InvalidRequest):
        await parts.accounts.ensure_user("default", name)


async def test_an_account_is_made_once_for_a_name_and_a_tenant(parts):
    import asyncio

    made = await asyncio.gather(*(parts.accounts.ensure_user("default", "ann") for _ in range(50)))
    assert len({account.account_id for account in made}) == 1
    elsewhere = await parts.accounts.ensure_user("other", "ann")
    assert elsewhere.account_id != made[0].account_id


async def test_an_account_has_a_limit_of_tokens(parts, monkeypatch):
    monkeypatch.setattr(service, "MOST_TOKENS", 3)
    account = await parts.accounts.ensure_user("default", "ann")
    for _ in range(3):
        await parts.accounts.create_token(account, name="x")
    with pytest.raises(InvalidRequest, match="3 tokens"):
        await parts.accounts.create_token(account, name="x")


async def test_a_warm_token_costs_no_read(parts, monkeypatch):
    credential = f"Bearer {await parts.token()}".encode()
    first = await parts.accounts.authenticate(credential, None)

    async def no_read(_work, _on_behalf_of):
        raise AssertionError("the database was asked")

    monkeypatch.setattr(parts.database, "read", no_read)
    assert await parts.accounts.authenticate(credential, None) is first


async def test_a_token_revoked_while_it_is_looked_up_is_not_kept_warm(parts, monkeypatch):
    credential = f"Bearer {await parts.token()}".encode()
    read = parts.database.read

    async def then_revoked(work, on_behalf_of):
        row = await read(work, on_behalf_of)
        parts.accounts.forget()
        return row

    monkeypatch.setattr(parts.database, "read", then_revoked)
    await parts.accounts.authenticate(credential, None)
    assert not parts.accounts._warm


async def test_the_database_holds_no_token(parts, tmp_path, database_url):
    token = await parts.token()
    await parts.database.close()
    stored = await everything_stored(tmp_path, database_url)
    assert token.encode() not in stored
    assert token[13:].encode() not in stored


def test_the_scopes_are_those_of_the_contract():
    assert {"keys:read", "keys:write", "chat", "verify", "admin", "act-as"} == SCOPES
    assert {"keys:read", "keys:write", "chat", "verify"} == EVERYDAY_SCOPES
