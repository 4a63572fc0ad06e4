"""The tasks in which callbacks are called: a subscriber has one from its first change on.

Most of those that come and go, as the viewers of a page do, never get a change: they need no task. Whether one has come
is looked at in the next turn of the loop, for all that have subscribed by then; whoever has nothing waiting then is
asleep, and the change that wakes it starts its task (`Signal.call_next`).
"""

from collections.abc import Callable, Iterable
from contextvars import Context, copy_context
from functools import partial

import anyio
from anyio.abc import TaskGroup

from stepstream.live.delivery import CallbackRunner
from stepstream.live.mailbox import Mailbox


async def deliver(mailbox: Mailbox, callback_tasks: set[int]) -> None:
    """Deliver the changes of a mailbox to its callback until the end. `callback_tasks` gets the ids of the tasks."""
    try:
        async with anyio.create_task_group() as runners:
            for _ in range(mailbox.delivery.concurrency - 1):
                runners.start_soon(CallbackRunner(mailbox, callback_tasks).run)
            await CallbackRunner(mailbox, callback_tasks).run()
    finally:
        mailbox.close()


class CallbackTasks:
    """The tasks of one block of a processor. `on_end` is called when one has ended."""

    def __init__(self, on_end: Callable[[], object]) -> None:
        self.ids: set[int] = set()
        """The ids of the tasks in which callbacks are called."""
        self._on_end = on_end
        self._coming: dict[TaskGroup, list[Mailbox]] = {}  # those that are looked at in the next turn of the loop
        self._served: set[Mailbox] = set()  # those, and those that have a task
        self._variables = Context()

    def take_variables(self) -> None:
        """Let tasks have the contextvars of now: those of a callback that adds a subscriber would be kept with it."""
        self._variables = copy_context()

    def serving(self, mailboxes: Iterable[Mailbox]) -> set[Mailbox]:
        """Return those of some mailboxes that have a task."""
        return self._served.intersection(mailboxes)

    def start(self, group: TaskGroup | None, mailbox: Mailbox) -> None:
        """Deliver the changes of a mailbox to its callback, in a task of `group`: None where that is not open yet."""
        if group is None or not mailbox.has_callback:
            return
        self._served.add(mailbox)
        if group not in self._coming:
            self._coming[group] = []
            self._variables.run(group.start_soon, self._begin_all, group)
        self._coming[group].append(mailbox)

    async def _begin_all(self, group: TaskGroup) -> None:
        for mailbox in self._coming.pop(group):
            self._begin(group, mailbox)

    def _begin(self, group: TaskGroup, mailbox: Mailbox) -> None:
        """Start the task of a subscriber for which a change waits, now or as soon as one does."""
        self._served.add(mailbox)
        if len(mailbox.queue):
            self._variables.run(group.start_soon, self._serve, mailbox)
            return
        if mailbox.is_ending:
            self._variables.run(mailbox.close)
        else:
            mailbox.arrived.call_next(partial(self._begin, group, mailbox))
        self._end(mailbox)

    async def _serve(self, mailbox: Mailbox) -> None:
        try:
            await deliver(mailbox, self.ids)
        finally:
            self._end(mailbox)

    def _end(self, mailbox: Mailbox) -> None:
        self._served.discard(mailbox)
        self._on_end()
