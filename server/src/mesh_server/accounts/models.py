"""Tables and plain records of accounts."""

from dataclasses import dataclass

from mesh_server.errors import ScopeMissing

#: What an API token can be allowed to do.
SCOPES = frozenset({"keys:read", "keys:write", "chat", "verify", "admin", "act-as"})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is calling, as proven by a verified credential.

    Everything that touches data takes one of these, never a bare id.

    Attributes:
        tenant_id: the tenant that the account belongs to.
        account_id: the account; what a person would call "me".
        token_id: the API token used, None for a login.
        scopes: what this credential may do.
        email: for display only; never an identity.
    """

    tenant_id: str
    account_id: str
    token_id: str | None
    scopes: frozenset[str]
    email: str | None = None

    def require(self, scope: str) -> None:
        """Let through only a credential that has the scope.

        Raises:
            ScopeMissing: naming the scope.
        """
        if scope not in self.scopes:
            raise ScopeMissing(f"This token may not do that: it lacks the scope `{scope}`.")
