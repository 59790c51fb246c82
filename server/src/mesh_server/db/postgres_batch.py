"""One statement for many sets of parameters: one round trip where there would be one for each.

The parameters come as arrays, one a parameter, and the statement is joined with their rows. The text is made from the
one that the capabilities use, so that a batch can't differ from what it stands for.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: A parameter with its type, as our dialect writes each of them.
_PARAMETER = re.compile(r"\$(\d+)::([A-Z]+)")
_INSERT = re.compile(r"INSERT INTO \w+ \([^()]*\) VALUES \([^()]*\)")
_CHANGE = re.compile(r"UPDATE \w+ SET .*|DELETE FROM \w+ .*")
#: What a change has that can't be joined as simply.
_MORE = re.compile(r" RETURNING |\(SELECT | FROM \w+ .* FROM ")

Row = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Batch:
    """A statement over many sets of parameters.

    Attributes:
        text: takes an array for each parameter; its first column says which set a row belongs to, from 1.
    """

    text: str

    async def rows(self, connection: Any, sets: Sequence[Row]) -> list[list[Row]]:
        """Run it; return, for each set of parameters, its rows."""
        found: list[list[Row]] = [[] for _ in sets]
        for row in await connection.fetch(self.text, *zip(*sets, strict=True)):
            found[row[0] - 1].append(row[1:])
        return found


def reading(text: str) -> Batch | None:
    """Return the batch of a statement that selects; the rows of one set come in the statement's own order.

    None where it has no parameters.
    """
    if "$" not in text:
        return None
    inner, rows = _joined(text)
    # OFFSET keeps the planner from turning it into one join, for which it may read whole tables: it is planned as it
    # would be for one set of parameters.
    return Batch(
        f"SELECT batch.at, found.* FROM {rows} CROSS JOIN LATERAL ({inner} OFFSET 0) AS found"  # noqa: S608 - our own
    )


def changing(text: str) -> Batch | None:
    """Return the batch of an UPDATE or DELETE, whose rows are those that it changed; None where it has none.

    No two sets of parameters may change the same row.
    """
    flat = text.replace("\n", "")
    change, found, condition = flat.partition(" WHERE ")
    if not _CHANGE.fullmatch(flat) or not found or " WHERE " in condition or _MORE.search(flat):
        return None
    inner, rows = _joined(f"{change} {'FROM' if change.startswith('UPDATE') else 'USING'} \0 WHERE {condition}")
    change = inner.replace("\0", rows)
    return Batch(f"WITH done AS ({change} RETURNING batch.at) SELECT at FROM done")  # noqa: S608 - our own text


def is_plain_insert(text: str) -> bool:
    """Return whether a statement inserts just one row, and nothing else."""
    return _INSERT.fullmatch(text) is not None


def _joined(text: str) -> tuple[str, str]:
    """Return the statement with its parameters read from the joined rows, and the SQL of those rows."""
    types = {int(number): type_ for number, type_ in _PARAMETER.findall(text)}
    if sorted(types) != list(range(1, len(types) + 1)) or not types:
        raise ValueError("a statement of a batch has numbered parameters, each with its type")
    arrays = ", ".join(f"${number}::{types[number]}[]" for number in sorted(types))
    names = ", ".join(f"p{number}" for number in sorted(types))
    inner = _PARAMETER.sub(lambda found: f"batch.p{found[1]}", text)
    return inner, f"unnest({arrays}) WITH ORDINALITY AS batch({names}, at)"
