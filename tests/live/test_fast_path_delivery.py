"""Through a processor, deltas that are folded from their bytes reach subscribers as by the plain way."""

import json
from contextlib import suppress
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from stepstream import MessageProgress, Processor, StepProgress, StepStreamError
from stepstream.fold.encoding import KEYS, encode_change
from stepstream.fold.retelling import REPLAYED
from stepstream.live.registration import CLASSES
from tests.support.delta_streams import USUAL, Server, chunked, greeting, opening, run, written
from tests.support.plain_reader import Plain, read, still
from tests.support.run_streams import Audience, SlowAudience, as_far_as_it_came, source, with_pauses

DONE = b"event: done\ndata: [DONE]\n\n"
START = b"".join([written("thread.run.created", run("queued")), *opening(), *greeting()])


def plainly(chunks: list[bytes]) -> list[bytes]:
    """All changes of a stream, by the plain way."""
    return [line[0] for chunk in read(Plain, chunks).heard for line in chunk]


def usual(count: int) -> list[bytes]:
    """Deltas of all texts in turn, each with a piece of its own."""
    kinds = list(USUAL.values())
    return [written(*kinds[number % len(kinds)], b"%d." % number) for number in range(count)]


@settings(max_examples=15, deadline=None, suppress_health_check=[*HealthCheck])
@given(st.integers(0, 2**32), st.integers(0, 60), st.integers(0, 2**32), st.integers(1, 4), st.integers(1, 5))
async def test_subscribers_get_the_changes_of_the_plain_way(
    seed: int, length: int, cuts: int, buffer: int, pauses: int
) -> None:
    chunks = chunked(Server(seed).stream(length), cuts)
    seen, everything, blocking, of_run = [], Audience(), SlowAudience(), Audience()
    async with Processor(clock=still) as processor:
        processor.add(CLASSES, everything, where=lambda change: not seen.append(encode_change(change)))
        processor.add(CLASSES, blocking, buffer=buffer, overflow="block")
        processor.add((StepProgress, MessageProgress), of_run, run_id="run_1")
        with suppress(StepStreamError):
            await processor.run(with_pauses(chunks, pauses))
    expected = plainly(chunks)
    assert seen == expected
    assert everything == blocking
    assert [in_short(change) for change in everything] == [in_short(json.loads(line)) for line in expected]
    assert [in_short(change) for change in of_run] == [
        in_short(line) for line in map(json.loads, expected) if "delta" in line and line["run_id"] == "run_1"
    ]


def in_short(change: Any) -> tuple[str, int]:
    """The class and the ordinal of a change, or of a line that tells of one."""
    if isinstance(change, dict):
        return change["change"], change["sequence"]
    return KEYS[type(change)], change.sequence


def stream_in(form: str, deltas: list[bytes]) -> list[bytes]:
    """The whole stream in one chunk, in one for each block, or in small ones."""
    data = START + b"".join(deltas) + DONE
    if form == "blocks":
        return [START, *deltas, DONE]
    return [data] if form == "whole" else [data[at : at + 100] for at in range(0, len(data), 100)]


each_form = pytest.mark.parametrize("form", ["whole", "blocks", "small"])


@each_form
@pytest.mark.parametrize("buffer", [1, 2, 3])
async def test_slow_subscriber_with_little_room_gets_everything_once(form: str, buffer: int) -> None:
    chunks = stream_in(form, usual(60))
    slow, quick = SlowAudience(), Audience()
    async with Processor(clock=still) as processor:
        subscription = processor.add(CLASSES, slow, buffer=buffer, overflow="block")
        most = []
        processor.add(CLASSES, quick, where=lambda _: most.append(len(subscription._mailbox.queue)) or True)
        await as_far_as_it_came(processor.run(with_pauses(chunks, 3)))
    assert [encode_change(change) for change in slow] == [encode_change(change) for change in quick] == plainly(chunks)
    assert max(most) <= buffer + 3  # what one event does may exceed it


@each_form
async def test_each_subscriber_gets_what_it_asked_for_of_texts_that_grow_in_turn(form: str) -> None:
    chunks, of_steps, of_messages, of_all = stream_in(form, usual(60)), Audience(), Audience(), Audience()
    async with Processor(clock=still) as processor:
        processor.add(StepProgress, of_steps)
        processor.add(MessageProgress, of_messages)
        processor.add((StepProgress, MessageProgress), of_all)
        await processor.run(source(*chunks))
    lines = {kind: [] for kind in ("step_progress", "message_progress")}
    told = [line for line in plainly(chunks) if json.loads(line)["change"] in lines]
    for line in told:
        lines[json.loads(line)["change"]].append(line)
    assert [encode_change(change) for change in of_all] == told
    assert [encode_change(change) for change in of_steps] == lines["step_progress"]
    assert [encode_change(change) for change in of_messages] == lines["message_progress"]


