"""Streams that are told again, cut, resumed, mixed: each thing is told once, and the end is the same."""

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepstream import Accumulator, MessageTransition, RunTransition, StepTransition, ToolCallFinished, ToolCallStarted
from stepstream.dialects.responses import runs
from stepstream.fold.state import State
from tests.support.json_values import JSON
from tests.support.response_streams import (
    RESPONSE,
    Folded,
    about,
    added,
    calling,
    done,
    ended,
    fold,
    frames,
    item,
    lifecycle,
    numbered,
    piece,
    text,
    thinking,
    whole,
    writing,
)

TOLD = (RunTransition, StepTransition, MessageTransition, ToolCallStarted, ToolCallFinished)
RUN = whole(thinking("s", "t"), writing("abc", 1, 1), calling("{}", 1, 2))
FAILED = numbered(
    [
        lifecycle("created"),
        *writing("abc")[:-1],
        {"type": "error", "message": "broken"},
        lifecycle("failed", error=None),
    ]
)
STREAMS = {"completed": RUN, "failed": FAILED}


def told(changes: list[Any]) -> list[str]:
    """The keys of what was told: the same thing has the same key."""
    return [change.key for change in changes if isinstance(change, TOLD)]


def ends_of(folded: Folded) -> list[Any]:
    """All that is known in the end."""
    accumulator = folded.accumulator
    return [dict(accumulator.runs), dict(accumulator.steps), dict(accumulator.messages)]


def cuts(events: list[JSON]) -> st.SearchStrategy[int]:
    return st.integers(1, len(events) - 1)


usual = settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
def test_resumed_at_any_event_each_transition_is_told_once(events: list[JSON]):
    expected = fold(events)
    for cut in range(1, len(events)):
        state = State()
        first = fold(events[:cut], Accumulator(state=state))
        second = fold(events[cut:], Accumulator(state=state))
        assert told(first.changes) + told(second.changes) == told(expected.changes), cut
        assert ends_of(second) == ends_of(expected), cut
        assert first.codes == second.codes == []


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
def test_what_is_told_again_after_a_new_connection_changes_nothing(events: list[JSON]):
    expected = fold(events)

    @usual
    @given(cuts(events), st.integers(0, 12))
    def check(cut: int, overlap: int) -> None:
        accumulator = Accumulator()
        first = fold_open(events[:cut], accumulator)
        accumulator.translation.reconnect()
        second = fold(events[max(0, cut - overlap) :], accumulator)
        assert told(first + second.changes) == told(expected.changes)
        assert ends_of(second) == ends_of(expected)
        assert second.codes == []

    check()


def fold_open(events: list[JSON], accumulator: Accumulator) -> list[Any]:
    return [change for frame in frames(events) for change in accumulator.apply_frame(frame)]


@usual
@given(cuts(RUN), cuts(RUN))
def test_replay_inside_a_stream_changes_nothing_and_is_reported_once(cut: int, start: int):
    start = min(cut, start) - 1
    folded = fold([*RUN[:cut], *RUN[start:cut], *RUN[cut:]])
    assert told(folded.changes) == told(fold(RUN).changes)
    assert ends_of(folded) == ends_of(fold(RUN))
    assert folded.codes == ["replayed_event"]


def test_stream_that_is_told_twice_as_a_whole_changes_nothing():
    folded = fold([*RUN, *RUN])
    assert told(folded.changes) == told(fold(RUN).changes)
    assert folded.codes == ["replayed_event"]


def test_stream_without_numbers_that_is_told_twice_changes_nothing():
    events = [{key: value for key, value in event.items() if key != "sequence_number"} for event in RUN]
    folded = fold([*events, *events])
    assert told(folded.changes) == told(fold(RUN).changes)
    assert folded.codes == ["event_after_end"]


