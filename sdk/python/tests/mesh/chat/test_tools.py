"""Tools: schemas from functions, and the loop that runs them."""

import asyncio
import enum
import json
import threading
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

import mesh


class Unit(enum.Enum):
    c = "celsius"
    f = "fahrenheit"


@dataclass
class Place:
    city: str
    country: str = "FR"


class Window(TypedDict, total=False):
    start: int
    end: int


class Options(msgspec.Struct):
    deep: bool = False


class Filter(pydantic.BaseModel):
    field: str
    above: float = 0.0


def everything(
    text: str,
    number: int,
    ratio: float,
    flag: bool,
    word: Literal["a", "b"],
    unit: Unit,
    place: Place,
    window: Window,
    options: Options,
    filters: list[Filter],
    table: dict[str, int],
    note: Annotated[str, "What to add."],
    maybe: int | None = None,
    days: int = 3,
):
    """Do everything.

    Args:
        text: What to say.
        number (int): How many,
            at most ten.
        note: Not this one.

    Returns:
        Nothing.
    """
    return locals()


def test_a_schema_says_all_of_a_signature():
    made = mesh.tool(everything)
    function = made.definition["function"]
    assert (made.definition["type"], function["name"], function["description"]) == (
        "function",
        "everything",
        "Do everything.",
    )
    schema = function["parameters"]
    props, parts = schema["properties"], schema["$defs"]
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert set(schema["required"]) == set(props) - {"maybe", "days"}
    assert props["text"] == {"type": "string", "description": "What to say."}
    assert props["number"] == {"type": "integer", "description": "How many, at most ten."}
    assert props["note"]["description"] == "What to add."
    assert (props["ratio"]["type"], props["flag"]["type"]) == ("number", "boolean")
    assert props["word"]["enum"] == ["a", "b"]
    assert props["days"] == {"type": "integer", "default": 3}
    assert props["maybe"]["default"] is None
    assert props["table"] == {"type": "object", "additionalProperties": {"type": "integer"}}
    assert parts["Unit"]["enum"] == ["celsius", "fahrenheit"]
    assert parts["Place"]["required"] == ["city"]
    assert set(parts["Window"]["properties"]) == {"start", "end"}
    assert props["filters"]["items"]["properties"].keys() == {"field", "above"}
    json.dumps(schema)


def test_arguments_arrive_as_what_the_function_wants():
    given = {
        "text": "t",
        "number": "5",
        "ratio": 1,
        "flag": True,
        "word": "b",
        "unit": "celsius",
        "place": {"city": "Paris"},
        "window": {"start": 1},
        "options": {"deep": True},
        "filters": [{"field": "x", "above": 2}],
        "table": {"a": 1},
        "note": "n",
    }
    got = mesh.tool(everything).bind(json.dumps(given))()
    assert (got["number"], got["unit"], got["place"], got["options"]) == (5, Unit.c, Place("Paris"), Options(deep=True))
    assert got["filters"] == [Filter(field="x", above=2)]
    assert (got["maybe"], got["days"]) == (None, 3)


def takes_many(*values: int):
    pass


def takes_names(**values: int):
    pass


def takes_itself(self, value: int):
    pass


def takes_an_object(value: threading.Thread):
    pass


def takes_what_is_not_there(value: "Nowhere"):  # noqa: F821 - that is the point
    pass


@pytest.mark.parametrize(
    ("tools", "error"),
    [
        ([takes_many], TypeError),
        ([takes_names], TypeError),
        ([takes_itself], TypeError),
        ([takes_an_object], TypeError),
        ([takes_what_is_not_there], TypeError),
        ([lambda value: value], ValueError),
        ([everything, everything], ValueError),
        ([5], TypeError),
        ("everything", TypeError),
        (everything, TypeError),
    ],
)
def test_what_a_model_could_not_call_is_refused_before_anything_is_sent(client, fake, tools, error):
    with pytest.raises(error):
        client.chat("hi", tools=tools)
    assert not fake.calls


@pytest.mark.parametrize(
    "arguments", [{"approve": 5}, {"max_tool_rounds": "1"}, {"max_tool_rounds": True}, {"max_tool_rounds": -1}]
)
def test_wrong_arguments_of_the_loop_are_refused(client, fake, arguments):
    with pytest.raises((TypeError, ValueError)):
        client.chat("hi", tools=[everything], **arguments)
    assert not fake.calls


# --- the loop ---


def weather(city: str) -> dict[str, Any]:
    """Look out of the window."""
    return {"city": city, "degrees": 20}


