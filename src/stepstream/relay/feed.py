"""One run, read once for all who view it here, by whichever of them waits for more.

No task reads. A viewer that has had everything asks for more (`until`). The first that does so leads: it reads the
journal, folds, and tells all viewers, itself among them, what that gives; then it goes off to write to its client, and
the next that asks leads. The others sleep until they are told something, or nobody leads. So there is no task that
could outlive its viewers or fail unseen, a viewer costs no task, and who is slow, cancelled or stuck in a write holds
up nobody: he does not lead then.

The invariant: all that happens between two awaits of the leader is one step to everybody else. Whatever is folded is in
the hands of the channels when another task runs, so a viewer joins by reading the state and entering a channel, without
a lock, and without a gap or a repetition. What would break it: an await between folding a piece and handing it over.

Where nothing more is there the leader waits for news of the run, in what is left of the pause of merged deltas.
"""

from collections.abc import AsyncIterator, Callable
from typing import Final, Literal, TypeAlias

import anyio
import anyio.lowlevel

from stepstream.errors import JournalGap
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Checkpoint, Held, Pack
from stepstream.relay.channel import Channel, due_times, flush_due
from stepstream.relay.forms.form import FormKind
from stepstream.relay.lead import Lead, Turn
from stepstream.relay.run_reader import Pieces, RunReader

COALESCE: Final = 0.04
"""Seconds for which deltas of one text are held back to be merged, unless told otherwise."""

KEEP_CHANNEL: Final = 60.0
"""Seconds for which a form is told on after its last viewer left: he may come back."""

BETWEEN_CHECKPOINTS: Final = 256
"""Events of a run that is read for nobody yet, after which other tasks have their turn."""

End: TypeAlias = Literal["", "ended", "interrupted", "gone"]
"""How a run is over for its viewers; "" while it is not."""


