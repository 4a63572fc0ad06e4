"""A tally: a count that only grows, and those who wait until it has come somewhere."""

import anyio


class Tally:
    """Each waiter is woken once, when the count has come to its mark: a thousand of them cost the others nothing."""

    __slots__ = ("_is_closed", "_marks", "count")

    def __init__(self) -> None:
        self.count = 0
        self._is_closed = False
        self._marks: dict[int, anyio.Event] = {}

    async def reached(self, mark: int) -> None:
        """Return when the count is at `mark`, or never will be."""
        while self.count < mark and not self._is_closed:
            await self._marks.setdefault(mark, anyio.Event()).wait()

    def add(self) -> None:
        """Count one more."""
        self.count += 1
        if self._marks and (waiting := self._marks.pop(self.count, None)) is not None:
            waiting.set()

    def close(self) -> None:
        """Let everybody go: nothing that is still waited for will come."""
        self._is_closed = True
        for waiting in self._marks.values():
            waiting.set()
        self._marks.clear()
