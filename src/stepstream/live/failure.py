"""What went wrong at a subscriber."""

from typing import TYPE_CHECKING

import msgspec

from stepstream.fold.changes import Change

if TYPE_CHECKING:
    from stepstream.live.subscription import Subscription


class Failure(msgspec.Struct, frozen=True):
    """A change that a subscriber failed at, and how."""

    subscription: "Subscription"
    """The one that failed."""
    change: Change | None
    """None where the subscription was closed because too much waited for it."""
    exception: Exception
    """What it raised: a `TimeoutError` where it took too long."""
    attempt: int
    """The number of the attempt that failed, from 1."""
    is_final: bool
    """Whether it is not attempted again."""

    def __repr__(self) -> str:
        return f"<Failure {type(self.exception).__name__} at attempt {self.attempt} of {self.change!r}>"


class SubscriberStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """What one subscriber got. Counts of changes."""

    name: str
    offered: int
    """Those that passed the filters."""
    delivered: int
    """Those that it took, those at which it failed included."""
    waiting: int
    """Those that it has not been given. What is offered and none of all these is in its hands."""
    coalesced: int
    """Those that newer progress took the place of."""
    dropped: int
    """Those that waited when it was closed."""
    retried: int
    """How many attempts were made beyond the first."""
    failed: int
    """Those that it failed at, or whose `where` did."""
    is_closed: bool


class Statistics(msgspec.Struct, frozen=True, kw_only=True):
    """What a processor did so far."""

    events: int
    """Those of all streams."""
    anomalies: int
    streams: int
    """Those being read now."""
    open_runs: int
    finished_runs: int
    """Those that are kept."""
    unreported: int
    """How many failures an `on_failure` callback was too slow for."""
    subscribers: tuple[SubscriberStatistics, ...]
    """The newest 100 that were closed for what went wrong, and those that are open: after the block, that were then."""
