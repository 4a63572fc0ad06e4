import pytest

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.orphans import MAX_WAITING_BYTES, MAX_WAITING_DELTAS
from stepstream.fold.run_state import run_state
from stepstream.fold.state import State, run_key
from stepstream.fold.stream_state import MAX_TOUCHED, touch
from stepstream.wire.events import Event
from tests.support.json_values import JSON, event
from tests.support.server_events import (
    MESSAGE,
    RUN,
    STEP,
    call,
    codes,
    created,
    delta,
    ended,
    fold,
    last_changes_of,
    message,
    piece,
    run,
    text,
)
from tests.support.tables import each_row


def full(number: int, status: str = "in_progress") -> JSON:
    return {"id": f"step_{number}", "run_id": f"run_{number}", "status": status}


def finished(number: int) -> list[Event]:
    """Return the events of a run that ends, with a step and a message."""
    return [
        run("queued", f"run_{number}"),
        event("thread.run.step.created", full(number)),
        event("thread.message.created", {"id": f"msg_{number}", "run_id": f"run_{number}"}),
        run("completed", f"run_{number}"),
    ]


def kept(accumulator: Accumulator) -> tuple[list[str], list[str], list[str]]:
    return list(accumulator.runs), list(accumulator.steps), list(accumulator.messages)


# Finished runs


def test_newest_finished_runs_are_kept_with_their_steps_and_messages() -> None:
    accumulator = fold(*(one for number in range(5) for one in finished(number)), retain=2)
    assert kept(accumulator) == (["run_3", "run_4"], ["step_3", "step_4"], ["msg_3", "msg_4"])


def test_forgetting_finished_runs_is_no_anomaly() -> None:
    assert codes(fold(*(one for number in range(5) for one in finished(number)), retain=2)) == []


def test_256_finished_runs_are_kept_unless_told_otherwise() -> None:
    accumulator = fold(*(run("completed", f"run_{number}") for number in range(300)))
    assert list(accumulator.runs) == [f"run_{number}" for number in range(44, 300)]


def test_newest_is_by_the_end_and_not_by_the_start() -> None:
    opened = [run("queued", "run_a"), run("queued", "run_b")]
    accumulator = fold(
        *opened, run("completed", "run_b"), run("completed", "run_a"), run("completed", "run_c"), retain=2
    )
    assert list(accumulator.runs) == ["run_a", "run_c"]


def test_open_runs_do_not_count_as_finished() -> None:
    opened = [run("queued", f"run_{number}") for number in range(5)]
    assert len(fold(*opened, run("completed", "run_x"), retain=1).runs) == 6


def test_no_finished_run_may_be_kept() -> None:
    assert kept(fold(*finished(0), retain=0)) == ([], [], [])


def test_open_steps_of_a_finished_run_stay_as_long_as_it() -> None:
    first = [event("thread.run.step.created", full(0)), run("completed", "run_0")]
    accumulator = fold(*first, retain=1)
    before = list(accumulator.steps)
    accumulator.apply(run("completed", "run_1"))
    assert (before, list(accumulator.steps)) == (["step_0"], [])


def test_step_that_comes_after_its_run_ended_is_kept_with_it() -> None:
    accumulator = fold(run("completed", "run_0"), event("thread.run.step.completed", full(0, "completed")), retain=1)
    before = list(accumulator.steps)
    accumulator.apply(run("completed", "run_1"))
    assert (before, list(accumulator.steps)) == (["step_0"], [])


def test_ended_step_without_a_run_is_bounded_like_a_finished_run() -> None:
    ends = [event("thread.run.step.completed", {"id": f"step_{number}"}) for number in range(5)]
    assert list(fold(*ends, retain=2).steps) == ["step_3", "step_4"]


def test_ended_message_without_a_run_is_bounded_like_a_finished_run() -> None:
    ends = [event("thread.message.completed", {"id": f"msg_{number}"}) for number in range(5)]
    assert list(fold(*ends, retain=2).messages) == ["msg_3", "msg_4"]


def test_null_run_id_is_no_run() -> None:
    ends = [event("thread.run.step.completed", {"id": f"step_{number}", "run_id": None}) for number in range(5)]
    assert list(fold(*ends, retain=2).steps) == ["step_3", "step_4"]


# Open runs


def test_oldest_open_run_is_evicted_with_its_steps_and_messages() -> None:
    events = [one for number in range(3) for one in finished(number)[:-1]]
    accumulator = fold(*events, max_open_runs=2)
    assert kept(accumulator) == (["run_1", "run_2"], ["step_1", "step_2"], ["msg_1", "msg_2"])


