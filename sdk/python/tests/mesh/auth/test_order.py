"""Who a client is, in which order, and what it does when the login is due, refused, or over."""

import asyncio
import threading
import time

import pytest

import mesh
from mesh.auth.store import Store


def sent(issuer):
    return [ask.headers.get("authorization", "").removeprefix("Bearer ") for ask in issuer.requests("/api/v1/keys")]


# --- the order ---


def test_an_argument_wins_over_everything_and_is_never_stored(make, issuer, logged_in, monkeypatch, store):
    login = logged_in()
    monkeypatch.setenv("MESH_AUTH_TOKEN", "given-by-environment")
    make(auth_token="given-by-argument").list_keys()
    assert sent(issuer) == ["given-by-argument"]
    assert store.load() == login


def test_the_environment_wins_over_a_stored_login(make, issuer, logged_in, monkeypatch):
    logged_in()
    monkeypatch.setenv("MESH_AUTH_TOKEN", "given-by-environment")
    make().list_keys()
    assert sent(issuer) == ["given-by-environment"]


def test_a_stored_login_wins_over_the_profiles_token(make, issuer, logged_in, folder):
    login = logged_in()
    write_profile(folder, issuer.url)
    make().list_keys()
    assert sent(issuer) == [login.access_token.reveal()]


def test_the_profiles_token_is_used_where_there_is_no_login(make, issuer, folder):
    write_profile(folder, issuer.url)
    make(url=None).list_keys()
    assert sent(issuer) == ["mesh_of_the_profile"]


def test_a_profiles_token_that_was_replaced_is_read_again(make, issuer, folder):
    write_profile(folder, issuer.url)
    client = make()
    client.list_keys()
    (folder / "dev.token").write_text("mesh_the_next")
    refused = {"success": False, "error": {"code": "token_revoked", "message": "No."}}
    issuer.fault("/api/v1/keys", (401, refused))
    with pytest.raises(mesh.AuthenticationError):
        client.list_keys()
    client.list_keys()
    assert sent(issuer)[-1] == "mesh_the_next"


def test_without_a_terminal_it_fails_at_once_and_names_the_command(make, issuer):
    answer = make().chat("hi")
    assert answer["code"] == "not_logged_in"
    assert "mesh-auth" in answer["troubleshooting"][0]
    assert not issuer.asked


