"""Values that the vault opens for the server's own check of a proof; they never leave the server."""

from mesh_server.accounts.models import Principal
from mesh_server.db.schema import Transaction
from mesh_server.vault.sealed import SealedKey
from mesh_server.vault.store import Store
from mesh_server.vault.trail import Trail


class PlainValues:
    """The caller's own texts, for the scope `verify`: whoever may only compare learns one bit, and never the value."""

    def __init__(self, store: Store, trail: Trail) -> None:
        self._store = store
        self._trail = trail

    async def has(self, tx: Transaction, principal: Principal, namespace: str, name: str) -> bool:
        """Return whether the caller has a live key with a text; opens nothing.

        Raises:
            ScopeMissing: without `verify`.
        """
        return await self._text(tx, principal, namespace, name) is not None

    async def open(self, tx: Transaction, principal: Principal, namespace: str, name: str) -> str | None:
        """Return the value, which the audit trail knows of by `key.used`; None where there is no text of this name.

        Args:
            tx: the transaction of the check.
            principal: who is calling; only keys of their own account are looked at.
            namespace: within it.
            name: of the key.

        Raises:
            ScopeMissing: without `verify`.
            VaultDamaged: if it does not open.
        """
        sealed = await self._text(tx, principal, namespace, name)
        if sealed is None:
            return None
        await self._trail.tell(tx, principal, principal.account, "key.used", sealed.record)
        return sealed.open(principal.account).value.decode()

    async def _text(self, tx: Transaction, principal: Principal, namespace: str, name: str) -> SealedKey | None:
        principal.require("verify")
        sealed = await self._store.sealed(tx, principal.account, namespace, name)
        return sealed if sealed is not None and sealed.is_text else None
