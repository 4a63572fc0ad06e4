"""What is waiting to be sent to one viewer: so much, and no more."""

from typing import Final

from stepstream.relay.batch import Batch

MAX_BEHIND: Final = 256
"""How many frames a viewer may be behind."""

MAX_BEHIND_BYTES: Final = 2**20


class Owed:
    """Batches in order. It has room for one more while it is empty, however large that is."""

    __slots__ = ("_bytes", "batches", "frames")

    def __init__(self) -> None:
        self.batches: list[Batch] = []
        self.frames = 0
        self._bytes = 0

    def offer(self, batch: Batch) -> bool:
        """Add a batch with something in it. Return whether there was room: a viewer may be so far behind."""
        frames, size = self.frames + batch.frames, self._bytes + len(batch.data)
        if self.batches and (frames > MAX_BEHIND or size > MAX_BEHIND_BYTES):
            return False
        self.batches.append(batch)
        self.frames, self._bytes = frames, size
        return True

    def add(self, batch: Batch) -> None:
        """Add a batch whether there is room or not, unless nothing is in it."""
        if batch.data:
            self.batches.append(batch)
            self.frames += batch.frames
            self._bytes += len(batch.data)

    def take(self) -> bytes:
        """Return all there is, as one piece: that of a single batch is the object that all others get."""
        batches = self.batches
        data = batches[0].data if len(batches) == 1 else b"".join([batch.data for batch in batches])
        self.clear()
        return data

    def clear(self) -> None:
        """Let go of it all."""
        self.batches.clear()
        self.frames = self._bytes = 0
