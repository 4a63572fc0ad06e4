"""A response whose publisher was killed anywhere: who attaches goes on in its journal, and nothing comes twice."""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import pytest

from stepstream import Accumulator, MemoryJournal, Outcome, Processor, ResponsesClient, StreamTruncated
from stepstream.client import polling
from stepstream.fold.checkpoint import save_run
from stepstream.fold.state import State
from stepstream.journal import Journal
from stepstream.live.journal import BLANK, Checkpoint, Held, Opened, packs_of
from stepstream.live.run_tap import block_of
from stepstream.live.source import ItemDecoder
from stepstream.sources import backoff
from stepstream.wire.ending import ends_stream
from tests.support.breaking_simulator import Server, Wire, breaking
from tests.support.drives import harbour, illegal
from tests.support.journals import NAMED, chunks_of, packs
from tests.support.json_values import JSON
from tests.support.response_drives import contents, driven, truth

SCENARIOS = ("message", "code", "parallel-functions", "mcp", "reasoning", "tool-rounds")
WAYS: Mapping[str, JSON] = {"told again": {"background": True}, "asked for": {}}
"""How a server says again what it said of a response: by its stream, or by what became of it."""

COUNTS = (3, pytest.param(24, marks=pytest.mark.slow))
"""At how many places a process is killed that had come to the last response."""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backoff, "FIRST", 0.001)
    monkeypatch.setattr(polling, "FIRST_DELAY", 0.001)


class Written(NamedTuple):
    """What a process wrote of a run, had it been left whole."""

    run_id: str
    ids: list[str]
    """Its responses."""
    streams: list[bytes]
    blocks: list[bytes]
    """The events of its journal."""
    checkpoints: Mapping[int, bytes]
    """What a checkpoint holds, by the positions at which there may be one."""

    async def cut(self, position: int, checkpoint: int | None, journal: MemoryJournal | None = None) -> MemoryJournal:
        """Return a journal as a process that was killed leaves it: open, with some events, and maybe a checkpoint."""
        journal = journal or MemoryJournal()
        opened = await journal.open(self.run_id, writer="killed")
        for pack in packs_of(opened.fence, 1, [block + BLANK for block in self.blocks[:position]]):
            await journal.append(opened, [pack])
        if checkpoint is not None:
            await journal.append(opened, [Checkpoint(opened.fence, checkpoint, self.checkpoints[checkpoint])])
        return journal


async def written(server: Server, parameters: JSON) -> Written:
    """Drive a run to its end, and return what of it comes into a journal."""
    drive = await driven(server, Wire(), **parameters)
    state, blocks, checkpoints, run_id = State(), list[bytes](), dict[int, bytes](), ""
    for stream in drive.wire.streams:
        fold = Accumulator(state=state)
        fold.translation.continue_run(run_id)
        for frame in ItemDecoder().feed(bytes(stream)):
            for event in fold.translation.feed(frame):
                fold.apply(event)
                blocks += [] if ends_stream(event) else [block_of(event)]
            run_id = next(iter(state.runs))
            checkpoints[len(blocks)] = save_run(fold.stream, run_id)
    ids = state.dialect.runs[run_id].ids
    return Written(run_id, ids, [bytes(stream) for stream in drive.wire.streams], blocks, checkpoints)


class TakenOver(NamedTuple):
    """What a process that attaches came to."""

    outcome: Outcome
    changes: list[Any]


Attach = Callable[[ResponsesClient, Processor, Written], Awaitable[Outcome]]
"""How it attaches."""


async def to_all(client: ResponsesClient, processor: Processor, was: Written) -> Outcome:
    return await client.drive(processor, harbour([]), responses=was.ids, input="How deep is it?")


async def to_the_last(client: ResponsesClient, processor: Processor, was: Written) -> Outcome:
    return await processor.run(client.attach(was.ids[-1], run_id=was.run_id))


async def taken_over(server: Server, journal: Journal, was: Written, attach: Attach = to_all) -> TakenOver:
    async with Processor(strict=True, journal=journal) as processor:
        return await told_to(server, processor, was, attach)


