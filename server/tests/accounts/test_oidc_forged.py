"""Tokens that must not get in, each refused with its own reason, and none at the cost of more than one fetch."""

import base64
import hmac
import json
import logging
import time
import warnings

import pytest
from joserfc.jwk import ECKey, RSAKey

from mesh_protocol.codes import CODES
from mesh_server.errors import (
    TokenAlgorithm,
    TokenExpired,
    TokenInvalid,
    TokenIsIdToken,
    TokenMalformed,
    TokenNotYetValid,
    TokenOpaque,
    TokenSignature,
    TokenWrongAudience,
    TokenWrongIssuer,
)

from .issuer import AUDIENCE, CLIENT, EC, OTHER_RSA, RSA, sign

STRANGER = ECKey.generate_key("P-256", parameters={"kid": "stranger"})


def b64(value: object) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).decode().rstrip("=")


def resigned(issuer, header: dict) -> str:
    return sign({"alg": "RS256", "kid": "rsa", **header}, issuer.claims(), RSA)


def with_payload(issuer, payload: bytes) -> str:
    from joserfc import jws

    return jws.serialize_compact({"alg": "RS256", "kid": "rsa"}, payload, RSA)


def by_public_key(issuer) -> str:
    signed = f"{b64({'alg': 'HS256', 'kid': 'rsa'})}.{b64(issuer.claims())}"
    return f"{signed}.{b64(hmac.digest(RSA.as_pem(private=False), signed.encode(), 'sha256'))}"


def cut(token: str) -> str:
    head, payload, signature = token.split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    return f"{head}.{b64(claims | {'sub': 'auth0|eve'})}.{signature}"


