"""What a login costs a request: the first look at an access token, beside PyJWT and the bare signature; and later ones.

Run by `./dev bench access_token`. One core, the best of several rounds, so that other work counts little.
"""

import asyncio
import base64
import hashlib
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import jwt as pyjwt  # comes with the foreign issuer of the tests
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from joserfc import jwt
from joserfc.jwk import RSAKey

from mesh_server.accounts.oidc import claims
from mesh_server.accounts.oidc.models import Issuer
from mesh_server.accounts.service import Accounts
from mesh_server.db.engine import Database

ROUNDS, CALLS = 7, 300
ISSUER = Issuer(url="https://issuer.example/", client_id="c", client_secret=None, audience="mesh", tenant="default")


def best(call: Callable[[], object]) -> float:
    """Return the microseconds of one call, in the best round."""
    rounds = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for _ in range(CALLS):
            call()
        rounds.append((time.perf_counter() - began) / CALLS * 1e6)
    return min(rounds)


async def warm() -> float:
    """Return the microseconds of a request whose credential was seen before."""
    with tempfile.TemporaryDirectory() as folder:
        database = await Database.open(f"sqlite:///{Path(folder) / 'mesh.db'}")
        accounts = Accounts(database, lambda data: hashlib.sha256(data).digest())
        account = await accounts.ensure_user("default", "bench")
        header = f"Bearer {await accounts.create_token(account, name='bench')}".encode()
        rounds = []
        for _ in range(ROUNDS):
            began = time.perf_counter()
            for _ in range(CALLS):
                await accounts.authenticate(header, None)
            rounds.append((time.perf_counter() - began) / CALLS * 1e6)
        await database.close()
    return min(rounds)


def main() -> None:
    key = RSAKey.generate_key(2048, parameters={"kid": "k"})
    now = int(time.time())
    content = {"iss": ISSUER.url, "sub": "u", "aud": ["mesh", "x"], "scope": "openid", "iat": now, "exp": now + 3600}
    token = jwt.encode({"alg": "RS256", "kid": "k", "typ": "at+jwt"}, content, key)
    public = key.public_key
    signed, _, signature = token.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    verifier = RSAKey.import_key(key.as_dict(private=False))

    def ours() -> None:
        unverified = claims.read(token)
        claims.verify(unverified, [verifier])
        claims.check(unverified, ISSUER, now, 60.0, None)

    limit = best(lambda: public.verify(raw, signed.encode(), padding.PKCS1v15(), SHA256()))
    measured = {
        "the signature alone (limit)": limit,
        "PyJWT": best(lambda: pyjwt.decode(token, public, ["RS256"], audience="mesh", issuer=ISSUER.url)),
        "Mesh, a token never seen": best(ours),
        "Mesh, a credential seen before": asyncio.run(warm()),
    }
    for name, value in measured.items():
        print(f"{name:<32} {value:8.1f} µs   {value / limit:6.2f} of the limit")
    print(json.dumps({name: round(value, 1) for name, value in measured.items()}, ensure_ascii=False))


main()
