"""The one inner form of a conversation, between the surfaces and the providers.

Surface and provider of one format exchange the caller's bytes; only where they differ is a request read into
`Conversation`, and an answer into `Reply` or a row of events.
"""

import asyncio
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
from msgspec import field

from mesh_protocol.quiet import Quiet

#: The wire formats, of surfaces and of providers.
Format = Literal["openai_chat", "openai_responses", "anthropic_messages"]
CHAT: Format = "openai_chat"
RESPONSES: Format = "openai_responses"
MESSAGES: Format = "anthropic_messages"

Role = Literal["system", "user", "assistant"]
ToolMode = Literal["auto", "none", "required", "tool"]
ThinkingMode = Literal["on", "adaptive", "between_tools", "off"]
#: Why an answer ended. `pause` is Anthropic's: a long turn of server tools, to be continued.
Reason = Literal["stop", "stop_sequence", "length", "tools", "refusal", "pause"]


class ChatRequest(Quiet, msgspec.Struct, kw_only=True):
    """A chat request as a surface read it. `repr` does not show what was said.

    Attributes:
        format: the format that its members are in.
        model: as asked for; None to leave it to the provider or the server.
        provider: as asked for; None to find it by the model.
        key_name: the key of the caller's vault to use; None to find it by the provider.
        key_owner: the account that shares that key with the caller; None for the caller's own.
        stream: answer piece by piece.
        include_usage: the caller asked for the tokens spent at a stream's end.
        strict_models: never answer with another model than the one asked for.
        thinking_budget: tokens for thinking, asked for in Mesh chat; None where the members say it, or nothing.
        thinking: what Mesh chat's `thinking` said; None where it said nothing.
        fields: the members of the body that go to the provider, each as the JSON it came in.
        headers: those of the request that a provider of the same format gets, by lower-case name.
        timeout: seconds that the caller gives the whole call; None for no limit of its own.
        limit: what ends the call when that time is over, while it runs; None for no limit.
        is_mesh: it came by Mesh chat, which promises to fit a request to its model.
        provider_is_a_guess: of a client that knows no models but its own: where the model says otherwise, it is wrong.
    """

    format: Format
    model: str | None
    stream: bool
    fields: dict[str, msgspec.Raw]
    provider: str | None = None
    key_name: str | None = None
    key_owner: str | None = None
    include_usage: bool = False
    strict_models: bool | None = None
    thinking: bool | None = None
    thinking_budget: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    timeout: float | None = None
    limit: asyncio.Timeout | None = None
    is_mesh: bool = False
    provider_is_a_guess: bool = False

    def __repr__(self) -> str:
        return f"<ChatRequest of {self.format} for {self.model}>"


# --- What a conversation is made of ----------------------------------------------------------------------


class Text(Quiet, msgspec.Struct):
    """Text. `cache` is how long a provider may keep the prompt up to here: 5m, 30m, 1h, 12h; `""` for its default."""

    text: str
    cache: str | None = None


class Image(Quiet, msgspec.Struct):
    """An image: at a URL, or as base64 with its media type."""

    url: str | None = None
    media_type: str | None = None
    data: str | None = None
    detail: str | None = None
    cache: str | None = None


class Document(Quiet, msgspec.Struct):
    """A file to be read: at a URL, as base64 with its media type, or as plain text."""

    url: str | None = None
    media_type: str | None = None
    data: str | None = None
    text: str | None = None
    name: str | None = None
    cache: str | None = None


class Audio(Quiet, msgspec.Struct):
    """Recorded speech, base64."""

    data: str
    format: str


class Thinking(Quiet, msgspec.Struct):
    """What a model thought. It goes back only to the maker of its signature, unchanged.

    Attributes:
        text: readable, often a summary; may be empty.
        signature: opaque proof of its maker; None where there is none.
        redacted: opaque thinking without any text.
        maker: the format of the provider that made it.
    """

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    maker: Format | None = None
    id: str | None = None


class Refusal(Quiet, msgspec.Struct):
    """What a model said in place of an answer that it would not give."""

    text: str


class ToolCall(Quiet, msgspec.Struct):
    """A tool that the model wants called. `arguments` is JSON text; of a custom tool, any text."""

    id: str
    name: str
    arguments: str = ""
    custom: bool = False


class ToolResult(Quiet, msgspec.Struct):
    """What a called tool gave."""

    call_id: str
    parts: "list[Part]"
    is_error: bool = False
    custom: bool = False
    cache: str | None = None


Part = Text | Image | Document | Audio | Thinking | Refusal | ToolCall | ToolResult


class Message(Quiet, msgspec.Struct):
    """One turn. Results of tools are parts of the user's turn."""

    role: Role
    parts: list[Part]


