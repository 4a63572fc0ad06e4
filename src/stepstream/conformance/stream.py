"""The checker of a stream whose protocol its first telling event says."""

from typing import Final

from stepstream.conformance.checker import Checker
from stepstream.conformance.deviation import Deviation
from stepstream.conformance.responses.checker import ResponsesChecker
from stepstream.dialects.translation import dialect_of
from stepstream.errors import FrameTooLarge
from stepstream.wire.events import ErrorData
from stepstream.wire.sse import Frame

MAX_UNDECIDED: Final = 16
"""How many events may come before one that tells the protocol. Beyond that it is that of the Assistants API."""


class StreamChecker:
    """Check one stream by its own protocol."""

    def __init__(self) -> None:
        self._checker: Checker | ResponsesChecker | None = None
        self._waiting: list[Frame] = []

    @property
    def sequence(self) -> int:
        """How many events came."""
        return len(self._waiting) + (0 if self._checker is None else self._checker.sequence)

    @property
    def is_done(self) -> bool:
        """Whether nothing may follow any more."""
        return self._checker is not None and self._checker.is_done

    @property
    def failure(self) -> ErrorData | None:
        """What an `error` event said, where that is how the stream ended."""
        return None if self._checker is None else self._checker.failure

    @property
    def checker(self) -> Checker | ResponsesChecker:
        """The checker of the protocol. Asked for before a telling event came, it is that of the Assistants API."""
        if self._checker is None:
            self._checker = Checker()
        return self._checker

    def feed(self, frame: Frame) -> list[Deviation]:
        """Check the next frame and return the deviations that are known by now."""
        if self._checker is None:
            told = dialect_of(frame)
            self._waiting.append(frame)
            if told is None and frame.event not in ("done", "error") and len(self._waiting) < MAX_UNDECIDED:
                return []
            self._checker = ResponsesChecker() if told == "responses" else Checker()
            return self._caught_up()
        return self._checker.feed(frame)

    def reject(self, excess: FrameTooLarge) -> list[Deviation]:
        """Note that the next event was too large to be read. Nothing can be read after it."""
        return self._caught_up() + self.checker.reject(excess)

    def finish(self, pending: Frame | None = None) -> list[Deviation]:
        """Note that the stream ended. `pending` is the block that lacked its blank line."""
        return self._caught_up() + self.checker.finish(pending)

    def _caught_up(self) -> list[Deviation]:
        waiting, self._waiting = self._waiting, []
        return [found for frame in waiting for found in self.checker.feed(frame)]
