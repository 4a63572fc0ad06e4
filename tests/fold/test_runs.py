from functools import partial

from stepstream.fold.changes import RunTransition
from stepstream.wire.events import Event
from tests.support.json_values import event
from tests.support.server_events import (
    RUN,
    asking,
    codes,
    fold,
    last_changes_of,
    names,
    run,
    transitions_of,
)
from tests.support.tables import each_row

ENDS = ["completed", "failed", "cancelled", "expired", "incomplete"]
ON_THE_WAY = ["queued", "in_progress", "requires_action", "cancelling"]


transitions = partial(transitions_of, RunTransition)


def test_first_sight_is_a_transition_from_nothing() -> None:
    assert transitions(run("queued", as_="created")) == [(None, "queued", False)]


def test_same_status_is_no_transition() -> None:
    assert transitions(run("queued", as_="created"), run("queued")) == [(None, "queued", False)]


def test_whole_life_is_a_transition_for_each_status() -> None:
    life = [
        run("queued", as_="created"),
        run("queued"),
        *map(run, ["in_progress", "requires_action", "queued", "completed"]),
    ]
    assert transitions(*life) == [
        (None, "queued", False),
        ("queued", "in_progress", False),
        ("in_progress", "requires_action", False),
        ("requires_action", "queued", False),
        ("queued", "completed", True),
    ]


@each_row("end", ENDS)
def test_end_is_a_terminal_transition(end: str) -> None:
    assert transitions(run("in_progress"), run(end))[1:] == [("in_progress", end, True)]


@each_row("status", [*ON_THE_WAY, "meditating"])
def test_other_statuses_are_no_terminal_transition(status: str) -> None:
    assert transitions(run(status, as_="created")) == [(None, status, False)]


def test_missing_status_comes_from_the_event() -> None:
    assert transitions(event("thread.run.failed", {"id": RUN})) == [(None, "failed", True)]


def test_created_without_status_is_queued() -> None:
    assert transitions(event("thread.run.created", {"id": RUN})) == [(None, "queued", False)]


def test_event_made_by_hand_takes_its_status_from_its_name() -> None:
    bare = event("thread.run.cancelling", {"id": RUN}).data
    made = Event("thread.run.cancelling", bare)
    assert transitions(made) == [(None, "cancelling", False)]


def test_newest_object_wins() -> None:
    newest = run("in_progress", model="b")
    assert fold(run("in_progress", model="a", usage=None), newest).runs[RUN] == newest.data


def test_transition_carries_the_object() -> None:
    newest = run("in_progress", model="b")
    assert last_changes_of(run("queued"), newest)[0].run == newest.data


def test_created_again_on_resume_is_no_anomaly() -> None:
    assert codes(fold(run("queued", as_="created"), asking(), run("queued", as_="created"))) == []


def test_runs_come_in_order_of_first_sight() -> None:
    assert list(fold(run("queued", "b"), run("queued", "a"), run("in_progress", "b")).runs) == ["b", "a"]


# Event and status


@each_row("status", [*ENDS, *ON_THE_WAY, "meditating"])
def test_created_names_no_status(status: str) -> None:
    assert codes(fold(run(status, as_="created"))) == []


@each_row("name", [*ENDS, *ON_THE_WAY])
def test_event_that_agrees_with_the_status_is_no_anomaly(name: str) -> None:
    assert codes(fold(run(name))) == []


@each_row(
    ("name", "status"),
    [("completed", "incomplete"), ("in_progress", "queued"), ("queued", "meditating"), ("failed", "completed")],
)
def test_event_that_disagrees_is_a_mismatch_and_the_object_is_kept(name: str, status: str) -> None:
    events = run("in_progress", as_="created"), run(status, as_=name)
    assert (names(last_changes_of(*events)), fold(*events).runs[RUN].status) == (
        ["status_mismatch", "RunTransition"],
        status,
    )


def test_mismatch_ends_a_run_by_its_status_only() -> None:
    assert transitions(run("in_progress", as_="completed"), run("completed")) == [
        (None, "in_progress", False),
        ("in_progress", "completed", True),
    ]


# After the end

AFTER: dict[str, tuple[Event, list[str]]] = {
    "same": (run("completed", model="a"), ["duplicate_terminal"]),
    "same_in_another_event": (run("completed", as_="failed", model="a"), ["duplicate_terminal"]),
    "other_end": (run("failed", model="a"), ["conflicting_terminal"]),
    "other_end_by_status": (run("expired", as_="completed", model="a"), ["conflicting_terminal"]),
    "created": (run("queued", as_="created"), ["status_regression"]),
    "in_progress": (run("in_progress"), ["status_regression"]),
    "in_progress_by_status": (run("in_progress", as_="completed"), ["status_regression"]),
    "requires_action": (asking({"id": "call_a"}), ["status_regression"]),
    "unknown_status": (run("meditating", as_="in_progress"), ["status_regression"]),
}


@each_row(("event", "expected"), AFTER.values(), ids=AFTER)
def test_object_after_the_end_is_one_anomaly(event: Event, expected: list[str]) -> None:
    assert names(last_changes_of(run("in_progress"), run("completed", model="a"), event)) == expected


@each_row("event", [case[0] for case in AFTER.values()], ids=AFTER)
def test_ended_run_stays_ended(event: Event) -> None:
    end = run("completed", model="a")
    assert fold(run("in_progress"), end, event).runs[RUN] == end.data


def test_newer_object_of_the_same_end_wins() -> None:
    newest = run("completed", model="b", usage={"total_tokens": 3})
    events = run("completed", model="a"), newest
    assert (last_changes_of(*events), fold(*events).runs[RUN]) == ([], newest.data)


def test_run_that_ends_says_so_once() -> None:
    assert [ends for _, _, ends in transitions(*[run("completed", model=model) for model in "abc"])] == [True]
