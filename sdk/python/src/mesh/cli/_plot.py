"""Bars by day for a terminal: as wide as there is room, in blocks or, where it shows none, in letters; pure."""

from collections.abc import Callable, Sequence

#: Eighths of a cell, from nothing to all of it.
_BLOCKS, _LETTERS = " ▁▂▃▄▅▆▇█", "    ::::#"
#: Columns of the widest bar, and those that are kept for the label.
_WIDEST, _LABEL = 5, 16


def bars(
    days: Sequence[tuple[str, float]], label: Callable[[float], str], *, width: int, height: int, blocks: bool
) -> list[str]:
    """Return the lines of a plot, its highest bar labelled; none where there is nothing to see.

    Args:
        days: their names and amounts, in order.
        label: writes an amount.
        width: columns that there are.
        height: lines of the bars.
        blocks: whether the terminal can show them.
    """
    room = width - _LABEL
    if room < _LABEL or not any(amount > 0 for _, amount in days):
        return []
    size = -(-len(days) // room)  # where there are more days than columns, neighbours share a bar
    amounts = [sum(amount for _, amount in days[at : at + size]) for at in range(0, len(days), size)]
    step = min(room // len(amounts), _WIDEST + 1)
    bar, gap = max(step - 1, 1), min(step - 1, 1)
    levels, top = _BLOCKS if blocks else _LETTERS, label(max(amounts))
    lines = []
    for line in reversed(range(height)):
        cells = (levels[_eighths(amount / max(amounts), line, height)] * bar + " " * gap for amount in amounts)
        lines.append(f"{top if line == height - 1 else '':<{len(top)}} {''.join(cells)}".rstrip())
    axis = _axis(days[0][0], days[-1][0], size, used=len(amounts) * (bar + gap) - gap, room=width - len(top) - 1)
    return [*lines, f"{'':<{len(top)}} {axis}"]


def _axis(first: str, last: str, size: int, *, used: int, room: int) -> str:
    """Return the first day under the first bar and the last one under the last, as far as there is room for them."""
    if first == last:
        return first
    both = f"{first}{last:>{used - len(first)}}" if used > len(first) + len(last) else f"{first} to {last}"
    told = f" ({size} days a bar)" if size > 1 else ""
    return next(text for text in (both + told, both, f"{first} …", first[:room]) if len(text) <= room)


def _eighths(share: float, line: int, height: int) -> int:
    """Return how full a cell is; whatever is there at all is seen."""
    filled = share * height * 8
    if 0 < filled < 1:
        filled = 1
    return max(0, min(8, round(filled) - line * 8))
