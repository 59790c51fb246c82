"""An issuer's keys: cached, rotated, asked for once by many, and good for a while without the issuer."""

import asyncio

import pytest
from joserfc.jwk import ECKey

from mesh_server.accounts.oidc import keys as keys_module
from mesh_server.accounts.oidc.fetch import Fetcher
from mesh_server.accounts.oidc.keys import KEYS_LIVE_S, KEYS_SERVE_S, read_keys
from mesh_server.errors import IssuerUnavailable, TokenSignature

from .issuer import EC, RSA

NEW = ECKey.generate_key("P-256", parameters={"kid": "new"})


async def test_keys_are_fetched_once_in_ten_minutes(logins, clock):
    for serial in range(5):
        await logins.enter(logins.issuer.token(jti=str(serial)))
    assert (logins.issuer.fetches(), logins.issuer.fetches("/.well-known/openid-configuration")) == (1, 1)
    clock(KEYS_LIVE_S + 1)
    await logins.enter(logins.issuer.token(jti="later"))
    assert logins.issuer.fetches() == 2


async def test_a_verified_token_is_not_verified_again(logins, monkeypatch):
    token = logins.issuer.token()
    first = await logins.enter(token)

    async def never(_token):
        raise AssertionError("verified again")

    monkeypatch.setattr(logins.accounts.issuers, "verify", never)
    assert await logins.enter(token) is first


async def test_many_first_requests_make_one_fetch(logins):
    logins.issuer.delay_s = 0.1
    await asyncio.gather(*(logins.enter(logins.issuer.token(jti=str(serial))) for serial in range(40)))
    assert logins.issuer.fetches() == 1


async def test_a_new_key_is_found_after_30_seconds_at_most(logins, clock):
    await logins.enter(logins.issuer.token())
    logins.issuer.keys = [NEW, RSA]
    with pytest.raises(TokenSignature):
        await logins.enter(logins.issuer.token(key=NEW))
    assert logins.issuer.fetches() == 1
    clock(31)
    await logins.enter(logins.issuer.token(key=NEW))
    assert logins.issuer.fetches() == 2
    await logins.enter(logins.issuer.token(jti="old"))


async def test_many_unknown_keys_make_one_fetch(logins, clock):
    await logins.enter(logins.issuer.token())
    clock(31)
    logins.issuer.delay_s = 0.05
    stranger = ECKey.generate_key("P-256")
    forged = [logins.issuer.token(key=stranger, header={"kid": f"k{serial}"}, jti=str(serial)) for serial in range(30)]
    refused = await asyncio.gather(*(logins.enter(token) for token in forged), return_exceptions=True)
    assert {type(problem) for problem in refused} == {TokenSignature}
    assert logins.issuer.fetches() == 2


async def test_a_key_that_is_gone_verifies_nothing_more(logins, clock):
    await logins.enter(logins.issuer.token())
    logins.issuer.keys = [EC]
    clock(KEYS_LIVE_S + 1)
    with pytest.raises(TokenSignature):
        await logins.enter(logins.issuer.token(jti="new"))


@pytest.mark.parametrize("status", [500, 302, 404])
async def test_known_keys_serve_while_the_issuer_is_down(logins, clock, status):
    await logins.enter(logins.issuer.token())
    logins.issuer.status = status
    clock(KEYS_LIVE_S + 1)
    await logins.enter(logins.issuer.token(jti="during"))
    asked = len(logins.issuer.asked)
    for serial in range(20):
        await logins.enter(logins.issuer.token(jti=str(serial)))
    assert len(logins.issuer.asked) == asked  # it is not asked again at once
    logins.issuer.status = 200
    clock(keys_module.MOST_WAIT_S)
    await logins.enter(logins.issuer.token(jti="after"))
    assert len(logins.issuer.asked) == asked + 2


async def test_known_keys_do_not_serve_for_ever(logins, clock):
    await logins.enter(logins.issuer.token())
    logins.issuer.status = 500
    clock(KEYS_SERVE_S + 1)
    with pytest.raises(IssuerUnavailable):
        await logins.enter(logins.issuer.token(jti="x"))


