"""Keys as the database has them, sealed, and how they are opened."""

from dataclasses import dataclass, field

from mesh_server.accounts.models import Account
from mesh_server.vault import crypto
from mesh_server.vault.models import KeyRecord, OpenedKey


@dataclass(frozen=True, slots=True)
class SealedKey:
    """A key with what opens its value. `repr` shows nothing of it."""

    record: KeyRecord
    version: int
    is_text: bool
    tenant_key: bytes = field(repr=False)
    wrapped_dek: bytes = field(repr=False)
    blob: bytes = field(repr=False)

    def open(self, holder: Account) -> OpenedKey:
        """Return the key with its value.

        Raises:
            VaultDamaged: if it does not open at this place.
        """
        return OpenedKey(self.record, self.ready(holder).open(), self.is_text, self.version)

    def ready(self, holder: Account) -> crypto.Ready:
        """Return the value ready to be opened.

        Raises:
            VaultDamaged: if it is not of this place.
        """
        return crypto.ready(self.message_key(holder), self.blob, self._place(holder))

    def message_key(self, holder: Account) -> bytes:
        """Return the key that the value itself is encrypted under, once its commitment and the data key's hold.

        Raises:
            VaultDamaged: if they do not.
        """
        dek = crypto.unseal(
            self.tenant_key, self.wrapped_dek, place_of_value(holder, self.record.id, self.version, "data-key")
        )
        return crypto.message_key(dek, self.blob)

    def _place(self, holder: Account) -> crypto.Place:
        return place_of_value(holder, self.record.id, self.version, "value")


class ProvenKey:
    """A key whose row was proven, with its value ready to be opened once it was opened."""

    __slots__ = ("_ready", "sealed")

    def __init__(self, sealed: SealedKey) -> None:
        self.sealed = sealed
        self._ready: crypto.Ready | None = None

    def open(self, holder: Account) -> OpenedKey:
        """Return the key with its value; as `SealedKey.open`."""
        if self._ready is None:
            self._ready = self.sealed.ready(holder)
        return OpenedKey(self.sealed.record, self._ready.open(), self.sealed.is_text, self.sealed.version)


def place_of_value(holder: Account, key_id: str, version: int, purpose: str) -> crypto.Place:
    """Return where a version's value belongs, or its data key."""
    return crypto.Place(
        tenant=holder.tenant_id, owner=holder.account_id, object_id=key_id, version=version, purpose=purpose
    )
