"""Open runs of which nothing is heard are forgotten: which of them, and when."""

from stepstream.fold.idle import IdleRuns
from tests.support.tables import each_row


@each_row(
    ("now", "due"),
    [
        (None, []),
        (99.9, []),
        (100, ["first"]),
        (160, ["first", "second"]),
        (1e9, ["first", "second", "third"]),
    ],
)
def test_runs_are_due_when_nothing_was_heard_for_so_long(now: float | None, due: list[str]):
    idle = IdleRuns(100)
    for key, heard in (("first", 0), ("second", 60), ("third", 90)):
        idle.add(key, heard)
    assert (idle.due(now), len(idle)) == (due, 3 - len(due))
    assert idle.due(now) == []


def test_run_that_is_heard_of_again_waits_anew():
    idle = IdleRuns(100)
    idle.add("first", 0)
    idle.add("second", 10)
    idle.add("first", 50)
    assert (idle.due(120), idle.due(150)) == (["second"], ["first"])


def test_run_that_ended_is_never_due():
    idle = IdleRuns(100)
    idle.add("first", 0)
    idle.remove("first")
    assert idle.due(1_000) == []


def test_restored_run_counts_as_heard_of_when_it_is_looked_at_first():
    idle = IdleRuns(100)
    idle.add("first", None)
    assert (idle.due(5_000), idle.due(5_099), idle.due(5_100)) == ([], [], ["first"])


def test_nothing_is_due_without_a_limit():
    idle = IdleRuns(None)
    idle.add("first", 0)
    assert (idle.due(1e9), len(idle)) == ([], 0)
