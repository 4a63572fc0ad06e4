"""What a worker has claimed: how far it is, and what is to be said of it next."""

import math
from collections.abc import Callable
from typing import Final

import anyio

from stepstream.journal.claiming import Beat, Claim, Letter, Verb
from stepstream.live.handle import StreamHandle
from stepstream.live.leases import Lease

COMMIT_EVERY: Final = 1.0
"""Seconds after which what was settled is said, if the lease does not make it earlier: a worker that dies costs at most
that what was done in this time is done again."""


MAX_SAID: Final = 2**20
"""How many bytes of letters are said at once, unless one is larger."""


class WorkedRun:
    """A claim in hand, of a run or of a dead letter. It is this worker's until its `lease` ends."""

    def __init__(self, claim: Claim, lease: Lease, duration: float, clock: Callable[[], float]) -> None:
        self.claim, self.lease = claim, lease
        self.verb: Verb = "give back"
        """What becomes of it, once it is gone."""
        self.position = claim.position
        """The newest event up to which all is settled, as far as that was said."""
        self.newest = claim.newest
        self.letters: list[tuple[int, Letter]] = []
        """What is to be kept as dead letters, and was not said, each with the position that it is about."""
        self.unsaid = 0
        """How many bytes these have."""
        self.handle: StreamHandle | None = None
        self.waiting = anyio.CancelScope()
        """Of the wait for what is not settled after the end of the stream."""
        self.gone = anyio.Event()
        """Set once nothing is done for it any more."""
        self.is_lost = False
        """Whether it is over for this worker, whatever it says."""
        self.is_stopped = False
        """Whether its lease was ended, with all that is done under it."""
        self.behind_since: float | None = None
        """When events came that are not settled yet; None while there are none."""
        self._clock = clock
        self._duration = duration
        self._said_at = self._looked_at = clock()

    def __repr__(self) -> str:
        return f"<WorkedRun {self.claim.token}: {self.verb} at {self.position:,} of {self.newest:,}>"

    @property
    def settled(self) -> int:
        """The newest event up to which all is settled."""
        return self.position if self.handle is None else max(self.position, int(self.handle.settled(self.claim.run_id)))

    @property
    def is_suspect(self) -> bool:
        """Whether it is, for all that was said, what ended the workers before."""
        return self.claim.is_suspect and self.position == self.claim.position and not self.is_lost

    @property
    def lag(self) -> int:
        """How many events are not settled yet."""
        return max(self.newest - self.settled, 0)

    def due_at(self) -> float:
        """Return when something may have to be said of it."""
        if self.gone.is_set() or self.lease.is_over:
            return -math.inf
        return min(self._said_at + self._duration / 3, self._looked_at + COMMIT_EVERY)

    def is_due(self, now: float) -> bool:
        """Return whether something is to be said of it now. What is settled is looked at once a second only: that takes
        a look at all that waits."""
        if self.due_at() > now:
            return False
        self._looked_at = now
        is_renewed = now < self._said_at + self._duration / 3 and not (self.gone.is_set() or self.lease.is_over)
        return not is_renewed or bool(self.letters) or self.settled > self.position

    def beat(self, otherwise: Verb = "renew") -> Beat:
        """Return what is to be said of it now: `otherwise`, where work goes on. What was not said by the end of the
        lease is not said any more."""
        if self.lease.is_over:
            return Beat(self.claim, "give back", self.position)
        verb = self.verb if self.gone.is_set() else otherwise
        if self.claim.letter is not None and not self.gone.is_set():
            return Beat(self.claim, verb, self.position)  # what becomes of a letter is said at its end
        letters, left = self._some_letters()
        if not left:
            return Beat(self.claim, verb, self.settled, letters)
        position = max(min(self.settled, min(place for place, _ in left) - 1), self.position)
        return Beat(self.claim, "renew" if self.gone.is_set() else otherwise, position, letters)

    def _some_letters(self) -> tuple[list[Letter], list[tuple[int, Letter]]]:
        """Return as many letters as may be said at once, and the rest, up to which nothing is settled."""
        size, count = 0, 0
        for _, letter in self.letters:
            size += len(letter.text)
            if count and size > MAX_SAID:
                break
            count += 1
        return [letter for _, letter in self.letters[:count]], self.letters[count:]

    def add_letter(self, position: int, letter: Letter) -> None:
        """Keep a dead letter, which is about a position, until it was said."""
        self.letters.append((position, letter))
        self.unsaid += len(letter.text)

    def note_said(self, beat: Beat, newest: int, until: float) -> None:
        """Note that something was said, and the answer: the lease lasts `until` then."""
        self._said_at = self._looked_at = until - self._duration
        self.position = max(self.position, beat.position)
        del self.letters[: len(beat.letters)]
        self.unsaid -= sum(len(letter.text) for letter in beat.letters)
        if newest < 0 or beat.verb != "renew":
            self.is_lost = True
            self.stop()
            return
        self.lease.until = until
        self.newest = max(self.newest, newest, self.position)
        if not self.lag:
            self.behind_since = None
        elif self.behind_since is None:
            self.behind_since = self._clock()

    def stop(self) -> None:
        """End the lease, and all that is done under it."""
        self.is_stopped = True
        self.lease.end()
        self.waiting.cancel()
        if self.handle is not None:
            self.handle.cancel()
