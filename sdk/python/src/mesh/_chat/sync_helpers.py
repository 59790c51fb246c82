"""The shorter ways to chat of `MeshClient`, and what it asks the server about models and money."""

from collections.abc import Sequence
from typing import Any, Literal, overload

from mesh import _billing, _operations
from mesh._billing import When
from mesh._chat.sync_chat import SyncChat
from mesh._stream import Stream
from mesh.errors import MeshError
from mesh.models.choose import Aim, claude
from mesh.results import ChatResult, ModelList
from mesh.usage import Budget, Dimension, UsageReport


class SyncHelpers(SyncChat):
    """Chats with a model named in the method, or chosen by what it is good at."""

    @overload
    def chat_with_gpt4o(self, message: str, *, stream: Literal[True], **options: Any) -> Stream: ...

    @overload
    def chat_with_gpt4o(self, message: str, **options: Any) -> ChatResult: ...

    def chat_with_gpt4o(self, message: str, **options: Any) -> Any:
        """Ask GPT-4o; options as `chat` takes them."""
        return self.chat(message, model="gpt-4o", provider="openai", **options)

    @overload
    def chat_with_gpt4(self, message: str, *, stream: Literal[True], **options: Any) -> Stream: ...

    @overload
    def chat_with_gpt4(self, message: str, **options: Any) -> ChatResult: ...

    def chat_with_gpt4(self, message: str, **options: Any) -> Any:
        """Ask GPT-4; options as `chat` takes them."""
        return self.chat(message, model="gpt-4", provider="openai", **options)

    @overload
    def chat_with_claude(
        self, message: str, version: str = ..., *, stream: Literal[True], **options: Any
    ) -> Stream: ...

    @overload
    def chat_with_claude(self, message: str, version: str = ..., **options: Any) -> ChatResult: ...

    def chat_with_claude(self, message: str, version: str = "3.5", **options: Any) -> Any:
        """Ask a Claude.

        Args:
            message: what to say.
            version: "3", "3.5", "3.7", or a line, a number or both of the current ones: "opus", "4.6", "opus-4.6".
            **options: as `chat` takes them.

        Raises:
            ValueError: if there is no such version; the message lists them.
        """
        return self.chat(message, model=claude(version), provider="anthropic", **options)

    @overload
    def chat_with_best_model(
        self, message: str, provider: str | None = ..., *, stream: Literal[True], **options: Any
    ) -> Stream: ...

    @overload
    def chat_with_best_model(self, message: str, provider: str | None = ..., **options: Any) -> ChatResult: ...

    def chat_with_best_model(self, message: str, provider: str | None = None, **options: Any) -> Any:
        """Ask the most able model.

        Args:
            message: what to say.
            provider: only of this one's models; default: of all that you can use.
            **options: as `chat` takes them.
        """
        return self._chat_with("best", message, provider, options)

    @overload
    def chat_with_fastest_model(
        self, message: str, provider: str | None = ..., *, stream: Literal[True], **options: Any
    ) -> Stream: ...

    @overload
    def chat_with_fastest_model(self, message: str, provider: str | None = ..., **options: Any) -> ChatResult: ...

    def chat_with_fastest_model(self, message: str, provider: str | None = None, **options: Any) -> Any:
        """Ask the most able of the fastest models.

        Args:
            message: what to say.
            provider: only of this one's models; default: of all that you can use.
            **options: as `chat` takes them.
        """
        return self._chat_with("fastest", message, provider, options)

    @overload
    def chat_with_cheapest_model(
        self, message: str, provider: str | None = ..., *, stream: Literal[True], **options: Any
    ) -> Stream: ...

    @overload
    def chat_with_cheapest_model(self, message: str, provider: str | None = ..., **options: Any) -> ChatResult: ...

    def chat_with_cheapest_model(self, message: str, provider: str | None = None, **options: Any) -> Any:
        """Ask the model with the lowest price.

        Args:
            message: what to say.
            provider: only of this one's models; default: of all that you can use.
            **options: as `chat` takes them.
        """
        return self._chat_with("cheapest", message, provider, options)

    @overload
    def chat_with_thinking(
        self, message: str, provider: str | None = ..., *, stream: Literal[True], **options: Any
    ) -> Stream: ...

    @overload
    def chat_with_thinking(self, message: str, provider: str | None = ..., **options: Any) -> ChatResult: ...

    def chat_with_thinking(self, message: str, provider: str | None = None, **options: Any) -> Any:
        """Ask the most able model that can think first, and let it.

        Args:
            message: what to say.
            provider: only of this one's models; default: of all that you can use.
            **options: as `chat` takes them.
        """
        return self._chat_with("best", message, provider, options, thinks=True)

    def _chat_with(
        self, aim: Aim, message: str, provider: str | None, options: dict[str, Any], *, thinks: bool = False
    ) -> Any:
        self._check_helper(message, provider, options, chosen=not thinks)
        if thinks:
            options = {"thinking": True, **options}
        if thinks and options.get("model") is not None:
            return self.chat(message, provider=provider, **options)
        try:
            model = self._run(_operations.pick(self._found, self._known, aim, provider, thinks=thinks))
        except MeshError as problem:
            if self._raise_on_error:
                raise
            return Stream(None, problem) if options.get("stream") else ChatResult.failed(problem)
        return self.chat(message, **{**options, "model": model.id, "provider": model.provider})

    def get_models(self) -> ModelList:
        """Return the models that you can use, by provider, and what is known of each; or the failure."""
        return self._report(_operations.get_models(self._found), ModelList)

    def get_usage(
        self,
        since: When | None = None,
        until: When | None = None,
        by: Sequence[Dimension] | Dimension | None = None,
    ) -> UsageReport:
        """Return what you have spent, as the server counts it; or the failure.

        Args:
            since: from when: a time with its zone, or a day, which begins at midnight UTC; also as text. Default: 30
                days before `until`.
            until: to when, itself not counted; default: the end of today.
            by: what the rows are by, one or several of `day`, `provider`, `model`, `key`, `surface`, `outcome`;
                default: the first three.

        Raises:
            TypeError, ValueError: if the call is wrong.
        """
        plan = _operations.get_usage(self._found, _billing.usage(since, until, by))
        return self._report(plan, UsageReport)

    def get_budget(self) -> Budget:
        """Return what you may spend, and what is left; or the failure."""
        return self._report(_operations.get_budget(self._found), Budget)
