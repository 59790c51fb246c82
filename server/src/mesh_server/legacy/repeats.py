"""Repeats: one published client gives a call up after thirty seconds and sends it again, up to 24 times.

It sends no `Idempotency-Key`, so who asks and what is asked stand in its place (docs/adr/0096).
"""

import hashlib

from mesh_server.accounts.models import Principal
from mesh_server.vault.answers import Same

#: Microseconds for which the same question gets the same answer: the 24 tries take up to 13 minutes.
KEPT_US = 15 * 60 * 1_000_000
#: Microseconds for which a failure is told again. The client's last tries follow a failure at once; a person's own next
#: try should not be told of it any more.
FAILURE_KEPT_US = 60 * 1_000_000


def repeat_of(principal: Principal, said: bytes) -> Same:
    """Return what makes another request a repeat of this one: the same credential's account and token, the same words.

    Args:
        principal: who asks.
        said: what a body says, the same for bodies that say the same.
    """
    who = (principal.account_id, principal.token_id or "", principal.acting or "")
    digest = hashlib.sha256(b"".join(len(part).to_bytes(8, "little") + part for part in (*map(str.encode, who), said)))
    # No header can hold a zero byte, so this is never a key that somebody chose.
    return Same(b"\0repeat" + digest.digest(), digest.digest(), KEPT_US, FAILURE_KEPT_US)
