"""How a stream ended: what of it the outcome shows."""

import pickle
from threading import Lock

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.outcome import outcome_of
from stepstream.wire.events import Event
from tests.support.json_values import JSON, event
from tests.support.server_events import CODE, MESSAGE, RUN, STEP, call, created, ended, fold, message, run, text
from tests.support.tables import each_row

USED = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}
ASKED = {
    "type": "submit_tool_outputs",
    "submit_tool_outputs": {"tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "sail"}}]},
}


def totals(*events: Event) -> tuple[int | None, int | None, int | None]:
    usage = outcome_of(fold(*events).stream, None).usage
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


def test_outcome_holds_what_the_stream_touched() -> None:
    accumulator = fold(created(), message(), run("completed"))
    outcome = outcome_of(accumulator.stream, "ended")
    assert (list(outcome.steps), list(outcome.messages), list(outcome.runs)) == ([STEP], [MESSAGE], [RUN])
    assert (outcome.final_steps, outcome.final_messages) == (
        [accumulator.steps[STEP]],
        [accumulator.messages[MESSAGE]],
    )
    assert (outcome.final_run, outcome.events, outcome.reconciled) == (accumulator.runs[RUN], 3, False)


def test_outcome_of_an_empty_stream_has_no_run() -> None:
    outcome = outcome_of(Accumulator().stream, None)
    assert (outcome.final_run, outcome.required_action, repr(outcome)) == (
        None,
        None,
        "<Outcome broken, run unknown: 0 events, 0 steps, 0 runs, 0 messages, 0 anomalies>",
    )


def test_outcome_says_what_became_of_the_newest_run_and_what_was_written() -> None:
    written = [message(), message("completed", text("fog"), as_="completed"), message(id="msg_own", role="user")]
    outcome = outcome_of(fold(run("in_progress"), *written, run("failed")).stream, "ended")
    assert (outcome.status, outcome.run, outcome.text) == ("failed", outcome.final_run, "fog")
    assert repr(outcome).startswith("<Outcome ended, run failed: 5 events")
    nothing = outcome_of(Accumulator().stream, None)
    assert (nothing.status, nothing.run, nothing.text) == (None, None, "")


def test_outcome_does_not_change_with_its_stream() -> None:
    accumulator = fold(created())
    outcome = outcome_of(accumulator.stream, None)
    accumulator.apply(ended(call("call_a", CODE)))
    assert (outcome.steps[STEP].status, outcome.events) == ("in_progress", 1)


def test_outcome_shows_what_the_newest_waiting_run_asks_for() -> None:
    outcome = outcome_of(fold(run("requires_action", required_action=ASKED)).stream, "ended")
    assert outcome.required_action is not None
    assert [one.id for one in outcome.required_action.tool_calls] == ["call_a"]


@each_row(
    ("of_run", "of_step", "found"),
    [
        (USED, None, (1, 2, 3)),
        (None, USED, (1, 2, 3)),
        (USED, {"total_tokens": 50}, (1, 2, 3)),
        (None, {"prompt_tokens": None, "total_tokens": 5}, (0, 0, 5)),
        (None, None, (0, 0, 0)),
    ],
)
def test_usage_is_that_of_the_run_and_else_of_its_steps(
    of_run: JSON | None, of_step: JSON | None, found: object
) -> None:
    assert totals(created(), ended(usage=of_step), run("completed", usage=of_run)) == found


def test_usage_of_runs_adds_up() -> None:
    other = event("thread.run.completed", {"id": "run_other", "status": "completed", "usage": USED})
    assert totals(run("completed", usage=USED), other) == (2, 4, 6)


def test_outcome_is_pickled_without_contexts() -> None:
    accumulator = Accumulator(context=Lock())
    for one in (created(), created(), message(), run("completed")):
        accumulator.apply(one)
    outcome = outcome_of(accumulator.stream, "ended")
    got = pickle.loads(pickle.dumps(outcome))
    assert [(one.code, one.context) for one in got.anomalies] == [("duplicate_created", None)]
    assert (got.steps, got.messages, got.runs, repr(got)) == (
        outcome.steps, outcome.messages, outcome.runs, repr(outcome)
    )  # fmt: skip


def test_views_of_an_accumulator_are_pickled_as_values() -> None:
    accumulator = fold(created(), message(), run("completed"))
    for view in (accumulator.steps, accumulator.runs, accumulator.messages):
        assert pickle.loads(pickle.dumps(view)) == dict(view)
