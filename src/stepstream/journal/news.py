"""News of runs, for one who watches: the newest of each run once, however many there were since the last look."""

from collections.abc import Callable, Iterable
from typing import Self

from stepstream.journal.run_info import RunInfo
from stepstream.live.pending import Signal


class News:
    """What changed of the runs that one watches. `infos` returns what is to be said of a run now."""

    def __init__(self, known: Iterable[str], infos: Callable[[str], RunInfo | None]) -> None:
        self._changed = dict.fromkeys(known)
        self._infos = infos
        self._signal = Signal()

    def note(self, run_id: str) -> None:
        """Note that a run changed."""
        self._changed[run_id] = None
        self._signal.notify()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunInfo:
        while (info := self.at_hand()) is None:
            await self._signal.wait()
        return info

    def at_hand(self) -> RunInfo | None:
        """Return what comes next, None where that is to be waited for."""
        while self._changed:
            run_id = next(iter(self._changed))
            del self._changed[run_id]
            info = self._infos(run_id)
            if info is not None:
                return info
        return None
