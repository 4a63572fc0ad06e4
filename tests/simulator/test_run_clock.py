"""A run goes on by its reader or by the clock. Every time is explicit: nothing waits."""

from collections.abc import Callable
from itertools import pairwise

import pytest

from stepstream import accumulate
from stepstream.simulator.course import LAG, Stream
from stepstream.simulator.pace import FAST, REAL, Pace, pace_of
from stepstream.simulator.runs import Run
from stepstream.simulator.scenarios import SCENARIOS
from stepstream.simulator.timed_event import TimedEvent
from stepstream.wire.sse import encode_frame
from tests.support.json_values import JSON
from tests.support.simulator_runs import AT, a_run, answer, asked_calls, beats, decoded
from tests.support.tables import each_row

SHORT = [name for name in SCENARIOS if name not in ("many-deltas", "big-logs")]
PACES = [FAST, REAL, pace_of(10)]


def story(taken: list[TimedEvent]) -> list[str]:
    return [beat.frame.event.removeprefix("thread.") for beat in taken]


def take(stream: Stream, count: int, now: float = 0.0) -> list[TimedEvent]:
    taken = [stream.next_event(now) for _ in range(count)]
    assert None not in taken
    return [beat for beat in taken if beat is not None]


def standing(run: Run) -> tuple[JSON, list[JSON]]:
    return run.object(), run.steps()


def folded(taken: list[TimedEvent]) -> tuple[str, list[str]]:
    """The status of the run and of the steps after these events."""
    state = accumulate([encode_frame(beat.frame) for beat in taken])
    [run] = state.runs.values()
    return run.status, [step.status for step in state.steps.values()]


def alike(first: list[TimedEvent], second: list[TimedEvent]) -> bool:
    return [beat.frame for beat in first] == [beat.frame for beat in second]


def outputs(run: Run) -> dict[str, str | bool | None]:
    return {call["id"]: "fog" for call in asked_calls(run.object())}


def test_run_moves_as_it_is_read():
    run = a_run("code")
    stream, taken = run.begin(0), list[TimedEvent]()
    while (beat := stream.next_event(0)) is not None:
        taken.append(beat)
        if beat.frame.event != "done":
            assert folded(taken) == (run.status, [step["status"] for step in run.steps()])


def test_steps_grow_as_they_are_read():
    run = a_run("code")
    stream, taken = run.begin(0), list[TimedEvent]()
    while (beat := stream.next_event(0)) is not None:
        taken.append(beat)
        state = accumulate([encode_frame(beat.frame) for beat in taken])
        details = [step["step_details"].get("tool_calls") for step in run.steps()]
        pieces = [[call["code_interpreter"]["input"] for call in calls] for calls in details if calls is not None]
        assert pieces == [
            [call.code_interpreter.input for call in step.tool_calls if call.code_interpreter]
            for step in state.steps.values()
            if step.type == "tool_calls"
        ]


@pytest.mark.parametrize("name", SHORT)
def test_run_left_at_any_event_comes_to_the_same_end(name: str):
    def end(left_after: int) -> tuple[JSON, list[JSON]]:
        run = a_run(name, seed=1)
        stream = run.begin(0)
        for _ in range(left_after):
            stream.next_event(0)
        stream.leave()
        run.catch_up(0)
        return standing(run)

    whole = len(beats(a_run(name, seed=1).begin(0)))
    expected = end(whole)
    assert expected[0]["status"] in ("requires_action", SCENARIOS[name].ending.status)
    assert [end(number) for number in range(whole)] == [expected] * whole


def test_stream_that_is_left_gives_no_more():
    stream = a_run().begin(0)
    stream.leave()
    assert stream.next_event(0) is None


def test_run_without_reader_stands_still_until_its_time_comes():
    run = a_run("message", pace=pace_of(10))
    run.begin(100).leave()
    seen = []
    for tick in range(6):
        run.catch_up(100 + tick / 10 + 0.001)
        seen.append((run.status, len(run.steps())))
    assert seen == [
        ("queued", 0), ("queued", 0), ("in_progress", 0), ("in_progress", 1), ("in_progress", 1), ("in_progress", 1)
    ]  # fmt: skip