class RunFeed:
    """A run, told to its viewers. `coalesce` is the pause of merged deltas, in seconds.

    An open run whose writer gives no sign for `interrupted_after` seconds is interrupted, and so is one that does not
    begin.
    """

    def __init__(self, journal: Journal, run_id: str, *, coalesce: float, interrupted_after: float) -> None:
        self.journal = journal
        self.run_id = run_id
        self.coalesce = coalesce
        self.reader = RunReader(journal, run_id)
        self.channels: dict[str, Channel] = {}
        self.is_over: End = ""
        self._interrupted_after = interrupted_after
        self._began = anyio.current_time()
        self._info: RunInfo | None = None
        self._heard_at = 0.0  # when the writer gave the last sign of life
        self.lead = Lead()
        """Who reads, of those who wait for more."""
        self._waiting: anyio.CancelScope | None = None  # of the leader, while it waits for news
        self._is_nudged = False
        self._by_piece: dict[Turn, int] = {}  # who wants to know of each piece that is read, up to which position
        self._pieces = Pieces(journal, run_id)  # which the leader reads

    def __repr__(self) -> str:
        return f"<RunFeed {self.run_id} at {self.reader.cursor}: {list(self.channels.values())}>"

    async def catch_up(self, position: int | None = None) -> None:
        """Return when all is folded up to a position, or all that there was at the last news; or when it is over."""
        turn = Turn()
        self._by_piece[turn] = position or 0
        try:
            await self.until(lambda: self.is_over != "" or self._is_level(position), turn)
        finally:
            del self._by_piece[turn]

    async def until(self, is_due: Callable[[], bool], turn: Turn) -> None:
        """Return when `is_due`. Whoever makes that so notifies `turn`."""
        while not is_due():
            if self.lead.is_taken:
                await self.lead.sleep(turn)
                continue
            with self.lead.taken():
                try:
                    while not is_due():
                        await self._step()
                finally:
                    await self._pieces.close()

    def channel(self, kind: FormKind) -> Channel:
        """Return the channel of a form, a new one where there is none. What was held back in it is told then."""
        found = self.channels.get(kind.name)
        if found is None or found.kind is not kind:
            state = self.reader.state() if self.reader.position else None
            found = self.channels[kind.name] = Channel(kind, state, self.reader.cursor, self.coalesce, self.lead)
        now = found.left_at = anyio.current_time()
        found.flush(now)
        self.nudge()
        return found

    def nudge(self) -> None:
        """Let whoever waits for news look whether there is something for him, that another one has put there."""
        if self._waiting is not None:
            self._is_nudged = True
            self._waiting.cancel()

    def go_on(self) -> None:
        """Look again how the run is, though it was over."""
        self.is_over = ""

    def _is_level(self, position: int | None) -> bool:
        if position is None:
            return self._info is not None and self.reader.position >= self._info.position
        return self.reader.position >= position

    def _skippable(self) -> int:
        """Return up to which position events may be left out, where a checkpoint stands for them: nobody wants them."""
        is_new = not self.reader.position and not self.channels
        return min(self._by_piece.values(), default=0) if is_new else 0

    async def _step(self) -> None:
        """Read a piece of what there is, or wait until there is more."""
        reader = self.reader
        if self._info is None or self._info.position > reader.position:
            try:
                self._pieces.may_join = not self.channels
                held = await self._pieces.next(reader.position, self._skippable())
                if held is not None and reader is self.reader:
                    self._take(held)
            except JournalGap:
                await self._pieces.close()
                self._begin_again()
                return
            if held is not None:
                if self.channels or not isinstance(held, Pack) or held.last % BETWEEN_CHECKPOINTS < held.count:
                    await anyio.lowlevel.checkpoint()  # the viewers have their turn before there is more for them
                return
        await self._wait_for_news()

    def _take(self, held: Held) -> None:
        """Fold a piece of the run and hand over what it gives."""
        if isinstance(held, Checkpoint):
            self._lose_all()
        if isinstance(held, Checkpoint) or not self.channels:
            self.reader.skip(held)
        else:
            now = anyio.current_time()
            channels = list(self.channels.values())
            for told in self.reader.fold(held):
                for channel in channels:
                    channel.tell(told, now)
            for channel in channels:
                channel.hand_over(now)
                if not channel.viewers and now - channel.left_at > KEEP_CHANNEL:
                    del self.channels[channel.kind.name]
        self._notify()

    async def _wait_for_news(self) -> None:
        """Return when the run has more, when it is over, or when deltas were held back and have been told."""
        await self._pieces.close()
        async with self.journal.watch(self.run_id) as news:
            while True:
                info = await self._news_within(news, self._patience())
                if self._is_nudged or (info is not None and self._learn(info)):
                    return
                if info is None and (flush_due(self.channels.values()) or await self._is_silent()):
                    return

    async def _news_within(self, news: AsyncIterator[RunInfo], seconds: float | None) -> RunInfo | None:
        info = None
        self._is_nudged = False
        with anyio.move_on_after(seconds) as self._waiting:
            info = await anext(news)
        self._waiting = None
        return info

    def _patience(self) -> float | None:
        """Return for how many seconds news may be waited for; None for any number."""
        now, info = anyio.current_time(), self._info
        ends = due_times(self.channels.values())
        if info is None:
            ends.append(self._began + self._interrupted_after)
        elif info.status == "open":
            ends.append(self._heard_at + self._interrupted_after)
        return min(ends) - now if ends else None

    async def _is_silent(self) -> bool:
        """Ask how the run is, as nothing was heard of it. Return whether that is news."""
        found = [info async for info in self.journal.runs(self.run_id)]
        if not found:
            self._end("gone" if self._info is not None else "interrupted")
            return True
        if self._learn(found[0]):
            return True
        if found[0].status == "open" and found[0].silence >= self._interrupted_after:
            self._end("interrupted")
            return True
        return False

    def _learn(self, info: RunInfo) -> bool:
        """Take what is said of the run. Return whether there is something to do, or it is over; also at first."""
        is_first = self._info is None
        self._info, self._heard_at = info, anyio.current_time() - info.silence
        if info.position < self.reader.position:  # another one of that name
            self._begin_again()
        elif info.position == self.reader.position:
            if info.status not in ("ended", "interrupted"):
                return is_first
            self._end(info.status)
        return True

    def _begin_again(self) -> None:
        """Read the run anew, as what follows is not there. Where even its beginning is not, it is over."""
        if not self.reader.position:
            self._end("gone")
            return
        self.reader, self._info = RunReader(self.journal, self.run_id), None
        self._began = anyio.current_time()
        self._lose_all()
        self._notify()

    def _lose_all(self) -> None:
        channels, self.channels = self.channels, {}
        for channel in channels.values():
            channel.lose("gone")

    def _end(self, how: End) -> None:
        self.is_over = how
        for channel in self.channels.values():
            channel.flush(anyio.current_time())
            channel.end(channel.ending(how, self.reader.cursor))
        self._notify()

    def _notify(self) -> None:
        for turn in self._by_piece:
            self.lead.wake(turn)
