"""One viewer of a run: what it is owed, and what it gets who asks for that."""

from typing import Final

import anyio

from stepstream.errors import JournalError, JournalGap, RunInterrupted
from stepstream.journal.run_info import Cursor, RunInfo
from stepstream.relay.batch import COMMENT, Batch, encoded_frames, gap
from stepstream.relay.catching_up import CatchUp, place_of
from stepstream.relay.channel import MAX_RECENT, Channel
from stepstream.relay.feed import RunFeed
from stepstream.relay.forms.form import REASONS, FormKind
from stepstream.relay.lead import Turn
from stepstream.relay.owed import MAX_BEHIND, Owed
from stepstream.relay.run_reader import info_of

AWAY: Final = 0.05
"""Seconds without anybody who reads after which viewers may have missed a lot."""

SLACK: Final = 256
"""How many positions before that of the first viewer that comes back is told again: others may have had less."""


class Viewer:
    """A viewer, from where it joins or goes on. `last_event_id` is the id of the last frame that it has had."""

    __slots__ = (
        "_catch_up", "_feed", "_last_event_id", "_lost", "_owed", "_target", "_turn",
        "cut_for", "is_over", "kind", "quiet_since",
    )  # fmt: skip

    def __init__(self, feed: RunFeed, kind: FormKind, last_event_id: str = "") -> None:
        self.kind = kind
        self.is_over = False
        """Whether its stream ends with what is owed."""
        self.cut_for = ""
        """Why it ends without words, in the middle of things, where it does."""
        self.quiet_since = 0.0
        """When it joined, or was sent a comment last."""
        self._feed = feed
        self._last_event_id = last_event_id if kind.has_cursor else ""
        self._owed = Owed()
        self._lost = ""
        """Why it does not follow any more, and has to join again."""
        self._target: int | None = None  # the position from which it joins then
        self._catch_up: CatchUp | None = None
        self._turn = Turn()

    def __repr__(self) -> str:
        return f"<Viewer of {self._feed.run_id} as {self.kind.name}: {self._owed.frames:,} frames to send>"

    async def enter(self, info: RunInfo | None) -> bool:
        """Join the run, or go on in it, as it is now. Return whether there is anything to come. To be called once."""
        position = 0 if info is None else info.position
        if not self._last_event_id:
            await self._feed.catch_up(position)
            self._join()
            return True
        cursor = place_of(self._last_event_id)
        begins = cursor.position - SLACK
        if position - begins <= MAX_RECENT:  # else what it missed is not kept for it, and it reads that itself
            await self._feed.catch_up(min(begins, position))
            self._feed.channel(self.kind)
        await self._feed.catch_up(position)
        if info is not None and info.status == "ended" and cursor == self._feed.reader.cursor:
            self.is_over = True
            return False
        if cursor.position > self._feed.reader.position:
            self._lost = "unknown"
            self._join()
        else:
            self._go_on(cursor)
        return True

    async def next(self) -> bytes:
        """Return what is to be sent next, as `__anext__` does. `RunInterrupted` is raised where it was cut."""
        owed, lead = self._owed, self._feed.lead
        while True:
            channel = owed.channel
            if channel is not None and owed.had != channel.told:
                if owed.had + 1 == channel.told and channel.newest.data and not owed.batches:  # as mostly
                    owed.had += 1
                    return channel.newest.data
                self._fetch()
            if owed.batches:
                return owed.take()
            if self.cut_for:
                why = REASONS[self.cut_for]
                raise RunInterrupted(f"the stream of a viewer of run {self._feed.run_id} was cut: {why}")
            if self.is_over:
                raise StopAsyncIteration
            if lead.is_taken and self._catch_up is None and not self._lost:
                await lead.sleep(self._turn)  # as mostly: one of all viewers reads
                continue
            try:
                await self._progress()
            except JournalError:
                self.interrupt("interrupted")

    def comment(self) -> None:
        """Owe it a comment, unless it is owed something."""
        if not self._is_due():
            self._owe(Batch(COMMENT, 0))

    def lose(self, reason: str) -> None:
        """Let it join again; where its form knows no gap, end its stream."""
        self.leave()
        self._owed.clear()
        self._lost = reason
        if not self.kind.has_cursor:
            self.is_over, self.cut_for = True, reason
        self._wake()

    def end(self, data: bytes) -> None:
        """End its stream, with `data` after all that was told; unless that is too much for it."""
        self._fetch()
        if self._owed.channel is not None:
            self.leave()
            self._finish(data)

    def interrupt(self, reason: str, *, is_silent: bool = False) -> None:
        """End its stream before the run has ended. With `is_silent`, nothing that it is owed is sent any more."""
        has_all = not (is_silent and self._is_due())
        if not is_silent:
            self._fetch()
        if self.is_over:
            return
        channel = self._owed.channel
        self.leave()
        if is_silent:
            self._owed.clear()
        if self.kind.has_cursor:
            self._finish(encoded_frames(self.kind.make().interrupt(reason)))
        elif channel is not None and has_all:
            self._finish(channel.ending(reason, self._feed.reader.cursor))
        else:
            self.lose(reason)

    def leave(self) -> None:
        """Get nothing more from the run."""
        channel, self._owed.channel = self._owed.channel, None
        if channel is not None:
            channel.leave(self, anyio.current_time())

    def _fetch(self) -> None:
        """Be owed what was told and it has not had. It follows no more where that is too much."""
        channel = self._owed.channel
        if channel is None or self._owed.fetch(channel):
            return
        if self.kind.has_cursor or not self._owed.batches:
            self.lose("slow")
        else:
            self.leave()
            self._finish(channel.ending("slow", self._feed.reader.cursor))

    def _finish(self, data: bytes) -> None:
        self.is_over = True
        self._owe(Batch(data, 0))

    async def _progress(self) -> None:
        """Wait until it is owed something, or is over."""
        if self._lost:
            await self._feed.catch_up(self._target)
            self._join()
        elif self._catch_up is not None:
            await self._read_missed(self._catch_up)
        else:
            if not self._feed.lead.is_taken and anyio.current_time() - self._feed.lead.left_at > AWAY:
                await self._look_around()
            await self._feed.until(self._is_due, self._turn)

    async def _look_around(self) -> None:
        """See how far behind all viewers are, as all of them were away: nobody has read what came meanwhile."""
        info = await info_of(self._feed.journal, self._feed.run_id)
        if info is None or info.position - self._feed.reader.position <= MAX_BEHIND:
            return
        self._target = info.position
        if self.kind.has_cursor:
            self.leave()
            self.lose("slow")
        else:
            self.interrupt("slow")

    def _is_due(self) -> bool:
        return self._owed.has_more or self.is_over or self._lost != ""

    def _join(self) -> None:
        """Be owed the state, and what comes after it; unless it was interrupted meanwhile."""
        if self.is_over:
            return
        channel = self._feed.channel(self.kind)
        beginning = channel.beginning(self._feed.reader)
        if self._lost:
            self._lost, beginning = "", gap(self._lost) + beginning
        self._owe(Batch(beginning, 0))
        self._be_level(channel)

    def _go_on(self, cursor: Cursor) -> None:
        """Be owed what comes after a place; unless it was interrupted meanwhile."""
        if self.is_over:
            return
        channel = self._feed.channel(self.kind)
        missed = channel.since(cursor)
        if missed is None:
            self._catch_up = CatchUp(self._feed, self.kind, cursor)
            return
        for batch in missed:
            self._owe(batch)
        self._be_level(channel)

    def _be_level(self, channel: Channel) -> None:
        if self._feed.is_over:
            self._finish(channel.ending(self._feed.is_over, self._feed.reader.cursor))
        else:
            self._owed.channel, self._owed.had = channel, channel.told
            self._turn = channel.enter(self, anyio.current_time())

    async def _read_missed(self, catch_up: CatchUp) -> None:
        batch = None
        try:
            batch = await catch_up.next()
        except JournalGap:
            self._lost = "gone" if catch_up.has_begun else "unknown"
        if self.is_over:
            return
        if batch is not None:
            self._owe(batch)
            return
        self._catch_up = None
        if not self._lost and catch_up.position != self._feed.reader.position:  # that reads the run anew
            self._lost = "gone"
        if not self._lost:
            self._be_level(self._feed.channel(self.kind))

    def _owe(self, batch: Batch) -> None:
        self._owed.add(batch)
        self._wake()

    def _wake(self) -> None:
        self._feed.lead.wake(self._turn)
        self._feed.nudge()
