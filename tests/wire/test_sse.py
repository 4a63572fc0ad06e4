import time
import tracemalloc
from collections.abc import Callable, Iterable
from typing import NamedTuple

import pytest

from stepstream.errors import FrameTooLarge
from stepstream.wire.sse import Frame, FrameDecoder, encodable, encode_comment, encode_frame
from tests.support.byte_chunks import pieces
from tests.support.tables import each_row


def said(data: str, event: str = "message", id: str = "") -> Frame:  # noqa: A002 - the standard's own word
    return Frame(event, data.encode(), id)


class Case(NamedTuple):
    fact: str
    stream: bytes
    frames: list[Frame]
    retry: int | None = None
    last_event_id: str = ""


SNOW = "\u00e5\u2603\U0001f6f6 "
SEPARATORS = "a\x0bb\x0cc\x1cd\x85e\u2028f\u2029g"

CASES = [
    # Blocks
    Case("data_makes_a_message", b"data: salt\n\n", [said("salt")]),
    Case("data_lines_are_joined_by_lf", b"data: one\ndata: two\ndata: three\n\n", [said("one\ntwo\nthree")]),
    Case("two_blocks_are_two_frames", b"data: one\n\ndata: two\n\n", [said("one"), said("two")]),
    Case("more_blank_lines_are_nothing", b"\n\n\ndata: one\n\n\n\ndata: two\n\n\n", [said("one"), said("two")]),
    Case("event_names_a_frame", b"event: tide\ndata: low\n\n", [said("low", "tide")]),
    Case("order_of_fields_is_free", b"data: low\nid: 3\nevent: tide\n\n", [said("low", "tide", "3")], None, "3"),
    Case("event_name_ends_with_its_block", b"event: tide\ndata: a\n\ndata: b\n\n", [said("a", "tide"), said("b")]),
    Case("last_event_name_of_a_block_wins", b"event: ebb\nevent: flow\ndata: a\n\n", [said("a", "flow")]),
    Case("empty_event_name_is_message", b"event: ebb\nevent:\ndata: a\n\n", [said("a")]),
    Case("block_without_data_is_no_frame", b"event: tide\n\ndata: a\n\n", [said("a")]),
    Case("empty_data_is_a_frame", b"data:\n\n", [said("")]),
    Case("bare_data_is_a_frame", b"data\n\n", [said("")]),
    Case("two_empty_data_lines_are_one_lf", b"data\ndata:\n\n", [said("\n")]),
    Case("trailing_empty_data_line_is_kept", b"data: a\ndata\n\n", [said("a\n")]),
    Case("leading_empty_data_line_is_kept", b"data\ndata: a\n\n", [said("\na")]),
    Case("unfinished_block_is_no_frame", b"data: a\n\ndata: b\n", [said("a")]),
    Case("unfinished_line_is_no_frame", b"data: a\n\ndata: b", [said("a")]),
    Case("no_bytes_are_no_frame", b"", []),
    # Line ends
    Case("cr_ends_a_line", b"data: a\rdata: b\r\r", [said("a\nb")]),
    Case("crlf_ends_a_line", b"data: a\r\ndata: b\r\n\r\n", [said("a\nb")]),
    Case("crlf_is_one_line_end", b"data: a\r\ndata: b\r\n", []),
    Case("lf_then_cr_are_two_line_ends", b"data: a\n\rdata: b\n\r", [said("a"), said("b")]),
    Case("line_ends_may_be_mixed", b"data: a\rdata: b\ndata: c\r\n\r", [said("a\nb\nc")]),
    Case("cr_then_crlf_end_a_block", b"data: a\r\r\ndata: b\r\n\n", [said("a"), said("b")]),
    Case("crlf_after_a_block_is_one_blank_line", b"data: a\n\n\r\ndata: b\n\n", [said("a"), said("b")]),
    Case("final_cr_is_a_line_end", b"data: a\r\n\r", [said("a")]),
    Case("only_cr_and_lf_end_lines", f"data: {SEPARATORS}\n\n".encode(), [said(SEPARATORS)]),
    # Byte-order mark
    Case("one_mark_is_skipped", b"\xef\xbb\xbfdata: a\n\n", [said("a")]),
    Case("second_mark_spoils_its_field", b"\xef\xbb\xbf\xef\xbb\xbfdata: a\ndata: b\n\n", [said("b")]),
    Case("mark_in_a_later_block_spoils_its_field", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [said("a")]),
    Case("mark_in_a_value_is_kept", b"data: \xef\xbb\xbfa\n\n", [said("\ufeffa")]),
    Case("half_a_mark_spoils_its_field", b"\xef\xbbdata: a\ndata: b\n\n", [said("b")]),
    Case("mark_before_a_blank_line_is_skipped", b"\xef\xbb\xbf\n\ndata: a\n\n", [said("a")]),
    Case("mark_before_a_comment_is_skipped", b"\xef\xbb\xbf: a\ndata: b\n\n", [said("b")]),
    Case("mark_alone_is_nothing", b"\xef\xbb\xbf", []),
    Case("half_a_mark_alone_is_nothing", b"\xef\xbb", []),
    # Comments
    Case("comment_is_ignored", b": still here\n\ndata: a\n\n", [said("a")]),
    Case("comment_does_not_split_a_block", b"data: a\n: still here\n:\ndata: b\n\n", [said("a\nb")]),
    Case("field_in_a_comment_is_ignored", b":data: a\n:event: b\ndata: c\n\n", [said("c")]),
    Case("comment_alone_is_no_frame", b": still here\n\n: and here\r\n\r\n", []),
    Case("comment_does_not_repeat_an_id", b"id: 5\ndata: a\n\n: still here\n\n", [said("a", id="5")], None, "5"),
    # Fields
    Case("one_space_after_the_colon_is_dropped", b"data:  a\nevent:  b\n\n", [said(" a", " b")]),
    Case("space_after_the_colon_is_optional", b"data:a\nevent:b\nid:c\n\n", [said("a", "b", "c")], None, "c"),
    Case("tab_after_the_colon_is_kept", b"data:\ta\n\n", [said("\ta")]),
    Case("space_at_the_end_is_kept", b"data: a \nevent: b \n\n", [said("a ", "b ")]),
    Case("value_of_one_space_is_empty", b"data: \n\n", [said("")]),
    Case("colons_in_a_value_are_kept", b"data: a: b:c\ndata::d\n\n", [said("a: b:c\n:d")]),
    Case("unknown_field_is_ignored", b"mood: calm\ndata: a\nmood\n\n", [said("a")]),
    Case("field_names_are_case_sensitive", b"Data: a\nEVENT: b\nId: c\ndata: d\n\n", [said("d")]),
    Case("longer_names_are_unknown", b"database: a\nevents: b\nidle: c\nretrying: 5\ndata: d\n\n", [said("d")]),
    Case("shorter_names_are_unknown", b"dat: a\neven: b\ni: c\nretr: 5\ndata: d\n\n", [said("d")]),
    Case("space_before_a_name_spoils_it", b" data: a\n : b\ndata: c\n\n", [said("c")]),
    Case("space_before_the_colon_spoils_a_name", b"data : a\nevent : b\ndata: c\n\n", [said("c")]),
    Case("line_of_a_space_is_no_blank_line", b"data: a\n \ndata: b\n\n", [said("a\nb")]),
    Case("nul_in_data_is_kept", b"data: a\0b\n\n", [said("a\0b")]),
    Case("nul_in_an_event_name_is_kept", b"event: a\0b\ndata: c\n\n", [said("c", "a\0b")]),
    Case("nul_in_a_field_name_spoils_it", b"data\0: a\ndata: b\n\n", [said("b")]),
    Case("error_page_is_no_frame", b"<!doctype html>\n<p>Bad gateway: try later</p>\n\n", []),
    # Ids
    Case("id_stays", b"id: 5\ndata: a\n\ndata: b\n\n", [said("a", id="5"), said("b", id="5")], None, "5"),
    Case("newer_id_wins", b"id: 5\ndata: a\n\nid: 6\ndata: b\n\n", [said("a", id="5"), said("b", id="6")], None, "6"),
    Case("last_id_of_a_block_wins", b"id: 5\nid: 6\ndata: a\n\n", [said("a", id="6")], None, "6"),
    Case("empty_id_clears_it", b"id: 5\ndata: a\n\nid:\ndata: b\n\n", [said("a", id="5"), said("b")]),
    Case("bare_id_clears_it", b"id: 5\ndata: a\n\nid\ndata: b\n\n", [said("a", id="5"), said("b")]),
    Case("id_with_nul_is_ignored", b"id: 5\nid: 6\0\ndata: a\n\n", [said("a", id="5")], None, "5"),
    Case("id_of_a_block_without_data_counts", b"id: 5\n\ndata: a\n\n", [said("a", id="5")], None, "5"),
    Case("id_of_an_unfinished_block_is_lost", b"id: 5\ndata: a\n\nid: 6\ndata: b\n", [said("a", id="5")], None, "5"),
    Case("id_is_not_unescaped", b"id: 5%0A6\\n\ndata: a\n\n", [said("a", id="5%0A6\\n")], None, "5%0A6\\n"),
    Case("id_may_be_any_text", f"id: {SNOW}\ndata: a\n\n".encode(), [said("a", id=SNOW)], None, SNOW),
    # Retry
    Case("retry_is_in_milliseconds", b"retry: 1500\n\n", [], 1500),
    Case("retry_counts_before_its_block_ends", b"retry: 1500\n", [], 1500),
    Case("retry_may_be_zero", b"retry: 0\n\n", [], 0),
    Case("retry_may_have_leading_zeros", b"retry: 0000000000000000000000250\n\n", [], 250),
    Case("newer_retry_wins", b"retry: 10\nretry: 20\n\n", [], 20),
    Case("negative_retry_is_ignored", b"retry: 10\nretry: -5\n\n", [], 10),
    Case("signed_retry_is_ignored", b"retry: 10\nretry: +5\n\n", [], 10),
    Case("broken_retry_is_ignored", b"retry: 10\nretry: 5.5\nretry: 1e3\nretry: 0x9\nretry: 1_0\n\n", [], 10),
    Case("retry_with_spaces_is_ignored", b"retry: 10\nretry:  5\nretry: 5 \n\n", [], 10),
    Case("retry_of_other_digits_is_ignored", "retry: 10\nretry: \u0663\u0664\nretry: \u00b2\n\n".encode(), [], 10),
    Case("empty_retry_is_ignored", b"retry: 10\nretry:\nretry\n\n", [], 10),
    Case("long_retry_is_taken", b"retry: " + b"9" * 18 + b"\n\n", [], 10**18 - 1),
    Case("too_long_retry_is_clamped", b"retry: 10\nretry: " + b"9" * 19 + b"\n\n", [], 10**18),
    Case("endless_retry_is_clamped", b"retry: 10\nretry: " + b"9" * 5000 + b"\n\n", [], 10**18),
    Case("retry_does_not_change_its_frame", b"retry: 10\ndata: a\n\n", [said("a")], 10),
    # UTF-8
    Case("text_may_be_any_unicode", f"event: {SNOW}\ndata: {SNOW}\n\n".encode(), [said(SNOW, SNOW)]),
    Case("lone_continuation_byte_is_replaced", b"data: a\x80b\n\n", [said("a\ufffdb")]),
    Case("latin_1_is_replaced", b"data: caf\xe9s\n\n", [said("caf\ufffds")]),
    Case("cut_sequence_is_replaced_once", b"data: \xe2\x98a\xf0\x9f\x9bb\n\n", [said("\ufffda\ufffdb")]),
    Case("overlong_sequence_is_replaced_by_byte", b"data: \xc0\xaf\n\n", [said("\ufffd\ufffd")]),
    Case("surrogate_is_replaced_by_byte", b"data: \xed\xb0\x80\n\n", [said("\ufffd\ufffd\ufffd")]),
    Case("beyond_unicode_is_replaced_by_byte", b"data: \xf5\x80\x80\x80\n\n", [said("\ufffd" * 4)]),
    Case("cut_sequence_ends_at_its_line", b"data: \xe2\ndata: \x98\x83\n\n", [said("\ufffd\n\ufffd\ufffd")]),
    Case("invalid_event_name_is_replaced", b"event: a\xff\ndata: b\n\n", [said("b", "a\ufffd")]),
    Case("invalid_id_is_replaced", b"id: a\xff\ndata: b\n\n", [said("b", id="a\ufffd")], None, "a\ufffd"),
    Case("invalid_field_name_is_unknown", b"dat\xff: a\ndata: b\n\n", [said("b")]),
    # What agent servers send
    Case(
        "done_is_a_frame",
        b'event: thread.run.step.created\ndata: {"id":"step_oak"}\n\nevent: done\ndata: [DONE]\n\n',
        [said('{"id":"step_oak"}', "thread.run.step.created"), said("[DONE]", "done")],
    ),
    Case(
        "escaped_line_ends_stay_in_the_json",
        b'data: {"logs":"\\r\\n\\r\\nevent: done\\n\\n"}\r\n\r\n',
        [said('{"logs":"\\r\\n\\r\\nevent: done\\n\\n"}')],
    ),
]  # fmt: skip

