"""What the dev issuer remembers. Refresh tokens and codes are there as hashes only.

Times in seconds since 1970.
"""

import hashlib
from typing import Any, Literal

import msgspec

from mesh_protocol.quiet import Quiet


class SigningKey(Quiet, msgspec.Struct):
    """A key that signs, or signed: the newest is the first. `repr` does not show it."""

    kid: str
    private: dict[str, Any]
    made_at: float

    def __repr__(self) -> str:
        """Return its public name alone."""
        return f"<SigningKey {self.kid}>"


class Family(msgspec.Struct):
    """One login that can be refreshed: a line of refresh tokens, each made from the one before.

    Attributes:
        id: the login.
        name: who logged in.
        scope: what was granted.
        auth_time: when the person signed in.
        generation: of the newest refresh token.
        rotated_at: when that one was made.
        expires_at: when the login ends.
        ended: after a revocation or a reuse; it is kept so that its tokens are still known, and refused.
        tokens: the generation of each refresh token, by its hash.
    """

    id: str
    name: str
    scope: str
    auth_time: float
    generation: int
    rotated_at: float
    expires_at: float
    ended: bool = False
    tokens: dict[str, int] = msgspec.field(default_factory=dict)


class Device(msgspec.Struct):
    """A device that waits for a person to decide (RFC 8628)."""

    user_code: str
    scope: str
    expires_at: float
    interval_s: float
    status: Literal["waiting", "allowed", "denied"] = "waiting"
    name: str = ""
    decided_at: float = 0.0
    polled_at: float = 0.0


class Code(msgspec.Struct):
    """An authorization code, and what the token request must show to use it (RFC 6749, RFC 7636)."""

    redirect_uri: str
    challenge: str
    scope: str
    nonce: str | None
    name: str
    auth_time: float
    expires_at: float
    used_by: str | None = None


class State(msgspec.Struct):
    """Everything that outlives a restart."""

    keys: list[SigningKey] = msgspec.field(default_factory=list)
    families: dict[str, Family] = msgspec.field(default_factory=dict)
    devices: dict[str, Device] = msgspec.field(default_factory=dict)
    codes: dict[str, Code] = msgspec.field(default_factory=dict)


class Grant(Quiet, msgspec.Struct, frozen=True):
    """Who logged in, for what, and as which login."""

    name: str
    scope: str
    auth_time: float
    family: str
    nonce: str | None = None
    refresh_token: str | None = None


def digest(secret: str) -> str:
    """Return the hash under which a random secret is kept; of 256 random bits none can be guessed back."""
    return hashlib.sha256(secret.encode()).hexdigest()
