"""The official `openai` client against a Mesh server, unmodified."""

import openai
import pytest


@pytest.fixture
def client(mesh_server):
    with openai.OpenAI(base_url=f"{mesh_server.url}/v1", api_key=mesh_server.token, max_retries=0) as made:
        yield made


QUESTION = [{"role": "user", "content": "Say hello."}]


def test_it_chats_with_the_local_model(client, mesh_server):
    answer = client.chat.completions.create(
        model=mesh_server.profile["default_model"], messages=QUESTION, max_tokens=12
    )
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage.completion_tokens > 0
    assert answer._request_id.startswith("req_")


def test_it_streams(client, mesh_server):
    stream = client.chat.completions.create(
        model=mesh_server.profile["default_model"],
        messages=QUESTION,
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage.completion_tokens > 0


def test_usage_is_not_sent_to_a_stream_that_did_not_ask(client, mesh_server):
    stream = client.chat.completions.create(
        model=mesh_server.profile["default_model"], messages=QUESTION, max_tokens=4, stream=True
    )
    assert all(chunk.usage is None and chunk.choices for chunk in stream)


def test_structured_output_is_json_of_the_schema(client, mesh_server):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=mesh_server.profile["default_model"],
        messages=[{"role": "user", "content": "Name a city."}],
        max_tokens=40,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
    )
    assert answer.choices[0].message.content.startswith("{")


def test_it_lists_models(client, mesh_server):
    assert mesh_server.profile["default_model"] in {model.id for model in client.models.list()}


async def test_the_async_client_streams(mesh_server):
    async with openai.AsyncOpenAI(base_url=f"{mesh_server.url}/v1", api_key=mesh_server.token) as client:
        stream = await client.chat.completions.create(
            model=mesh_server.profile["default_model"], messages=QUESTION, max_tokens=8, stream=True
        )
        assert [chunk async for chunk in stream]


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=QUESTION)
    assert caught.value.code == "model_not_found"


def test_a_provider_without_a_key_is_a_bad_request(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="gpt-4o", messages=QUESTION)
    assert "openai_key" in caught.value.message


def test_a_wrong_token_is_an_authentication_error(mesh_server):
    with (
        openai.OpenAI(base_url=f"{mesh_server.url}/v1", api_key="mesh_wrong", max_retries=0) as client,
        pytest.raises(openai.AuthenticationError),
    ):
        client.chat.completions.create(model="x", messages=QUESTION)


def test_a_path_that_is_not_there_is_not_found(client):
    with pytest.raises(openai.NotFoundError):
        client.batches.list()