async def told_to(server: Server, processor: Processor, was: Written, attach: Attach) -> TakenOver:
    changes = list[Any]()

    @processor.on(*NAMED)
    async def see(change: Any) -> None:
        changes.append(change)

    return TakenOver(await attach(server.wired_responses(Wire()), processor, was), changes)


async def followed(journal: Journal, run_id: str) -> tuple[Outcome, list[Any]]:
    changes = list[Any]()
    async with Processor(strict=True) as processor:

        @processor.on(*NAMED)
        async def see(change: Any) -> None:
            changes.append(change)

        return await processor.run(journal.follow(run_id)), changes


def keys_of(blocks: Sequence[bytes]) -> list[str]:
    """Return the keys of the changes that events make."""
    fold = Accumulator()
    fold.translation.be_plain()
    frames = ItemDecoder().feed(b"".join(block + BLANK for block in blocks))
    return [change.key for frame in frames for change in fold.apply_frame(frame) if type(change) in NAMED]


async def wrong_with(
    server: Server, was: Written, position: int, checkpoint: int | None, way: str, attach: Attach = to_all
) -> str:
    """Return what is wrong where a process attaches to what another left, empty for nothing."""
    journal = await was.cut(position, checkpoint)
    return await wrong_after(server, was, position, way, journal, await taken_over(server, journal, was, attach))


async def wrong_after(server: Server, was: Written, position: int, way: str, journal: Journal, taken: TakenOver) -> str:
    outcome, changes = taken
    state, (whole, told) = await truth(server, was.ids), await followed(journal, was.run_id)
    [run], [known] = outcome.runs.values(), state.runs.values()
    before, now, every = keys_of(was.blocks[:position]), [one.key for one in changes], keys_of(was.blocks)
    blocks = b"".join([pack.data for pack in await packs(journal, was.run_id)]).removesuffix(BLANK).split(BLANK)
    is_exact = way == "told again"
    found = {
        "another end": (run.status, run.usage) != (known.status, known.usage),
        "not the truth": contents(outcome.steps, outcome.messages) != contents(state.steps, state.messages),
        f"anomalies {[one.code for one in outcome.anomalies]}": outcome.anomalies != [],
        f"told otherwise {Counter(before + now) - Counter(every)}, {Counter(every) - Counter(before + now)}": is_exact
        and before + now != every,
        f"told twice {Counter(before + now) - Counter(every)}": not Counter(before + now) <= Counter(every),
        f"illegal {illegal(told)}": illegal(told) != [],
        "the follower had other keys": [one.key for one in told] != before + now,
        "the follower had another state": (whole.steps, whole.messages, whole.runs)
        != (outcome.steps, outcome.messages, outcome.runs),
        f"the follower had anomalies {[one.code for one in whole.anomalies]}": whole.anomalies != [],
        f"the journal has other events, {len(blocks)} for {len(was.blocks)}": is_exact and blocks != was.blocks,
    }
    return "; ".join(text for text, is_wrong in found.items() if is_wrong)


def places(was: Written) -> Iterator[tuple[int, int | None]]:
    """Yield every place at which a process may be killed: after which event, and the position of its checkpoint."""
    random = Random(was.run_id)
    for position in range(1, len(was.blocks) + 1):
        known = [one for one in was.checkpoints if one <= position]
        yield from ((position, one) for one in {None, *known[-1:], *random.sample(known, min(1, len(known)))})


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_response_of_a_process_that_was_killed_is_gone_on_with(scenario: str, way: str):
    async with breaking(scenario) as server:
        was = await written(server, WAYS[way])
        chosen = Random(scenario).sample([*places(was)], 2)
        wrong = {place: await wrong_with(server, was, *place, way) for place in chosen}
    assert {place: text for place, text in wrong.items() if text} == {}


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("way", WAYS)
async def test_last_response_alone_is_gone_on_with_after_what_the_run_waited_for(way: str, count: int):
    async with breaking("tool-rounds") as server:
        was = await written(server, WAYS[way])
        waited = waited_at(was)[-1]
        chosen = [(at, one) for at, one in places(was) if one is not None and waited <= one]
        chosen += [(at, waited) for at in range(waited, len(was.blocks) + 1)]
        chosen = Random(way).sample(chosen, count)
        wrong = {place: await wrong_with(server, was, *place, way, to_the_last) for place in chosen}
    assert {place: text for place, text in wrong.items() if text} == {}


