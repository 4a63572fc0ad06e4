"""What a processor knows, as bytes and back: another process goes on where it was."""

from typing import Any

import pytest

from stepstream import Accumulator, Processor, StreamTruncated
from stepstream.live.processor_options import ProcessorOptions
from stepstream.live.registration import CLASSES
from tests.support.run_streams import DONE, Audience, play, played, run
from tests.support.tables import each_row

WHOLE = play()


async def changes_of(processor: Processor, sent: list[Any]) -> list[tuple[Any, ...]]:
    audience = Audience()
    processor.add(CLASSES, audience)
    async with processor:
        try:
            await processor.run(played(sent))
        except StreamTruncated:
            assert DONE not in sent
    return [(type(change).__name__, change.event, change.key, getattr(change, "status", "")) for change in audience]


@each_row("place", list(range(len(WHOLE))))
async def test_changes_go_on_where_another_process_stopped(place: int):
    whole, first = await changes_of(Processor(), WHOLE), Processor()
    before = await changes_of(first, WHOLE[:place])
    second = Processor.restore(first.export())
    after = await changes_of(second, WHOLE[place:])
    assert before + after == whole


async def test_snapshots_and_bounds_are_restored():
    first = Processor()
    async with first:
        for number in range(5):
            await first.run(played(play(number)))
        await first.run(played([run("queued", 7), run("requires_action", 7), DONE]))
    second = Processor.restore(first.export(), retain=2, max_open_runs=1, clock=None)
    assert sorted(second.runs) == ["run_3", "run_4", "run_7"]
    assert {one: second.steps[one] for one in second.steps} == {one: first.steps[one] for one in second.steps}
    assert dict(second.messages) == {one: first.messages[one] for one in second.messages}


async def test_an_accumulator_reads_it_too():
    first = Processor()
    await changes_of(first, WHOLE)
    restored = Accumulator.restore(first.export())
    assert (dict(restored.steps), dict(restored.runs)) == (dict(first.steps), dict(first.runs))


@each_row("data", [b"", b"{}", b"no JSON", b'{"stepstream": 99}'])
def test_bytes_of_something_else_are_refused(data: bytes):
    with pytest.raises(ValueError, match="export"):
        Processor.restore(data)


def test_options_are_those_of_a_processor():
    parameters = Processor.__init__.__annotations__
    assert ProcessorOptions.__annotations__ == {name: kind for name, kind in parameters.items() if name != "return"}
