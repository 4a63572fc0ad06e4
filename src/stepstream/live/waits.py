"""Waits for one thing: a step's status, a run's end, the next piece of text. Each is a subscription with `replay`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from stepstream.errors import WaitAborted
from stepstream.fold.changes import MessageProgress, MessageTransition, RunTransition, StepTransition
from stepstream.live.filters import check_statuses
from stepstream.live.iterating import IteratorMethods
from stepstream.live.options import IteratorOptions
from stepstream.live.text_deltas import TextDeltas
from stepstream.wire.objects import Run, RunStep


class WaitMethods(IteratorMethods):
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
            WaitAborted: the step ended with another status, or the processor was left or stopped before.
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
        raise WaitAborted(f"expected step {step_id} to be {status or 'ended'}, the processor was left or stopped")

    async def wait_for_run(self, run_id: str, *, timeout: float | None = None) -> Run:  # noqa: ASYNC109
        """Return a run as soon as it has ended, with whatever status. It may have already.

        Raises:
            WaitAborted: the processor was left or stopped before.
            TimeoutError: that took longer than `timeout` seconds.
        """
        with anyio.fail_after(timeout):
            async with self.subscribe(RunTransition, run_id=run_id, terminal=True, replay=True) as changes:
                async for change in changes:
                    return change.run
        raise WaitAborted(f"expected run {run_id} to end, the processor was left or stopped")

    @asynccontextmanager
    async def text_deltas(
        self, *, run_id: str | None = None, thread_id: str | None = None
    ) -> AsyncIterator[TextDeltas]:
        """Give the text of messages, of one run or thread if named, as an async iterator of strings.

        The first piece of a message is its text so far, the last one what only its final object has. Joined, its pieces
        are its text; where that is not so, because the text was rewritten on the way, its id is in `rewritten`. Of a
        run all messages are given, and the iterator ends with it; else those that ended before are left out.
        Lossless; it also ends as `subscribe` does.
        """
        filters: IteratorOptions = {"replay": True}
        if run_id is not None:
            filters["run_id"] = run_id
        if thread_id is not None:
            filters["thread_id"] = thread_id
        async with self.subscribe(MessageProgress, MessageTransition, **filters) as changes:
            yield TextDeltas(changes, gives_ended=run_id is not None)
