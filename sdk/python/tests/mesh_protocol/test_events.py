"""Server-sent events: the same events wherever the stream is cut, and never more memory than one event may have."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_protocol.events import MAX_EVENT_BYTES, EventReader, EventTooLarge, event


def read(*chunks):
    reader = EventReader()
    return [data for chunk in chunks for data in reader.feed(chunk)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_counts(end):
    assert read(end.join([b"data: a", b"data: b", b"", b"data: c", b"", b""])) == [b"a\nb", b"c"]


def test_what_is_no_data_is_ignored():
    assert read(b": comment\n\nevent: x\nid: 1\nretry: 5\ndata:a\n\ndatas: b\n\ndata\n\n") == [b"a"]


def test_one_space_belongs_to_the_form_and_the_next_to_the_data():
    assert read(b"data:a\n\ndata: a\n\ndata:  a\n\n") == [b"a", b"a", b" a"]


def test_a_return_and_its_line_feed_in_two_chunks_are_one_line_end():
    assert read(b"data: a\r", b"\n", b"\n", b"data: b\n", b"\n") == [b"a", b"b"]
    assert read(b"data: a\r", b"", b"\ndata: b\r", b"\r") == [b"a\nb"]


def test_an_event_without_its_end_is_not_one():
    assert read(b"data: a\n\ndata: half") == [b"a"]
    assert read(b"data: a\n") == []


STREAM = st.lists(st.sampled_from([b"data: x", b"data:", b": c", b"", b"id: 1", "data: é€".encode()]))


@given(STREAM, st.sampled_from([b"\n", b"\r\n", b"\r"]), st.lists(st.integers(0, 400), max_size=12))
def test_events_do_not_depend_on_where_the_stream_is_cut(lines, end, cuts):
    stream = end.join([*lines, b"", b""])
    places = sorted({min(cut, len(stream)) for cut in cuts} | {0, len(stream)})
    chunks = [stream[start:stop] for start, stop in pairwise(places)]
    assert read(*chunks) == read(stream)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_failing(content):
    assert read(content) == read(*(content[i : i + 1] for i in range(len(content))))


def test_data_without_line_breaks_comes_back():
    assert read(event(b'{"a": 1}') + event(b"[DONE]")) == [b'{"a": 1}', b"[DONE]"]


@pytest.mark.parametrize("piece", [b"x" * 65_536, b"data: " + b"x" * 65_536 + b"\n"])
def test_an_event_that_never_ends_is_given_up(piece):
    with pytest.raises(EventTooLarge):
        read(*[piece] * (MAX_EVENT_BYTES // len(piece) + 2))


def test_many_events_of_any_size_in_all_are_read():
    reader = EventReader()
    piece = event(b"x" * 1_000_000)
    assert sum(len(reader.feed(piece)) for _ in range(20)) == 20
