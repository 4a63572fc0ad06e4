"""What a processor and its subscribers did, in numbers; and what a subscriber failed at."""

import msgspec

from stepstream.fold.changes import Change
from stepstream.live.mailbox import Mailbox
from stepstream.live.subscriptions import Subscription


class Failure(msgspec.Struct, frozen=True):
    """A change that a subscriber failed at, and how."""

    subscription: Subscription
    """The one that failed."""
    change: Change | None
    """Of a list, the first. None where the subscription was closed because too much waited for it."""
    exception: Exception
    """What it raised: a `TimeoutError` where it took too long."""
    attempt: int
    """The number of the attempt that failed, from 1."""
    is_final: bool
    """Whether there is no further attempt."""
    _list: tuple[Change, ...] = ()

    @property
    def changes(self) -> tuple[Change, ...]:
        """All that it failed at together: one, or those of a list."""
        return self._list or (() if self.change is None else (self.change,))

    def __repr__(self) -> str:
        return f"<Failure {type(self.exception).__name__} at attempt {self.attempt} of {self.change!r}>"


def failure_of(
    subscription: Subscription,
    what: Change | list[Change] | None,
    exception: Exception,
    attempt: int,
    *,
    is_final: bool,
) -> Failure:
    """Return a failure at a change, at a list of them, or, with neither, at taking them in time."""
    if isinstance(what, list):
        return Failure(subscription, what[0], exception, attempt, is_final, tuple(what))
    return Failure(subscription, what, exception, attempt, is_final)


class SubscriberStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What one subscriber got. Counts of changes."""

    name: str
    offered: int
    """Those that passed the filters."""
    delivered: int
    """Those that it took, those at which it failed included."""
    waiting: int
    """Those that it has not been given. What was offered and is in none of these counts is being delivered."""
    coalesced: int
    """Those that newer progress replaced."""
    dropped: int
    """Those that waited when it was closed."""
    retried: int
    """How many attempts were made beyond the first."""
    failed: int
    """Those at which it, or its `where`, failed."""
    is_closed: bool


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a processor did so far."""

    events: int
    """Those of all streams."""
    anomalies: int
    streams: int
    """Those being read now."""
    waiting_streams: int
    """Those that wait until fewer than `max_streams` are read."""
    open_runs: int
    """Those that are kept; a step or message that belongs to no run counts as one."""
    finished_runs: int
    """Likewise."""
    unreported: int
    """How many failures an `on_failure` callback was too slow for."""
    subscribers: tuple[SubscriberStatistics, ...]
    """The newest 100 that were closed because of a failure, and the open ones; after the block, those that were open
    when it was left."""


def statistics_of(mailbox: Mailbox) -> SubscriberStatistics:
    """Return the counters of a subscriber as of now."""
    return SubscriberStatistics(
        name=mailbox.name,
        offered=mailbox.offered,
        delivered=mailbox.delivered,
        waiting=len(mailbox.queue),
        coalesced=mailbox.coalesced,
        dropped=mailbox.dropped,
        retried=mailbox.retried,
        failed=mailbox.failed,
        is_closed=mailbox.is_closed,
    )
