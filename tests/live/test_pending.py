"""The gate of a mailbox and the count of what is under way: who waits, and who is let through when."""

import anyio
import pytest

from stepstream.live import pending
from stepstream.live.pending import CapacityGate, PendingCount, Turn
from tests.support.suspensions import quiet


async def test_ledger_without_debts_is_settled():
    with anyio.fail_after(60):
        await PendingCount().wait()


async def test_everybody_who_waits_for_a_ledger_is_let_go():
    book, gone = PendingCount(), []
    book.count = 1

    async def wait(number: int) -> None:
        await book.wait()
        gone.append(number)

    async with anyio.create_task_group() as tasks:
        for number in range(3):
            tasks.start_soon(wait, number)
        await quiet()
        assert gone == []
        book.count = 0
        book.wake()
    assert sorted(gone) == [0, 1, 2]


class Line:
    """Tasks that wait for room, and what became of them."""

    def __init__(self, room: CapacityGate, tasks: anyio.abc.TaskGroup) -> None:
        self.gate = room
        self.tasks = tasks
        self.gone: list[int] = []
        self.scopes: list[anyio.CancelScope] = []

    async def join(self, count: int, *, taking: bool = True) -> None:
        for _ in range(count):
            self.scopes.append(anyio.CancelScope())
            self.tasks.start_soon(self._wait, len(self.scopes) - 1, taking)
            await quiet()

    async def _wait(self, number: int, taking: bool) -> None:
        with self.scopes[number]:
            await self.gate.wait()
            self.gone.append(number)
            self.gate.taken += taking

    async def leave(self, count: int = 1) -> None:
        for _ in range(count):
            self.gate.taken -= 1
            self.gate.wake()
        await quiet()


def full(size: int) -> CapacityGate:
    room = CapacityGate(size)
    room.taken = size
    return room


async def test_place_that_becomes_free_lets_the_first_of_the_line_go():
    async with anyio.create_task_group() as tasks:
        line = Line(full(2), tasks)
        await line.join(3)
        assert line.gone == []
        for expected in ([0], [0, 1], [0, 1, 2]):
            await line.leave()
            assert line.gone == expected


@pytest.mark.parametrize(("given", "through"), [(1, 1), (2, 2), (3, 3), (5, 4)])
async def test_places_that_become_free_together_let_as_many_go(given: int, through: int):
    async with anyio.create_task_group() as tasks:
        line = Line(full(5), tasks)
        await line.join(4)
        line.gate.taken -= given
        line.gate.wake(given)
        turns = 4 - len(line.gate.line)
        await quiet()
        assert (turns, sorted(line.gone)) == (through, list(range(through)))
        line.gate.close()


async def test_nobody_goes_while_more_is_held_than_there_are_places():
    async with anyio.create_task_group() as tasks:
        line = Line(full(2), tasks)
        line.gate.taken = 9
        await line.join(3)
        line.gate.taken -= 3
        line.gate.wake(3)
        await quiet()
        assert (line.gone, line.gate.room) == ([], -4)
        line.gate.close()


async def test_place_that_is_not_taken_lets_the_next_go():
    async with anyio.create_task_group() as tasks:
        line = Line(full(1), tasks)
        await line.join(4, taking=False)
        await line.leave()
        assert line.gone == [0, 1, 2, 3]


async def test_room_beyond_its_size_lets_nobody_go():
    room = CapacityGate(1)
    room.taken = 3
    async with anyio.create_task_group() as tasks:
        line = Line(room, tasks)
        await line.join(1)
        await line.leave(2)
        assert line.gone == []
        await line.leave()
        assert line.gone == [0]


@pytest.mark.parametrize("is_woken", [False, True])
async def test_who_is_cancelled_in_the_line_passes_the_turn_on(is_woken: bool):
    async with anyio.create_task_group() as tasks:
        line = Line(full(1), tasks)
        await line.join(3)
        if is_woken:
            line.gate.taken -= 1
            line.gate.wake()
            line.scopes[0].cancel()
            await quiet()
        else:
            line.scopes[0].cancel()
            await quiet()
            await line.leave()
        await quiet()
        assert line.gone == [1] or (is_woken and line.gone == [0])  # a turn that came first may win
        line.gate.close()
    assert len(line.gate.line) == 0


async def test_closed_room_keeps_nobody():
    async with anyio.create_task_group() as tasks:
        line = Line(full(1), tasks)
        await line.join(3)
        line.gate.close()
        await quiet()
        assert sorted(line.gone) == [0, 1, 2]
        await line.join(1)
        assert sorted(line.gone) == [0, 1, 2, 3]


async def test_what_may_be_held_back_brings_its_own_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pending, "MAX_HELD", 2)
    room = CapacityGate(2)
    seen = []
    for _ in range(4):
        room.taken += 1
        room.held += 1
        seen.append((room.counted, room.is_full))
    assert seen == [(0, False), (0, False), (1, False), (2, True)]


@pytest.mark.parametrize("is_cancelled", [False, True], ids=["leaves", "is cancelled"])
async def test_one_task_at_a_time_has_its_turn(is_cancelled: bool):
    turn, within, told = Turn(), list[int](), list[int]()
    scopes, leave = [anyio.CancelScope() for _ in range(4)], [anyio.Event() for _ in range(4)]

    async def take(number: int) -> None:
        with scopes[number]:
            async with turn:
                within.append(number)
                try:
                    await leave[number].wait()
                finally:
                    within.remove(number)
                    told.append(number)

    with anyio.fail_after(60):
        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(take, number)
                await quiet()
            scopes[2].cancel()  # while it waits
            await quiet()
            assert (within, told) == ([0], [])
            for _ in range(3):
                [number] = within
                scopes[number].cancel() if is_cancelled else leave[number].set()
                await quiet()
    assert (told[0], sorted(told)) == (0, [0, 1, 3])
