"""How a stream ended, by the events that it had: the one definition."""

from typing import Any

import pytest

from stepstream import Accumulator, Frame, StepStreamError, decode_event
from stepstream.fold.ending import StreamEnding
from stepstream.fold.lifecycle import is_over
from stepstream.wire.ending import TELLING
from tests.support.run_streams import frames, message, run, says, step
from tests.support.tables import each_row

RUN, BEGUN, COMPLETED, WAITS = run("queued"), run("in_progress"), run("completed"), run("requires_action")
NAMELESS = Frame("message", b"[DONE]")
ERROR = Frame("message", b'{"error": {"message": "server overloaded", "code": "busy"}}')
NAMED = Frame("error", b'{"message": "boom"}')
CHUNK = Frame("message", b'{"object": "chat.completion.chunk", "choices": []}')
DONE = Frame("done", b"[DONE]")
PING = Frame("keepalive", b"{}")
SAID = "StreamFailed: the stream carried an error event (busy): server overloaded"
UNFINISHED = "StreamTruncated: the stream ended after {} without done, its run unfinished"
FOREIGN = "of a protocol that stepstream reads (first: without a name, chat.completion.chunk)"

ENDS: dict[str, tuple[list[Any], str]] = {
    "done": ([RUN, DONE], "done"),
    "done alone": ([DONE], "done"),
    "done after the end": ([RUN, COMPLETED, DONE], "done"),
    "done after nothing known": ([CHUNK, PING, DONE], "done"),
    "an ended run": ([RUN, COMPLETED], "ended"),
    "an ended run, and [DONE]": ([RUN, COMPLETED, NAMELESS], "ended"),
    "a run that waits": ([RUN, WAITS], "ended"),
    "an open run, and [DONE]": ([RUN, BEGUN, NAMELESS], "done"),
    "two runs, one open": ([RUN, run("queued", 2), COMPLETED], UNFINISHED.format("3 events")),
    "two runs, both over": ([RUN, run("queued", 2), COMPLETED, run("failed", 2)], "ended"),
    "an open run": ([RUN], UNFINISHED.format("1 event")),
    "no run": ([message("created")], UNFINISHED.format("1 event")),
    "no run, and [DONE]": ([message("created"), NAMELESS], UNFINISHED.format("2 events")),
    "nothing": ([], "StreamTruncated: the stream ended without a single event"),
    "an error": ([RUN, NAMED], "StreamFailed: the stream carried an error event (no code): boom"),
    "an error without its name": ([RUN, ERROR], SAID),
    "and [DONE]": ([RUN, ERROR, NAMELESS], SAID),
    "and done": ([RUN, ERROR, DONE], SAID),
    "and keep-alives": ([RUN, ERROR, PING, PING], SAID),
    "after the run": ([RUN, COMPLETED, ERROR], SAID),
    "alone": ([ERROR], SAID),
    "among foreign events": ([CHUNK, ERROR, NAMELESS], SAID),
    "and the run goes on": ([RUN, ERROR, step("created"), COMPLETED], "ended"),
    "and the run is cut": ([RUN, ERROR, message("created"), says("x")], UNFINISHED.format("4 events")),
    "and another one": ([RUN, Frame("message", b'{"error": "first"}'), ERROR, DONE], SAID),
    "chat completions": ([CHUNK] * 18 + [NAMELESS], f"StreamTruncated: none of 19 events is {FOREIGN}"),
    "one of them": ([CHUNK], f"StreamTruncated: none of 1 event is {FOREIGN}"),
    "others": ([PING, CHUNK], f"StreamTruncated: none of 2 events is {FOREIGN.split('first')[0]}first: keepalive)"),
}  # fmt: skip


def ended(sent: list[Any]) -> str:
    accumulator = Accumulator()
    ending = StreamEnding(accumulator.stream)
    try:
        for one in sent:
            event = decode_event(_frame(one))
            accumulator.apply(event)
            if type(event.data) in TELLING and ending.note(event):
                break
        return ending.reason()
    except StepStreamError as error:
        return f"{type(error).__name__}: {error}"


def _frame(one: Any) -> Frame:
    return one if isinstance(one, Frame) else frames([one])[0]


@each_row(("sent", "expected"), ENDS.values(), ids=ENDS)
def test_stream_ends_in_one_way(sent: list[Any], expected: str):
    assert ended(sent) == expected


def test_nothing_is_read_after_done_without_its_name():
    accumulator = Accumulator()
    ending = StreamEnding(accumulator.stream)
    for sent, is_end in ((NAMELESS, False), (RUN, None), (NAMELESS, True)):
        event = decode_event(_frame(sent))
        accumulator.apply(event)
        assert is_end is None or ending.note(event) is is_end
    assert repr(ending) == "<StreamEnding 1 known events done>"


def test_what_the_bytes_were_like_is_said_where_no_event_came():
    ending = StreamEnding(Accumulator().stream)
    with pytest.raises(StepStreamError, match=r"^the stream ended without a single event: got JSON$"):
        ending.reason(": got JSON")


def test_event_that_is_missing_is_that_of_the_dialect():
    accumulator = Accumulator()
    accumulator.apply(decode_event(_frame(RUN)))
    with pytest.raises(StepStreamError, match=r"after 1 event without response\.completed, its run unfinished$"):
        StreamEnding(accumulator.stream).reason("", "response.completed")


@each_row(
    ("statuses", "or_waiting", "expected"),
    [
        ([], True, False),
        (["completed"], True, True),
        (["completed", "queued"], True, False),
        (["requires_action"], True, True),
        (["requires_action"], False, False),
        (["expired", "failed"], False, True),
        ([None], True, False),
        (["odd"], True, False),
    ],
)
def test_stream_is_over_when_all_its_runs_are(statuses: list[str | None], or_waiting: bool, expected: bool):
    assert is_over(statuses, or_waiting=or_waiting) is expected