@each_row("pace", PACES, ids=lambda pace: pace.name)
def test_clock_and_reader_take_the_same_time(pace: Pace):
    whole = beats(a_run("message", seed=1, pace=pace).begin(0))
    seconds = sum(pace.seconds(beat.delay) for beat in whole[:-2])  # the last is done: the run has ended before
    run = a_run("message", seed=1, pace=pace)
    run.begin(0).leave()
    if seconds:
        run.catch_up(seconds - 0.001)
        assert not run.is_terminal
    run.catch_up(seconds + 0.001)
    assert run.is_terminal


def test_catching_up_in_any_portions_comes_to_the_same():
    ends = []
    for times in ([100.0], [0.0, 0.5, 0.5, 0.3, 2.0, 100.0], [number / 7 for number in range(700)]):
        run = a_run("code", seed=2, pace=REAL)
        run.begin(0).leave()
        for now in times:
            run.catch_up(now)
        ends.append(standing(run))
    assert ends[0][0]["status"] == "completed"
    assert ends == [ends[0]] * 3


def test_times_of_a_run_without_reader_are_those_of_its_story():
    run = a_run("message", pace=REAL)
    run.begin(0).leave()
    run.catch_up(10_000)
    assert run.object()["completed_at"] - AT < 5


# a reader that does not read


def test_reader_has_a_while_before_the_clock_goes_on_without_it():
    run = a_run("code")
    stream = run.begin(0)
    taken = take(stream, 5)
    before = standing(run)
    run.catch_up(LAG - 0.001)
    assert standing(run) == before
    run.catch_up(LAG)
    assert run.is_terminal
    assert folded([*taken, *stream.unread]) == ("completed", ["completed", "completed"])


@each_row("at", [0, 1, 5, 20, 60])
def test_reader_gets_what_the_clock_took_in_order(at: int):
    expected = beats(a_run("code", seed=1).begin(0))
    run = a_run("code", seed=1)
    stream = run.begin(0)
    taken = take(stream, at)
    run.catch_up(LAG)
    assert run.is_terminal
    assert [*taken, *beats(stream, LAG)] == expected


def test_reader_that_comes_back_goes_on_by_itself():
    run = a_run("code", seed=1, pace=pace_of(10))
    stream = run.begin(0)
    taken = take(stream, 3)
    run.catch_up(LAG + 0.5)
    assert len(stream.unread) > 0
    assert not run.is_terminal
    taken += beats(stream, LAG + 0.5)
    assert alike(taken, beats(a_run("code", seed=1).begin(0)))


def test_clock_takes_as_much_as_was_late():
    run = a_run("code", pace=pace_of(10))
    stream = run.begin(0)
    take(stream, 1)
    run.catch_up(LAG + 0.55)
    assert len(stream.unread) == 5


def test_reader_in_time_is_never_overtaken():
    run = a_run("code", pace=REAL)
    stream, now = run.begin(0), 0.0
    while (beat := stream.next_event(now)) is not None:
        now += beat.delay + LAG / 2
        run.catch_up(now)
        assert not stream.unread


# a new stream takes over


def test_new_stream_takes_over_from_an_old_one_that_is_still_read():
    run = a_run()
    old = run.begin(0)
    while run.status != "requires_action":
        take(old, 1)
    new = run.submit(outputs(run), AT, 0)
    assert old.next_event(0) is None
    assert story(beats(new))[-2:] == ["run.completed", "done"]


def test_old_stream_still_gives_what_the_clock_took():
    run = a_run(seed=1)
    old = run.begin(0)
    taken = take(old, 4)
    run.catch_up(LAG)
    new = run.submit(outputs(run), AT, LAG)
    assert alike(taken + beats(old, LAG), beats(a_run(seed=1).begin(0)))
    assert story(beats(new, LAG))[0] == "run.step.completed"


def test_old_stream_that_is_left_late_does_not_stop_the_new_one():
    run = a_run()
    old = run.begin(0)
    beats(old)
    new = run.submit(outputs(run), AT, 0)
    take(new, 2)
    old.leave()
    assert story(beats(new))[-2:] == ["run.completed", "done"]


# answers


def test_submission_moves_the_clock_on():
    run = a_run()
    beats(run.begin(0))
    [first, *_] = decoded([beat.frame for beat in beats(run.submit(outputs(run), AT + 100, 0))])
    assert first[1]["completed_at"] == AT + 100


def test_submission_does_not_move_the_clock_of_a_seeded_run():
    ends = []
    for at in (AT, AT + 100):
        run = a_run(seed=1)
        beats(run.begin(0))
        beats(run.submit(outputs(run), at, 0))
        ends.append(standing(run))
    assert ends[0] == ends[1]


