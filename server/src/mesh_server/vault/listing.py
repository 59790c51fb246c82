"""Where the names of a list lie: each list is walked along the index, and nothing beside it is looked at.

A list of an account's own keys is one range of names. What another account shares is as many as there are patterns, so
that who may see one key of many thousands costs no more than that key.
"""

from collections.abc import Iterable, Mapping, Sequence

from mesh_protocol.wire import MAX_KEY_NAME_BYTES
from mesh_server.db.schema import Transaction
from mesh_server.vault import statements
from mesh_server.vault.models import KeyRecord
from mesh_server.vault.store import with_tags

#: Names from the first text on, and before the second, in the order of code points.
Span = tuple[str, str]


def beginning_with(prefix: str) -> Span:
    """Return where the names with this prefix lie."""
    for index in range(len(prefix) - 1, -1, -1):
        point = ord(prefix[index]) + 1
        if 0xD800 <= point <= 0xDFFF:
            point = 0xE000  # surrogates are no characters
        if point <= 0x10FFFF:
            return prefix, prefix[:index] + chr(point)
    return prefix, chr(0x10FFFF) * (MAX_KEY_NAME_BYTES + 1)


def covered_by(patterns: Iterable[str], prefix: str) -> list[Span]:
    """Return where the names lie that grants' patterns cover and that have this prefix: in order, none twice."""
    first, last = beginning_with(prefix)
    found: list[Span] = []
    for start, end in sorted(map(_of_pattern, patterns)):
        begin = max(start, first, found[-1][1] if found else "")
        if begin < min(end, last):
            found.append((begin, min(end, last)))
    return found


async def page(
    tx: Transaction,
    holder: Mapping[str, str],
    spans: Sequence[Span],
    *,
    after: str,
    tag: tuple[str, str] | None,
    now: int,
    limit: int,
) -> list[KeyRecord]:
    """Return the next live keys by name.

    Args:
        tx: the transaction.
        holder: whose keys, and in which namespace: the parameters of `statements.PAGES` for that.
        spans: where their names lie, in order.
        after: the last name of the page before; empty for the first page.
        tag: only keys with this tag and value.
        now: microseconds since 1970.
        limit: how many at the most.
    """
    parameters: dict[str, object] = {**holder, "after_": after, "now_": now}
    if tag is not None:
        parameters |= {"tag_": tag[0], "value_": tag[1]}
    records: list[KeyRecord] = []
    for start, end in spans:
        if end > after:
            span = {"from_": max(start, after), "before_": end, "limit_": limit - len(records)}
            records += with_tags(await tx.all(statements.PAGES[tag is not None], **parameters, **span))
            if len(records) >= limit:
                break
    return records


def _of_pattern(pattern: str) -> Span:
    # Behind a name comes itself with a NUL, which no name has.
    return beginning_with(pattern[:-1]) if pattern.endswith("*") else (pattern, f"{pattern}\1")
