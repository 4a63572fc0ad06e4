"""The mailbox of a subscriber that takes lists: each list is an entry, whose changes are counted one by one."""

from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

import anyio

from stepstream.live.batch_queue import BatchQueue, by_lease, entries_of
from stepstream.live.callbacks import Callback
from stepstream.live.fifo_queue import Entry
from stepstream.live.mailbox import Mailbox
from stepstream.live.options import Delivery, Filter
from stepstream.live.pending import PendingCount


def mailbox_for(classes: Sequence[type[Any]], wanted: Filter, delivery: Delivery, callback: Callback | None) -> Mailbox:
    """Return the mailbox of a subscriber."""
    return (Mailbox if delivery.batch is None else BatchMailbox)(classes, wanted, delivery, callback)


def without_lapsed(mailbox: Mailbox, entry: Entry) -> Entry | None:
    """Return an entry that was taken, without what must not be delivered any more: that is dropped, and settled."""
    kept, lapsed = by_lease(entry)
    if lapsed is not None:
        mailbox.drop(lapsed)
        mailbox.settle(lapsed)
    return kept


class BatchMailbox(Mailbox):
    """A mailbox whose entries are lists."""

    queue: BatchQueue

    async def take(self) -> Entry | None:
        """Return the next list, as soon as there is one; None after the last. Then `settle` it."""
        while True:
            entry = self.queue.take(anyio.current_time())
            if entry is not None:
                return entry
            if self.is_ending and not len(self.queue):
                return None
            with anyio.CancelScope(deadline=self.queue.due()):
                await (self.queue.filled if self.queue.is_gathering else self.arrived).wait()

    def offer(self, changes: Sequence[Any], pending: PendingCount) -> bool:
        """Queue those of `changes` that pass the filters. Return whether their stream must wait for room now."""
        is_full = super().offer(changes, pending)
        self.queue.note_filled()
        return is_full

    def release(self, entry: Entry) -> None:
        """Give back the room of every change of a list, or of a single one that was never in a list."""
        entries = entries_of(entry)
        if self._has_free_changes:
            for one in entries:
                super().release(one)
        else:
            for pending, group in groupby(entries, itemgetter(1)):  # those of one stream mostly come together
                self.give_back(pending, sum(1 for _ in group))

    def lose(self, entry: Entry) -> None:
        """Tell the streams of the changes that these may be lost."""
        for one in entries_of(entry):
            super().lose(one)

    def unsettled(self) -> Any:
        """Give the changes that wait, and those that are being delivered, one by one."""
        return (one for entry in super().unsettled() for one in entries_of(entry))