@each_row("count", [0, 1, 3, 10])
def test_run_takes_no_outputs_before_it_asks(count: int):
    run = a_run()
    take(run.begin(0), count)
    with pytest.raises(ValueError, match="expected a run that requires action, got one that is"):
        run.submit({}, 0, 0)


def test_wrong_answers_say_what_was_expected_and_change_nothing():
    run = a_run()
    beats(run.begin(0))
    before = standing(run)
    for answers in ({}, {"call_x": "fog"}, {**outputs(run), "call_x": "fog"}):
        with pytest.raises(ValueError, match=r"expected answers for call_sim1_\d+, call_sim1_\d+; got them for"):
            run.submit(answers, AT, 0)
    assert standing(run) == before


# cancelling


def cancelled(count: int, name: str = "code", *, at: float = AT + 1) -> tuple[Run, list[TimedEvent]]:
    """Return a run that is cancelled after `count` events, and all of its events."""
    run = a_run(name)
    stream = run.begin(0)
    taken = take(stream, count)
    run.cancel(at, 0)
    assert run.status == "cancelling"
    return run, [*taken, *beats(stream)]


def test_stream_of_a_cancelled_run_says_how_it_ends():
    _, taken = cancelled(10)
    assert story(taken)[10:] == ["run.cancelling", "run.step.cancelled", "run.cancelled", "done"]


def test_message_of_a_cancelled_run_is_incomplete():
    _, taken = cancelled(12, "message")
    assert story(taken)[12:] == [
        "run.cancelling", "message.incomplete", "run.step.cancelled", "run.cancelled", "done"
    ]  # fmt: skip
    message = decoded([taken[13].frame])[0][1]
    assert message["incomplete_details"] == {"reason": "run_cancelled"}
    assert message["content"][0]["text"]["value"].startswith("The harbour")


@each_row("name", ["code", "message", "two-steps", "search", "mcp"])
def test_run_can_be_cancelled_at_any_event(name: str):
    whole = next(number for number, beat in enumerate(beats(a_run(name).begin(0))) if beat.frame.event == "done")
    for count in range(whole - 1):
        run, taken = cancelled(count, name)
        assert story(taken)[-2:] == ["run.cancelled", "done"]
        got = accumulate([encode_frame(beat.frame) for beat in taken])
        assert [step["status"] for step in run.steps()] == [step.status for step in got.steps.values()]
        assert not {"in_progress"} & {step.status for step in got.steps.values()}
        assert not {"in_progress"} & {message.status for message in got.messages.values()}


def test_run_is_cancelled_where_nobody_reads_it():
    run = a_run("code")
    run.begin(0).leave()
    run.cancel(AT, 0)
    run.catch_up(0)
    assert run.status == "cancelled"


@each_row(
    "prepare",
    [lambda run: run.cancel(AT, 0), lambda run: run.catch_up(LAG)],
    ids=["cancelled already", "ended"],
)
def test_run_that_ends_cannot_be_cancelled(prepare: Callable[[Run], None]):
    run = a_run("code")
    run.begin(0)
    prepare(run)
    with pytest.raises(ValueError, match="expected a run that can be cancelled, got one that is c"):
        run.cancel(AT, 0)


def test_cancelled_run_has_the_time_of_its_cancelling():
    run, _ = cancelled(10, at=AT + 50)
    assert AT + 50 <= run.object()["cancelled_at"] <= AT + 51


# the story's time


@each_row("name", SHORT)
def test_time_of_a_story_does_not_depend_on_its_pace(name: str):
    slow, fast = (beats(a_run(name, seed=3, pace=pace).begin(0)) for pace in (REAL, FAST))
    assert slow == fast


def test_stamps_of_a_stream_never_run_backwards():
    run = a_run("tool-rounds")
    taken = beats(run.begin(0))
    while run.status == "requires_action":
        taken += beats(run.submit(outputs(run), AT, 0))
    stamps = [
        data.get("completed_at") or data["created_at"]
        for name, data in decoded([beat.frame for beat in taken])
        if name in ("thread.run.step.created", "thread.run.step.completed", "thread.run.completed")
    ]
    assert all(before <= after for before, after in pairwise(stamps))


def test_answer_of_the_helper_fits_the_run():
    run = a_run("mcp")
    beats(run.begin(0))
    given = answer(run.object())["tool_approvals"]
    assert story(beats(run.submit({one["tool_call_id"]: one["approve"] for one in given}, AT, 0)))[-1] == "done"
