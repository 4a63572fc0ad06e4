"""Dead letters: what a group could not deal with, with what is needed to see why, and to try it again."""

from typing import Any, Final

import msgspec

from stepstream.errors import StepStreamError, words_of
from stepstream.fold.changes import Change
from stepstream.fold.encoding import encode_change
from stepstream.journal.claiming import Letter

MAX_CHANGE: Final = 2**18
"""How many bytes of an encoded change are kept: a larger one is left out, and found in its run by its position."""


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """A change that a subscriber failed at for the last time, or a run that was given up."""

    id: str
    run_id: str
    subscriber: str
    """Its name. Of a run that was given up: ""."""
    key: str
    """That of the change. Of a run: ""."""
    reason: str
    """The type of the exception, and of a run what happened, too. No payload content."""
    position: int
    """Of the change; of a run, the position that was settled."""
    time: float
    """Unix seconds."""
    change: msgspec.Raw = msgspec.Raw(b"null")
    """As `encode_change` writes it, its object included; null where it is large, or there is none."""

    def __repr__(self) -> str:
        return f"<DeadLetter {self.id} {self.key or self.run_id}: {self.reason}>"

    @property
    def is_whole(self) -> bool:
        """Whether a run was given up."""
        return not self.subscriber


_decode: Final = msgspec.json.Decoder(DeadLetter).decode


def kept(letter: DeadLetter) -> Letter:
    """Return a dead letter as it is kept."""
    return Letter(letter.id, msgspec.json.encode(letter))


def read(letter: Letter) -> DeadLetter:
    """Return the dead letter that was kept."""
    return _decode(letter.text)


def letter_of_change(
    letter_id: str, run_id: str, subscriber: str, change: Change, why: Exception, time: float, limit: int = MAX_CHANGE
) -> Letter:
    """Return what is kept of a change that a subscriber failed at. One of more than `limit` bytes is left out."""
    encoded = encode_change(change, snapshot=True) if limit else b""
    return kept(
        DeadLetter(
            id=letter_id,
            run_id=run_id,
            subscriber=subscriber,
            key=change.key,
            reason=type(why).__name__,
            position=change.sequence,
            time=time,
            change=msgspec.Raw(encoded if 0 < len(encoded) <= limit else b"null"),
        )
    )


def letter_of_run(letter_id: str, run_id: str, position: int, reason: str, time: float) -> Letter:
    """Return what is kept of a run that was given up at a position."""
    whole: Any = {"id": letter_id, "run_id": run_id, "subscriber": "", "key": "", "reason": reason}
    return kept(DeadLetter(**whole, position=position, time=time))


def reason_of(error: Exception) -> str:
    """Return why a run was given up: what we say of it ourselves, of other exceptions their type."""
    name = type(error).__name__
    return f"{name}: {words_of(str(error))}" if isinstance(error, StepStreamError) else name
