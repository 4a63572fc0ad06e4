"""The relay that is told to stop while somebody watches: it sends them elsewhere, and ends."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import anyio
import httpx

from stepstream import RedisJournal, publish
from stepstream.journal.redis.embedded import free_port
from tests.recipes.test_recipes import RECIPES
from tests.support.valkey import until, valkey

RECIPE = "relay_process"
WITHIN = 20


async def waiting_run() -> AsyncIterator[bytes]:
    for name, status in (("created", "queued"), ("requires_action", "requires_action")):
        data = json.dumps({"id": "run_1", "object": "thread.run", "status": status})
        yield f"event: thread.run.{name}\ndata: {data}\n\n".encode()
    yield b"event: done\ndata: [DONE]\n\n"


async def published(url: str) -> None:
    async with RedisJournal(url) as journal:
        await publish(waiting_run(), journal)


@contextmanager
def relay(url: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the recipe in a process of its own, until it ends or is killed."""
    command = [sys.executable, "-W", "error", "-m", "uvicorn", f"{RECIPE}:app", "--port", str(port)]
    environment = {**os.environ, "JOURNAL_URL": url}
    folder = Path(RECIPES[RECIPE]).parent
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE) as running:
        try:
            yield running
        finally:
            running.kill()


def answers(client: httpx.Client) -> bool:
    with suppress(httpx.TransportError):
        return client.get("/runs/run_1").status_code == 200
    return False


def test_relay_that_is_told_to_stop_sends_its_viewers_elsewhere_and_ends():
    port, seen = free_port(), b""
    with valkey() as server, relay(server.url, port) as running:
        anyio.run(published, server.url)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=WITHIN) as client:
            until(lambda: answers(client))
            with client.stream("GET", "/runs/run_1/events") as response:
                for piece in response.iter_raw():
                    seen += piece
                    if piece.startswith(b"event: thread.run.") or b"\nevent: thread.run." in piece:
                        running.send_signal(signal.SIGTERM)
        _, logged = running.communicate(timeout=WITHIN)
    assert seen.endswith(b'event: stepstream.interrupted\ndata: {"reason":"shutdown"}\n\n')
    assert b"Application shutdown complete" in logged
    assert b"Traceback" not in logged
