"""What the protocols of user interfaces have words for: the parts of a run, and its beginning, waits and end."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from stepstream.relay.forms.calls import Shown
from stepstream.relay.forms.parts import Part
from stepstream.wire.objects import Run
from stepstream.wire.tool_calls import AnyToolCall


class OpenStep:
    """A step that has not ended."""

    __slots__ = ("calls", "id", "message_id", "parts", "status", "type")

    def __init__(self, step_id: str, kind: str, status: str, message_id: str) -> None:
        self.id, self.type, self.status = step_id, kind, status
        self.message_id = message_id
        """That of the message which it writes; empty for other steps."""
        self.calls: dict[int, Part] = {}
        """By the index that deltas have."""
        self.parts: dict[str, Part] = {}
        """Its calls and thoughts by id, those whose input is final included."""


class Words(ABC):
    """What a protocol says, when something of a run is to be said. Each method is called where that is in order."""

    @abstractmethod
    def begin(self, run_id: str, thread_id: str, status: str, asked: str) -> None:
        """Say that the run is there. It is the first. `asked` is not empty where it has gone on after a wait."""

    @abstractmethod
    def step(self, step: OpenStep, *, is_new: bool = False, is_over: bool = False) -> None:
        """Say that a step has a status."""

    @abstractmethod
    def start(self, part: Part) -> None:
        """Say that a part is there."""

    @abstractmethod
    def grow(self, part: Part, piece: str) -> None:
        """Say what is new of a part, which is never empty."""

    @abstractmethod
    def close(self, part: Part) -> None:
        """Say that a text or thought is over, that the input of a call is whole."""

    @abstractmethod
    def answer(self, call: Shown) -> None:
        """Say what came of a call whose input is whole."""

    @abstractmethod
    def fail(self, part: Part) -> None:
        """Say that nothing came of a call, and that nothing will."""

    @abstractmethod
    def pause(self, steps: Iterable[OpenStep], parts: Iterable[Part]) -> None:
        """Close what is open, since the run waits or ends, or a viewer is cut off."""

    @abstractmethod
    def resume(self, steps: Iterable[OpenStep], parts: Iterable[Part]) -> None:
        """Open what was paused, since the run goes on."""

    @abstractmethod
    def status(self, status: str) -> None:
        """Say the status of the run, while it goes on."""

    @abstractmethod
    def wait(self, asked: Sequence[AnyToolCall], approvals: Sequence[AnyToolCall]) -> None:
        """Say what the run waits for: outputs of calls, approvals of others. Everything is paused."""

    @abstractmethod
    def go_on(self, asked: str, status: str) -> None:
        """Say that the run goes on, in the round `asked`, which is not empty."""

    @abstractmethod
    def end(self, run: Run) -> None:
        """Say how the run ended. Everything is paused; it is the last."""

    @abstractmethod
    def interrupt(self, reason: str) -> None:
        """Say that the stream ends, though the run goes on. Everything is paused."""
