"""Dead letters: changes at which a hook failed for good are written down, and delivered again by another run.

`on_failure` gets each failure. One that is final is the letter: the change as a line of JSON, its object included, and
why. A letter is told again with the change that is read back from it, which is equal to the first one.

    python dead_letters.py            read a stream
    python dead_letters.py again      deliver what failed
"""

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import anyio
import httpx

from stepstream import Failure, Processor, RunsClient, RunTransition, StepTransition, decode_change, encode_change

LETTERS = Path("dead_letters.jsonl")


async def post(chat: httpx.AsyncClient, change: StepTransition | RunTransition) -> None:
    body = {"text": f"{change.run_id}: {change.event}", "nonce": change.key}
    (await chat.post(f"/channels/{change.thread_id}/messages", json=body)).raise_for_status()


async def read(letters: IO[str]) -> None:
    client = RunsClient(f"{os.environ['STEPSTREAM_URL']}/v1")
    async with httpx.AsyncClient(base_url=os.environ["CHAT_URL"]) as chat, Processor() as processor:

        @processor.on(StepTransition, RunTransition, terminal=True, attempts=2, backoff=0.01)
        async def tell(change: StepTransition | RunTransition) -> None:
            await post(chat, change)

        @processor.on_failure
        async def keep(failure: Failure) -> None:
            if not failure.is_final:
                return
            for change in failure.changes:
                line = encode_change(change, snapshot=True).decode()
                letters.write(json.dumps({"why": repr(failure.exception), "change": line}) + "\n")
                letters.flush()

        for thread in ("harbour", "ferry"):
            await processor.run(client.stream_run(thread, assistant_id="asst_1"))


async def again(letters: Iterable[str]) -> list[str]:
    """Deliver letters, and return those that still cannot be."""
    left: list[str] = []
    async with httpx.AsyncClient(base_url=os.environ["CHAT_URL"]) as chat:
        for letter in letters:
            change = decode_change(json.loads(letter)["change"].encode())
            assert isinstance(change, StepTransition | RunTransition)
            try:
                await post(chat, change)
            except httpx.HTTPError:
                left.append(letter)
    return left


if sys.argv[1:] == ["again"]:
    LETTERS.write_text("".join(anyio.run(again, LETTERS.read_text().splitlines(keepends=True))))
else:
    with LETTERS.open("a") as file:
        anyio.run(read, file)
