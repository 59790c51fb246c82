"""Sharing: what is granted can be done, nothing else can, and what was taken back is gone at once."""

import pytest

KEY = "/api/v1/keys/a"


@pytest.fixture
async def shared(mesh):
    """Ann's server with Bob and Cleo, and Ann's key `a`."""
    await mesh.call("PUT", KEY, {"value": "ann's"})
    return Shared(mesh, await mesh.user("bob"), await mesh.user("cleo"))


class Shared:
    def __init__(self, mesh, bob, cleo):
        self.ann, self.bob, self.cleo, self.mesh = mesh.call, bob, cleo, mesh

    async def id(self, call):
        return (await call("GET", "/api/v1/auth/profile")).json["id"]

    async def share(self, *actions, pattern="a", grantee=None, **more):
        grantee = grantee or await self.id(self.bob)
        return await self.ann(
            "POST", "/api/v1/grants", {"pattern": pattern, "grantee": grantee, "actions": list(actions), **more}
        )

    async def theirs(self, path=KEY, **more):
        owner = await self.id(self.ann)
        query = "&".join(f"{name}={value}" for name, value in {"owner": owner, **more}.items())
        return f"{path}?{query}"


async def test_a_shared_key_is_read_by_its_owners_id(shared):
    made = await shared.share("read")
    assert (made.status, made.json["grantee_kind"], made.json["pattern"]) == (201, "account", "a")
    read = await shared.bob("GET", await shared.theirs())
    assert read.json["value"] == "ann's"
    assert (await shared.bob("GET", KEY)).code == "key_not_found"  # not as one's own


async def test_each_action_allows_itself_alone(shared):
    target = await shared.theirs()
    uses = {
        "read": ("GET", target, None),
        "write": ("PUT", target, {"value": "bob's"}),
    }
    for granted in ("read", "write", "verify", "chat"):
        await shared.share(granted)
        for action, (method, path, body) in uses.items():
            answer = await shared.bob(method, path, body)
            if action == granted:
                assert answer.status == 200
            else:
                assert (answer.status, answer.code) == (403, "grant_insufficient")


async def test_without_a_grant_it_is_as_if_it_were_not_there(shared):
    await shared.share("read", "write", pattern="other")
    theirs, never = await shared.theirs(), await shared.theirs("/api/v1/keys/b")
    for method, body in (("GET", None), ("PUT", {"value": "x"}), ("DELETE", None)):
        one, other = await shared.bob(method, theirs, body), await shared.bob(method, never, body)
        assert (one.status, one.code) == (404, "key_not_found")
        assert one.json["error"] == {**other.json["error"], "message": one.json["error"]["message"]}
        assert one.json["error"]["message"].replace("'a'", "'b'") == other.json["error"]["message"]
    nobody = await shared.bob("GET", f"{KEY}?owner=01a20000-0000-7000-8000-000000000000")
    assert nobody.json["error"] == (await shared.bob("GET", theirs)).json["error"]


async def test_a_grant_is_the_grantees_alone(shared):
    await shared.share("read")
    assert (await shared.cleo("GET", await shared.theirs())).code == "key_not_found"


async def test_a_prefix_covers_what_begins_so_and_nothing_else(shared):
    for name in ("team%2Fa", "team%2Fb", "team", "tea"):
        await shared.ann("PUT", f"/api/v1/keys/{name}", {"value": name})
    await shared.share("read", "write", pattern="team/*")
    listed = (await shared.bob("GET", await shared.theirs("/api/v1/keys"))).json["keys"]
    assert [key["name"] for key in listed] == ["team/a", "team/b"]
    assert (await shared.bob("GET", await shared.theirs("/api/v1/keys/team%2Fa"))).status == 200
    assert (await shared.bob("GET", await shared.theirs("/api/v1/keys/team"))).status == 404
    assert (await shared.bob("PUT", await shared.theirs("/api/v1/keys/team%2Fnew"), {"value": "x"})).status == 200
    assert (await shared.ann("GET", "/api/v1/keys/team%2Fnew")).json["value"] == "x"


