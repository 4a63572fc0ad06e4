"""What a reader of a run takes, and what it does not."""

from collections.abc import AsyncIterator

import pytest

from stepstream import JournalFailed, JournalGap, MemoryJournal
from stepstream.journal.joining import in_larger
from stepstream.live.journal import Checkpoint, Held, Pack, given
from stepstream.relay.run_reader import AT_ONCE, Pieces, RunReader
from tests.support.journal_contract import BLOCKS


def event(fence: int, number: int) -> Pack:
    return Pack(fence, number, 1, BLOCKS[number - 1])


def test_events_of_a_later_writer_follow_those_of_an_earlier_one_and_not_the_other_way_round():
    reader = RunReader(MemoryJournal(), "run_1")
    reader.skip(event(1, 1))
    assert [told.position for told in reader.fold(event(2, 2))] == [2]
    with pytest.raises(JournalGap, match="earlier writer"):
        list(reader.fold(event(1, 3)))
    with pytest.raises(JournalGap, match="next, got 4"):
        reader.skip(event(2, 4))


async def test_small_packs_that_follow_each_other_are_joined_and_nothing_else_is():
    large = BLOCKS[5].replace(b"data: ", b"data: " + b" " * AT_ONCE)
    checkpoint = Checkpoint(2, 4, b"")
    pieces = [event(1, 1), event(1, 2), event(2, 3), event(2, 4), checkpoint, event(2, 5), Pack(2, 6, 1, large)]
    found = [held async for held in in_larger(given([*pieces, event(2, 7), event(2, 9)]), AT_ONCE)]
    assert found == [
        Pack(1, 1, 2, *BLOCKS[:2]), Pack(2, 3, 2, *BLOCKS[2:4]), checkpoint, event(2, 5), Pack(2, 6, 1, large),
        event(2, 7), event(2, 9),
    ]  # fmt: skip


async def test_packs_are_joined_up_to_some_bytes():
    packs = [Pack(1, number, 1, BLOCKS[0].ljust(AT_ONCE // 3, b" ")) for number in range(1, 12)]
    assert [held.count async for held in in_larger(given(packs), AT_ONCE) if isinstance(held, Pack)] == [4, 4, 3]


@pytest.mark.parametrize("error", [JournalGap, JournalFailed])
async def test_what_was_read_before_an_error_is_given_before_it(error: type[Exception]):
    """Who reads on after a gap meets it again, unless a checkpoint stands there by then."""

    async def broken(*before: Pack) -> AsyncIterator[Held]:
        for pack in before:
            yield pack
        raise error("gone")

    found = in_larger(broken(event(1, 1), event(1, 2)), AT_ONCE)
    assert await anext(found) == Pack(1, 1, 2, *BLOCKS[:2])
    with pytest.raises(StopAsyncIteration if error is JournalGap else JournalFailed):
        await anext(found)
    with pytest.raises(error, match="gone"):
        await anext(in_larger(broken(), AT_ONCE))


async def test_packs_are_joined_as_long_as_they_may_be():
    journal = MemoryJournal()
    opened = await journal.open("run_1", writer="writer")
    await journal.append(opened, [event(opened.fence, number) for number in range(1, 6)])
    pieces = Pieces(journal, "run_1")
    first = await pieces.next(0)
    pieces.may_join = True
    assert [first, await pieces.next(1)] == [
        event(opened.fence, 1),
        event(opened.fence, 2),
    ]  # of a reading begun before
    await pieces.close()
    assert await pieces.next(2) == Pack(opened.fence, 3, 3, *BLOCKS[2:5])
    await pieces.close()
    assert await pieces.next(1) == Pack(opened.fence, 2, 4, *BLOCKS[1:5])
    pieces.may_join = False
    assert await pieces.next(3) == event(opened.fence, 4)
    await pieces.close()
