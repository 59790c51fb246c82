"""The official `anthropic` client against a Mesh server, unmodified, with every kind of provider behind it."""

import base64

import anthropic
import pytest

from .gateway import ANTHROPIC, MOCKED, OPENAI, PLAIN, behave

QUESTION = [{"role": "user", "content": "Say hello."}]
TOOL = {
    "name": "get_weather",
    "description": "The weather in a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32)).decode()


@pytest.fixture
def client(gateway):
    with anthropic.Anthropic(base_url=gateway.url, api_key=gateway.token, max_retries=0) as made:
        yield made


@pytest.fixture
async def twin(gateway):
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.token, max_retries=0) as made:
        yield made


@pytest.fixture
def local(mesh_server):
    with anthropic.Anthropic(base_url=mesh_server.url, api_key=mesh_server.token, max_retries=0) as made:
        yield made


everyone = pytest.mark.parametrize("model", MOCKED)


def test_it_speaks_to_the_local_model(local, mesh_server):
    model = mesh_server.profile["default_model"]
    answer = local.messages.create(model=model, max_tokens=12, messages=QUESTION, system="Be brief.")
    assert answer.content[0].text
    assert answer.stop_reason in {"end_turn", "max_tokens"}
    assert answer.usage.output_tokens > 0
    with local.messages.stream(model=model, max_tokens=12, messages=QUESTION) as stream:
        said = "".join(stream.text_stream)
        assert stream.get_final_message().content[0].text == said
    counted = local.messages.with_raw_response.count_tokens(model=model, messages=QUESTION, system="Be brief.")
    assert counted.parse().input_tokens > 10  # with what the model's template adds
    assert "mesh-warnings" not in counted.headers  # not an estimate


@everyone
def test_it_answers(client, model):
    answer = client.messages.create(model=model, max_tokens=50, messages=QUESTION)
    assert answer.content[0].text
    assert (answer.stop_reason, answer.type, answer.role) == ("end_turn", "message", "assistant")
    assert answer.usage.input_tokens >= 0
    assert answer.usage.output_tokens > 0
    assert answer._request_id.startswith("req_")


@everyone
async def test_it_streams(twin, model):
    async with twin.messages.stream(model=model, max_tokens=50, messages=QUESTION) as stream:
        said = [text async for text in stream.text_stream]
        final = await stream.get_final_message()
    assert final.content[0].text == "".join(said)
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 0


