"""What both clients are made of: configuration, defaults, and the one rule for failures."""

import os
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from mesh import _answers, _config, _debug, _operations, _otel, _requests
from mesh._account import Account
from mesh._chat.call import ChatCall, check_texts, prepare
from mesh._defaults import Defaults
from mesh._plan import Plan
from mesh._register import Registration
from mesh._send import Found, Ready, config_of
from mesh._transport import Reply
from mesh.auth.order import Credentials
from mesh.auth.overrides import overrides
from mesh.auth.ports import callback_ports
from mesh.auth.terminal import interactive
from mesh.errors import MeshError
from mesh.results import ChatResult

if TYPE_CHECKING:
    from mesh._chat.rounds import Rounds
    from mesh.keys.cache import KeyCache


class BaseClient:
    """Configuration and defaults of a client; sends nothing."""

    def __init__(
        self,
        server_url: str | None = None,
        auth_token: str | None = None,
        *,
        profile: str | None = None,
        timeout: float | None = None,
        max_retries: int | None = None,
        raise_on_error: bool = False,
        original_response: bool = False,
        debug: bool | None = None,
        allow_insecure: bool = False,
        client_id: str | None = None,
        client_secret: str | None = None,
        audience: str | None = None,
        auth0_domain: str | None = None,
        auto_refresh: bool | None = None,
        strict_models: bool = False,
        cache: bool = False,
    ) -> None:
        _requests.check_timeout(timeout)
        if max_retries is not None and (not isinstance(max_retries, int) or max_retries < 0):
            raise ValueError("max_retries must be a whole number, not negative")
        self._raise_on_error = raise_on_error
        self._original_response = original_response
        self._strict_models = strict_models
        self._defaults = Defaults()
        self._known = _operations.Known()
        self._account = Account()
        self._registration = Registration()
        env = os.environ
        ports = callback_ports(env)
        # What is wrong with the surroundings is told by the calls, in the way that they tell every failure.
        self._found: Found
        try:
            config = _config.load(
                server_url=server_url,
                auth_token=auth_token,
                profile=profile,
                timeout=timeout,
                max_retries=max_retries,
                allow_insecure=allow_insecure,
                may_ask=interactive(),
            )
        except MeshError as problem:
            self._found = problem
        else:
            credentials = Credentials(
                config,
                overrides(
                    env, domain=auth0_domain, client_id=client_id, client_secret=client_secret, audience=audience
                ),
                ports=ports,
                auto_refresh=_config.is_true(env, "AUTO_REFRESH", default=True)
                if auto_refresh is None
                else auto_refresh,
            )
            self._found = Ready(config, credentials)
        self._cache: KeyCache | None = None
        if cache and isinstance(self._found, Ready):
            from mesh.keys import cache as key_cache  # noqa: PLC0415 - few want it

            self._cache = key_cache.KeyCache(self._found.config.folder, self._found.config.server_url)
        if debug if debug is not None else _config.is_true(os.environ, "DEBUG"):
            _debug.enable()

    def __repr__(self) -> str:
        """Return where it goes; nothing of the login."""
        where = self._found.config.server_url if isinstance(self._found, Ready) else self._found.code
        return f"<{type(self).__name__} {where}>"

    @property
    def configured(self) -> bool:
        """Whether a server was found, and no call has missed a login for it."""
        return isinstance(self._found, Ready) and not self._found.credentials.missing

    def set_default_model(self, provider: str, model: str) -> None:
        """Make a model the default of a provider, for this client.

        Raises:
            ValueError: if the model is another provider's.
        """
        self._defaults.set(provider, model)

    def reset_default_models(self) -> None:
        """Go back to the defaults of the environment, the profile and Mesh."""
        self._defaults.reset()

    def _chat_call(
        self,
        message: str | None,
        arguments: dict[str, Any],
        extra: Mapping[str, Any],
        *,
        model: str | None,
        provider: str | None,
    ) -> ChatCall:
        """Check a chat's arguments; a wrong call is raised even where nothing could be sent."""
        check_texts(model=model, provider=provider)
        if self._strict_models and arguments["strict_models"] is None:
            arguments["strict_models"] = True
        config = config_of(self._found)
        env, profile = (os.environ, _config.Profile()) if config is None else (config.environment, config.profile)
        model, provider = self._defaults.choose(model, provider, env, profile)
        return prepare(message, arguments, extra, model=model, provider=provider, original=self._original_response)

    def _check_helper(self, message: str, provider: str | None, options: Mapping[str, Any], *, chosen: bool) -> None:
        """Refuse a wrong call before the server is asked which models there are."""
        if chosen and options.get("model") is not None:
            raise TypeError("this method chooses the model; to name one, use chat")
        if not isinstance(message, str):
            raise TypeError(f"message must be a str, not {type(message).__name__}")
        check_texts(provider=provider, model=options.get("model"))
        if provider == "":
            raise ValueError("provider is empty")

    def _chat_plan(
        self, call: ChatCall, request: _requests.Request, timeout: float | None
    ) -> Plan[ChatResult | dict[str, Any]]:
        """Return the plan of one request of a call."""
        original = call.original and call.rounds is None and call.output is None
        plan = _operations.chat(self._found, self._registration, request, timeout, original=original)
        return _otel.traced(plan, call.model, call.provider) if _otel.active() else plan

    def _stream_plan(self, call: ChatCall, request: _requests.Request) -> Plan[Reply]:
        """Return the plan that opens one stream of a call."""
        plan = _operations.open_stream(self._found, self._registration, request, call.timeout)
        return _otel.traced(plan, call.model, call.provider) if _otel.active() else plan

    def _clock(self, call: ChatCall) -> Callable[[], float]:
        """Return what tells the seconds that a call has left, over all its rounds."""
        config = config_of(self._found)
        given = call.timeout or (config.timeout if config is not None else None) or _config.CHAT_TIMEOUT_S
        deadline = time.monotonic() + given
        return lambda: max(deadline - time.monotonic(), 1e-9)

    def _finished(self, call: ChatCall, answer: Any) -> Any:
        """Return the result of a call from its last answer.

        Raises:
            MeshError: with `raise_on_error=True`, if it is not of the form that was asked for.
        """
        if call.rounds is not None:
            answer = call.rounds.finish(answer)
        if call.output is not None and answer.get("success") is True:
            problem = call.output.apply(answer)
            if problem is not None and self._raise_on_error:
                raise problem
            answer |= problem.to_dict() if problem is not None else {}
        if call.original and isinstance(answer, ChatResult) and answer.get("success") is True:
            return _answers.original(answer.raw)
        return answer


def rounds_of(call: ChatCall) -> "Rounds":
    """Return the rounds of a call that has tools to run."""
    assert call.rounds is not None  # noqa: S101 - for the type checker: it is asked only of such calls
    return call.rounds
