"""Changes: what one event did. They are what subscribers receive."""

from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeAlias, TypeVar, cast

import msgspec

from stepstream.fold.anomalies import Anomaly
from stepstream.fold.builder import SnapshotBuilder
from stepstream.fold.cause import Caused, key_of
from stepstream.fold.subjects import Field, Nameless, OfMessage, OfStep, Reference, known, whole
from stepstream.wire.base import Seconds
from stepstream.wire.deltas import MessageDelta, MessageDeltaBody, RunStepDelta, RunStepDeltaBody, delta_as_sent
from stepstream.wire.messages import Message
from stepstream.wire.objects import IncompleteDetails, LastError, Run, RunStep, Usage
from stepstream.wire.tool_calls import AnyToolCall

Obj = TypeVar("Obj", RunStep, Message)
Body = TypeVar("Body", RunStepDeltaBody, MessageDeltaBody)

NO_DELTA: Final = -1
"""The offset where no bytes hold the delta: a full object made the progress, or a dialect told it in its own words."""


class _Transition(Caused, frozen=True):
    previous: str | None
    """The status before; None at the first sight of the object."""
    status: str
    terminal: bool
    """Whether it ends the object."""
    _again: str
    """What stands behind the status in the key."""

    if TYPE_CHECKING:
        _held: Any

    def _base(self) -> Any:
        return known(self._held)


class StepTransition(OfStep, _Transition, frozen=True):
    """A step changed its status. Exactly one transition of a step is `terminal`, by the event's name or the status."""

    _held: RunStep | Nameless[RunStep] | Reference[RunStep]

    created_at = Field[Seconds]()
    completed_at = Field[Seconds]()
    failed_at = Field[Seconds]()
    cancelled_at = Field[Seconds]()
    expired_at = Field[Seconds]()
    last_error = Field[LastError]()
    usage = Field[Usage]()

    @property
    def step(self) -> RunStep:
        """The snapshot right after the transition."""
        return whole(self._held)

    @property
    def key(self) -> str:
        """The same string whenever the same transition is told again."""
        return key_of(self.run_id, "step", self.step_id, self.status) + self._again

    def __repr__(self) -> str:
        return f"<StepTransition {self.step_id} {self.previous} → {self.status}>"


class RunTransition(_Transition, frozen=True):
    """A run changed its status."""

    _held: Run | Reference[Run]

    created_at = Field[Seconds]()
    started_at = Field[Seconds]()
    completed_at = Field[Seconds]()
    failed_at = Field[Seconds]()
    cancelled_at = Field[Seconds]()
    last_error = Field[LastError]()
    incomplete_details = Field[IncompleteDetails]()
    usage = Field[Usage]()

    @property
    def run(self) -> Run:
        """The object that said so."""
        return whole(self._held)

    @property
    def run_id(self) -> str:
        """The run's id."""
        return self._base().id

    @property
    def thread_id(self) -> str | None:
        """The id of the run's thread."""
        return self._base().thread_id or None

    @property
    def key(self) -> str:
        """The same string whenever the same transition is told again."""
        return key_of(self.run_id, "run", self.status) + self._again

    def _base(self) -> Run:
        return known(self._held)

    def __repr__(self) -> str:
        return f"<RunTransition {self.run_id} {self.previous} → {self.status}>"


class MessageTransition(OfMessage, _Transition, frozen=True):
    """A message changed its status. It ends by the event's name or by the status."""

    _held: Message | Nameless[Message] | Reference[Message]

    created_at = Field[Seconds]()
    completed_at = Field[Seconds]()
    incomplete_at = Field[Seconds]()
    incomplete_details = Field[IncompleteDetails]()

    @property
    def message(self) -> Message:
        """The snapshot right after the transition."""
        return whole(self._held)

    @property
    def key(self) -> str:
        """The same string whenever the same transition is told again."""
        return key_of(self.run_id, "message", self.message_id, self.status) + self._again

    def __repr__(self) -> str:
        return f"<MessageTransition {self.message_id} {self.previous} → {self.status}>"


class _Progress(Caused, Generic[Obj, Body], frozen=True):
    late: bool
    """Whether the object had ended: it got what its terminal object had left out."""
    _held: SnapshotBuilder[Obj] | Reference[Obj]
    _raw: bytes
    """The bytes that the event came in."""
    _offset: int
    """Where its data begins in them, or `NO_DELTA`."""
    _decoded: Body | None = None
    """The delta, where it was decoded to be folded."""
    _journal: str = ""

    _decoder: ClassVar[msgspec.json.Decoder[Any]]

    @property
    def delta(self) -> Body | None:
        """Exactly what came under the event's `delta`; None where it was a full object that added something."""
        if self._decoded is not None or self._offset == NO_DELTA:
            return self._decoded
        found: Body | None = self._decoder.decode(self._raw[self._offset :]).delta
        return found

    def _base(self) -> Any:
        return self._held.base

    def _compared(self) -> list[Any]:
        base = self._base()
        sent = msgspec.json.decode(self.delta_as_sent())
        return [*self._cause(), self.late, base.id, self._held.run_id, base.thread_id or None, sent]

    def delta_as_sent(self) -> bytes:
        """Return the delta as the server wrote it, unknown keys included; `null` where there is none.

        One that came in a dialect is written in the words of the fold.
        """
        if self._offset == NO_DELTA:
            return msgspec.json.encode(self._decoded)
        return delta_as_sent(self._raw[self._offset :])


class StepProgress(OfStep, _Progress[RunStep, RunStepDeltaBody], frozen=True):
    """A step grew."""

    _decoder = msgspec.json.Decoder(RunStepDelta)

    @property
    def step(self) -> RunStep:
        """The snapshot, built when read: at least as new as `delta`."""
        return self._held.snapshot()

    def __repr__(self) -> str:
        return f"<StepProgress {self.step_id}{' late' if self.late else ''}>"


class MessageProgress(OfMessage, _Progress[Message, MessageDeltaBody], frozen=True):
    """A message grew."""

    _decoder = msgspec.json.Decoder(MessageDelta)

    @property
    def message(self) -> Message:
        """The snapshot, built when read: at least as new as `delta`."""
        return self._held.snapshot()

    def __repr__(self) -> str:
        return f"<MessageProgress {self.message_id}{' late' if self.late else ''}>"


class _ToolCallChange(Caused, frozen=True):
    index: int
    """The index of the call in its step's tool calls."""
    id: str
    type: str
    name: str | None
    """The name of the function, agent or tool; None for kinds that have none."""
    step_id: str
    run_id: str | None
    thread_id: str | None
    _call: AnyToolCall | Reference[AnyToolCall]

    _became: ClassVar[str]

    @property
    def call(self) -> AnyToolCall:
        """The snapshot of the call at that moment."""
        return cast(AnyToolCall, whole(self._call))

    @property
    def key(self) -> str:
        """The same string whenever the same is told of the call again."""
        return key_of(self.run_id, "call", self.step_id, self.id, self._became)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.id} {self.type} {self.name}>"


class ToolCallStarted(_ToolCallChange, frozen=True):
    """A tool call began: its id and type are known, and its name where its kind has one. Once for each call."""

    _became = "started"


class ToolCallFinished(_ToolCallChange, frozen=True):
    """The arguments of a tool call are final: its run asks for it, or its step ended. Once for each call."""

    _became = "finished"


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
