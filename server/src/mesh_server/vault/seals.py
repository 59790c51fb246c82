"""Proofs that a row is as this server wrote it: for what is stored in the clear beside the sealed values.

The value of a key can't be changed by who lacks the master key, but its expiry, its deletion, its current version and
its tags would be plain columns. Each row therefore has an HMAC over all of them, checked where the row decides.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mesh_server.audit.chain import KeyedHash, fields
from mesh_server.errors import VaultDamaged
from mesh_server.vault.crypto import equal


class Seals:
    """Makes and checks the `mac` of rows.

    Args:
        keyed_hash: of 32 bytes, under a key of this purpose alone.
    """

    def __init__(self, keyed_hash: KeyedHash) -> None:
        self._hash = keyed_hash

    def key(self, tenant_id: str, row: Sequence[Any], tags: Mapping[str, str]) -> bytes:
        """Return the mac of a key's row, its tags included.

        Args:
            tenant_id: where it is.
            row: the columns `statements.KEY`.
            tags: all of them.
        """
        described = [part for tag in sorted(tags) for part in (tag, tags[tag])]
        return self._hash(fields("MESH-ROW-V01/keys", tenant_id, *row, *described))

    def version(self, tenant_id: str, key_id: str, row: Sequence[Any]) -> bytes:
        """Return the mac of a version's row.

        Args:
            tenant_id: where it is.
            key_id: whose version.
            row: version, tenant key, whether it is text, created at, destroyed at.
        """
        version, tenant_key_id, is_text, *moments = row
        return self._hash(
            fields("MESH-ROW-V01/key_versions", tenant_id, key_id, version, tenant_key_id, int(is_text), *moments)
        )

    def grant(self, tenant_id: str, row: Sequence[Any]) -> bytes:
        """Return the mac of a grant's row.

        Args:
            tenant_id: where it is.
            row: the columns `grants.GRANT`.
        """
        return self._hash(fields("MESH-ROW-V01/grants", tenant_id, *row))


def check(mac: bytes | None, expected: bytes, what: str) -> None:
    """Refuse a row that another program than this server wrote.

    Args:
        mac: as stored.
        expected: as computed.
        what: names the kind of row for the message.

    Raises:
        VaultDamaged: if the two differ.
    """
    if mac is None or not equal(mac, expected):
        raise VaultDamaged(f"The record of a {what} was changed by another program than this server.")
