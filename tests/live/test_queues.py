"""The schedule of what waits, against a model that looks at everything each time."""

from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from stepstream import Accumulator, StepProgress, StepTransition
from stepstream.fold.changes import Change
from stepstream.live.fifo_queue import Entry, FifoQueue
from stepstream.live.options import Delivery
from stepstream.live.paced_queue import PacedQueue
from stepstream.live.pending import PendingCount
from stepstream.live.queues import queue_for
from tests.support.run_streams import events, grows, opens, run, step
from tests.support.tables import each_row

INTERVAL = 2.0


class Step(NamedTuple):
    name: str
    number: int


STEPS = [Step(f"step_{run}_{place}", run) for run in range(3) for place in range(2)]


def transition(one: Step, status: str = "in_progress") -> Change:
    """The change of a step's status."""
    accumulator = Accumulator()
    name = "created" if status == "in_progress" else status
    (event,) = events([step(name, one.number, step_id=one.name)])
    return next(change for change in accumulator.apply(event) if isinstance(change, StepTransition))


def progress(one: Step) -> Change:
    accumulator = Accumulator()
    sent = [step("created", one.number, step_id=one.name), opens(step_id=one.name), grows("x", step_id=one.name)]
    return [change for event in events(sent) for change in accumulator.apply(event)][-1]


def of_run(number: int) -> Change:
    (event,) = events([run("queued", number)])
    return Accumulator().apply(event)[0]


class Naive:
    """The same as a schedule, slowly: one list, looked through from its beginning."""

    def __init__(self, *, coalesces: bool, min_interval: float, by_run: bool) -> None:
        self.coalesces = coalesces
        self.min_interval = min_interval
        self.by_run = by_run
        self.waiting: list[Entry] = []
        self.called: dict[Any, float] = {}
        self.busy: set[Any] = set()

    def put(self, entry: Entry) -> Entry | None:
        change, replaced = entry[0], None
        ends = bool(self.min_interval) and isinstance(change, StepTransition) and change.terminal
        if self.coalesces and (isinstance(change, StepProgress) or ends):
            replaced = next((one for one in self.waiting if self._is_progress_of(one, change.step_id)), None)
        if replaced is not None:
            self.waiting.remove(replaced)
        self.waiting.append(entry)
        return replaced

    def may_be_next(self, now: float) -> list[Entry]:
        """What may be taken now. Within a run, and of what is not held back, only the first."""
        free: dict[Any, Entry] = {}
        held = [one for one in self.waiting if self._is_held(one, now)]
        for one in self.waiting:
            if one not in held and self.run_of(one) not in self.busy:
                free.setdefault(self.run_of(one), one)
        return list(free.values())

    def older(self, entry: Entry) -> list[Entry]:
        """What waits of its run and came before it."""
        waiting = self.waiting[: next(place for place, one in enumerate(self.waiting) if one is entry)]
        return [one for one in waiting if self.run_of(one) == self.run_of(entry)]

    def run_of(self, entry: Entry) -> str | None:
        return entry[0].run_id if self.by_run else None

    def take(self, entry: Entry, now: float) -> None:
        self.waiting.remove(entry)
        self.busy.add(self.run_of(entry))
        if self.min_interval and isinstance(entry[0], StepProgress | StepTransition):
            self.called[entry[0].step_id] = now + self.min_interval

    def _is_held(self, entry: Entry, now: float) -> bool:
        return isinstance(entry[0], StepProgress) and self.called.get(entry[0].step_id, 0) > now

    def _is_progress_of(self, entry: Entry, step_id: str) -> bool:
        return isinstance(entry[0], StepProgress) and entry[0].step_id == step_id


