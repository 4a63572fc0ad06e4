"""Of those who wait, somebody leads or was called, whatever becomes of them."""

from collections.abc import Callable

import anyio
import pytest

from stepstream.live.pending import Signal
from stepstream.relay.lead import Lead


class Waiter:
    """Leads whenever nobody else does, until it is let go."""

    def __init__(self, lead: Lead) -> None:
        self.lead = lead
        self.turn = Signal()
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