def test_eviction_is_an_anomaly_that_names_the_run() -> None:
    changes = last_changes_of(run("queued", "run_a"), run("queued", "run_b"), max_open_runs=1)
    assert [(change.code, change.id) for change in changes[1:]] == [("run_evicted", "run_a")]


def test_eviction_text_tells_the_limit() -> None:
    changes = last_changes_of(run("queued", "run_a"), run("queued", "run_b"), max_open_runs=1)
    assert changes[-1].text == "expected at most 1 open runs, got more: the oldest is forgotten"


def test_step_opens_the_run_it_names() -> None:
    events = [event("thread.run.step.created", full(number)) for number in range(3)]
    assert list(fold(*events, max_open_runs=2).steps) == ["step_1", "step_2"]


def test_open_step_without_a_run_is_evicted_by_its_own_id() -> None:
    events = [event("thread.run.step.created", {"id": f"step_{number}"}) for number in range(2)]
    (_, anomaly) = last_changes_of(*events, max_open_runs=1)
    assert (anomaly.code, anomaly.id) == ("run_evicted", "step_0")


def test_open_message_without_a_run_is_evicted_by_its_own_id() -> None:
    events = [event("thread.message.created", {"id": f"msg_{number}"}) for number in range(2)]
    (_, anomaly) = last_changes_of(*events, max_open_runs=1)
    assert (anomaly.code, anomaly.id) == ("run_evicted", "msg_0")


@each_row("name", ["thread.run.step.in_progress", "thread.run.step.completed"])
def test_step_is_kept_with_the_run_that_it_names_later(name: str) -> None:
    """A response that is resumed opens its items before it says its id."""
    early = event("thread.run.step.created", {"id": "step_0"})
    named = event(name, {"id": "step_0", "run_id": "run_0"})
    accumulator = fold(early, named)
    assert (accumulator.state.order, accumulator.stream.anomalies) == ((["run:run_0"], []), [])
    assert list(run_state(accumulator.state, "run_0").steps) == ["step_0"]
    assert kept(fold(early, named, run("completed", "run_0"), *finished(1), retain=1)) == (
        ["run_1"],
        ["step_1"],
        ["msg_1"],
    )


def test_message_is_kept_with_the_run_that_it_names_later() -> None:
    early = event("thread.message.created", {"id": "msg_0", "role": "assistant"})
    named = event("thread.message.completed", {"id": "msg_0", "run_id": "run_0", "role": "assistant"})
    again = event("thread.message.completed", {"id": "msg_0", "run_id": "run_1", "role": "assistant"})
    for events, expected in (([early, named], "run:run_0"), ([early, named, again], "run:run_0")):
        accumulator = fold(*events)
        assert accumulator.state.order == ([expected], [])
        assert list(run_state(accumulator.state, "run_0").messages) == ["msg_0"]


def test_ended_step_without_a_run_is_kept_with_the_run_that_a_repetition_names() -> None:
    ended_early = event("thread.run.step.completed", {"id": "step_0"})
    named = event("thread.run.step.completed", {"id": "step_0", "run_id": "run_0"})
    assert fold(ended_early, named).state.order == (["run:run_0"], [])


def test_finished_runs_make_room_for_open_ones() -> None:
    events = [one for number in range(5) for one in finished(number)]
    assert codes(fold(*events, max_open_runs=1)) == []


def test_delta_for_an_evicted_step_waits_again() -> None:
    events = [created(run_id="run_a"), run("queued", "run_b"), delta(piece(0, id="call_a"))]
    assert codes(fold(*events, max_open_runs=1)) == ["run_evicted", "delta_before_created"]


def test_10_000_open_runs_are_kept_unless_told_otherwise() -> None:
    accumulator = fold(*(run("queued", f"run_{number}") for number in range(10_002)))
    assert (len(accumulator.runs), codes(accumulator)) == (10_000, ["run_evicted"] * 2)


# Deltas that wait


def test_deltas_that_waited_join_in_order() -> None:
    waiting = [delta(piece(0, id="call_a", name="sail", arguments="{")), delta(piece(0, arguments="}"))]
    accumulator = fold(*waiting, created())
    assert [one.function.arguments for one in accumulator.steps[STEP].tool_calls] == ["{}"]


def test_progress_of_a_delta_that_waited_has_its_own_event_and_sequence() -> None:
    opening, progress = last_changes_of(delta(piece(0, arguments="{")), run("queued"), created())
    assert [(change.event, change.sequence) for change in (opening, progress)] == [
        ("thread.run.step.created", 3),
        ("thread.run.step.delta", 1),
    ]


