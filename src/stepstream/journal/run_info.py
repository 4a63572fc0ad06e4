"""What a journal says of a run, and a place in it."""

import re
from typing import Final, NamedTuple

import msgspec

from stepstream.live.journal import RunStatus

_CURSOR: Final = re.compile(r"(\d{1,19})\.(\d{1,19})", re.ASCII)


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a journal says of a run."""

    id: str
    status: RunStatus
    position: int
    """That of its last event."""
    opened: float
    """When it was opened first, in Unix seconds."""
    ended: float | None
    """When it ended or was interrupted; None while it is neither."""
    fence: int
    """That of its newest writer."""
    error: str
    """Why it was interrupted."""
    silence: float
    """Seconds since its writer gave the last sign of life, by the journal's clock."""

    def within(self, seconds: float) -> "RunInfo":
        """Return what to say of the run to those who look at it: an open one whose writer gave no sign for so long is
        interrupted, until it gives one again. When that was, its journal does not say: `ended` is None."""
        if self.status != "open" or self.silence < seconds:
            return self
        return msgspec.structs.replace(self, status="interrupted", error=f"its writer gave no sign for {seconds:g} s")

    def __repr__(self) -> str:
        return f"<RunInfo {self.id} {self.status} at {self.fence}.{self.position}>"


class Cursor(NamedTuple):
    """A place in a run that outlasts its writers: the event at a position, as the writer with that fence wrote it."""

    fence: int
    position: int

    def __str__(self) -> str:
        return f"{self.fence}.{self.position}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Return the cursor that was written as a text.

        Raises:
            ValueError: it is none.
        """
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise ValueError("expected a cursor as <fence>.<position>, got another text")
        return cls(int(found[1]), int(found[2]))
