"""What a worker leaves is whole, whenever it dies."""

import os

import pytest

from mesh_server.metrics import shared as module
from mesh_server.metrics.shared import MOST_BYTES, Shared


def test_each_worker_has_a_place_of_its_own():
    shared = Shared(3)
    shared.place(0).write(b"one")
    shared.place(2).write(b"three")
    assert shared.read() == [b"one", b"", b"three"]
    for number in range(5):
        shared.place(0).write(b"x" * number)
        assert shared.read() == [b"x" * number, b"", b"three"]


def test_the_largest_content_fits_and_a_larger_one_changes_nothing():
    shared = Shared(2)
    largest = os.urandom(MOST_BYTES)
    shared.place(0).write(largest)
    shared.place(1).write(b"neighbour")
    with pytest.raises(ValueError, match="more than a worker's place has"):
        shared.place(0).write(largest + b"x")
    assert shared.read() == [largest, b"neighbour"]


@pytest.mark.parametrize("written", [0, 1, 7, module._HEAD.size - 1])
def test_a_writer_that_dies_in_the_middle_leaves_what_was_there(written):
    """Whatever part of the content and of the head came through, the copy before it counts."""
    shared = Shared(1)
    place = shared.place(0)
    place.write(b"first")
    place.write(b"second")
    memory, head = shared._memory, module._HEAD.size
    torn = memory[:head]  # the first copy is the older one, which the next writing replaces
    memory[head : head + 5] = b"third"
    memory[:written] = module._HEAD.pack(3, 5, module._checksum(3, b"third"))[:written]
    assert place.read() == b"second"
    assert memory[:head] != torn or written <= 1
    place.write(b"fourth")
    assert place.read() == b"fourth"


def test_a_damaged_head_with_a_large_number_is_not_believed():
    shared = Shared(1)
    place = shared.place(0)
    place.write(b"first")
    place.write(b"second")
    shared._memory[: module._HEAD.size] = module._HEAD.pack(2**63, 2**32 - 1, 0)
    assert place.read() == b"second"
    place.write(b"third")
    assert place.read() == b"third"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_process_writes_into_the_same_memory():
    shared = Shared(1)
    child = os.fork()
    if child == 0:
        shared.place(0).write(b"of the child")
        os._exit(0)
    os.waitpid(child, 0)
    assert shared.read() == [b"of the child"]
