"""Of those who wait, somebody leads or was called, whatever becomes of them."""

from collections.abc import Callable

import anyio
import pytest

from stepstream.relay.lead import SHARED, Lead, Turn, Turns


class Waiter:
    """Leads whenever nobody else does, until it is let go."""

    def __init__(self, lead: Lead, turn: Turn | None = None) -> None:
        self.lead = lead
        self.turn = turn or Turn()
        self.scope = anyio.CancelScope()
        self.has_something = False
        self.leads = False
        self.may_leave = anyio.Event()
        self.has_left: Callable[[], None] = lambda: None

    async def run(self) -> None:
        with self.scope:
            while not self.has_something:
                if self.lead.is_taken:
                    await self.lead.sleep(self.turn)
                    continue
                with self.lead.taken():
                    self.leads = True
                    try:
                        await self.may_leave.wait()
                    finally:
                        self.leads, self.has_something = False, True
                self.has_left()


@pytest.mark.parametrize("becomes", ["cancelled", "cancelled when it is called", "due", "due when it is called", ""])
async def test_who_is_called_and_does_not_lead_calls_another(becomes: str):
    lead = Lead()
    waiters = [Waiter(lead) for _ in range(4)]
    first, second, *others = waiters

    def become() -> None:
        second.has_something = "due" in becomes
        if "due" in becomes:
            lead.wake(second.turn)
        elif becomes:
            second.scope.cancel()

    async with anyio.create_task_group() as tasks:
        for waiter in waiters:
            tasks.start_soon(waiter.run)
            await anyio.wait_all_tasks_blocked()
        assert ([one.leads for one in waiters], repr(lead)) == ([True, False, False, False], "<Lead taken, 3 asleep>")
        if "called" in becomes:
            first.has_left = become
        else:
            become()
            await anyio.wait_all_tasks_blocked()
        first.may_leave.set()
        await anyio.wait_all_tasks_blocked()
        [leader] = [one for one in waiters if one.leads]
        assert leader in (others if becomes else [second])
        assert lead.left_at <= anyio.current_time()
        tasks.cancel_scope.cancel()
    assert not lead.is_taken


async def test_leader_that_is_cancelled_leaves_it_to_another():
    lead = Lead()
    waiters = [Waiter(lead) for _ in range(2)]
    async with anyio.create_task_group() as tasks:
        for waiter in waiters:
            tasks.start_soon(waiter.run)
            await anyio.wait_all_tasks_blocked()
        waiters[0].scope.cancel()
        await anyio.wait_all_tasks_blocked()
        assert waiters[1].leads
        tasks.cancel_scope.cancel()


@pytest.mark.parametrize("cancelled", [(), (0,), (0, 1), (1, 2), (0, 1, 2)])
async def test_of_those_who_share_a_turn_one_leads_or_of_another_turn(cancelled: tuple[int, ...]):
    lead, shared = Lead(), Turn()
    first, *others = [Waiter(lead), *[Waiter(lead, shared) for _ in range(3)], Waiter(lead)]
    first.has_left = lambda: [others[at].scope.cancel() for at in cancelled] and None
    async with anyio.create_task_group() as tasks:
        for waiter in (first, *others):
            tasks.start_soon(waiter.run)
            await anyio.wait_all_tasks_blocked()
        first.may_leave.set()
        await anyio.wait_all_tasks_blocked()
        [leader] = [one for one in others if one.leads]
        assert leader not in [others[at] for at in cancelled]
        assert repr(lead) == f"<Lead taken, {3 - len(cancelled)} asleep>"
        tasks.cancel_scope.cancel()
    assert repr(lead) == "<Lead free, 0 asleep>"


async def test_those_who_share_a_turn_and_are_cancelled_asleep_leave_the_others_asleep():
    lead, shared = Lead(), Turn()
    waiters = [Waiter(lead), *[Waiter(lead, shared) for _ in range(3)]]
    async with anyio.create_task_group() as tasks:
        for waiter in waiters:
            tasks.start_soon(waiter.run)
            await anyio.wait_all_tasks_blocked()
        for left, waiter in zip((2, 1, 0), waiters[1:], strict=True):
            waiter.scope.cancel()
            await anyio.wait_all_tasks_blocked()
            assert repr(lead) == f"<Lead taken, {left} asleep>"
        tasks.cancel_scope.cancel()


def test_turn_is_shared_by_so_many_and_places_that_are_left_are_taken_again():
    turns = Turns()
    taken = [turns.take() for _ in range(2 * SHARED)]
    assert [taken.count(turn) for turn in turns.all] == [SHARED, SHARED]
    turns.leave(taken[0])
    assert turns.take() is taken[0]
    for turn in taken:
        turns.leave(turn)
    assert turns.all == {}
