"""What a viewer missed who comes back, read from the journal at its own pace, until it is level with all others."""

from typing import Final

from stepstream.errors import JournalGap
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import Cursor
from stepstream.live.journal import Checkpoint
from stepstream.relay.batch import Batch
from stepstream.relay.feed import RunFeed
from stepstream.relay.forms.form import FormKind
from stepstream.relay.run_reader import START, Pieces, RunReader, next_held
from stepstream.relay.telling import Telling

NOWHERE: Final = Cursor(0, 2**63)
"""A place that no run comes to."""


def place_of(last_event_id: str) -> Cursor:
    """Return the place that an id names. What no frame has as its id is nowhere: the first event has position 1."""
    try:
        cursor = Cursor.parse(last_event_id)
    except ValueError:
        return NOWHERE
    return cursor if cursor.position else NOWHERE


class CatchUp:
    """Goes on behind a place in a run, up to where its feed is.

    A form that is `stateless` goes on there at once. For any other the run is folded up to there first.
    """

    def __init__(self, feed: RunFeed, kind: FormKind, cursor: Cursor) -> None:
        self._feed = feed
        self._kind = kind
        self._cursor = cursor
        begins = cursor if kind.stateless else START
        self._reader = RunReader(feed.journal, feed.run_id, begins, folds=not kind.stateless)
        self._telling: Telling | None = None

    @property
    def position(self) -> int:
        """How far it has come."""
        return self._reader.position

    @property
    def has_begun(self) -> bool:
        """Whether the place was there."""
        return self._telling is not None

    async def next(self) -> Batch | None:
        """Return what comes next; None where there is nothing more that the feed has had.

        Raises:
            JournalGap: there is no such place, or what follows it is gone.
        """
        telling = self._telling or await self._go_to_place()
        while self._reader.position < self._feed.reader.position:
            batch = await self._read_on(telling)
            if batch is not None and batch.frames:
                return batch
        return None

    async def _go_to_place(self) -> Telling:
        cursor, feed = self._cursor, self._feed
        if not await is_place(feed.journal, feed.run_id, cursor):
            raise JournalGap(f"run {feed.run_id} has no event {cursor}")
        pieces = Pieces(feed.journal, feed.run_id)
        pieces.may_join = True
        try:
            while self._reader.position < cursor.position:
                held = await pieces.next(self._reader.position, cursor.position)
                if held is None or (isinstance(held, Checkpoint) and held.last > cursor.position):
                    raise JournalGap(f"the events of run {feed.run_id} up to {cursor} are gone")
                self._reader.skip(held if isinstance(held, Checkpoint) else held.until(cursor.position))
        finally:
            await pieces.close()
        state = None if self._kind.stateless or not self._reader.position else self._reader.state()
        self._telling = Telling(self._kind, state, self._feed.coalesce)
        return self._telling

    async def _read_on(self, telling: Telling) -> Batch | None:
        held = await next_held(self._feed.journal, self._feed.run_id, self._reader.position)
        if held is None or isinstance(held, Checkpoint):
            raise JournalGap(f"the events of run {self._feed.run_id} after {self._reader.cursor} are gone")
        for told in self._reader.fold(held.until(self._feed.reader.position)):
            telling.tell(told, 0)
        telling.flush(0)
        return telling.cut()


async def is_place(journal: Journal, run_id: str, cursor: Cursor) -> bool:
    """Return whether there is an event at a place, by the writer that the cursor names.

    Of an event that is gone, only what stands for it or follows it tells.
    """
    fence, position = cursor
    try:
        held = await next_held(journal, run_id, position - 1)
    except JournalGap:
        held = None
    if held is None:
        held = await next_held(journal, run_id, position)
    if held is None:
        return False
    first = held.last if isinstance(held, Checkpoint) else held.first
    return held.fence == fence and first <= position <= held.last
