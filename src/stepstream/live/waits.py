"""Waits for one thing: a step's status, a run's end, the next piece of text. Each is a subscription with `replay`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import anyio

from stepstream.errors import WaitAborted
from stepstream.fold.changes import MessageProgress, MessageTransition, RunTransition, StepTransition
from stepstream.fold.retelling import REPLAYED
from stepstream.live.filters import check_statuses
from stepstream.live.options import IteratorOptions
from stepstream.live.subscriptions import Changes, SubscriptionMethods
from stepstream.wire.deltas import ContentDelta
from stepstream.wire.objects import Run, RunStep


class WaitMethods(SubscriptionMethods):
    """The methods of a processor that wait for one thing."""

    async def wait_for_step(
        self,
        step_id: str,
        *,
        status: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
    ) -> RunStep:
        """Return a step as soon as it has that status, or, where none is given, has ended. It may have ended before.

        A step that its run left open, or that is not remembered any more, is waited for until `timeout`.

        Raises:
            WaitAborted: the step ended with another status, or the processor was left before.
            ValueError: no step has that status.
            TimeoutError: that took longer than `timeout` seconds.
            RuntimeError: the processor is closed.
        """
        if status is not None:
            check_statuses((StepTransition,), (status,))
        with anyio.fail_after(timeout):
            async with self.subscribe(StepTransition, step_id=step_id, replay=True) as changes:
                async for change in changes:
                    if change.status == status or (status is None and change.terminal):
                        return change.step
                    if change.terminal:
                        raise WaitAborted(f"expected step {step_id} to be {status}, it ended as {change.status}")
        raise WaitAborted(f"expected step {step_id} to be {status or 'ended'}, the processor was left before")

    async def wait_for_run(self, run_id: str, *, timeout: float | None = None) -> Run:  # noqa: ASYNC109
        """Return a run as soon as it has ended, with whatever status. It may have already.

        Raises:
            WaitAborted: the processor was left before.
            TimeoutError: that took longer than `timeout` seconds.
        """
        with anyio.fail_after(timeout):
            async with self.subscribe(RunTransition, run_id=run_id, terminal=True, replay=True) as changes:
                async for change in changes:
                    return change.run
        raise WaitAborted(f"expected run {run_id} to end, the processor was left before")

    @asynccontextmanager
    async def text_deltas(
        self, *, run_id: str | None = None, thread_id: str | None = None
    ) -> AsyncIterator["TextDeltas"]:
        """Give the text of messages, of one run or thread if named, as an async iterator of strings.

        Joined, the pieces of a message are its text, however it came. The first piece of a message that is being
        written is the text so far. Messages that ended before are left out. Lossless; it ends as `subscribe` does.
        """
        filters: IteratorOptions = {"replay": True}
        if run_id is not None:
            filters["run_id"] = run_id
        if thread_id is not None:
            filters["thread_id"] = thread_id
        async with self.subscribe(MessageProgress, MessageTransition, **filters) as changes:
            yield TextDeltas(changes)


class TextDeltas:
    """Pieces of text, as they come."""

    def __init__(self, changes: Changes[MessageProgress | MessageTransition]) -> None:
        self._changes = changes
        self._given: dict[str, int] = {}  # how many characters were given of each message that has not ended
        self._ahead: set[str] = set()  # messages given from a snapshot, which may hold what queued deltas bring too

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        while True:
            piece = self._piece_of(await anext(self._changes))  # no change is kept while the next one is waited for
            if piece:
                return piece

    def _piece_of(self, change: MessageProgress | MessageTransition) -> str:
        piece = self._added(change) if isinstance(change, MessageProgress) else self._rest(change)
        if piece:
            self._given[change.message_id] = self._given.get(change.message_id, 0) + len(piece)
        if isinstance(change, MessageTransition) and change.terminal:
            self._ended(change.message_id)
        return piece

    def _added(self, change: MessageProgress) -> str:
        if change.late or change.event == REPLAYED:
            return ""
        if change.delta is None:
            self._ahead.add(change.message_id)  # a full object added something, without saying where
        if change.message_id in self._ahead:
            return change.message.text[self._given.get(change.message_id, 0) :]
        parts = (change.delta.content or ()) if change.delta else ()
        return "".join(part.text.value or "" for part in parts if isinstance(part, ContentDelta) and part.text)

    def _rest(self, change: MessageTransition) -> str:
        """Return the text beyond the deltas: full objects may bring some, and deltas of a broken stream were lost."""
        if change.terminal and change.event == REPLAYED:
            return ""
        if change.terminal or change.previous is None:
            return change.message.text[self._given.get(change.message_id, 0) :]
        return ""

    def _ended(self, message_id: str) -> None:
        self._given.pop(message_id, None)
        self._ahead.discard(message_id)