def test_stream_without_numbers_that_begins_again_gets_its_texts_from_their_ends():
    events = [lifecycle("created"), *writing("abc"), lifecycle("completed")]
    folded = fold([*events[:5], *events])
    assert folded.texts == ["abc"]
    assert folded.statuses["message_1"] == ["in_progress", "completed"]
    assert fold([*events[:5], *events[:-3]]).texts == ["abc"]
    item_again = fold([*events[:5], *events[1:]])
    assert item_again.texts == ["abc"]


def test_note_on_a_text_that_is_told_again_waits_for_its_end():
    one = item()
    note = about("output_text.annotation.added", one, content_index=0, annotation={"type": "file_path", "file_id": "f"})
    events = [lifecycle("created"), added(one), piece("a", one)]
    folded = fold([*events, *events, note, done(ended(one, content=[text("a")]))])
    assert folded.texts == ["a"]
    assert folded.codes == []


def test_stream_that_is_read_twice_at_once_is_folded_once():
    state = State()
    first, second = Accumulator(state=state), Accumulator(state=state)
    changes = [change for frame in frames(RUN) for into in (first, second) for change in into.apply_frame(frame)]
    assert told(changes) == told(fold(RUN).changes)
    assert first.anomalies == second.anomalies == []


# Many streams, many items


def mixed(parts: list[list[JSON]], order: list[int]) -> list[JSON]:
    """The events of several items in any order that keeps that of each."""
    rest = [list(part) for part in parts]
    found = []
    for choice in order:
        left = [part for part in rest if part]
        if left:
            found.append(left[choice % len(left)].pop(0))
    return found + [event for part in rest for event in part]


PARTS = [thinking("s", "t"), writing("abc", 1, 1), calling("{}", 1, 2), writing("xyz", 2, 3), calling("[]", 2, 4)]


@usual
@given(st.lists(st.integers(0, 4), max_size=60))
def test_order_of_items_among_each_other_changes_nothing(order: list[int]):
    folded, expected = fold(whole(mixed(PARTS, order))), fold(whole(*PARTS))
    assert sorted(told(folded.changes)) == sorted(told(expected.changes))
    assert ends_of(folded) == ends_of(expected)
    assert folded.codes == []


@usual
@given(st.lists(st.booleans(), max_size=80))
def test_streams_that_share_a_state_do_not_disturb_each_other(turns: list[bool]):
    others = [
        {**event, "item": {**event["item"], "id": f"x{event['item']['id']}"}} if "item" in event else event
        for event in RUN
    ]
    others = [{**one, "item_id": f"x{one['item_id']}"} if "item_id" in one else one for one in others]
    others = [
        {**one, "response": {**one["response"], "id": "resp_2", "output": []}} if "response" in one else one
        for one in others
    ]
    state = State()
    both = [(Accumulator(state=state), iter(frames(events))) for events in (RUN, others)]
    for turn in [*turns, *[False] * len(RUN), *[True] * len(RUN)]:
        accumulator, rest = both[turn]
        for frame in rest:
            accumulator.apply_frame(frame)
            break
    assert [run.status for run in state.runs.values()] == ["requires_action"] * 2
    assert [one.anomaly_count for one, _ in both] == [0, 0]
    assert sorted(message.text for message in both[0][0].messages.values()) == ["abc", "abc"]


# Where a stream begins in the middle


@pytest.mark.parametrize("cut", range(1, len(RUN)))
def test_stream_read_from_the_middle_alone_ends_as_its_response_says(cut: int):
    folded = fold(RUN[cut:])
    assert [run.id for run in folded.accumulator.runs.values()] == ["resp_1"]
    assert folded.statuses["resp_1"][-1] == "requires_action"
    assert all(step.is_terminal for step in folded.accumulator.steps.values())
    assert folded.texts[-1:] == ["abc"]
    assert folded.codes == []


