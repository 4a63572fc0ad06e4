"""What a journal in memory keeps of one run, and who writes it."""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterator

from stepstream.errors import JournalGap
from stepstream.journal.run_info import RunInfo
from stepstream.live.journal import Checkpoint, Held, Pack, RunStatus


class Writer:
    """A publishing process."""

    __slots__ = ("__weakref__", "seen")

    def __init__(self) -> None:
        self.seen = 0.0  # when it gave the last sign of life


class KeptRun:
    """What is kept of a run."""

    __slots__ = (
        "checkpoint", "ended", "error", "fence", "id", "opened", "over_at", "packs", "position", "size", "status",
        "watchers", "writer",
    )  # fmt: skip

    def __init__(self, run_id: str, opened: float) -> None:
        self.id = run_id
        self.opened = opened
        self.ended: float | None = None
        self.over_at = 0.0
        self.fence = self.position = self.size = 0
        self.status: RunStatus = "open"
        self.error = ""
        self.packs: deque[Pack] = deque()
        self.checkpoint: Checkpoint | None = None
        self.writer = Writer()

    def info(self, now: float) -> RunInfo:
        """Return what is said of it."""
        return RunInfo(
            id=self.id,
            status=self.status,
            position=self.position,
            opened=self.opened,
            ended=self.ended,
            fence=self.fence,
            error=self.error,
            silence=max(now - self.writer.seen, 0),
        )

    @property
    def has_covered(self) -> bool:
        """Whether its oldest events are in its checkpoint, too."""
        return self.checkpoint is not None and bool(self.packs) and self.packs[0].last <= self.checkpoint.last

    def shortest_after(self, position: int) -> Iterator[Held]:
        """Yield what there is after a position, with a checkpoint for all that it stands for."""
        checkpoint = self.checkpoint
        if checkpoint is not None and checkpoint.last > position:
            yield checkpoint
            position = checkpoint.last
        while position < self.position:
            held = self.next_after(position)
            yield held
            position = held.last

    def next_after(self, position: int) -> Held:
        """Return what comes next after a position, which is not the last.

        Raises:
            JournalGap: it is gone, and no checkpoint stands for it.
        """
        begins = self.packs[0].first if self.packs else self.position + 1
        if begins <= position + 1:
            return self.packs[bisect_right(self.packs, position, key=_last)]
        checkpoint = self.checkpoint
        if checkpoint is None or checkpoint.last + 1 < begins:
            raise JournalGap(f"the events of run {self.id} up to {begins - 1:,} are gone, without a checkpoint")
        return checkpoint


def _last(pack: Pack) -> int:
    return pack.last
