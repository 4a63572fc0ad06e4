"""What makes the calls of a callback, as its mailbox knows it."""

from typing import Protocol

from stepstream.live.fifo_queue import Entry


class Runner(Protocol):
    """What makes the calls of a callback, one at a time."""

    @property
    def entry(self) -> Entry | None:
        """What is being delivered."""

    def detach(self) -> None:
        """Let nothing wait any more for the change being delivered, and make no further attempt."""

    def cancel(self) -> None:
        """Cancel the call."""
