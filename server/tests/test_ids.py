"""Identifiers: never twice, also where processes and threads make them side by side."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from mesh_server.ids import request_id, today, uuid7


def test_identifiers_sort_by_the_time_they_were_made_and_are_of_version_7():
    made = [uuid7() for _ in range(2000)]
    assert len(set(made)) == 2000
    assert [name[:15] for name in made] == sorted(name[:15] for name in made)
    assert {(name[14], name[19] in "89ab", len(name)) for name in made} == {("7", True, 36)}


def test_threads_never_make_the_same_identifier():
    with ThreadPoolExecutor(8) as pool:
        made = [name for names in pool.map(lambda _: [uuid7() for _ in range(500)], range(40)) for name in names]
    assert len({name[20:] for name in made}) == len(made)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_process_makes_identifiers_of_its_own():
    uuid7()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, f"{uuid7()} {request_id()}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    theirs, request = os.read(reader, 200).decode().split()
    os.close(reader)
    os.close(writer)
    assert theirs[20:] != uuid7()[20:]
    assert request[:20] != request_id()[:20]


def test_the_day_is_that_of_utc():
    from datetime import UTC, datetime

    before = datetime.now(UTC).date()
    assert before <= today() <= datetime.now(UTC).date()
