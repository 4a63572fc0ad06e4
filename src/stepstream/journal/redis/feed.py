"""A run that is followed in this process: what is known of it, and its newest packs, for all who follow it here."""

from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from stepstream.errors import JournalGap
from stepstream.journal.news import News
from stepstream.journal.redis.entries import Mark, entries_of
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Pack

TAIL_BYTES: Final = 2**20
"""How many bytes of a run are kept here for those who follow it. Who is behind that asks the server."""


class Feed:
    """A run that is followed here: what it is, and its newest packs."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.watchers: dict[News, None] = {}
        self.gap: JournalGap | None = None
        """Why nobody can go on who follows it."""
        self.fence, self.position = -1, 0
        """Those of the newest event; before anything is known, a fence of -1."""
        self.is_missed = False
        """Whether less than that was on the server at the last look. It is lost if it is so at the next, too: until
        then its publisher may write it again."""
        self._info: RunInfo | None = None
        self._tail: deque[Pack] = deque()
        self._size = 0

    @property
    def is_begun(self) -> bool:
        """Whether anything is known, and somebody can go on."""
        return self.fence >= 0 and self.gap is None

    def info(self, _: str = "") -> RunInfo | None:
        """Return what the run is.

        Raises:
            JournalGap: nobody can go on who follows it.
        """
        if self.gap is not None:
            raise self.gap
        return self._info

    def packs_after(self, position: int) -> list[Pack] | None:
        """Return what is here after a position, None where that does not begin there.

        Raises:
            JournalGap: nobody can go on who follows it.
        """
        if self.gap is not None:
            raise self.gap
        begins = self._tail[0].first if self._tail else self.position + 1
        return [pack for pack in self._tail if pack.last > position] if begins <= position + 1 else None

    def begin(self, info: RunInfo | None) -> None:
        """Note what the run is, where nothing was known: what it has is read by those who want it."""
        if self.fence < 0:
            self.fence, self.position = (info.fence, info.position) if info is not None else (0, 0)
            self.tell(info)

    def is_lost(self, info: RunInfo | None, is_look: bool) -> bool:
        """Return whether the server, which says `info`, has less of the run than is known here. Twice is a gap."""
        if info is None and self._info is not None and self._info.status in ("ended", "interrupted"):
            return True  # it was kept for as long as it had to be
        newest = (0, 0) if info is None else (info.fence, info.position)
        if newest >= (self.fence, self.position):
            self.is_missed = False
            return False
        if is_look and self.is_missed:
            self.lose(f"the server has lost what it had of run {self.run_id}")
        self.is_missed = self.is_missed or is_look
        return True

    def add(self, entries: Iterable[Pack | Mark]) -> None:
        """Note what came."""
        for one in entries:
            if isinstance(one, Mark):
                if one.fence > self.fence and (one.after, one.position) != (self.fence, self.position) and self.fence:
                    return self.lose(f"what comes next of run {self.run_id} does not go on where it was")
                self.fence = one.fence
                continue
            if one.last <= self.position:
                continue
            if one.first > self.position + 1:
                return self.lose(f"expected event {self.position + 1:,} of run {self.run_id}, got {one.first:,}")
            self.fence, self.position = one.fence, one.last
            self._tail.append(one)
            self._size += one.size
            while self._size > TAIL_BYTES and len(self._tail) > 1:
                self._size -= self._tail.popleft().size
        return None

    def take(self, answer: Any) -> None:
        """Note the entries that the server gave. From one that no writer wrote nobody can go on."""
        try:
            self.add(entries_of(answer, self.run_id))
        except JournalGap as exc:
            self.lose(str(exc))

    def tell(self, info: RunInfo | None) -> None:
        """Note what the run is, and say so where that is news: not only how long its writer has said nothing."""
        before, self._info = self._info, info
        if before is None or info is None or _told_of(before) != _told_of(info):
            self._notify()

    def lose(self, text: str) -> None:
        """Note that nobody can go on who follows it."""
        self.gap = self.gap or JournalGap(text)
        self._notify()

    def _notify(self) -> None:
        for news in self.watchers:
            news.note(self.run_id)


def _told_of(info: RunInfo) -> tuple[object, ...]:
    return info.status, info.fence, info.position, info.error