def test_delta_that_waited_and_contradicts_is_refused_alone() -> None:
    waiting = [
        delta(piece(0, id="call_a", arguments="{")),
        delta(piece(0, id="call_b")),
        delta(piece(0, arguments="}")),
    ]
    accumulator = fold(*waiting, created())
    assert (codes(accumulator), accumulator.steps[STEP].tool_calls[0].function.arguments) == (
        ["delta_before_created", "id_conflict"],
        "{}",
    )


@each_row("body", [None, {}, {"step_details": None}])
def test_delta_of_nothing_that_waited_is_no_change(body: object) -> None:
    changes = last_changes_of(event("thread.run.step.delta", {"id": STEP, "delta": body}), created())
    assert [type(change).__name__ for change in changes] == ["StepTransition"]


def test_terminal_object_wins_over_deltas_that_waited() -> None:
    end = ended(call("call_a", name="sail", arguments="{}"))
    assert fold(delta(piece(0, id="call_a", name="sail", arguments="!")), end).steps[STEP] == end.data


def test_deltas_that_waited_fill_the_nulls_of_the_terminal_object() -> None:
    end = ended(call("call_a", name="sail", output=None))
    found = fold(delta(piece(0, id="call_a", name="sail", output="ok")), end).steps[STEP]
    assert found.tool_calls[0].function.output == "ok"


def test_deltas_that_waited_join_once() -> None:
    accumulator = fold(delta(piece(0, arguments="{")), created(), created())
    assert accumulator.steps[STEP].tool_calls[0].function.arguments == "{"


def test_message_deltas_wait_too() -> None:
    accumulator = fold(
        event("thread.message.delta", {"id": "msg_heron", "delta": {"content": [text("fog", 0)]}}), message()
    )
    assert (accumulator.messages["msg_heron"].text, codes(accumulator)) == ("fog", ["delta_before_created"])


def waiting_for(step: str, size: int = 0) -> Event:
    """Return a delta that takes little room, or `size` bytes and a few more."""
    calls = [piece(0, arguments="x" * size)] if size else []
    return event("thread.run.step.delta", {"id": step, "delta": {"step_details": {"tool_calls": calls}}})


def test_limits_of_waiting_are_those_of_the_design() -> None:
    assert (MAX_WAITING_DELTAS, MAX_WAITING_BYTES) == (10_000, 2**20)


def test_10_000_deltas_wait_and_each_further_one_overflows() -> None:
    accumulator = fold(*[waiting_for(f"step_{number % 2}") for number in range(10_003)])
    assert codes(accumulator) == ["delta_before_created"] * 2 + ["orphan_overflow"] * 3


def test_one_mib_of_deltas_waits_and_each_further_one_overflows() -> None:
    accumulator = fold(
        *[waiting_for("step_a", 2**18 - 500)] * 4, waiting_for("step_a", 2**18), waiting_for("step_b", 2**18)
    )
    assert codes(accumulator) == ["delta_before_created"] + ["orphan_overflow"] * 2


def test_delta_that_is_small_enough_still_waits() -> None:
    accumulator = fold(waiting_for("step_a", 2**20), waiting_for("step_a"))
    assert codes(accumulator) == ["orphan_overflow", "delta_before_created"]


def test_delta_that_overflowed_is_lost() -> None:
    accumulator = fold(waiting_for(STEP, 2**20), delta(piece(0, id="call_a", name="sail")), created())
    assert [one.id for one in accumulator.steps[STEP].tool_calls] == ["call_a"]


def test_joining_makes_room_again() -> None:
    events = [*[waiting_for(STEP)] * 10_000, created(), *[waiting_for("step_b")] * 10_000]
    assert codes(fold(*events)) == ["delta_before_created"] * 2


def test_joining_makes_room_for_bytes_again() -> None:
    events = [waiting_for(STEP, 2**20 - 500), created(), waiting_for("step_b", 2**20 - 500)]
    assert codes(fold(*events)) == ["delta_before_created"] * 2


def test_each_stream_has_room_of_its_own() -> None:
    state = State()
    first, second = Accumulator(state=state), Accumulator(state=state)
    for _ in range(10_000):
        first.apply(waiting_for(STEP))
    assert [change.code for change in second.apply(waiting_for(STEP))] == ["delta_before_created"]


# State that is shared


def test_streams_that_share_a_state_continue_each_other() -> None:
    first = fold(created(), delta(piece(0, id="call_a", name="sail")))
    second = Accumulator(state=first.state)
    changes = second.apply(ended(call("call_a", name="sail")))
    assert [(type(change).__name__, change.sequence) for change in changes] == [
        ("ToolCallFinished", 1),
        ("StepTransition", 1),
    ]


