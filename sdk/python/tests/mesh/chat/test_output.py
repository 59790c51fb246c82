"""Structured output: classes in, objects out."""

import asyncio
from dataclasses import dataclass
from typing import Annotated, Literal, TypedDict

import msgspec
import pydantic
import pytest

import mesh
from mesh._chat import partial


@dataclass
class City:
    name: str
    people: int
    nick: str | None = None


class CityDict(TypedDict):
    name: str
    people: int


class CityStruct(msgspec.Struct):
    name: str
    people: int


class CityModel(pydantic.BaseModel):
    name: str
    people: int


class Country(pydantic.BaseModel):
    capital: CityModel
    cities: list[CityModel]


PARIS = '{"name": "Paris", "people": 2}'


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (City, City("Paris", 2)),
        (CityDict, {"name": "Paris", "people": 2}),
        (CityStruct, CityStruct("Paris", 2)),
        (CityModel, CityModel(name="Paris", people=2)),
    ],
)
def test_an_answer_becomes_an_object(client, fake, kind, expected):
    fake.answer(PARIS)
    answer = client.chat("Paris?", response_format=kind)
    assert answer.parsed == expected
    sent = fake.calls[0].json["response_format"]
    assert sent["type"] == "json_schema"
    inner = sent["json_schema"]
    assert (inner["name"], inner["strict"]) == (kind.__name__, True)
    assert inner["schema"]["additionalProperties"] is False
    assert set(inner["schema"]["required"]) == set(inner["schema"]["properties"])


def test_parts_of_a_schema_are_closed_too(client, fake):
    fake.answer('{"capital": {"name": "a", "people": 1}, "cities": []}')
    assert client.chat("?", response_format=Country).parsed.capital.name == "a"
    schema = fake.calls[0].json["response_format"]["json_schema"]["schema"]
    assert schema["$defs"]["CityModel"]["additionalProperties"] is False


@pytest.mark.parametrize(
    ("kind", "content", "expected"),
    [
        (list[City], f'{{"value": [{PARIS}]}}', [City("Paris", 2)]),
        (Literal["yes", "no"], '{"value": "no"}', "no"),
        (int, '{"value": 5}', 5),
    ],
)
def test_what_is_no_object_is_put_into_one(client, fake, kind, content, expected):
    fake.answer(content)
    assert client.chat("?", response_format=kind).parsed == expected
    assert fake.calls[0].json["response_format"]["json_schema"]["schema"]["required"] == ["value"]


@dataclass
class Trip:
    start: Annotated[City, msgspec.Meta(description="Where it begins.")]
    end: City


def test_nothing_stands_beside_a_reference(client, fake):
    """OpenAI refuses a strict schema where something does."""
    fake.answer(f'{{"start": {PARIS}, "end": {PARIS}}}')
    client.chat("?", response_format=Trip)
    properties = fake.calls[0].json["response_format"]["json_schema"]["schema"]["properties"]
    assert properties == {"start": {"$ref": "#/$defs/City"}, "end": {"$ref": "#/$defs/City"}}


def test_arbitrary_names_can_not_be_strict(client, fake):
    fake.answer('{"a": 1}')
    assert client.chat("?", response_format=dict[str, int]).parsed == {"a": 1}
    assert fake.calls[0].json["response_format"]["json_schema"]["strict"] is False


def test_a_fence_around_the_json_is_taken_away(client, fake):
    fake.answer(f"```json\n{PARIS}\n```")
    assert client.chat("?", response_format=City).parsed.name == "Paris"


@pytest.mark.parametrize("kind", [City, CityModel])
@pytest.mark.parametrize("content", ["I can't say.", '{"name": "Paris"}', '{"name": "Paris", "people": "many"}', ""])
def test_an_answer_that_does_not_fit_is_a_failure_that_shows_it(client, fake, kind, content):
    fake.answer(content, cost_usd=0.5)
    answer = client.chat("?", response_format=kind)
    assert (answer.success, answer.code, answer.parsed) == (False, "output_invalid", None)
    assert (answer.content, answer.details["content"]) == (content, content)
    assert answer.details["problem"]
    assert answer.usage.cost_usd == 0.5, "it was paid for"
    assert "many" not in answer.error


