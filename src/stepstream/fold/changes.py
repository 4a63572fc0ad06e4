"""Changes: what one event did. They are what subscribers receive."""

from typing import TYPE_CHECKING, Any, Final, TypeAlias

import msgspec

from stepstream.fold.anomalies import Anomaly
from stepstream.fold.builder import SnapshotBuilder
from stepstream.wire.deltas import MessageDelta, MessageDeltaBody, RunStepDelta, RunStepDeltaBody
from stepstream.wire.messages import Message
from stepstream.wire.objects import Run, RunStep
from stepstream.wire.tool_calls import AnyToolCall

_step_delta: Final = msgspec.json.Decoder(RunStepDelta).decode
_message_delta: Final = msgspec.json.Decoder(MessageDelta).decode
NO_DELTA: Final = -1
"""The offset of a delta in progress that a full object made."""


class _Change(msgspec.Struct, frozen=True):
    event: str
    """The full name of the event that caused it; "replay" where the subscriber came after it."""
    sequence: int
    """The ordinal of that event in its stream, from 1; 0 of what is replayed."""
    context: Any
    """What the caller gave to the stream."""


class _StepChange(_Change, frozen=True):
    if TYPE_CHECKING:

        def _base(self) -> RunStep: ...

    @property
    def step_id(self) -> str:
        """The step's id."""
        return self._base().id

    @property
    def run_id(self) -> str | None:
        """The id of the step's run."""
        return self._base().run_id or None

    @property
    def thread_id(self) -> str | None:
        """The id of the step's thread."""
        return self._base().thread_id or None

    @property
    def step_type(self) -> str | None:
        """The step's type, by its own field or else by that of its details."""
        base = self._base()
        return base.type or (base.step_details and base.step_details.type) or None


class StepTransition(_StepChange, frozen=True):
    """A step changed its status. `step` is the snapshot right after that."""

    step: RunStep
    previous: str | None
    """The status before; None at the first sight of the step."""
    status: str
    terminal: bool
    """Whether it ends the step, by the event's name or by the status. Exactly one transition of a step does."""

    def _base(self) -> RunStep:
        return self.step

    @property
    def type(self) -> str | None:
        """The step's type."""
        return self.step_type

    def __repr__(self) -> str:
        return f"<StepTransition {self.step_id} {self.previous} → {self.status}>"


class StepProgress(_StepChange, frozen=True, eq=False):
    """A step grew. With `late`, an ended step got what its terminal object had left out."""

    late: bool
    _builder: SnapshotBuilder[RunStep]
    _raw: bytes
    """The bytes that the event came in."""
    _offset: int
    """Where its data begins in them, or `NO_DELTA`."""
    _decoded: RunStepDeltaBody | None = None
    """The delta, where it was decoded to be folded."""

    @property
    def delta(self) -> RunStepDeltaBody | None:
        """Exactly what came under the event's `delta`; None where it was a full object that added something."""
        if self._decoded is not None or self._offset == NO_DELTA:
            return self._decoded
        return _step_delta(self._raw[self._offset :]).delta

    @property
    def step(self) -> RunStep:
        """The snapshot, built when read: at least as new as `delta`."""
        return self._builder.snapshot()

    def _base(self) -> RunStep:
        return self._builder.base

    def __repr__(self) -> str:
        return f"<StepProgress {self.step_id}{' late' if self.late else ''}>"


class _ToolCallChange(_Change, frozen=True):
    call: AnyToolCall
    """The snapshot of the call at that moment."""
    index: int
    """Its index in the step's tool calls."""
    id: str
    type: str
    name: str | None
    """The name of the function, agent or tool; None for kinds that have none."""
    _step: RunStep

    @property
    def step_id(self) -> str:
        """The id of the call's step."""
        return self._step.id

    @property
    def run_id(self) -> str | None:
        """The id of the call's run."""
        return self._step.run_id or None

    @property
    def thread_id(self) -> str | None:
        """The id of the call's thread."""
        return self._step.thread_id or None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.type} {self.name}>"


class ToolCallStarted(_ToolCallChange, frozen=True):
    """A tool call began: its id and type are known, and its name where its kind has one. Once for each call."""


class ToolCallFinished(_ToolCallChange, frozen=True):
    """The arguments of a tool call are final: its run asks for it, or its step ended. Once for each call."""


class RunTransition(_Change, frozen=True):
    """A run changed its status. `run` is the object that said so."""

    run: Run
    previous: str | None
    """The status before; None at the first sight of the run."""
    status: str
    terminal: bool
    """Whether the status ends the run."""

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self.run.id

    @property
    def thread_id(self) -> str | None:
        """The id of the run's thread."""
        return self.run.thread_id or None

    def __repr__(self) -> str:
        return f"<RunTransition {self.run_id} {self.previous} → {self.status}>"


class _MessageChange(_Change, frozen=True):
    if TYPE_CHECKING:

        def _base(self) -> Message: ...

    @property
    def message_id(self) -> str:
        """The message's id."""
        return self._base().id

    @property
    def run_id(self) -> str | None:
        """The id of the run that writes the message, where one does."""
        return self._base().run_id or None

    @property
    def thread_id(self) -> str | None:
        """The id of the message's thread."""
        return self._base().thread_id or None


class MessageTransition(_MessageChange, frozen=True):
    """A message changed its status. `message` is the snapshot right after that."""

    message: Message
    previous: str | None
    """The status before; None at the first sight of the message."""
    status: str
    terminal: bool
    """Whether it ends the message, by the event's name or by the status."""

    def _base(self) -> Message:
        return self.message

    def __repr__(self) -> str:
        return f"<MessageTransition {self.message_id} {self.previous} → {self.status}>"


class MessageProgress(_MessageChange, frozen=True, eq=False):
    """A message grew. With `late`, an ended message got what its terminal object had left out."""

    late: bool
    _builder: SnapshotBuilder[Message]
    _raw: bytes
    """The bytes that the event came in."""
    _offset: int
    """Where its data begins in them, or `NO_DELTA`."""
    _decoded: MessageDeltaBody | None = None
    """The delta, where it was decoded to be folded."""

    @property
    def delta(self) -> MessageDeltaBody | None:
        """Exactly what came under the event's `delta`; None where it was a full object that added something."""
        if self._decoded is not None or self._offset == NO_DELTA:
            return self._decoded
        return _message_delta(self._raw[self._offset :]).delta

    @property
    def message(self) -> Message:
        """The snapshot, built when read: at least as new as `delta`."""
        return self._builder.snapshot()

    def _base(self) -> Message:
        return self._builder.base

    def __repr__(self) -> str:
        return f"<MessageProgress {self.message_id}{' late' if self.late else ''}>"


Change: TypeAlias = (
    StepTransition
    | StepProgress
    | ToolCallStarted
    | ToolCallFinished
    | RunTransition
    | MessageTransition
    | MessageProgress
    | Anomaly
)
"""Everything that an event can do."""
