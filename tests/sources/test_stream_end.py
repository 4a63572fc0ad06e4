"""That a connection and the fold agree whether a stream is over: the connection asks for no more where it is."""

import pickle
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from stepstream import Accumulator, Frame, FrameDecoder, StreamFailed, StreamTruncated, decode_event, encode_frame
from stepstream.fold.ending import StreamEnding
from stepstream.sources.http_errors import OutOfTime
from stepstream.sources.stream_position import StreamPosition
from stepstream.wire.ending import TELLING, decides_end
from stepstream.wire.events import RUN_EVENTS
from tests.support.run_streams import frames, message, run, says, step
from tests.support.tables import each_row

STATUSES = ["queued", "in_progress", "requires_action", "completed", "failed", "expired"]
RUNS = st.builds(run, st.sampled_from(STATUSES), st.integers(1, 2)).map(lambda sent: frames([sent])[0])
ERROR = Frame("message", b'{"error": {"message": "busy"}}')
OTHERS = [
    *frames([message("created"), says("x"), step("created"), ("thread.run.queued", []), ("keepalive", {})]),
    Frame("message", b"[DONE]"),
    ERROR,
    Frame("message", b'{"object": "chat.completion.chunk"}'),
    Frame("message", b"x"),
    Frame("done", b"[DONE]"),
]
STREAMS = st.lists(RUNS | st.sampled_from(OTHERS), max_size=8)


def by_the_fold(data: bytes) -> str:
    """Return how a stream ends by the fold: in order, with an error without its name, or too early."""
    accumulator, decoder = Accumulator(), FrameDecoder()
    ending = StreamEnding(accumulator.stream)
    found = decoder.feed(data)
    pending = decoder.pending()
    for frame in [*found, *([pending] if pending is not None and decides_end(pending) else [])]:
        event = decode_event(frame)
        accumulator.apply(event)
        if type(event.data) in TELLING and ending.note(event):
            break
    try:
        return ending.reason()
    except (StreamFailed, StreamTruncated) as error:
        return type(error).__name__


def by_the_connection(data: bytes, size: int) -> bool:
    position = StreamPosition()
    for place in range(0, len(data), size):
        if position.feed(data[place : place + size], 0) is not None:
            break
    return position.is_over(or_waiting=True)


@settings(deadline=None)
@given(STREAMS, st.integers(1, 90), st.integers(0, 2))
@example([*frames([run("queued")]), ERROR, Frame("keepalive", b"{}")], 9, 0)
@example([*frames([run("queued")]), ERROR, Frame("message", b"x")], 9, 0)
@example([*frames([run("queued")]), ERROR, *frames([says("x")])], 9, 0)
@example([*frames([run("queued")]), ERROR, *frames([("thread.run.queued", [])])], 9, 0)
def test_connection_and_fold_agree_whether_a_stream_is_over(stream: list[Frame], size: int, cut: int):
    data = b"".join(map(encode_frame, stream))
    data = data[: len(data) - cut]
    assert by_the_connection(data, size) is (by_the_fold(data) != "StreamTruncated")


@each_row("name", RUN_EVENTS)
def test_every_event_of_a_run_is_seen(name: str):
    data = encode_frame(Frame(name, b'{"id": "run_1", "status": "completed"}'))
    assert by_the_connection(data, 5)


def test_exceptions_of_limits_can_be_pickled():
    copy: Any = pickle.loads(pickle.dumps(OutOfTime("x took longer than 1 s in all")))
    assert (type(copy), str(copy)) == (OutOfTime, "x took longer than 1 s in all")