each_case = each_row("case", CASES, ids=lambda case: case.fact)


def decoded(chunks: Iterable[bytes]) -> tuple[list[Frame], int | None, str]:
    decoder = FrameDecoder()
    frames = [frame for chunk in chunks for frame in decoder.feed(chunk)]
    return frames, decoder.retry, decoder.last_event_id


@each_case
def test_stream_decodes_by_the_standard_in_any_chunks(case: Case) -> None:
    stream, expected = case.stream, (case.frames, case.retry, case.last_event_id)
    assert decoded([stream]) == expected
    for size in (1, 2, 3, 7):
        assert decoded(pieces(stream, size)) == expected, f"chunks of {size}"
    for cut in range(0, len(stream) + 1, max(1, len(stream) // 200)):
        assert decoded([stream[:cut], b"", stream[cut:]]) == expected, f"cut after {cut}"
    with_empty_ones = [part for piece in pieces(stream, 1) for part in (b"", piece)]
    assert decoded(with_empty_ones) == expected, "empty chunks between all bytes"


@each_row("kind", [bytes, bytearray, memoryview])
def test_chunk_may_be_any_kind_of_bytes(kind: Callable[[bytes], bytes]) -> None:
    decoder = FrameDecoder()
    assert decoder.feed(kind(b"da")) + decoder.feed(kind(b"ta: a\n\n")) == [said("a")]


def test_reused_buffer_does_not_change_what_was_fed() -> None:
    decoder, buffer = FrameDecoder(), bytearray(b"data: aa")
    decoder.feed(memoryview(buffer))
    buffer[:] = b"\n\nbbbbbb"
    assert decoder.feed(buffer[:2]) == [said("aa")]


def test_frame_comes_with_the_byte_that_ends_its_blank_line() -> None:
    decoder = FrameDecoder()
    counts = [len(decoder.feed(piece)) for piece in pieces(b"data: a\r\n\r\n", 1)]
    assert counts == [0] * 9 + [1, 0]


def test_seeded_id_is_that_of_the_first_frames() -> None:
    decoder = FrameDecoder(last_event_id="41")
    assert decoder.feed(b"data: a\n\nid: 42\ndata: b\n\n") == [said("a", id="41"), said("b", id="42")]


def test_seeded_id_stays_until_the_stream_sets_one() -> None:
    decoder = FrameDecoder(last_event_id="41")
    decoder.feed(b"data: a\n\n")
    assert decoder.last_event_id == "41"


def test_last_event_id_is_that_of_the_last_finished_block() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b")
    assert decoder.last_event_id == "1"


def test_retry_is_none_until_it_is_set() -> None:
    assert FrameDecoder().retry is None


def test_decoder_repr_tells_state_but_no_content() -> None:
    decoder = FrameDecoder(last_event_id="41")
    decoder.feed(b"data: hush\ndata: hu")
    assert repr(decoder) == "<FrameDecoder 18 bytes pending, id '41'>"


def test_frame_repr_tells_size_but_no_content() -> None:
    assert repr(Frame("tide", b"h" * 1234)) == "<Frame tide 1,234 bytes>"


def test_frame_without_data_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="needs data"):
        Frame("ping")


# pending()

PENDING = [
    ("nothing", b"", None),
    ("finished_block", b"data: a\n\n", None),
    ("block_without_blank_line", b"event: tide\ndata: a\n", said("a", "tide")),
    ("line_without_its_end", b"event: tide\ndata: a", said("a", "tide")),
    ("last_data_line_without_its_end", b"data: a\ndata: b", said("a\nb")),
    ("block_without_data", b"event: tide\nid: 4\n", None),
    ("comment", b": still here", None),
    ("unknown_field", b"mood: calm", None),
    ("start_of_a_field_name", b"dat", None),
    ("bare_data", b"data", said("")),
    ("pending_id", b"id: 4\ndata: a\n", said("a", id="4")),
    ("id_without_its_end", b"data: a\nid: 4", said("a", id="4")),
    ("earlier_id", b"id: 4\ndata: a\n\ndata: b\n", said("b", id="4")),
    ("cr_at_the_end", b"data: a\r", said("a")),
    ("invalid_utf_8", b"data: a\xff", said("a\ufffd")),
    ("cut_character", "data: \u2603".encode()[:-1], said("\ufffd")),
    ("half_a_mark", b"\xef\xbb", None),
]


@each_row(("stream", "frame"), [case[1:] for case in PENDING], ids=[case[0] for case in PENDING])
def test_pending_is_the_block_that_lacks_its_end(stream: bytes, frame: Frame | None) -> None:
    for size in (1, 2, 1000):
        decoder = FrameDecoder()
        for piece in pieces(stream, size):
            decoder.feed(piece)
        assert decoder.pending() == frame, f"chunks of {size}"


def test_pending_of_a_name_that_is_longer_than_an_event_may_be_is_what_it_says() -> None:
    decoder = FrameDecoder(max_event_bytes=3)
    assert (decoder.feed(b"data"), decoder.pending()) == ([], said(""))


def test_pending_changes_nothing() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"id: 4\nretry: 7\nevent: tide\ndata: a\ndata: b")
    before = repr(decoder)
    decoder.pending()
    assert (repr(decoder), decoder.last_event_id, decoder.feed(b"c\n\n")) == (before, "", [said("a\nbc", "tide", "4")])


