"""Runs as a server has stored them."""

from typing import NamedTuple

import httpx

from tests.support.json_values import JSON

THREAD = "/threads/thread_own"


class StoredRun(NamedTuple):
    """What the server says of a run."""

    run: JSON
    steps: list[JSON]
    messages: list[JSON]


async def stored_run(client: httpx.AsyncClient, run_id: str, thread: str = THREAD) -> StoredRun:
    """Ask the server for a run of the thread at that path or URL."""
    run = await client.get(f"{thread}/runs/{run_id}")
    every = {"order": "asc", "limit": "100"}
    steps = await client.get(f"{thread}/runs/{run_id}/steps", params=every)
    messages = await client.get(f"{thread}/messages", params={**every, "run_id": run_id})
    return StoredRun(run.json(), steps.json()["data"], messages.json()["data"])
