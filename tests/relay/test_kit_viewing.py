"""Viewers of kits through a relay: merged deltas, cut connections, slow clients, a writer that goes away."""

import random
from typing import Any

import anyio
import pytest

from stepstream import FrameDecoder, MemoryJournal, Relay, RunInterrupted
from stepstream.dialects.canonical import frame_of_event
from stepstream.relay.forms.registry import FORMS
from tests.relay.test_kit_forms import READERS, held_by_server, order
from tests.support.fed_forms import fed_of
from tests.support.kit_readers import AgUiReader, AiSdkReader
from tests.support.published_runs import PublishedRun, events_of
from tests.support.schedules import try_each
from tests.support.virtual_time import anyio_backend

__all__ = ["anyio_backend"]

STREAMS = [("ferry", "ferry-answer"), ("sums",), ("archive",), ("tides",)]
PAUSES = [0, 0.001, 0.02, 0.1, 1]


class Schedule:
    """A run that is published while viewers come, are cut off, and come back."""

    def __init__(self, form: str, seed: int) -> None:
        self.form = form
        self.chance = random.Random(f"{form} {seed}")
        self.journal = MemoryJournal()
        self.run = PublishedRun(self.journal, *events_of(*self.chance.choice(STREAMS)))
        self.relay = Relay(self.journal, coalesce=self.chance.choice([0, 0.04, 0.5]))
        self.expected = held_by_server(FORMS[form], fed_of(map(frame_of_event, self.run.events))[-1].state)
        self.readers: list[AgUiReader | AiSdkReader] = []

    async def publish(self) -> None:
        while not self.run.is_whole:
            await self.run.append(self.chance.choice([1, 1, 2, 5, 20]))
            await anyio.sleep(self.chance.choice(PAUSES))

    async def view(self) -> None:
        await anyio.sleep(self.chance.choice([*PAUSES, 3]))
        while True:
            reader, decoder = READERS[self.form](), FrameDecoder()
            is_cut = False
            async with self.relay.frames(self.run.run_id, form=self.form) as frames:
                try:
                    async for piece in frames:
                        for frame in decoder.feed(piece):
                            if frame.data != b"[DONE]":
                                reader.read(frame)
                        is_cut = self.chance.random() < 0.1
                        if is_cut:
                            break
                        await anyio.sleep(self.chance.choice(PAUSES))
                except RunInterrupted:
                    is_cut = True
            if not is_cut and reader.end == self.expected.end:
                self.readers.append(reader)
                return

    async def go(self) -> None:
        await self.run.open()
        with anyio.fail_after(3_600):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.publish)
                for _ in range(5):
                    tasks.start_soon(self.view)
        for reader in self.readers:
            assert order(reader.held) == order(self.expected)
            assert reader.held._replace(calls={}) == self.expected._replace(calls={})


async def run_schedules(form: str, seeds: range) -> None:
    await try_each(seeds, lambda seed: Schedule(form, seed).go())


@pytest.mark.parametrize("form", READERS)
async def test_viewers_hold_what_the_server_does(form: str):
    await run_schedules(form, range(8))


@pytest.mark.slow
@pytest.mark.parametrize("form", READERS)
async def test_viewers_hold_what_the_server_does_in_150_schedules(form: str, anyio_backend: Any):
    await run_schedules(form, range(8, 158))
