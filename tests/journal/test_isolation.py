"""What becomes of a stream, or of its journal, touches no other; and no run stays open for want of a writer."""

import gc
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel

from stepstream import MemoryJournal, MessageProgress, MessageTransition, Processor, RunTransition, publish
from stepstream.live.journal import Opened
from tests.support.delta_streams import MESSAGE_DELTA, message, run, says, written
from tests.support.journal_contract import everything, stream
from tests.support.journals import run_ids
from tests.support.suspensions import cancelling, quiet


class Slow(MemoryJournal):
    """A journal that takes a moment, as one in a file or in another process does."""

    async def open(self, run_id: str, *, writer: str, after: int = 0) -> Opened:
        await anyio.lowlevel.checkpoint()
        return await super().open(run_id, writer=writer, after=after)

    async def append(self, opened: Opened, held: Any = (), **how: Any) -> None:
        await anyio.lowlevel.checkpoint()
        await super().append(opened, held, **how)


def beginning(number: int) -> list[bytes]:
    ids: Any = {"run_id": f"run_{number}"}
    return [
        written("thread.run.created", run("in_progress", **ids)),
        written("thread.message.created", message("in_progress", f"msg_{number}", **ids)),
        b"".join(written(MESSAGE_DELTA, says(word, f"msg_{number}")) for word in ("Fog", " over", " the", " bay")),
    ]


async def test_streams_side_by_side_write_each_to_its_own_journal():
    journals = [MemoryJournal() for _ in range(4)]
    ends = [anyio.Event() for _ in journals]

    async def source(number: int) -> Any:
        for chunk in beginning(number):
            yield chunk
        await ends[number].wait()
        yield written("thread.run.completed", run("completed", f"run_{number}"))

    async with Processor() as one, Processor() as other:
        handles = []
        for number, journal in enumerate(journals):
            handles.append((one, other)[number % 2].start(source(number), journal=journal))
            await quiet()
        for end, handle in zip(ends, handles, strict=True):
            end.set()
            assert (await handle.outcome()).text == "Fog over the bay"
    for number, journal in enumerate(journals):
        assert await run_ids(journal) == [f"run_{number}"]
        assert (await everything(journal, f"run_{number}"))[-1].last == 7


async def test_publisher_that_is_cancelled_at_any_moment_leaves_no_run_open():
    for moment in count(1):
        journal = Slow()
        with anyio.CancelScope() as scope:
            await cancelling(publish(stream(), journal), scope, moment)
        assert "open" not in [info.status async for info in journal.runs()]
        if not scope.cancel_called:
            break
    assert moment > 5


async def test_follower_that_is_cancelled_at_any_moment_goes_on_where_it_was():
    journal = MemoryJournal()
    await publish(stream(), journal)
    for moment in count(1):
        told, kept = list[int](), list[BaseException]()
        async with Processor() as processor:

            @processor.on(RunTransition, MessageTransition, MessageProgress, buffer=1)
            async def note(change: Any, told: list[int] = told) -> None:
                told.append(change.sequence)

            async def follow(kept: list[BaseException] = kept, processor: Processor = processor) -> None:
                try:
                    await processor.run(journal.follow("run_1"))
                except BaseException as left:
                    kept.append(left)  # its traceback holds what was being read
                    raise

            for _ in range(2):
                with anyio.CancelScope() as scope:
                    await cancelling(follow(), scope, moment)
            kept.clear()
            gc.collect()
            await processor.run(journal.follow("run_1"))
        assert told == sorted(set(told)), moment
        if not scope.cancel_called:
            break
    assert moment > 5
    assert len(told) == 9
