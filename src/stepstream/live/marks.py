"""What a source may yield beside what came over the wire."""

from collections.abc import Sequence
from typing import TypeAlias

from stepstream.fold.reconcile import ServerAnswer
from stepstream.live.journal import RunPiece
from stepstream.wire.sse import Frame


class Reconnected:
    """A source yields this where a new connection begins: a new parser begins, at the id of the last event."""

    __slots__ = ("last_event_id",)

    def __init__(self, last_event_id: str = "") -> None:
        self.last_event_id = last_event_id

    def __repr__(self) -> str:
        return f"<Reconnected at {self.last_event_id!r}>"


class ContinuedRun:
    """A source yields this before events of a run that waits for action: what begins next goes on with that run, even
    if it does not say so. Only a dialect in which a run is continued by a stream of another name needs it."""

    __slots__ = ("run_id",)

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id

    def __repr__(self) -> str:
        return f"<ContinuedRun {self.run_id}>"


class ServerEvents:
    """What a server said of a run, asked after a stream broke, as the events that the stream would have brought."""

    __slots__ = ("frames",)

    def __init__(self, frames: Sequence[Frame]) -> None:
        self.frames = frames

    def __repr__(self) -> str:
        return f"<ServerEvents {', '.join(frame.event for frame in self.frames)}>"


Told: TypeAlias = Reconnected | ContinuedRun | ServerAnswer | ServerEvents | RunPiece
"""What a source yields beside what came over the wire."""
