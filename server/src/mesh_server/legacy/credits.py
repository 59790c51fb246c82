"""Credits: what is left to spend, as a number that the published clients show."""

#: US cents in a dollar: one credit is a cent.
_CENTS = 100
#: Said where no budget limits the caller. The clients want a number, and some of their users compare it with what a
#: call costs: 10,000 dollars is more than that, and is not mistaken for a balance.
UNLIMITED = 1_000_000


def credits_of(left_usd: float | None, *, may_chat: bool) -> int:
    """Return the credits of a caller, in whole US cents, rounded down.

    Args:
        left_usd: the least that any hard budget of money leaves, in US dollars; None without one.
        may_chat: whether the credential may spend anything at all.
    """
    if not may_chat:
        return 0
    # To the nano-dollar first: 4.2 dollars times 100 are 420, not 419 and a bit.
    return UNLIMITED if left_usd is None else max(0, int(round(left_usd * _CENTS, 7)))
