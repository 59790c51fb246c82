"""A login in the browser at the dev issuer, over HTTP, and every way to go astray on it."""

import pytest

from .browser import (
    CLIENT,
    REDIRECT,
    SCOPE,
    VERIFIER,
    Person,
    authorize,
    claims,
    get,
    redeem,
)


async def test_a_login_in_the_browser(issuer, person):
    page = await person.go(authorize(person.url))
    assert page.status == 200
    assert "localhost:45678" in page.text
    back = await person.sign_in(page, "ann@example.org")
    assert back.status == 303
    assert back.headers["location"].startswith(REDIRECT + "?")
    assert (back.answer["state"], back.answer["iss"]) == ("s&t", person.url)
    status, tokens = await redeem(person.url, back.answer["code"])
    assert (status, tokens["token_type"], tokens["expires_in"], tokens["scope"]) == (200, "Bearer", 3600, SCOPE)
    access, identity = claims(tokens["access_token"]), claims(tokens["id_token"])
    assert (access["iss"], access["aud"], access["sub"]) == (person.url, "mesh", "dev|ann@example.org")
    assert (identity["aud"], identity["nonce"], identity["email"]) == (CLIENT, "n-1", "ann@example.org")
    assert await get(f"{person.url}/userinfo", authorization=f"Bearer {tokens['access_token']}") == (
        200,
        {"sub": "dev|ann@example.org", "name": "ann@example.org", "email": "ann@example.org", "email_verified": False},
    )


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "[::1]"])
async def test_every_name_of_this_machine_and_every_port_is_a_way_back(issuer, person, host):
    redirect = f"http://{host}:50123/callback"
    back = await person.sign_in(await person.go(authorize(person.url, redirect_uri=redirect)))
    assert back.headers["location"].startswith(f"{redirect}?code=")


@pytest.mark.parametrize(
    "redirect",
    [
        None,
        "https://evil.example/callback",
        "http://evil.example:80/callback",
        "http://localhost.evil.example:80/callback",
        "http://localhost:80@evil.example/callback",
        "http://localhost:45678/callback/",
        "http://localhost:45678/callback?next=x",
        "http://localhost:45678/callback#x",
        "http://localhost:45678/other",
        "http://localhost:99999/callback",
        "http://localhost:0/callback",
        "http://localhost/callback",
        "http://127.0.0.2:45678/callback",
        "http://LOCALHOST:45678/callback\r\nx: y",
        "myapp://callback",
    ],
)
async def test_a_wrong_way_back_gets_a_page_and_no_redirect(issuer, person, codes, redirect):
    page = await person.go(authorize(person.url, redirect_uri=redirect))
    assert page.status == 400
    assert "location" not in page.headers
    assert not codes


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": None}, "unsupported_response_type"),
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge": VERIFIER, "code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"audience": "another"}, "invalid_target"),
        ({"prompt": "none"}, "login_required"),
        ({"nonce": "n" * 3000}, "invalid_request"),
    ],
)
async def test_a_wrong_request_is_answered_to_the_application(issuer, person, codes, changes, error):
    page = await person.go(authorize(person.url, **changes))
    assert (page.status, page.answer["error"], page.answer["state"]) == (303, error, "s&t")
    assert page.answer["iss"] == person.url
    assert not codes


async def test_another_client_gets_a_page(issuer, person):
    assert (await person.go(authorize(person.url, client_id="another"))).status == 401


async def test_a_parameter_twice_is_refused(issuer, person):
    page = await person.go(authorize(person.url) + "&state=other")
    assert page.status == 400


async def test_a_cancelled_login_is_told_to_the_application(issuer, person):
    page = await person.sign_in(await person.go(authorize(person.url)), action="deny", code="")
    assert (page.status, page.answer["error"]) == (303, "access_denied")


async def test_a_wrong_code_may_be_tried_five_times(issuer, person, codes):
    page = await person.go(authorize(person.url))
    wrong = "000000" if codes[-1] != "000000" else "111111"
    for _ in range(4):
        again = await person.sign_in(page, code=wrong)
        assert (again.status, "not the code" in again.text) == (403, True)
        assert 'value="ann"' in again.text
    assert (await person.sign_in(page, code=wrong)).status == 403
    over = await person.sign_in(page)
    assert (over.status, "begin again" in over.text) == (400, True)


@pytest.mark.parametrize("code", ["", " ", "not digits", "٣٣٣٣٣٣"])
async def test_no_code_is_no_code(issuer, person, code):
    page = await person.go(authorize(person.url))
    assert (await person.sign_in(page, code=code)).status == 403


async def test_a_code_typed_in_groups_is_the_code(issuer, person, codes):
    page = await person.go(authorize(person.url))
    assert (await person.sign_in(page, code=f" {codes[-1][:3]} {codes[-1][3:]} ")).status == 303


async def test_the_code_of_another_sign_in_is_not_the_code(issuer, person, codes):
    page = await person.go(authorize(person.url))
    await person.go(authorize(person.url))
    if codes[0] != codes[1]:
        assert (await person.sign_in(page)).status == 403


async def test_a_sign_in_is_finished_once(issuer, person):
    page = await person.go(authorize(person.url))
    assert (await person.sign_in(page)).status == 303
    assert (await person.sign_in(page)).status == 400


@pytest.mark.parametrize("name", ["", " ", "a b", "<script>", "a" * 65, "é", "a\nb"])
async def test_a_name_that_is_none_is_asked_for_again(issuer, person, name):
    page = await person.go(authorize(person.url))
    again = await person.sign_in(page, name)
    assert again.status == 400
    assert "<script>" not in again.text
    assert (await person.sign_in(again)).status == 303  # the one-time code was not used up


# --- pages ---


async def test_another_browser_can_not_finish_a_sign_in(issuer, person, codes):
    page = await person.go(authorize(person.url))
    thief = Person(person.url, codes)
    assert (await thief.sign_in(page)).status == 400


@pytest.mark.parametrize(
    "headers", [{"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"}]
)
async def test_a_form_of_another_site_is_refused(issuer, person, headers):
    page = await person.go(authorize(person.url))
    person.headers = headers
    assert (await person.sign_in(page)).status == 403


@pytest.mark.parametrize("destination", ["image", "iframe", "empty"])
async def test_an_embedded_page_opens_no_sign_in(issuer, person, codes, destination):
    person.headers = {"sec-fetch-dest": destination}
    assert (await person.go(authorize(person.url))).status == 403
    assert not codes


async def test_a_host_that_is_not_this_machine_is_refused(issuer, person):
    person.headers = {"host": "evil.example"}
    assert (await person.go(authorize(person.url))).status == 421


async def test_pages_load_nothing_and_are_framed_nowhere(issuer, person):
    for page in (
        await person.go(authorize(person.url)),
        await person.go(f"{person.url}/device"),
        await person.go(f"{person.url}/authorize"),
    ):
        policy = page.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert page.headers["cache-control"] == "no-store"
        assert "<script" not in page.text
        assert "http://" not in page.text.replace("http://localhost:PORT", "")


async def test_what_comes_from_the_address_is_escaped(issuer, person):
    page = await person.go(f"{person.url}/device?user_code=%22%3E%3Cb%3Ex")
    assert "<b>x" not in page.text
    assert "&lt;b&gt;x" in page.text
