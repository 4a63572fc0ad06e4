"""One run that this process writes: what the server has acknowledged, and what it is to get.

The packs since the last checkpoint are kept after they were acknowledged. So what a server lost can be written again,
from `base` on, the position before the first of them. What comes next follows from three numbers:

    base ─── sent, acknowledged ─── acked ─── queue, not acknowledged ─── position

Where the server has less than `acked`, packs go back into the queue. Where our mark is gone, it gets that again behind
what was there when the run was opened: what came after that is by somebody who had to stop then, and goes. Where it has
less than that, or we do not keep all that followed, it gets a mark and all that is kept, and a reader from before that
a gap or the checkpoint.
"""

from collections import deque
from collections.abc import Sequence
from typing import Any

import anyio

from stepstream.errors import JournalConflict, JournalError, JournalFailed
from stepstream.journal.redis import checkpoint_scripts, scripts
from stepstream.journal.redis.checkpoints import Checkpoints
from stepstream.journal.redis.commands import Bounds, Step, batch, entries
from stepstream.journal.redis.scripts import RunKeys
from stepstream.journal.redis.server import script
from stepstream.live.journal import Checkpoint, Held, Opened, Pack, RunStatus


class RunWriter:
    """A run that was opened here. `length` is the number of its entries on the server, -1 where that is not known."""

    def __init__(self, opened: Opened, keys: RunKeys, bounds: Bounds, length: int = -1, begun: str = "") -> None:
        self.id, self.fence, self.writer = opened.run_id, opened.fence, opened.writer
        self.keys = keys
        self.acked = self.position = self._begins = opened.position
        self.status: RunStatus = "open"
        self.failure: JournalError | None = None
        """Why nothing more is taken."""
        self.waiting = 0
        """The bytes that are not acknowledged."""
        self.missing = 0
        """How many events were given up, and not counted yet."""
        self.is_signed = False
        """Whether a sign of life is due."""
        self._length = length
        self._bounds = bounds
        self._begun = begun or f"{opened.fence}000"  # when it was opened first, in microseconds
        self._error = ""
        self._said: tuple[RunStatus, str] = ("open", "")  # what the server was told
        self._sent: deque[Pack] = deque()
        self._queue: deque[Pack] = deque()
        self._lost: bool | None = None  # where our mark is gone: whether what is kept does not follow what is there
        self._size = self._since = 0  # bytes on the server, as far as we know; of `_sent`
        self._checkpoints = Checkpoints(keys, self.fence, bounds.keep_open, self._look, self._note_kept)
        self._trim = ""  # below which id entries are to go
        self._settled: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"<RunWriter {self.id} {self.fence}: {self.acked:,} of {self.position:,} acknowledged>"

    @property
    def base(self) -> int:
        """The position before the first event that is kept."""
        kept = self._sent or self._queue
        return kept[0].first - 1 if kept else self.position

    @property
    def is_settled(self) -> bool:
        """Whether there is nothing to be sent."""
        if self.is_signed or self._lost is not None or self._queue or self._checkpoints or self._trim:
            return self.failure is not None
        return self.failure is not None or self._said == (self.status, self._error)

    @property
    def is_lost(self) -> bool:
        """Whether the server has lost what cannot just be added."""
        return self._lost is not None and self.failure is None

    def take(self, held: Sequence[Held], status: RunStatus, error: str) -> int:
        """Note what comes next, and what the run is then. Return the bytes that are new."""
        before = self.waiting
        for one in held:
            if isinstance(one, Checkpoint):
                self._checkpoints.take(one)
            elif one.last > self.position:
                pack = one.after(self.position)
                self._queue.append(pack)
                self.waiting += pack.size
                self.position = pack.last
        self.status, self._error = status, error
        return self.waiting - before

    async def settled(self) -> None:
        """Return when everything is acknowledged, or nothing is taken any more."""
        while not self.is_settled:
            self._settled = self._settled or anyio.Event()
            await self._settled.wait()

    def wake(self) -> None:
        """Wake who waits in `settled`, where there is nothing to wait for any more."""
        if self._settled is not None and self.is_settled:
            self._settled.set()
            self._settled = None

    def fail(self, failure: JournalError) -> None:
        """Take nothing more."""
        self.failure = self.failure or failure
        self.missing = self.position - self.acked
        self._sent.clear()
        self._queue.clear()
        self.waiting, self.is_signed = 0, False
        self.wake()

    def count_missing(self, held: Sequence[Held]) -> int:
        """Return how many events are not in the journal that were not counted before, those of `held` too."""
        last = max([one.last for one in held if isinstance(one, Pack)], default=self.position)
        count, self.missing, self.position = self.missing + max(last - self.position, 0), 0, max(last, self.position)
        return count

    def forget(self) -> None:
        """Know no more how many entries there are."""
        self._length = -1

    def plan(self) -> list[Step]:
        """Return what is to be sent now, in order."""
        if self.is_settled:
            return []
        if self._lost is not None:
            return [self._refill(is_whole=self._lost)]
        if self._length < 0 or self.is_signed:
            return [Step(script(scripts.LOOK, self.keys, self._bounds.keep_open), self._look)]
        packs = batch(self._queue)
        last = packs[-1].last if packs else self.acked
        steps = [self._add(packs)] if packs else []
        more = self._drop(self._trim) if self._trim else self._checkpoints.step(last)
        if more is not None:
            steps.append(more)
        elif last == self.position and self._said != (self.status, self._error):
            steps.append(self._say(last, self.status, self._error))
        return steps

    def _look(self, answer: Any) -> None:
        """Take in what is there, where that is not what was expected."""
        self.is_signed = False
        if isinstance(answer, Exception):
            if "equal or smaller" not in str(answer):
                self.fail(JournalFailed(f"the server refuses to keep run {self.id}: {answer}"))
            return self.forget()
        self._length, fence, position = int(answer[0]), int(answer[1]), int(answer[2])
        if fence > self.fence:
            self.fail(JournalConflict(f"run {self.id} was opened by another writer"))
        elif fence < self.fence or position < self.base:
            self._lost, self._trim = not fence or position < self.base or self.base != self._begins, ""
            if self._lost:
                self._checkpoints.lose()
        else:
            self._go_back(position)
            self._go_on(position)
            self.position = max(self.position, position)
        return None

    def _go_on(self, position: int) -> None:
        """Note that the server has what comes up to a position."""
        while self._queue and self._queue[0].last <= position:
            pack = self._queue.popleft()
            self._sent.append(pack)
            self.waiting -= pack.size
            self._size += pack.size
            self._since += pack.size
            while self._since > self._bounds.run_bytes and self._sent:  # without checkpoints not all can be kept
                self._since -= self._sent.popleft().size
        self.acked = max(self.acked, position)

    def _go_back(self, position: int) -> None:
        """Note that the server has nothing beyond a position."""
        while self._sent and self._sent[-1].last > position:
            pack = self._sent.pop()
            self._queue.appendleft(pack)
            self.waiting += pack.size
            self._size -= pack.size
            self._since -= pack.size
        self.acked = min(self.acked, position)

    def _add(self, packs: list[Pack]) -> Step:
        def done(answer: Any) -> None:
            if answer != 1:
                return self._look(answer)
            self._length += len(packs)
            return self._go_on(packs[-1].last)

        return Step(script(scripts.APPEND, self.keys, self._length, self.fence, *entries(self.fence, packs)), done, "e")

    def _say(self, last: int, status: RunStatus, error: str) -> Step:
        is_over = status in ("ended", "interrupted")
        keep = self._bounds.keep if is_over else self._bounds.keep_open
        told = self.fence, last, status, error, int(is_over), keep, self._bounds.keep_open

        def done(answer: Any) -> None:
            if answer != 1:
                return self._look(answer)
            self._said = status, error
            return None

        return Step(script(scripts.SAY, self.keys, *told), done, "s")

    def _note_kept(self, before: Checkpoint | None, checkpoint: Checkpoint) -> None:
        """Note that a checkpoint is there. What is before it need not be held here; before the last one, not there."""
        if before is not None and self._size > self._bounds.run_bytes:
            self._trim = f"{before.fence}-{before.last + 1}"
            self._size = self._since
        while self._sent and self._sent[0].last <= checkpoint.last:
            self._since -= self._sent.popleft().size

    def _drop(self, below: str) -> Step:
        def done(answer: Any) -> None:
            if isinstance(answer, Exception) or len(answer) != 2:
                return self._look(answer)
            self._length = int(answer[0])
            self._trim = below if int(answer[1]) else ""
            return None

        return Step(script(checkpoint_scripts.TRIM, self.keys, self.fence, below, checkpoint_scripts.MAX_DROPPED), done)

    def _refill(self, *, is_whole: bool) -> Step:
        """Return what writes again what is lost: our mark only, or, where more is gone than we keep, the checkpoint.

        What comes after that is sent as if it had never been.
        """
        base, head = self.base, tuple[Any, ...](("", "", ""))
        checkpoint = self._checkpoints.lost if is_whole else None
        if checkpoint is not None:
            piece = self._checkpoints.piece(checkpoint)
            if piece is not None:
                return piece
            base, head = max(base, checkpoint.last), self._checkpoints.head(checkpoint)

        def done(answer: Any) -> None:
            if answer == 0:
                return self._checkpoints.begin_again()
            self._lost, self._said = None, ("open", "")
            if checkpoint is not None:
                self._checkpoints.note_kept(checkpoint)
            return self._look(answer)

        told = self.id, self.fence, int(is_whole), self._bounds.keep_open, base, self.writer, self._begun, *head
        return Step(script(checkpoint_scripts.REFILL, self.keys, *told), done)
