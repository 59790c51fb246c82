"""The key endpoints: their shapes, and every way in which a request can be wrong."""

import base64

import pytest

KEY = "/api/v1/keys/a"


async def test_a_key_is_stored_read_listed_deleted_and_restored(mesh):
    stored = await mesh.call("PUT", KEY, {"value": "secret", "tags": {"k": "v"}, "note": "n"})
    assert (stored.status, stored.headers["etag"]) == (200, '"1"')
    assert {"success": True, "name": "a", "version": 1, "rev": 1, "tags": {"k": "v"}, "note": "n"}.items() <= (
        stored.json.items()
    )
    assert "value" not in stored.json
    read = await mesh.call("GET", KEY)
    assert (read.json["value"], read.headers["cache-control"], read.headers["etag"]) == ("secret", "no-store", '"1"')
    listed = (await mesh.call("GET", "/api/v1/keys?tag=k:v&prefix=a&limit=5")).json
    assert [key["name"] for key in listed["keys"]] == ["a"]
    assert "value" not in listed["keys"][0]
    assert listed["next_cursor"] is None
    deleted = (await mesh.call("DELETE", KEY)).json
    assert deleted.keys() == {"success", "name", "deleted_at", "restorable_until"}
    assert (await mesh.call("GET", KEY)).code == "key_not_found"
    assert (await mesh.call("POST", f"{KEY}/restore")).json["rev"] == 3
    assert (await mesh.call("GET", KEY)).json["value"] == "secret"


async def test_bytes_come_back_as_bytes(mesh):
    content = base64.b64encode(bytes(range(256))).decode()
    await mesh.call("PUT", KEY, {"value_base64": content})
    read = (await mesh.call("GET", KEY)).json
    assert (read["value_base64"], "value" in read) == (content, False)


@pytest.mark.parametrize("name", ["a%2Fb", "%2E%2E%2E", "%D0%BA", "a%20b", "restore", "a%25"])
async def test_a_name_is_one_segment_whatever_it_holds(mesh, name):
    assert (await mesh.call("PUT", f"/api/v1/keys/{name}", {"value": "x"})).status == 200
    assert (await mesh.call("GET", f"/api/v1/keys/{name}")).json["value"] == "x"
    assert (await mesh.call("DELETE", f"/api/v1/keys/{name}")).status == 200
    assert (await mesh.call("POST", f"/api/v1/keys/{name}/restore")).status == 200


async def test_a_namespace_comes_by_the_query(mesh):
    await mesh.call("PUT", f"{KEY}?user_id=x%2Fy", {"value": "in x"})
    assert (await mesh.call("GET", KEY)).status == 404
    read = (await mesh.call("GET", f"{KEY}?user_id=x%2Fy")).json
    assert (read["value"], read["user_id"]) == ("in x", "x/y")
    assert len((await mesh.call("GET", "/api/v1/keys?user_id=x%2Fy")).json["keys"]) == 1


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"value": None},
        {"value": 5},
        {"value": ""},
        {"value": "a", "value_base64": "YQ=="},
        {"value_base64": "not base64"},
        {"value_base64": ""},
        {"value": "a", "tags": {"k": 1}},
        {"value": "a", "tags": ["k"]},
        {"value": "a", "note": 1},
        {"value": "a", "expires_at": "2020-01-01T00:00:00Z"},
        {"value": "a", "expires_at": "2099-01-01T00:00:00"},
        {"value": "a", "expires_at": 99999999999},
        {"valeu": "a"},
        {"value": "a", "unknown": 1},
        [],
        "text",
    ],
)
async def test_a_body_that_does_not_fit_is_refused_without_its_value(mesh, body):
    answer = await mesh.call("PUT", KEY, body)
    assert (answer.status, answer.code) == (400, "invalid_request")
    assert answer.json["error"]["troubleshooting"]
    assert (await mesh.call("GET", KEY)).status == 404


@pytest.mark.parametrize("body", [b"", b"{", b"nonsense", b'{"value": "\xff"}', b'{"value": "\\ud800"}', b"[" * 99_999])
async def test_a_body_that_is_not_json_is_refused(mesh, body):
    answer = await mesh.call("PUT", KEY, body)
    assert answer.status == 400
    assert answer.code in {"invalid_json", "invalid_request"}