def test_an_answer_that_was_cut_says_so(client, fake):
    fake.answer('{"name": "Par', finish_reason="length")
    assert "cut at max_tokens" in client.chat("?", response_format=City).error


def test_it_can_be_raised(make, fake):
    fake.answer("no")
    with pytest.raises(mesh.OutputInvalid) as caught:
        make(raise_on_error=True).chat("?", response_format=City)
    assert caught.value.details["content"] == "no"


def test_a_mapping_goes_along_as_it_is(client, fake):
    fake.answer("{}")
    answer = client.chat("?", response_format={"type": "json_object"})
    assert fake.calls[0].json["response_format"] == {"type": "json_object"}
    assert "parsed" not in answer


class Empty:
    pass


@pytest.mark.parametrize("kind", [Empty, 5, "City", [City], object()])
def test_what_has_no_schema_is_refused(client, fake, kind):
    with pytest.raises(TypeError, match="response_format"):
        client.chat("?", response_format=kind)
    assert not fake.calls


def test_a_stream_tells_what_it_says_so_far(fake):
    fake.stream('{"name": "Pa', 'ris", "peo', 'ple": 2', "}")
    stream = fake.client().chat("?", response_format=City, stream=True)
    seen = [stream.parsed_so_far for _ in stream]
    assert seen == [{"name": "Pa"}, {"name": "Paris"}, {"name": "Paris"}, {"name": "Paris", "people": 2}]
    assert stream.response.parsed == City("Paris", 2)


def test_so_does_an_asynchronous_one(fake):
    async def run():
        fake.stream('{"name": "Pa', 'ris", "people": 2}')
        stream = await fake.async_client().chat("?", response_format=City, stream=True)
        return [stream.parsed_so_far async for _ in stream], stream.response.parsed

    assert asyncio.run(run()) == ([{"name": "Pa"}, {"name": "Paris", "people": 2}], City("Paris", 2))


def test_a_stream_that_does_not_fit_raises_at_its_end(client, fake):
    fake.stream("no")
    stream = client.chat("?", response_format=City, stream=True)
    with pytest.raises(mesh.OutputInvalid):
        client.items(stream)
    assert (stream.response.success, stream.response.content) == (False, "no")


def test_tools_come_before_the_object(client, fake):
    def look(city: str) -> str:
        """Look it up."""
        return "2"

    fake.answer(tool_calls=[("look", {"city": "Paris"})])
    fake.answer(PARIS)
    assert client.chat("?", response_format=City, tools=[look]).parsed == City("Paris", 2)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("no", None),
        ("{", {}),
        ('{"a', {}),
        ('{"a"', {}),
        ('{"a":', {}),
        ('{"a": 1', {}),
        ('{"a": 1,', {"a": 1}),
        ('{"a": 1, "b": "x', {"a": 1, "b": "x"}),
        ('{"a": "x\\', {"a": "x"}),
        ('{"a": "x\\u00', {"a": "x"}),
        ('{"a": "x\\u00e9', {"a": "xé"}),
        ('{"a": "x\\\\', {"a": "x\\"}),
        ('{"a": "x\\\\u00', {"a": "x\\u00"}),
        ('{"a": [1, {"b": [2, 3', {"a": [1, {"b": [2]}]}),
        ('{"a": tru', {}),
        ('["x", "y', ["x", "y"]),
        ('{"a": {}}', {"a": {}}),
        ('"x', "x"),
        ("12", 12),
        ("}", None),
    ],
)
def test_unfinished_json_means_what_it_says_so_far(text, value):
    assert partial.parse(text) == value
