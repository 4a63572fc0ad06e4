"""Runs that workers share: published, worked on, and what is told of them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio

from stepstream import Processor, RedisJournal, RunTransition, StepTransition, Workers, publish
from stepstream.fold.changes import Change
from stepstream.journal.claiming import Claim
from stepstream.workers.dead_letters import DeadLetter, read
from tests.support.delta_streams import message, run, says, step, written
from tests.support.valkey import ValkeyProcess, fresh_namespace

SOON = 60.0
"""Seconds that nothing here takes, unless it hangs."""

TRANSITIONS: Any = (StepTransition, RunTransition)

DONE = b"event: done\ndata: [DONE]\n\n"


def run_events(run_id: str = "run_1", *, words: int = 2) -> list[bytes]:
    """Return the events of a run with a message and a step, without the one that ends it: 5 and one a word."""
    message_id, step_id = f"msg_{run_id}", f"step_{run_id}"
    return [
        written("thread.run.created", run("queued", run_id)),
        written("thread.run.in_progress", run("in_progress", run_id)),
        written("thread.run.step.created", step("in_progress", step_id, run_id=run_id)),
        written("thread.message.created", message("in_progress", message_id, run_id=run_id)),
        *[written("thread.message.delta", says(f"{word} ", message_id)) for word in range(words)],
        written("thread.run.step.completed", step("completed", step_id, run_id=run_id)),
    ]


def run_end(run_id: str = "run_1") -> bytes:
    return written("thread.run.completed", run("completed", run_id))


def approval(run_id: str = "run_1") -> bytes:
    call = {"id": "call_1", "type": "function", "function": {"name": "sail", "arguments": "{}"}}
    action = {"type": "submit_tool_outputs", "submit_tool_outputs": {"tool_calls": [call]}}
    return written("thread.run.requires_action", run("requires_action", run_id, required_action=action))


def whole_run(run_id: str = "run_1", *, words: int = 2) -> list[bytes]:
    return [*run_events(run_id, words=words), run_end(run_id), DONE]


async def blocks_of(blocks: Sequence[bytes]) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


async def published(journal: RedisJournal, *run_ids: str, words: int = 2) -> None:
    for run_id in run_ids:
        await publish(blocks_of(whole_run(run_id, words=words)), journal)


@asynccontextmanager
async def journal_on(server: ValkeyProcess, **options: Any) -> AsyncIterator[RedisJournal]:
    options = {"namespace": fresh_namespace(), "partitions": 2, **options}
    with anyio.fail_after(3 * SOON):
        async with RedisJournal(server.url, **options) as journal:
            yield journal


@asynccontextmanager
async def at_work(journal: RedisJournal, processor: Processor | None = None, **options: Any) -> AsyncIterator[Workers]:
    """Let workers run in the block: it is left as a process is that stops."""
    options = {"group": "bots", "lease": 5.0, **options}
    async with (
        processor or Processor() as one,
        Workers(journal, **options) as workers,
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(workers.run, one)
        yield workers
        tasks.cancel_scope.cancel()


async def until(is_so: Callable[[], object]) -> None:
    """Return when something is so that a server has a part in."""
    with anyio.fail_after(SOON):
        while not is_so():  # noqa: ASYNC110 - the other side is another process: nothing here is notified
            await anyio.sleep(0.005)


class Noting:
    """A subscriber that notes what it gets, and takes a while, or fails, where it is told to."""

    def __init__(self, meanwhile: Callable[[Any], Any] | None = None) -> None:
        self.changes: list[Change] = []
        self.cancelled: list[str] = []
        self._meanwhile = meanwhile

    async def __call__(self, change: Change) -> None:
        self.changes.append(change)
        try:
            if self._meanwhile is not None and (waits := self._meanwhile(change)) is not None:
                await waits
        except anyio.get_cancelled_exc_class():
            self.cancelled.append(change.key)
            raise

    @property
    def keys(self) -> list[str]:
        return [change.key for change in self.changes]

    def of(self, run_id: str) -> list[str]:
        """Return what changed of a run, in order."""
        return [key.removeprefix(f"{run_id}/") for key in self.keys if key.startswith(f"{run_id}/")]


async def claimed(journal: RedisJournal, worker: str, *, group: str = "bots", lease: float = 60, **options: Any) -> Any:
    """Return the claims of all that is due, made for a worker that says nothing more."""
    found: list[Claim] = []
    for part in journal.claims(group).parts:
        found += await part.claim(worker, lease, options.get("count", 100), options.get("max_takeovers", 5))
    return found


async def dead_letters(journal: RedisJournal, group: str = "bots") -> list[DeadLetter]:
    return sorted(map(read, await journal.claims(group).letters()), key=lambda one: (one.run_id, one.position))


async def claimed_once(part: Any, worker: str, *, lease: float = 0.05, max_takeovers: int = 5) -> Claim:
    """Return the claim of what is due next, as soon as it is."""
    with anyio.fail_after(SOON):
        while not (found := await part.claim(worker, lease, 1, max_takeovers)):  # noqa: ASYNC110 - see `until`
            await anyio.sleep(0.005)
    return found[0]
