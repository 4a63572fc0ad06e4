"""What every journal must do: one class of tests, for ours and for those that others write.

class TestOurs(JournalContract):
    @asynccontextmanager
    async def made(self): yield MemoryJournal()
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

import anyio
import pytest

from stepstream import JournalConflict, JournalGap, Outcome, Processor, RunInterrupted, publish
from stepstream.journal import Journal, RunInfo
from stepstream.live.journal import Checkpoint, Held, Opened, Pack
from tests.support.delta_streams import greeting, message, run, says, written
from tests.support.suspensions import observed, quiet

BLOCKS = [
    written("thread.run.created", run("queued")),
    written("thread.run.in_progress", run("in_progress")),
    *greeting(),
    *[written("thread.message.delta", says(word)) for word in ("Fog", " over", " the", " bay")],
    written("thread.message.completed", message("completed", text="Fog over the bay")),
    written("thread.run.completed", run("completed")),
]
DONE = b"event: done\ndata: [DONE]\n\n"
SOON = 60.0
"""Seconds that nothing here takes, unless it hangs."""


async def stream(blocks: Sequence[bytes] = (*BLOCKS, DONE)) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


async def everything(journal: Journal, run_id: str = "run_1", after: int = 0) -> list[Held]:
    return [held async for held in journal.read(run_id, after=after)]


async def told_of(journal: Journal, run_id: str = "run_1") -> RunInfo:
    [info] = [info async for info in journal.runs(run_id)]
    return info


def pack(opened: Opened, first: int, count: int = 1) -> Pack:
    return Pack(opened.fence, first, count, b"".join(BLOCKS[first - 1 : first - 1 + count]))


class JournalContract:
    """To be derived from, with `made`: an async context manager that gives an empty journal."""

    moments = range(1, 40)
    """The suspensions of a follower at which an event is added."""

    def made(self) -> AbstractAsyncContextManager[Any]:
        raise LookupError("the class of the journal gives one")

    async def test_what_is_published_is_followed_to_its_end(self):
        async with self.made() as journal:
            published = await publish(stream(), journal)
            async with Processor() as processor:
                followed = await processor.run(journal.follow("run_1"))
        assert (followed.reason, followed.text, followed.status) == ("ended", "Fog over the bay", "completed")
        assert (followed.runs, followed.messages) == (published.runs, published.messages)

    async def test_run_is_followed_while_it_is_published(self):
        outcomes: list[Outcome] = []
        send, receive = anyio.create_memory_object_stream[bytes](99)

        async def follow(journal: Journal) -> None:
            async with Processor() as processor:
                outcomes.append(await processor.run(journal.follow("run_1")))

        async with self.made() as journal, anyio.create_task_group() as tasks:
            tasks.start_soon(follow, journal)
            tasks.start_soon(publish, receive, journal)
            for block in [*BLOCKS, DONE]:
                await send.send(block)
                await quiet()
            send.close()
        assert [outcome.text for outcome in outcomes] == ["Fog over the bay"]

    async def test_fence_rises_with_every_opening_and_the_older_writer_is_refused(self):
        async with self.made() as journal:
            older = await journal.open("run_1", writer="a")
            await journal.append(older, [pack(older, 1)])
            newer = await journal.open("run_1", writer="b")
            assert (newer.fence > older.fence, newer.position) == (True, 1)
            for held in ([], [pack(older, 2)]):
                with pytest.raises(JournalConflict):
                    await journal.append(older, held)
            await journal.append(newer, [pack(newer, 2)])
            assert (await told_of(journal)).position == 2
            assert [held.fence for held in await everything(journal)] == [older.fence, newer.fence]

    async def test_opening_gives_what_there_is_after_what_is_known(self):
        async with self.made() as journal:
            first = await journal.open("run_1", writer="a")
            await journal.append(first, [pack(first, 1, 3)])
            await journal.append(first, [pack(first, 4, 2)])
            again = await journal.open("run_1", writer="b", after=3)
            assert [held.last async for held in again.held] == [5]

    async def test_what_is_there_already_is_not_added_again(self):
        async with self.made() as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1, 2)])
            await journal.append(opened, [pack(opened, 1, 2), pack(opened, 3)])
            await journal.append(opened, [pack(opened, 2, 4)])
            held = await everything(journal)
        data = b"".join(one.after(last).data for one, last in zip(held, [0, *(one.last for one in held)], strict=False))
        assert data == b"".join(BLOCKS[:5])

    async def test_reading_begins_no_later_than_asked_for(self):
        async with self.made() as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1, 2), pack(opened, 3, 2)])
            found = [(held.first, held.last) for held in await everything(journal, after=2)]
            assert found[-1] == (3, 4)
            assert await everything(journal, after=4) == []
            assert await everything(journal, "run_nobody_knows") == []

    async def test_checkpoint_is_kept_beside_the_events(self):
        async with self.made() as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1, 2), Checkpoint(opened.fence, 2, b"{}"), pack(opened, 3)])
            assert [held.last for held in await everything(journal) if isinstance(held, Pack)][-1] == 3

    async def test_state_is_read_from_the_newest_checkpoint_where_one_is_kept(self):
        async with self.made() as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1, 2), pack(opened, 3, 2)])
            await journal.append(opened, [Checkpoint(opened.fence, 4, b"{}"), pack(opened, 5)])
            kept = await journal.checkpoint("run_1")
            assert kept in (None, Checkpoint(opened.fence, 4, b"{}"))
            for after, up_to in ((0, 4), (0, 9), (3, 4), (0, 3), (4, 9)):
                found = [held async for held in journal.read_shortest("run_1", after=after, up_to=up_to)]
                if kept is not None and after < kept.last <= up_to:
                    assert found[0] == kept
                    assert [_numbers(held) for held in found[1:]] == [range(5, 6)]
                else:
                    assert found == await everything(journal, after=after)
            again = await journal.open("run_1", writer="b")
            types = [type(held) async for held in again.held]
            assert types[0] is (Pack if kept is None else Checkpoint)
            assert await journal.checkpoint("run_nobody_knows") is None

    async def test_runs_are_told_with_what_became_of_them(self):
        async with self.made() as journal:
            for number, status in enumerate(("open", "waiting", "ended", "interrupted"), 1):
                opened = await journal.open(f"run_{number}", writer="a")
                await journal.append(opened, [Pack(opened.fence, 1, 1, BLOCKS[0])], status=status, error="x")
            infos = [info async for info in journal.runs()]
        assert [(info.id, info.status, info.position) for info in infos] == [
            ("run_1", "open", 1), ("run_2", "waiting", 1), ("run_3", "ended", 1), ("run_4", "interrupted", 1),
        ]  # fmt: skip
        assert [info.ended is None for info in infos] == [True, True, False, False]
        assert all(info.opened <= (info.ended or info.opened) and info.silence >= 0 for info in infos)

    async def test_who_watches_sees_the_runs_there_are_and_each_that_begins_or_ends(self):
        async with self.made() as journal:
            opened = await journal.open("run_1", writer="a")
            async with journal.watch() as news:
                with anyio.fail_after(SOON):
                    assert (await anext(news)).id == "run_1"
                    with anyio.move_on_after(0):  # a wait that is cancelled loses nothing
                        await anext(news)
                    await journal.append(opened, [pack(opened, 1)], status="ended")
                    assert (await anext(news)).status == "ended"
                    await journal.open("run_2", writer="a")
                    assert (await anext(news)).id == "run_2"

    async def test_who_watches_one_run_sees_each_event_and_no_other_run(self):
        async with self.made() as journal, journal.watch("run_1") as news:
            await journal.open("run_2", writer="a")
            opened = await journal.open("run_1", writer="a")
            with anyio.fail_after(SOON):
                assert (await anext(news)).position == 0
                for position in (1, 2):
                    await journal.append(opened, [pack(opened, position)])
                    assert (await anext(news)).position == position

    async def test_follower_is_told_that_the_stream_broke_and_goes_on_later(self):
        async with self.made() as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1, 6)], status="interrupted", error="no more bytes")
            async with Processor() as processor:
                with pytest.raises(RunInterrupted, match="no more bytes"):
                    await processor.run(journal.follow("run_1"))
                again = await journal.open("run_1", writer="b")
                await journal.append(again, [pack(again, 7, 3)], status="ended")
                outcome = await processor.run(journal.follow("run_1", after=6))
        assert outcome.text == "Fog over the bay"

    async def test_event_that_never_was_is_a_gap(self):
        async with self.made() as journal:
            opened = await journal.open("run_1", writer="a")
            await journal.append(opened, [pack(opened, 1, 3)], status="ended")
            for after in (4, f"{opened.fence + 1}.2"):
                async with Processor() as processor:
                    with pytest.raises(JournalGap):
                        await processor.run(journal.follow("run_1", after=after))

    async def test_event_added_at_any_moment_of_a_follower_comes_once(self):
        for moment in self.moments:
            async with self.made() as journal:
                opened = await journal.open("run_1", writer="a")
                left = list(range(1, len(BLOCKS) + 1))

                async def add(journal: Journal, opened: Opened, position: int) -> None:
                    status = "ended" if position == len(BLOCKS) else "open"
                    await journal.append(opened, [pack(opened, position)], status=status)

                async def follow(journal: Journal) -> list[int]:
                    async with journal.follow("run_1") as pieces:
                        return [number async for piece in pieces for number in _numbers(piece.held)]

                async with anyio.create_task_group() as tasks:

                    def suspending(count: int, tasks: Any = tasks, **now: Any) -> None:
                        if count == moment and left:  # noqa: B023
                            tasks.start_soon(add, journal, opened, left.pop(0))  # noqa: B023

                    async def rest() -> None:
                        await quiet()
                        while left:  # noqa: B023
                            await add(journal, opened, left.pop(0))  # noqa: B023

                    with anyio.fail_after(SOON):
                        await add(journal, opened, left.pop(0))
                        tasks.start_soon(rest)
                        got = await observed(follow(journal), suspending)
            assert got == list(range(1, len(BLOCKS) + 1))


def _numbers(held: Held) -> range:
    return range(held.first, held.last + 1) if isinstance(held, Pack) else range(0)