async def aweather(city: str) -> str:
    """Look out of the window, slowly."""
    await asyncio.sleep(0)
    return f"{city}: rain"


def test_tools_are_run_and_the_model_goes_on(client, fake):
    fake.answer(tool_calls=[("weather", {"city": "Paris"}), ("aweather", {"city": "Rome"})], cost_usd=1)
    fake.answer("Sunny and rainy", cost_usd=2)
    answer = client.chat("Weather?", tools=[weather, aweather], model="m", provider="p")
    assert str(answer) == "Sunny and rainy"
    assert [(result.name, result.content, result.error) for result in answer.tool_results] == [
        ("weather", '{"city":"Paris","degrees":20}', None),
        ("aweather", "Rome: rain", None),
    ]
    assert (answer.usage.total_tokens, answer.usage.cost_usd) == (10, 3)
    first, second = (call.json for call in fake.calls)
    assert second["tools"] == first["tools"]
    assert (second["model"], second["provider"]) == ("m", "p")
    said, *told = second["messages"][1:]
    assert [call["function"]["name"] for call in said["tool_calls"]] == ["weather", "aweather"]
    assert [(one["role"], one["tool_call_id"]) for one in told] == [("tool", "call_0"), ("tool", "call_1")]
    keys = {call.headers["idempotency-key"] for call in fake.calls}
    assert len(keys) == 2, "each round is a request of its own"


def test_an_async_tool_runs_where_an_event_loop_runs_already(fake):
    """As in a notebook."""
    fake.answer(tool_calls=[("aweather", {"city": "Rome"})])
    fake.answer("Rain")

    async def cell():
        return fake.client().chat("Weather?", tools=[aweather])

    assert str(asyncio.run(cell())) == "Rain"


def test_asynchronous_tools_run_at_the_same_time(fake):
    met = []

    async def meet(name: str) -> str:
        met.append(name)
        while len(met) < 2:  # noqa: ASYNC110 - ends only if the other one runs meanwhile
            await asyncio.sleep(0)
        return name

    fake.answer(tool_calls=[("meet", {"name": "a"}), ("meet", {"name": "b"})])
    fake.answer("met")

    async def run():
        async with asyncio.timeout(5):
            return await fake.async_client().chat("Go", tools=[meet])

    assert [result.content for result in asyncio.run(run()).tool_results] == ["a", "b"]


def test_what_goes_wrong_in_a_tool_is_told_to_the_model_and_to_the_caller(client, fake):
    def fails(city: str) -> str:
        raise LookupError(f"no {city}")

    fake.answer(tool_calls=[("fails", {"city": "X"}), ("fails", {"town": 1}), ("fails", "no json"), ("unknown", {})])
    fake.answer("Sorry")
    answer = client.chat("?", tools=[fails])
    assert str(answer) == "Sorry"
    first, second, third, fourth = answer.tool_results
    assert first.error == first.content == "LookupError: no X"
    assert "do not fit" in second.error
    assert "city" in second.error
    assert third.arguments == "no json"
    assert "do not fit" in third.error
    assert fourth.error == "There is no tool 'unknown'; there are fails."


def test_approval_is_asked_for_each_call(client, fake):
    asked = []

    def approve(call):
        asked.append((call.name, call.arguments))
        return call.arguments["city"] == "Paris"

    fake.answer(tool_calls=[("weather", {"city": "Paris"}), ("weather", {"city": "Rome"})])
    fake.answer("Done")
    answer = client.chat("?", tools=[weather], approve=approve)
    assert asked == [("weather", {"city": "Paris"}), ("weather", {"city": "Rome"})]
    assert [result.denied for result in answer.tool_results] == [False, True]
    assert "did not allow" in fake.calls[1].json["messages"][-1]["content"]


def test_an_approval_that_raises_ends_the_call(client, fake):
    def approve(call):
        raise PermissionError("stop")

    fake.answer(tool_calls=[("weather", {"city": "Paris"})])
    with pytest.raises(PermissionError):
        client.chat("?", tools=[weather], approve=approve)


def test_an_approval_that_is_awaited_is_no_consent_by_itself(client, fake):
    """A coroutine is true as an object; what it says is what counts, with either client."""

    async def approve(call):
        return False

    fake.answer(tool_calls=[("weather", {"city": "Paris"})])
    fake.answer("Done")
    assert client.chat("?", tools=[weather], approve=approve).tool_results[0].denied


