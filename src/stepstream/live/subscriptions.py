"""Subscriptions: what a subscriber holds."""

from stepstream.live.mailbox import Mailbox


class Subscription:
    """One subscriber's registration. Its changes come in the order of their stream, one at a time for each run."""

    __slots__ = ("_mailbox",)

    def __init__(self, mailbox: Mailbox) -> None:
        self._mailbox = mailbox

    def __repr__(self) -> str:
        box = self._mailbox
        names, closed = "|".join(one.__name__ for one in box.classes), " closed" if box.is_closed else ""
        counts = f"{box.delivered:,} delivered, {len(box.queue)} waiting, {box.failed:,} failed"
        return f"<Subscription {names}{closed} {counts}>"

    def close(self) -> None:
        """Receive nothing any more. What still waits is dropped, and no stream waits for this subscriber."""
        self._mailbox.is_dismissed = True
        self._mailbox.close()

    @property
    def name(self) -> str:
        """The name of its callback, or of the callback's class; "iterator" of one that is read."""
        return self._mailbox.name

    @property
    def is_closed(self) -> bool:
        """Whether it receives nothing any more."""
        return self._mailbox.is_closed

    @property
    def failure(self) -> Exception | None:
        """Why it was closed, unless by `close`."""
        return self._mailbox.failure

    @property
    def offered(self) -> int:
        """How many changes passed the filters."""
        return self._mailbox.offered

    @property
    def delivered(self) -> int:
        """How many changes were taken, those at which the last attempt failed included."""
        return self._mailbox.delivered

    @property
    def coalesced(self) -> int:
        """How many changes were replaced by newer progress."""
        return self._mailbox.coalesced

    @property
    def dropped(self) -> int:
        """How many changes waited when it was closed."""
        return self._mailbox.dropped

    @property
    def retried(self) -> int:
        """How many attempts were made beyond the first."""
        return self._mailbox.retried

    @property
    def failed(self) -> int:
        """At how many changes the callback or the `where` predicate failed."""
        return self._mailbox.failed
