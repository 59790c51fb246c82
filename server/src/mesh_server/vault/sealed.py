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
        return self.opened(holder, self.message_key(holder))

    def message_key(self, holder: Account) -> bytes:
        """Return the key that the value itself is encrypted under, once its commitment and the data key's hold.

        Raises:
            VaultDamaged: if they do not.
        """
        dek = crypto.unseal(
            self.tenant_key, self.wrapped_dek, place_of_value(holder, self.record.id, self.version, "data-key")
        )
        return crypto.message_key(dek, self.blob)

    def opened(self, holder: Account, message_key: bytes) -> OpenedKey:
        """Return the key with its value, decrypted under that key.

        Raises:
            VaultDamaged: if it does not open at this place.
        """
        place = place_of_value(holder, self.record.id, self.version, "value")
        return OpenedKey(self.record, crypto.decrypt(message_key, self.blob, place), self.is_text, self.version)


class ProvenKey:
    """A key whose row was proven, with the key of its value once that was opened."""

    __slots__ = ("_message_key", "sealed")

    def __init__(self, sealed: SealedKey) -> None:
        self.sealed = sealed
        self._message_key: bytes | None = None

    def open(self, holder: Account) -> OpenedKey:
        """Return the key with its value; as `SealedKey.open`."""
        if self._message_key is None:
            self._message_key = self.sealed.message_key(holder)
        return self.sealed.opened(holder, self._message_key)


def place_of_value(holder: Account, key_id: str, version: int, purpose: str) -> crypto.Place:
    """Return where a version's value belongs, or its data key."""
    return crypto.Place(
        tenant=holder.tenant_id, owner=holder.account_id, object_id=key_id, version=version, purpose=purpose
    )
