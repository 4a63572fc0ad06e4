"""Handing the changes of one stream to the mailboxes.

`StreamFanout` hands a change on as it is made and never waits, so what one event did reaches every queue or none, and
no cancellation can come between. Only then does the stream wait for those in `full`: a queue may exceed its bound by
what one event of each stream does.
"""

import math
from collections.abc import Sequence
from contextvars import copy_context
from typing import Any, Final

from stepstream.fold.changes import Change
from stepstream.live.leases import Holding
from stepstream.live.mailbox import Mailbox
from stepstream.live.pending import PendingCount
from stepstream.live.routing import MAX_FOUND, Routes

SLOW_STREAM_GAP: Final = 0.0005
"""Seconds. A stream that wakes subscribers less often than this is slow."""


class StreamFanout:
    """Hands the changes of one stream to the mailboxes, and knows which of them the stream must wait for.

    It is made where the stream is started: callbacks see the contextvars of that moment.
    """

    __slots__ = (
        "__weakref__", "_earlier", "_forget_at", "_routes", "_woken_at", "full", "has_woken", "lease", "lost",
        "pending", "variables",
    )  # fmt: skip

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self.variables = copy_context()
        self.full: list[Mailbox] = []
        """Those that the stream must wait for now."""
        self.pending: dict[Mailbox, PendingCount] = {}
        """How many changes of the stream each of them has not had, those of `_earlier` not counted."""
        self._earlier: list[tuple[Mailbox, PendingCount]] = []
        self.lost: dict[str | None, int] = {}
        """The event of the first change of each run that a subscriber was closed with."""
        self._forget_at = MAX_FOUND  # so many in `pending` are looked through for closed ones
        self.has_woken = False
        self.lease: Holding | None = None
        """How long its changes may be delivered; None: for ever."""
        self._woken_at = -math.inf

    def should_yield(self, now: float) -> bool:
        """Return whether the subscribers just woken should run before the stream goes on.

        Where changes come slowly that costs little, and saves them the time in which the stream would first get ready
        to wait for its next chunk.
        """
        self.has_woken = False
        before, self._woken_at = self._woken_at, now
        return now - before > SLOW_STREAM_GAP

    @property
    def is_pending(self) -> bool:
        """Whether something was not delivered yet."""
        return any(pending.count for pending in self.pending.values())

    def until_now(self) -> list[tuple[Mailbox, PendingCount]]:
        """Return the counts of what has come so far, as far as it was not delivered: what comes now is counted anew."""
        late = [(mailbox, pending) for mailbox, pending in self.pending.items() if pending.count]
        self._earlier = [*(one for one in self._earlier if one[1].count), *late]
        self.pending.update((mailbox, PendingCount(self, self.variables)) for mailbox, _ in late)
        return self._earlier

    def lose(self, change: Any) -> None:
        """Record that a subscriber was closed before it had dealt with a change."""
        run_id = change.run_id
        self.lost[run_id] = min(change.sequence, self.lost.get(run_id, change.sequence))

    def _forget_closed(self) -> None:
        """Keep no closed mailbox that has had everything: a long stream may meet any number of them.

        All are looked at once they have doubled, so that each new one costs the same, however many are open.
        """
        counts = self.pending
        for mailbox in [one for one, pending in counts.items() if one.is_closed and not pending.count]:
            del counts[mailbox]
        self._forget_at = max(MAX_FOUND, 2 * len(counts))

    def dispatch(self, change: Change) -> bool:
        """Hand a change to the mailboxes that want it. Return whether the stream must wait now."""
        mailboxes = self._routes.mailboxes_of(change)
        return self.hand_over((change,), mailboxes) if mailboxes else bool(self.full)

    def hand_over(self, changes: Sequence[Change], mailboxes: Sequence[Mailbox]) -> bool:
        """Hand changes to `mailboxes`, no more than these have room for. Return whether the stream must wait now."""
        counts = self.pending
        for mailbox in mailboxes:
            pending = counts.get(mailbox)
            if pending is None:
                if len(counts) >= self._forget_at:
                    self._forget_closed()
                pending = counts[mailbox] = PendingCount(self, self.variables)
            if mailbox.offer(changes, pending):
                self.full.append(mailbox)
        return bool(self.full)
