"""What is waiting to be sent to one viewer: so much, and no more.

Some of it is its own. The rest was told to all who are level in a channel, and stays there: of that, it knows how much
it has had. So to owe a thousand viewers a delta takes nothing of each, and one that is stuck in a write holds nothing.
"""

from typing import Final

from stepstream.relay.batch import Batch
from stepstream.relay.channel import Channel

MAX_BEHIND: Final = 256
"""How many frames a viewer may be behind."""

MAX_BEHIND_BYTES: Final = 2**20


class Owed:
    """Batches of its own in order, and behind them what was told in `channel`. One alone may be as large as it is."""

    __slots__ = ("_bytes", "batches", "channel", "frames", "had")

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.frames = 0
        """How many they have."""
        self._bytes = 0
        self.channel: Channel | None = None
        """That in which it is level, where it is."""
        self.had = 0
        """How many of the batches there it has had."""

    @property
    def has_more(self) -> bool:
        """Whether there is anything."""
        return bool(self.batches) or (self.channel is not None and self.had != self.channel.told)

    def fetch(self, channel: Channel) -> bool:
        """Make what was told in its channel its own. Return whether it may be so far behind.

        Where some of that is not kept any more, it has nothing of its own then.
        """
        before, missed = len(self.batches), channel.after(self.had)
        self.had = channel.told
        for batch in missed or ():
            self.add(batch)
        if missed is None:
            self.clear()
            return False
        is_much = self.frames > MAX_BEHIND or self._bytes > MAX_BEHIND_BYTES
        return len(self.batches) in (before, 1) or not is_much

    def add(self, batch: Batch) -> None:
        """Add a batch, unless nothing is in it."""
        if batch.data:
            self.batches.append(batch)
            self.frames += batch.frames
            self._bytes += len(batch.data)

    def take(self) -> bytes:
        """Return all of its own, as one piece: that of a single batch is the object that all others get."""
        batches = self.batches
        data = batches[0].data if len(batches) == 1 else b"".join([batch.data for batch in batches])
        self.clear()
        return data

    def clear(self) -> None:
        """Let go of all of its own."""
        self.batches.clear()
        self.frames = self._bytes = 0