def test_streams_that_share_a_state_count_their_own_anomalies() -> None:
    first = fold(created(), created())
    assert Accumulator(state=first.state).anomaly_count == 0


def test_shared_state_says_how_much_is_kept() -> None:
    state = State(retain=1)
    accumulator = Accumulator(state=state, retain=5)
    for number in range(3):
        accumulator.apply(run("completed", f"run_{number}"))
    assert list(accumulator.runs) == ["run_2"]


def test_stream_notes_what_it_touched_in_order_of_first_sight() -> None:
    first = fold(created(id="step_a"), created(id="step_b"), run("queued"))
    second = Accumulator(state=first.state)
    for one in [delta(piece(0, arguments="{"), id="step_b"), created(id="step_c"), created(id="step_b"), run("queued")]:
        second.apply(one)
    assert (list(second.stream.steps.touched), list(second.stream.runs)) == (["step_b", "step_c"], [RUN])


def test_stream_touches_what_a_full_object_names() -> None:
    second = Accumulator(state=fold(created(), message()).state)
    for one in [ended(), message("completed", as_="completed")]:
        second.apply(one)
    assert (list(second.stream.steps.touched), list(second.stream.messages.touched)) == ([STEP], [MESSAGE])


def test_stream_keeps_what_it_touched_after_the_state_forgot_it() -> None:
    accumulator = fold(created(), run("completed"), retain=0)
    assert (list(accumulator.steps), list(accumulator.stream.steps.touched)) == ([], [STEP])


def test_what_a_stream_touched_is_bounded() -> None:
    seen = {str(number): number for number in range(MAX_TOUCHED)}
    touch(seen, "newest", 0)
    assert (len(seen), "0" in seen, "newest" in seen) == (MAX_TOUCHED, False, True)


def test_step_that_a_stream_touched_too_long_ago_is_not_appended_to_any_more() -> None:
    accumulator = fold(created())
    step = accumulator.state.steps[STEP]
    version, seen = step.version, dict.fromkeys(map(str, range(MAX_TOUCHED - 1)))
    touched = {STEP: step, **seen}
    touch(touched, "newest", None)
    assert (STEP in touched, step.version > version) == (False, True)


def test_touching_again_what_a_stream_touched_drops_nothing() -> None:
    seen = {str(number): number for number in range(MAX_TOUCHED)}
    touch(seen, "0", 5)
    assert (len(seen), seen["0"]) == (MAX_TOUCHED, 5)


# The mappings


def test_mapping_is_live() -> None:
    accumulator = Accumulator()
    steps = accumulator.steps
    accumulator.apply(created())
    assert (len(steps), STEP in steps, "step_z" in steps, list(steps)) == (1, True, False, [STEP])


def test_mapping_without_an_id_raises_key_error() -> None:
    with pytest.raises(KeyError):
        _ = Accumulator().steps[STEP]


# The context of a stream


def test_context_is_let_go_of_with_the_stream_but_of_runs_that_wait_for_action() -> None:
    state = State()
    for context, statuses in (("one", ["in_progress", "requires_action"]), ("two", ["completed"])):
        accumulator = Accumulator(context=context, state=state)
        for number, status in enumerate(statuses):
            accumulator.apply(run(status, f"{context}_{number}"))
        accumulator.apply(run("in_progress", "shared"))
        accumulator.stream.release()
    keys = ("one_0", "one_1", "two_0", "shared", "never_seen")
    assert [state.origin_of(f"run:{key}").context for key in keys] == [None, "one", None, None, None]


def test_context_is_that_of_the_stream_that_named_a_run_last() -> None:
    state = State()
    first, second = (Accumulator(context=context, state=state) for context in ("first", "second"))
    first.apply(run("requires_action"))
    second.apply(run("in_progress"))
    second.apply(run("requires_action"))
    first.stream.release()
    assert state.origin_of(f"run:{RUN}").context == "second"


def test_stream_whose_runs_are_forgotten_lets_go_of_its_context() -> None:
    accumulator = fold(*(run("requires_action", f"run_{number}") for number in range(3)), max_open_runs=1)
    accumulator.stream.release()
    assert list(accumulator.state.runs) == ["run_2"]


# Runs of which nothing is heard


def test_open_run_that_no_stream_reads_is_dropped_when_it_is_due():
    state = State(forget_after=100)
    entry = state.entry(run_key("run_1", ""))
    state.idle.add(entry.key, 0)
    assert (state.forget_idle(99), state.forget_idle(100), state.find(entry.key)) == ([], [entry.key], None)
