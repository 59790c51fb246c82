"""What both clients are made of: configuration, defaults, and the one rule for failures."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mesh import _config, _debug, _requests
from mesh._account import Account
from mesh._defaults import Defaults
from mesh._register import Registration
from mesh._send import Found, Ready
from mesh.auth.order import Credentials
from mesh.auth.overrides import overrides
from mesh.auth.ports import callback_ports
from mesh.auth.terminal import interactive
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
        client_id: str | None = None,
        client_secret: str | None = None,
        audience: str | None = None,
        auth0_domain: str | None = None,
        auto_refresh: bool | None = None,
    ) -> None:
        _requests.check_timeout(timeout)
        if max_retries is not None and (not isinstance(max_retries, int) or max_retries < 0):
            raise ValueError("max_retries must be a whole number, not negative")
        self._raise_on_error = raise_on_error
        self._original_response = original_response
        self._defaults = Defaults()
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
            (os.environ, _config.Profile())
            if isinstance(found, MeshError)
            else (found.config.environment, found.config.profile)
        )
        model, provider = self._defaults.choose(model, provider, env, profile)
        return ChatCall(
            request=_requests.chat(body, model=model, provider=provider),
            timeout=timeout,
            original=self._original_response if original is None else original,
        )
