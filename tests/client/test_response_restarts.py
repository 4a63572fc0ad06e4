"""A bot over responses that is killed in any round: what comes after it goes on with the same run."""

from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from stepstream import (
    MemoryJournal,
    Outcome,
    Processor,
    ResponsesClient,
    RunTransition,
    StepTransition,
    Toolbox,
    ToolContext,
)
from stepstream.simulator.scenario import Answer, FunctionCall, FunctionCalls, Scenario
from tests.support.breaking_simulator import WITHIN, Server, Wire, breaking
from tests.support.json_values import JSON
from tests.support.tables import each_row

TWO_ROUNDS = Scenario(
    summary="two rounds of calls",
    acts=(
        *(FunctionCalls(calls=(FunctionCall("book_berth", f'{{"place": "N{n}"}}'),)) for n in range(2)),
        Answer(parts=("All berths are booked.",)),
    ),
)

ASKED: JSON = {"input": "Book two berths.", "background": True}


class Bot:
    """What outlives the process: the ids that were written down, the bookings, and the keys that were seen."""

    def __init__(self, server: Server) -> None:
        self.wire = Wire()
        self.client: ResponsesClient = server.wired_responses(self.wire)
        self.ids = list[str]()
        self.booked = list[str]()
        self.keys = list[str]()
        self.calls = list[tuple[str | None, str]]()
        self.dies_in: str | None = None  # the place whose booking is not survived, once
        self.journal: MemoryJournal | None = None

    async def run(self, responses: Sequence[str] = (), *, dies_at: int | None = None, **parameters: Any) -> Outcome:
        """Drive the run. With `dies_at`, the process is killed once so many responses were named."""
        tools = Toolbox()

        @tools.function
        async def book_berth(place: str, asked: ToolContext) -> bool:
            self.calls.append((asked.run_id, asked.call_id))
            if place == self.dies_in:
                self.dies_in = None
                killed.cancel()
                await anyio.lowlevel.checkpoint()
            self.booked.append(place)
            return True

        async def note(response_id: str) -> None:
            self.ids.append(response_id)
            if len(self.ids) == dies_at:
                killed.cancel()
                await anyio.lowlevel.checkpoint()

        with anyio.fail_after(WITHIN), anyio.CancelScope() as killed:
            async with Processor(strict=True, journal=self.journal) as processor:

                @processor.on(RunTransition, StepTransition)
                async def see(change: Any) -> None:
                    self.keys.append(change.key)

                return await self.client.drive(
                    processor, tools, responses=responses, on_response=note, **{**ASKED, **parameters}
                )
        raise InterruptedError


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@each_row(
    ("dies_at", "way"),
    [(at, way) for at in (1, 2, 3) for way in ({}, {"background": False}, {"conversation": "conv_own"})],
)
async def test_run_that_was_killed_in_a_round_goes_on_with_its_keys_and_calls_no_tool_twice(dies_at: int, way: JSON):
    async with breaking(TWO_ROUNDS) as server:
        bot = Bot(server)
        with pytest.raises(InterruptedError):
            await bot.run(dies_at=dies_at, **way)
        known, before = list(bot.ids), set(bot.keys)
        assert len(known) == dies_at
        bot.keys.clear()
        outcome = await bot.run(known, **way)
        assert (outcome.status, outcome.text) == ("completed", "All berths are booked.")
        assert bot.booked == ["N0", "N1"]
        assert len(bot.wire.posts("/responses")) == len(bot.ids) == 3
        restarted = list(bot.keys)
        bot.keys.clear()
        await bot.run(bot.ids, **way)
    assert before <= set(restarted) == set(bot.keys)
    assert len(restarted) == len(set(restarted))


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@each_row(
    ("dies_at", "way"),
    [(at, way) for at in (1, 2, 3) for way in ({}, {"background": False}, {"conversation": "conv_own"})],
)
async def test_run_that_was_killed_goes_on_in_its_journal_and_tells_what_that_has_not(dies_at: int, way: JSON):
    async with breaking(TWO_ROUNDS) as server:
        bot = Bot(server)
        journal = bot.journal = MemoryJournal()
        with pytest.raises(InterruptedError):
            await bot.run(dies_at=dies_at, **way)
        outcome = await bot.run(list(bot.ids), **way)
    assert (outcome.status, outcome.text, bot.booked) == ("completed", "All berths are booked.", ["N0", "N1"])
    assert len(outcome.steps) == 3
    told = list[str]()
    async with Processor() as processor:

        @processor.on(RunTransition, StepTransition)
        async def see(change: Any) -> None:
            told.append(change.key)

        followed = await processor.run(journal.follow(bot.ids[0]))
    assert (told, followed.steps) == (bot.keys, outcome.steps)
    assert len(told) == len(set(told))


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("background", [False, True])
async def test_response_that_is_known_to_wait_is_attached_to_and_tells_nothing_again(background: bool):
    async with breaking(TWO_ROUNDS) as server:
        client = Bot(server).client
        async with Processor() as processor:
            waiting = await processor.run(client.stream(input="Book two berths.", background=background))
            told = list[str]()

            @processor.on(RunTransition, StepTransition)
            async def see(change: Any) -> None:
                told.append(change.key)

            again = await processor.run(client.attach(next(iter(waiting.runs))))
    assert (again.status, again.required_action) == ("requires_action", waiting.required_action)
    assert (again.steps, told) == (waiting.steps, [])


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_call_that_was_not_survived_is_made_again_under_the_ids_that_it_had():
    async with breaking(TWO_ROUNDS) as server:
        bot = Bot(server)
        bot.dies_in = "N1"
        with pytest.raises(InterruptedError):
            await bot.run()
        outcome = await bot.run(list(bot.ids))
    assert (outcome.text, bot.booked) == ("All berths are booked.", ["N0", "N1"])
    first, killed, again = bot.calls
    assert killed == again
    assert first[0] == killed[0] == bot.ids[0]


async def test_run_that_was_read_whole_has_the_keys_that_it_had_when_it_was_driven():
    async with breaking(TWO_ROUNDS) as server:
        bot = Bot(server)
        await bot.run()
        driven = list(bot.keys)
        bot.keys.clear()
        await bot.run(bot.ids)
    assert bot.keys == driven
    assert bot.booked == ["N0", "N1"]


async def test_response_of_a_conversation_is_attached_to_as_a_part_of_its_run():
    async with breaking(TWO_ROUNDS) as server:
        bot = Bot(server)
        await bot.run(conversation="conv_own")
        async with Processor() as processor:
            first, *_ = bot.ids
            for response_id in bot.ids:
                outcome = await processor.run(bot.client.attach(response_id, run_id=first))
    assert (outcome.run.id if outcome.run else None, outcome.status) == (first, "completed")


async def test_responses_are_several_ids():
    async with Processor() as processor:
        client: Any = ResponsesClient("http://peer")
        with pytest.raises(TypeError, match="a list of ids"):
            await client.drive(processor, responses="resp_1")
        with pytest.raises(ValueError, match="id"):
            await client.drive(processor, responses=[".."])