class Comparison(RuleBasedStateMachine):
    """Whatever comes, is taken and is finished in whatever order, the schedule gives what the model allows."""

    @initialize(coalesces=st.booleans(), is_paced=st.booleans(), by_run=st.booleans())
    def begin(self, coalesces: bool, is_paced: bool, by_run: bool) -> None:
        interval = INTERVAL if is_paced else 0.0
        options: Any = {"coalesces": coalesces or is_paced, "min_interval": interval, "by_run": by_run}
        self.schedule, self.model = PacedQueue(**options), Naive(**options)
        self.now = 0.0
        self.runners: list[Entry] = []
        self.is_paced = is_paced

    def _put(self, change: Change) -> None:
        entry = change, PendingCount()
        assert self.schedule.put(entry) is self.model.put(entry)

    @rule(one=st.sampled_from(STEPS), count=st.sampled_from([1, 1, 3, 70]))
    def grow(self, one: Step, count: int) -> None:
        for _ in range(count):
            self._put(progress(one))

    @rule(one=st.sampled_from(STEPS), status=st.sampled_from(["in_progress", "completed", "failed"]))
    def turn(self, one: Step, status: str) -> None:
        self._put(transition(one, status))

    @rule(number=st.integers(0, 2))
    def turn_run(self, number: int) -> None:
        self._put(of_run(number))

    @rule()
    def take(self) -> None:
        possible = self.model.may_be_next(self.now)
        entry = self.schedule.take(self.now)
        assert (entry is None) == (not possible)
        if entry is not None:
            if not self.is_paced:  # what was held back may come behind what it is older than
                assert any(entry is one for one in possible)
            assert all(isinstance(one[0], StepProgress) for one in self.model.older(entry))
            assert self.model.run_of(entry) not in self.model.busy
            assert not self.model._is_held(entry, self.now)
            self.model.take(entry, self.now)
            self.runners.append(entry)

    @precondition(lambda self: self.runners)
    @rule(place=st.integers(0, 5))
    def finish(self, place: int) -> None:
        entry = self.runners.pop(place % len(self.runners))
        self.schedule.finish(entry)
        self.model.busy.discard(self.model.run_of(entry))

    @precondition(lambda self: self.runners)
    @rule(place=st.integers(0, 5))
    def attempt_again(self, place: int) -> None:
        entry = self.runners[place % len(self.runners)]
        self.schedule.count_call(entry, self.now)
        if self.model.min_interval and isinstance(entry[0], StepProgress | StepTransition):
            self.model.called[entry[0].step_id] = self.now + self.model.min_interval

    @rule(seconds=st.sampled_from([0.5, 1.0, INTERVAL]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: not self.model.may_be_next(self.now) and not self.runners and self.model.waiting)
    @rule()
    def wait_until_due(self) -> None:
        assert self.schedule.take(self.now) is None
        assert self.now < self.schedule.due() <= self.now + INTERVAL
        self.now = self.schedule.due()
        assert self.model.may_be_next(self.now)

    @rule()
    def hurry(self) -> None:
        self.schedule.hurry()
        self.model.min_interval = 0.0
        self.model.called.clear()

    @rule()
    def clear(self) -> None:
        assert {id(one) for one in self.schedule.clear()} == {id(one) for one in self.model.waiting}
        self.model.waiting.clear()
        assert self.schedule.take(self.now) is None

    @invariant()
    def agrees(self) -> None:
        assert len(self.schedule) == len(self.model.waiting)
        for one in self.runners:
            newer = any(isinstance(one[0], StepProgress) and self.model._is_progress_of(it, one[0].step_id)
                        for it in self.model.waiting)  # fmt: skip
            assert self.schedule.has_newer(one) == (newer and self.model.coalesces)

    @invariant()
    def keeps_nothing_but_what_waits(self) -> None:
        assert {id(one) for one in self.schedule} == {id(one) for one in self.model.waiting}
        assert len(list(self.schedule)) == len(self.schedule)
        assert all(self.schedule._ready.values())
        assert len(self.schedule._busy) == len(self.schedule._taken_runs) == len(self.runners)
        assert len(self.schedule._timers) >= len(self.schedule._held)


TestSchedule = Comparison.TestCase
TestSchedule.settings = settings(stateful_step_count=40)


def entries(*changes: Change) -> list[Entry]:
    return [(change, PendingCount()) for change in changes]


def filled(schedule: PacedQueue, *changes: Change) -> list[Entry]:
    made = entries(*changes)
    for one in made:
        schedule.put(one)
    return made


ONE, TWO = STEPS[0], STEPS[1]
OTHER = STEPS[2]


def drained(schedule: PacedQueue, now: float = 0.0) -> list[Any]:
    """What is taken and finished one after another."""
    taken = []
    while (entry := schedule.take(now)) is not None:
        taken.append(entry)
        schedule.finish(entry)
    return taken


def test_newer_progress_takes_the_place_of_what_waits_behind_what_came_meanwhile():
    schedule = PacedQueue(coalesces=True, min_interval=0)
    first, second, third = filled(schedule, progress(ONE), transition(TWO), progress(ONE))
    assert drained(schedule) == [second, third]
    assert first not in drained(schedule)


def test_turn_of_an_entry_that_was_cleared_away_is_free():
    schedule = PacedQueue(coalesces=False, min_interval=0)
    first, _ = filled(schedule, of_run(0), of_run(0))
    assert (schedule.take(0), schedule.take(0)) == (first, None)
    schedule.finish(first)
    schedule.clear()
    (later,) = filled(schedule, progress(ONE))
    assert schedule.take(0) is later


def test_run_of_an_entry_in_hand_stays_busy_when_the_others_are_cleared_away():
    schedule = PacedQueue(coalesces=False, min_interval=0)
    first, _ = filled(schedule, of_run(0), of_run(0))
    schedule.take(0)
    schedule.clear()
    (later,) = filled(schedule, progress(ONE))
    assert schedule.take(0) is None
    schedule.finish(first)
    assert schedule.take(0) is later


def test_progress_in_hand_is_not_replaced():
    schedule = PacedQueue(coalesces=True, min_interval=0)
    first, *_ = filled(schedule, progress(ONE))
    assert schedule.take(0) is first
    (second,) = entries(progress(ONE))
    assert schedule.put(second) is None
    assert schedule.has_newer(first)


def test_transitions_are_never_replaced():
    schedule = PacedQueue(coalesces=True, min_interval=INTERVAL)
    made = filled(schedule, transition(ONE), transition(ONE, "completed"), transition(ONE, "failed"))
    assert drained(schedule) == made


def test_runs_go_side_by_side_and_each_in_order():
    schedule = PacedQueue(coalesces=False, min_interval=0)
    first, second, third = filled(schedule, transition(ONE), transition(TWO), transition(OTHER))
    assert [schedule.take(0), schedule.take(0), schedule.take(0)] == [first, third, None]
    schedule.finish(first)
    assert schedule.take(0) is second


def test_run_whose_object_names_another_run_meanwhile_is_finished_all_the_same():
    accumulator, schedule = Accumulator(), PacedQueue(coalesces=True, min_interval=0)
    sent = [step("created", run_id=None), opens(), step("in_progress")]
    before = [change for event in events(sent[:2]) for change in accumulator.apply(event)]
    (entry,) = filled(schedule, before[-1])
    assert entry[0].run_id is None
    assert schedule.take(0) is entry
    (waiting,) = filled(schedule, of_run(1))
    accumulator.apply(events(sent)[2])
    assert entry[0].run_id == "run_1"
    schedule.finish(entry)
    assert drained(schedule) == [waiting]


def test_progress_that_is_replaced_by_that_of_another_run_leaves_its_own_run_with_nothing_to_take():
    accumulator, schedule = Accumulator(), PacedQueue(coalesces=True, min_interval=0)
    created, opened, grown, named = events([step("created", run_id=None), opens(), grows("x"), step("in_progress")])
    accumulator.apply(created)
    (old,) = filled(schedule, accumulator.apply(opened)[-1])
    accumulator.apply(named)
    (newer,) = entries(accumulator.apply(grown)[-1])
    assert (schedule.put(newer), drained(schedule)) == (old, [newer])


def test_end_of_a_step_takes_the_place_of_progress_that_is_held_back():
    schedule = PacedQueue(coalesces=True, min_interval=INTERVAL)
    filled(schedule, progress(ONE))
    drained(schedule)
    (held,) = filled(schedule, progress(ONE))
    assert (schedule.take(0), schedule.due()) == (None, INTERVAL)
    (end,) = entries(transition(ONE, "completed"))
    assert schedule.put(end) is held
    assert (drained(schedule), len(schedule)) == ([end], 0)


def test_end_of_a_step_takes_the_place_of_nothing_where_nothing_is_paced():
    schedule = PacedQueue(coalesces=True, min_interval=0)
    made = filled(schedule, progress(ONE), transition(ONE, "completed"))
    assert drained(schedule) == made


def test_progress_that_is_held_back_in_its_turn_is_not_called_beside_another_of_its_run():
    schedule = PacedQueue(coalesces=True, min_interval=INTERVAL)
    filled(schedule, progress(ONE))
    drained(schedule)
    before, held = filled(schedule, of_run(0), progress(ONE))
    assert (schedule.take(0), schedule.take(0)) == (before, None)
    schedule.finish(before)
    assert (schedule.take(0), schedule.due()) == (None, INTERVAL)
    (after,) = filled(schedule, of_run(0))
    assert (schedule.take(0), schedule.take(INTERVAL)) == (after, None)
    schedule.finish(after)
    assert schedule.take(INTERVAL) is held


def test_progress_that_is_replaced_in_its_turn_passes_it_on():
    schedule = PacedQueue(coalesces=True, min_interval=0)
    before, _ = filled(schedule, of_run(0), progress(ONE))
    assert (schedule.take(0), schedule.take(0)) == (before, None)
    schedule.finish(before)
    *_, newest = filled(schedule, *(progress(ONE) for _ in range(66)))
    assert drained(schedule) == [newest]


def test_newer_progress_that_is_held_back_comes_behind_what_came_meanwhile():
    schedule = PacedQueue(coalesces=True, min_interval=INTERVAL)
    filled(schedule, progress(ONE))
    drained(schedule)
    (held,) = filled(schedule, progress(ONE))
    assert schedule.take(0) is None
    (meanwhile,) = filled(schedule, of_run(0))
    (newer,) = entries(progress(ONE))
    assert schedule.put(newer) is held
    assert drained(schedule, INTERVAL) == [meanwhile, newer]


def test_call_for_its_step_puts_off_what_is_held_back():
    schedule = PacedQueue(coalesces=True, min_interval=INTERVAL)
    filled(schedule, progress(ONE))
    drained(schedule)
    (held,) = filled(schedule, progress(ONE))
    assert schedule.take(0) is None
    filled(schedule, transition(ONE))
    drained(schedule, 1)
    assert schedule.due() == 1 + INTERVAL
    assert (drained(schedule, INTERVAL), drained(schedule, 1 + INTERVAL)) == ([], [held])


def test_what_is_held_back_is_due_though_another_attempt_came_between():
    schedule = PacedQueue(coalesces=True, min_interval=INTERVAL)
    filled(schedule, progress(ONE))
    drained(schedule)
    (held,) = filled(schedule, progress(ONE))
    assert schedule.take(0) is None
    (other,) = filled(schedule, transition(Step("step_2_0", 2)))
    assert schedule.take(1) is other
    schedule.count_call(other, INTERVAL + 1)  # by then nobody had asked what is due
    assert schedule.due() == INTERVAL
    assert schedule.take(INTERVAL + 1) is held


def test_run_that_many_changes_wait_for_does_not_starve_another():
    schedule = PacedQueue(coalesces=False, min_interval=0)
    first, *_ = filled(schedule, *[of_run(0)] * 100)
    (other,) = filled(schedule, of_run(1))
    assert drained(schedule)[:2] == [first, other]


def test_changes_come_as_they_came_where_all_count_as_of_one_run():
    schedule = PacedQueue(coalesces=True, min_interval=0, by_run=False)
    made = filled(schedule, of_run(0), of_run(0), of_run(1), of_run(0))
    assert drained(schedule) == made


def test_pace_of_many_steps_is_forgotten_where_it_has_passed():
    schedule = PacedQueue(coalesces=True, min_interval=INTERVAL)
    for number in range(100):
        filled(schedule, progress(Step(f"step_{number}", number)))
        drained(schedule, float(number))
    assert len(schedule._next_call) <= 2


def test_pace_of_many_steps_is_forgotten_while_another_step_goes_on():
    schedule = PacedQueue(coalesces=True, min_interval=INTERVAL)
    for number in range(100):
        filled(schedule, transition(ONE), progress(Step(f"step_{number}", number)))
        drained(schedule, float(number))
    assert len(schedule._next_call) <= 3


def test_steps_whose_pace_holds_are_not_forgotten():
    schedule = PacedQueue(coalesces=True, min_interval=INTERVAL)
    for number in range(100):
        filled(schedule, progress(Step(f"step_{number}", number)))
    assert len(drained(schedule)) == 100
    filled(schedule, *(progress(Step(f"step_{number}", number)) for number in range(100)))
    assert (drained(schedule, INTERVAL / 2), len(drained(schedule, INTERVAL))) == ([], 100)


@each_row(
    ("options", "kind"),
    [
        ({}, FifoQueue),
        ({"overflow": "close"}, FifoQueue),
        ({"overflow": "latest"}, PacedQueue),
        ({"min_interval": 1}, PacedQueue),
        ({"concurrency": 2}, PacedQueue),
    ],
)
def test_plain_delivery_has_a_plain_queue(options: dict[str, Any], kind: type):
    assert type(queue_for(Delivery(**options))) is kind


def test_queue_is_a_queue():
    queue = FifoQueue()
    made = entries(transition(ONE), progress(ONE), progress(ONE))
    for one in made:
        queue.put(one)
    assert (len(queue), queue.has_newer(made[1])) == (3, False)
    assert (queue.pop(), queue.take(0), queue.clear()) == (made[0], made[1], made[2:])
    assert (len(queue), queue.take(0)) == (0, None)
    with pytest.raises(IndexError):
        queue.pop()
