import json

import pytest

from stepstream.errors import DecodeError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.anomalies import ANOMALIES, Anomaly
from stepstream.fold.state import State
from stepstream.wire.events import Event, Malformed, decode_event
from stepstream.wire.sse import Frame
from tests.support.json_values import event
from tests.support.server_events import (
    CODE,
    RUN,
    STEP,
    asking,
    call,
    created,
    delta,
    details_delta,
    ended,
    fold,
    last_changes_of,
    message,
    moved,
    piece,
    run,
    text,
)
from tests.support.tables import each_row

HUSH = "hush-7c1e"


def translated(code: str) -> Event:
    """An anomaly as the translator of a dialect makes it."""
    data = Malformed(HUSH.encode(), "one thing", "another", code, RUN)
    return Event("response.completed", data, HUSH.encode(), is_translated=True)


KNOWN = delta(piece(0, id="call_a", name="sail", arguments=HUSH))

# Each code, with a stream whose last event makes it, and the id it is about. Texts of the streams are secrets.
MADE: dict[str, tuple[list[Event], str | None]] = {
    "bad_field": ([created(metadata=[HUSH])], STEP),
    "bad_index": ([created(), delta(piece(5000, id=HUSH, arguments=HUSH))], STEP),
    "conflicting_terminal": (
        [ended(last_error={"message": HUSH}), ended(as_="failed", last_error={"message": "!"})],
        STEP,
    ),
    "delta_after_terminal": (
        [ended(call("call_a", name="sail", arguments=HUSH)), delta(piece(0, arguments=HUSH))],
        STEP,
    ),
    "delta_before_created": ([KNOWN], STEP),
    "duplicate_created": ([created(metadata={"k": HUSH}), created(metadata={"k": HUSH})], STEP),
    "duplicate_terminal": ([ended(call("call_a", name=HUSH)), ended(call("call_a", name=HUSH))], STEP),
    "event_after_end": ([translated("event_after_end")], RUN),
    "id_conflict": ([created(), KNOWN, delta(piece(0, id=HUSH, arguments=HUSH))], STEP),
    "malformed_delta": ([created(), delta(piece(0, arguments=[HUSH]))], STEP),
    "orphan_overflow": ([delta(piece(0, arguments=HUSH * 2**17))], STEP),
    "replayed_event": ([translated("replayed_event")], RUN),
    "run_evicted": ([run("queued", model=HUSH), run("queued", "run_b", model=HUSH)], RUN),
    "status_mismatch": ([run("queued", as_="completed", model=HUSH)], RUN),
    "status_regression": ([ended(call("call_a", name=HUSH)), moved(call("call_a", name=HUSH))], STEP),
    "type_conflict": ([created(), KNOWN, delta(piece(0, CODE, input=HUSH))], STEP),
    "undecodable_event": ([event("thread.run.queued", {"id": [HUSH], "tools": HUSH})], None),
}


def test_every_code_is_made() -> None:
    assert sorted([*MADE, "too_deep", "run_overflow"]) == sorted(ANOMALIES)  # a frame makes that one, below; a bound


def test_run_that_holds_too_much_is_told_of_once_and_without_content() -> None:
    accumulator = Accumulator(state=State(max_run_bytes=60))
    for one in (run("queued"), created(), KNOWN, *[delta(piece(0, arguments=HUSH))] * 9):
        accumulator.apply(one)
    (anomaly,) = accumulator.anomalies
    assert (anomaly.code, anomaly.id, HUSH in f"{anomaly!r} {anomaly.text}") == ("run_overflow", RUN, False)


@pytest.mark.parametrize(("events", "identifier"), MADE.values(), ids=MADE)
def test_anomaly_has_its_code_event_and_id(
    events: list[Event], identifier: str | None, request: pytest.FixtureRequest
) -> None:
    *before, last = events
    accumulator = fold(*before, max_open_runs=1)
    found = [change for change in accumulator.apply(last) if isinstance(change, Anomaly)]
    assert [(one.code, one.event, one.id) for one in found] == [(request.node.callspec.id, last.name, identifier)]


@each_row("events", [case[0] for case in MADE.values()], ids=MADE)
def test_anomaly_is_kept_and_counted(events: list[Event]) -> None:
    *before, last = events
    accumulator = fold(*before, max_open_runs=1)
    count = accumulator.anomaly_count
    found = [change for change in accumulator.apply(last) if isinstance(change, Anomaly)]
    assert (accumulator.anomalies[count:], accumulator.anomaly_count) == (found, count + 1)