def test_in_ci_it_fails_at_once_even_on_a_terminal(make, issuer, monkeypatch):
    import sys

    for stream in (sys.stdin, sys.stderr):
        monkeypatch.setattr(stream, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("CI", "true")
    assert make().chat("hi")["code"] == "not_logged_in"
    assert not issuer.asked


def test_a_login_never_goes_to_another_origin(make, issuer, logged_in):
    logged_in()
    other = issuer.url.replace("127.0.0.1", "localhost")
    assert make(other).chat("hi")["code"] == "not_logged_in"
    assert not sent(issuer)


def test_a_login_file_renamed_to_another_server_does_not_open(make, issuer, logged_in, store, folder):
    logged_in()
    other = Store(folder, "http://localhost:1")
    store.path.replace(other.path)
    assert make("http://localhost:1").chat("hi")["code"] == "not_logged_in"


def test_a_login_of_another_client_is_not_used(make, logged_in):
    logged_in()
    assert make(client_id="client-2").chat("hi")["code"] == "not_logged_in"
    assert make(client_id="client-1").list_keys() == []


def test_a_login_made_after_the_first_call_is_found(make, issuer, logged_in):
    client = make()
    assert client.chat("hi")["code"] == "not_logged_in"
    logged_in()
    assert client.chat("hi").success


def test_a_warm_call_reads_no_file(make, logged_in, monkeypatch):
    logged_in()
    client = make()
    client.list_keys()
    monkeypatch.setattr(Store, "load", lambda _: pytest.fail("the store was read"))
    monkeypatch.setattr(Store, "exists", lambda _: pytest.fail("the store was looked at"))
    client.list_keys()


# --- first use at a terminal ---


def test_first_use_logs_in_by_device_and_remembers_it(make, issuer, at_terminal, capsys, profile_text, store):
    issuer.decision = "approve"
    assert make().chat("hi").content == "Hello"
    shown = capsys.readouterr()
    assert not shown.out
    assert "ABCD-EFGH" in shown.err
    assert f"{issuer.issuer}activate?user_code=ABCD-EFGH" in shown.err
    assert store.load().name == "ada@example.com"
    assert f'server_url = "{issuer.url}"' in profile_text()
    assert 'server_id = "mesh:127.0.0.1"' in profile_text()
    for secret in (*issuer.access, *issuer.codes):
        assert secret not in shown.err


def test_of_many_threads_one_asks_the_person(issuer, at_terminal):
    issuer.decision = "approve"
    with mesh.MeshClient(issuer.url) as client:
        results = []
        threads = [threading.Thread(target=lambda: results.append(client.chat("hi").success)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == [True] * 8
    assert len(issuer.requests("/oauth/device/code")) == 1
    assert issuer.profiles == 2  # when the person had logged in, and before the first chat


def test_a_person_who_declines_is_believed(make, issuer, at_terminal, store):
    issuer.decision = "deny"
    client = make()
    assert client.chat("hi")["code"] == "login_denied"
    with pytest.raises(mesh.LoginFailed):
        client.list_keys()
    assert not store.exists()


def test_nothing_is_sent_to_the_hosted_server_before_a_person_agreed(monkeypatch, make, at_terminal):
    from mesh.auth.screen import Screen

    asked = []
    monkeypatch.setattr(Screen, "ask", lambda _, question: asked.append(question))
    sent = []

    class Recording:
        def send(self, request):
            sent.append(request)

        def close(self):
            pass

    with mesh.MeshClient(auth_token="given", transport=Recording()) as client:
        assert client.chat("hi")["code"] == "server_not_configured"
    assert "https://mesh-abh5.onrender.com" in asked[0]
    assert "MESH_API_URL" in asked[0]
    assert not sent


def test_who_agrees_to_the_hosted_server_logs_in_there_and_is_not_asked_again(
    make, issuer, at_terminal, monkeypatch, profile_text
):
    asked = []
    monkeypatch.setattr("mesh._config.HOSTED_URL", issuer.url)
    monkeypatch.setattr("mesh.auth.screen.Screen.ask", lambda _, question: asked.append(question) or True)
    issuer.decision = "approve"
    with mesh.MeshClient() as client:
        assert client.chat("hi").success
        assert client.chat("hi").success
    with mesh.MeshClient() as client:
        assert client.chat("hi").success
    assert len(asked) == 1
    assert issuer.url in profile_text()


def test_who_declines_the_hosted_server_is_not_asked_again(at_terminal, monkeypatch):
    asked = []
    monkeypatch.setattr("mesh.auth.screen.Screen.ask", lambda _, question: asked.append(question))
    with mesh.MeshClient() as client:
        for _ in range(3):
            assert client.chat("hi")["code"] == "server_not_configured"
    assert len(asked) == 1


# --- renewal ---


def test_a_login_that_is_due_is_renewed_before_the_call(make, issuer, logged_in, store):
    logged_in(expires_in=0.5)  # due from the beginning: the window is a second at least
    make().list_keys()
    assert len(issuer.refreshes) == 1
    assert sent(issuer) == [store.load().access_token.reveal()]


def test_a_login_that_is_fresh_is_not(make, issuer, logged_in):
    logged_in()
    make().list_keys()
    assert not issuer.refreshes


@pytest.mark.parametrize(("life", "margin", "window"), [(3600, 300, 300), (600, 300, 120), (3, 300, 1), (3600, 5, 5)])
def test_the_window_is_the_margin_or_a_fifth_of_the_life(logged_in, life, margin, window):
    login = logged_in(expires_in=life)
    assert login.expires_at - login.renew_at(margin) == pytest.approx(window)


@pytest.mark.parametrize(("variable", "argument"), [(None, False), ("false", None)])
def test_who_wants_no_renewal_gets_none(make, issuer, logged_in, monkeypatch, variable, argument):
    if variable:
        monkeypatch.setenv("AUTO_REFRESH", variable)
    logged_in(expires_in=0.5)
    issuer.access.clear()
    client = make(auto_refresh=argument)
    with pytest.raises(mesh.AuthenticationError) as caught:
        client.list_keys()
    assert caught.value.code == "token_expired"
    assert not issuer.refreshes


def test_a_refused_login_is_renewed_once_and_the_call_repeated(make, issuer, logged_in):
    logged_in()
    issuer.access.clear()  # the server knows it no more, whatever the clock says
    assert make().list_keys() == []
    assert len(issuer.refreshes) == 1
    assert len(issuer.requests("/api/v1/keys")) == 2


def test_a_login_that_is_refused_again_is_told(make, issuer, logged_in):
    logged_in()
    refused = {"success": False, "error": {"code": "token_invalid", "message": "No."}}
    issuer.fault("/api/v1/keys", *[(401, refused)] * 9)
    with pytest.raises(mesh.AuthenticationError) as caught:
        make().list_keys()
    assert caught.value.code == "token_invalid"
    assert len(issuer.refreshes) == 1
    assert len(issuer.requests("/api/v1/keys")) == 2


def test_a_given_token_is_never_renewed(make, issuer, logged_in):
    logged_in()
    with pytest.raises(mesh.AuthenticationError):
        make(auth_token="another").list_keys()
    assert not issuer.refreshes


def test_a_revoked_login_is_over_for_every_process(make, issuer, logged_in, store):
    logged_in(expires_in=0.5)
    for family in issuer.families.values():
        family["ended"] = True
    first, second = make(), make()
    with pytest.raises(mesh.SessionEnded):
        first.list_keys()
    assert not store.exists()
    with pytest.raises(mesh.AuthenticationError):
        second.list_keys()
    with pytest.raises(mesh.AuthenticationError):
        first.list_keys()
    assert len(issuer.requests("/oauth/token")) == 1  # and nobody asks again


def test_an_issuer_that_is_down_does_not_matter_while_the_token_is_good(make, issuer, logged_in):
    logged_in(expires_in=0.9)
    issuer.fault("/oauth/token", *[(503, {})] * 3)
    client = make()
    assert client.list_keys() == []
    assert client.list_keys() == []  # and it is not asked again at once
    assert len(issuer.requests("/oauth/token")) == 3


def test_an_issuer_that_is_down_when_the_token_is_over_is_told_and_nothing_is_lost(make, issuer, logged_in, store):
    logged_in(expires_in=0)
    issuer.fault("/oauth/token", *[(503, {})] * 3)
    client = make()
    with pytest.raises(mesh.ConnectionFailed) as caught:
        client.list_keys()
    assert caught.value.code == "login_unavailable"
    assert client.list_keys() == []


def test_another_process_that_was_faster_is_believed(make, issuer, logged_in, store):
    logged_in()
    client = make()
    client.list_keys()
    newer = logged_in()
    issuer.access.pop(sent(issuer)[0])
    assert client.list_keys() == []
    assert not issuer.refreshes
    assert sent(issuer)[-1] == newer.access_token.reveal()


def test_a_logout_elsewhere_ends_the_session_when_the_token_does(make, issuer, logged_in, store):
    logged_in()
    client = make()
    client.list_keys()
    store.erase()
    issuer.access.clear()
    with pytest.raises(mesh.SessionEnded):
        client.list_keys()
    with pytest.raises(mesh.AuthenticationError) as caught:
        client.list_keys()
    assert caught.value.code == "not_logged_in"


def test_a_disk_that_is_full_costs_no_call_and_no_refresh_token(make, issuer, logged_in, store, monkeypatch, caplog):
    logged_in(expires_in=0.5)
    issuer.life = 0.5
    client = make()
    full = mesh.MeshError("full", code="login_store_unreadable")

    def fails(*_):
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(Store, "save", fails)
        assert client.list_keys() == []
        assert "could not be stored" in caplog.text
        time.sleep(0.5)
        assert client.list_keys() == []
    time.sleep(0.5)
    assert client.list_keys() == []
    assert issuer.reuses == 0
    assert store.load().refresh_token is not None


def test_of_many_tasks_one_renews(issuer, logged_in):
    logged_in(expires_in=0.5)

    async def main():
        async with mesh.AsyncMeshClient(issuer.url) as client:
            return await asyncio.gather(*(client.list_keys() for _ in range(50)))

    assert asyncio.run(main()) == [[]] * 50
    assert len(issuer.refreshes) == 1


def test_a_cancelled_caller_does_not_cost_the_login(issuer, logged_in, store):
    """The reply of a refresh may hold the only successor of the token, whoever waits for it."""
    logged_in(expires_in=0.5)
    proceed = threading.Event()

    def slowly(ask):
        proceed.wait(5)
        issuer.token(ask)

    issuer.fault("/oauth/token", slowly)

    async def main():
        async with mesh.AsyncMeshClient(issuer.url) as client:
            with pytest.raises(asyncio.TimeoutError):
                await asyncio.wait_for(client.list_keys(), 0.2)
            proceed.set()
            assert await client.list_keys() == []

    asyncio.run(main())
    assert issuer.reuses == 0
    assert len(issuer.refreshes) == 1


def write_profile(folder, url):
    folder.mkdir(exist_ok=True)
    (folder / "dev.token").write_text("mesh_of_the_profile\n")
    (folder / "config.toml").write_text(
        f'default = "dev"\n[profiles.dev]\nserver_url = "{url}"\ntoken_file = "dev.token"\n'
    )