def test_the_loop_is_bounded(client, fake):
    for _ in range(3):
        fake.answer(tool_calls=[("weather", {"city": "Paris"})])
    answer = client.chat("?", tools=[weather], max_tool_rounds=2)
    assert len(fake.calls) == 3
    assert answer.success
    assert len(answer.tool_results) == 2
    assert answer.tool_calls
    assert "after 2 rounds" in answer.warnings[-1]


def test_a_tool_that_is_a_mapping_is_the_callers_to_run(client, fake):
    own = {"type": "function", "function": {"name": "mine"}}
    fake.answer(tool_calls=[("weather", {"city": "Paris"}), ("mine", {})])
    answer = client.chat("?", tools=[own, weather])
    assert len(fake.calls) == 1
    assert [call["function"]["name"] for call in answer.tool_calls] == ["weather", "mine"]
    assert answer.tool_results == []
    fake.answer(tool_calls=[("mine", {})])
    assert client.chat("?", tools=[own]).tool_calls


def test_a_failure_in_a_later_round_tells_what_was_run(make, fake):
    fake.answer(tool_calls=[("weather", {"city": "Paris"})])
    fake.fail("provider_failed", status=502)
    answer = make(max_retries=0).chat("?", tools=[weather])
    assert (answer.success, answer.code) == (False, "provider_failed")
    assert [result.name for result in answer.tool_results] == ["weather"]


def test_so_does_an_error_that_is_raised(make, fake):
    fake.answer(tool_calls=[("weather", {"city": "Paris"})])
    fake.fail("provider_failed", status=502)
    with pytest.raises(mesh.ProviderError) as caught:
        make(max_retries=0, raise_on_error=True).chat("?", tools=[weather])
    assert [result.name for result in caught.value.details["tool_results"]] == ["weather"]


def test_a_forced_tool_is_forced_once(client, fake):
    fake.answer(tool_calls=[("weather", {"city": "Paris"})])
    fake.answer("Done")
    client.chat("?", tools=[weather], tool_choice="required")
    assert [call.json["tool_choice"] for call in fake.calls] == ["required", "auto"]


def test_tools_run_in_streams_too(client, fake):
    fake.answer("Let me see.", tool_calls=[("weather", {"city": "Paris"})])
    fake.answer("It is sunny", thinking="hm")
    stream = client.chat("?", tools=[weather], stream=True)
    events = client.items(stream.events())
    assert [event.type for event in events] == [
        *["text"] * 3,
        "tool_call",
        "tool_result",
        "thinking",
        *["text"] * 3,
        "usage",
        "end",
    ]
    call, result = events[3], events[4]
    assert (call.name, json.loads(call.arguments)) == ("weather", {"city": "Paris"})
    assert result.result.content == '{"city":"Paris","degrees":20}'
    assert stream.response.content == "It is sunny"
    assert events[-2].usage.total_tokens == stream.response.usage.total_tokens == 10
    assert stream.response.tool_results[0].name == "weather"


def test_a_decorated_function_is_still_a_function():
    @mesh.tool
    def double(number: int) -> int:
        """Double it."""
        return number * 2

    assert double(2) == 4
    assert double.name == "double"

    @mesh.tool(name="halve")
    def half(number: int) -> int:
        """Halve it."""
        return number // 2

    assert (half(4), half.definition["function"]["name"]) == (2, "halve")
    named = mesh.tool(weather, name="outside", description="Look out.")
    assert named.definition["function"]["name"] == "outside"
    assert named.definition["function"]["description"] == "Look out."


def test_the_original_body_comes_after_the_tools(client, fake):
    fake.answer(tool_calls=[("weather", {"city": "Paris"})])
    fake.answer("Done")
    body = client.chat("?", tools=[weather], original_response=True)
    assert body["choices"][0]["message"]["content"] == "Done"
    assert "cost_usd" not in body


@pytest.mark.parametrize(
    "calls", [[None], ["f"], [{"id": 5, "function": None}], [{"function": {"name": ["weather"]}}], {"a": 1}]
)
def test_calls_that_are_none_do_no_harm(client, fake, calls):
    message = {"role": "assistant", "content": "Hm", "tool_calls": calls}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    fake.reply(
        200, {"model": "m", "provider": "p", "choices": [choice], "usage": {"prompt_tokens": "many"}, "cost_usd": "?"}
    )
    answer = client.chat("?", tools=[weather])
    assert answer.success
    assert answer.usage.cost_usd is None
    assert all(result.error for result in answer.tool_results)