@each_row("events", [case[0] for case in MADE.values()], ids=MADE)
def test_anomaly_tells_no_content(events: list[Event]) -> None:
    *before, last = events
    (anomaly,) = [one for one in fold(*before, max_open_runs=1).apply(last) if isinstance(one, Anomaly)]
    assert HUSH not in f"{anomaly!r} {anomaly.text} {anomaly.expected} {anomaly.got}"


@each_row(
    ("data", "code"),
    [(HUSH.encode(), "undecodable_event"), (json.dumps({"x": [[[HUSH]]]}).encode(), "too_deep")],
    ids=["undecodable_event", "too_deep"],
)
def test_frame_that_cannot_be_decoded_is_an_anomaly_that_tells_no_content(data: bytes, code: str) -> None:
    accumulator = Accumulator(max_depth=3)
    (anomaly,) = accumulator.apply_frame(Frame("thread.run.queued", data))
    assert (anomaly.code, anomaly.event, anomaly.sequence, HUSH in repr(anomaly)) == (
        code,
        "thread.run.queued",
        1,
        False,
    )


def test_rejected_event_is_counted_in_the_stream() -> None:
    accumulator = fold(created())
    with pytest.raises(DecodeError) as raised:
        decode_event(Frame("thread.run.queued", b"{"))
    anomaly = accumulator.reject(raised.value)
    assert (anomaly.sequence, accumulator.apply(created())[0].sequence, accumulator.anomalies[0]) == (2, 3, anomaly)


def test_stream_lives_on_after_a_frame_that_cannot_be_decoded() -> None:
    accumulator = Accumulator()
    for frame in [Frame("thread.run.queued", b"{"), Frame("thread.run.step.created", b'{"id": "step_a"}')]:
        accumulator.apply_frame(frame)
    assert list(accumulator.steps) == ["step_a"]


def test_anomalies_are_in_order() -> None:
    accumulator = fold(created(), created(), run("queued", as_="failed"), ended(), ended())
    assert [(one.sequence, one.code) for one in accumulator.anomalies] == [
        (2, "duplicate_created"),
        (3, "status_mismatch"),
        (5, "duplicate_terminal"),
    ]


def test_thousand_anomalies_are_kept_and_all_are_counted() -> None:
    accumulator = fold(*[created()] * 1_102)
    assert (len(accumulator.anomalies), accumulator.anomaly_count) == (1_000, 1_101)


def test_anomaly_that_is_not_kept_is_still_a_change() -> None:
    (change,) = last_changes_of(*[created()] * 1_102)
    assert change.code == "duplicate_created"


def test_delta_before_created_comes_once_a_step() -> None:
    accumulator = fold(KNOWN, KNOWN, delta(piece(0, id="call_b"), id="step_b"), KNOWN)
    assert [(one.code, one.id) for one in accumulator.anomalies] == [
        ("delta_before_created", STEP),
        ("delta_before_created", "step_b"),
    ]


def test_step_and_message_of_one_id_are_told_apart() -> None:
    twin = event("thread.message.delta", {"id": STEP, "delta": {"content": [text("a", 0)]}})
    accumulator = fold(KNOWN, twin, created())
    assert [(one.code, one.text) for one in accumulator.anomalies] == [
        ("delta_before_created", "expected the step before its delta, got the delta first"),
        ("delta_before_created", "expected the message before its delta, got the delta first"),
    ]


@each_row(
    "harmless",
    [
        event("keepalive", {}),
        event("thread.run.step.pondering", {"id": STEP}),
        event("done", "[DONE]"),
        event("error", {"message": "m"}),
        event("thread.created", {"id": "thread_a"}),
        moved(status="meditating"),
        message("meditating", as_="in_progress"),
        run("meditating", as_="created"),
        event("thread.run.step.created", {"id": "step_b", "type": "dream", "step_details": {"type": "dream"}}),
        details_delta({"type": "tool_calls", "mood": "calm"}),
        asking({"id": "call_z", "type": "dowsing_rod"}, kind="submit_poem"),
    ],
    ids=lambda event: event.name,
)
def test_what_is_only_unknown_is_no_anomaly(harmless: Event) -> None:
    assert fold(created(), harmless).anomaly_count == 0
