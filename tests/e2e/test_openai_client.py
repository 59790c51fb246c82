"""The official `openai` client against a Mesh server, unmodified, with every kind of provider behind it."""

import base64
import json

import openai
import pydantic
import pytest

from .gateway import ANTHROPIC, MOCKED, OPENAI, PLAIN, behave

QUESTION = [{"role": "user", "content": "Say hello."}]
WEATHER = {
    "name": "get_weather",
    "description": "The weather in a city",
    "parameters": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
        "additionalProperties": False,
    },
}
TOOLS = [{"type": "function", "function": WEATHER}]
PNG = "data:image/png;base64," + base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(32)).decode()


class Weather(pydantic.BaseModel):
    """An answer with a shape."""

    city: str
    degrees: int


@pytest.fixture
def local(mesh_server):
    with openai.OpenAI(base_url=f"{mesh_server.url}/v1", api_key=mesh_server.token, max_retries=0) as made:
        yield made


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.token, max_retries=0) as made:
        yield made


@pytest.fixture
async def twin(gateway):
    async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.token, max_retries=0) as made:
        yield made


everyone = pytest.mark.parametrize("model", MOCKED)


# --- the local model -------------------------------------------------------------------------------------


def test_it_chats_with_the_local_model(local, mesh_server):
    answer = local.chat.completions.create(model=mesh_server.profile["default_model"], messages=QUESTION, max_tokens=12)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason in {"stop", "length"}
    assert answer.usage.completion_tokens > 0
    assert answer._request_id.startswith("req_")


def test_it_streams_the_local_model(local, mesh_server):
    stream = local.chat.completions.create(
        model=mesh_server.profile["default_model"],
        messages=QUESTION,
        max_tokens=12,
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = list(stream)
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert chunks[-1].usage.completion_tokens > 0


def test_the_local_model_answers_responses(local, mesh_server):
    model = mesh_server.profile["default_model"]
    answer = local.responses.create(model=model, input="Say hello.", max_output_tokens=12)
    assert answer.output_text
    assert answer.usage.output_tokens > 0
    events = list(local.responses.create(model=model, input="Say hello.", max_output_tokens=12, stream=True))
    said = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[-1].type in {"response.completed", "response.incomplete"}
    assert events[-1].response.output_text == said


def test_structured_output_is_json_of_the_schema(local, mesh_server):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 12}},
        "required": ["city"],
        "additionalProperties": False,
    }
    answer = local.chat.completions.create(
        model=mesh_server.profile["default_model"],
        messages=[{"role": "user", "content": "Name a city."}],
        max_tokens=40,
        response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": schema, "strict": True}},
    )
    assert answer.choices[0].message.content.startswith("{")


# --- chat completions ------------------------------------------------------------------------------------


@everyone
def test_it_chats(client, model):
    answer = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=50)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0


@everyone
async def test_it_streams(twin, model):
    stream = await twin.chat.completions.create(
        model=model, messages=QUESTION, stream=True, stream_options={"include_usage": True}
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage.total_tokens > 0


@everyone
def test_usage_is_not_sent_to_a_stream_that_did_not_ask(client, model):
    stream = client.chat.completions.create(model=model, messages=QUESTION, max_tokens=4, stream=True)
    assert all(chunk.usage is None and chunk.choices for chunk in stream)


@everyone
def test_tools_over_two_turns(client, model):
    messages = [{"role": "user", "content": "What's the weather in Paris?"}]
    first = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    assert first.choices[0].finish_reason == "tool_calls"
    (call,) = first.choices[0].message.tool_calls
    assert (call.function.name, set(json.loads(call.function.arguments))) == ("get_weather", {"city"})
    messages += [first.choices[0].message, {"role": "tool", "tool_call_id": call.id, "content": "21 degrees"}]
    second = client.chat.completions.create(model=model, messages=messages, tools=TOOLS)
    assert second.choices[0].message.content
    assert not second.choices[0].message.tool_calls


@everyone
def test_tools_in_a_stream_are_put_together_by_the_client(client, model):
    with client.chat.completions.stream(model=model, messages=QUESTION, tools=TOOLS) as stream:
        final = stream.get_final_completion()
    (call,) = final.choices[0].message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city"}


@pytest.mark.parametrize("model", [OPENAI, PLAIN])  # llmock as Anthropic does not know output_config.format
def test_structured_output_is_parsed_by_the_client(client, model):
    answer = client.chat.completions.parse(model=model, messages=QUESTION, response_format=Weather)
    assert isinstance(answer.choices[0].message.parsed, Weather)


@everyone
def test_an_image_is_taken(client, model):
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PNG}}]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}])
    assert answer.choices[0].message.content