def test_pending_does_not_set_retry() -> None:
    decoder = FrameDecoder()
    decoder.feed(b"data: a\nretry: 7")
    decoder.pending()
    assert decoder.retry is None


# The limit


def fate(stream: bytes, size: int, limit: int) -> tuple[list[Frame], bool]:
    """Return all frames, those of the exception too, and whether there was one."""
    decoder, frames = FrameDecoder(max_event_bytes=limit), []
    try:
        for piece in pieces(stream, size):
            frames += decoder.feed(piece)
    except FrameTooLarge as error:
        return frames + error.frames, True
    return frames, False


TEN = "0123456789"

LIMITS = [
    # The limit is 16 bytes: "data: 0123456789" is as long as that.
    ("line_of_the_limit_passes", b"data: 0123456789\n\n", ([said(TEN)], False)),
    ("line_over_the_limit_fails", b"data: 0123456789a\n\n", ([], True)),
    ("line_over_the_limit_fails_before_its_end", b"data: 0123456789a", ([], True)),
    ("unfinished_line_of_the_limit_passes", b"data: 0123456789", ([], False)),
    ("block_of_the_limit_passes", b"data: 01\ndata: 23\n\n", ([said("01\n23")], False)),
    ("block_over_the_limit_fails", b"data: 01\ndata: 234\n\n", ([], True)),
    ("block_over_the_limit_fails_before_its_end", b"data: 01\ndata: 234", ([], True)),
    ("event_and_id_count", b"event: a\nid: b\ndata: c\n\n", ([], True)),
    ("event_without_data_counts", b"event: 0123456789\n\n", ([], True)),
    ("bare_fields_count", b"data\ndata\ndata\ndata\ndata\n\n", ([], True)),
    ("every_block_counts_anew", b"data: 0123456789\n\n" * 3, ([said(TEN)] * 3, False)),
    ("frames_before_are_kept", b"data: a\n\ndata: b\n\ndata: 0123456789a\n\n", ([said("a"), said("b")], True)),
    ("comment_does_not_count", b": " + b"x" * 99 + b"\ndata: 0123456789\n\n", ([said(TEN)], False)),
    ("comment_inside_a_block_does_not_count", b"data: 01\n:234567890\ndata: 23\n\n", ([said("01\n23")], False)),
    ("unknown_field_does_not_count", b"mood: " + b"x" * 99 + b"\ndata: 0123456789\n\n", ([said(TEN)], False)),
    ("bare_unknown_field_does_not_count", b"x" * 99 + b"\ndata: 0123456789\n\n", ([said(TEN)], False)),
    ("almost_known_field_does_not_count", b"events: " + b"x" * 99 + b"\ndata: 0123456789\n\n", ([said(TEN)], False)),
]

