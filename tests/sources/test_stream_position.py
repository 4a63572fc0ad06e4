from collections.abc import Iterator
from itertools import pairwise, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepstream.sources.stream_end import StreamEnd
from stepstream.sources.stream_position import StreamPosition
from stepstream.wire.sse import FrameDecoder
from tests.support.tables import each_row

ENDS = (b"\n", b"\r\n", b"\r")


def done_of(end: bytes, space: bytes = b" ") -> bytes:
    return b"event:%bdone%bdata:%b[DONE]%b%b" % (space, end, space, end, end)


def cuts(data: bytes, places: list[int]) -> Iterator[bytes]:
    """Yield `data`, cut at these places."""
    places = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    for start, stop in pairwise(places):
        yield data[start:stop]


BOM = b"\xef\xbb\xbf"
LINES = [
    b"id: 1", b"id:2", b"id", b"id: ", b"id:  3 ", b"id: a\0b", b"id: \xe2\x80\xa6", b"id: \xff", b"idx: 4", b" id: 5",
    b"retry: 250", b"retry:0", b"retry: 1x", b"retry: -1", b"retry", b"retry: " + b"9" * 18, b"retry: " + b"9" * 19,
    b"retry: 000000000000000000000007", b"data: x", b"data", b"event: y", b": id: 6", b":", b"", BOM,
    b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b"\ndata: " + b"z" * 5_000,
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(LINES), max_size=25).map(b"".join) | st.binary()
PLACES = st.lists(st.integers(0, 10_000), max_size=15)


def id_and_retry(data: bytes, places: list[int], last_event_id: str = "0") -> tuple[str, int | None]:
    position = StreamPosition(last_event_id)
    for chunk in cuts(data, places):
        position.feed(chunk, 0)
    return position.last_event_id, position.retry


def of_the_decoder(data: bytes, last_event_id: str = "0") -> tuple[str, int | None]:
    decoder = FrameDecoder(last_event_id=last_event_id)
    decoder.feed(data)
    return decoder.last_event_id, decoder.retry


@given(STREAMS, PLACES)
@example(BOM + b"id: 1\n\n", [1])
@example(BOM + b"id: 1\n\n", [2])
@example(BOM + BOM + b"id: 1\n\n", [])
@example(b"id: 1\r\n\r\n", [6, 7, 8])
@example(b"id: 1\r\n\n", [6, 7])
@example(b"id: 1\r", [])
def test_id_and_retry_are_those_of_the_decoder_at_any_chunking(data: bytes, places: list[int]):
    assert id_and_retry(data, places) == of_the_decoder(data)


@settings(deadline=None)
@given(STREAMS)
def test_id_and_retry_are_those_of_the_decoder_byte_by_byte(data: bytes):
    assert id_and_retry(data, list(range(len(data))), "") == of_the_decoder(data, "")


