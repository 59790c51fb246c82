"""`mesh-beta` 1.0.3 as it is on PyPI: every public method that works at all works at our server."""

import urllib.parse
import urllib.request

import pytest

from mesh_server.legacy.credits import UNLIMITED

from .published import AUTO, CLIENT, MODULE, ZKP, Published, values

#: Every answer of the provider names the model that it was asked for.
CLAUDE = "claude-sonnet-5-5"


def test_keys(beta):
    results = beta.run(
        CLIENT.store_key("beta_k", "v-1"),
        CLIENT.store_key("beta_k", "v-2"),
        CLIENT.get_key("beta_k"),
        CLIENT.get_key("beta_none"),
        CLIENT.list_keys(),
        CLIENT.store_key("k", "theirs", user_id="auth0|x"),
        CLIENT.get_key("k", user_id="auth0|x"),
        CLIENT.list_keys(user_id="auth0|x"),
        CLIENT.store_key("", "v"),
    )
    first, second, value, none, names, other, theirs, their_names, nameless = values(results)
    assert (first["success"], first["version"], first["originalKeyName"]) == (True, 1, "beta_k")
    assert (second["version"], value, none) == (2, "v-2", None)
    assert "beta_k" in names
    assert (other["success"], theirs, their_names) == (True, "theirs", ["k"])
    assert nameless["success"] is False


def test_chat(beta):
    results = beta.run(
        CLIENT.chat("hi"),
        CLIENT.chat("hi", model="gpt4o"),
        CLIENT.chat("hi", model="claude", temperature=0.1),
        CLIENT.chat("hi", model="plain-model", provider="anthropic"),
        CLIENT.chat("hi", model="ours", max_tokens=50, top_p=0.5, favourite="none"),
        CLIENT.chat("hi", original_response=True),
        CLIENT.chat_with_gpt4o("hi"),
        CLIENT.chat_with_gpt4("hi"),
        CLIENT.chat_with_claude("hi"),
        CLIENT.chat_with_best_model("hi"),
        CLIENT.chat_with_fastest_model("hi"),
        CLIENT.chat_with_cheapest_model("hi", provider="anthropic"),
        CLIENT.chat_with_thinking("hi"),
        CLIENT.chat_with_small_thinking("hi"),
        CLIENT.chat_with_medium_thinking("hi"),
        CLIENT.chat_with_large_thinking("hi"),
    )
    answers = values(results)
    raw = answers.pop(5)
    assert all(isinstance(answer, str) and answer for answer in answers)
    assert "gpt-4o" in answers[0]
    assert CLAUDE in answers[2]
    assert "plain-model" in answers[3]
    assert "plain-model" in answers[4]
    assert raw["choices"][0]["message"]["content"] in answers
    assert (raw["success"], raw["provider"], raw["model"]) == (True, "openai", "gpt-4o")


def test_a_default_model_of_the_person_s_own(beta):
    results = beta.run(
        CLIENT.set_default_model("anthropic", "claude-haiku-5-5"),
        CLIENT.chat("hello", provider="anthropic"),
        CLIENT.reset_default_models(),
        CLIENT.chat("hello", provider="anthropic"),
    )
    _, chosen, _, standard = values(results)
    assert "claude-haiku-5-5" in chosen
    assert CLAUDE in standard


def test_usage_models_credits_users(beta):
    values(beta.run(CLIENT.chat("count me")))  # an answer of these paths has its usage written before it leaves
    results = beta.run(
        CLIENT.get_usage(),
        CLIENT.get_models(),
        CLIENT.get_user_credits("auth0|me"),
        CLIENT.ensure_user_exists("auth0|me", "me@example.com"),
    )
    usage, models, credits_left, user = values(results)
    assert usage["success"] is True
    assert ("openai", "gpt-4o") in [(row["service"], row["model"]) for row in usage["usage"]]
    assert "available_models" not in models  # the client's own list, where the server has none
    assert "gpt-4o" in models["models"]["openai"]
    assert credits_left == {"success": True, "credits": UNLIMITED}
    assert user == {"success": True, "id": "auth0|me"}


def test_module_functions(beta):
    results = beta.run(
        MODULE.store_key("beta_m", "v"),
        MODULE.get_key("beta_m"),
        MODULE.list_keys(),
        MODULE.chat("hello", model="plain-model"),
    )
    stored, value, names, answer = values(results)
    assert (stored["success"], value) == (True, "v")
    assert "beta_m" in names
    assert "plain-model" in answer