async def test_an_issuer_that_was_never_reached_is_503_with_a_time_to_come_back(logins):
    logins.issuer.status = 500
    with pytest.raises(IssuerUnavailable) as caught:
        await logins.enter(logins.issuer.token())
    assert caught.value.status == 503
    assert 1 <= caught.value.retry_after <= keys_module.MOST_WAIT_S
    asked = len(logins.issuer.asked)
    with pytest.raises(IssuerUnavailable):
        await logins.enter(logins.issuer.token())
    assert len(logins.issuer.asked) == asked


async def test_an_outage_of_days_is_still_503(logins, clock):
    logins.issuer.status = 500
    logins.accounts.issuers.keys(logins.issuer.configuration)._failures = 10_000
    with pytest.raises(IssuerUnavailable) as caught:
        await logins.enter(logins.issuer.token())
    assert caught.value.retry_after <= keys_module.MOST_WAIT_S


async def test_an_issuer_that_comes_up_later_is_found(logins, clock):
    logins.issuer.status = 500
    with pytest.raises(IssuerUnavailable):
        await logins.enter(logins.issuer.token())
    logins.issuer.status = 200
    clock(keys_module.MOST_WAIT_S)
    await logins.enter(logins.issuer.token())


@pytest.mark.parametrize(
    "change",
    [
        {"document": {"issuer": "https://evil.example"}},
        {"document": {"issuer": None}},
        {"document": {"jwks_uri": "ftp://127.0.0.1/jwks"}},
        {"document": {"jwks_uri": None}},
        {"document": {"jwks_uri": 5}},
        {"document": {"jwks_uri": "http://[::1"}},
        {"document": {"jwks_uri": "http://127.0.0.1:99999/"}},
        {"document": {"jwks_uri": "https://exa mple/jwks"}},
        {"document": {"jwks_uri": "https://"}},
        {"document": {"token_endpoint": "javascript:x"}},
        {"padding": 300_000},
        {"keys": []},
        {"keys": [{"kty": "oct", "k": "AAAA", "kid": "rsa"}]},
    ],
)
async def test_documents_that_are_not_an_issuers_are_not_believed(logins, change):
    for name, value in change.items():
        setattr(logins.issuer, name, value)
    with pytest.raises(IssuerUnavailable):
        await logins.enter(logins.issuer.token())


async def test_a_redirect_is_not_followed(logins):
    logins.issuer.status, logins.issuer.headers = 302, {"location": f"{logins.issuer.url}/elsewhere"}
    with pytest.raises(IssuerUnavailable):
        await logins.enter(logins.issuer.token())
    assert "/elsewhere" not in logins.issuer.asked


async def test_an_issuer_that_does_not_answer_does_not_hold_a_request(issuer):
    issuer.delay_s = 5
    fetcher = Fetcher(timeout_s=0.2)
    with pytest.raises(IssuerUnavailable, match="no answer within"):
        await fetcher.get(f"{issuer.url}/jwks")
    await fetcher.close()


async def test_a_caller_that_hangs_up_does_not_end_the_fetch_of_others(logins):
    logins.issuer.delay_s = 0.1
    first = asyncio.create_task(logins.enter(logins.issuer.token(jti="1")))
    second = asyncio.create_task(logins.enter(logins.issuer.token(jti="2")))
    await asyncio.sleep(0.05)
    first.cancel()
    assert await second
    assert logins.issuer.fetches() == 1


@pytest.mark.parametrize(
    "entry",
    [
        5,
        {"kty": "RSA", "kid": "x"},
        {"kty": "RSA", "n": 5, "e": "AQAB"},
        {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "EC", "crv": "P-384", "x": "AA", "y": "AA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {**EC.as_dict(private=False), "use": "enc"},
        {**EC.as_dict(private=False), "alg": "ES384"},
        {**EC.as_dict(private=False), "kid": 5},
    ],
)
def test_keys_of_no_use_are_passed_over(entry):
    found = read_keys({"keys": [entry, RSA.as_dict(private=False)]})
    assert [name for _, name, _ in found] == ["rsa"]