@everyone
def test_an_effort_is_taken(client, model):
    answer = client.chat.completions.create(model=model, messages=QUESTION, reasoning_effort="low")
    assert answer.choices[0].message.content


# --- Responses -------------------------------------------------------------------------------------------


@everyone
def test_it_answers_responses(client, model):
    answer = client.responses.create(model=model, input="Say hello.", instructions="Be brief.")
    assert answer.output_text
    assert (answer.status, answer.usage.total_tokens > 0) == ("completed", True)


@everyone
async def test_it_streams_responses(twin, model):
    async with twin.responses.stream(model=model, input="Say hello.") as stream:
        said = [event.delta async for event in stream if event.type == "response.output_text.delta"]
        final = await stream.get_final_response()
    assert final.output_text == "".join(said)


@everyone
def test_tools_of_responses_over_two_turns(client, model):
    tools = [{"type": "function", **WEATHER, "strict": True}]
    items = [{"role": "user", "content": "What's the weather in Paris?"}]
    first = client.responses.create(model=model, input=items, tools=tools)
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert set(json.loads(call.arguments)) == {"city"}
    items += [*first.output, {"type": "function_call_output", "call_id": call.call_id, "output": "21 degrees"}]
    assert client.responses.create(model=model, input=items, tools=tools).output_text


# --- the rest --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", [OPENAI, PLAIN])
def test_embeddings(client, model):
    name = "text-embedding-3-small" if model == OPENAI else model
    answer = client.embeddings.create(model=name, input=["a", "b"])
    assert len(answer.data) == 2
    assert all(isinstance(number, float) for number in answer.data[0].embedding)


def test_embeddings_of_the_model_on_this_machine(local, mesh_server):
    model = mesh_server.profile["default_model"]
    near, same, far = local.embeddings.create(model=model, input=["a cat sleeps", "a cat sleeps", "tax law"]).data
    assert near.embedding == same.embedding != far.embedding
    assert local.embeddings.create(model=model, input="a", encoding_format="base64").usage.prompt_tokens > 0
    assert local.chat.completions.create(model=model, messages=QUESTION, max_tokens=4).choices[0].message.content


def test_a_text_that_is_too_long_to_embed_is_a_bad_request(local, mesh_server):
    for _ in range(6):  # nor does it speak against the model
        with pytest.raises(openai.BadRequestError):
            local.embeddings.create(model=mesh_server.profile["default_model"], input="word " * 2000)


def test_embeddings_of_who_makes_none_are_a_bad_request(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=ANTHROPIC, input="a")
    assert caught.value.code == "unsupported_feature"


def test_it_lists_models(client, local, mesh_server):
    assert {OPENAI, ANTHROPIC, PLAIN} <= {model.id for model in client.models.list()}
    assert client.models.retrieve(ANTHROPIC).owned_by == "anthropic"
    assert mesh_server.profile["default_model"] in {model.id for model in local.models.list()}


# --- errors ----------------------------------------------------------------------------------------------

CLASSES = [
    (400, openai.BadRequestError),
    (404, openai.BadRequestError),
    (422, openai.BadRequestError),
    (429, openai.RateLimitError),
    (500, openai.InternalServerError),
    (503, openai.InternalServerError),
]


@pytest.mark.parametrize(("status", "error"), CLASSES)
@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, PLAIN])
def test_a_failure_raises_the_right_class(client, gateway, model, status, error):
    behave(gateway.providers, {"type": "fail", "status": status, "retry_after": 30, "times": 1})
    with pytest.raises(error) as caught:
        client.chat.completions.create(model=model, messages=QUESTION)
    assert caught.value.request_id.startswith("req_")
    if status == 429:
        assert caught.value.response.headers["retry-after"] == "30"


@pytest.mark.parametrize("kind", ["truncate", "malformed", "disconnect"])
@pytest.mark.parametrize("model", [OPENAI, ANTHROPIC, PLAIN])
def test_a_broken_stream_raises_and_is_never_taken_for_whole(client, gateway, model, kind):
    for create in (
        lambda: client.chat.completions.create(model=model, messages=QUESTION, stream=True),
        lambda: client.responses.create(model=model, input="Say hello.", stream=True),
    ):
        behave(gateway.providers, {"type": "stream_fault", "kind": kind, "after_chunks": 3, "times": 1})
        with pytest.raises(openai.APIError) as caught:
            list(create())
        assert "provider_failed" in str(caught.value.body)


def test_an_unknown_model_is_not_found(client):
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="no-such-model", messages=QUESTION)
    assert caught.value.code == "model_not_found"


def test_a_provider_without_a_key_is_a_bad_request(local):
    with pytest.raises(openai.BadRequestError) as caught:
        local.chat.completions.create(model="gpt-4o", messages=QUESTION)
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
