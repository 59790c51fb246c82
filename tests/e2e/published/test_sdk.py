"""`mesh-sdk` 1.5.6 as it is on PyPI: every public method that works at all works at our server."""

import json

import pytest

from .published import AUTO, CLIENT, MODULE, ZKP, Published, values

CLAUDE = "claude-sonnet-5-5"


def test_keys(sdk):
    results = sdk.run(
        CLIENT.store_key("sdk_k", "v-1"),
        CLIENT.get_key("sdk_k"),
        CLIENT.get_key("sdk_none"),
        CLIENT.list_keys(),
        CLIENT.store_key("k", "theirs", user_id="auth0|y"),
        CLIENT.get_key("k", user_id="auth0|y"),
        CLIENT.list_keys(user_id="auth0|y"),
    )
    stored, value, none, names, other, theirs, their_names = values(results)
    assert (stored["success"], stored["originalKeyName"], value, none) == (True, "sdk_k", "v-1", None)
    assert "sdk_k" in names
    assert (other["success"], theirs, their_names) == (True, "theirs", ["k"])


def test_chat(sdk):
    results = sdk.run(
        CLIENT.chat("hi"),
        CLIENT.chat("hi", model="gpt4o"),
        CLIENT.chat("hi", model="claude", max_tokens=100),
        CLIENT.chat("hi", model="plain-model", provider="google"),
        CLIENT.chat([{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}], model="claude"),
        CLIENT.chat("hi", original_response=True),
    )
    answers = values(results)
    assert all(isinstance(answer, str) and answer for answer in answers)
    assert "gpt-4o" in answers[0]
    assert CLAUDE in answers[2]
    assert "plain-model" in answers[3]
    assert CLAUDE in answers[4]


def test_the_raw_answer(sdk):
    _, raw = values(sdk.run(CLIENT.new(response_format="dict"), CLIENT.chat("hi")))
    assert isinstance(raw["choices"][0]["message"]["content"], str)
    assert (raw["success"], raw["provider"]) == (True, "openai")
    assert raw["usage"]["total_tokens"] >= 0


@pytest.mark.parametrize("model", ["gpt-4o", "claude"])
def test_an_image_goes_along_in_the_words_of_each_maker(sdk, model):
    png = "89504e470d0a1a0a0000000d4948445200000001000000010806000000" + "1f15c4890000000d49444154789c6360606060000000"
    (sdk.folder / "dot.png").write_bytes(bytes.fromhex(png + "050001a5f645400000000049454e44ae426082"))
    (answer,) = values(sdk.run(CLIENT.chat("see", model=model, images="dot.png")))
    assert isinstance(answer, str)
    assert answer


@pytest.mark.parametrize(("model", "named"), [("gpt-4o", "gpt-4o"), ("claude", CLAUDE), ("plain-model", "plain-model")])
def test_a_stream(sdk, model, named):
    (pieces,) = values(sdk.run(CLIENT.stream_chat("hi", model=model)))
    assert len(pieces) > 1
    assert all(pieces)
    assert named in "".join(pieces)


def test_module_functions(sdk):
    results = sdk.run(
        MODULE.store_key("sdk_m", "v"),
        MODULE.get_key("sdk_m"),
        MODULE.list_keys(),
        MODULE.chat("hello", model="plain-model"),
        MODULE.chat([{"role": "user", "content": "hello"}], model="claude", thinking=True),
        MODULE.is_authenticated(),
        MODULE.clear_token(),
        MODULE.is_authenticated(),
    )
    stored, value, names, answer, thought, before, _, after = values(results)
    assert (stored["success"], value) == (True, "v")
    assert "sdk_m" in names
    assert "plain-model" in answer
    assert CLAUDE in thought
    assert (before, after) == (True, False)


def test_the_client_that_renews_itself(sdk):
    assert "gpt-4o" in values(sdk.run(AUTO.chat("hi")))[0]


