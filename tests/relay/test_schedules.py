"""Whatever happens to a run and its viewers: each ends with what the server has, every transition once, in order."""

import random
from contextlib import suppress
from typing import Any

import anyio
import pytest

from stepstream import MemoryJournal, Relay, RunInterrupted
from stepstream.relay.frames import Frames
from tests.support.published_runs import PublishedRun, events_of
from tests.support.relay_clients import CLIENTS, WITH_CURSOR, Client, known_at_end
from tests.support.schedules import try_each
from tests.support.virtual_time import anyio_backend

__all__ = ["anyio_backend"]

STREAMS = [("ferry", "ferry-answer"), ("sums",), ("archive",), ("tides",)]
COMPLETED = [("ferry", "ferry-answer"), ("sums",), ("tides",)]
"""Those whose end a kit tells from an interruption."""

PAUSES = [0, 0, 0, 0.001, 0.02, 0.1, 1]


class Schedule:
    """A run that is published while viewers come, go and come back, and while relays and writers are replaced."""

    def __init__(self, form: str, seed: int) -> None:
        self.form = form
        self.chance = random.Random(f"{form} {seed}")
        kept = self.chance.choice([2_000, 10_000, 2**20])  # a checkpoint stands for what is gone
        self.journal = MemoryJournal(max_run_bytes=kept)
        self.keeps_little = kept < 2**20
        self.checkpoints = {2_000: 1.0, 10_000: 0.5, 2**20: 0.1}[kept]
        names = self.chance.choice(STREAMS if form in WITH_CURSOR else COMPLETED)
        self.run = PublishedRun(self.journal, *events_of(*names))
        self.clients: list[Client] = []
        self.relay = self.new_relay()

    def new_relay(self) -> Relay:
        return Relay(self.journal, coalesce=self.chance.choice([0, 0.04, 0.5]))

    async def pause(self) -> None:
        await anyio.sleep(self.chance.choice(PAUSES))

    async def publish(self) -> None:
        while not self.run.is_whole:
            await self.run.append(self.chance.choice([1, 1, 1, 2, 5] if self.keeps_little else [1, 1, 2, 5, 20]))
            if self.run.is_whole:
                return
            if self.chance.random() < self.checkpoints or (self.keeps_little and self.run.unsaved > 3_000):
                await self.run.checkpoint()
            act = self.chance.random()
            if act < 0.1:
                await self.run.open(self.chance.choice(["a", "b"]))
            elif act < 0.2:
                relay, self.relay = self.relay, self.new_relay()
                await relay.drain(0)
            await self.pause()

    async def view(self) -> None:
        """Watch the run to its end, cut off here and there."""
        await anyio.sleep(self.chance.choice([*PAUSES, 3]))
        client = CLIENTS[self.form]()
        self.clients.append(client)
        while not client.is_done:
            client.connect()
            frames = self.relay.frames(self.run.run_id, form=self.form, last_event_id=client.last_event_id)
            async with frames:
                if not frames.has_more:
                    return
                with suppress(RunInterrupted):  # raised where a form cannot say so
                    await self.read(client, frames)
            client.check(self.run.changes)
            await self.pause()

    async def read(self, client: Client, frames: Frames) -> None:
        """Read until the end, or until the connection breaks."""
        async for piece in frames:
            if self.chance.random() < 0.2:
                client.feed(piece[: self.chance.randrange(len(piece) + 1)])
                return
            client.feed(piece)
            await self.pause()

    async def go(self) -> None:
        await self.run.open()
        with anyio.fail_after(3_600):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self.publish)
                for _ in range(6):
                    tasks.start_soon(self.view)
        for client in self.clients:
            client.check(self.run.changes)
            assert client.position == self.run.position
            assert client.known == known_at_end(self.form, self.run.server, self.run.run_id)


async def run_schedules(form: str, seeds: range) -> None:
    await try_each(seeds, lambda seed: Schedule(form, seed).go())


@pytest.mark.parametrize("form", CLIENTS)
async def test_viewers_have_what_the_server_has(form: str):
    await run_schedules(form, range(12))


@pytest.mark.slow
@pytest.mark.parametrize("form", CLIENTS)
async def test_viewers_have_what_the_server_has_in_208_schedules(form: str, anyio_backend: Any):
    await run_schedules(form, range(12, 220))
