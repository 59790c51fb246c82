"""Conversations: what was said is remembered, and never half a turn."""

import pytest

import mesh


def said(conversation):
    return [(message["role"], message["content"]) for message in conversation.messages]


def test_each_chat_knows_what_was_said(client, fake, wrap):
    talk = wrap(client.made.conversation(system="Be brief.", model="m"))
    fake.answer("Hello", cost_usd=1)
    fake.answer("Bye", cost_usd=2)
    assert str(talk.chat("Hi")) == "Hello"
    assert str(talk.chat("Ciao", temperature=0)) == "Bye"
    assert said(talk) == [
        ("system", "Be brief."),
        ("user", "Hi"),
        ("assistant", "Hello"),
        ("user", "Ciao"),
        ("assistant", "Bye"),
    ]
    assert fake.calls[1].json["messages"] == talk.messages[:-1]
    assert (fake.calls[1].json["model"], fake.calls[1].json["temperature"]) == ("m", 0)
    assert (talk.usage.cost_usd, talk.usage.total_tokens) == (3, 10)


def test_a_failed_turn_leaves_no_trace(make, fake, wrap):
    client = make(max_retries=0)
    talk = wrap(client.made.conversation())
    talk.chat("One")
    before = talk.messages
    fake.fail("provider_failed")
    assert not talk.chat("Two").success
    fake.fault("broken")
    assert not talk.chat("Three").success
    assert talk.messages == before


def test_a_stream_is_remembered_when_it_is_whole(client, fake, wrap):
    talk = wrap(client.made.conversation())
    fake.stream("Hel", "lo")
    stream = talk.chat("Hi", stream=True)
    assert talk.messages == []
    client.items(stream)
    assert said(talk) == [("user", "Hi"), ("assistant", "Hello")]


@pytest.mark.parametrize("how", ["truncated", "left", "cancelled"])
def test_a_stream_that_ends_early_is_not(client, fake, wrap, how):
    talk = wrap(client.made.conversation())
    fake.stream("Hel", "lo", truncated=how == "truncated")
    stream = wrap(talk.chat("Hi", stream=True))
    if how == "truncated":
        with pytest.raises(mesh.StreamTruncated):
            client.items(stream.made)
    elif how == "cancelled":
        stream.cancel()
        client.items(stream.made)
    elif hasattr(stream.made, "close"):
        stream.close()
    else:
        stream.aclose()
    assert talk.messages == []


def test_what_tools_said_is_remembered(client, fake, wrap):
    def look() -> str:
        """Look."""
        return "rain"

    talk = wrap(client.made.conversation(tools=[look]))
    fake.answer(tool_calls=[("look", {})])
    fake.answer("Rain")
    talk.chat("Weather?")
    assert [message["role"] for message in talk.messages] == ["user", "assistant", "tool", "assistant"]
    fake.answer("Yes")
    talk.chat("Sure?")
    assert fake.calls[-1].json["messages"][:4] == talk.messages[:4]


def test_a_fork_goes_its_own_way(client, fake, wrap):
    talk = wrap(client.made.conversation("s"))
    talk.chat("One")
    other = wrap(talk.made.fork())
    other.chat("Two")
    assert len(talk.messages) == 3
    assert len(other.messages) == 5
    assert other.usage.total_tokens == 5
    talk.messages.clear()
    assert len(talk.messages) == 3, "what is handed out is a copy"


def test_images_are_remembered_too(client, fake, wrap):
    talk = wrap(client.made.conversation())
    talk.chat("See", images=["https://example.com/a.png"])
    assert talk.messages[0]["content"][0]["type"] == "image_url"


@pytest.mark.parametrize("name", ["messages", "stream", "prompt", "original_response"])
def test_what_makes_no_sense_for_a_conversation_is_refused(client, name):
    with pytest.raises(TypeError, match=name):
        client.made.conversation(**{name: True})


@pytest.mark.parametrize("options", [{"messages": []}, {"system": "x"}, {"original_response": True}])
def test_and_for_one_of_its_chats(client, fake, wrap, options):
    with pytest.raises(TypeError):
        wrap(client.made.conversation()).chat("a", **options)
    with pytest.raises(TypeError):
        wrap(client.made.conversation()).chat(5)
    assert not fake.calls


def test_a_client_of_original_responses_has_conversations_all_the_same(make, fake, wrap):
    talk = wrap(make(original_response=True).made.conversation())
    assert talk.chat("Hi").content == "You said: Hi"
    assert len(talk.messages) == 2


def test_its_repr_shows_nothing_of_it(client):
    assert repr(client.made.conversation("secret words")).endswith("of 1 messages>")
