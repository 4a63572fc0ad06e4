"""What tasks wait for: room at a subscriber, a subscriber that has caught up, the next notification, a turn.

All state changes are synchronous; only what waits awaits. So counting and waking never interleave with another task,
and need no lock. A `Turn` is one, for those who await in between.
"""

from collections import deque
from collections.abc import Callable
from contextvars import Context, copy_context
from typing import Any, Final, NamedTuple, Protocol

import anyio

from stepstream.live.leases import Holding

MAX_HELD: Final = 50_000
"""So many changes that may be held back are not counted."""


class ChangeOrigin(Protocol):
    """A stream, as those know it that have its changes."""

    has_woken: bool
    """Whether a subscriber slept until a change of the stream came."""
    lease: Holding | None
    """How long its changes may be delivered; None: for ever."""

    def lose(self, change: Any) -> None:
        """Record that a subscriber was closed before it had dealt with a change."""


class PendingCount:
    """How many changes of one stream one subscriber has not had. In whatever order they are delivered, all count.

    `variables` are the contextvars that calls for these changes see: without, those of now.
    """

    __slots__ = ("_caught_up", "count", "lease", "stream", "variables")

    def __init__(self, stream: ChangeOrigin | None = None, variables: Context | None = None) -> None:
        self.count = 0
        self.variables = copy_context() if variables is None else variables
        self.stream = stream
        """Gets `has_woken` set when a change wakes the subscriber."""
        self.lease = None if stream is None else stream.lease
        """How long they may be delivered."""
        self._caught_up: anyio.Event | None = None

    def wake(self) -> None:
        """Wake the tasks in `wait`, now that the count is zero."""
        if self._caught_up is not None:
            self._caught_up.set()

    async def wait(self) -> None:
        """Return when the subscriber has had every change counted so far."""
        if self.count:
            self._caught_up = self._caught_up or anyio.Event()
            await self._caught_up.wait()


class CapacityGate:
    """Room for `size` changes at one subscriber. Streams wait for it in a line; each change that goes lets one through.

    Progress that may be held back (one change for each step or message) is not counted, for `MAX_HELD` changes at most:
    a stream that waited for it would wait for time to pass, not for the subscriber.
    """

    __slots__ = ("_is_closed", "held", "line", "size", "taken")

    def __init__(self, size: int) -> None:
        self.taken = 0
        self.held = 0
        """How many of those are progress that may be held back."""
        self.size = size
        self.line: deque[anyio.Event] = deque()
        self._is_closed = False

    @property
    def counted(self) -> int:
        """How many changes take room."""
        return self.taken - min(self.held, MAX_HELD)

    @property
    def is_full(self) -> bool:
        """Whether there is no room."""
        return self.counted >= self.size

    @property
    def room(self) -> int:
        """How many changes may come until it is full; below one where it is. None is refused."""
        return self.size - self.counted

    def wake(self, count: int = 1) -> None:
        """Let the first of the line through, `count` of them at most, where there is room."""
        for _ in range(min(count, len(self.line))):
            if not self.is_full:
                self.line.popleft().set()

    async def wait(self) -> None:
        """Return when there is room, or the gate was closed."""
        join = self.line.append
        while self.is_full and not self._is_closed:
            turn = anyio.Event()
            join(turn)
            try:
                await turn.wait()
            finally:
                if not turn.is_set():
                    self.line.remove(turn)
                else:
                    self.wake()  # the woken task may have been cancelled, and there may be room for another one
            join = self.line.appendleft  # another stream took the room first: keep the place in the line

    def close(self) -> None:
        """Let every task through, now and later."""
        self._is_closed = True
        while self.line:
            self.line.popleft().set()


class Signal:
    """Wakes all tasks that wait now, which check their condition again. Without any, `notify` costs nothing."""

    __slots__ = ("event",)

    def __init__(self) -> None:
        self.event: anyio.Event | _Call | None = None
        """The event of the tasks that wait now, or the call of `call_next`; None while there is neither."""

    async def wait(self) -> None:
        """Sleep until the next `notify`."""
        event = self.event if isinstance(self.event, anyio.Event) else anyio.Event()
        self.event = event
        await event.wait()

    def call_next(self, call: Callable[[], object]) -> None:
        """Let the next `notify` make a call instead: no task waits, and it may start the one that will."""
        self.event = _Call(call)

    def notify(self) -> None:
        """Wake every task that waits now."""
        event, self.event = self.event, None
        if event is not None:
            event.set()


class Turn:
    """Lets one task at a time into `async with`. Where none is in it, that takes a sixth of what a lock of anyio does:
    it asks nobody which task this is."""

    __slots__ = ("_left", "is_taken")

    def __init__(self) -> None:
        self.is_taken = False
        """Whether a task is in it."""
        self._left = Signal()

    async def __aenter__(self) -> None:
        while self.is_taken:
            await self._left.wait()
        self.is_taken = True

    async def __aexit__(self, *_: object) -> None:
        self.is_taken = False
        self._left.notify()


class _Call(NamedTuple):
    set: Callable[[], object]
