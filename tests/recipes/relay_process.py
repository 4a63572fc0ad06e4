"""A relay in a process of its own, any number of which serve the runs of one journal: `uvicorn relay_process:app`.

A server that is told to stop waits for its answers to end before it leaves the lifespan, and those of a relay end with
their runs, if ever. So the relay is told of the signal itself: it sends its viewers elsewhere at once, with what they
need to go on, and the server stops. Where no signal comes (`uvicorn --reload`), `--timeout-graceful-shutdown 5` is less
polite and does as well: the streams break, and browsers come back by themselves.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.routing import Mount

from stepstream import RedisJournal, Relay

journal = RedisJournal(os.environ["JOURNAL_URL"])
relay = Relay(journal)  # this machine only, until it has authorize=


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[None]:
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    of_server: Any = signal.getsignal(signal.SIGTERM)

    def stop(*signalled: Any) -> None:
        loop.call_soon_threadsafe(told.set)
        of_server(*signalled)

    async def drain() -> None:
        await told.wait()
        await relay.drain()

    signal.signal(signal.SIGTERM, stop)
    async with journal, asyncio.TaskGroup() as tasks:
        draining = tasks.create_task(drain())
        yield
        draining.cancel()


app = Starlette(lifespan=lifespan, routes=[Mount("/runs", relay)])
