"""An event on its way: what is sent, and when."""

from typing import NamedTuple

from stepstream.wire.sse import Frame


class TimedEvent(NamedTuple):
    """One event of a stream, and the seconds that pass before it at real pace."""

    delay: float
    frame: Frame
    about: str | None = None
    """The id of the step, message or item that it is about."""