each_limit = each_row(("stream", "expected"), [case[1:] for case in LIMITS], ids=[x[0] for x in LIMITS])


@each_limit
def test_limit_counts_the_whole_event_for_every_chunking(stream: bytes, expected: tuple[list[Frame], bool]) -> None:
    for size in (1, 2, 3, 7, 1000):
        assert fate(stream, size, limit=16) == expected, f"chunks of {size}"


def test_default_limit_is_16_mib() -> None:
    data = b"x" * (16 * 2**20 - len(b"data: "))
    assert FrameDecoder().feed(b"data: " + data + b"\n\n") == [Frame("message", data)]


def test_event_over_the_default_limit_fails() -> None:
    decoder = FrameDecoder()
    with pytest.raises(FrameTooLarge):
        decoder.feed(b"data: " + b"x" * (16 * 2**20 - len(b"data: ") + 1))


def test_failure_carries_the_frames_of_the_same_feed_only() -> None:
    decoder = FrameDecoder(max_event_bytes=16)
    decoder.feed(b"data: a\n\n")
    with pytest.raises(FrameTooLarge) as raised:
        decoder.feed(b"data: b\n\ndata: 0123456789a\n\n")
    assert raised.value.frames == [said("b")]


def test_failure_tells_the_limit() -> None:
    decoder = FrameDecoder(max_event_bytes=1234)
    with pytest.raises(FrameTooLarge, match="1,234 bytes") as raised:
        decoder.feed(b"data: hush" + b"x" * 1234)
    assert raised.value.limit == 1234


