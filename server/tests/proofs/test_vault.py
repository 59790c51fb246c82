"""A verifier never outlives the value it was made of: what the vault does ends it, in the same transaction."""

import pytest

from mesh_server.errors import MeshError
from mesh_server.vault.models import NewValue

KEY = "/api/v1/keys/k"


@pytest.fixture
async def keeper(ann):
    """An account whose key `k` is in the vault and can be verified."""

    async def request(method, path, body=None, **headers):
        return await ann.call(method, path, body, token=ann.token, headers=headers)

    ann.request = request
    assert (await request("PUT", KEY, {"value": "v"})).status == 200
    await ann.enrol()
    assert await ann.verify()
    return ann


async def listed(keeper):
    return {key["name"]: key["provable"] for key in (await keeper.request("GET", "/api/v1/keys")).json["keys"]}


async def test_a_list_says_what_can_be_verified(keeper):
    await keeper.request("PUT", "/api/v1/keys/j", {"value": "v"})
    await keeper.request("PUT", "/api/v1/keys/l", {"value": "v"})
    await keeper.enrol("m")  # enrolled, and not in the vault
    assert await listed(keeper) == {"j": False, "k": True, "l": False}
    page = await keeper.request("GET", "/api/v1/keys?limit=2")
    assert [key["provable"] for key in page.json["keys"]] == [False, True]


async def test_a_new_value_ends_the_verifier_of_the_old_one(keeper):
    await keeper.request("PUT", KEY, {"value": "w"})
    assert await listed(keeper) == {"k": False}
    assert not await keeper.verify()
    assert not await keeper.verify(value="w")


async def test_a_deletion_ends_the_verifier_and_restoring_does_not_bring_it_back(keeper):
    await keeper.request("DELETE", KEY)
    assert not await keeper.verify()
    await keeper.request("POST", f"{KEY}/restore")
    assert await listed(keeper) == {"k": False}
    assert not await keeper.verify()


async def test_a_change_that_is_refused_ends_nothing(keeper):
    for refused in (
        await keeper.request("PUT", KEY, {"value": "w"}, **{"if-match": '"99"'}),
        await keeper.request("PUT", KEY, {"value": "w"}, **{"if-none-match": "*"}),
        await keeper.request("PUT", KEY, {"value": ""}),
        await keeper.request("DELETE", KEY, **{"if-match": '"99"'}),
    ):
        assert refused.status >= 400
    assert await listed(keeper) == {"k": True}
    assert await keeper.verify()


async def test_a_change_that_fails_after_it_ends_nothing(mesh, keeper, monkeypatch):
    """The verifier is forgotten in the transaction of the change: where that is undone, it is still there."""

    async def broken(*_):
        raise MeshError("no")

    monkeypatch.setattr(mesh.services.vault._trail, "tell", broken)
    assert (await keeper.request("PUT", KEY, {"value": "w"})).status == 500
    assert await keeper.verify()


async def test_another_namespace_s_key_is_another_key(keeper):
    await keeper.request("PUT", f"{KEY}?user_id=n", {"value": "w"})
    await keeper.request("DELETE", f"{KEY}?user_id=n")
    assert await keeper.verify()


async def test_another_account_s_key_is_another_key(keeper, login):
    bob = await login("bob")
    await bob.call("PUT", KEY, {"value": "w"}, token=bob.token)
    assert await keeper.verify()


async def test_an_enrolment_of_the_old_value_can_t_finish_after_the_new_one_is_stored(keeper):
    begun, started = await keeper.start("k", "v", overwrite=True)
    await keeper.request("PUT", KEY, {"value": "w"})
    late = await keeper.post("enroll/finish", keeper.ending(begun, started.json))
    assert (late.status, late.code) == (409, "challenge_unusable")
    assert not await keeper.verify()


async def test_the_enrolment_that_a_new_value_names_goes_on_and_no_other(keeper):
    old = await keeper.start("k", "v", overwrite=True)
    new = await keeper.start("k", "w", overwrite=True)
    await keeper.request("PUT", KEY, {"value": "w", "provable": new[1].json["enrollmentId"]})
    assert not await keeper.verify()  # the old verifier ended with the old value
    assert (await keeper.post("enroll/finish", keeper.ending(old[0], old[1].json))).code == "challenge_unusable"
    assert (await keeper.post("enroll/finish", keeper.ending(new[0], new[1].json))).status == 200
    assert await keeper.verify(value="w")
    assert await listed(keeper) == {"k": True}


async def test_with_true_every_enrolment_goes_on(keeper):
    begun, started = await keeper.start("k", "w", overwrite=True)
    await keeper.request("PUT", KEY, {"value": "w", "provable": True})
    assert not await keeper.verify()
    assert (await keeper.post("enroll/finish", keeper.ending(begun, started.json))).status == 200
    assert await keeper.verify(value="w")


@pytest.mark.parametrize("provable", ["", "yes", "A" * 21, "A" * 23, "A" * 21 + "=", 1, None, []])
async def test_provable_must_be_what_it_can_be(keeper, provable):
    refused = await keeper.request("PUT", KEY, {"value": "w", "provable": provable})
    assert (refused.status, refused.code) == (400, "invalid_request")
    assert await keeper.verify()


async def test_a_vault_without_proofs_has_nothing_to_forget(parts):
    ann = await parts.principal()
    await parts.vault.put(ann, "k", NewValue(value=b"v", is_text=True, provable=True))
    records, _ = await parts.vault.list_keys(ann)
    assert [record.provable for record in records] == [False]
    await parts.vault.delete(ann, "k")
