"""What deltas may add to one run is bounded: what counts, what is dropped, and what comes through nevertheless."""

from typing import Any

from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Anomaly, Change
from stepstream.fold.export import load_into
from stepstream.fold.state import State
from tests.support.run_streams import Sent, call, events, grows, message, opens, run, says, step

BEGIN: tuple[Sent, ...] = (run("in_progress"), step("created"))


def folded(limit: int, *sent: Sent) -> tuple[Accumulator, list[Change]]:
    accumulator = Accumulator(state=State(max_run_bytes=limit))
    return accumulator, [change for one in events(sent) for change in accumulator.apply(one)]


def codes(changes: list[Change]) -> list[str]:
    return [change.code for change in changes if isinstance(change, Anomaly)]


def test_deltas_beyond_the_bound_are_dropped_with_one_anomaly():
    accumulator, changes = folded(1_000, *BEGIN, opens(), *[grows("x" * 300)] * 9)
    [step_1] = accumulator.steps.values()
    [held] = step_1.tool_calls
    assert codes(changes) == ["run_overflow"]
    assert 600 <= len(held.function.arguments) <= 1_000


def test_message_of_a_run_that_is_counted_is_counted_too():
    accumulator, changes = folded(
        1_000, *BEGIN, opens(), grows("x" * 800), message("created"), says("y" * 100), says("y" * 300)
    )
    [text] = [one.text for one in accumulator.messages.values()]
    assert (codes(changes), text) == (["run_overflow"], "y" * 100)


def test_terminal_object_counts_nevertheless():
    whole = step("completed", calls=[call(1, "z" * 5_000)])
    accumulator, changes = folded(1_000, *BEGIN, opens(), *[grows("x" * 600)] * 3, whole)
    [step_1] = accumulator.steps.values()
    [held] = step_1.tool_calls
    assert (codes(changes), held.function.arguments) == (["run_overflow"], "z" * 5_000)


def test_run_that_was_restored_with_much_in_it_is_counted():
    first, _ = folded(10_000, *BEGIN, opens(), grows("x" * 900))
    second = Accumulator(state=State(max_run_bytes=1_000))
    load_into(second.stream, second.translation, first.export())
    changes: list[Any] = [change for one in events([grows("x" * 300)] * 2) for change in second.apply(one)]
    assert codes(changes) == ["run_overflow"]


def test_bound_of_one_run_leaves_others_alone():
    _, changes = folded(
        1_000,
        *BEGIN,
        opens(),
        grows("x" * 900),
        run("in_progress", 2),
        step("created", 2),
        opens(2),
        grows("y" * 900, 2),
    )
    assert codes(changes) == []
