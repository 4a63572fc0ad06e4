"""Leases: for how long the changes of a stream may be delivered here.

A stream that several processes could read is given to one of them for a while. From the end of that on another may have
it. So no call begins then, the calls in hand are cancelled, and what waits is dropped: it stays unsettled, and is
delivered by whoever has the stream next. The end is looked at before each call, by a clock, and not left to a timer: a
process that was stopped for a minute goes on in the middle of anything.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol

import anyio


class Holding(Protocol):
    """One lease, or those of several streams."""

    @property
    def is_over(self) -> bool:
        """Whether nothing may be delivered any more; of several, whether that is so of any."""

    def holding(self, scope: anyio.CancelScope) -> AbstractContextManager[None]:
        """Return a block in which the end of the lease cancels `scope`."""


class Lease:
    """Holds until `until`, by `clock`, or until `end` is called. Whoever gave it may set a later `until`."""

    __slots__ = ("_clock", "_has_ended", "_scopes", "until")

    def __init__(self, until: float, clock: Callable[[], float]) -> None:
        self.until = until
        self._clock = clock
        self._has_ended = False
        self._scopes: set[anyio.CancelScope] = set()

    def __repr__(self) -> str:
        return f"<Lease {'that is over' if self.is_over else f'until {self.until:g}'}>"

    @property
    def is_over(self) -> bool:
        """Whether nothing may be delivered any more. It stays so."""
        if not self._has_ended and self._clock() >= self.until:
            self._has_ended = True
        return self._has_ended

    def end(self) -> None:
        """Let nothing be delivered any more, and cancel the calls in hand."""
        self._has_ended = True
        for scope in self._scopes:
            scope.cancel()

    @contextmanager
    def holding(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Cancel `scope` when the lease ends within the block."""
        self._scopes.add(scope)
        try:
            yield
        finally:
            self._scopes.discard(scope)


class Leases:
    """The leases of a list of changes that came from several streams."""

    __slots__ = ("_all",)

    def __init__(self, leases: Iterable[Holding]) -> None:
        self._all = tuple(dict.fromkeys(leases))

    @property
    def is_over(self) -> bool:
        """Whether any is over."""
        return any(one.is_over for one in self._all)

    @contextmanager
    def holding(self, scope: anyio.CancelScope) -> Iterator[None]:
        """Cancel `scope` when any ends within the block."""
        with ExitStack() as stack:
            for one in self._all:
                stack.enter_context(one.holding(scope))
            yield
