"""Lists of keys: pages, literal prefixes, and cursors that are good for their own list only."""

import pytest

from mesh_server.errors import InvalidRequest

from .values import names, text


async def test_a_list_goes_on_page_by_page(parts):
    ann = await parts.principal()
    for number in range(7):
        await parts.vault.put(ann, f"k{number}", text(tags={"odd": str(number % 2), "n": str(number)}))
    seen, cursor = [], None
    while True:
        records, cursor = await parts.vault.list_keys(ann, limit=3, cursor=cursor)
        seen += [(record.name, record.tags["n"]) for record in records]
        if cursor is None:
            break
    assert seen == [(f"k{number}", str(number)) for number in range(7)]
    assert await names(parts, ann, tag=("odd", "1")) == ["k1", "k3", "k5"]


async def test_a_prefix_is_literal(parts):
    ann = await parts.principal()
    for name in ("a", "a%", "a%b", "a_b", "ab", "a\ud7ff", "a\ue000", "a\U0010ffff", "A"):
        await parts.vault.put(ann, name, text())
    assert await names(parts, ann, prefix="a%") == ["a%", "a%b"]
    assert await names(parts, ann, prefix="a_") == ["a_b"]
    assert await names(parts, ann, prefix="a\ud7ff") == ["a\ud7ff"]
    assert await names(parts, ann, prefix="a\U0010ffff") == ["a\U0010ffff"]
    assert await names(parts, ann, prefix="A") == ["A"]
    assert await names(parts, ann, prefix="\U0010ffff") == []


async def test_a_cursor_is_good_for_its_own_list_only(parts):
    ann, bob = await parts.principal("ann"), await parts.principal("bob")
    for name in ("a", "b", "c"):
        await parts.vault.put(ann, name, text())
        await parts.vault.put(bob, name, text())
    _, cursor = await parts.vault.list_keys(ann, limit=1)
    for who, arguments in (
        (bob, {"cursor": cursor}),
        (ann, {"cursor": cursor, "prefix": "a"}),
        (ann, {"cursor": cursor, "namespace": "x"}),
        (ann, {"cursor": cursor, "tag": ("a", "b")}),
        (ann, {"cursor": cursor[:-1]}),
        (ann, {"cursor": ("B" if cursor[0] == "A" else "A") + cursor[1:]}),
        (ann, {"cursor": "é"}),
        (ann, {"cursor": "x" * 10_000}),
    ):
        with pytest.raises(InvalidRequest, match="cursor"):
            await parts.vault.list_keys(who, limit=1, **arguments)


@pytest.mark.parametrize("limit", [0, -1, 201])
async def test_a_page_has_limits(parts, limit):
    with pytest.raises(InvalidRequest, match="limit"):
        await parts.vault.list_keys(await parts.principal(), limit=limit)