@everyone
def test_the_raw_events_come_in_their_order(client, model):
    events = [
        event.type for event in client.messages.create(model=model, max_tokens=50, messages=QUESTION, stream=True)
    ]
    assert events[:2] == ["message_start", "content_block_start"]
    assert events[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@everyone
def test_tools_over_two_turns(client, model):
    messages = [{"role": "user", "content": "What's the weather in Paris?"}]
    first = client.messages.create(model=model, max_tokens=200, messages=messages, tools=[TOOL])
    (call,) = [block for block in first.content if block.type == "tool_use"]
    assert (first.stop_reason, call.name, set(call.input)) == ("tool_use", "get_weather", {"city"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "21 degrees"}
    messages += [{"role": "assistant", "content": first.content}, {"role": "user", "content": [result]}]
    second = client.messages.create(model=model, max_tokens=200, messages=messages, tools=[TOOL])
    assert second.content[0].text
    assert second.stop_reason == "end_turn"


@everyone
async def test_tools_in_a_stream_are_put_together_by_the_client(twin, model):
    async with twin.messages.stream(model=model, max_tokens=200, messages=QUESTION, tools=[TOOL]) as stream:
        final = await stream.get_final_message()
    (call,) = [block for block in final.content if block.type == "tool_use"]
    assert set(call.input) == {"city"}


@everyone
def test_a_forced_tool_is_called(client, model):
    choice = {"type": "tool", "name": "get_weather", "disable_parallel_tool_use": True}
    answer = client.messages.create(model=model, max_tokens=200, messages=QUESTION, tools=[TOOL], tool_choice=choice)
    assert answer.stop_reason == "tool_use"


@everyone
def test_an_image_is_taken(client, model):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    messages = [{"role": "user", "content": [image, {"type": "text", "text": "What is this?"}]}]
    assert client.messages.create(model=model, max_tokens=50, messages=messages).content[0].text


@everyone
def test_thinking_and_effort_are_taken(client, model):
    answer = client.messages.create(
        model=model,
        max_tokens=50,
        messages=QUESTION,
        thinking={"type": "adaptive"},
        output_config={"effort": "low"},
    )
    assert answer.content[-1].text


@everyone
def test_marks_for_the_cache_are_taken(client, model):
    system = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
    assert client.messages.create(model=model, max_tokens=50, messages=QUESTION, system=system).content[0].text


@everyone
def test_tokens_are_counted(client, model):
    assert client.messages.count_tokens(model=model, messages=QUESTION, tools=[TOOL]).input_tokens > 0


def test_an_older_client_comes_with_the_older_header(gateway):
    with anthropic.Anthropic(
        base_url=gateway.url,
        api_key="none",
        max_retries=0,
        default_headers={"x-api-key": gateway.token, "authorization": "", "anthropic-version": "2023-06-01"},
    ) as client:
        assert client.messages.create(model=ANTHROPIC, max_tokens=50, messages=QUESTION).content[0].text


def test_it_lists_models(client):
    found = {model.id: model for model in client.models.list()}
    assert {OPENAI, ANTHROPIC, PLAIN} <= set(found)
    assert (found[ANTHROPIC].display_name, found[ANTHROPIC].lifecycle) == ("Claude Haiku 5.5", "active")
    assert client.models.retrieve(OPENAI).max_input_tokens == 1_050_000


# --- errors ----------------------------------------------------------------------------------------------

CLASSES = [
    (400, anthropic.BadRequestError),
    (404, anthropic.BadRequestError),
    (413, anthropic.APIStatusError),
    (429, anthropic.RateLimitError),
    (500, anthropic.InternalServerError),
    (529, anthropic.InternalServerError),
]


@pytest.mark.parametrize(("status", "error"), CLASSES)
@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, PLAIN])
def test_a_failure_raises_the_right_class(client, gateway, model, status, error):
    behave(gateway.providers, {"type": "fail", "status": status, "retry_after": 30, "times": 1})
    with pytest.raises(error) as caught:
        client.messages.create(model=model, max_tokens=50, messages=QUESTION)
    assert caught.value.request_id.startswith("req_")
    if status in {413, 429, 529}:
        assert caught.value.status_code == status


@pytest.mark.parametrize("kind", ["truncate", "malformed", "disconnect"])
@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, PLAIN])
def test_a_broken_stream_raises_and_is_never_taken_for_whole(client, gateway, model, kind):
    behave(gateway.providers, {"type": "stream_fault", "kind": kind, "after_chunks": 3, "times": 1})
    with (
        pytest.raises(anthropic.APIStatusError) as caught,
        client.messages.stream(model=model, max_tokens=50, messages=QUESTION) as stream,
    ):
        stream.get_final_message()
    assert caught.value.body["error"]["details"]["error_code"] == "provider_failed"


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="no-such-model", max_tokens=5, messages=QUESTION)


def test_a_provider_without_a_key_is_a_bad_request(local):
    with pytest.raises(anthropic.BadRequestError, match="anthropic_key"):
        local.messages.create(model="claude-opus-5-5", max_tokens=5, messages=QUESTION)


def test_a_wrong_token_is_an_authentication_error(gateway):
    with (
        anthropic.Anthropic(base_url=gateway.url, api_key="mesh_wrong", max_retries=0) as client,
        pytest.raises(anthropic.AuthenticationError),
    ):
        client.messages.create(model="x", max_tokens=5, messages=QUESTION)


def test_batches_are_not_there(client):
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.list()
