"""A run that a test publishes itself, as it likes: packs of any size, checkpoints, other writers."""

from functools import cache

from stepstream import Accumulator, FrameDecoder, MemoryJournal
from stepstream.dialects.canonical import frame_of_event
from stepstream.fold.changes import Change
from stepstream.fold.checkpoint import save_run
from stepstream.live.journal import Checkpoint, Opened, RunStatus, packs_of
from stepstream.wire.events import Event
from stepstream.wire.sse import Frame, encode_frame
from tests.support.places import ROOT


@cache
def events_of(*names: str) -> tuple[str, tuple[Event, ...]]:
    """Return the id of the first run of streams that continue each other, and its events."""
    accumulator = Accumulator()
    events = []
    for name in names:
        for frame in FrameDecoder().feed((ROOT / "tests" / "streams" / f"{name}.sse").read_bytes()):
            for event in accumulator.translation.feed(frame):
                accumulator.apply(event)
                if accumulator.runs and event.name not in ("done", "error"):
                    events.append(event)
    return next(iter(accumulator.runs)), tuple(events)


async def sums_and_tides() -> MemoryJournal:
    """Return a journal with a run that goes on, and one that has ended."""
    journal = MemoryJournal()
    await PublishedRun(journal, *events_of("sums")).append(5)
    await PublishedRun(journal, *events_of("tides")).append(1000)
    return journal


class PublishedRun:
    """A run of a journal, and what one knows who has had all of it."""

    def __init__(self, journal: MemoryJournal, run_id: str, events: tuple[Event, ...]) -> None:
        self.journal = journal
        self.run_id = run_id
        self.events = events
        self.position = 0
        self.server = Accumulator()
        self.server.stream.journal = run_id
        self.server.translation.be_plain()
        self.changes: list[tuple[int, Change]] = []
        """What was done, each with the position of the event that did it."""
        self.unsaved = 0
        """The bytes since the last checkpoint."""
        self._opened: Opened | None = None

    @property
    def is_whole(self) -> bool:
        return self.position == len(self.events)

    async def open(self, writer: str = "writer") -> int:
        """Open it for writing, anew; return the fence."""
        self._opened = await self.journal.open(self.run_id, writer=writer, after=self.position)
        return self._opened.fence

    async def append(self, count: int, *, status: RunStatus | None = None, error: str = "") -> None:
        """Publish some of its events in a pack; with the last one it ends."""
        if self._opened is None:
            await self.open()
        assert self._opened is not None
        events = self.events[self.position : self.position + count]
        blocks = []
        for event in events:
            told = frame_of_event(event)
            block = encode_frame(Frame(told.event, told.data))
            blocks.append(block)
            for frame in FrameDecoder().feed(block):
                done = self.server.apply_frame(frame)
                self.changes += [(self.position + len(blocks), change) for change in done]
        self.unsaved += sum(map(len, blocks))
        held = packs_of(self._opened.fence, self.position + 1, blocks)
        self.position += len(events)
        await self.journal.append(
            self._opened, held, status=status or ("ended" if self.is_whole else "open"), error=error
        )

    async def checkpoint(self) -> None:
        """Write a checkpoint of all that was published."""
        assert self._opened is not None
        self.unsaved = 0
        saved = Checkpoint(self._opened.fence, self.position, save_run(self.server.stream, self.run_id))
        await self.journal.append(self._opened, [saved])
