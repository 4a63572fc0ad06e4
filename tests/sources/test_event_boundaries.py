from collections.abc import Iterator
from itertools import pairwise, product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepstream.sources.event_boundaries import EventBoundaryTracker
from stepstream.wire.sse import FrameDecoder

ENDS = (b"\n", b"\r\n", b"\r")


def done_of(end: bytes, space: bytes = b" ") -> bytes:
    return b"event:%bdone%bdata:%b[DONE]%b%b" % (space, end, space, end, end)


def cuts(data: bytes, places: list[int]) -> Iterator[bytes]:
    """Yield `data`, cut at these places."""
    places = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    for start, stop in pairwise(places):
        yield data[start:stop]


def up_to_done(chunks: Iterator[bytes]) -> bytes | None:
    """Return what comes up to the end of `done`, or None where it does not come."""
    pulse, read = EventBoundaryTracker(), b""
    for chunk in chunks:
        at = pulse.feed(chunk, 0)
        if at is not None:
            assert pulse.is_done
            return read + chunk[:at]
        read += chunk
    return None


PLACES = st.lists(st.integers(0, 10_000), max_size=12)
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


@pytest.mark.parametrize("end", ENDS)
def test_done_is_found_at_every_cut(end: bytes):
    data = EVENT + done_of(end)
    for place in range(len(data) + 1):
        found = up_to_done(iter([data[:place], data[place:], EVENT]))
        assert found in (data, data.removesuffix(b"\n"))


@pytest.mark.parametrize(
    "data",
    [
        b"data: event: done\ndata: [DONE]\n\n",
        b"xevent: done\ndata: [DONE]\n\n",
        b"event: done\ndata: [DONE] \n\n",
        b"event: done\ndata: [DONE\n\n",
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


@pytest.mark.parametrize(
    ("data", "is_done"),
    [
        (b"event: done\ndata: [DONE]", True),
        (b"event: done\r\ndata: [DONE]\r\n", True),
        (EVENT + b"event: done\ndata: [DONE]\n", True),
        (done_of(b"\n"), True),
        (done_of(b"\n") + EVENT, True),
        (b"event: done\ndata: [DONE", False),
        (b"event: done\ndata: [DONE]\n:", False),
        (b"event: done\ndata: [DONE]x", False),
        (b"data: event: done\ndata: [DONE]", False),
        (EVENT, False),
        (b"", False),
    ],
)
def test_done_without_its_blank_line_is_known_at_the_end(data: bytes, is_done: bool):
    for place in range(len(data) + 1):
        pulse = EventBoundaryTracker()
        pulse.feed(data[:place], 0)
        pulse.feed(data[place:], 0)
        assert pulse.is_done is is_done


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
    pulse = EventBoundaryTracker()
    for now, chunk in enumerate(chunks):
        pulse.feed(chunk, now)
    assert pulse.began_at == began_at(chunks)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r", b"\n\n", b"\r\n\r\n"])
def test_comments_begin_no_event(end: bytes):
    pulse = EventBoundaryTracker()
    for byte in (b": ping" + end) * 50:
        pulse.feed(bytes([byte]), 0)
        assert pulse.began_at is None


def test_event_keeps_its_beginning_through_pings_inside_of_it():
    pulse = EventBoundaryTracker()
    for now, chunk in enumerate([b"event: x\n", b": ping\n", b"data: y\n", b": ping\n"]):
        pulse.feed(chunk, now)
    assert pulse.began_at == 0
    pulse.feed(b"\n", 4)
    assert pulse.began_at is None


@given(st.binary())
def test_little_is_kept_of_any_bytes(data: bytes):
    pulse = EventBoundaryTracker()
    pulse.feed(data * 50, 0)
    assert len(pulse._past) <= 64