def test_failure_tells_no_content() -> None:
    decoder = FrameDecoder(max_event_bytes=16)
    with pytest.raises(FrameTooLarge) as raised:
        decoder.feed(b"data: hush hush hush")
    assert "hush" not in f"{raised.value} {raised.value!r}"


def test_decoder_that_failed_stays_failed() -> None:
    decoder = FrameDecoder(max_event_bytes=16)
    with pytest.raises(FrameTooLarge):
        decoder.feed(b"data: 0123456789a")
    with pytest.raises(FrameTooLarge) as raised:
        decoder.feed(b"\n\ndata: b\n\n")
    assert raised.value.frames == []


def test_decoder_that_failed_gives_no_frame_of_what_it_kept() -> None:
    decoder = FrameDecoder(max_event_bytes=16)
    with pytest.raises(FrameTooLarge):
        decoder.feed(b"data: 01\ndata: 234\n")
    with pytest.raises(FrameTooLarge):
        decoder.feed(b"\n")


# Cost

BLOCK = 2**12


@each_row("opening", [b": ", b"mood: ", b"mood", b"events: "], ids=["comment", "field", "bare", "events"])
def test_endless_line_that_means_nothing_costs_no_memory(opening: bytes) -> None:
    decoder, chunk = FrameDecoder(), b"x" * BLOCK
    decoder.feed(opening)
    tracemalloc.start()
    for _ in range(256):
        decoder.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * BLOCK