def test_step_of_a_run_that_is_not_known_yet_is_open_at_once():
    folded = fold([piece("a", item()), piece("b", item())])
    (step,) = folded.accumulator.steps.values()
    assert (step.id, step.status, step.run_id or None) == ("message_1", "in_progress", None)
    assert folded.texts == ["ab"]


def test_run_that_has_no_name_is_the_one_whose_next_event_comes():
    state = State()
    one = item("shell_call")
    command = about("shell_call_command.delta", None, command_index=0, delta="ls")
    start = numbered([lifecycle("created"), lifecycle("in_progress"), added(one)])
    fold(start, Accumulator(state=state))
    folded = fold(numbered([command], 3), Accumulator(state=state))
    assert [step.tool_calls[0].shell.commands[0].command for step in folded.accumulator.steps.values()] == ["ls"]
    far = fold(numbered([command], 9), Accumulator(state=state))
    assert len(far.accumulator.steps) == 2
    nameless = fold([command], Accumulator(state=state))
    assert len(nameless.accumulator.steps) == 3


def test_items_of_a_run_without_a_name_have_ids_that_no_other_has():
    state = State()
    for _ in range(2):
        fold([piece("a", None)], Accumulator(state=state))
    assert list(state.steps) == ["response:1:0", "response:2:0"]


# To another process


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
def test_export_and_restore_at_every_event_goes_on_as_if_nothing_had_happened(events: list[JSON]):
    expected = fold(events)
    for cut in range(len(events)):
        first = Accumulator()
        changes = fold_open(events[:cut], first)
        second = fold(events[cut:], Accumulator.restore(first.export()))
        assert told(changes + second.changes) == told(expected.changes), cut
        assert ends_of(second) == ends_of(expected), cut
        assert second.accumulator.anomaly_count == 0


def test_restored_run_that_waits_is_continued_by_the_response_that_answers_it():
    first = Accumulator()
    fold(RUN, first)
    restored = Accumulator.restore(first.export())
    follow: dict[str, Any] = {"id": "resp_2", "previous_response_id": "resp_1"}
    folded = fold([lifecycle("created", **follow), *writing("5", 2), lifecycle("completed", **follow)], restored)
    assert folded.statuses["resp_1"] == ["in_progress", "completed"]


@pytest.mark.parametrize("number", [numbered, list])
@pytest.mark.parametrize("cut", [1, 3, 6])
def test_response_that_others_of_its_run_followed_is_known_when_it_is_told_again(cut: int, number: Any):
    follow: dict[str, Any] = {"id": "resp_2", "previous_response_id": "resp_1"}
    second = number([lifecycle("created", **follow), *writing("five", 2), lifecycle("completed", **follow)])
    expected = fold([*number(RUN), *second])
    accumulator = Accumulator()
    changes = fold([*number(RUN), *second[:cut]], accumulator).changes
    assert fold(number(RUN), accumulator).changes == []
    assert accumulator.translation.is_earlier
    again = fold(second, accumulator)
    assert not accumulator.translation.is_earlier
    assert told(changes + again.changes) == told(expected.changes)
    assert ends_of(again) == ends_of(expected)
    assert {one.code for one in accumulator.anomalies} <= {"replayed_event"}


def rounds_of_calls(count: int) -> list[list[JSON]]:
    """The responses of a run, each of which waits for the output of a call."""
    found = list[list[JSON]]()
    for number in range(1, count + 1):
        who: dict[str, Any] = {"id": f"resp_{number}", "previous_response_id": f"resp_{number - 1}"}
        call = calling("{}", number)
        found.append(numbered([lifecycle("created", **who), *call, lifecycle("completed", call[-1]["item"], **who)]))
    return found


def test_each_of_many_responses_of_a_run_is_known_when_it_is_told_again():
    state, rounds = State(), rounds_of_calls(29)
    for events in rounds:
        fold(events, Accumulator(state=state))
    assert (len(state.runs), len(state.steps)) == (1, 29)
    for events in rounds:
        again = fold(events, Accumulator(state=state))
        assert (again.changes, again.accumulator.anomalies) == ([], [])


