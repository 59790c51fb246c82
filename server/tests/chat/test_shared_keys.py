"""A shared provider's key: used for chat by whom it is shared with, read by nobody else, found by nobody unasked."""

import pytest

from mesh_server.errors import GrantInsufficient

from ..vault.values import text
from .upstream import ASK, MESH, OPENAI


@pytest.fixture
async def team(mesh, upstream):
    """Ann with a key of hers, and Bob."""
    await mesh.call("PUT", "/api/v1/keys/team%2Facme", {"value": "sk-anns-own"})
    bob = await mesh.user("bob")
    bobs, anns = [(await call("GET", "/api/v1/auth/profile")).json["id"] for call in (bob, mesh.call)]

    async def share(*actions):
        body = {"pattern": "team/*", "grantee": bobs, "actions": list(actions)}
        return await mesh.call("POST", "/api/v1/grants", body)

    return mesh.call, bob, anns, share


async def test_it_is_used_for_chat_and_can_not_be_read(team, upstream):
    _, bob, anns, share = team
    await share("chat")
    answer = await bob("POST", MESH, {**ASK, "key_name": "team/acme", "key_owner": anns})
    assert answer.status == 200, answer.body
    assert upstream.asked[-1].headers["authorization"] == "Bearer sk-anns-own"
    assert b"sk-anns" not in answer.body
    assert (await bob("GET", f"/api/v1/keys/team%2Facme?owner={anns}")).code == "grant_insufficient"
    assert (await bob("GET", f"/api/v1/keys/team%2Facme/versions?owner={anns}")).code == "grant_insufficient"
    assert (await bob("GET", f"/api/v1/keys?owner={anns}")).json["keys"] == []


@pytest.mark.parametrize("actions", [["read"], ["write"], ["verify"], ["read", "write", "verify"]])
async def test_no_other_action_lets_use_it(team, upstream, actions):
    _, bob, anns, share = team
    await share(*actions)
    answer = await bob("POST", MESH, {**ASK, "key_name": "team/acme", "key_owner": anns})
    assert (answer.status, answer.code) == (403, "grant_insufficient")
    assert upstream.asked == []


async def test_what_is_not_shared_is_not_there(team, upstream):
    ann, bob, anns, share = team
    ask = {**ASK, "key_name": "team/acme", "key_owner": anns}
    assert (await bob("POST", MESH, ask)).code == "key_not_found"
    made = (await share("chat")).json
    assert (await bob("POST", MESH, ask)).status == 200
    await ann("DELETE", f"/api/v1/grants/{made['id']}")
    assert (await bob("POST", MESH, ask)).code == "key_not_found"


async def test_a_shared_key_is_never_found_by_itself(mesh, team, upstream):
    ann, bob, _, _ = team
    await ann("PUT", "/api/v1/keys/acme_key", {"value": "sk-anns-own"})
    bobs = (await bob("GET", "/api/v1/auth/profile")).json["id"]
    await ann("POST", "/api/v1/grants", {"pattern": "acme_key", "grantee": bobs, "actions": ["chat", "read"]})
    for path in (MESH, OPENAI):
        assert (await bob("POST", path, ASK)).status == 400
    assert upstream.asked == []


async def test_an_owner_without_a_key_is_a_wrong_request(team):
    _, bob, anns, _ = team
    answer = await bob("POST", MESH, {**ASK, "key_owner": anns})
    assert (answer.status, answer.code) == (400, "invalid_request")


async def test_a_prefix_of_another_account_is_not_enough(parts):
    ann, bob = await parts.principal("ann"), await parts.principal("bob")
    from mesh_server.vault.grants import NewGrant

    await parts.vault.put(ann, "a", text("sk"))
    await parts.vault.grants.give(ann, NewGrant(pattern="a", grantee=bob.account_id, actions=frozenset({"read"})))
    with pytest.raises(GrantInsufficient):
        await parts.vault.open_for_chat(bob, ["a"], owner=ann.account_id)
