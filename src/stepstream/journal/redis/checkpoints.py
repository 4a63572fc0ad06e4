"""The checkpoints of a run that this process writes: each goes in pieces, and can be read once all are there."""

from collections import deque
from collections.abc import Callable
from typing import Any, Final

from stepstream.journal.redis import checkpoint_scripts
from stepstream.journal.redis.commands import Step
from stepstream.journal.redis.scripts import RunKeys
from stepstream.journal.redis.server import script
from stepstream.live.journal import Checkpoint

PIECE_BYTES: Final = 2**18
"""How large a piece is: as much of a run as is sent at once."""


class Checkpoints:
    """Those of one run that are to be sent, and the one that the server has.

    `look` is called with answers that say that the server has not what was expected, `kept` with the checkpoint that
    was there before, if any, and the one that can be read now.
    """

    def __init__(
        self,
        keys: RunKeys,
        fence: int,
        keep_open: int,
        look: Callable[[Any], None],
        kept: Callable[[Checkpoint | None, Checkpoint], None],
    ) -> None:
        self.lost: Checkpoint | None = None
        """The one that the server had, and has lost."""
        self._keys, self._fence, self._keep_open, self._look, self._tell_kept = keys, fence, keep_open, look, kept
        self._kept: Checkpoint | None = None
        self._waiting: deque[Checkpoint] = deque()  # the next one, and the newest
        self._pieces = 0  # those of the one that is sent that are there

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def take(self, one: Checkpoint) -> None:
        """Note one that is to be sent, instead of one that waits behind another."""
        if len(self._waiting) > 1:
            self._waiting.pop()
        self._waiting.append(one)

    def step(self, last: int) -> Step | None:
        """Return what is to be sent now, where the server has the events up to `last`."""
        while not self._pieces and len(self._waiting) > 1 and self._waiting[1].last <= last:
            self._waiting.popleft()
        if not self._waiting or self._waiting[0].last > last:
            return None
        return self.piece(self._waiting[0]) or self._keep(self._waiting[0])

    def piece(self, one: Checkpoint) -> Step | None:
        """Return what adds the next piece of a checkpoint, None where all are there."""
        start = self._pieces * PIECE_BYTES
        if start and start >= len(one.data):
            return None

        def done(answer: Any) -> None:
            if answer == 1:
                self._pieces += 1
            else:
                self._look(answer)

        told = self._fence, one.fence, one.last, self._pieces, one.data[start : start + PIECE_BYTES], self._keep_open
        return Step(script(checkpoint_scripts.PIECE, self._keys, *told), done)

    def head(self, one: Checkpoint) -> tuple[int, int, int]:
        """Return the fence and the position of a checkpoint all pieces of which are there, and their number."""
        return one.fence, one.last, self._pieces

    def _keep(self, one: Checkpoint) -> Step:
        def done(answer: Any) -> None:
            if answer == 0:
                return self.begin_again()
            if answer != 1:
                return self._look(answer)
            before = self._kept
            self.note_kept(one)
            return self._tell_kept(before, one)

        told = self._fence, *self.head(one), self._keep_open
        return Step(script(checkpoint_scripts.CHECKPOINT, self._keys, *told), done)

    def note_kept(self, one: Checkpoint) -> None:
        """Note that a checkpoint can be read."""
        self._kept, self.lost, self._pieces = one, None, 0
        while self._waiting and self._waiting[0].last <= one.last:
            self._waiting.popleft()

    def begin_again(self) -> None:
        """Note that the server has no pieces of one that cannot be read yet."""
        self._pieces = 0

    def lose(self) -> None:
        """Note that it has none at all."""
        self._pieces = 0
        self._kept, self.lost = None, self._kept or self.lost
