"""Going on elsewhere: how far what a stream did was dealt with, and the delivery of only what comes after that.

A subscriber has settled a change when it was delivered, given up after its last attempt, or replaced by newer progress;
an iterator, when its reader took it. A position is the ordinal of an event in its stream: a run is settled up to the
newest event such that no change of it, or of one before it, is left. So that a process which goes on there delivers
exactly what was not settled,

- what a subscriber was closed with stays unsettled for ever, unless it was closed by `Subscription.close`;
- progress that waits is the newest, and what it replaced counts as settled: its snapshot holds that too;
- a change that names no run counts for each run of its stream.

Nothing is recorded for a change while all goes well: whoever asks looks through what waits.
"""

from collections.abc import Awaitable, Callable, Generator, Iterator, Sequence
from typing import Any
from weakref import ref

from stepstream.fold.changes import Change
from stepstream.fold.stream_state import StreamState
from stepstream.live.fanout import StreamFanout
from stepstream.live.lifetime import Lifetime
from stepstream.live.mailbox import Mailbox
from stepstream.live.routing import Routes


class LateFanout(StreamFanout):
    """Hands on what comes after an event. The changes before it are delivered to nobody."""

    __slots__ = ("_after",)

    def __init__(self, routes: Routes, after: int) -> None:
        super().__init__(routes)
        self._after = after

    def hand_over(self, changes: Sequence[Change], mailboxes: Sequence[Mailbox]) -> bool:
        """Hand on changes, but those that come too early. Return whether the stream must wait now."""
        late = [change for change in changes if change.sequence > self._after]
        return bool(late) and super().hand_over(late, mailboxes)


class Settling:
    """How far the changes of one stream are settled. Once the stream is over, it keeps numbers only."""

    def __init__(self, stream: StreamState, fanout: StreamFanout, after: int) -> None:
        self._after = after  # what comes before was settled by another stream
        self._lost = fanout.lost
        self._fanout = ref(fanout)  # what waits holds it: once it is gone, nothing waits any more
        self._stream: StreamState | None = stream
        self._sequence = 0

    def end(self) -> None:
        """Note that nothing more comes."""
        if self._stream is not None:
            self._sequence, self._stream = self._stream.sequence, None

    def position(self, run_id: str) -> int:
        """Return the newest event up to which every change of a run is settled."""
        left = [self._lost[one] for one in (run_id, None) if one in self._lost]
        left += (change.sequence for change in self._waiting() if change.run_id in (run_id, None))
        came = self._sequence if self._stream is None else self._stream.sequence
        return max(self._after, min(left, default=came + 1) - 1)

    def _waiting(self) -> Iterator[Any]:
        fanout = self._fanout()
        for mailbox in () if fanout is None else fanout.pending:
            yield from (change for change, pending in mailbox.unsettled() if pending.stream is fanout)

    async def until_settled(self, lifetime: Lifetime) -> None:
        """Return when what came until now is settled, or lost."""
        lifetime.check_outside_callbacks("settled()", "await it in a task of your own")
        fanout = self._fanout()
        for mailbox, pending in () if fanout is None else fanout.until_now():
            await lifetime.deadlines.wait(mailbox, pending.wait)


class Settled(int):
    """The newest event of a run whose changes every subscriber has settled, as of when it was asked for.

    Awaited, it waits until what came so far is settled too, and gives that event. It may be an earlier one than came:
    where a subscriber was closed before it had all. Awaited in a callback, which would wait for itself, it raises
    `RuntimeError`.
    """

    _later: Callable[[], Awaitable[int]]

    @classmethod
    def of(cls, settling: Settling | None, run_id: str, lifetime: Lifetime) -> "Settled":
        """Return how far a run is settled: 0 where no stream of it is remembered."""

        async def later() -> int:
            if settling is None:
                return 0
            await settling.until_settled(lifetime)
            return settling.position(run_id)

        found = cls(0 if settling is None else settling.position(run_id))
        found._later = later
        return found

    def __await__(self) -> Generator[Any, Any, int]:
        return self._later().__await__()
