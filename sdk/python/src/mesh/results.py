"""What calls return: mappings whose members are attributes, too."""

from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from mesh.errors import MeshError

if TYPE_CHECKING:
    from mesh._chat.tools import ToolResult

P = TypeVar("P")


class Member(dict[str, Any]):
    """A dictionary with attributes: `m["name"]` and `m.name` are the same."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            try:
                return self[name]
            except KeyError as problem:
                raise AttributeError(*problem.args) from None


class Result(Member):
    """What a call returns: a dictionary with attributes.

    Of a call that failed it has `success=False`, `error`, `details`, `troubleshooting`, `code`, `status` and
    `request_id`; asking it for anything else says why there is no such thing.
    """

    success: bool
    error: str
    details: Any
    troubleshooting: list[str]
    code: str
    status: int | None
    request_id: str | None

    @classmethod
    def failed(cls, error: MeshError) -> Self:
        """Return the result of a call that failed."""
        return cls(error.to_dict())

    def __missing__(self, key: str) -> Any:
        """Say that the call failed where that is why there is no such member."""
        if self.get("success") is False and not key.startswith("__"):
            raise KeyError(f"no {key!r}, for the call failed: {self.get('error')}")
        raise KeyError(key)

    def __str__(self) -> str:
        """Return what went wrong and what to do; of a success, its members."""
        if self.get("success") is False:
            return "\n".join([f"Error: {self.get('error')}", *(f"  - {step}" for step in self.troubleshooting)])
        return super().__repr__()

    def _repr_markdown_(self) -> str | None:
        """Return what a notebook shows of a failure; of anything else what it shows anyway."""
        if self.get("success") is not False:
            return None
        from mesh._display import failure  # noqa: PLC0415 - only in notebooks

        return failure(self)


class Usage(Member):
    """Tokens that a call spent, and what they cost in US dollars where that is known."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cost_usd: float | None

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        from mesh._display import usage  # noqa: PLC0415 - only in notebooks

        return usage(self)


class ChatResult(Result):
    """A model's answer; `str()` of it is the text.

    Attributes:
        content: the text; empty where the model calls tools only.
        model: what really answered.
        provider: who.
        usage: tokens and cost.
        thinking: the model's reasoning where it gives one.
        tool_calls: in OpenAI's form; empty where there are none.
        finish_reason: `stop`, `length`, `tool_calls` or `content_filter`.
        warnings: what was done otherwise than asked, one sentence each.
        id: the provider's.
        budget_left_usd: what the tightest hard budget in US dollars leaves; None where there is none.
        replayed: it is the answer of an earlier call with the same `Idempotency-Key`; nothing was spent again.
        tool_results: what came of the tools that were run; only of a call that had some to run.
        messages: all that was said in its rounds but for the answer itself; only of such a call.
        raw: the whole answer of the server.
    """

    content: str
    model: str
    provider: str
    usage: Usage
    thinking: str | None
    tool_calls: list[dict[str, Any]]
    finish_reason: str | None
    warnings: list[str]
    id: str | None
    budget_left_usd: float | None
    replayed: bool
    tool_results: "list[ToolResult]"
    messages: list[dict[str, Any]]
    raw: dict[str, Any]

    def __str__(self) -> str:
        """Return the text, or what went wrong."""
        return str(self["content"]) if self.get("success") else super().__str__()

    def _repr_markdown_(self) -> str:
        """Return what a notebook shows: the text, in which nothing runs and nothing is loaded."""
        from mesh._display import answer, failure  # noqa: PLC0415 - only in notebooks

        return answer(self) if self.get("success") else failure(self)


class ParsedResult(ChatResult, Generic[P]):
    """The answer of a call with a class as its `response_format`.

    Attributes:
        parsed: the object; None where the model calls a tool that the caller runs.
    """

    parsed: P


class ChatChunk(Member):
    """One piece of a streamed answer; `str()` of it is its text.

    Attributes:
        text: what to show; may be empty where the piece is thinking or part of a tool call.
        thinking: a piece of the model's reasoning.
        tool_result: of a tool that was run between two answers; only of such a piece.
        raw: the piece as the provider wrote it.
    """

    text: str
    thinking: str | None
    tool_result: "ToolResult"
    raw: dict[str, Any]

    def __str__(self) -> str:
        """Return the text."""
        return str(self["text"])


class StoredKey(Result):
    """What is known of a key after a change; never its value. Times are RFC 3339 text."""

    name: str
    user_id: str | None
    version: int
    rev: int
    tags: dict[str, str]
    note: str | None
    created_at: str
    updated_at: str
    expires_at: str | None


class EnrolledKey(Result):
    """What is known of an enrolled value; never the value. `created_at` is RFC 3339 text."""

    name: str
    user_id: str | None
    record_version: int
    created_at: str


class VerifiedKey(Result):
    """Whether a value is the enrolled one.

    Attributes:
        verified: True only if the server checked a proof. False: another value, or nothing is enrolled.
        warnings: what else should be known, one sentence each.
    """

    verified: bool
    name: str
    user_id: str | None
    warnings: list[str]


class DeletedKey(Result):
    """A deleted key, and until when `restore_key` brings it back; times are RFC 3339 text."""

    name: str
    deleted_at: str
    restorable_until: str


class KeyInfo(Member):
    """What is known of a key; never its value. Times are RFC 3339 text."""

    name: str
    user_id: str | None
    version: int
    rev: int
    tags: dict[str, str]
    note: str | None
    created_at: str
    updated_at: str
    expires_at: str | None
    provable: bool


class KeyVersion(Member):
    """One value that a key has or had; never the value itself. `kind` is `text` or `bytes`; times are RFC 3339 text."""

    version: int
    kind: str
    created_at: str
    destroyed_at: str | None
    current: bool


class KeyTest(Result):
    """What a provider says of a key.

    Attributes:
        name: of the key.
        provider: who was asked.
        result: `works`, `refused`, or `unknown` where the provider answers without a key, too.
        message: a sentence for people.
        models: how many models it listed.
    """

    name: str
    provider: str
    result: str
    message: str
    models: int


class Grant(Result):
    """What `owner` lets `grantee` do with the keys whose names fit `pattern`. Times are RFC 3339 text.

    Attributes:
        id: to take it back by.
        owner: the account that shares.
        user_id: the namespace in it.
        pattern: a name, or the beginning of names and `*`.
        grantee: the account or the token that may.
        grantee_kind: `account` or `token`.
        actions: `read`, `write`, `verify`, `chat`.
        created_at: when it was given.
        expires_at: when it ends by itself.
    """

    id: str
    owner: str
    user_id: str | None
    pattern: str
    grantee: str
    grantee_kind: str
    actions: list[str]
    created_at: str
    expires_at: str | None


class ModelList(Result):
    """The models that you can use.

    Attributes:
        models: their names by provider.
        data: what is known of each.
    """

    models: dict[str, list[str]]
    data: list[dict[str, Any]]


def reasoning(delta: dict[str, Any]) -> str | None:
    """Return a piece of the model's reasoning, by either of the names that servers have for it."""
    return delta.get("reasoning_content") or delta.get("reasoning")
