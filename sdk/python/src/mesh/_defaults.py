"""Which model and provider a call without them goes to."""

import re
from collections.abc import Mapping

from mesh._config import Profile
from mesh.models.aliases import resolve

#: The defaults that never change; where a provider retires a model, the server serves its successor and says so.
CONSTANTS = {"openai": "gpt-4", "anthropic": "claude-3-opus-20240229"}

_OPENAI = re.compile(r"(ft:)?(gpt-|chatgpt-|o[1-9](-|$)|codex-).*")


def provider_of(model: str) -> str | None:
    """Return whose model a name is, as far as the name alone tells."""
    if _OPENAI.fullmatch(model):
        return "openai"
    return "anthropic" if model.startswith("claude") else None


class Defaults:
    """Chooses model and provider.

    Model: argument, `set_default_model`, DEFAULT_<PROVIDER>_MODEL, DEFAULT_MODEL if it is of that provider, the
    profile's if it is for that provider, the constant. Provider: argument, the model's own, DEFAULT_PROVIDER, the
    profile's, openai.
    """

    def __init__(self) -> None:
        self._chosen: dict[str, str] = {}

    def set(self, provider: str, model: str) -> None:
        """Make a model the default of a provider.

        Raises:
            TypeError, ValueError: if one is no text, or the model is another provider's.
        """
        for name, value in (("provider", provider), ("model", model)):
            if not isinstance(value, str):
                raise TypeError(f"{name} must be a str, not {type(value).__name__}")
            if not value:
                raise ValueError(f"{name} is empty")
        model = resolve(model)
        check_agree(model, provider)
        self._chosen[provider] = model

    def reset(self) -> None:
        """Forget what `set` was told."""
        self._chosen.clear()

    def choose(
        self, model: str | None, provider: str | None, env: Mapping[str, str], profile: Profile
    ) -> tuple[str | None, str | None]:
        """Return model and provider for a call; None leaves that one to the server.

        Raises:
            ValueError: if the model is another provider's than the one named.
        """
        if model is not None:
            model = resolve(model)
            check_agree(model, provider)
            return model, provider
        env_model = resolve(env.get("DEFAULT_MODEL") or "") or None
        if provider is None:
            provider = (
                env.get("DEFAULT_PROVIDER")
                or (provider_of(env_model) if env_model else None)
                or profile.default_provider
                or "openai"
            )
        own = env.get(f"DEFAULT_{re.sub(r'[^A-Z0-9]', '_', provider.upper())}_MODEL") or None
        general = env_model if env_model and _may_be_of(env_model, provider) else None
        of_profile = profile.default_model if profile.default_provider == provider else None
        chosen = self._chosen.get(provider) or own or general or of_profile or CONSTANTS.get(provider)
        return None if chosen is None else resolve(chosen), provider


def check_agree(model: str, provider: str | None) -> None:
    """Refuse a model that is surely another provider's.

    Raises:
        ValueError: naming both.
    """
    owner = provider_of(model)
    if provider in CONSTANTS and owner is not None and owner != provider:
        raise ValueError(f"{model!r} is a model of {owner}, not of {provider}; leave provider out or name {owner!r}")


def _may_be_of(model: str, provider: str) -> bool:
    owner = provider_of(model)
    return owner == provider or (owner is None and provider not in CONSTANTS)
