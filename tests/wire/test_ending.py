"""What says that a stream has ended though it has no name."""

from stepstream import Frame, FrameDecoder, decode_event
from stepstream.wire.ending import decides_end, ends_stream, is_unnamed_done, kind_of, unnamed_error
from tests.support.tables import each_row


@each_row(
    ("name", "data", "expected"),
    [
        ("message", b"[DONE]", True),
        ("message", b" [DONE] ", True),
        ("message", b'"[DONE]"', False),
        ("message", b"[done]", False),
        ("done", b"[DONE]", False),
        ("x", b"[DONE]", False),
    ],
)
def test_done_without_its_name_is_known_by_its_data(name: str, data: bytes, expected: bool):
    assert is_unnamed_done(name, data) is expected


ERRORS: dict[str, tuple[bytes, tuple[str | None, ...] | None]] = {
    "openai": (b'{"error": {"message": "busy", "type": "t", "code": "c", "param": "p"}}', ("c", "busy", "t", "p")),
    "a text": (b'{"error": "no such run"}', (None, "no such run", None, None)),
    "among others": (b'{"id": "x", "error": {"message": "busy", "code": 502}}', ("502", "busy", None, None)),
    "vllm": (b'{"object": "error", "message": "too long", "code": 400}', ("400", "too long", None, None)),
    "by its type": (b'{"type": "error", "message": "no"}', (None, "no", "error", None)),
    "without words": (b'{"error": {"n": 1}}', (None, None, None, None)),
    "null": (b'{"id": "x", "error": null}', None),
    "empty": (b'{"error": {}}', None),
    "a number": (b'{"error": 1}', None),
    "no message": (b'{"type": "error"}', None),
    "a list": (b'[{"error": "x"}]', None),
    "no JSON": (b"error", None),
    "not UTF-8": (b'{"error": "\xff"}', None),
    "too deep": (b'{"error": ' + b"[" * 99 + b"]" * 99 + b"}", None),
    "other": (b'{"a": 1}', None),
}


@each_row(("data", "expected"), ERRORS.values(), ids=ERRORS)
def test_error_without_its_name_is_known_by_its_shape(data: bytes, expected: tuple[str | None, ...] | None):
    found = unnamed_error("message", data)
    assert (found and (found.code, found.message, found.type, found.param)) == expected
    assert decides_end(Frame("message", data)) is (expected is not None)
    assert unnamed_error("thread.run.created", data) is None


@each_row(
    ("name", "data", "expected"),
    [
        ("keepalive", b"{}", "keepalive"),
        ("a\x1b[2J" + "x" * 99, b"{}", "a\\u001b[2J" + "x" * 75),
        ("message", b'{"object": "chat.completion.chunk", "type": "x"}', "without a name, chat.completion.chunk"),
        ("message", b'{"object": 1, "type": "response.created"}', "without a name, response.created"),
        ("message", b'{"a": "s3cret"}', "without a name"),
        ("message", b"s3cret", "without a name"),
    ],
)
def test_unknown_event_is_named_by_what_it_calls_itself(name: str, data: bytes, expected: str):
    assert kind_of(name, data) == expected


@each_row(
    ("data", "counts"),
    [
        (b'{"message": "busy"}', True),
        (b"busy", True),
        (b'"busy"', True),
        (b'{"message": "bu', False),
        (b"[", False),
        (b" ", False),
        (b"", False),
        (b'{"message": "\xff"}', False),
    ],
)
def test_error_that_lacks_its_blank_line_counts_unless_its_data_was_cut(data: bytes, counts: bool):
    assert decides_end(Frame("error", data)) is counts


@each_row(
    ("block", "ends"),
    [
        (b"event: done\ndata: [DONE]\n\n", True),
        (b"event: error\ndata: {}\n\n", True),
        (b"data: [DONE]\n\n", True),
        (b'data: {"error": {"message": "fog"}}\n\n', True),
        (b"data: {}\n\n", False),
        (b"event: thread.dream\ndata: [DONE]\n\n", False),
        (b'event: thread.run.completed\ndata: {"id": "run_1"}\n\n', False),
    ],
)
def test_what_says_how_a_stream_ends_says_nothing_of_a_run(block: bytes, ends: bool):
    [frame] = FrameDecoder().feed(block)
    assert ends_stream(decode_event(frame)) is ends