def waited_at(was: Written) -> list[int]:
    """Return the positions at which the run waited."""
    return [at for at, block in enumerate(was.blocks, 1) if block.startswith(b"event: thread.run.requires_action")]


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("attach", [to_all, to_the_last])
async def test_process_that_knew_how_the_run_waited_goes_on_with_what_another_left(attach: Attach, count: int):
    way = "told again"
    async with breaking("tool-rounds") as server:
        was = await written(server, WAYS[way])
        waited, wrong = waited_at(was)[-1], dict[int, str]()
        for position in Random(way).sample(range(waited + 1, len(was.blocks) + 1), count):
            journal = await was.cut(waited, waited)
            async with Processor(strict=True, journal=journal) as processor:
                before = was._replace(ids=was.ids[:-1])
                await told_to(server, processor, before, to_all_without_tools)
                opened = await journal.open(was.run_id, writer="killed")
                blocks = [block + BLANK for block in was.blocks[waited:position]]
                await journal.append(opened, packs_of(opened.fence, waited + 1, blocks))
                taken = await told_to(server, processor, was, attach)
            wrong[position] = await wrong_after(server, was, position, way, journal, taken)
    assert {place: text for place, text in wrong.items() if text} == {}


async def test_run_that_is_read_again_is_not_said_to_be_interrupted():
    async with breaking("tool-rounds") as server:
        was, journal = await written(server, {}), NotingJournal()
        await was.cut(waited_at(was)[-1] + 3, None, journal)
        await taken_over(server, journal, was)
    assert {*journal.statuses} == {"open", "ended"}


class NotingJournal(MemoryJournal):
    """Notes what is said of its runs."""

    def __init__(self) -> None:
        super().__init__()
        self.statuses: list[str] = []

    async def append(self, opened: Opened, held: Sequence[Held] = (), **said: Any) -> None:
        self.statuses.append(said.get("status", "open"))
        await super().append(opened, held, **said)


@pytest.mark.parametrize("has_journal", [False, True])
@pytest.mark.parametrize("way", WAYS)
async def test_process_whose_last_response_broke_reads_all_of_the_run_again(way: str, has_journal: bool):
    async with breaking("tool-rounds") as server:
        was = await written(server, WAYS[way])
        for events in (1, 3, 6, 20):
            last = was.streams[-1].split(BLANK)[:events]
            async with Processor(strict=True, journal=MemoryJournal() if has_journal else None) as processor:
                before = was._replace(ids=was.ids[:-1])
                first = await told_to(server, processor, before, to_all_without_tools)
                with pytest.raises(StreamTruncated):
                    await processor.run(chunks_of([block + BLANK for block in last]))
                outcome, _ = await told_to(server, processor, was, to_all)
            state = await truth(server, was.ids)
            assert contents(outcome.steps, outcome.messages) == contents(state.steps, state.messages)
            assert (outcome.status, outcome.anomalies) == ("completed", [])
            keys = [one.key for one in first.changes]
            assert len(keys) == len(set(keys))


@pytest.mark.parametrize("way", WAYS)
async def test_response_that_has_ended_is_attached_to_again_and_tells_nothing(way: str):
    async with breaking("code") as server:
        was = await written(server, WAYS[way])
        async with Processor(strict=True) as processor:
            first = await told_to(server, processor, was, to_all)
            count = len(first.changes)
            for _ in range(2):
                again = await told_to(server, processor, was, to_all)
                assert (again.outcome.steps, again.outcome.anomalies) == (first.outcome.steps, [])
    assert (len(first.changes), first.outcome.status) == (count, "completed")


async def to_all_without_tools(client: ResponsesClient, processor: Processor, was: Written) -> Outcome:
    return await client.drive(processor, responses=was.ids, input="How deep is it?")


@pytest.mark.slow
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_response_is_gone_on_with_wherever_its_process_was_killed(scenario: str, way: str):
    async with breaking(scenario) as server:
        was = await written(server, WAYS[way])
        wrong = {place: await wrong_with(server, was, *place, way) for place in places(was)}
    assert {place: text for place, text in wrong.items() if text} == {}