def test_the_client_that_renews_itself(beta):
    assert "gpt-4o" in values(beta.run(AUTO.chat("hi")))[0]


@pytest.mark.parametrize("more", ["/", "//"])
def test_a_base_url_with_a_slash(beta, more):
    beta.url += more
    value = values(beta.run(CLIENT.store_key("beta_slash", "v"), CLIENT.get_key("beta_slash")))[1]
    assert value == "v"


def test_an_argument_is_a_login_too(beta, gateway):
    (beta.home / ".mesh/token.json").unlink()
    _, names = values(beta.run(CLIENT.new(auth_token=gateway.token), CLIENT.list_keys()))
    assert isinstance(names, list)


# --- failures are told as the client tells them ---


def test_a_question_that_can_t_be_answered(beta):
    nobody, no_key = values(
        beta.run(CLIENT.chat("hi", model="nonsense", provider="nobody"), CLIENT.chat("hi", key_name="none"))
    )
    for answer, code in ((nobody, "model_not_found"), (no_key, "key_not_found")):
        assert answer["success"] is False
        assert answer["details"]["error"] == "Request failed: 400"
        assert answer["details"]["details"]["error"]["code"] == code
        assert answer["details"]["url"].endswith("/api/v1/completions")


def test_a_token_that_may_not_chat_ends_in_an_answer_and_no_login(beta, gateway):
    lesser = gateway.mesh.command("token", "create", "--user", "lesser", "--scopes", "keys:read")
    assert lesser.returncode == 0, lesser.stderr
    beta.token = lesser.stdout.split()[-1]
    beta.log_in()
    answer, usage, stored = values(beta.run(CLIENT.chat("hi"), CLIENT.get_usage(), CLIENT.store_key("k", "v")))
    assert answer["details"]["details"]["error"]["code"] == "scope_missing"
    assert (usage["success"], stored["success"]) == (False, False)


# --- what can't work, by the client's own fault (docs/reference/published-clients.md) ---


def test_what_never_works(beta):
    results = beta.run(
        MODULE.store_key_zkp("k", "v"),
        MODULE.verify_key("k", "v"),
        ZKP.new(),
        CLIENT.chat_with_cheapest_model("hi", provider="openai"),
    )
    assert [result.get("raised") for result in results] == ["TypeError", "TypeError", "TypeError", "AttributeError"]


def test_its_command_and_its_functions_never_log_in(beta):
    (beta.home / ".mesh/token.json").unlink()
    (beta.folder / ".mesh_token.json").unlink()
    assert beta.command("mesh-auth").returncode == 1
    results = beta.run(MODULE.list_keys(), MODULE.chat("hi"))
    assert all("not implemented" in result["text"] for result in results)


# --- the old scheme ---


@pytest.fixture
def prover(beta_python, old_scheme, tmp_path):
    made = Published(beta_python, tmp_path, old_scheme.url, old_scheme.token)
    made.log_in()
    return made


def test_without_the_old_scheme_there_is_no_yes(beta):
    stored, verified, challenge = values(
        beta.run(CLIENT.store_key_zkp("u", "k", "v"), CLIENT.verify_key("u", "k", "v"), CLIENT.get_challenge("u", "k"))
    )
    assert stored["error"] == "Failed to store key: 426"
    assert "426" in verified["error"]
    assert challenge["error"] == "Failed to get challenge: 426"
    assert "verified" not in verified


def test_with_it_only_the_right_value_is_verified(prover):
    stored, right, wrong, again, none = values(
        prover.run(
            CLIENT.store_key_zkp("u", "k", "right"),
            CLIENT.verify_key("u", "k", "right"),
            CLIENT.verify_key("u", "k", "wrong"),
            CLIENT.verify_key("u", "k", "right"),
            CLIENT.verify_key("u", "other", "right"),
        )
    )
    assert stored["success"] is True
    assert (right["verified"], wrong["verified"], again["verified"]) == (True, False, True)
    assert none.get("verified") is not True


def test_no_commitment_of_it_is_told_even_where_the_vault_has_the_value(prover):
    values(
        prover.run(
            CLIENT.store_key("secret", "value", user_id="u"),
            CLIENT.store_key_zkp("u", "secret", "value"),
        )
    )
    query = urllib.parse.urlencode({"userId": "u", "keyName": "secret"})
    request = urllib.request.Request(
        f"{prover.url}/api/v1/getCommitment?{query}", headers={"Authorization": f"Bearer {prover.token}"}
    )
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(request, timeout=10)
