"""What a journal of runs is to those who write it: two methods, and what goes through them.

A journal keeps the events of each run, numbered 1, 2, 3, … without gap: the number is the event's position. They lie in
packs, which are pieces of an event stream, in the vocabulary of the fold. What stands for events that are gone is a
checkpoint: the state of the run at a position. So whoever reads a run folds it with the code that folded it first.

    pack 1 to 64    pack 65 to 120    pack 121    …          open      until its writer says otherwise
    checkpoint at 64                                       waiting, ended, interrupted

Who writes a run opens it before. That gives a fence, higher than every one before: from then on what comes with a lower
one is refused, so that two writers never mix. The readers' half of a journal is in the room of that name.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec

from stepstream.errors import JournalError, StepStreamError

MAX_FRAMES: Final = 64
"""How many events a pack holds at most."""

MAX_PACK_BYTES: Final = 256 * 2**10
"""How many bytes, unless a single event is larger."""

HEARTBEAT: Final = 10.0
"""Seconds after which a publishing process that had nothing to write gives a sign of life."""

BLANK: Final = b"\n\n"
"""What ends each event of a pack. Nothing within an event has it."""

RunStatus: TypeAlias = Literal["open", "waiting", "ended", "interrupted"]
"""What the writer of a run says of it: events come, it waits for action, it has ended, or its stream broke."""


class Pack:
    """Some events of a run, one after another, and the fence of their writer. It does not change.

    Its bytes are joined when they are first read: what nobody reads costs no copy.
    """

    __slots__ = ("_parts", "count", "fence", "first", "size")

    def __init__(self, fence: int, first: int, count: int, *data: bytes) -> None:
        self.fence = fence
        self.first = first
        """The position of the first event."""
        self.count = count
        self._parts = data
        self.size = sum(map(len, data))
        """The number of bytes."""

    def __repr__(self) -> str:
        return f"<Pack {self.fence}.{self.first} to {self.last}: {self.size:,} bytes>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pack) and self._as_tuple() == other._as_tuple()

    def __hash__(self) -> int:
        return hash((self.fence, self.first, self.count))

    def _as_tuple(self) -> tuple[int, int, int, bytes]:
        return self.fence, self.first, self.count, self.data

    @property
    def data(self) -> bytes:
        """A piece of an event stream: events without ids, each ended by an empty line, all lines ended by LF."""
        if len(self._parts) > 1:
            self._parts = (b"".join(self._parts),)
        return self._parts[0]

    @property
    def last(self) -> int:
        """The position of the last event."""
        return self.first + self.count - 1

    def after(self, position: int) -> "Pack":
        """Return the pack without the events up to a position; itself where it has none of them."""
        skipped = position - self.first + 1
        if skipped <= 0:
            return self
        rest = self.data.split(BLANK, skipped)[-1]
        return Pack(self.fence, position + 1, self.count - skipped, rest)

    def until(self, position: int) -> "Pack":
        """Return the pack without the events beyond a position; itself where it has none of them."""
        count = position - self.first + 1
        if count >= self.count:
            return self
        kept = BLANK.join(self.data.split(BLANK, count)[:-1]) + BLANK
        return Pack(self.fence, self.first, count, kept)


class Checkpoint(msgspec.Struct, frozen=True, gc=False):
    """The state of a run as of a position, in bytes that `fold.checkpoint` reads."""

    fence: int
    last: int
    """The position of the last event that is in it."""
    data: bytes


Held: TypeAlias = Pack | Checkpoint
"""What a journal holds of a run."""


async def given(held: Sequence[Held] = ()) -> AsyncIterator[Held]:
    """Yield pieces that are at hand."""
    for one in held:
        yield one


class Opened(msgspec.Struct, frozen=True):
    """A run that was opened for writing."""

    run_id: str
    writer: str
    """Who opened it: the same name for all runs that one process publishes."""
    fence: int
    position: int
    """That of the last event there was: the next one has the position after it."""
    held: AsyncIterator[Held]
    """The events up to it, from those after the position that was asked for: to be read once, or not at all. Best it
    begins with a checkpoint, where there is one after that position: nobody is told what is in it."""


class WritableJournal(Protocol):
    """Where the runs of a processor are written to. It is called for one run by one task at a time."""

    async def open(self, run_id: str, *, writer: str, after: int = 0) -> Opened:
        """Open a run, a new one or one that others have written: from now on what they write of it is refused.

        `writer` names the process, `after` is the position up to which it knows the run.

        Raises:
            JournalFull: there is no room for another run.
            JournalGap: `held` cannot be given.
        """

    async def append(
        self, opened: Opened, held: Sequence[Held] = (), *, status: RunStatus = "open", error: str = ""
    ) -> None:
        """Add what comes next of a run, and say what it is now: with nothing, it is a sign of life of the writer.

        One sign counts for all runs that the writer has open. What is there already is not added again. With another
        status than "open" it returns when all is safe; else it may return before, and a later call raises.

        Raises:
            JournalConflict: somebody has opened the run since.
        """


def checked_journal(journal: WritableJournal | None) -> WritableJournal | None:
    """Return a journal, if it is one. None is none.

    Raises:
        TypeError: it cannot be written to.
    """
    if journal is not None and not (hasattr(journal, "open") and hasattr(journal, "append")):
        raise TypeError(f"expected a journal, such as MemoryJournal(), got {type(journal).__name__}")
    return journal


class _TranslatedErrors:
    """A class, for a generator would cost each write of a journal ten times as much."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, StepStreamError):
            raise JournalError(f"the journal failed: {type(error).__name__}") from error


_TRANSLATED: Final = _TranslatedErrors()


def translated_errors() -> AbstractContextManager[None]:
    """Raise what a journal raises that is not of stepstream as a `JournalError`; its own text stays in the cause."""
    return _TRANSLATED


class RunPiece(msgspec.Struct, frozen=True):
    """An item of a source that follows a run: what its journal holds next."""

    journal: Any
    run_id: str
    held: Held
    is_silent: bool = False
    """Whether its changes were had before: it is folded, and nothing is told."""


class Packing:
    """Puts the events of a run into packs as they come. The first event has the position `first`."""

    __slots__ = ("_count", "_fence", "_next", "_parts", "packs")

    def __init__(self, fence: int, first: int) -> None:
        self._fence = fence
        self._next = first
        self.packs: list[Pack] = []
        """Those that get nothing more."""
        self._parts: list[bytes] = []  # of the pack that is not full yet
        self._count = 0  # its events

    def add(self, count: int, parts: Sequence[bytes]) -> None:
        """Add events, at most as many as a pack may have, with the empty line that ends each."""
        if self._count + count > MAX_FRAMES:
            self.close()
        self._parts += parts
        self._count += count

    def close(self) -> None:
        """Let what comes next begin another pack."""
        if self._count:
            pack = Pack(self._fence, self._next, self._count, *self._parts)
            self.packs += (pack,) if pack.size <= MAX_PACK_BYTES else _in_size(pack)
            self._next += self._count
            self._parts.clear()
            self._count = 0


def packs_of(fence: int, first: int, blocks: Sequence[bytes]) -> list[Pack]:
    """Return events as packs, each event with the empty line that ends it."""
    packing = Packing(fence, first)
    for block in blocks:
        packing.add(1, (block,))
    packing.close()
    return packing.packs


def _in_size(pack: Pack) -> list[Pack]:
    """Return a pack, in halves where it is too large and more than one event."""
    if pack.size <= MAX_PACK_BYTES or pack.count == 1:
        return [pack]
    half = pack.first + pack.count // 2 - 1
    return [*_in_size(pack.until(half)), *_in_size(pack.after(half))]