def test_endless_stream_of_lines_that_mean_nothing_costs_no_memory() -> None:
    decoder, chunk = FrameDecoder(), b": still here\nmood: calm\nid: 5\n\n" * 32
    decoder.feed(chunk)
    tracemalloc.start()
    for _ in range(256):
        decoder.feed(chunk)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 64 * len(chunk)


def test_many_short_lines_of_one_event_take_little_more_than_their_bytes() -> None:
    lines = [f"{number:07}" for number in range(64_000)]
    stream = b"".join(f"data: {line}\n".encode() for line in lines)
    decoder, chunks = FrameDecoder(), pieces(stream, 2**12)
    tracemalloc.start()
    for chunk in chunks:
        assert decoder.feed(chunk) == []
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * len(stream)  # kept apart, lines of seven bytes would take five times that
    kept = decoder.pending()
    assert kept == said("\n".join(lines))
    assert decoder.feed(b"data: the last\n\ndata: b\n\n") == [said("\n".join([*lines, "the last"])), said("b")]


def work(count: int, chunks: Callable[[int], list[bytes]]) -> float:
    """Return the least processor time of a few passes over `count` pieces."""
    sent, times = chunks(count), []
    for _ in range(5):
        decoder = FrameDecoder()
        started = time.process_time()
        for chunk in sent:
            decoder.feed(chunk)
        times.append(time.process_time() - started)
    return min(times)


