"""How long an open stream may take for what: four limits, of which the nearest bounds each wait for bytes."""

from typing import Final, Literal, TypeAlias

import msgspec

from stepstream.errors import IdleTimeout, TransportError
from stepstream.sources.http_errors import OutOfTime
from stepstream.sources.options import check_seconds
from stepstream.sources.stream_position import StreamPosition

BEGUN_EVENT_TIMEOUT: Final = 300.0
"""Seconds from the first byte of an event to its last, however soon it had to begin."""

Limit: TypeAlias = Literal["all", "begun", "event", "idle"]
"""What is limited: everything, one event from its first byte to its last, the wait for the next one, or silence."""


_IDLE: Final[Limit] = "idle"


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits on an open stream, in seconds, and whether it is resumed where it breaks."""

    idle_timeout: float
    event_timeout: float | None
    """From the end of one event to the beginning of the next."""
    total_timeout: float | None
    deadline: float
    """When `total_timeout` is over, by anyio's clock."""
    is_resumed: bool

    def __post_init__(self) -> None:
        check_seconds(
            idle_timeout=self.idle_timeout, event_timeout=self.event_timeout, total_timeout=self.total_timeout
        )

    def wait(self, position: StreamPosition, waited: float, time_left: float) -> tuple[float, Limit]:
        """Return for how many seconds the next bytes may be waited for, and which limit that is.

        `waited` is how long bytes were waited for until now, by which the position has its times.
        """
        seconds, limit = self.idle_timeout, _IDLE
        if position.began_at is not None:
            left = position.began_at + BEGUN_EVENT_TIMEOUT - waited
            if left < seconds:
                seconds, limit = left, "begun"
        elif self.event_timeout is not None:
            left = position.ended_at + self.event_timeout - waited
            if left < seconds:
                seconds, limit = left, "event"
        return (max(0.0, seconds), limit) if seconds < time_left else (max(0.0, time_left), "all")

    def error(self, where: str, limit: Limit) -> TransportError:
        """Return the error for a limit that was exceeded. `where` is a redacted URL."""
        match limit:
            case "all":
                return OutOfTime(f"{where} took longer than {self.total_timeout:g} s in all")
            case "begun":
                text, seconds = "took longer than {:g} s for one event", BEGUN_EVENT_TIMEOUT
            case "event":
                text, seconds = "sent no event for {:g} s (event_timeout)", self.event_timeout or 0.0
            case "idle":
                text, seconds = "was silent for {:g} s", self.idle_timeout
        return IdleTimeout(f"{where} {text.format(seconds)}", seconds)
