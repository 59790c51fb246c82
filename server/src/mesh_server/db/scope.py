"""For whom a unit of work is done: one tenant, or the server itself for a reason that has a name."""

from dataclasses import dataclass
from enum import Enum
from typing import Protocol


class Tenanted(Protocol):
    """Whatever belongs to a tenant: a principal, an account."""

    @property
    def tenant_id(self) -> str:
        """The tenant."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant that the server itself works for, named by its configuration and never by a request."""

    tenant_id: str


class ServerWork(Enum):
    """What the server does across tenants. Each is a way around the row policies, so each has a name."""

    #: Whose a credential is can't be known before it was looked up.
    TOKEN_LOOKUP = "token-lookup"  # noqa: S105 - a name of work
    #: Whether there is anybody at all who could log in.
    ANY_TOKEN = "any-token"  # noqa: S105 - as above
    #: The master key's canaries, which belong to no tenant.
    MASTER_KEY = "master-key"
    #: The counter of changes, which belongs to no tenant.
    CHANGES = "changes"
    #: Heads and checkpoints of the audit trail, and the operator's view of all of it.
    AUDIT = "audit"
    #: Opening every row to see that it opens.
    VERIFY = "verify"
    BACKUP = "backup"
    RESTORE = "restore"
    #: Removing for good what was deleted long ago.
    PURGE = "purge"
    READINESS = "readiness"
    #: Usage of all tenants, written in groups, and what dead processes left of budgets.
    BILLING = "billing"
    #: Whether a commit happened, whose answer was lost.
    OUTCOME = "outcome"
    MIGRATION = "migration"


Scope = Tenanted | ServerWork

#: Begins the setting of the server's own work; no tenant's name can begin so.
SERVER = "*"


def setting(scope: Scope) -> str:
    """Return the value of `mesh.tenant` that the row policies of PostgreSQL compare with.

    Raises:
        ValueError: if what claims to be a tenant's name is none.
    """
    if isinstance(scope, ServerWork):
        return SERVER + scope.value
    tenant = scope.tenant_id
    if not tenant or tenant.startswith(SERVER):
        raise ValueError("no tenant has such a name")
    return tenant