GROWING = {
    "one_line_in_many_chunks": lambda count: [b"data: ", *[b"x" * 128] * count],
    "many_lines_of_one_event": lambda count: [b"data: xxxxxxxx\n"] * count,
    "many_lines_in_large_chunks": lambda count: [b"data: xxxxxxxx\n" * 500] * (count // 100),
    "many_lines_in_one_chunk": lambda count: [b"data: x\n" * count],
    "many_events_in_one_chunk": lambda count: [b"data: x\n\n" * count],
    "comment_in_many_chunks": lambda count: [b": ", *[b"x" * 128] * count],
    "many_crlf_chunks": lambda count: [b"data: x\r", b"\n"] * count,
}


@each_row("chunks", GROWING.values(), ids=GROWING)
def test_time_is_linear_in_the_bytes(chunks: Callable[[int], list[bytes]]) -> None:
    # Eight times the bytes take eight times the time, and would take 64 times if what came before were read again.
    assert work(16_000, chunks) < 28 * work(2_000, chunks)


# encode_frame

ENCODED = [
    ("message_needs_no_event_line", Frame("message", b"a"), b"data: a\n\n"),
    ("empty_event_name_is_left_out", Frame("", b"a"), b"data: a\n\n"),
    ("event_and_id_come_first", Frame("tide", b"low", "5"), b"event: tide\nid: 5\ndata: low\n\n"),
    ("every_line_is_a_data_line", Frame("message", b"a\nb\n\nc"), b"data: a\ndata: b\ndata: \ndata: c\n\n"),
    ("trailing_lf_is_a_data_line", Frame("message", b"a\n"), b"data: a\ndata: \n\n"),
    ("empty_data_is_a_data_line", Frame("message", b""), b"data: \n\n"),
    ("crlf_in_data_becomes_lf", Frame("message", b"a\r\nb"), b"data: a\ndata: b\n\n"),
    ("cr_in_data_becomes_lf", Frame("message", b"a\rb\r\r\nc"), b"data: a\ndata: b\ndata: \ndata: c\n\n"),
    ("space_before_data_is_kept", Frame("message", b" a"), b"data:  a\n\n"),
    ("nul_in_data_is_kept", Frame("message", b"a\0"), b"data: a\0\n\n"),
    ("unicode_is_utf_8", said(SNOW, SNOW, SNOW), f"event: {SNOW}\nid: {SNOW}\ndata: {SNOW}\n\n".encode()),
]  # fmt: skip


@each_row(("frame", "block"), [case[1:] for case in ENCODED], ids=[case[0] for case in ENCODED])
def test_frame_is_encoded_as_one_block(frame: Frame, block: bytes) -> None:
    assert encode_frame(frame) == block


@each_row(
    "frame",
    [
        Frame("tide", b'{"a": "\\n\\nevent: done"}', "5"),
        Frame("message", b""),
        Frame(" tide ", b" a \n\n b ", " 5 "),
        Frame(":", b":", ":"),
        Frame("data: x", b"event: y\n\nid: z", "retry: 5"),
        Frame("\ufeff", "\ufeff\u2028\u0085\x0b".encode(), "\ufeff"),
    ],
    ids=["json", "empty", "spaces", "colons", "fields", "separators"],
)
def test_encoded_frame_decodes_to_itself(frame: Frame) -> None:
    assert FrameDecoder().feed(encode_frame(frame)) == [frame]


@each_row("forged", ["a\nb", "a\rb", "a\r\n\r\ndata: b", "a\0b", "\n", "\0"])
def test_event_that_would_forge_fields_is_refused(forged: str) -> None:
    with pytest.raises(ValueError, match="expected event without CR, LF or NUL"):
        encode_frame(Frame(forged, b"a"))


@each_row("forged", ["a\nb", "a\rb", "a\r\n\r\ndata: b", "a\0b", "\n", "\0"])
def test_id_that_would_forge_fields_is_refused(forged: str) -> None:
    with pytest.raises(ValueError, match="expected id without CR, LF or NUL"):
        encode_frame(Frame("tide", b"a", forged))


def test_data_that_is_not_utf_8_is_refused() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        encode_frame(Frame("tide", b"\xff"))


@each_row("frame", [Frame("\ud800", b"a"), Frame("tide", b"a", "\ud800")], ids=["event", "id"])
def test_text_that_is_no_unicode_is_refused(frame: Frame) -> None:
    with pytest.raises(ValueError, match="surrogates not allowed"):
        encode_frame(frame)


@each_row(("retry", "line"), [(0, b"retry: 0\n"), (1500, b"retry: 1500\n")])
def test_retry_is_a_line_of_the_block(retry: int, line: bytes) -> None:
    assert encode_frame(Frame("message", b"a"), retry=retry) == line + b"data: a\n\n"


def test_negative_retry_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 0 ms, got -1"):
        encode_frame(Frame("message", b"a"), retry=-1)


@each_row("retry", [1.5, True, "7", "7\ndata: forged", b"7"])
def test_retry_that_is_no_int_is_refused(retry: int) -> None:
    with pytest.raises(TypeError, match="expected retry as an int"):
        encode_frame(Frame("message", b"a"), retry=retry)


# encode_comment

COMMENTS = [
    ("text", "still here", b": still here\n\n"),
    ("empty", "", b": \n\n"),
    ("lines", "a\n\ndata: b", b": a\n: \n: data: b\n\n"),
    ("crlf", "a\r\ndata: b\rdata: c", b": a\n: data: b\n: data: c\n\n"),
    ("unicode", "\u2603", ": \u2603\n\n".encode()),
]


@each_row(("comment", "block"), [case[1:] for case in COMMENTS], ids=[case[0] for case in COMMENTS])
def test_comment_is_encoded_line_by_line(comment: str, block: bytes) -> None:
    assert encode_comment(comment) == block


@each_row("comment", ["", "a", "a\n\ndata: b\n\n", "a\r\rdata: b\r\r", "a\r\n\r\nid: 5"])
def test_comment_decodes_to_nothing(comment: str) -> None:
    assert decoded([encode_comment(comment)]) == ([], None, "")


@each_row(
    ("frame", "can_be"),
    [
        (Frame("thread.run", b"{}", "7"), Frame("thread.run", b"{}", "7")),
        (Frame("a\nb\ud800", b"\xff", "1\r2\0"), Frame("a\ufffdb\ufffd", b"\xef\xbf\xbd", "1\ufffd2\ufffd")),
        (Frame("x", "é".encode()), Frame("x", "é".encode())),
    ],
)
def test_frame_that_no_parser_gives_is_made_one_that_lines_can_hold(frame: Frame, can_be: Frame):
    assert encodable(frame) == can_be
