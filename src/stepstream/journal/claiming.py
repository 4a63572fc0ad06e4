"""What shares the runs of a journal among the workers of a group, for whichever journal: runs are claimed for a while,
and who has one says from time to time how it goes. Another process takes over what nobody speaks for any more."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Final, Literal, Protocol, TypeAlias

import msgspec

Verb: TypeAlias = Literal["renew", "give back", "finish", "let go", "bury"]
"""What becomes of a claim: it goes on; it is due again at once; the run has ended, and all of it is dealt with; nothing
is to be expected of it now; it is given up, until somebody sends its dead letter again. What is finished or let go, and
has more by now, is due again at once, and so it is whenever it gets more."""


SUSPECT: Final = 2
"""After so many takeovers in a row without anything settled, a run may be what ends its workers. It is claimed alone
then: else all that a worker has when it dies would be suspected with it."""


class Letter(msgspec.Struct, frozen=True):
    """A dead letter, as it is kept."""

    id: str
    text: bytes
    """JSON, an object that names its `run_id`."""

    def __repr__(self) -> str:
        return f"<Letter {self.id}: {len(self.text):,} bytes>"  # it has content of a run


class _Whose(msgspec.Struct):
    run_id: str


_decode_whose: Final = msgspec.json.Decoder(_Whose).decode


def run_of(letter: Letter) -> str:
    """Return the run that a dead letter is of."""
    return _decode_whose(letter.text).run_id


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker was given: a run, or a dead letter that is sent again."""

    run_id: str
    token: int
    """Higher than that of every claim before in the part of the journal that the run is in."""
    position: int = 0
    """The newest event of the run such that its changes, and those before, were settled by the group."""
    newest: int = 0
    """That of the run's newest event."""
    takeovers: int = 0
    """How often it was taken over from a worker that was silent, since something of it was settled last."""
    is_takeover: bool = False
    """Whether it was taken over just now."""
    is_spent: bool = False
    """Whether it was taken over too often."""
    letter: Letter | None = None
    """What is sent again; None: it is the run."""

    @property
    def is_suspect(self) -> bool:
        """Whether it may be what ends its workers. A worker has one at a time, until something of it is settled."""
        return self.takeovers >= SUSPECT and not self.is_spent


class Beat(msgspec.Struct, frozen=True):
    """How it goes with a claim."""

    claim: Claim
    verb: Verb
    position: int
    """The newest event up to which all is settled."""
    letters: Sequence[Letter] = ()
    """What is to be kept of it as dead letters. Of a letter that is buried again, its new text."""


class Claims(Protocol):
    """Claims of one part of a journal: what fails of it does not harm the others."""

    async def join(self) -> None:
        """Let the group have the runs that are there, and all that come.

        Raises:
            JournalFailed: it is not known whether it has.
        """

    async def claim(self, worker: str, lease: float, count: int, max_takeovers: int, suspects: int = 1) -> list[Claim]:
        """Return what was claimed, `count` at most, and `suspects`, 0 or 1, that are suspect. It is this worker's for
        `lease` seconds from the call on.

        Raises:
            JournalFailed: it is not known what was.
        """

    async def beat(self, worker: str, lease: float, beats: Sequence[Beat]) -> list[int]:
        """Say how it goes with claims. What goes on is this worker's for `lease` seconds from the call on.

        Returned is the position of the newest event of each; -1 where it is not this worker's any more, and nothing
        was taken.

        Raises:
            JournalFailed: it is not known what was taken. It may be said again.
        """


class SharedJournal(Protocol):
    """A journal whose runs groups of workers share."""

    outage_timeout: float
    """Seconds for which an outage of its server is waited for."""

    def claims(self, group: str) -> "GroupClaims":
        """Return what shares the runs among the workers of a group."""


class GroupClaims(Protocol):
    """All claims of a group, and its dead letters."""

    @property
    def parts(self) -> Sequence[Claims]:
        """The parts of the journal."""

    def part_of(self, claim: Claim) -> Claims:
        """Return the part that a claim is of."""

    def listening(self, changed: Callable[[Claims], None]) -> AbstractContextManager[None]:
        """Call `changed` with a part whenever something may have become due in it."""

    def letter_id(self, run_id: str, *parts: str) -> str:
        """Return the id of a letter of a run, or of a part of it: the same for the same parts."""

    async def letters(self) -> list[Letter]:
        """Return all dead letters."""

    async def drop(self, letter_id: str) -> bool:
        """Drop a dead letter. Return whether there was one of that id."""

    async def resend(self, letter_id: str, run_id: str, *, is_whole: bool) -> bool | None:
        """Let a worker have a dead letter of a run once more; with `is_whole`, the run from where it was given up.

        Return whether there is such a letter; None where its run is gone.
        """