def test_ids_of_responses_are_kept_up_to_a_bound(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runs, "MAX_RUN_IDS", 4)
    state = State()
    for events in rounds_of_calls(7):
        fold(events, Accumulator(state=state))
    [run] = state.dialect.runs.values()
    assert (run.ids, run.earlier) == (["resp_1", "resp_5", "resp_6", "resp_7"], ["resp_1", "resp_5", "resp_6"])
    assert state.dialect.responses == dict.fromkeys(run.ids, "resp_1")


def unnumbered(events: list[JSON]) -> list[JSON]:
    return [{name: value for name, value in event.items() if name != "sequence_number"} for event in events]


@pytest.mark.parametrize("number", [numbered, unnumbered])
@pytest.mark.parametrize("begins", [0, 2])
def test_stream_of_a_response_that_has_ended_before_tells_no_more_of_it_and_no_anomaly(begins: int, number: Any):
    state, events = State(), number(whole(writing("abc")))
    fold(events, Accumulator(state=state))
    later = fold(events[begins:], Accumulator(state=state))
    assert (later.changes, later.accumulator.anomalies) == ([], [])


def test_translation_says_which_run_its_stream_is_about():
    accumulator = Accumulator()
    assert accumulator.translation.run == ""
    fold_open(numbered(RUN), accumulator)
    assert accumulator.translation.run == RESPONSE
    accumulator.translation.be_plain()
    assert accumulator.translation.run == ""


def test_deltas_whose_numbers_mean_nothing_are_counted_without_them():
    accumulator = Accumulator()
    events = numbered(writing("abc")[:3])
    fold_open([*events, {**events[-1], "delta": "other"}], accumulator)
    counter = accumulator.translation.counter
    assert counter is not None
    assert counter.count([SimpleNamespace(number=0, piece="x"), SimpleNamespace(number=0, piece="y")])


def test_what_a_run_needs_is_forgotten_with_it():
    state = State(retain=1)
    for number in range(1, 4):
        events = [lifecycle("created", id=f"resp_{number}"), *writing("a", number)]
        fold([*events, lifecycle("completed", id=f"resp_{number}")], Accumulator(state=state))
    assert list(state.dialect.runs) == ["resp_3"]
    assert state.dialect.responses == {"resp_3": "resp_3"}
    assert state.dialect.steps == {"message_3": "resp_3"}
    state.dialect.forget("resp_9")


def test_ids_that_change_with_every_event_are_not_all_kept():
    state = State()
    events = [lifecycle("created"), *(lifecycle("in_progress", id=f"resp_{number}") for number in range(2, 99))]
    fold(events, Accumulator(state=state))
    (run,) = state.dialect.runs.values()
    assert run.ids[0] == "resp_1"
    assert run.ids[-1] == "resp_98"
    assert len(run.ids) == len(state.dialect.responses) == 8


def test_items_of_a_run_that_is_never_named_are_not_kept():
    state = State()
    for _ in range(3):
        fold([piece("a", item()), added(item(), 1)], Accumulator(state=state))
    assert state.dialect.steps == {}
    assert [step.base.id for step in state.steps.values()] == [
        "message_1",
        "response:1:1",
        "response:2:1",
        "response:3:1",
    ]


def test_deltas_that_were_counted_elsewhere_are_known_when_they_come_again():
    accumulator = fold(numbered([lifecycle("created"), added(item()), piece("a", item())])).accumulator
    counter = accumulator.translation.counter
    for number, word in ((3, "b"), (4, "c")):
        assert counter.count([SimpleNamespace(number=number, piece=word)])
    again, more = ({**piece(word, item()), "sequence_number": number} for number, word in ((4, "c"), (5, "d")))
    told = [event.name for frame in frames([again, more]) for event in accumulator.translation.feed(frame)]
    assert told.count("thread.message.delta") == 1
