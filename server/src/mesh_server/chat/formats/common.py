"""The one inner form of a chat request, between the surfaces and the providers."""

from dataclasses import dataclass, field

import msgspec


@dataclass(slots=True, kw_only=True)
class ChatRequest:
    """A chat request as a surface read it. `repr` does not show what was said.

    Attributes:
        model: as asked for; None to leave it to the provider or the server.
        provider: as asked for; None to find it by the model.
        key_name: the key of the caller's vault to use; None to find it by the provider.
        key_owner: the account that shares that key with the caller; None for the caller's own.
        stream: answer piece by piece.
        include_usage: the caller asked for the tokens spent at a stream's end.
        fields: the members of the body that go to the provider, each as the JSON it came in.
    """

    model: str | None
    provider: str | None
    key_name: str | None
    key_owner: str | None = None
    stream: bool
    include_usage: bool
    fields: dict[str, msgspec.Raw] = field(repr=False)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What is known of an answer beside its content.

    Attributes:
        provider: who answered.
        model: what answered, by the provider's own word where it gave one.
        cost_usd: None where no price is known.
        warnings: what was done otherwise than asked.
        usage: the provider's count of tokens, as JSON.
        finished: the answer came to its end.
    """

    provider: str
    model: str
    cost_usd: float | None = None
    warnings: list[str] = field(default_factory=list)
    usage: msgspec.Raw | None = None
    finished: bool = False
