"""How often a value may be tried: token buckets in the database, so that they hold over all workers.

A bucket is one number, the moment at which it will be full again (the generic cell rate algorithm). Buckets are kept
for records that do not exist, too: a limit must not tell which do.
"""

from sqlalchemy import bindparam, delete, insert, select, update

from mesh_server.db.schema import Transaction
from mesh_server.errors import RateLimited
from mesh_server.proofs.models import Rate, Rates, zk_limits

_HERE = (zk_limits.c.tenant_id == bindparam("tenant_")) & (zk_limits.c.bucket == bindparam("bucket_"))
_READ = select(zk_limits.c.full_at).where(_HERE)
_ADD = insert(zk_limits).values(
    tenant_id=bindparam("tenant_"), bucket=bindparam("bucket_"), full_at=bindparam("full_at_")
)
_SET = update(zk_limits).where(_HERE).values(full_at=bindparam("full_at_"))
_GIVE_BACK = update(zk_limits).where(_HERE).values(full_at=zk_limits.c.full_at - bindparam("interval_"))
_PURGE = delete(zk_limits).where(zk_limits.c.full_at <= bindparam("now_"))


class Buckets:
    """The buckets that one request draws from: its record's, its account's and its network's, where they are given."""

    def __init__(self, rates: Rates, tenant: str, *, record_id: str = "", owner: str = "", address: str = "") -> None:
        self._tenant = tenant
        self._drawn: list[tuple[str, Rate, str]] = [
            (f"{kind}:{key}", rate, what)
            for kind, key, rate, what in (
                ("r", record_id, rates.record, "this key"),
                ("u", owner, rates.user, "this account"),
                ("a", address, rates.address, "this address"),
            )
            if key
        ]

    async def take(self, tx: Transaction, now: int) -> None:
        """Draw one from each.

        Raises:
            RateLimited: if one is empty, with the seconds until it is not.
        """
        for bucket, rate, what in self._drawn:
            row = await tx.one(_READ, tenant_=self._tenant, bucket_=bucket)
            full_at = max(now, row[0] if row else now) + rate.interval_us
            wait = full_at - now - rate.burst * rate.interval_us
            if wait > 0:
                raise RateLimited(f"Too many attempts for {what} that did not succeed.", retry_after=wait / 1e6)
            await tx.execute(_SET if row else _ADD, tenant_=self._tenant, bucket_=bucket, full_at_=full_at)

    async def give_back(self, tx: Transaction) -> None:
        """Put one back into each: what was drawn led to a success."""
        for bucket, rate, _ in self._drawn:
            await tx.execute(_GIVE_BACK, tenant_=self._tenant, bucket_=bucket, interval_=rate.interval_us)


async def purge(tx: Transaction, now: int) -> None:
    """Forget the buckets that are full: a bucket that is not there is a full one."""
    await tx.execute(_PURGE, now_=now)
