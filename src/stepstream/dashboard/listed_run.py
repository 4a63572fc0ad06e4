"""One run of the list: what its journal says of it, and its fold as long as it goes on."""

import anyio
import anyio.lowlevel
import msgspec

from stepstream.dashboard.summary import Counts
from stepstream.errors import JournalGap
from stepstream.journal.reading import Journal
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Checkpoint, Held
from stepstream.relay.run_reader import Pieces, RunReader


class ListedRun:
    """A run of `journal`. `info` is what that says of it, `data` the summary as JSON, `version` when that changed."""

    __slots__ = ("_counts", "_is_joining", "_journal", "_reader", "data", "info", "is_large", "size", "version")

    def __init__(self, journal: Journal, info: RunInfo) -> None:
        self.info = info
        self.size = 0
        """How many bytes its fold is made of; 0 where it has none."""
        self.is_large = False
        """Whether it is folded only when it has ended."""
        self.version = 0
        self.data = b""
        self._journal = journal
        self._counts = Counts()
        self._reader: RunReader | None = None
        self._is_joining = False  # whether what is there is folded at once, and counted when all of it is

    def __repr__(self) -> str:
        return f"<ListedRun {self.info.id} {self.info.status}>"

    @property
    def is_over(self) -> bool:
        """Whether it ended or was interrupted."""
        return self.info.status in ("ended", "interrupted")

    @property
    def is_to_be_folded(self) -> bool:
        """Whether its events are folded now."""
        return self.is_over or not self.is_large

    def take(self, info: RunInfo) -> bool:
        """Take what the journal says now, and return whether that is something new."""
        before, self.info = self.info, info
        if before.position > info.position or before.opened != info.opened:  # another one of that name
            self.forget_fold()
        return _told(before) != _told(info)

    def encode(self) -> bool:
        """Encode its summary, and return whether that has changed."""
        before, self.data = self.data, msgspec.json.encode(self._counts.summary(self.info))
        return before != self.data

    def forget_fold(self) -> None:
        """Give up what it is folded to: the summary stays."""
        self._reader, self.size = None, 0

    async def fold(self, until: float) -> bool:
        """Fold what the journal has, until it is late. Return whether there is more."""
        try:
            has_more = await self._read(until)
        except JournalGap:
            self.forget_fold()
            self.is_large, has_more = True, False  # it may be readable at its end, from a checkpoint
        if self.is_over and not has_more:
            self.forget_fold()
        return has_more

    async def _read(self, until: float) -> bool:
        if self._reader is None:
            self._reader, self.size, self._is_joining = RunReader(self._journal, self.info.id), 0, True
        reader, pieces = self._reader, Pieces(self._journal, self.info.id)
        pieces.may_join = self._is_joining
        try:
            while (held := await pieces.next(reader.position, self.info.position * self._is_joining)) is not None:
                self._fold(reader, held)
                if anyio.current_time() >= until:
                    return True
                await anyio.lowlevel.checkpoint()
        finally:
            await pieces.close()
        if self._is_joining:
            self._is_joining, self._counts = False, Counts()
            self._counts.begin_at(reader.state())
        return False

    def _fold(self, reader: RunReader, held: Held) -> None:
        self.size += len(held.data) if isinstance(held, Checkpoint) else held.size
        if self._is_joining or isinstance(held, Checkpoint):  # then its state is counted, in the end
            self._is_joining = True
            reader.skip(held)
            return
        for told in reader.fold(held):
            for change in told.changes:
                self._counts.take(change)


def _told(info: RunInfo) -> tuple[object, ...]:
    return info.status, info.position, info.fence, info.ended, info.error
