"""Every route of the OpenAPI document, with every credential that must not get in; a route that is missing here fails.

The table says what a route needs and what it is about. For each the whole list of strangers is tried, and another
account's object must answer as one that never was, to the last byte but the request id.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from mesh_protocol import zkp
from mesh_protocol.messages import to_text
from mesh_server.accounts.models import SCOPES
from mesh_server.db.schema import Compiler

from .conftest import caller, open_mesh
from .legacy_routes import Route, legacy_routes
from .proofs.prover import SERVER_ID, Prover

#: A model for everybody, and one for those who have a key of its provider: Ann.
CONFIG = """
[[providers]]
name = "acme"
base_url = "http://127.0.0.1:9/v1"
models = ["acme-1"]
[[providers]]
name = "keyed"
base_url = "http://127.0.0.1:9/v1"
models = ["anns"]
key_names = ["anns"]
"""
NEVER = "01a20000-0000-7000-8000-000000000000"
CHAT = {"model": "acme-1", "message": "hello"}
#: A blinded value: the base point of P-256.
POINT = bytes.fromhex("036b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296")
OPENING = {"suite": zkp.SUITE, "serverId": SERVER_ID, "keyName": "anns", "blinded": to_text(POINT)}
OPENAI = {"model": "acme-1", "messages": [{"role": "user", "content": "hello"}]}


OF_KEY = ({"name": "anns"}, {"name": "never"})
ROUTES = {
    ("GET", "/healthz"): Route("public"),
    ("GET", "/readyz"): Route("public"),
    ("GET", "/openapi.json"): Route("public"),
    ("GET", "/metrics"): Route("admin"),
    ("GET", "/api/v1/auth/config"): Route("public"),
    ("POST", "/api/v1/auth/get-auth-url"): Route("public"),
    ("POST", "/api/v1/auth/exchange-token"): Route("public"),
    ("POST", "/api/v1/auth/refresh-token"): Route("public"),
    ("GET", "/api/v1/auth/validate"): Route(),
    ("GET", "/api/v1/auth/profile"): Route(),
    ("GET", "/api/v1/tokens"): Route(),
    ("POST", "/api/v1/tokens"): Route(body={"scopes": ["chat"]}),
    ("DELETE", "/api/v1/tokens/{id}"): Route(objects=({"id": "TOKEN"}, {"id": NEVER})),
    ("GET", "/api/v1/audit"): Route(),
    ("GET", "/api/v1/grants"): Route(),
    ("POST", "/api/v1/grants"): Route(body={"pattern": "b", "grantee": NEVER, "actions": ["read"]}),
    ("DELETE", "/api/v1/grants/{id}"): Route(objects=({"id": "GRANT"}, {"id": NEVER})),
    ("GET", "/api/v1/keys"): Route("keys:read"),
    ("PUT", "/api/v1/keys/{name}"): Route("keys:write", {"value": "x"}, action="write"),
    ("GET", "/api/v1/keys/{name}"): Route("keys:read", objects=OF_KEY, action="read"),
    ("DELETE", "/api/v1/keys/{name}"): Route("keys:write", objects=OF_KEY, action="write"),
    ("POST", "/api/v1/keys/{name}/restore"): Route("keys:write", objects=OF_KEY, action="write"),
    ("GET", "/api/v1/keys/{name}/versions"): Route("keys:read", objects=OF_KEY, action="read"),
    ("POST", "/api/v1/keys/{name}/rollback"): Route("keys:write", {"version": 1}, OF_KEY, "write"),
    ("DELETE", "/api/v1/keys/{name}/versions/{version}"): Route(
        "keys:write", objects=({"name": "anns", "version": "1"}, {"name": "never", "version": "1"})
    ),
    ("POST", "/api/v1/keys/{name}/test"): Route("chat", {"provider": "acme"}, OF_KEY, "chat"),
    ("POST", "/api/v1/zkp/enroll/start"): Route("keys:write", OPENING),
    ("POST", "/api/v1/zkp/enroll/finish"): Route(
        "keys:write", {"enrollmentId": "A" * 22, "ksf": "A" * 14, "record": "A" * 172, "proof": "A" * 87}
    ),
    ("POST", "/api/v1/zkp/challenge"): Route("verify", OPENING),
    ("POST", "/api/v1/zkp/verify"): Route("verify", {"challengeId": "A" * 22, "proof": "A" * 87}),
    ("GET", "/api/v1/zkp/records"): Route("keys:read"),
    ("DELETE", "/api/v1/zkp/records/{name}"): Route("keys:write", objects=OF_KEY),
    ("POST", "/api/v1/chat/completions"): Route("chat", CHAT),
    ("POST", "/v1/chat/completions"): Route("chat", OPENAI),
    ("POST", "/v1/responses"): Route("chat", {"model": "acme-1", "input": "hello"}),
    ("POST", "/v1/messages"): Route("chat", {**OPENAI, "max_tokens": 9}),
    ("POST", "/v1/messages/count_tokens"): Route("chat", OPENAI),
    ("POST", "/v1/embeddings"): Route("chat", {"model": "acme-1", "input": "hello"}),
    ("GET", "/v1/models"): Route("chat"),
    ("GET", "/v1/models/{model}"): Route("chat", objects=({"model": "anns"}, {"model": "never"})),
    ("GET", "/api/v1/models"): Route("chat"),
    **legacy_routes(CHAT),
    ("GET", "/api/v1/usage"): Route("chat"),
    ("GET", "/api/v1/budget"): Route("chat"),
}
PROTECTED = [pytest.param(*place, id=" ".join(place)) for place, route in ROUTES.items() if route.scope != "public"]
SCOPED = [place for place in PROTECTED if ROUTES[place.values].scope is not None]
ABOUT_SOMETHING = [pytest.param(*place, id=" ".join(place)) for place, route in ROUTES.items() if route.objects]
SHARED = [pytest.param(*place, id=" ".join(place)) for place, route in ROUTES.items() if route.action]


class World:
    """Ann has a key, a value enrolled for proofs, a token and a grant; everybody else wants them."""

    def __init__(self, mesh):
        self.mesh, self.app, self.services = mesh, mesh.app, mesh.services
        self.names = {}

    async def prepare(self):
        for value in ("one", "two"):
            await self.mesh.call("PUT", "/api/v1/keys/anns", {"value": value})
        token = await self.mesh.call("POST", "/api/v1/tokens", {"scopes": ["chat"]})
        self.names["TOKEN"] = token.json["id"]
        self.ann = (await self.mesh.call("GET", "/api/v1/auth/profile")).json["id"]
        prover = Prover(self.mesh.call, self.mesh.token, self.ann)
        assert (await prover.enrol("anns")).status == 200
        self.bob = await self.account("default", "bob")
        grant = await self.mesh.call(
            "POST", "/api/v1/grants", {"pattern": "else", "grantee": self.bob.account_id, "actions": ["read"]}
        )
        self.names["GRANT"] = grant.json["id"]
        ends = datetime.now(UTC) + timedelta(seconds=1)
        self.expired = await self.token(self.bob, expires_at=ends)
        await asyncio.sleep((ends - datetime.now(UTC)).total_seconds() + 0.01)
        return self

    async def account(self, tenant, name):
        return await self.services.accounts.ensure_user(tenant, name)

    async def token(self, account, **arguments):
        return await self.services.accounts.create_token(account, name="test", **arguments)

    def path(self, path, objects):
        for name, value in objects.items():
            path = path.replace(f"{{{name}}}", self.names.get(value, value))
        return path

    async def call(self, token, method, path, route, objects=None, query="", headers=None):
        call = caller(self.app, token)
        target = self.path(path, objects or (route.objects or ({"name": "anns", "id": NEVER, "version": "1"},))[0])
        return await call(method, target + (query or route.query), route.body, headers=headers)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    runner = asyncio.Runner()
    folder = tmp_path_factory.mktemp("isolation")
    config = folder / "mesh-server.toml"
    config.write_text(CONFIG)
    mesh = runner.run(open_mesh(folder, behind_proxy=True, MESH_CONFIG=str(config)))
    made = runner.run(World(mesh).prepare())
    made.run = runner.run
    yield made
    runner.run(mesh.services.close())
    runner.close()


def answer_of(answer):
    """Return an answer without what differs from request to request."""
    body = answer.json
    body.pop("request_id", None)
    headers = {name: value for name, value in answer.headers.items() if name not in {"x-request-id", "request-id"}}
    return answer.status, headers, json.dumps(body, sort_keys=True)


def code_of(answer, path):
    """Return the code of an error in the format of its surface."""
    return answer.json["error"]["details"]["error_code"] if path.startswith("/v1/messages") else answer.code


def test_every_route_is_in_the_table(world):
    document = json.loads(world.run(world.mesh.call("GET", "/openapi.json")).body)
    served = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert served == ROUTES.keys()


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_nobody_gets_in_without_a_good_credential(world, method, path):
    async def strangers():
        revoked = await world.token(world.bob)
        who = await world.services.accounts.authenticate(f"Bearer {revoked}".encode(), None)
        await world.services.accounts.revoke_token(who, who.token_id)
        garbage = f"mesh_{'x' * 38}"
        return [
            (None, "token_missing"),
            ("garbage", "token_invalid"),
            (garbage, "token_invalid"),
            (revoked[:-1], "token_invalid"),
            (world.expired, "token_expired"),
            (revoked, "token_revoked"),
        ]

    for token, code in world.run(strangers()):
        answer = world.run(world.call(token, method, path, ROUTES[method, path]))
        assert answer.status == 401
        # OpenAI's format has one code for every credential that is refused.
        openai = path.startswith("/v1/") and not path.startswith(("/v1/messages", "/v1/mesh/"))
        assert code_of(answer, path) == ("invalid_api_key" if openai else code)
        assert answer.headers["www-authenticate"].startswith("Bearer")


@pytest.mark.parametrize(("method", "path"), SCOPED)
def test_every_other_scope_is_too_little(world, method, path):
    route = ROUTES[method, path]
    token = world.run(world.token(world.bob, scopes=SCOPES - {route.scope}))
    answer = world.run(world.call(token, method, path, route))
    assert answer.status == route.forbidden
    assert "scope_missing" in answer.body.decode()


@pytest.mark.parametrize(("method", "path"), ABOUT_SOMETHING)
@pytest.mark.parametrize("tenant", ["default", "elsewhere"])
def test_anothers_object_is_as_if_it_never_was(world, method, path, tenant):
    route = ROUTES[method, path]
    theirs, never = route.objects
    token = world.run(world.token(world.run(world.account(tenant, "bob"))))
    one = world.run(world.call(token, method, path, route, theirs))
    other = world.run(world.call(token, method, path, route, never))
    assert one.status == 404
    renamed = answer_of(one)[2].replace("'anns'", "'never'")
    assert (answer_of(one)[0], renamed) == (answer_of(other)[0], answer_of(other)[2])


@pytest.mark.parametrize(("method", "path"), SHARED)
@pytest.mark.parametrize("tenant", ["default", "elsewhere"])
def test_an_owner_who_shares_nothing_is_as_one_who_is_not_there(world, method, path, tenant):
    route = ROUTES[method, path]
    token = world.run(world.token(world.run(world.account(tenant, "cleo"))))
    one = world.run(world.call(token, method, path, route, query=f"?owner={world.ann}"))
    other = world.run(world.call(token, method, path, route, query=f"?owner={NEVER}"))
    assert one.status == 404
    assert answer_of(one) == answer_of(other)


@pytest.fixture
def statements(monkeypatch):
    """Return the statements that the database is asked, in their order."""
    asked = []
    compile_ = Compiler.__call__

    def noting(self, statement, parameters):
        found = compile_(self, statement, parameters)
        asked.append(found[0])
        return found

    monkeypatch.setattr(Compiler, "__call__", noting)
    return asked


@pytest.mark.parametrize(("method", "path"), ABOUT_SOMETHING)
@pytest.mark.parametrize("tenant", ["default", "elsewhere"])
def test_anothers_object_takes_the_same_steps_as_one_that_never_was(world, statements, method, path, tenant):
    """No clock can tell the two apart where the database is asked the same questions in the same order."""
    route = ROUTES[method, path]
    theirs, never = route.objects
    token = world.run(world.token(world.run(world.account(tenant, "bob"))))
    steps = []
    for objects in (never, theirs, never):  # the first fills what is kept warm
        statements.clear()
        world.run(world.call(token, method, path, route, objects))
        steps.append(list(statements))
    assert steps[1] == steps[2] != []


@pytest.mark.parametrize(("method", "path"), SHARED)
@pytest.mark.parametrize("tenant", ["default", "elsewhere"])
def test_an_owner_who_shares_nothing_takes_the_same_steps_as_one_who_is_not_there(
    world, statements, method, path, tenant
):
    route = ROUTES[method, path]
    token = world.run(world.token(world.run(world.account(tenant, "cleo"))))
    steps = []
    for owner in (NEVER, world.ann, NEVER):
        statements.clear()
        world.run(world.call(token, method, path, route, query=f"?owner={owner}"))
        steps.append(list(statements))
    assert steps[1] == steps[2] != []


@pytest.mark.parametrize(("method", "path"), SHARED)
def test_a_grant_of_something_else_is_too_little(world, method, path):
    route = ROUTES[method, path]
    dora = world.run(world.account("default", "dora"))
    actions = sorted({"read", "write", "verify", "chat"} - {route.action})
    body = {"pattern": "anns", "grantee": dora.account_id, "actions": actions}
    assert world.run(world.mesh.call("POST", "/api/v1/grants", body)).status == 201
    token = world.run(world.token(dora))
    answer = world.run(world.call(token, method, path, route, query=f"?owner={world.ann}"))
    assert (answer.status, answer.code) == (403, "grant_insufficient")


@pytest.mark.parametrize(("method", "path"), PROTECTED)
def test_only_act_as_lets_act_for_another_and_only_within_the_tenant(world, method, path):
    route, headers = ROUTES[method, path], {"mesh-act-as": world.ann}
    without = world.run(world.token(world.bob, scopes=SCOPES - {"act-as"}))
    answer = world.run(world.call(without, method, path, route, headers=headers))
    assert answer.status == route.forbidden
    stranger = world.run(world.token(world.run(world.account("elsewhere", "service"))))
    one = world.run(world.call(stranger, method, path, route, headers=headers))
    other = world.run(world.call(stranger, method, path, route, headers={"mesh-act-as": NEVER}))
    assert one.status == route.missing
    assert answer_of(one) == answer_of(other)


def test_ann_has_the_model_that_nobody_else_sees(world):
    assert world.run(world.mesh.call("GET", "/v1/models/anns")).status == 200


def test_nothing_of_anns_was_touched(world):
    read = world.run(world.mesh.call("GET", "/api/v1/keys/anns")).json
    assert (read["value"], read["rev"]) == ("two", 2)
    versions = world.run(world.mesh.call("GET", "/api/v1/keys/anns/versions")).json["versions"]
    assert all(version["destroyed_at"] is None for version in versions)
    records = world.run(world.mesh.call("GET", "/api/v1/zkp/records")).json["records"]
    assert [record["name"] for record in records] == ["anns"]
    tokens = world.run(world.mesh.call("GET", "/api/v1/tokens")).json["tokens"]
    assert world.names["TOKEN"] in [token["id"] for token in tokens]