async def test_a_value_that_is_too_large_is_refused(mesh):
    answer = await mesh.call("PUT", KEY, {"value": "x" * 65_537})
    assert (answer.status, answer.code) == (413, "key_too_large")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"if-match": '"1"'}, 412, "revision_conflict"),
        ({"if-match": "*"}, 412, "revision_conflict"),
        ({"if-match": "1"}, 400, "invalid_request"),
        ({"if-match": 'W/"1"'}, 400, "invalid_request"),
        ({"if-match": ""}, 400, "invalid_request"),
        ({"if-match": '"99999999999999999999999999"'}, 400, "invalid_request"),
        ({"if-none-match": '"1"'}, 400, "invalid_request"),
        ({"if-none-match": "*", "if-match": "*"}, 400, "invalid_request"),
    ],
)
async def test_a_precondition_that_does_not_hold_or_make_sense_is_refused(mesh, headers, status, code):
    answer = await mesh.call("PUT", KEY, {"value": "x"}, headers=headers)
    assert (answer.status, answer.code) == (status, code)


async def test_preconditions_that_hold_let_through(mesh):
    for headers, rev in (
        ({"if-none-match": "*"}, 1),
        ({"if-match": '"1"'}, 2),
        ({"if-match": '"7", "2"'}, 3),
        ({"if-match": "*"}, 4),
    ):
        assert (await mesh.call("PUT", KEY, {"value": "x"}, headers=headers)).json["rev"] == rev
    answer = await mesh.call("PUT", KEY, {"value": "x"}, headers={"if-none-match": "*"})
    assert (answer.status, answer.code) == (409, "key_exists")


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=-1",
        "limit=%D9%A1",
        "tag=novalue",
        "cursor=garbage",
        "unknown=1",
        "prefix=a&prefix=b",
        "prefix=%ff",
        "user_id=" + "a" * 257,
        "prefix=%00",
    ],
)
async def test_a_list_that_makes_no_sense_is_refused(mesh, query):
    answer = await mesh.call("GET", f"/api/v1/keys?{query}")
    assert (answer.status, answer.code) == (400, "invalid_request")


@pytest.mark.parametrize("name", ["%ff", "%00", "%2E", "%2e%2E", "a" * 257])
async def test_a_name_that_can_be_none_is_refused(mesh, name):
    for method in ("GET", "PUT", "DELETE"):
        answer = await mesh.call(method, f"/api/v1/keys/{name}", {"value": "x"})
        assert (answer.status, answer.code) == (400, "invalid_request")


async def test_a_key_without_a_name_is_no_path(mesh):
    assert (await mesh.call("PUT", "/api/v1/keys/", {"value": "x"})).code == "route_not_found"


@pytest.mark.parametrize(("method", "path"), [("GET", KEY), ("DELETE", KEY), ("POST", f"{KEY}/restore")])
async def test_what_is_not_there_is_not_found(mesh, method, path):
    answer = await mesh.call(method, path)
    assert (answer.status, answer.code) == (404, "key_not_found")


async def test_restoring_what_is_there_is_a_conflict(mesh):
    await mesh.call("PUT", KEY, {"value": "x"})
    answer = await mesh.call("POST", f"{KEY}/restore")
    assert (answer.status, answer.code) == (409, "key_not_deleted")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", KEY, "keys:write"),
        ("GET", "/api/v1/keys", "keys:write"),
        ("PUT", KEY, "keys:read"),
        ("DELETE", KEY, "chat"),
    ],
)
async def test_a_scope_that_does_not_cover_it_is_refused(mesh, method, path, scope):
    lesser = await mesh.user("ann", scopes=frozenset({scope}))
    answer = await lesser(method, path, {"value": "x"})
    assert (answer.status, answer.code) == (403, "scope_missing")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", KEY), ("PUT", KEY), ("DELETE", KEY), ("POST", f"{KEY}/restore"), ("GET", "/api/v1/keys")],
)
async def test_nobody_gets_in_without_a_token(mesh, method, path):
    answer = await mesh.call(method, path, {"value": "x"}, token=None)
    assert (answer.status, answer.code) == (401, "token_missing")
    assert answer.json["request_id"] == answer.headers["x-request-id"]


async def test_anothers_key_looks_like_one_that_never_was(mesh):
    await mesh.call("PUT", KEY, {"value": "x"})
    bob = await mesh.user("bob")
    theirs, never = await bob("GET", KEY), await bob("GET", "/api/v1/keys/b")
    assert (theirs.status, theirs.code) == (never.status, never.code) == (404, "key_not_found")
    for method, path in (("DELETE", KEY), ("POST", f"{KEY}/restore")):
        assert (await bob(method, path)).code == "key_not_found"
