"""What a reader of a run takes, and what it does not."""

import pytest

from stepstream import JournalGap, MemoryJournal
from stepstream.live.journal import Pack
from stepstream.relay.run_reader import RunReader
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
