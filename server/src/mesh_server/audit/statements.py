"""The audit trail's SQL, compiled once per dialect."""

from functools import cache
from typing import Any

from sqlalchemy import Select, and_, bindparam, delete, exists, func, insert, select, union_all, update

from mesh_server.audit.models import SYSTEM, audit, audit_checkpoints, audit_cuts, audit_heads, audit_probe

EVENT = (
    audit.c.id,
    audit.c.at,
    audit.c.tenant_id,
    audit.c.account_id,
    audit.c.actor_id,
    audit.c.token_id,
    audit.c.action,
    audit.c.object,
    audit.c.outcome,
    audit.c.request_id,
    audit.c.details,
)

#: Where a chain stood at the moment that the transaction sees.
SEEN = select(audit_heads.c.seq, audit_heads.c.hash).where(audit_heads.c.chain == bindparam("chain_"))
#: Locks the head where the database has row locks; a database with one writer needs none.
HEAD = SEEN.with_for_update()
ADD_HEAD = insert(audit_heads).values(chain=bindparam("chain_"), seq=bindparam("seq_"), hash=bindparam("hash_"))
MOVE_HEAD = (
    update(audit_heads)
    .where(audit_heads.c.chain == bindparam("chain_"))
    .values(seq=bindparam("seq_"), hash=bindparam("hash_"))
)
#: Moves a head that is where it is believed to be, and no other.
ADVANCE_HEAD = MOVE_HEAD.where(
    audit_heads.c.seq == bindparam("before_seq_"), audit_heads.c.hash == bindparam("before_hash_")
)
PROBE = update(audit_probe).where(audit_probe.c.id == bindparam("id_")).values(at=bindparam("now_"))
HEADS = select(audit_heads.c.chain, audit_heads.c.seq, audit_heads.c.hash).order_by(audit_heads.c.chain)

#: How many events there are in all chains.
EVERYWHERE = select(func.coalesce(func.sum(audit_heads.c.seq), 0))

ADD = insert(audit).values({column.name: bindparam(f"{column.name}_") for column in audit.c})
#: The rows of one chain, a step at a time.
CHAIN = (
    select(audit.c.seq, audit.c.prev_hash, audit.c.hash, *EVENT)
    .where(audit.c.chain == bindparam("chain_"), audit.c.seq > bindparam("after_"))
    .order_by(audit.c.seq)
    .limit(bindparam("limit_"))
)
CHAINS = select(audit.c.chain).distinct().order_by(audit.c.chain)

_CHECKPOINT = (
    audit_checkpoints.c.number,
    audit_checkpoints.c.chain,
    audit_checkpoints.c.seq,
    audit_checkpoints.c.head,
    audit_checkpoints.c.at,
    audit_checkpoints.c.prev_mac,
    audit_checkpoints.c.mac,
)
ADD_CHECKPOINT = insert(audit_checkpoints).values({column.name: bindparam(f"{column.name}_") for column in _CHECKPOINT})
LAST_CHECKPOINT = select(*_CHECKPOINT).order_by(audit_checkpoints.c.number.desc()).limit(1)
ONE_CHECKPOINT = select(*_CHECKPOINT).where(audit_checkpoints.c.number == bindparam("number_"))
LAST_OF_CHAIN = (
    select(audit_checkpoints.c.seq)
    .where(audit_checkpoints.c.chain == bindparam("chain_"))
    .order_by(audit_checkpoints.c.number.desc())
    .limit(1)
)
CHECKPOINTS = (
    select(*_CHECKPOINT)
    .where(audit_checkpoints.c.number > bindparam("after_"))
    .order_by(audit_checkpoints.c.number)
    .limit(bindparam("limit_"))
)

CHECKPOINTS_OF = (
    select(audit_checkpoints.c.seq, audit_checkpoints.c.head)
    .where(
        audit_checkpoints.c.chain == bindparam("chain_"),
        audit_checkpoints.c.seq > bindparam("after_"),
        audit_checkpoints.c.seq <= bindparam("until_"),
    )
    .order_by(audit_checkpoints.c.seq)
)

_CUT = (audit_cuts.c.chain, audit_cuts.c.seq, audit_cuts.c.hash, audit_cuts.c.at, audit_cuts.c.mac)
CUTS = select(*_CUT).order_by(audit_cuts.c.chain)
CUT = select(*_CUT).where(audit_cuts.c.chain == bindparam("chain_"))
ADD_CUT = insert(audit_cuts).values({column.name: bindparam(f"{column.name}_") for column in _CUT})
MOVE_CUT = (
    update(audit_cuts)
    .where(audit_cuts.c.chain == bindparam("chain_"))
    .values({column.name: bindparam(f"{column.name}_") for column in _CUT[1:]})
)
#: Chains whose first event is older than a moment.
OLD_CHAINS = (
    select(audit_heads.c.chain)
    .select_from(audit_heads.outerjoin(audit_cuts, audit_cuts.c.chain == audit_heads.c.chain))
    .where(
        audit_heads.c.chain != SYSTEM,
        exists().where(
            audit.c.chain == audit_heads.c.chain,
            audit.c.seq == func.coalesce(audit_cuts.c.seq, 0) + 1,
            audit.c.at < bindparam("before_"),
        ),
    )
    .order_by(audit_heads.c.chain)
)
#: One tenant after the other, each found along the index; a whole look at the trail would be the alternative.
NEXT_TENANT = select(func.min(audit.c.tenant_id)).where(audit.c.tenant_id > bindparam("after_"))
DROP_EVENTS = delete(audit).where(audit.c.chain == bindparam("chain_"), audit.c.seq <= bindparam("seq_"))
DROP_CHECKPOINTS = delete(audit_checkpoints).where(audit_checkpoints.c.number <= bindparam("number_"))


@cache  # bounded: one text for each combination of filters
def page(filters: frozenset[str], *, newest_first: bool) -> Select[Any]:
    """Return the statement of one page of a tenant's events, whose ids lie between parameters `above_` and `below_`.

    Args:
        filters: of `own`, `action`, `object`, `since`, `until`, each a bound parameter of its name.
        newest_first: the order.
    """
    conditions = {
        "action": audit.c.action == bindparam("action_"),
        "object": audit.c.object == bindparam("object_"),
        "since": audit.c.at >= bindparam("since_"),
        "until": audit.c.at < bindparam("until_"),
    }
    # One bound on each side: of two, SQLite would take one, and look at every event between them.
    between = (
        audit.c.tenant_id == bindparam("tenant_"),
        audit.c.id > bindparam("above_"),
        audit.c.id < bindparam("below_"),
    )
    chosen = [*between, *(conditions[name] for name in sorted(filters - {"own"}))]
    if "own" not in filters:
        return _first(select(*EVENT).where(*chosen), newest_first=newest_first)
    # Each part goes along its own index; asked for both at once, a database reads the whole tenant's trail.
    theirs = audit.c.account_id == bindparam("account_")
    others = and_(audit.c.actor_id == bindparam("account_"), audit.c.actor_id != audit.c.account_id)
    parts = [_first(select(*EVENT).where(*chosen, of), newest_first=newest_first).subquery() for of in (theirs, others)]
    both = union_all(*(select(part) for part in parts)).subquery()
    return _first(select(both), newest_first=newest_first)


def _first(events: Select[Any], *, newest_first: bool) -> Select[Any]:
    """Return the first `limit` of some events."""
    id_ = events.selected_columns.id
    return events.order_by(id_.desc() if newest_first else id_).limit(bindparam("limit_"))
