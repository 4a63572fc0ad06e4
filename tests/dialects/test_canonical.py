"""What was translated, as frames in the words of the fold, and back."""

from stepstream import Accumulator, Event, Frame, Malformed
from stepstream.dialects.canonical import ANOMALY, frame_of_event, told_again
from stepstream.wire.events import UnknownData
from tests.support.tables import each_row

BAD = Event(
    "response.dream", Malformed(b"{}", "a fog", "a haze", "replayed_event", "run_1"), b"{}", "7", is_translated=True
)


def test_anomaly_of_a_dialect_is_the_same_once_it_was_written():
    frame = frame_of_event(BAD)
    assert (frame.event, frame.id) == (ANOMALY, "7")
    told, again = Accumulator(), Accumulator()
    assert again.apply_frame(frame) == told.apply(BAD) != []


@each_row("data", [b"{}", b"[1]", b"x", b"\xff", b'{"code": 1, "event": "x", "id": null, "expected": "", "got": ""}'])
def test_what_only_calls_itself_an_anomaly_is_an_unknown_event(data: bytes):
    event = Event(ANOMALY, UnknownData(data), data)
    assert told_again(event) is event
    assert Accumulator().apply_frame(Frame(ANOMALY, data)) == []


def test_any_other_event_is_told_as_it_is():
    event = Event("thread.dream", UnknownData(b"{}"), b"{}")
    assert told_again(event) is event
