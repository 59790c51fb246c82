"""Translates requests, answers and streams between formats, without any server."""

import json

import msgspec

from mesh_protocol.events import EventReader
from mesh_server.chat.formats.bridge import Way
from mesh_server.chat.formats.common import CHAT, MESSAGES, RESPONSES, Abilities, ChatRequest, Outcome

NEW_CLAUDE = Abilities(max_output=128_000, sampling=False, thinking="adaptive", official=True)
OLD_CLAUDE = Abilities(max_output=64_000, sampling=True, thinking="budget", official=True)
NEW_GPT = Abilities(max_output=128_000, sampling=False, thinking="effort", official=True)
PLAIN = Abilities()

#: The least that each format asks for.
LEAST = {
    CHAT: {"messages": [{"role": "user", "content": "hi"}]},
    RESPONSES: {"input": "hi"},
    MESSAGES: {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 100},
}


def way(surface, provider, fields=None, *, abilities=PLAIN, stream=False, **more):
    """Return the way of a request whose members are `fields` beside the least that its format asks for."""
    members = {**LEAST[surface], **(fields or {})}
    raw = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in members.items() if value is not None}
    asked = ChatRequest(format=surface, model="asked", stream=stream, fields=raw, include_usage=True)
    made = {"adapt": False, "shared_key": False, "target": "acme", "created": 1}
    return Way(request=asked, format=provider, model="m", abilities=abilities, **{**made, **more})


def body(surface, provider, fields=None, **more):
    """Return the translated request's members, and the warnings."""
    found, warnings = way(surface, provider, fields, **more).body()
    return json.loads(msgspec.json.encode(found)), warnings


def answer(surface, provider, content, fields=None):
    """Return a provider's answer as the surface has it, and the outcome."""
    outcome = Outcome(provider="acme", model="m")
    raw = content if isinstance(content, bytes) else json.dumps(content).encode()
    return json.loads(way(surface, provider, fields).answer(raw, outcome)), outcome


def stream(surface, provider, events, fields=None):
    """Return what a surface's client is sent for a provider's events: (name, data) each, and the outcome."""
    outcome = Outcome(provider="acme", model="m")
    relay = way(surface, provider, fields, stream=True).relay(outcome)
    sent = []
    for data in events:
        sent += relay.feed(data if isinstance(data, bytes) else json.dumps(data).encode())
    sent += relay.end()
    return [_parsed(piece) for piece in sent], outcome


def _parsed(piece):
    assert piece.endswith(b"\n\n")
    (data,) = EventReader().feed(piece)
    first = piece.split(b"\n", 1)[0]
    name = first[7:].decode() if first.startswith(b"event: ") else None
    return name, json.loads(data)
