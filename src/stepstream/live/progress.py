"""Progress of one stream, made as deltas are folded, and handed over for many deltas at once.

Theory. A chunk may hold a hundred like deltas, and each costs a call or two a mailbox to hand over: more than to fold
it. Between two of them no code runs that could tell whether the first was handed over yet: mailboxes only queue. So
progress is kept here until it is for other mailboxes, until one of them has no more room than that (`Mailbox.room`,
which is one change where user code decides), or until the fast path has come to its end. What would break this: a
change of the stream that is handed over by another way while progress is kept, which it would overtake.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.changes import Change
from stepstream.fold.stream_state import StreamState
from stepstream.live.routing import Routes
from stepstream.live.run_tap import RunTap
from stepstream.live.stream_tap import StreamTap


class Fanout(Protocol):
    """Hands changes of one stream to mailboxes. Returns whether one has no room for more: the stream must wait then."""

    def dispatch(self, change: Change) -> bool:
        """Hand a change to the mailboxes that want it."""

    def hand_over(self, changes: Sequence[Any], mailboxes: Sequence[Any]) -> bool:
        """Hand changes to these mailboxes, no more than each has room for."""


class LikeDeltas:
    """What the deltas of one text have in common, and the mailboxes that want their progress."""

    __slots__ = ("builder", "event", "mailboxes", "progress", "routes_version", "run")

    def __init__(self, event: str, progress: Any, builder: SnapshotBuilder[Any]) -> None:
        self.event = event
        self.progress = progress
        self.builder = builder
        self.mailboxes: Sequence[Any] = ()
        self.routes_version = -1
        """Of the routes when `mailboxes` were looked up; -1: not yet."""
        self.run: RunTap | None = None
        """What takes the deltas for a journal, once it was looked up."""

    @property
    def is_left(self) -> bool:
        """Whether their run was left: it has to be opened again before they are folded."""
        return self.run is not None and self.run.is_closed

    def run_in(self, tap: StreamTap) -> RunTap | None:
        """Return what takes the next deltas for a journal; None where their run has to be opened first."""
        if self.run is None or not tap.mark(self.run):
            self.run = tap.run_tap(self.builder)
        return self.run if self.run is not None and tap.mark(self.run) else None


class ProgressBatch:
    """The progress of a stream that was made and not handed over."""

    __slots__ = ("_fanout", "_made", "_mailboxes", "_room", "_routes", "_stream")

    def __init__(self, stream: StreamState, routes: Routes, fanout: Fanout) -> None:
        self._stream = stream
        self._routes = routes
        self._fanout = fanout
        self._made: list[Change] = []
        self._mailboxes: Sequence[Any] = ()  # of what was made
        self._room = 0  # how many changes these have room for together

    def mailboxes_of(self, like: LikeDeltas) -> Sequence[Any]:
        """Return the mailboxes that may want the progress of a delta, looked up again once some came or went."""
        if like.routes_version != self._routes.version:
            like.mailboxes = self._routes.mailboxes_for(like.progress, like.builder, self._stream.context)
            like.routes_version = self._routes.version
        return like.mailboxes

    def add(self, like: LikeDeltas, event_id: str, raw: bytes, offset: int) -> bool:
        """Make the progress of the newest delta, whose data begins at `offset`, if a mailbox wants it.

        Returns whether a queue is full now.
        """
        mailboxes = like.mailboxes if like.routes_version == self._routes.version else self.mailboxes_of(like)
        if not mailboxes:
            return False
        if not self._made or mailboxes is not self._mailboxes:
            self.hand_over()
            self._mailboxes, self._room = mailboxes, min([one.room for one in mailboxes])
        self._made.append(self._progress(like, event_id, raw, offset))
        return len(self._made) >= self._room and self.hand_over()

    def hand_over(self) -> bool:
        """Hand over what was made. Return whether a queue is full now."""
        if not self._made:
            return False
        made, self._made = self._made, []
        return self._fanout.hand_over(made, self._mailboxes)

    def tell(self, like: LikeDeltas, event_id: str, raw: bytes, offset: int) -> bool:
        """Hand over the progress of a delta at once: as `add` and `hand_over`, where nothing else was made."""
        mailboxes = self.mailboxes_of(like)
        return bool(mailboxes) and self._fanout.hand_over((self._progress(like, event_id, raw, offset),), mailboxes)

    def _progress(self, like: LikeDeltas, event_id: str, raw: bytes, offset: int) -> Change:
        stream, builder = self._stream, like.builder
        event, sequence, context, time = like.event, stream.sequence, stream.context, stream.received_at
        came = stream.journal
        made: Change = like.progress(event, sequence, context, event_id, time, False, builder, raw, offset, None, came)
        return made
