"""Cursors of lists: where a list goes on, signed, so that one list's can't be used on another's."""

import base64
import binascii
from collections.abc import Callable

from mesh_protocol.transcript import lp
from mesh_server.errors import InvalidRequest
from mesh_server.vault.crypto import equal

_MAC_BYTES = 16


class Cursors:
    """Makes and opens cursors.

    Args:
        keyed_hash: of 32 bytes, under a key of this purpose alone.
    """

    def __init__(self, keyed_hash: Callable[[bytes], bytes]) -> None:
        self._hash = keyed_hash

    def make(self, scope: tuple[str, ...], name: str) -> str:
        """Return the cursor that goes on after a name.

        Args:
            scope: whose list it is and by which filters; the cursor is good for the same scope only.
            name: the last one of the page.
        """
        encoded = name.encode()
        return base64.urlsafe_b64encode(self._mac(scope, encoded) + encoded).decode().rstrip("=")

    def open(self, scope: tuple[str, ...], cursor: str) -> str:
        """Return the name after which the list goes on.

        Raises:
            InvalidRequest: if the cursor was not made for this scope.
        """
        try:
            content = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError):
            content = b""
        signature, encoded = content[:_MAC_BYTES], content[_MAC_BYTES:]
        if not equal(signature, self._mac(scope, encoded)):
            raise InvalidRequest("`cursor` does not belong to this list; begin again without it.")
        return encoded.decode()

    def _mac(self, scope: tuple[str, ...], encoded: bytes) -> bytes:
        return self._hash(b"".join(lp(part.encode()) for part in scope) + lp(encoded))[:_MAC_BYTES]
