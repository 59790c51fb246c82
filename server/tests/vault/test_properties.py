"""Names, tags, prefixes, patterns and cursors: whatever they hold, they mean what they say."""

import asyncio
import itertools
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mesh_server.errors import InvalidRequest
from mesh_server.vault import listing
from mesh_server.vault.grants import NewGrant, matches
from mesh_server.vault.service import MAX_PAGE

from ..conftest import open_mesh, open_parts
from .values import names, text

NAME = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60).filter(
    lambda name: name not in {".", ".."} and len(name.encode()) <= 256
)
TAG = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0:"), min_size=1, max_size=64)
VALUE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100)
QUICK = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    runner = asyncio.Runner()
    parts = runner.run(open_parts(tmp_path_factory.mktemp("parts")))
    mesh = runner.run(open_mesh(tmp_path_factory.mktemp("mesh")))
    yield runner.run, parts, mesh
    runner.run(parts.database.close())
    runner.run(mesh.services.close())
    runner.close()


counter = iter(range(10**9))


@given(name=NAME, value=st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
@QUICK
def test_any_name_comes_back_by_http_with_its_value(place, name, value):
    run, _, mesh = place
    path = f"/api/v1/keys/{quote(name, safe='')}"
    assert run(mesh.call("PUT", path, {"value": value})).status == 200
    read = run(mesh.call("GET", path)).json
    assert (read["name"], read["value"]) == (name, value)


@given(found=st.sets(NAME, min_size=1, max_size=12), prefix=st.text(max_size=3), limit=st.integers(1, 5))
@QUICK
def test_pages_by_prefix_are_all_of_it_once_and_in_order(place, found, prefix, limit):
    run, parts, _ = place
    if "\0" in prefix or any("\ud800" <= char <= "\udfff" for char in prefix):
        return

    async def work():
        ann = await parts.principal(f"person {next(counter)}")
        for name in found:
            await parts.vault.put(ann, name, text())
        seen, cursor = [], None
        while True:
            records, cursor = await parts.vault.list_keys(ann, prefix=prefix, limit=limit, cursor=cursor)
            seen += [record.name for record in records]
            if cursor is None:
                return seen

    assert run(work()) == sorted(name for name in found if name.startswith(prefix))


@given(tags=st.dictionaries(TAG, VALUE, max_size=6), other=TAG)
@QUICK
def test_a_key_is_found_by_each_of_its_tags_and_no_other(place, tags, other):
    run, parts, _ = place

    async def work():
        ann = await parts.principal(f"person {next(counter)}")
        await parts.vault.put(ann, "a", text(tags=tags))
        assert (await parts.vault.get(ann, "a")).record.tags == tags
        for tag, value in tags.items():
            assert await names(parts, ann, tag=(tag, value)) == ["a"]
            assert await names(parts, ann, tag=(tag, value + "x")) == []
        assert await names(parts, ann, tag=(other, "x")) == (["a"] if tags.get(other) == "x" else [])

    run(work())


@given(cursor=st.text(max_size=80))
@QUICK
def test_no_text_is_a_cursor_but_the_servers(place, cursor):
    run, parts, _ = place

    async def work():
        ann = await parts.principal(f"person {next(counter)}")
        await parts.vault.list_keys(ann, cursor=cursor)

    if cursor:
        with pytest.raises(InvalidRequest):
            run(work())


@given(at=st.integers(0, 200), char=st.sampled_from("abcdefABCDEF0123456789-_"), limit=st.integers(1, MAX_PAGE))
@QUICK
def test_a_cursor_that_was_changed_or_is_anothers_is_refused(place, at, char, limit):
    run, parts, _ = place

    async def work():
        ann, bob = [await parts.principal(f"person {next(counter)}") for _ in range(2)]
        for number in range(2):
            await parts.vault.put(ann, f"a{number}", text())
        _, cursor = await parts.vault.list_keys(ann, limit=1)
        with pytest.raises(InvalidRequest):
            await parts.vault.list_keys(bob, limit=limit, cursor=cursor)
        with pytest.raises(InvalidRequest):
            await parts.vault.list_keys(ann, prefix="a", limit=limit, cursor=cursor)
        changed = cursor[: at % len(cursor)] + char + cursor[at % len(cursor) + 1 :]
        if changed[:20] != cursor[:20]:  # within the signature: base64's last bits may mean nothing
            with pytest.raises(InvalidRequest):
                await parts.vault.list_keys(ann, limit=limit, cursor=changed)

    run(work())


@given(pattern=NAME, name=NAME)
@QUICK
def test_a_pattern_covers_a_name_or_what_begins_so(pattern, name):
    if pattern.endswith("*"):
        assert matches(pattern, pattern[:-1] + name)
    else:
        assert matches(pattern, pattern)
        assert matches(pattern, name) == (pattern == name)
    assert matches(name + "*", name)
    assert matches("*", name)


SHORT = st.text("ab\1\ud7ff\U0010ffff", min_size=1, max_size=3)


@given(
    found=st.sets(st.one_of(SHORT, NAME), max_size=30),
    patterns=st.sets(st.builds(str.__add__, st.one_of(st.just(""), SHORT), st.sampled_from(["", "*"]))),
    prefix=st.one_of(st.just(""), SHORT),
)
@settings(QUICK, max_examples=500)
def test_a_list_of_shared_keys_is_what_the_patterns_cover(found, patterns, prefix):
    spans = listing.covered_by(patterns - {""}, prefix)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    covered = {name for name in found if any(begin <= name < end for begin, end in spans)}
    matching = {name for name in found if any(matches(pattern, name) for pattern in patterns)}
    assert covered == {name for name in matching if name.startswith(prefix)}


@given(found=st.sets(SHORT, max_size=10), patterns=st.sets(SHORT, min_size=1, max_size=4), limit=st.integers(1, 3))
@QUICK
def test_pages_of_shared_keys_are_all_of_them_once_and_in_order(place, found, patterns, limit):
    run, parts, _ = place

    async def work():
        ann, bob = [await parts.principal(f"person {next(counter)}") for _ in range(2)]
        for name in found:
            await parts.vault.put(ann, name, text())
        for pattern in patterns:
            new = NewGrant(pattern=pattern, grantee=bob.account_id, actions=frozenset({"read"}))
            await parts.vault.grants.give(ann, new)
        seen, cursor = [], None
        while True:
            records, cursor = await parts.vault.list_keys(bob, owner=ann.account_id, limit=limit, cursor=cursor)
            seen += [record.name for record in records]
            if cursor is None:
                return seen

    assert run(work()) == sorted(found & patterns)