FORGED = {
    "alg none": (lambda i: f"{b64({'alg': 'none'})}.{b64(i.claims())}.", TokenAlgorithm),
    "alg none with a signature": (lambda i: f"{b64({'alg': 'none'})}.{b64(i.claims())}.AAAA", TokenAlgorithm),
    "no alg": (lambda i: f"{b64({'kid': 'rsa'})}.{b64(i.claims())}.AAAA", TokenAlgorithm),
    "HS256 with the public key": (by_public_key, TokenAlgorithm),
    "another algorithm": (lambda i: f"{b64({'alg': 'PS256', 'kid': 'rsa'})}.{b64(i.claims())}.AAAA", TokenAlgorithm),
    "the wrong algorithm for the key": (
        lambda i: f"{b64({'alg': 'ES256', 'kid': 'rsa'})}.{b64(i.claims())}.{b64(bytes(64))}",
        TokenSignature,
    ),
    "unknown key": (lambda i: i.token(key=STRANGER), TokenSignature),
    "another's key under a known name": (lambda i: i.token(key=OTHER_RSA), TokenSignature),
    "changed content": (lambda i: cut(i.token()), TokenSignature),
    "signature cut off": (lambda i: i.token()[:-4], TokenSignature),
    "key brought along (jwk)": (
        lambda i: sign({"alg": "ES256", "kid": "ec", "jwk": STRANGER.as_dict(private=False)}, i.claims(), STRANGER),
        TokenSignature,
    ),
    "key brought along (jku)": (
        lambda i: sign({"alg": "ES256", "kid": "mine", "jku": "https://evil.example/jwks"}, i.claims(), STRANGER),
        TokenSignature,
    ),
    "critical extension": (
        lambda i: f"{b64({'alg': 'RS256', 'kid': 'rsa', 'crit': ['b64'], 'b64': False})}.{b64(i.claims())}.AAAA",
        TokenInvalid,
    ),
    "wrong issuer": (lambda i: i.token(iss="https://evil.example/"), TokenWrongIssuer),
    "issuer with a slash too many": (lambda i: i.token(iss=f"{i.url}/"), TokenWrongIssuer),
    "issuer in a list": (lambda i: i.token(iss=[i.url]), TokenInvalid),
    "no issuer": (lambda i: i.token(iss=None), TokenInvalid),
    "wrong audience": (lambda i: i.token(aud="another-api"), TokenWrongAudience),
    "audience that only begins right": (lambda i: i.token(aud=f"{AUDIENCE}/evil"), TokenWrongAudience),
    "no audience": (lambda i: i.token(aud=None), TokenWrongAudience),
    "audience of odd things": (lambda i: i.token(aud=[5, None, {}]), TokenWrongAudience),
    "ID token": (lambda i: i.token(aud=CLIENT, scope=None), TokenIsIdToken),
    "ID token with a nonce": (lambda i: i.token(nonce="n"), TokenIsIdToken),
    "ID token with at_hash": (lambda i: i.token(at_hash="h"), TokenIsIdToken),
    "ID token of Keycloak": (lambda i: i.token(typ="ID"), TokenIsIdToken),
    "ID token of Cognito": (lambda i: i.token(token_use="id"), TokenIsIdToken),
    "refresh token": (lambda i: i.token(token_use="refresh"), TokenInvalid),
    "logout token": (lambda i: i.token(events={}), TokenInvalid),
    "another type": (lambda i: resigned(i, {"typ": "logout+jwt"}), TokenInvalid),
    "type that is no text": (lambda i: resigned(i, {"typ": "x" * 9}), TokenInvalid),
    "expired": (lambda i: i.token(exp=int(time.time()) - 61), TokenExpired),
    "no expiry": (lambda i: i.token(exp=None), TokenInvalid),
    "expiry as text": (lambda i: i.token(exp="2099"), TokenInvalid),
    "expiry as truth": (lambda i: i.token(exp=True), TokenInvalid),
    "expiry without end": (lambda i: i.token(exp=1e300), TokenInvalid),
    "not yet valid": (lambda i: i.token(nbf=int(time.time()) + 70), TokenNotYetValid),
    "issued in the future": (lambda i: i.token(iat=int(time.time()) + 300), TokenNotYetValid),
    "no subject": (lambda i: i.token(sub=None), TokenInvalid),
    "empty subject": (lambda i: i.token(sub=" "), TokenInvalid),
    "subject as a number": (lambda i: i.token(sub=5), TokenInvalid),
    "subject with a line break": (lambda i: i.token(sub="a\nb"), TokenInvalid),
    "endless subject": (lambda i: i.token(sub="a" * 256), TokenInvalid),
    "a claim twice": (
        lambda i: with_payload(i, json.dumps(i.claims()).encode()[:-1] + b', "sub": "auth0|eve"}'),
        TokenMalformed,
    ),
    "not a number": (lambda i: with_payload(i, json.dumps(i.claims()).encode()[:-1] + b', "x": NaN}'), TokenMalformed),
    "claims that are a list": (lambda i: with_payload(i, b"[]"), TokenMalformed),
    "claims nested too deep": (lambda i: with_payload(i, b'{"a":' + b"[" * 5000 + b"]" * 5000 + b"}"), TokenMalformed),
    "claims that are no JSON": (lambda i: with_payload(i, b"\xff"), TokenMalformed),
    "1 MiB": (lambda i: i.token(padding="x" * 1024 * 1024), TokenMalformed),
    "two parts": (lambda _: "a.b", TokenMalformed),
    "four parts": (lambda i: f"{i.token()}.x", TokenMalformed),
    "encrypted": (lambda _: "a.b.c.d.e", TokenInvalid),
    "padding": (lambda i: i.token().replace(".", "=.", 1), TokenMalformed),
    "other letters": (lambda i: "é" + i.token(), TokenMalformed),
    "opaque": (lambda _: "V1StGXR8_Z5jdHi6B-myT", TokenOpaque),
}


@pytest.mark.parametrize("name", FORGED)
async def test_a_forged_token_is_refused_with_its_reason(logins, name):
    make, error = FORGED[name]
    token = make(logins.issuer)
    with pytest.raises(TokenInvalid) as caught:
        await logins.enter(token)
    assert type(caught.value) is error
    assert logins.issuer.fetches() <= 1
    assert caught.value.status == 401
    assert any(part in json.dumps(caught.value.details) for part in ("jwt malformed", "invalid token", "expired"))
    assert not logins.accounts._warm