class Tool(Quiet, msgspec.Struct):
    """A function that the model may call. A custom tool takes free text, of a grammar where `grammar` has one."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None
    custom: bool = False
    grammar: dict[str, Any] | None = None
    cache: str | None = None


class ToolChoice(Quiet, msgspec.Struct):
    """Whether tools must be called. `name` is the one that must be, with mode `tool`."""

    mode: ToolMode = "auto"
    name: str | None = None


class OutputFormat(Quiet, msgspec.Struct):
    """JSON that the answer must be; without a schema, any JSON object."""

    schema: dict[str, Any] | None = None
    name: str = "answer"
    strict: bool | None = None
    description: str | None = None


class Thought(Quiet, msgspec.Struct):
    """How much a model shall think.

    Attributes:
        mode: `on`: a budget of tokens; `adaptive`: as much as it finds right; `between_tools`, `off`.
        budget: tokens, with mode `on`.
        effort: minimal, low, medium, high, xhigh, max; None for the model's default.
        shown: whether its thinking is to be told; None for the provider's default.
    """

    mode: ThinkingMode | None = None
    budget: int | None = None
    effort: str | None = None
    shown: bool | None = None


class Conversation(Quiet, msgspec.Struct, kw_only=True):
    """A request in the inner form.

    Attributes:
        parallel_tools: whether several tools may be called at once; None for the provider's default.
        user: a stable, opaque name of the end user, for the provider's abuse checks.
        cache: automatic caching of the whole prompt, with the lifetime of `Text.cache`.
        openai: members that both of OpenAI's formats have and nobody else, as the JSON they came in.
        warnings: what the reader left out, for the caller to know.
    """

    messages: list[Message]
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tools: bool | None = None
    output: OutputFormat | None = None
    max_tokens: int | None = None
    stop: list[str] = []
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    thought: Thought | None = None
    user: str | None = None
    cache: str | None = None
    verbosity: str | None = None
    openai: dict[str, msgspec.Raw] = {}
    warnings: list[str] = []


# --- Answers ---------------------------------------------------------------------------------------------


class Usage(msgspec.Struct, kw_only=True):
    """Tokens by kind. `input` includes `cached` and `cache_write`; `output` includes `thinking`.

    `cache_write_long` is the part of `cache_write` that is kept longer than the shortest time, at a higher price.
    """

    input: int = 0
    cached: int = 0
    cache_write: int = 0
    cache_write_long: int = 0
    output: int = 0
    thinking: int = 0


class Reply(Quiet, msgspec.Struct, kw_only=True):
    """A whole answer in the inner form."""

    id: str
    model: str
    parts: list[Part]
    reason: Reason
    stop_sequence: str | None = None
    refusal: str | None = None
    usage: Usage | None = None


class Began(Quiet, msgspec.Struct):
    """A stream began. `usage` is what is known of the input by now."""

    id: str
    model: str
    usage: Usage | None = None


class BlockBegan(Quiet, msgspec.Struct):
    """A part of the answer began; its text or arguments may still be empty. Blocks may be open side by side."""

    index: int
    part: Part


class BlockGrew(Quiet, msgspec.Struct):
    """More text, arguments or thinking of a block."""

    index: int
    text: str


class BlockEnded(Quiet, msgspec.Struct):
    """A block is complete. `signature` and `id` are of thinking."""

    index: int
    signature: str | None = None
    id: str | None = None


class Ended(Quiet, msgspec.Struct):
    """The answer is complete, and why; the count of tokens may still come."""

    reason: Reason
    stop_sequence: str | None = None
    refusal: str | None = None


class Counted(Quiet, msgspec.Struct):
    """Tokens so far, in place of what was said of them before."""

    usage: Usage


class Closed(Quiet, msgspec.Struct):
    """The stream's own last word."""


class Failed(Quiet, msgspec.Struct):
    """The provider tells of its failure in the middle; `error` is its own JSON."""

    error: bytes


Event = Began | BlockBegan | BlockGrew | BlockEnded | Ended | Counted | Closed | Failed


class Outcome(msgspec.Struct, kw_only=True):
    """What is known of an answer beside its content.

    Attributes:
        provider: who answered.
        model: what answered, by the provider's own word where it gave one.
        route: every target that was tried, the one that answered last.
        cost_nano: cost in nano-dollars; None where no price is known.
        price_revision: which prices that cost was computed with.
        warnings: what was done otherwise than asked.
        usage: tokens by kind; None until the provider told.
        finished: the answer came to its end.
        tier: the provider's tier of service, where the answer named it.
        limits: headers of the provider that tell what is left of the caller's own key's rate.
        budget_left_usd: what the least of the caller's hard limits of money leaves; None without one.
    """

    provider: str
    model: str
    route: list[str] = field(default_factory=list)
    cost_nano: int | None = None
    price_revision: str | None = None
    warnings: list[str] = field(default_factory=list)
    usage: Usage | None = None
    finished: bool = False
    tier: str | None = None
    limits: dict[str, str] = field(default_factory=dict)
    budget_left_usd: float | None = None

    @property
    def cost_usd(self) -> float | None:
        """The cost in US dollars."""
        return None if self.cost_nano is None else self.cost_nano / 1e9


# --- The target ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What is known of a target model, as far as a request has to be written differently for it.

    Attributes:
        max_output: most tokens of an answer; None where unknown.
        sampling: whether it takes temperature, top_p and top_k.
        thinking: `budget` of tokens, `adaptive`, `effort` (OpenAI's), `none`; None where unknown.
        thinking_off: whether its thinking can be switched off.
        images: whether it reads images.
        tools_in_chat: whether tools work in OpenAI's chat completions together with thinking.
        official: the provider is who its format is named after, so that its newest fields are understood.
    """

    max_output: int | None = None
    sampling: bool = True
    thinking: str | None = None
    thinking_off: bool = True
    images: bool = True
    tools_in_chat: bool = True
    official: bool = False


UNKNOWN = Abilities()
