"""Tables and plain records of accounts."""

from dataclasses import dataclass
from typing import Self

import msgspec
from sqlalchemy import Column, Integer, LargeBinary, String, Table, Text

from mesh_server.db.schema import metadata
from mesh_server.errors import ScopeMissing

#: What an API token can be allowed to do.
SCOPES = frozenset({"keys:read", "keys:write", "chat", "verify", "admin", "act-as"})
#: What a new token is allowed to do where nothing is said: everyday use, nothing that reaches beyond it.
EVERYDAY_SCOPES = SCOPES - {"admin", "act-as"}

tenants = Table(
    "tenants",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("created_at", Integer, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("name", String(256)),
    Column("email", String(320)),
    Column("created_at", Integer, nullable=False),
    Column("mac", LargeBinary),
)

identities = Table(
    "identities",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("issuer", String(512), primary_key=True),
    Column("subject", String(255), primary_key=True),
    Column("user_id", String(36), nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("mac", LargeBinary),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("tenant_id", String(128), primary_key=True),
    Column("id", String(36), primary_key=True),
    Column("user_id", String(36), nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("name", String(256), nullable=False),
    Column("hint", String(16), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("created_at", Integer, nullable=False),
    Column("expires_at", Integer),
    Column("revoked_at", Integer),
    Column("mac", LargeBinary),
)


class Account(msgspec.Struct, frozen=True):
    """An account by its ids, as the server itself found it; never made from what a request says."""

    tenant_id: str
    account_id: str


class Principal(msgspec.Struct, frozen=True):
    """Who is calling, as proven by a verified credential.

    Everything that touches data takes one of these, never a bare id.

    Attributes:
        tenant_id: the tenant that the account belongs to.
        account_id: the account; what a person would call "me".
        token_id: the API token used, None for a login.
        scopes: what this credential may do.
        email: for display only; never an identity.
        expires_at: when the credential ends, in microseconds since 1970; None for never.
        acting: the account whose credential it is, where it acts for another one; else None.
        request_id: the request that it came with; empty outside of one.
    """

    tenant_id: str
    account_id: str
    token_id: str | None
    scopes: frozenset[str]
    email: str | None = None
    expires_at: int | None = None
    acting: str | None = None
    request_id: str = ""

    @property
    def actor_id(self) -> str:
        """The account whose credential it is."""
        return self.acting or self.account_id

    def within(self, request_id: str) -> Self:
        """Return the same principal in a request."""
        return msgspec.structs.replace(self, request_id=request_id)

    @property
    def account(self) -> Account:
        """The account that the credential belongs to."""
        return Account(self.tenant_id, self.account_id)

    def require(self, scope: str) -> None:
        """Let through only a credential that has the scope.

        Raises:
            ScopeMissing: naming the scope.
        """
        if scope not in self.scopes:
            raise ScopeMissing(f"This token may not do that: it lacks the scope `{scope}`.")

    def require_management(self) -> None:
        """Let through only who may hand on what the account has: a login, or a token with the scope `admin`.

        So whoever finds a lesser token can't outlive its revocation.

        Raises:
            ScopeMissing: naming the scope.
        """
        if self.token_id is not None or self.acting is not None:
            self.require("admin")


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRecord:
    """What is known of an API token; its text is not. Times in microseconds since 1970."""

    id: str
    name: str
    hint: str
    scopes: frozenset[str]
    created_at: int
    expires_at: int | None
    revoked_at: int | None
