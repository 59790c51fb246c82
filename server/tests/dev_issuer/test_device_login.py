"""The dev issuer's device login, its tokens and its state, over HTTP."""

import os
import stat

import pytest

from mesh_server.dev_issuer.serve import serving
from mesh_server.dev_issuer.store import FILE
from mesh_server.errors import StartupError

from .browser import (
    CLIENT,
    Person,
    begin_device,
    claims,
    get,
    log_in,
    poll,
    post,
)


async def test_a_device_logs_in(issuer, person):
    begun = await begin_device(person.url)
    page = await person.go(begun["verification_uri_complete"])
    assert f'value="{begun["user_code"]}"' in page.text
    page = await person.submit(page, user_code=begun["user_code"])
    assert begun["user_code"] in page.text
    assert "All set" in (await person.sign_in(page)).text
    status, tokens = await poll(person.url, begun)
    assert (status, claims(tokens["access_token"])["sub"]) == (200, "dev|ann")
    assert tokens["refresh_token"]


async def test_a_device_is_pending_then_slowed_down_with_400(issuer, person):
    begun = await begin_device(person.url)
    answers = [await poll(person.url, begun) for _ in range(2)]
    assert [(status, body["error"]) for status, body in answers] == [
        (400, "authorization_pending"),
        (400, "slow_down"),
    ]


async def test_a_denied_device_is_told_so(issuer, person):
    begun = await begin_device(person.url)
    page = await person.submit(await person.go(begun["verification_uri"]), user_code=begun["user_code"])
    assert "Cancelled" in (await person.sign_in(page, action="deny", code="")).text
    status, body = await poll(person.url, begun)
    assert (status, body["error"]) == (400, "access_denied")


async def test_wrong_user_codes_are_limited(issuer, person):
    page = await person.go(f"{person.url}/device")
    statuses = [(await person.submit(page, user_code="BBBB-BBBB")).status for _ in range(31)]
    assert statuses == [400] * 30 + [429]


# --- tokens ---


async def test_a_reused_refresh_token_ends_the_session_also_after_a_restart(tmp_path, codes):
    async with serving(tmp_path, codes.append) as issuer:
        url = issuer.settings.url
        tokens = await log_in(Person(url, codes))
        first = tokens["refresh_token"]
        for _ in range(2):
            tokens = (
                await post(
                    f"{url}/token",
                    grant_type="refresh_token",
                    client_id=CLIENT,
                    refresh_token=tokens["refresh_token"],
                )
            )[1]
        status, body = await post(f"{url}/token", grant_type="refresh_token", client_id=CLIENT, refresh_token=first)
        assert (status, body["error"]) == (400, "invalid_grant")
    async with serving(tmp_path, codes.append) as issuer:
        status, body = await post(
            f"{issuer.settings.url}/token",
            grant_type="refresh_token",
            client_id=CLIENT,
            refresh_token=tokens["refresh_token"],
        )
        assert (status, body["error"]) == (400, "invalid_grant")


async def test_logins_and_keys_outlive_a_restart(tmp_path, codes):
    async with serving(tmp_path, codes.append) as issuer:
        tokens = await log_in(Person(issuer.settings.url, codes))
        before = await get(f"{issuer.settings.url}/jwks")
    if os.name == "posix":
        assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert tokens["refresh_token"] not in (tmp_path / FILE).read_text()
    async with serving(tmp_path, codes.append) as issuer:
        assert await get(f"{issuer.settings.url}/jwks") == before
        status, _ = await post(
            f"{issuer.settings.url}/token",
            grant_type="refresh_token",
            client_id=CLIENT,
            refresh_token=tokens["refresh_token"],
        )
        assert status == 200


async def test_a_state_that_can_not_be_read_is_said_in_a_sentence(tmp_path, codes):
    (tmp_path / FILE).write_text("{broken")
    with pytest.raises(StartupError, match="delete it"):
        async with serving(tmp_path, codes.append):
            pass


async def test_a_revoked_login_is_over(issuer, person):
    tokens = await log_in(person)
    assert await post(f"{person.url}/revoke", client_id=CLIENT, token=tokens["refresh_token"]) == (200, {})
    assert await post(f"{person.url}/revoke", client_id=CLIENT, token="never there") == (200, {})
    status, body = await post(
        f"{person.url}/token", grant_type="refresh_token", client_id=CLIENT, refresh_token=tokens["refresh_token"]
    )
    assert (status, body["error"]) == (400, "invalid_grant")
    status, _ = await get(f"{person.url}/userinfo", authorization=f"Bearer {tokens['access_token']}")
    assert status == 401


async def test_keys_take_turns_and_the_old_one_stays_for_its_tokens(issuer, person):
    tokens = await log_in(person)
    issuer.signer.rotate(issuer.now())
    status, published = await get(f"{person.url}/jwks")
    assert len(published["keys"]) == 2
    assert all("d" not in key for key in published["keys"])
    status, _ = await get(f"{person.url}/userinfo", authorization=f"Bearer {tokens['access_token']}")
    assert status == 200
    issuer.signer.rotate(issuer.now() + 3601)
    assert len(issuer.signer.jwks()["keys"]) == 2


async def test_the_documents_name_what_is_there(issuer):
    url = issuer.settings.url
    status, document = await get(f"{url}/.well-known/openid-configuration")
    assert (status, document["issuer"]) == (200, url)
    assert document["code_challenge_methods_supported"] == ["S256"]
    for name in ("jwks_uri", "userinfo_endpoint"):
        assert (await get(document[name]))[0] in {200, 401}


@pytest.mark.parametrize(
    ("form", "status", "error"),
    [
        ({"client_id": CLIENT}, 400, "invalid_request"),
        ({"client_id": CLIENT, "grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"client_id": CLIENT, "grant_type": "refresh_token"}, 400, "invalid_request"),
        ({"client_id": CLIENT, "grant_type": "refresh_token", "refresh_token": "x"}, 400, "invalid_grant"),
        ({"client_id": "other", "grant_type": "refresh_token", "refresh_token": "x"}, 401, "invalid_client"),
        ({"grant_type": "refresh_token"}, 401, "invalid_client"),
        ({"client_id": CLIENT, "grant_type": "refresh_token", "refresh_token": "x" * 40_000}, 413, "invalid_request"),
    ],
)
async def test_a_wrong_token_request_is_refused_as_oauth_says(issuer, form, status, error):
    answered, body = await post(f"{issuer.settings.url}/token", **form)
    assert (answered, body["error"]) == (status, error)


async def test_no_secret_is_in_the_log(issuer, person, codes, caplog, capfd):
    import structlog

    caplog.set_level("DEBUG")
    structlog.reset_defaults()
    tokens = await log_in(person)
    begun = await begin_device(person.url)
    await poll(person.url, begun)
    logged = caplog.text + "".join(capfd.readouterr())
    for secret in (tokens["access_token"], tokens["refresh_token"], begun["device_code"], begun["user_code"], *codes):
        assert secret not in logged


@pytest.mark.parametrize("endpoint", ["device_authorization", "token", "revoke"])
async def test_a_page_of_another_site_can_not_use_an_endpoint_for_programs(issuer, person, endpoint):
    from .browser import Page

    person.headers = {"sec-fetch-site": "cross-site"}
    page = Page(200, {}, f'action="/dev-issuer/{endpoint}"')
    assert (await person.submit(page, client_id=CLIENT, token="x")).status == 403