def test_an_api_key_is_made_and_used(sdk):
    made, kept, read = values(
        sdk.run(CLIENT.generate_api_key("ci"), MODULE.get_mesh_api_key("deploy"), MODULE.get_key("MESH_API_KEY"))
    )
    assert (made["success"], made["api_key"]["name"]) == (True, "ci")
    assert json.loads(read) == kept
    sdk.environment["MESH_API_KEY"] = kept["api_key"]
    sdk.log_in(access_token="no-token-at-all")  # with a key in the environment it sends the key alone
    names, answer = values(sdk.run(CLIENT.list_keys(), CLIENT.chat("hi", model="plain-model")))
    assert "MESH_API_KEY" in names
    assert "plain-model" in answer


def test_a_base_url_with_a_slash(sdk):
    sdk.url += "/"
    assert values(sdk.run(CLIENT.store_key("sdk_slash", "v"), CLIENT.get_key("sdk_slash")))[1] == "v"


# --- failures are told as the client tells them ---


def test_a_question_that_can_t_be_answered(sdk):
    results = sdk.run(
        CLIENT.chat("hi", model="nonsense", provider="nobody"),
        CLIENT.stream_chat("hi", model="nonsense"),
        CLIENT.chat("hi", key_name="none"),
    )
    assert [result.get("raised") for result in results] == ["Exception"] * 3
    for result in results[:2]:
        assert "400" in result["text"]
        assert "No provider of this server has the model 'nonsense'" in result["text"]


# --- what can't work, by the client's own fault (docs/reference/published-clients.md) ---


def test_what_never_works(sdk):
    results = sdk.run(MODULE.complete("hi"), MODULE.image("a cat"))
    assert "raised" in results[0]
    assert "raised" in results[1] or results[1]["value"].get("success") is not True
    done = sdk.command("mesh-pre-deploy")
    assert done.returncode != 0
    assert "ImportError" in done.stderr


def test_the_order_of_its_arguments_is_another_one_than_people_believe(prover):
    """Whoever writes user, name and value sends the value as the user: nobody is told that it was verified."""
    stored, verified = values(
        prover.run(ZKP.store_key_zkp("u", "name", "value-1"), ZKP.verify_key("u", "name", "value-1"))
    )
    assert stored["success"] is True
    assert verified.get("verified") is not True


# --- the old scheme ---


@pytest.fixture
def prover(sdk_python, old_scheme, tmp_path):
    made = Published(sdk_python, tmp_path, old_scheme.url, old_scheme.token)
    made.log_in()
    return made


def test_without_the_old_scheme_there_is_no_yes(sdk):
    stored, verified, challenge, commitment, by_module = values(
        sdk.run(
            ZKP.store_key_zkp("k", "v"),
            ZKP.verify_key("k", "v"),
            ZKP.get_challenge("u", "k"),
            ZKP.get_commitment("k"),
            MODULE.verify_key("k", "v"),
        )
    )
    for answer in (stored, verified, challenge, commitment):
        assert answer["success"] is False
        assert "426" in answer["error"]
    assert by_module is False


def test_with_it_only_the_right_value_is_verified_where_the_vault_has_it(prover):
    _, stored, right, wrong, challenge, by_module, wrong_by_module = values(
        prover.run(
            CLIENT.store_key("k", "right"),
            ZKP.store_key_zkp("k", "right"),
            ZKP.verify_key("k", "right"),
            ZKP.verify_key("k", "wrong"),
            ZKP.get_challenge("u", "k"),
            MODULE.verify_key("k", "right"),
            MODULE.verify_key("k", "wrong"),
        )
    )
    assert stored["success"] is True
    assert (right["verified"], wrong["verified"]) == (True, False)
    assert len(challenge["challenge"]) == 64
    assert (by_module, wrong_by_module) == (True, False)


def test_without_the_value_in_the_vault_nothing_is_verified_or_told(prover):
    stored, commitment, right, wrong, by_module = values(
        prover.run(
            MODULE.store_key_zkp("bare", "right"),
            ZKP.get_commitment("bare"),
            ZKP.verify_key("bare", "right"),
            ZKP.verify_key("bare", "wrong"),
            MODULE.verify_key("bare", "right"),
        )
    )
    assert stored["success"] is True
    assert "commitment" not in commitment
    for answer in (right, wrong):
        assert answer.get("verified") is not True
    assert by_module is False