async def test_a_list_of_anothers_keys_goes_on_by_its_cursor(shared):
    for number in range(12):
        await shared.ann("PUT", f"/api/v1/keys/{'s' if number % 3 == 0 else 'p'}{number:02}", {"value": "x"})
    await shared.share("read", pattern="s*")
    names, cursor = [], None
    while True:
        more = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await shared.bob("GET", await shared.theirs("/api/v1/keys", **more))).json
        names += [key["name"] for key in page["keys"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert names == ["s00", "s03", "s06", "s09"]


async def test_a_namespace_is_shared_by_its_name(shared):
    await shared.ann("PUT", f"{KEY}?user_id=x", {"value": "in x"})
    await shared.share("read", user_id="x")
    assert (await shared.bob("GET", await shared.theirs(user_id="x"))).json["value"] == "in x"
    assert (await shared.bob("GET", await shared.theirs())).status == 404


async def test_a_scope_is_needed_besides(shared):
    await shared.share("read", "write", "chat")
    lesser = await shared.mesh.user("bob", scopes=frozenset({"chat"}))
    assert (await lesser("GET", await shared.theirs())).code == "scope_missing"


async def test_a_revoked_grant_is_refused_at_once(shared):
    made = (await shared.share("read")).json
    assert (await shared.bob("GET", await shared.theirs())).status == 200
    assert (await shared.ann("DELETE", f"/api/v1/grants/{made['id']}")).json == {"id": made["id"], "success": True}
    assert (await shared.bob("GET", await shared.theirs())).code == "key_not_found"
    assert (await shared.ann("DELETE", f"/api/v1/grants/{made['id']}")).code == "grant_not_found"


async def test_an_expired_grant_is_refused(shared, monkeypatch):
    from mesh_server.ids import now_us
    from mesh_server.vault import grants

    await shared.share("read", expires_at="2098-01-01T00:00:00Z")
    assert (await shared.bob("GET", await shared.theirs())).status == 200
    later = now_us() + 80 * 365 * 24 * 3600 * 1_000_000
    monkeypatch.setattr(grants, "now_us", lambda: later)
    assert (await shared.bob("GET", await shared.theirs())).code == "key_not_found"
    assert (await shared.ann("GET", "/api/v1/grants")).json["grants"] == []


async def test_both_sides_see_a_grant(shared):
    made = (await shared.share("read", "chat")).json
    given = (await shared.ann("GET", "/api/v1/grants")).json["grants"]
    received = (await shared.bob("GET", "/api/v1/grants?direction=received")).json["grants"]
    assert [grant["id"] for grant in given] == [grant["id"] for grant in received] == [made["id"]]
    assert received[0]["owner"] == await shared.id(shared.ann)
    assert (await shared.cleo("GET", "/api/v1/grants?direction=received")).json["grants"] == []


async def test_sharing_once_more_replaces_what_was_shared(shared):
    await shared.share("read", "write")
    await shared.share("read")
    assert [grant["actions"] for grant in (await shared.ann("GET", "/api/v1/grants")).json["grants"]] == [["read"]]
    assert (await shared.bob("PUT", await shared.theirs(), {"value": "x"})).code == "grant_insufficient"


async def test_a_grantee_destroys_no_version(shared):
    await shared.share("read", "write")
    await shared.ann("PUT", KEY, {"value": "two"})
    answer = await shared.bob("DELETE", await shared.theirs(f"{KEY}/versions/1"))
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert (await shared.bob("GET", await shared.theirs(version=1))).json["value"] == "ann's"


async def test_a_token_is_a_grantee_too(shared):
    made = await shared.bob("POST", "/api/v1/tokens", {"name": "ci", "scopes": ["keys:read"]})
    await shared.share("read", grantee=made.json["id"])
    target = await shared.theirs()
    by_token = await shared.bob("GET", target, token=made.json["token"])
    assert by_token.json["value"] == "ann's"
    assert (await shared.bob("GET", target)).code == "key_not_found"  # another token of the same account


async def test_a_grantee_can_not_share_further(shared):
    await shared.share("read", "write", "verify", "chat")
    body = {"pattern": "a", "grantee": await shared.id(shared.cleo), "actions": ["read"]}
    assert (await shared.bob("POST", "/api/v1/grants", body)).status == 201  # of Bob's own `a`, which is none
    assert (await shared.cleo("GET", await shared.theirs())).code == "key_not_found"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"actions": []}, "invalid_request"),
        ({"actions": ["admin"]}, "invalid_request"),
        ({"pattern": ""}, "invalid_request"),
        ({"pattern": "a" * 257}, "invalid_request"),
        ({"pattern": "a\0*"}, "invalid_request"),
        ({"pattern": "."}, "invalid_request"),
        ({"grantee": "bob@example.com"}, "invalid_request"),
        ({"grantee": "bob"}, "grantee_not_found"),
        ({"grantee": "x" * 99}, "grantee_not_found"),
        ({"grantee": "a\0"}, "grantee_not_found"),
        ({"expires_at": "2020-01-01T00:00:00Z"}, "invalid_request"),
        ({"expires_at": "2099-01-01T00:00:00"}, "invalid_request"),
        ({"more": 1}, "invalid_request"),
    ],
)
async def test_a_grant_that_makes_no_sense_is_refused(shared, change, code):
    body = {"pattern": "a", "grantee": await shared.id(shared.bob), "actions": ["read"], **change}
    answer = await shared.ann("POST", "/api/v1/grants", body)
    assert answer.code == code
    assert (await shared.ann("GET", "/api/v1/grants")).json["grants"] == []


async def test_sharing_with_oneself_is_refused(shared):
    assert (await shared.share("read", grantee=await shared.id(shared.ann))).code == "invalid_request"
    own = await shared.ann("POST", "/api/v1/tokens", {"scopes": ["keys:read"]})
    assert (await shared.share("read", grantee=own.json["id"])).code == "invalid_request"


async def test_a_lesser_token_can_not_share(shared):
    lesser = await shared.mesh.user("local", scopes=frozenset({"keys:read", "keys:write"}))
    body = {"pattern": "a", "grantee": await shared.id(shared.bob), "actions": ["read"]}
    assert (await lesser("POST", "/api/v1/grants", body)).code == "scope_missing"


async def test_another_tenants_account_is_no_grantee(shared):
    stranger = await shared.mesh.services.accounts.ensure_user("elsewhere", "bob")
    assert (await shared.share("read", grantee=stranger.account_id)).code == "grantee_not_found"


async def test_a_changed_grant_is_refused_and_named(shared):
    from sqlalchemy import update

    from mesh_server.db.scope import ServerWork
    from mesh_server.vault.models import grants

    await shared.share("chat")

    async def widen(tx):
        await tx.execute(update(grants).values(actions="read write"))

    await shared.mesh.services.database.write(widen, ServerWork.VERIFY)
    assert (await shared.bob("GET", await shared.theirs())).code == "vault_damaged"
