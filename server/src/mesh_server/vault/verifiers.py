"""The seam on which the proofs follow the vault: in the transaction that changes a value, its verifier is forgotten.

The vault knows no proofs; the app hands these functions to it (docs/adr/0033).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from mesh_server.accounts.models import Principal
from mesh_server.db.schema import Transaction

#: Transaction, principal, namespace, name, and whether an enrolment of the new value is under way: which one, or any.
ValueChanged = Callable[[Transaction, Principal, str, str, bool | bytes], Awaitable[None]]
#: Transaction, principal, namespace, first and last name of a range; returns which names in it can be verified.
Provable = Callable[[Transaction, Principal, str, str, str], Awaitable[set[str]]]


async def _nothing(_tx: Transaction, _who: Principal, _namespace: str, _name: str, _provable: bool | bytes) -> None:  # noqa: FBT001 - one of ValueChanged
    """Forget nothing: there are no verifiers."""


async def _none(_tx: Transaction, _who: Principal, _namespace: str, _first: str, _last: str) -> set[str]:
    """Return no names: there are no verifiers."""
    return set()


@dataclass(frozen=True, slots=True)
class Verifiers:
    """What the vault calls; by default there are no verifiers.

    Attributes:
        value_changed: called for every new version, rollback and deletion of a key.
        provable: called for every page of a list.
    """

    value_changed: ValueChanged = _nothing
    provable: Provable = _none
