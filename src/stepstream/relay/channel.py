"""One form of one run, told once to all viewers who are level with it.

What was told lies in one row for all of them, as long as it is kept. A viewer knows up to where it has had that
(`Channel.told`), and takes the rest when it is ready to write: so to tell a thousand viewers of a delta is to wake them
(`lead`), and one that is slow or stuck holds nothing of its own.
"""

import math
from bisect import bisect_left
from collections import deque
from collections.abc import Collection
from itertools import islice
from typing import Final, Protocol

import anyio

from stepstream.fold.run_state import RunState
from stepstream.journal.run_info import Cursor
from stepstream.relay.batch import Batch, encoded_frames
from stepstream.relay.forms.form import FormKind
from stepstream.relay.lead import Lead, Turn, Turns
from stepstream.relay.merging import Told
from stepstream.relay.run_reader import RunReader
from stepstream.relay.telling import Telling

HEARTBEAT: Final = 15.0
"""Seconds without a frame after which a comment is sent."""

_EARLY: Final = 0.001  # seconds: a clock may say a little less than a deadline that has passed

MAX_RECENT: Final = 4_096
"""How many frames are kept for viewers that come back."""

MAX_RECENT_BYTES: Final = 2**20


class Level(Protocol):
    """A viewer who has had all that was told, or can take it."""

    quiet_since: float
    """When it joined, or was sent a comment last."""

    def comment(self) -> None:
        """Owe it a comment, unless it is owed something."""

    def lose(self, reason: str) -> None:
        """Note that it will not get what comes next, as the events after what it had are not known here."""

    def end(self, data: bytes) -> None:
        """Owe it what its stream ends with."""


class Channel:
    """What viewers of one form get from a place in the run on. `state` is the run there."""

    def __init__(self, kind: FormKind, state: RunState | None, cursor: Cursor, coalesce: float, lead: Lead) -> None:
        self.kind = kind
        self._lead = lead
        self._turns = Turns()
        self.viewers: dict[Level, Turn] = {}
        """Each with the turn that it waits for."""
        self.told = 0
        """How many batches there were."""
        self.newest = Batch(b"", 0)
        """The last of them."""
        self.left_at = 0.0
        """When the last viewer left."""
        self.beats_at = math.inf
        """When `beat` should be called."""
        self._told_at = 0.0  # when there was something for all
        self._telling = Telling(kind, state, coalesce)
        self._recent: deque[Batch] = deque()
        self._recent_frames = self._recent_bytes = 0
        self._base = cursor  # from where on what was told is kept
        own = cursor if kind.has_cursor else None
        self._beginning: bytes | None = encoded_frames(self._telling.beginning, own)  # of who joins now

    def __repr__(self) -> str:
        return f"<Channel {self.kind.name}: {len(self.viewers):,} viewers>"

    @property
    def due_at(self) -> float | None:
        """When `flush` should be called; None where there is nothing to let go of."""
        return self._telling.due_at

    def enter(self, viewer: Level, now: float) -> Turn:
        """Tell a viewer what comes next, and return the turn that it is to wait for."""
        viewer.quiet_since = now
        turn = self.viewers[viewer] = self._turns.take()
        self.beats_at = min(self.beats_at, now + HEARTBEAT)
        return turn

    def leave(self, viewer: Level, now: float) -> None:
        """Tell a viewer nothing more."""
        self._turns.leave(self.viewers.pop(viewer))
        self.left_at = now

    def beat(self, now: float) -> None:
        """Let viewers have a comment who got nothing for long. One look at the clock serves all of them."""
        quiet_since = math.inf
        for viewer in self.viewers:
            since = max(viewer.quiet_since, self._told_at)
            if since + HEARTBEAT <= now + _EARLY:
                since = viewer.quiet_since = now
                viewer.comment()
            quiet_since = min(quiet_since, since)
        self.beats_at = quiet_since + HEARTBEAT

    def tell(self, told: Told, now: float) -> None:
        """Take the next event of the run."""
        self._telling.tell(told, now)

    def flush(self, now: float) -> None:
        """Let go of what is held back."""
        self._telling.flush(now)
        self.hand_over(now)

    def hand_over(self, now: float) -> None:
        """Let the viewers take what was told."""
        batch = self._telling.cut()
        if batch is None:
            return
        self._beginning = None
        self._keep(batch)
        if batch.frames:
            self._told_at = now
            for turn in self._turns.all:
                self._lead.wake(turn)

    def beginning(self, reader: RunReader) -> bytes:
        """Return what a viewer gets first who joins now, where `reader` is and nothing is held back. It is made once
        for all who join there."""
        if self._beginning is None:
            state = reader.state() if reader.position else None
            frames = self.kind.make().begin(state)
            self._beginning = encoded_frames(frames, reader.cursor if self.kind.has_cursor else None)
        return self._beginning

    def after(self, told: int) -> list[Batch] | None:
        """Return what was told after so many batches; None where that is not kept."""
        gone = self.told - len(self._recent)
        return None if told < gone else list(islice(self._recent, told - gone, None))

    def since(self, cursor: Cursor) -> list[Batch] | None:
        """Return what was told after a place; None where that is not kept."""
        if cursor == self._base:
            return list(self._recent)
        at = bisect_left(self._recent, cursor.position, key=lambda batch: batch.last)
        rest = self._recent[at].after(cursor) if at < len(self._recent) else None
        if rest is None:
            return None
        return [rest, *(self._recent[place] for place in range(at + 1, len(self._recent)))]

    def ending(self, how: str, cursor: Cursor) -> bytes:
        """Return what ends the stream of a viewer who has had all: of a run that "ended", or for another reason."""
        if how != "ended":
            return self._telling.interruption(how)
        return encoded_frames(self.kind.done, cursor if self.kind.has_cursor and cursor.position else None)

    def lose(self, reason: str) -> None:
        """Let go of all viewers: what comes next does not follow what they had."""
        for viewer in list(self.viewers):
            viewer.lose(reason)

    def end(self, data: bytes) -> None:
        """End the streams of all viewers."""
        for viewer in list(self.viewers):
            viewer.end(data)

    def _keep(self, batch: Batch) -> None:
        self.told += 1
        self.newest = batch
        self._recent.append(batch)
        self._recent_frames += batch.frames
        self._recent_bytes += len(batch.data)
        while len(self._recent) > 1 and (self._recent_frames > MAX_RECENT or self._recent_bytes > MAX_RECENT_BYTES):
            gone = self._recent.popleft()
            self._recent_frames -= gone.frames
            self._recent_bytes -= len(gone.data)
            self._base = gone.marks[-1].cursor


def due_times(channels: Collection[Channel]) -> list[float]:
    """Return when `flush_due` should be called, as far as anybody waits for that."""
    ends = [channel.due_at for channel in channels if channel.due_at is not None]
    return ends + [channel.beats_at for channel in channels if channel.viewers]


def flush_due(channels: Collection[Channel]) -> bool:
    """Let go of what was held back for long enough, and of comments. Return whether there was any."""
    now = anyio.current_time()
    due = [one for one in channels if one.due_at is not None and one.due_at <= now]
    for channel in due:
        channel.flush(now)
    quiet = [one for one in channels if one.beats_at <= now]
    for channel in quiet:
        channel.beat(now)
    return bool(due or quiet)
