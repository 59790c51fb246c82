"""What both clients are made of: configuration, defaults, and the one rule for failures."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesh import _config, _debug, _requests
from mesh._account import Account
from mesh._defaults import Defaults
from mesh._send import Found
from mesh.errors import MeshError


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCall:
    """A chat call, checked and ready to be sent."""

    request: _requests.Request
    timeout: float | None
    original: bool


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
    ) -> None:
        _requests.check_timeout(timeout)
        if max_retries is not None and (not isinstance(max_retries, int) or max_retries < 0):
            raise ValueError("max_retries must be a whole number, not negative")
        self._raise_on_error = raise_on_error
        self._original_response = original_response
        self._defaults = Defaults()
        self._account = Account()
        # What is wrong with the surroundings is told by the calls, in the way that they tell every failure.
        self._found: Found
        try:
            self._found = _config.load(
                server_url=server_url,
                auth_token=auth_token,
                profile=profile,
                timeout=timeout,
                max_retries=max_retries,
                allow_insecure=allow_insecure,
            )
        except MeshError as problem:
            self._found = problem
        if debug if debug is not None else _config.is_true(os.environ, "DEBUG"):
            _debug.enable()

    def __repr__(self) -> str:
        """Return where it goes; nothing of the login."""
        where = self._found.server_url if isinstance(self._found, _config.Config) else self._found.code
        return f"<{type(self).__name__} {where}>"

    @property
    def configured(self) -> bool:
        """Whether a server and a login for it were found."""
        return not isinstance(self._found, MeshError)

    def set_default_model(self, provider: str, model: str) -> None:
        """Make a model the default of a provider, for this client.

        Raises:
            ValueError: if the model is another provider's.
        """
        self._defaults.set(provider, model)

    def reset_default_models(self) -> None:
        """Go back to the defaults of the environment, the profile and Mesh."""
        self._defaults.reset()

    def _chat_call(self, message: str | None, arguments: dict[str, Any], extra: Mapping[str, Any]) -> ChatCall:
        """Check a chat's arguments; a wrong call is raised even where nothing could be sent."""
        model, provider = arguments.pop("model"), arguments.pop("provider")
        timeout, original = arguments.pop("timeout"), arguments.pop("original_response")
        messages, system, stream = (arguments.pop(name) for name in ("messages", "system", "stream"))
        for name, value in (("model", model), ("provider", provider)):
            if value is not None and not isinstance(value, str):
                raise TypeError(f"{name} must be a str, not {type(value).__name__}")
        _requests.check_timeout(timeout)
        body = _requests.chat_body(
            message, messages=messages, system=system, stream=bool(stream), options=arguments, extra=extra
        )
        found = self._found
        env, profile = (
            (os.environ, _config.Profile()) if isinstance(found, MeshError) else (found.environment, found.profile)
        )
        model, provider = self._defaults.choose(model, provider, env, profile)
        return ChatCall(
            request=_requests.chat(body, model=model, provider=provider),
            timeout=timeout,
            original=self._original_response if original is None else original,
        )
