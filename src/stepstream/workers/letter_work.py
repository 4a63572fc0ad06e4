"""The work on a dead letter that is sent again: its subscriber gets the change once more."""

import time
from contextlib import aclosing
from typing import Any

from msgspec.structs import replace

from stepstream.errors import StepStreamError
from stepstream.fold.accumulator import Accumulator
from stepstream.fold.changes import Change
from stepstream.fold.encoding import decode_change
from stepstream.live.journal import Checkpoint, Pack
from stepstream.live.processor import Processor
from stepstream.live.silent_fold import SilentFold
from stepstream.live.source import ItemDecoder
from stepstream.workers.dead_letters import DeadLetter, kept, read
from stepstream.workers.worked import WorkedRun


class LetterWork:
    """The work on one letter."""

    def __init__(self, run: WorkedRun, journal: Any, processor: Processor) -> None:
        self.run = run
        self.buried = 0
        self._journal, self._processor = journal, processor

    async def do(self) -> None:
        """Deliver the change. The letter is dropped then; or kept, with the new reason, where that failed too."""
        run = self.run
        assert run.claim.letter is not None
        letter = read(run.claim.letter)
        if run.claim.is_spent:
            return self._bury(letter, "the workers that had it again died")
        change = await self._change(letter)
        if change is None:
            return self._bury(letter, "its run is gone, and it was too large to be kept")
        found = await self._processor.redeliver(change, letter.subscriber, lease=run.lease)
        if not found:
            return self._bury(letter, "no subscriber of this name takes it here")
        run.verb = "bury" if run.letters else "finish"
        return None

    def _bury(self, letter: DeadLetter, why: str) -> None:
        reason = f"{letter.reason.partition(' (')[0]} ({why})"
        self.run.add_letter(letter.position, kept(replace(letter, reason=reason, time=time.time())))
        self.run.verb = "bury"

    async def _change(self, letter: DeadLetter) -> Change | None:
        """Return the change as the fold makes it; where its run is gone, as the letter has it."""
        try:
            found = await self._folded(letter)
        except StepStreamError:
            found = None
        if found is not None or bytes(letter.change) == b"null":
            return found
        return replace(decode_change(bytes(letter.change)), context=self.run.claim)

    async def _folded(self, letter: DeadLetter) -> Change | None:
        accumulator = Accumulator(context=self.run.claim)
        silent, stream = SilentFold(accumulator), accumulator.stream
        stream.journal, stream.received_at = letter.run_id, time.time()
        async with aclosing(self._journal.read_shortest(letter.run_id, up_to=letter.position - 1)) as found:
            async for held in found:
                if not isinstance(held, Checkpoint) and held.last >= letter.position:
                    return _change_of(accumulator, held, letter)
                silent.fold(held)
        return None


def _change_of(accumulator: Accumulator, pack: Pack, letter: DeadLetter) -> Change | None:
    """Fold a pack as far as the change of a letter, and return that; None where it is not there."""
    accumulator.stream.sequence = pack.first - 1
    for frame in ItemDecoder().feed(pack.data):
        for change in accumulator.apply_frame(frame):
            if (change.sequence, change.key) == (letter.position, letter.key):
                return change
    return None