@each_row(
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
    assert id_and_retry(data, [])[0] == last_event_id


@each_row("places", [[], [3], [4_096], [4_097], [4_100, 4_101, 4_102], list(range(9_000))])
@each_row(("length", "is_kept"), [(4_096, True), (4_097, False), (8_000, False)])
def test_line_over_four_kib_says_nothing_at_any_chunking(length: int, is_kept: bool, places: list[int]):
    value = b"7" * (length - 4)
    data = b"id: 1\n\nid: " + value + b"\nretry: 5\n\n"
    assert id_and_retry(data, places) == (value.decode() if is_kept else "1", 5)


def test_little_is_kept_of_a_line_without_end():
    position = StreamPosition()
    for _ in range(100):
        position.feed(b"id: " + b"x" * 60_000, 0)
        assert len(position._lines.unfinished) <= 4_096
    position.feed(b"\nid: 2\n\n", 0)
    assert position.last_event_id == "2"


def test_position_of_the_next_connection_begins_with_an_id_and_a_time():
    position = StreamPosition("1", 7)
    assert (position.last_event_id, position.retry, position.began_at, position.is_done) == ("1", 7, None, False)
    position.feed(BOM + b"data: x\n\nid: 2", 0)
    assert (position.last_event_id, position.retry) == ("1", 7)


def up_to_done(chunks: Iterator[bytes]) -> bytes | None:
    """Return what comes up to the end of `done`, or None where it does not come."""
    position, read = StreamPosition(), b""
    for chunk in chunks:
        at = position.feed(chunk, 0)
        if at is not None:
            assert position.is_done
            return read + chunk[:at]
        read += chunk
    return None


EVENT = b"event: thread.run.created\ndata: {}\n\n"
BEFORE = [b"", b"\n", EVENT, b": ping\n\n", b": ping\r", b"id: 7\n", b"event: x\r\n", EVENT.replace(b"\n", b"\r\n")]


@pytest.mark.parametrize("before", BEFORE)
@settings(max_examples=20, deadline=None)
@given(places=PLACES)
def test_done_is_found_at_any_chunking(before: bytes, places: list[int]):
    for end, space in product(ENDS, [b" ", b""]):
        done = before + done_of(end, space)
        found = up_to_done(cuts(done + EVENT + b"more", places))
        assert found in (done, done.removesuffix(b"\n"))  # the LF of a last CRLF may come too late
        frames = FrameDecoder().feed(found or b"")
        assert (frames[-1].event, frames[-1].data) == ("done", b"[DONE]")


@each_row("end", ENDS)
def test_done_is_found_at_every_cut(end: bytes):
    data = EVENT + done_of(end)
    for place in range(len(data) + 1):
        found = up_to_done(iter([data[:place], data[place:], EVENT]))
        assert found in (data, data.removesuffix(b"\n"))


@each_row(
    "data",
    [
        b"data: event: done\ndata: [DONE]\n\n",
        b"xevent: done\ndata: [DONE]\n\n",
        b"event: done\n\ndata: [DONE]\n\n",
        b"event: donedata: [DONE]\n\n",
        b"event: undone\ndata: [DONE]\n\n",
        b'event: x\ndata: "event: done\\ndata: [DONE]\\n\\n"\n\n',
        b"data: [DONE]\n\n",
        b"event: done\r\ndata: [DONE]\r\n",
    ],
)
def test_what_only_looks_like_done_is_not_found_at_any_cut(data: bytes):
    padded = b"data: " + b"x" * 99 + b"\n\n" + data
    for place in range(len(padded) + 1):
        assert up_to_done(iter([padded[:place], padded[place:], b""])) is None
    assert up_to_done(bytes([byte]) for byte in padded) is None


@each_row(
    ("data", "is_done"),
    [
        (b"event: done\ndata: [DONE]", True),
        (b"event: done\r\ndata: [DONE]\r\n", True),
        (EVENT + b"event: done\ndata: [DONE]\n", True),
        (done_of(b"\n"), True),
        (done_of(b"\n") + EVENT, True),
        (b"event: done\ndata: [DONE", True),
        (b"event: done\n: ping\ndata: [DONE]\n:", True),
        (b"event: done\nda", False),
        (b"data: event: done\ndata: [DONE]", False),
        (EVENT, False),
        (b"", False),
    ],
)
def test_done_without_its_blank_line_is_known_at_the_end(data: bytes, is_done: bool):
    for place in range(len(data) + 1):
        position = StreamPosition()
        position.feed(data[:place], 0)
        position.feed(data[place:], 0)
        assert position.is_done is is_done


RUN = b'event: thread.run.%b\ndata: {"id": "run_%d", "status": "%b"}\n\n'
CREATED, COMPLETED, WAITING = (RUN % (name, 1, name) for name in (b"queued", b"completed", b"requires_action"))
LONG = b'event: thread.run.completed\ndata: {"id": "run_1", "status": "completed", "instructions": "%b"}\n\n'
DELTA = b'event: thread.message.delta\ndata: {"id": "msg_1", "delta": {}}\n\n'
ERROR = b'data: {"error": {"message": "busy"}}\n\n'
AT_THE_END: dict[str, tuple[bytes, bool, bool]] = {
    "nothing": (b"", False, False),
    "a run begins": (CREATED, False, False),
    "it ended": (CREATED + COMPLETED, True, True),
    "its status is that of its event": (b'event: thread.run.failed\ndata: {"id": "run_1"}\n\n', True, True),
    "it ended and is said to go on": (COMPLETED + CREATED, True, True),
    "it waits": (WAITING, True, False),
    "another one goes on": (COMPLETED + RUN % (b"queued", 2, b"queued"), False, False),
    "both ended": (COMPLETED + RUN % (b"expired", 2, b"expired"), True, True),
    "after an id": (b"id: 7\n" + COMPLETED, True, True),
    "its data comes first": (b'data: {"id": "run_1", "status": "failed"}\nevent: thread.run.failed\n\n', True, True),
    "in two lines of data": (COMPLETED.replace(b", ", b",\ndata: "), True, True),
    "a run of many bytes": (LONG % (b"x" * 100_000), True, True),
    "one over the limit": (LONG % (b"x" * 2**20), False, False),
    "no JSON": (b"event: thread.run.completed\ndata: {\n\n", False, False),
    "no run": (b"event: thread.run.completed\ndata: []\n\n", False, False),
    "its blank line is missing": (COMPLETED[:-1], False, False),
    "[DONE] before any run": (b"data: [DONE]\n\n", False, False),
    "[DONE]": (CREATED + b"data: [DONE]\n\n", True, True),
    "[DONE] without its blank line": (CREATED + b"data: [DONE]", True, True),
    "an error": (CREATED + ERROR, True, True),
    "an error without its blank line": (CREATED + ERROR[:-2], True, True),
    "an error, and the run goes on": (CREATED + ERROR + DELTA, False, False),
    "an error, and the run ends": (CREATED + ERROR + COMPLETED, True, True),
}


@each_row(("data", "or_waiting", "without"), AT_THE_END.values(), ids=AT_THE_END)
def test_stream_is_over_at_the_end_of_its_bytes_by_its_runs(data: bytes, or_waiting: bool, without: bool):
    steps = range(0, len(data), 1 + len(data) // (100 if len(data) < 10_000 else 10))
    for places in ([], *([place] for place in steps), list(steps)):
        for waiting, expected in ((True, or_waiting), (False, without)):
            position = StreamPosition()
            for chunk in cuts(data, places):
                position.feed(chunk, 0)
            assert position.is_over(or_waiting=waiting) is expected


def test_runs_of_all_connections_count():
    end = StreamEnd()
    first = StreamPosition(end=end)
    first.feed(CREATED, 0)
    assert not first.is_over(or_waiting=True)
    second = StreamPosition(end=end)
    second.feed(COMPLETED, 0)
    assert second.is_over(or_waiting=True)


def test_reading_ends_at_done_without_its_name_once_a_run_is_known():
    done = b"data: [DONE]\n\n"
    assert up_to_done(iter([done + CREATED + done + CREATED])) == done + CREATED + done


def test_time_of_an_event_is_that_of_its_end_and_comments_have_none():
    position = StreamPosition(now=5)
    assert position.ended_at == 5
    for now, chunk in enumerate([b"event: x\n", b"data: y\n", b"\n", b": ping\n\n", b"\n", b"data: z"], 10):
        position.feed(chunk, now)
    assert position.ended_at == 12


def began_at(chunks: list[bytes]) -> float | None:
    """Return when the unfinished event began, byte by byte. The n-th chunk comes at the time n."""
    at: float | None = None
    line, is_after_cr = b"", False
    for now, chunk in enumerate(chunks):
        for byte in (bytes([number]) for number in chunk):
            if byte == b"\n" and is_after_cr:
                is_after_cr = False
                continue
            is_after_cr = byte == b"\r"
            if byte in b"\r\n":
                at = at if line else None
                line = b""
                continue
            line += byte
            if at is None and not line.startswith(b":"):
                at = now
    return at


PIECES = [
    b"data: x",
    b"event: done",
    b"data: [DONE]",
    b": ping",
    b":",
    b"id",
    b"\n",
    b"\r",
    b"\r\n",
    b"\n\n",
    b"x" * 99,
]


@given(st.lists(st.sampled_from(PIECES)).map(b"".join), PLACES)
@example(b"data: x\n\r\n", [])
@example(b"data: x\n\r", [])
@example(b": ping\n" * 9, [3, 20])
@example(b"data:x", [4])
def test_event_begins_with_the_first_byte_of_a_line_that_is_no_comment(data: bytes, places: list[int]):
    chunks = list(cuts(data, places))
    position = StreamPosition()
    for now, chunk in enumerate(chunks):
        position.feed(chunk, now)
    assert position.began_at == began_at(chunks)


@each_row("end", [b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"])
def test_comments_begin_no_event(end: bytes):
    position = StreamPosition()
    for byte in (b": ping" + end) * 50:
        position.feed(bytes([byte]), 0)
        assert position.began_at is None


def test_event_keeps_its_beginning_through_pings_inside_of_it():
    position = StreamPosition()
    for now, chunk in enumerate([b"event: x\n", b": ping\n", b"data: y\n", b": ping\n"]):
        position.feed(chunk, now)
    assert position.began_at == 0
    position.feed(b"\n", 4)
    assert position.began_at is None


@settings(deadline=None)
@given(st.binary(), st.sampled_from([b"", b"data: ", b"retry: 1", b"event: thread.run.queued\ndata: "]))
def test_little_is_kept_of_any_bytes(data: bytes, begun: bytes):
    position = StreamPosition()
    position.feed(begun, 0)
    for _ in range(20):
        position.feed(data * 100, 0)
        may_tell = begun or any(name in data * 2 for name in (b"data", b"event", b"id", b"retry"))  # kept up to 1 MiB
        assert len(position._lines.unfinished) <= (2**20 if may_tell else 4_096) + len(begun)
        assert sum(map(len, position._kept)) <= 2**20


@each_row("begun", [b"data: ", b"retry: ", b"event: thread.run.queued\ndata: "])
def test_a_mebibyte_is_kept_of_what_may_tell(begun: bytes):
    position = StreamPosition()
    position.feed(begun, 0)
    for _ in range(40):
        position.feed(b"1" * 2**16, 0)
        assert len(position._lines.unfinished) <= 2**20
    for _ in range(40):
        position.feed(b"\ndata: " + b"1" * 2**16, 0)
        assert sum(map(len, position._kept)) <= 2**20