async def test_all_forgeries_together_cost_one_fetch(logins, clock):
    await logins.enter(logins.issuer.token())
    tokens = [make(logins.issuer) for make, _ in FORGED.values()]
    for _ in range(3):
        for token in tokens:
            with pytest.raises(TokenInvalid):
                await logins.enter(token)
    assert logins.issuer.fetches() == 1  # the first one: the 30 s since then are not over
    clock(31)
    for token in tokens:
        with pytest.raises(TokenInvalid):
            await logins.enter(token)
    assert logins.issuer.fetches() == 2


@pytest.mark.parametrize("key", [RSA, EC])
@pytest.mark.parametrize("header", [{}, {"typ": "at+jwt"}, {"typ": "application/at+jwt"}, {"x5t": "x", "odd": 1}])
async def test_a_good_token_gets_in(logins, key, header):
    principal = await logins.enter(logins.issuer.token(key=key, header=header))
    assert principal.token_id is None
    assert "chat" in principal.scopes
    assert "admin" not in principal.scopes


async def test_a_token_that_says_it_is_an_access_token_may_have_a_nonce(logins):
    await logins.enter(logins.issuer.token(header={"typ": "at+jwt"}, nonce="n"))


async def test_a_key_without_a_name_is_found(logins):
    logins.issuer.keys = [{k: v for k, v in RSA.as_dict(private=False).items() if k != "kid"}]
    await logins.enter(sign({"alg": "RS256"}, logins.issuer.claims(), RSA))


async def test_a_short_rsa_key_verifies_nothing(logins):
    with warnings.catch_warnings(action="ignore"):
        short = RSAKey.generate_key(1024, parameters={"kid": "short"})
    logins.issuer.keys = [EC, short]
    with pytest.raises(TokenSignature):
        await logins.enter(logins.issuer.token(key=short))


@pytest.mark.parametrize("off", [-50, 50])
async def test_a_clock_off_by_50_s_is_accepted(logins, off):
    now = int(time.time()) + off
    await logins.enter(logins.issuer.token(iat=now, nbf=now, exp=now + 51))


async def test_a_clock_that_is_5_min_behind_is_named(logins):
    now = int(time.time()) + 300
    with pytest.raises(
        TokenNotYetValid, match=r"5 min in the future.*the clock of this server or of the issuer is wrong"
    ):
        await logins.enter(logins.issuer.token(iat=now, exp=now + 3600))


async def test_a_clock_that_is_5_min_ahead_is_named_by_the_issuers_own_time(logins):
    from email.utils import formatdate

    logins.issuer.headers["date"] = formatdate(time.time() - 300, usegmt=True)
    with pytest.raises(TokenExpired, match=r"This server's clock is about (5 min|299 s|300 s) ahead of the issuer's"):
        await logins.enter(logins.issuer.token(iat=int(time.time()) - 400, exp=int(time.time()) - 100))


async def test_a_token_expired_long_ago_says_nothing_of_clocks(logins):
    with pytest.raises(TokenExpired) as caught:
        await logins.enter(logins.issuer.token(exp=int(time.time()) - 86_400))
    assert "clock of" not in caught.value.message


def test_every_401_leads_to_the_login(logins):
    from mesh_server import errors

    for found in vars(errors).values():
        if isinstance(found, type) and issubclass(found, TokenInvalid) and found.code != "token_missing":
            assert "mesh-auth" in " ".join(CODES[found.code].advice), found


async def test_no_token_is_in_a_log_a_repr_or_an_error(logins, caplog):
    caplog.set_level(logging.DEBUG)
    shown = []
    tokens = [make(logins.issuer) for make, _ in FORGED.values()]
    for token in [logins.issuer.token(), *tokens]:
        try:
            shown.append(repr(await logins.enter(token)))
        except TokenInvalid as problem:
            shown += [repr(problem), str(problem), json.dumps(problem.details), repr(problem.__cause__)]
    everything = caplog.text + "".join(shown)
    for token in tokens:
        for part in token.split("."):
            assert len(part) < 12 or part not in everything
