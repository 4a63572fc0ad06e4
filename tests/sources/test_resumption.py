from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepstream.sources.resumption import Resumption, last_event_id_header
from stepstream.wire.sse import FrameDecoder

BOM = b"\xef\xbb\xbf"
PIECES = [
    b"id: 1", b"id:2", b"id", b"id: ", b"id:  3 ", b"id: a\0b", b"id: \xe2\x80\xa6", b"id: \xff", b"idx: 4", b" id: 5",
    b"retry: 250", b"retry:0", b"retry: 1x", b"retry: -1", b"retry", b"retry: " + b"9" * 18, b"retry: " + b"9" * 19,
    b"retry: 000000000000000000000007", b"data: x", b"data", b"event: y", b": id: 6", b":", b"", BOM,
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\ndata: " + b"z" * 5_000,
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(PIECES), max_size=25).map(b"".join) | st.binary()
PLACES = st.lists(st.integers(0, 10_000), max_size=15)


def told(follower: Any, data: bytes, places: list[int]) -> tuple[str, int | None]:
    places = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    for start, stop in pairwise(places):
        follower.feed(data[start:stop])
    return follower.last_event_id, follower.retry


@settings(max_examples=400)
@given(STREAMS, PLACES)
@example(BOM + b"id: 1\n\n", [1])
@example(BOM + b"id: 1\n\n", [2])
@example(BOM + BOM + b"id: 1\n\n", [])
@example(b"id: 1\r\n\r\n", [6, 7, 8])
@example(b"id: 1\r\n\n", [6, 7])
@example(b"id: 1\r", [])
def test_resumption_tells_what_the_decoder_tells_at_any_chunking(data: bytes, places: list[int]):
    assert told(Resumption("0"), data, places) == told(FrameDecoder(last_event_id="0"), data, places)


@settings(deadline=None)
@given(STREAMS)
def test_resumption_tells_what_the_decoder_tells_byte_by_byte(data: bytes):
    every = list(range(len(data)))
    assert told(Resumption(), data, every) == told(FrameDecoder(), data, [])


@pytest.mark.parametrize(
    ("data", "last_event_id"),
    [
        (b"id: abc\ndata: x\n\nid: def\ndata: y", "abc"),
        (b"id: abc\ndata: x\n\nid: def\n", "abc"),
        (b"id: abc\n\n", "abc"),
        (b"id: abc\ndata: x\n\nid\n\n", ""),
        (b"data: x\n\n", "0"),
    ],
)
def test_id_is_that_of_the_last_whole_block(data: bytes, last_event_id: str):
    assert told(Resumption("0"), data, [])[0] == last_event_id


@pytest.mark.parametrize("places", [[], [3], [4_096], [4_097], [4_100, 4_101, 4_102], list(range(9_000))])
@pytest.mark.parametrize(("length", "is_kept"), [(4_096, True), (4_097, False), (8_000, False)])
def test_line_over_four_kib_says_nothing_at_any_chunking(length: int, is_kept: bool, places: list[int]):
    value = b"7" * (length - 4)
    data = b"id: 1\n\nid: " + value + b"\nretry: 5\n\n"
    assert told(Resumption(), data, places) == (value.decode() if is_kept else "1", 5)


def test_little_is_kept_of_a_line_without_end():
    resumption = Resumption()
    for _ in range(100):
        resumption.feed(b"id: " + b"x" * 60_000)
        assert len(resumption._line) <= 4_096
    resumption.feed(b"\nid: 2\n\n")
    assert resumption.last_event_id == "2"


def test_next_connection_begins_with_the_id_and_the_time_but_no_half_read_block():
    resumption = Resumption()
    resumption.feed(BOM + b"id: 1\nretry: 7\n\nid: 2\nid: 3")
    following = resumption.resumed()
    assert (following.last_event_id, following.retry) == ("1", 7)
    following.feed(BOM + b"data: x\n\n")
    assert following.last_event_id == "1"


@pytest.mark.parametrize(
    ("last_event_id", "value"),
    [
        ("", None),
        ("abc", b"abc"),
        ("a b\tc", b"a b\tc"),
        (" abc \t", b"abc"),
        (" ", None),
        ("\u2026", b"\xe2\x80\xa6"),
        ("é", b"\xc3\xa9"),
        ("a\x0bb", None),
        ("\x01", None),
        ("a\x7f", None),
    ],
)
def test_header_of_an_id_is_absent_where_none_could_carry_it(last_event_id: str, value: bytes | None):
    assert last_event_id_header(last_event_id) == value