@each_form
@pytest.mark.parametrize("buffer", [1, 2, 7, 40, 256])
async def test_no_more_like_deltas_wait_than_a_buffer_holds(form: str, buffer: int) -> None:
    waiting, many = list[int](), 60 + 2 * buffer
    async with Processor(clock=still) as processor:

        async def look(change: Any) -> None:
            waiting.append(subscription.offered - subscription.delivered)
            if change.sequence % 5 == 0:
                await anyio.lowlevel.checkpoint()

        async def hold(change: Any) -> None:
            await anyio.lowlevel.checkpoint()

        subscription = processor.add((StepProgress, MessageProgress), look, buffer=buffer)
        processor.add((StepProgress, MessageProgress), hold)
        await processor.run(source(*stream_in(form, usual(many))))
    assert subscription.delivered == len(waiting) > many
    assert max(waiting) <= buffer


@each_form
async def test_subscriber_that_closes_at_overflow_does_so_at_one_more_than_its_buffer(form: str) -> None:
    async def stuck(change: StepProgress) -> None:
        await anyio.sleep_forever()

    async with Processor(clock=still) as processor:
        subscription = processor.add(StepProgress, stuck, overflow="close", buffer=9)
        other = processor.add(StepProgress, Audience())
        deltas = [written(*USUAL["arguments"], b"%d." % number) for number in range(60)]
        await processor.run(source(*stream_in(form, deltas)))
    assert (subscription.offered, subscription.is_closed) == (10, True)
    assert other.delivered == other.offered > 60


@each_form
async def test_subscriber_that_a_filter_closes_or_adds_gets_what_came_before_or_comes_after(form: str) -> None:
    closed, added = Audience(), Audience()
    async with Processor(clock=still) as processor:
        first = processor.add(StepProgress, closed)

        def where(change: Any) -> bool:
            if change.sequence == 30:
                first.close()
                processor.add(StepProgress, added)
            return False

        processor.add(StepProgress, Audience(), where=where)
        deltas = [written(*USUAL["arguments"], b"%d." % number) for number in range(60)]
        await processor.run(source(*stream_in(form, deltas)))
    every = [json.loads(line)["sequence"] for line in plainly(stream_in(form, deltas)) if b"step_progress" in line]
    assert first.offered == len([number for number in every if number <= 30])
    assert [change.sequence for change in added] == [number for number in every if number > 30]


@each_form
@pytest.mark.parametrize("moment", [1, 7, 20, 41, 62])
async def test_late_subscriber_misses_nothing_and_gets_nothing_twice(form: str, moment: int) -> None:
    """It comes while the stream waits for room, mostly in the middle of a chunk."""
    chunks = stream_in(form, usual(60))
    gate, late, known = SlowAudience(), Audience(), []
    async with Processor(clock=still) as processor:

        async def come(change: Any) -> None:
            await gate(change)
            if len(gate) == moment:
                known.append(processor.statistics().events)
                processor.add(CLASSES, late, replay=True, buffer=1, overflow="block")

        processor.add((StepProgress, MessageProgress), come, buffer=1, overflow="block")
        await as_far_as_it_came(processor.run(source(*chunks)))
    assert len(known) == 1
    rest = [line for line in plainly(chunks) if json.loads(line)["sequence"] > known[0]]
    assert [encode_change(change) for change in late if change.event != REPLAYED] == rest
    assert known[0] < 70


@each_form
@pytest.mark.parametrize("moment", [1, 2, 6, 11])
async def test_texts_that_are_listened_to_late_are_whole(form: str, moment: int) -> None:
    words = [b"%d." % number for number in range(16)]
    pieces: list[str] = []
    count, listening = SlowAudience(), anyio.Event()
    async with anyio.create_task_group() as tasks, Processor(clock=still) as processor:

        async def listen() -> None:
            async with processor.text_deltas() as texts:
                listening.set()
                pieces.extend([piece async for piece in texts])

        async def come(change: Any) -> None:
            await count(change)
            if len(count) == moment:
                tasks.start_soon(listen)
                await listening.wait()

        processor.add(MessageProgress, come, buffer=1, overflow="block")
        deltas = [written(*USUAL["word"], word) for word in words]
        await as_far_as_it_came(processor.run(source(*stream_in(form, deltas))))
    assert "".join(pieces) == b"".join(words).decode()
    assert len(pieces) > 1
