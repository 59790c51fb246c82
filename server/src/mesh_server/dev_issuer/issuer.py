"""The dev issuer as a whole: its state, what it signs, who is signing in."""

import time
from collections.abc import Callable
from typing import Any

from mesh_server.dev_issuer.grants import Grants
from mesh_server.dev_issuer.settings import DevIssuerSettings
from mesh_server.dev_issuer.signin import SignIns
from mesh_server.dev_issuer.signing import ALGORITHM, Signer
from mesh_server.dev_issuer.state import Grant
from mesh_server.dev_issuer.store import Store


class DevIssuer:
    """One issuer.

    Args:
        settings: what it is.
        store: where its state is kept.
        show: shows a one-time code to whoever runs the server.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        settings: DevIssuerSettings,
        store: Store,
        show: Callable[[str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.now = clock
        self._store = store
        self._state = store.load()
        self.grants = Grants(settings, self._state)
        self.signer = Signer(settings, self._state)
        self.sign_ins = SignIns(show)

    async def save(self) -> None:
        """Keep what was changed; before it is acknowledged."""
        await self._store.save(self._state)

    async def jwks(self) -> dict[str, Any]:
        """Return the public keys, after making a new one where it is time."""
        if self.signer.keep_fresh(self.now()):
            await self.save()
        return self.signer.jwks()

    async def tokens(self, grant: Grant) -> dict[str, Any]:
        """Return the token endpoint's answer for a grant, after keeping the state that it changed."""
        self.signer.keep_fresh(self.now())
        await self.save()
        return self.signer.tokens(grant, self.now())

    def discovery(self) -> dict[str, Any]:
        """Return the discovery document (OpenID Connect Discovery 1.0, section 3; RFC 8414; RFC 8628; RFC 9207)."""
        url = self.settings.url
        return {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "device_authorization_endpoint": f"{url}/device_authorization",
            "revocation_endpoint": f"{url}/revoke",
            "userinfo_endpoint": f"{url}/userinfo",
            "jwks_uri": f"{url}/jwks",
            "scopes_supported": ["openid", "profile", "email", "offline_access"],
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": [
                "authorization_code",
                "refresh_token",
                "urn:ietf:params:oauth:grant-type:device_code",
            ],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
            "token_endpoint_auth_methods_supported": ["none"],
            "revocation_endpoint_auth_methods_supported": ["none"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }
