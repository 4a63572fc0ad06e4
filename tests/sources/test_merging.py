"""Merging chunks of HTTP: the same bodies, in fewer of them."""

from itertools import pairwise

import h11
from hypothesis import given
from hypothesis import strategies as st

from stepstream.sources.merging import Merger
from tests.support.tables import each_row

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"


def chunked(*chunks: bytes) -> bytes:
    return b"".join(b"%X;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:stop] for start, stop in pairwise(marks)]


def by_h11(pieces: list[bytes]) -> tuple[bytes, int, str]:
    """Return the body of a response, in how many chunks it came, and how it ended."""
    connection, body, chunks = h11.Connection(h11.CLIENT), b"", 0
    connection.send(h11.Request(method="GET", target="/", headers=[("host", "x")]))
    connection.send(h11.EndOfMessage())
    for piece in [*pieces, b""]:
        try:
            if piece or not pieces or connection.their_state is h11.SEND_BODY:
                connection.receive_data(piece)
            while True:
                event = connection.next_event()
                if isinstance(event, h11.Data):
                    body, chunks = body + event.data, chunks + 1
                elif isinstance(event, h11.EndOfMessage):
                    return body, chunks, "whole"
                elif event is h11.NEED_DATA or isinstance(event, h11.ConnectionClosed):
                    break
        except h11.RemoteProtocolError:
            return body, chunks, "broken"
    return body, chunks, "open"


def merged(pieces: list[bytes]) -> list[bytes]:
    merger = Merger()
    return [seen for piece in pieces if (seen := merger.feed(piece))]


CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)
ENDS = [b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"", b"!\r\n", b"ff\r\nhalf", b"5\r\nabcdeXX", b"5\r\nabcde", b"\r\n", b"5"]


@given(CHUNKS, st.sampled_from(ENDS), st.booleans(), st.lists(st.integers(0, 10_000), max_size=12))
def test_body_and_end_are_the_same_at_any_cut(chunks: list[bytes], end: bytes, has_interim: bool, places: list[int]):
    pieces = cut(INTERIM * has_interim + HEAD + chunked(*chunks) + end, places)
    (body, _, ending), (plain_body, _, plain_ending) = by_h11(merged(pieces)), by_h11(pieces)
    assert (body, ending) == (plain_body, plain_ending)


@given(CHUNKS, st.binary(max_size=60), st.lists(st.integers(0, 10_000), max_size=6))
def test_what_breaks_is_no_body_for_whatever_follows(chunks: list[bytes], junk: bytes, places: list[int]):
    pieces = cut(HEAD + chunked(*chunks) + junk, places)
    (body, _, ending), (plain_body, _, plain_ending) = by_h11(merged(pieces)), by_h11(pieces)
    assert (body, ending) == (plain_body, plain_ending)


def test_chunks_that_came_together_are_one():
    assert by_h11(merged([HEAD + chunked(*[b"data: x\n\n"] * 50), b"0\r\n\r\n"]))[:2] == (b"data: x\n\n" * 50, 1)


def test_chunk_is_passed_on_as_far_as_it_has_come():
    merger = Merger()
    assert merger.feed(HEAD + b"a\r\nhel") == HEAD + b"3\r\nhel\r\n"
    assert merger.feed(b"lo") == b"2\r\nlo\r\n"


@each_row(
    "stream",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n5\r\nab\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n5\r\nabcde\r\n1\r\na\r\n",
        b"HTTP/1.1 200 OK\r\nx: transfer-encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n1\r\na\r\n",
    ],
)
def test_what_is_not_chunked_is_passed_on_as_it_is(stream: bytes):
    for place in range(len(stream)):
        assert b"".join(merged([stream[:place], stream[place:]])) == stream


@each_row(
    "stream",
    [
        HEAD + b"5 ;e\r\nhello\r\n0\r\n\r\n",
        HEAD + b"5;e \r\nhello\r\n5 \r\nworld\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 60\n\nx\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld",
        b"HTTP/1.1 200 OK\r\ncontent-length: 60\n\r\nx\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nworld",
    ],
    ids=["blank_before_an_extension", "blank_after_it", "head_that_ends_in_lf", "head_that_ends_in_lf_crlf"],
)
def test_odd_heads_and_sizes_are_left_to_h11(stream: bytes):
    (body, _, ending), (plain_body, _, plain_ending) = by_h11(merged([stream])), by_h11([stream])
    assert (body, ending) == (plain_body, plain_ending)


def test_next_response_begins_with_a_head_again():
    merger = Merger()
    for _ in range(2):
        merger.expect()
        assert merger.feed(HEAD + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n") == HEAD + b"2\r\nab\r\n0\r\n\r\n"


@given(st.binary(max_size=30))
def test_little_is_held_back_of_any_bytes(data: bytes):
    merger = Merger()
    merger.feed(HEAD)
    for _ in range(400):
        merger.feed(data)
    assert len(merger._held) <= 5_000
