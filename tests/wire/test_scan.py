"""A scanner gives the frames of a decoder, at the same chunks, and leaves the blocks that it cuts out."""

from collections.abc import Iterable, Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepstream.errors import FrameTooLarge
from stepstream.wire.scan import MAX_KEPT, Scanner, in_order
from stepstream.wire.sse import Frame, FrameDecoder
from tests.support.byte_chunks import pieces
from tests.support.tables import each_row

STEP, MESSAGE = "thread.run.step.delta", "thread.message.delta"


def block(data: bytes, event: str = STEP) -> bytes:
    """An event as servers write it."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), data)


A, B, C = block(b'{"a"}'), block(b'{"bb"}'), block(b'{"c"}')
WORD, OTHER = block(b'"w"', MESSAGE), block(b'"v"', MESSAGE)
DONE = b"event: done\ndata: [DONE]\n\n"
MARK = b"\xef\xbb\xbf"


def cut(*blocks: bytes) -> list[bytes]:
    """What a scanner leaves of blocks that it cuts out."""
    return [one.removesuffix(b"\n\n") for one in blocks]


def frames_of(scanner: Scanner, found: tuple[list[Frame], list[bytes]]) -> list[Frame]:
    frames, blocks = found
    return [*frames, *(frame for one in blocks if (frame := scanner.frame_of(in_order(one))) is not None)]


Told = tuple[list[list[Frame]], Frame | None, bool]


def scanned(chunks: Iterable[bytes], limit: int) -> Told:
    """The frames of each chunk, what is pending in the end, and whether a frame was too large."""
    scanner, told = Scanner(max_event_bytes=limit, last_event_id="7"), []
    try:
        told.extend(frames_of(scanner, scanner.feed(chunk)) for chunk in chunks)
    except FrameTooLarge as error:
        return [*told, error.frames], None, True
    return told, scanner.pending(), False


def decoded(chunks: Iterable[bytes], limit: int) -> Told:
    decoder, told = FrameDecoder(max_event_bytes=limit, last_event_id="7"), []
    try:
        told.extend(decoder.feed(chunk) for chunk in chunks)
    except FrameTooLarge as error:
        return [*told, error.frames], None, True
    return told, decoder.pending(), False


def check(chunks: Sequence[bytes], limit: int = 2**20) -> None:
    assert scanned(chunks, limit) == decoded(chunks, limit), f"limit {limit}, chunks {chunks!r:.1000}"


STREAMS = {
    "deltas": A + B + C,
    "one_delta": A,
    "delta_without_its_blank_line": A + B[:-1],
    "delta_without_its_line_end": A + B[:-2],
    "delta_that_is_cut": A + B[:-5],
    "name_that_is_cut": A + B[:9],
    "other_events": DONE + A + DONE + DONE + B + DONE,
    "other_kind_of_delta": A + WORD + B + OTHER + WORD,
    "kinds_that_take_turns": (A + WORD) * 4,
    "kind_that_changes": A + B + WORD + OTHER + WORD + OTHER,
    "kind_that_changes_back": WORD + OTHER + A + B + WORD,
    "crlf": (A + B + DONE + C).replace(b"\n", b"\r\n"),
    "cr": (A + B + DONE + C).replace(b"\n", b"\r"),
    "crlf_and_lf": A + B.replace(b"\n", b"\r\n") + C + DONE.replace(b"\n", b"\r\n") + A + WORD,
    "cr_and_lf": A + B.replace(b"\n", b"\r") + C + DONE.replace(b"\n", b"\r") + A,
    "cr_between_lines": A + b"event: x\rdata: y\n\n" + B,
    "cr_for_a_blank_line": A + b"data: x\n\r" + B + b"data: x\r\n\n" + C + b"data: x\r\r\n" + A,
    "cr_in_the_data": A + block(b'"\r"') + B + block(b"\r") + C,
    "cr_and_data_in_the_data": A + block(b'"x\rdata: y"') + B + block(b'x\r\revent: done\rdata: "y"') + C,
    "cr_before_a_blank_line": block(b'"x"\r') + A + block(b'"x"\r\r') + B,
    "cr_at_the_end": A + b"data: x\r",
    "cr_for_a_blank_line_at_the_end": A + b"data: x\r\r",
    "mark": MARK + A + B,
    "mark_and_other_event": MARK + DONE + A + B,
    "mark_in_the_middle": A + MARK + B + C,
    "half_a_mark": MARK[:2] + A + B,
    "half_a_mark_and_blank_lines": MARK[:2] + b"\n\n" + A,
    "nothing_but_a_mark": MARK,
    "comments": b": fog\n\n" + A + b":\n" + B + b": fog\n: bank\n\n\n" + C + b": fog",
    "keep_alives": b": fog\n\n" + (A + b": fog\n\n") * 3 + b":\n\n: fog\n\n\n: bank\n\n" + B + WORD + b": fog\n\n" + C,
    "keep_alive_with_cr": A + b": fog\rdata: x\n\n" + B + b": fog\r\n\n" + C + b": fog\n\rdata: y\n\n" + A,
    "comment_in_a_block": A + b"event: thread.run.step.delta\n: fog\ndata: x\n\n" + B + A[:-1] + b": fog\n\n" + C,
    "ids": b"id: 1\n" + A + B[:-1] + b"id: 2\n\n" + C + b"id: 3\n\n" + DONE + A + b"id\n\n" + A + DONE,
    "retry": b"retry: 5\n" + A + B[:-1] + b"retry: 6\n\n" + C,
    "blank_lines": b"\n" + A + b"\n" + B + b"\n\n" + C + b"\n\n\n" + DONE + b"\n" + WORD + b"\n\n\n\n",
    "nothing_but_blank_lines": b"\n" * 9,
    "no_space_after_colons": A + b"event:thread.run.step.delta\ndata:x\n\n" + B + b"data:x\n\n",
    "two_spaces": A + block(b" x") + B,
    "data_before_the_event": A + b"data: x\nevent: thread.run.step.delta\n\n" + B,
    "several_data_lines": A + B[:-1] + b"data: x\n\n" + C + b"data: y\ndata: z\n\n",
    "lines_that_are_no_fields": A + B[:-1] + b"x\n\n" + C[:-1] + b"data\n\n" + A,
    "event_twice": A + b"event: done\nevent: thread.run.step.delta\ndata: x\n\n" + B,
    "another_event_after": A + B[:-1] + b"event: done\n\n" + C,
    "event_without_data": A + b"event: thread.run.step.delta\n\n" + B + b"event: thread.run.step.delta\ndata: \n\n",
    "empty_data": block(b"") + block(b"") + A,
    "name_that_is_almost_one": A + block(b"x", STEP + "s") + B + block(b"x", STEP[:-1]) + C + block(b"x", STEP + " "),
    "bad_utf_8": A + block(b'"\xff"') + B + block(b"\xed\xa0\x80", MESSAGE) + block(b"x\xc3"),
    "nul": A + block(b"\0") + B,
    "garbage": b"\xff\x00fog" + A + b"fog\n" + B + b"\n\nfog\n\n" + C + b"{}",
    "default_name": A + b"data: x\n\n" + B + b"event: message\ndata: x\n\n",
    "name_with_space_around": A + b"event:  x\ndata: y\n\nevent: x \ndata: y\n\n" + B,
    "no_name": A + b"event: \ndata: x\n\nevent:\ndata: x\n\n" + block(b"x", "") + B,
    "bad_utf_8_in_a_name": A + b"event: x\xff\ndata: y\n\n" + B,
    "cr_in_a_name": A + b"event: x\rdata: y\ndata: z\n\n" + B,
    "id_before_the_data": A + b"event: x\nid: 8\ndata: y\n\n" + B + DONE,
    "comment_before_the_data": A + b"event: x\n: fog\ndata: y\n\n" + B + DONE,
    "mark_of_a_delta_in_data": A
    + block(b"event: thread.run.step.delta")
    + B
    + b"data: event: thread.run.step.delta\n\n",
    "nothing": b"",
}

LIMITS = [2**20, 64, 48, 30, 1]

each_stream = each_row("stream", STREAMS.values(), ids=STREAMS)


@each_stream
def test_frames_come_as_from_a_decoder_in_chunks_of_any_size_and_under_any_limit(stream: bytes) -> None:
    for size, limit in product([1, 2, 3, 17, 1000], LIMITS):
        check(pieces(stream, size), limit)


@each_stream
def test_stream_cut_at_any_byte_gives_the_frames_of_a_decoder(stream: bytes) -> None:
    for cut in range(len(stream) + 1):
        check([stream[:cut], b"", stream[cut:]])
        check([A, stream[:cut], stream[cut:], A], 80)


def test_blocks_are_cut_out_and_not_looked_at() -> None:
    scanner = Scanner()
    scanner.feed(DONE)
    assert scanner.feed(A + WORD + DONE + B) == ([], cut(A, WORD, DONE, B))


def test_blocks_after_the_first_of_a_stream_are_cut_out() -> None:
    assert Scanner().feed(A + B + C) == ([Frame(STEP, b'{"a"}')], cut(B, C))


def test_first_block_is_cut_out_too_where_no_mark_is_before_it() -> None:
    assert Scanner(may_have_mark=False).feed(A + B + C) == ([], cut(A, B, C))


def test_block_is_cut_out_however_it_begins() -> None:
    scanner = Scanner()
    scanner.feed(DONE)
    others = [b": fog\n\n", b"id: 5\n" + A, b"data: x\n\n", b"retry: 5\n" + B, C.replace(b": ", b":")]
    assert scanner.feed(b"".join(others)) == ([], cut(*others))


def test_lines_that_end_with_crlf_are_cut_out_as_any() -> None:
    scanner = Scanner()
    scanner.feed(DONE)
    assert scanner.feed((A + B).replace(b"\n", b"\r\n")) == ([], cut(A, B))


IN_ORDER = {
    "usual": (b"event: a\ndata: x", b"event: a\ndata: x"),
    "id_first": (b"id: 5\nevent: a\ndata: x", b"id: 5\nevent: a\ndata: x"),
    "unnamed": (b"data: x", b"data: x"),
    "id_after_the_event": (b"event: a\nid: 5\ndata: x", b"id: 5\nevent: a\ndata: x"),
    "id_after_the_event_and_retry": (b"event: a\nid: 5\ndata: x\nretry: 9", b"id: 5\nevent: a\ndata: x"),
    "id_last": (b"event: a\ndata: x\nid: 5", b"id: 5\nevent: a\ndata: x"),
    "data_first": (b"data: x\nevent: a", b"event: a\ndata: x"),
    "unnamed_with_id": (b"id: 5\ndata: x", b"id: 5\nevent: message\ndata: x"),
    "retry": (b"retry: 9\nevent: a\ndata: x", b"event: a\ndata: x"),
    "comment": (b"event: a\n: fog\ndata: x", b"event: a\ndata: x"),
    "no_space": (b"event:a\ndata:x", b"event: a\ndata: x"),
    "two_spaces": (b"event:a\ndata:  x", b"event: a\ndata:  x"),
    "other_lines": (b"event: a\nfog\nfog: x\ndata: x", b"event: a\ndata: x"),
    "two_data_lines": (b"event: a\ndata: x\ndata: y", b"event: a\ndata: x\ndata: y"),
    "two_ids": (b"id: 5\nid: 6\ndata: x", b"id: 5\nid: 6\ndata: x"),
    "no_data": (b"id: 5\nevent: a\nretry: 9", b"id: 5\nevent: a\nretry: 9"),
    "comment_alone": (b": fog", b": fog"),
}


@each_row(("given", "expected"), IN_ORDER.values(), ids=IN_ORDER)
def test_lines_of_a_block_are_put_in_order(given: bytes, expected: bytes) -> None:
    found = in_order(given)
    assert (found, (found is given) == (given == expected)) == (expected, True)


@pytest.mark.parametrize(
    "written",
    [IN_ORDER[name][0] for name in IN_ORDER if name not in ("two_data_lines", "two_ids", "no_data", "comment_alone")],
)
def test_frame_of_a_block_needs_no_decoder(written: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    scanner = Scanner(last_event_id="7")
    scanner.feed(DONE)
    expected = FrameDecoder(last_event_id="7").feed(written + b"\n\n")
    fed: list[bytes] = []
    monkeypatch.setattr(FrameDecoder, "feed", lambda self, chunk: fed.append(chunk) or [])
    assert (frames_of(scanner, scanner.feed(written + b"\n\n")), fed) == (expected, [])


def test_id_of_a_block_that_is_passed_over_is_read_when_it_is_needed() -> None:
    scanner = Scanner(last_event_id="7")
    frames_of(scanner, scanner.feed(DONE))
    scanner.feed(b"id: 8\n" + A + B)
    scanner.id_block = cut(b"id: 8\n" + A)[0]
    assert scanner.last_event_id == "8"
    scanner.id_block = cut(b"id: 9\0\n" + A)[0]
    assert (scanner.last_event_id, scanner.frame_of(cut(B)[0])) == ("8", Frame(STEP, b'{"bb"}', "8"))
    assert frames_of(scanner, scanner.feed(b"data: x\ndata: y\n\n")) == [Frame("message", b"x\ny", "8")]


def test_blocks_of_a_chunk_with_nul_are_read_by_the_decoder() -> None:
    scanner = Scanner()
    scanner.feed(DONE)
    expected = [Frame(STEP, b'{"a"}', "8"), Frame(STEP, b'{"bb"}', "8")]
    assert scanner.feed(b"id: 8\n" + A + b"id: 9\0\n" + B) == (expected, [])
    assert scanner.feed(C) == ([], cut(C))


def test_blocks_before_a_long_unfinished_one_are_cut_all_the_same() -> None:
    scanner = Scanner()
    scanner.feed(A)
    frames, blocks = scanner.feed(B + C + block(b"x" * 3 * MAX_KEPT)[:-2])
    assert (frames, blocks) == ([], [B[:-2], C[:-2]])
    assert scanner.feed(b"\n\n" + A)[1][-1] == A[:-2]


def test_last_event_id_is_that_of_a_decoder() -> None:
    for name, data in STREAMS.items():
        scanner, decoder = Scanner(), FrameDecoder()
        for chunk in pieces(data, 50):
            frames_of(scanner, scanner.feed(chunk))
            decoder.feed(chunk)
            assert scanner.is_between_blocks is False or scanner.last_event_id == decoder.last_event_id, name


@each_row(
    ("chunk", "expected"),
    [(A, True), (A[:-1], False), (A[:3], False), (b"\n", True), (b"\r", True), (A + b"\r", True), (DONE, True)],
)
def test_scanner_is_between_blocks_where_nothing_is_kept(chunk: bytes, expected: bool) -> None:
    scanner = Scanner()
    was_at_first = scanner.is_between_blocks
    scanner.feed(A)
    was = scanner.is_between_blocks
    scanner.feed(chunk)
    assert (was_at_first, was, scanner.is_between_blocks) == (False, True, expected)


def test_block_in_pieces_comes_with_its_last_byte() -> None:
    scanner = Scanner()
    scanner.feed(DONE)
    assert [scanner.feed(piece) for piece in pieces(A + B, 1)].count(([], [])) == len(A + B) - 2


LONG = [MAX_KEPT - 40, MAX_KEPT - 36, MAX_KEPT - 35, MAX_KEPT, MAX_KEPT + 1, 3 * MAX_KEPT]


@pytest.mark.parametrize("length", LONG)
def test_long_block_comes_as_from_a_decoder(length: int) -> None:
    stream = A + block(b"x" * length) + B + block(b"y" * length, MESSAGE) + C + WORD
    for size in (500, MAX_KEPT, 2 * MAX_KEPT + 1):
        check(pieces(stream, size))
        check([A, *pieces(stream[len(A) :], size)], length)


def test_long_block_that_never_ends_is_kept_by_the_decoder_alone() -> None:
    scanner = Scanner(max_event_bytes=3 * MAX_KEPT)
    scanner.feed(A)
    scanner.feed(b"data: " + b"x" * MAX_KEPT)
    assert len(scanner._kept) < MAX_KEPT
    with pytest.raises(FrameTooLarge):
        scanner.feed(b"x" * 2 * MAX_KEPT)


def test_part_of_a_block_is_kept_up_to_a_bound() -> None:
    scanner = Scanner()
    scanner.feed(A)
    scanner.feed(b"x" * MAX_KEPT)
    assert len(scanner._kept) == MAX_KEPT
    scanner.feed(b"x")
    assert len(scanner._kept) == 0


FATAL = {
    "long_line": b"data: " + b"x" * 99,
    "long_block": b"data: x\n" * 20,
    "long_delta": block(b"x" * 99),
    "long_delta_after_others": WORD + block(b"x" * 99) + B,
    "long_line_after_a_cr": b"\r\rdata: " + b"x" * 99,
}


@each_row("fatal", FATAL.values(), ids=FATAL)
@each_row("first", [b"", A + B, A[:-1], b"data: x\r\n"], ids=["new", "between", "kept", "inside"])
def test_scanner_that_failed_is_spent(first: bytes, fatal: bytes) -> None:
    for size in (1, 40, 1000):
        scanner = Scanner(max_event_bytes=64)
        with pytest.raises(FrameTooLarge):
            _ = [frames_of(scanner, scanner.feed(chunk)) for chunk in [first, *pieces(fatal, size)]]
        for chunk in [A + B, b"x", b"\n\n", DONE]:
            with pytest.raises(FrameTooLarge) as raised:
                scanner.feed(chunk)
            assert raised.value.frames == [], f"chunks of {size}"
        check([first, *pieces(fatal, size)], 64)


def test_failure_carries_the_frames_before_it() -> None:
    scanner = Scanner(max_event_bytes=64)
    scanner.feed(DONE)
    with pytest.raises(FrameTooLarge) as raised:
        scanner.feed(A + WORD + block(b"x" * 99) + B)
    assert raised.value.frames == [Frame(STEP, b'{"a"}'), Frame(MESSAGE, b'"w"')]


PENDING = {
    "nothing": (b"", None),
    "block_without_blank_line": (b"event: done\ndata: x\n", Frame("done", b"x")),
    "line_without_its_end": (b"event: done\ndata: x", Frame("done", b"x")),
    "block_without_data": (b"event: done\n", None),
    "cr": (b"event: done\rdata: x\r", Frame("done", b"x")),
    "long": (b"data: " + b"x" * MAX_KEPT, Frame("message", b"x" * MAX_KEPT)),
    "id": (b"id: 4\ndata: x", Frame("message", b"x", "4")),
}


@each_row(("stream", "expected"), PENDING.values(), ids=PENDING)
def test_pending_is_the_block_that_lacks_its_end(stream: bytes, expected: Frame | None) -> None:
    for first in (b"", A, A + B + C, A + b"\r\n"):
        scanner = Scanner()
        frames_of(scanner, scanner.feed(first))
        scanner.feed(stream)
        assert (scanner.pending(), scanner.pending()) == (expected, expected), f"after {first!r}"


# Any blocks, in any chunks

BLOCKS = st.sampled_from([A, A, B, B, C, WORD, OTHER, DONE])
TEXTS = st.text('ab:{}"\\ é\n\r', max_size=12).map(str.encode)


@st.composite
def written(draw: st.DrawFn) -> bytes:
    """Draw a block, written in one of the ways in which blocks may be."""
    one = draw(BLOCKS | st.builds(block, TEXTS, st.sampled_from([STEP, MESSAGE, "done"])))
    match draw(st.integers(0, 12)):
        case 0:
            return one.replace(b"\n", b"\r\n")
        case 1:
            return one.replace(b"\n", b"\r")
        case 2:
            return one[:-1] + draw(st.sampled_from([b"id: 5\n\n", b": fog\n\n", b"data: x\n\n", b"\r", b"\r\n", b""]))
        case 3:
            return draw(st.sampled_from([b"id: 5\n", b": fog\n\n", b"\n", b"\r", b"retry: 5\n", MARK])) + one
        case 4:
            return one.replace(b": ", b":")
        case 5:
            return block(b"x" * draw(st.integers(20, 90)))
        case 6:
            cut = draw(st.integers(0, len(one)))
            return one[:cut] + draw(st.binary(max_size=3)) + one[cut + draw(st.integers(0, 2)) :]
        case _:
            return one


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """Draw a stream in chunks that end anywhere, or where blocks do."""
    blocks = draw(st.lists(written(), max_size=8))
    if draw(st.booleans()):
        return blocks
    data = draw(st.sampled_from([b"", b"", MARK])) + b"".join(blocks)
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=8)))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


@settings(deadline=None)
@given(streams(), st.sampled_from([2**20, 2**20, 90, 64, 40]))
def test_any_blocks_in_any_chunks_give_the_frames_of_a_decoder_at_the_same_chunk(
    chunks: list[bytes], limit: int
) -> None:
    check(chunks, limit)


@pytest.mark.slow
@settings(max_examples=4_000, deadline=None)
@given(streams(), st.sampled_from([2**20, 2**20, 90, 64, 40]))
def test_any_blocks_in_any_chunks_give_the_frames_of_a_decoder_in_the_long_run(chunks: list[bytes], limit: int) -> None:
    check(chunks, limit)
