"""The accounts of logins: one for an identity, none for an e-mail address, and none that sees another's."""

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from mesh_server.accounts.models import EVERYDAY_SCOPES
from mesh_server.accounts.oidc.issuers import Issuers
from mesh_server.accounts.oidc.models import Issuer, SignedClaims
from mesh_server.accounts.service import Accounts
from mesh_server.db.scope import Tenant
from mesh_server.errors import KeyNotFound, ScopeMissing, TokenNotFound
from mesh_server.ids import microseconds, now_us
from mesh_server.vault.models import NewValue

from .issuer import issuing


def claims(subject: str = "auth0|ann", email: str | None = None, tenant: str = "default") -> SignedClaims:
    issuer = Issuer(url="https://issuer.example/", client_id="c", client_secret=None, audience="a", tenant=tenant)
    return SignedClaims(issuer=issuer, issuer_id=issuer.url, subject=subject, email=email, expires_at=0)


async def test_50_first_requests_at_once_make_one_account(logins, parts):
    entered = await asyncio.gather(*(logins.enter(logins.issuer.token(jti=str(serial))) for serial in range(50)))
    assert len({principal.account_id for principal in entered}) == 1

    async def count(tx):
        from sqlalchemy import text

        return await tx.one(text("SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM identities)"))

    assert tuple(await parts.database.read(count, Tenant("default"))) == (1, 1)


REGISTER = """
import asyncio, hashlib, sys
from mesh_server.accounts.identities import Identities
from mesh_server.accounts.oidc.models import Issuer, SignedClaims
from mesh_server.audit.service import Audit
from mesh_server.db.engine import Database

async def work():
    database = await Database.open(sys.argv[1])
    hashing = lambda data: hashlib.sha256(data).digest()
    known = Identities(database, Audit(database, hashing, hashing, None), hashing)
    issuer = Issuer(url="https://i.example/", client_id="c", client_secret=None, audience="a", tenant="default")
    claims = SignedClaims(issuer=issuer, issuer_id=issuer.url, subject="ann", email=None, expires_at=0)
    print("ready", flush=True)
    sys.stdin.readline()
    made = await asyncio.gather(*(known.account_of(claims) for _ in range(13)))
    print(*{account.account_id for account, _ in made})
    await database.close()

asyncio.run(work())
"""


async def test_processes_that_register_at_once_make_one_account(parts, database_url):
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", REGISTER, database_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("go\n")
            worker.stdin.flush()
        accounts = [worker.communicate(timeout=60)[0].split() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()
    assert [worker.returncode for worker in workers] == [0] * 4
    assert len({account for found in accounts for account in found}) == 1


async def test_the_same_address_of_two_subjects_is_two_accounts(parts):
    ann, _ = await parts.accounts.identities.account_of(claims("auth0|ann", "ann@example.org"))
    eve, _ = await parts.accounts.identities.account_of(claims("auth0|eve", "ann@example.org"))
    assert ann != eve


async def test_an_address_is_kept_and_follows_the_issuer(parts):
    account, email = await parts.accounts.identities.account_of(claims(email="ann@example.org"))
    assert email == "ann@example.org"
    assert await parts.accounts.identities.account_of(claims(email=None)) == (account, "ann@example.org")
    assert await parts.accounts.identities.account_of(claims(email="ann@new.example")) == (
        account,
        "ann@new.example",
    )
    assert await parts.accounts.identities.account_of(claims()) == (account, "ann@new.example")


@pytest.mark.parametrize("value", [5, "no-address", "a@b\n", "a@" + "b" * 400])
async def test_what_is_no_address_is_not_kept(logins, value):
    assert (await logins.enter(logins.issuer.token(email=value))).email is None


async def test_a_custom_claim_can_hold_the_address(logins):
    principal = await logins.enter(logins.issuer.token(**{"https://mesh.example/email": "ann@example.org"}))
    assert principal.email == "ann@example.org"


async def test_the_same_subject_of_two_issuers_is_two_accounts_in_their_tenants(parts):
    async with issuing() as one, issuing() as other:
        issuers = Issuers([one.configured(tenant="a"), other.configured(tenant="b")])
        accounts = Accounts(parts.database, parts.keyring.hasher("api-tokens"), parts.audit, issuers)
        ann = await accounts.authenticate(f"Bearer {one.token()}".encode(), None)
        bob = await accounts.authenticate(f"Bearer {other.token()}".encode(), None)
        await issuers.close()
    assert (ann.tenant_id, bob.tenant_id) == ("a", "b")
    assert ann.account_id != bob.account_id
    await parts.vault.put(ann, "k", NewValue(value=b"hers", is_text=True))
    with pytest.raises(KeyNotFound):
        await parts.vault.get(bob, "k")
    token, made = await accounts.issue_token(ann, name="x", scopes=None, expires_at=None)
    assert await accounts.list_tokens(bob) == []
    with pytest.raises(TokenNotFound):
        await accounts.revoke_token(bob, made.id)
    assert (await accounts.authenticate(f"Bearer {token}".encode(), None)).tenant_id == "a"


async def test_a_token_of_one_issuer_signed_by_the_other_is_refused(parts):
    from mesh_server.errors import TokenSignature

    from .issuer import OTHER_RSA

    async with issuing() as one, issuing() as other:
        other.keys = [OTHER_RSA]
        issuers = Issuers([one.configuration, other.configuration])
        accounts = Accounts(parts.database, parts.keyring.hasher("api-tokens"), parts.audit, issuers)
        with pytest.raises(TokenSignature):
            await accounts.authenticate(f"Bearer {one.token(key=OTHER_RSA)}".encode(), None)
        await issuers.close()


async def test_only_a_named_subject_is_an_admin(parts, issuer):
    issuers = Issuers([issuer.configured(admins=frozenset({"auth0|boss"}))])
    accounts = Accounts(parts.database, parts.keyring.hasher("api-tokens"), parts.audit, issuers)
    boss = await accounts.authenticate(f"Bearer {issuer.token(sub='auth0|boss')}".encode(), None)
    ann = await accounts.authenticate(f"Bearer {issuer.token(scope='admin', permissions=['admin'])}".encode(), None)
    await issuers.close()
    assert boss.scopes == EVERYDAY_SCOPES | {"admin"}
    assert ann.scopes == EVERYDAY_SCOPES


async def test_a_login_makes_tokens_that_outlive_it_within_its_scopes(logins):
    ann = await logins.enter(logins.issuer.token())
    until = microseconds(datetime.now(UTC) + timedelta(days=300))
    _, made = await logins.accounts.issue_token(ann, name="ci", scopes=frozenset({"chat"}), expires_at=until)
    assert made.expires_at == until > ann.expires_at
    _, made = await logins.accounts.issue_token(ann, name="ci", scopes=None, expires_at=None)
    assert 89 < (made.expires_at - now_us()) / 86_400e6 < 91
    with pytest.raises(ScopeMissing):
        await logins.accounts.issue_token(ann, name="ci", scopes=frozenset({"admin"}), expires_at=None)


async def test_a_login_ends_with_its_token_also_where_it_is_warm(logins, monkeypatch):
    from mesh_server.accounts import service
    from mesh_server.errors import TokenExpired

    token = logins.issuer.token()
    ann = await logins.enter(token)
    monkeypatch.setattr(service, "now_us", lambda: ann.expires_at)
    with pytest.raises(TokenExpired):
        await logins.enter(token)
